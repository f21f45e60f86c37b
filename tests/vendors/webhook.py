#!/usr/bin/env python3
"""The reference receiver of the channel `webhook`: what a vendor has to build, in one file, and no more lenient
than the contract in the README. As a program it serves until it is killed:

    webhook.py FOLDER SECRET_FILE [PORT]

FOLDER/N.raw is request number N as it came; nothing is removed. Beside the contract there is `/control` for
tests, which nobody signs: `GET` tells every object and every fault, `POST` plays the vendor's people
(`{"key": …, "state": …, "window": …, "note": …}`) or makes it misbehave (`{"faults": {…}}`, see FAULTS).
"""

import base64
import collections
import contextlib
import email.utils
import hashlib
import hmac
import json
import pathlib
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from wire import Server, head_and_body, read_message

# How far the time of a signature may be off, in seconds.
TOLERANCE = 300
STATES = {"requested", "confirmed", "reported", "refused", "withdrawn"}
FAULTS = {
    "slow": 0.0,           # seconds that the work for an order takes, the answer coming after it
    "lag": 0.0,            # seconds until a booking can be read
    "filter": None,        # of reads: "everything" answers with a stranger's booking, "nothing" finds none
    "any_time": False,     # signatures of any time are taken: for a client whose clock is made to run fast
    "no_keys": False,      # no key and no signature is looked at: each order is a new one
}


