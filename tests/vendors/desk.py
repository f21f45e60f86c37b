#!/usr/bin/env python3
"""A vendor's desk for the story of a booking: a real server, and somebody who answers in it.

    desk.py radicale|xandikos|rt

Prints the channel's table for a config, as one line of JSON; then does what each line of its input says, and
answers `ok` and what it found:

    move KEY START END     RFC 3339
    confirm KEY | decline KEY | done KEY
    waits KEY              whether it stands there as a question to the vendor
    count                  how many bookings are there
"""

import contextlib
import datetime
import json
import pathlib
import sys
import tempfile

import caldav
import rt


class Calendar:
    """Somebody in front of a calendar."""

    def __init__(self, kind):
        self.server = kind()

    def start(self):
        self.server.start()
        return {"kind": "caldav", "url": self.server.url, "user": self.server.user,
                "password_file": str(self.server.password_file)}

    def move(self, key, start, end):
        self.server.move(key, start, end)

    def confirm(self, key):
        self.server.confirm(key)

    def decline(self, key):
        self.server.cancel(key)

    def done(self, key):
        self.server.done(key)

    def waits(self, key):
        return self.server.value(key, "STATUS") == "TENTATIVE" and "[done]" not in self.server.value(key, "SUMMARY")

    def count(self):
        return len(self.server.names())

    def close(self):
        self.server.close()


class Tickets:
    """Somebody in front of a queue of tickets."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="bellwether-rt-", ignore_cleanup_errors=True)
        pathlib.Path(self.folder.name).chmod(0o755)
        self.server = rt.RequestTracker(self.folder.name)

    def start(self):
        self.server.start()
        return self.server.channel()

    def ticket(self, key):
        found = self.server.tickets(key)
        assert len(found) == 1, found
        return found[0]["id"]

    def move(self, key, start, end):
        self.server.move(self.ticket(key), *[f"{at.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}" for at in (start, end)])

    def confirm(self, key):
        self.server.set_status(self.ticket(key), "open")

    def decline(self, key):
        self.server.set_status(self.ticket(key), "rejected")

    def done(self, key):
        self.server.set_status(self.ticket(key), "resolved")

    def waits(self, key):
        return self.server.rows(self.ticket(key))[0]["Status"] == "new"

    def count(self):
        return sum(any(key.startswith("bw1-") for key in self.server.keys(row["id"])) for row in self.server.rows())

    def close(self):
        self.server.stop()
        self.folder.cleanup()


def main():
    kinds = {"radicale": lambda: Calendar(caldav.Radicale), "xandikos": lambda: Calendar(caldav.Xandikos), "rt": Tickets}
    with contextlib.closing(kinds[sys.argv[1]]()) as desk:
        print(json.dumps(desk.start()), flush=True)
        for line in sys.stdin:
            word, *rest = line.split()
            times = [datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) for text in rest[1:]]
            found = getattr(desk, word)(*rest[:1], *times)
            print("ok", "" if found is None else found, flush=True)


main()
