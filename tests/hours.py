#!/usr/bin/env python3
"""Real inspections at a cadence of one minute, with a past, a page that gets slow and fails for a while: what was
recorded is exported and replayed, and has to give the same bookings, and the same levels of all series.

    hours.py BELLWETHER [MINUTES]
"""

import datetime
import gzip
import http.server
import json
import pathlib
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from daemon import Daemon

BINARY = sys.argv[1]
MINUTES = float(sys.argv[2]) if len(sys.argv) > 2 else 120.0
ROOM = "two-hours"
BEGUN = time.monotonic()


class Page(http.server.BaseHTTPRequestHandler):
    """Two and a half times slower from a sixth of the time on, beyond its limits for a while, and failing for one."""

    def do_GET(self):
        part = (time.monotonic() - BEGUN) / (60 * MINUTES)
        time.sleep(3.5 if 0.38 <= part < 0.43 else 0.2 if part >= 0.17 else 0.08)
        self.send_response(500 if 0.58 <= part < 0.63 else 200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def past():
    """Twenty days of the page."""
    noise = random.Random(3)
    now = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0)
    for step in range(20 * 288, 0, -1):
        at = (now - datetime.timedelta(minutes=5 * step)).isoformat().replace("+00:00", "Z")
        for metric, value in (("page_response", 0.082 * (1 + 0.1 * (noise.random() - 0.3))), ("page_success", 1)):
            yield json.dumps({"ts": at, "metric": metric, "labels": {"room": ROOM, "probe": "portal"}, "value": value}) + "\n"


def known(booking, evidence, onset):
    """What a booking is known by in both."""
    return booking["cause"], tuple(sorted(set(evidence))), onset[:19]


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = f"""
[room]
id = "{ROOM}"
[probe.call]
enabled = false
[probe.voice]
schedule = "* * * * *"
[probe.portal]
kind = "page"
url = "http://127.0.0.1:{server.server_port}/"
schedule = "* * * * *"
"""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        daemon = Daemon(BINARY, config, folder=folder)

        def run(*words):
            return subprocess.run(daemon.command(*words), check=True, capture_output=True, text=True).stdout

        (folder / "past.jsonl").write_text("".join(past()))
        run("history", "import", folder / "past.jsonl")
        with daemon:
            time.sleep(60 * MINUTES)
            daemon.stop()
        bookings = [booking for booking in daemon.bookings() if booking["kind"] != "upgrade_check"]
        run("history", "export", folder / "history.jsonl.gz")
        said = run("replay", folder / "history.jsonl.gz", "--state-out", folder / "replayed.json")
        last = {}
        for action in map(json.loads, said.splitlines()):
            if action["action"] != "check":
                last[action["booking"]] = action
        lived = sorted(known(booking, (one["metric"] for one in booking["evidence"]), booking["judgement"]["onset"])
                       for booking in bookings)
        replayed = sorted(known(action, action["metrics"], action["onset"]) for action in last.values())
        print(f"bookings of the daemon: {lived}\nbookings of the replay: {replayed}")

        stored = json.loads((folder / "replayed.json").read_text())
        levels = {(measure["metric"], measure["labels"]): stored["limits"][0].get(str(place), {}).get("level", "pass")
                  for place, measure in enumerate(stored["measures"])}
        ledger = sqlite3.connect(f"file:{daemon.state}/bellwether.db?mode=ro", uri=True)
        differ, same = [], 0
        for series, judged in ledger.execute("SELECT key, json FROM memory WHERE part = 'series'"):
            metric, labels = re.fullmatch(r"(\w+)\{(.*)\}", series).groups()
            labels = ",".join(sorted(f"{name}={value}" for name, value in re.findall(r'(\w+)="([^"]*)"', labels)))
            if (metric, labels) not in levels:
                continue  # booked by nobody
            level = json.loads(judged)["level"]
            same += level == levels[metric, labels]
            if level != levels[metric, labels]:
                differ.append((series, level, levels[metric, labels]))
        lines = sum(1 for _ in gzip.open(folder / "history.jsonl.gz"))
        print(f"{MINUTES:g} minutes, {lines} lines; levels: {same} the same, other ones: {differ}")
        sys.exit(bool(lived != replayed or differ or not same))


if __name__ == "__main__":
    main()