class Receiver:
    """State and rules, apart from the wire."""

    def __init__(self, folder, secrets):
        self.folder, self.secrets = folder, secrets
        self.lock = threading.Lock()
        self.received = 0
        self.objects = []           # dicts; an object is made by each order "open" that is taken
        self.taken = {}             # idempotency key → [digest of the body, answer or None while in flight]
        self.faults = dict(FAULTS)
        folder.mkdir(parents=True, exist_ok=True)

    def serve(self, connection):
        with self.lock:
            self.received += 1
            number = self.received
        with open(self.folder / f"{number}.raw", "wb", buffering=0) as raw:
            request = read_message(connection, raw.write)
        if request is None:
            return
        status, answer = self.answer(request)
        body = json.dumps(answer).encode()
        connection.sendall(
            f"HTTP/1.1 {status} {'OK' if status < 400 else 'No'}\r\ndate: {email.utils.formatdate(usegmt=True)}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
        )

    def answer(self, request):
        first, headers, body = head_and_body(request)
        method, target, _ = first.split(" ", 2)
        url = urllib.parse.urlsplit(target)
        if url.path == "/control":
            return self.control(method, body)
        if not self.faults["no_keys"] and (wrong := self.mistake_of_signature(headers, body)):
            return 401, {"error": wrong}
        segments = [urllib.parse.unquote(part) for part in url.path.split("/")[1:]]
        if method == "POST" and segments == ["bookings"]:
            return self.post(headers, body)
        if method == "GET" and segments == ["bookings"]:
            return self.list(urllib.parse.parse_qs(url.query).get("room", [""])[0])
        if method == "GET" and len(segments) == 2 and segments[0] == "bookings":
            return self.read(segments[1])
        return 404, {"error": "no such address"}

    # Standard Webhooks

    def mistake_of_signature(self, headers, body):
        try:
            name, at, given = (headers[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
            late = abs(time.time() - int(at))
        except (KeyError, ValueError):
            return "webhook-id, webhook-timestamp or webhook-signature is missing"
        if late > TOLERANCE and not self.faults["any_time"]:
            return f"the signature is {late:.0f} s off"
        signed = f"{name}.{at}.".encode() + body
        for secret in self.secrets:
            right = "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
            if any(hmac.compare_digest(right, one) for one in given.split(" ")):
                return None
        return "no signature fits"

    # Idempotency-Key

    def post(self, headers, body):
        if self.faults["no_keys"]:
            return self.work(body)
        key = headers.get("idempotency-key", "")
        if len(key) < 3 or key[0] != '"' or key[-1] != '"':
            return 400, {"error": "Idempotency-Key is missing, or no string in quotes"}
        digest = hashlib.sha256(body).digest()
        with self.lock:
            known = self.taken.get(key)
            if known is None:
                self.taken[key] = [digest, None]
        if known is None:
            answer = self.work(body, key[1:-1])
            with self.lock:
                if answer[0] < 400:
                    self.taken[key][1] = answer
                else:
                    del self.taken[key]
            return answer
        if known[0] != digest:
            return 422, {"error": "this key was used for another order"}
        return known[1] or (409, {"error": "this order is being worked on"})

    # Bookings

    def work(self, body, key=None):
        time.sleep(self.faults["slow"])
        try:
            event = json.loads(body)
            operation, version = event["type"].removeprefix("bellwether.booking.").rsplit(".", 1)
            name, data = event["subject"], event["data"]
        except (ValueError, KeyError, TypeError):
            return 400, {"error": "no event of a booking"}
        if version != "v1" or (key is not None and event["id"] != key):
            return 400, {"error": "an unknown version, or another id than the key"}
        with self.lock:
            found = [thing for thing in self.objects if thing["key"] == name]
            if operation == "open":
                thing = {"key": name, "id": f"V-{len(self.objects) + 1}", "state": "requested", "made": time.time()}
                self.objects.append(thing)
            elif not found:
                return 404, {"error": "unknown"}
            else:
                thing = found[-1]
            if operation == "cancel":
                thing["state"] = "withdrawn"
            thing["data"] = data
            # What was asked for stands until the vendor's people say otherwise.
            if thing.get("window") is None and data["wanted"]:
                thing["window"] = data["wanted"][0]
            return (201 if operation == "open" else 200), {"id": thing["id"]}

    def visible(self):
        with self.lock:
            return [thing for thing in self.objects if time.time() - thing["made"] >= self.faults["lag"]]

    def read(self, key):
        things = self.visible()
        if self.faults["filter"] == "nothing":
            things = []
        elif self.faults["filter"] != "everything":
            things = [thing for thing in things if thing["key"] == key]
        if not things:
            return 404, {"error": "unknown"}
        return 200, self.shown(things[-1])

    def list(self, room):
        things = self.visible()
        if self.faults["filter"] == "nothing":
            things = []
        elif self.faults["filter"] != "everything":
            things = [thing for thing in things if thing["data"]["room"]["id"] == room]
        things = [thing for thing in things if thing["state"] not in ("refused", "withdrawn")]
        return 200, {"bookings": [self.shown(thing) | {"data": thing["data"]} for thing in things]}

    @staticmethod
    def shown(thing):
        return {name: thing.get(name) for name in ("key", "id", "state", "window", "note")}

    # For tests

    def control(self, method, body):
        if method == "POST":
            said = json.loads(body)
            with self.lock:
                self.faults.update({name: said["faults"][name] for name in said.get("faults", {}) if name in FAULTS})
                for thing in self.objects:
                    if thing["key"] == said.get("key"):
                        assert said.get("state", "requested") in STATES
                        thing.update({name: said[name] for name in ("state", "window", "note") if name in said})
        with self.lock:
            return 200, {"objects": self.objects, "faults": self.faults, "received": self.received}


def secrets_of(file):
    lines = (line.strip() for line in pathlib.Path(file).read_text().splitlines())
    read = lambda line: base64.b64decode(line[6:]) if line.startswith("whsec_") else line.encode()
    return [read(line) for line in lines if line]


class Vendor:
    """The receiver as a process of its own, for tests that know several vendors."""

    NAME = "webhook"
    KEYED = True
    FAULTS = {"slow", "lag", "filter"}
    SPEED = 20
    MANY, SOME, DEADLINE = True, 40, "1 s"
    BLIND = {"honours_keys": False}     # keys of the config of a vendor that takes everything as new

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.secret = self.folder / "secret"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.secret.write_text("whsec_c2VjcmV0IG9mIHRoZSB2ZW5kb3JzJyB0ZXN0cw==\n")
        self.secret.chmod(0o600)
        command = [sys.executable, __file__, self.folder / "requests", self.secret]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.origin = self.process.stdout.readline().split()[-1]
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def config(self, name, origin=None, **more):
        """`[channel.NAME]`; `origin` is another way to it, such as a proxy."""
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
        return (f'[channel.{name}]\nkind = "webhook"\nurl = "{origin or self.origin}/bookings"\n'
                f'secret_file = "{self.secret}"\nread_back = true\n{lines}')

    def control(self, **said):
        body = json.dumps(said).encode() if said else None
        with urllib.request.urlopen(self.origin + "/control", body, timeout=30) as answer:
            return json.load(answer)

    def keys(self):
        """How many objects there are of each booking."""
        return collections.Counter(thing["key"] for thing in self.control()["objects"])

    def objects(self, key):
        return [thing["id"] for thing in self.control()["objects"] if thing["key"] == key]

    def prepare_fast(self):
        self.control(faults={"any_time": True})

    def misbehave(self, **faults):
        self.control(faults=faults)

    def prepare_naive(self):
        self.control(faults={"no_keys": True})

    def naive(self, origin, key):
        """Opens a booking as a careless client would: nothing in it tells a repeat."""
        event = {"type": "bellwether.booking.open.v1", "subject": key, "data": {"room": {"id": "r"}, "wanted": []}}
        with contextlib.closing(urllib.request.urlopen(origin + "/bookings", json.dumps(event).encode(), 10)) as answer:
            assert answer.status < 300


def main():
    receiver = Receiver(pathlib.Path(sys.argv[1]), secrets_of(sys.argv[2]))
    server = Server(receiver.serve, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print(f"listening on {server.origin}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
