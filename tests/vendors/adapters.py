"""Real vendors' systems as `table.py` wants them; what they are made of stands in files of their own."""

import base64
import collections
import contextlib
import json
import pathlib
import re
import time
import urllib.parse
import urllib.request
import uuid

from proxy import Proxy
from wire import head_and_body

# Of a booking, or of the careless client's.
KEY = re.compile(r"bw1-[a-z0-9]{26}")


def toml(channel, keys):
    return f"[channel.{channel}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


class RequestTracker:
    """Request Tracker 5. Its own search lies in front of it, which can be made to lag or to go wrong."""

    NAME = "rt"
    KEYED = False
    # What takes RT's minute takes ten seconds.
    SPEED = 6
    MANY, SOME, DEADLINE = False, 20, "8 s"
    FAULTS = {"lag", "filter"}

    def __init__(self, folder):
        import rt
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        # A prepared database is kept between runs, beside what was built.
        self.server = rt.RequestTracker(folder, cache="target/rt")
        self.faults = {"lag": 0, "filter": None}
        self.made = {}

    def start(self):
        self.server.start()
        self.front = Proxy(self.server.url, self.search)
        self.origin = self.front.origin
        return self

    def stop(self):
        self.front.close()
        self.server.stop()

    def config(self, channel, origin=None, **more):
        return toml(channel, self.server.channel(url=origin or self.origin, **more))

    def keys(self):
        counted = collections.Counter()
        for row in self.server.rows():
            if row["id"] == row["EffectiveId"] and row["Status"] != "deleted":
                counted.update(filter(KEY.fullmatch, self.server.keys(row["id"])))
        return counted

    def objects(self, key):
        return [row["id"] for row in self.server.tickets(key)]

    def prepare_fast(self):
        pass

    def misbehave(self, **faults):
        self.faults.update(faults)

    def search(self, request, answer, draw):
        """What becomes of an answer: of a search it is what the fault makes of it."""
        first, headers, body = head_and_body(answer)
        asked, sent, _ = head_and_body(request)
        method, target, _ = asked.split(" ", 2)
        place = urllib.parse.urlsplit(target)
        with contextlib.suppress(ValueError):
            said = json.loads(body)
            if method == "POST" and place.path.endswith("/ticket") and isinstance(said, dict) and "id" in said:
                self.made[str(said["id"])] = time.monotonic()
            if method != "GET" or not place.path.endswith("/tickets"):
                return answer
            if self.faults["filter"] == "everything":
                query = {"query": f"Queue='{self.server.channel()['queue']}'"}
                url = f"{self.server.url}{place.path}?{urllib.parse.urlencode(query)}"
                all_of_them = urllib.request.Request(url, headers={"Authorization": sent["authorization"]})
                with urllib.request.urlopen(all_of_them, timeout=30) as answer:
                    said = json.load(answer)
            hidden = lambda item: self.faults["filter"] == "nothing" or \
                time.monotonic() - self.made.get(str(item["id"]), -1e9) < self.faults["lag"]
            said["items"] = [item for item in said["items"] if not hidden(item)]
            said["count"] = said["total"] = len(said["items"])
            body = json.dumps(said).encode()
            return (f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() \
                + body
        return answer

    def prepare_naive(self):
        pass

    def naive(self, origin, key):
        token = self.server.token_file.read_text().strip()
        ticket = {"Queue": self.server.channel()["queue"], "Subject": "careless", "CustomFields": {"BW.Key": key}}
        request = urllib.request.Request(f"{origin}/REST/2.0/ticket", json.dumps(ticket).encode(),
                                         {"Authorization": f"token {token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 201


class CalDav:
    """A calendar server. An entry's name is its key, so what else is there is looked into."""

    KEYED = True
    SPEED = 20
    MANY, SOME, DEADLINE = True, 40, "2 s"
    FAULTS = frozenset()

    def __init__(self, folder):
        import caldav
        self.server = getattr(caldav, type(self).__name__)()

    def start(self):
        self.server.start()
        self.origin = f"http://127.0.0.1:{self.server.port}"
        return self

    def stop(self):
        self.server.close()

    def config(self, channel, origin=None, **more):
        return self.server.config(channel, url=(origin or self.origin) + self.server.path, **more)

    def keys(self):
        return collections.Counter(self.key_of(name) for name in self.server.names())

    def objects(self, key):
        return [name for name in self.server.names() if self.key_of(name) == key]

    def key_of(self, name):
        stem = name.removesuffix(".ics")
        if KEY.fullmatch(stem):
            return stem
        text, _ = self.server.get(stem)
        found = KEY.search(text or "")
        return found.group() if found else name

    def prepare_fast(self):
        pass

    def prepare_naive(self):
        pass

    def naive(self, origin, key):
        name = uuid.uuid4()
        entry = ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:careless\r\nBEGIN:VEVENT\r\n"
                 f"UID:{name}\r\nDTSTAMP:20270301T000000Z\r\nDTSTART:20270302T040000Z\r\nSUMMARY:{key}\r\n"
                 "END:VEVENT\r\nEND:VCALENDAR\r\n")
        mark = base64.b64encode(f"{self.server.user}:{self.server.password}".encode()).decode()
        headers = {"Authorization": f"Basic {mark}", "Content-Type": "text/calendar"}
        request = urllib.request.Request(f"{origin}{self.server.path}{name}.ics", entry.encode(), headers, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status in (201, 204)


class Radicale(CalDav):
    NAME = "radicale"


class Xandikos(CalDav):
    NAME = "xandikos"
