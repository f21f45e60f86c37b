#!/usr/bin/env python3
"""Real calendar servers, each in a temporary folder and on a free port, and what a vendor's people do in them.

    with Radicale() as server:
        server.url, server.user, server.password, server.password_file
        server.move(key, start, end)

Needs the Debian packages radicale, xandikos and apache2-utils.
"""

import base64
import contextlib
import datetime
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

CALENDAR = "urn:ietf:params:xml:ns:caldav"


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


class Server:
    """What both servers have in common. `stop` and `start` again keep what is stored; `close` removes it."""

    user, password = "bw", "a password, with blanks"

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"bellwether-{type(self).__name__.lower()}-"))
        self.port = free_port()
        self.process = None
        self.password_file = self.folder / "password"
        self.password_file.write_text(self.password + "\n")
        self.password_file.chmod(0o600)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.path}"

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {(self.folder / 'log').read_text()[-2000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError("the server does not listen")
        self.make()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make(self):
        """Makes the calendar, if it is not there."""

    def config(self, name="vendor", **more):
        """The channel's table for a config."""
        keys = {"kind": "caldav", "url": self.url, "user": self.user, "password_file": str(self.password_file)} | more
        lines = [f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in keys.items()]
        return f"[channel.{name}]\n" + "\n".join(lines) + "\n"

    def ask(self, method, path, body=None, **headers):
        """One request; the status, the headers and the body of its answer."""
        mark = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"Authorization": f"Basic {mark}"}
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read().decode()

    # What is there.

    def names(self):
        """The names of all objects in the calendar."""
        body = '<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
        status, _, text = self.ask("PROPFIND", self.path, body, Depth="1", Content_Type="application/xml")
        assert status == 207, status
        return sorted(set(re.findall(r"([^/<>]+\.ics)<", text)))

    def get(self, key):
        """The object of a booking, unfolded, and its version; None if it is not there."""
        status, headers, text = self.ask("GET", f"{self.path}{key}.ics")
        if status == 404:
            return None, None
        assert status == 200, status
        return re.sub(r"\r?\n[ \t]", "", text).replace("\r\n", "\n"), headers["ETag"]

    def value(self, key, name):
        """The value of one property of a booking's entry."""
        text, _ = self.get(key)
        found = re.search(rf"^{name}(?:;[^:\n]*)?:(.*)$", text or "", re.M)
        return found and found.group(1)

    # What the vendor's people do: each reads the entry, changes it, and stores it if nobody was faster.

    def edit(self, key, change):
        text, version = self.get(key)
        assert text, f"{key} is not there"
        status, _, answer = self.ask(
            "PUT", f"{self.path}{key}.ics", change(text).replace("\n", "\r\n"), If_Match=version,
            Content_Type="text/calendar; charset=utf-8")
        assert status in (200, 201, 204), (status, answer)

    def replace(self, key, **values):
        """Sets properties of the entry to whole lines; an empty one takes the property away."""
        def change(text):
            for name, line in values.items():
                name = name.replace("_", "-")
                text = re.sub(rf"^{name}[;:].*\n", "", text, flags=re.M)
                if line:
                    text = text.replace("END:VEVENT\n", f"{line}\nEND:VEVENT\n", 1)
            return text
        self.edit(key, change)

    def move(self, key, start, end, zone=None):
        """Moves the entry, as a program does that works in UTC, or in a zone."""
        def line(name, at):
            if zone is None:
                return f"{name}:{at.astimezone(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
            return f"{name};TZID={zone}:{at:%Y%m%dT%H%M%S}"
        self.replace(key, DTSTART=line("DTSTART", start), DTEND=line("DTEND", end), TRANSP="TRANSP:OPAQUE")

    def confirm(self, key):
        self.replace(key, STATUS="STATUS:CONFIRMED")

    def decline(self, key):
        """Says no, as somebody who was invited."""
        self.edit(key, lambda text: re.sub(r"PARTSTAT=[A-Z-]+", "PARTSTAT=DECLINED", text))

    def accept(self, key):
        self.edit(key, lambda text: re.sub(r"PARTSTAT=[A-Z-]+", "PARTSTAT=ACCEPTED", text))

    def cancel(self, key):
        self.replace(key, STATUS="STATUS:CANCELLED")

    def comment(self, key, text):
        self.replace(key, COMMENT=f"COMMENT:{text}")

    def note(self, key, text):
        """Writes below the line of the description."""
        self.edit(key, lambda entry: re.sub(r"^(DESCRIPTION:.*)$", lambda found: found.group(1) + text, entry, flags=re.M))

    def title(self, key, mark):
        """Puts a word before the title."""
        self.edit(key, lambda text: re.sub(r"^SUMMARY:", f"SUMMARY:{mark} ", text, flags=re.M))

    def done(self, key):
        self.title(key, "[done]")

    def delete(self, key):
        status, _, _ = self.ask("DELETE", f"{self.path}{key}.ics")
        assert status in (200, 204), status


class Radicale(Server):
    path = "/bw/school/"

    def command(self):
        users = self.folder / "users"
        subprocess.run(["htpasswd", "-iBc", users, self.user], input=self.password.encode(), check=True, capture_output=True)
        config = self.folder / "config"
        config.write_text(
            f"[server]\nhosts=127.0.0.1:{self.port}\nmax_connections=64\n[auth]\ntype=htpasswd\n"
            f"htpasswd_filename={users}\nhtpasswd_encryption=bcrypt\ndelay=0\n[rights]\ntype=owner_only\n"
            f"[storage]\nfilesystem_folder={self.folder}/collections\n")
        return ["radicale", "--config", str(config)]

    def make(self):
        status, _, text = self.ask("MKCALENDAR", self.path)
        assert status in (201, 409, 403, 405), (status, text)


class Xandikos(Server):
    """Knows no users: everybody on the port may do everything."""

    path = "/user/calendars/calendar/"

    def command(self):
        return ["xandikos", "-d", str(self.folder / "data"), "--defaults", "-l", "127.0.0.1", "-p", str(self.port)]


SERVERS = [Radicale, Xandikos]

if __name__ == "__main__":
    for kind in SERVERS:
        with kind() as server:
            print(kind.__name__, server.url, server.names())
