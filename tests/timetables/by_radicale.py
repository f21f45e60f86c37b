"""Cases → iCalendar, as a CalDAV server answers with a whole collection what was put there event by event."""

import base64
import contextlib
import http.client
import pathlib
import socket
import subprocess
import sys
import time

import icalendar

CONFIG = """\
[server]
hosts = 127.0.0.1:{port}
[auth]
type = none
[rights]
type = authenticated
[storage]
filesystem_folder = {folder}
[web]
type = none
[logging]
level = warning
"""
USER = {"Authorization": "Basic " + base64.b64encode(b"school:").decode()}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, kind="text/calendar; charset=utf-8", expected=(200, 201, 204)):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, {**USER, "Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status not in expected:
            raise RuntimeError(f"{method} {path}: found {answer.status}: {text[:200]!r}")
        return text


@contextlib.contextmanager
def server(folder):
    """Radicale on a port of its own, until the block ends."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    port = free_port()
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder / "kept"))
    with open(folder / "log", "wb") as log:
        running = subprocess.Popen([sys.executable, "-m", "radicale", "--config", str(folder / "config")],
                                   stdout=log, stderr=log)
    try:
        for _ in range(300):
            if running.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                yield Server(port)
                return
            time.sleep(0.1)
        raise RuntimeError(f"Radicale did not start: {(folder / 'log').read_text()[-500:]}")
    finally:
        running.terminate()
        running.wait()


def items(text):
    """One calendar for each UID, with the zones that it names, as clients put them."""
    whole = icalendar.Calendar.from_ical(text)
    by_uid = {}
    for event in whole.events:
        by_uid.setdefault(str(event["uid"]), []).append(event)
    for uid, events in by_uid.items():
        one = icalendar.Calendar()
        one.add("prodid", "-//timetables//client//")
        one.add("version", "2.0")
        for zone in whole.timezones:
            one.add_component(zone)
        for event in events:
            one.add_component(event)
        yield uid, one.to_ical()


def kept(running, name, text):
    """What the server makes of a file: its events put one by one, and the collection got back whole."""
    path = f"/school/{name}/"
    running.ask("MKCALENDAR", path)
    for uid, one in items(text):
        running.ask("PUT", f"{path}{uid.replace('/', '-')}.ics", one)
    return running.ask("GET", path)
