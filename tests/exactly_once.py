#!/usr/bin/env python3
"""Kills the daemon at every call by which it writes, sends or syncs, one after another, from the moment that a fault
is found until its booking is settled, and shows that the vendor has each booking exactly once.

    exactly_once.py BELLWETHER [VENDOR…]

Each round is a fresh ledger: the daemon is started with a limit that nothing can keep, and is killed right before
call N, for N = 1, 2, 3 … until a round passes without a kill. Of every write and send the first half is also made
alone. The daemon is then started again and left to deliver. The calls are counted by vendors/kill.c.
"""

import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from daemon import on_any_machine
from vendors.table import VENDORS, vendor

HERE = pathlib.Path(__file__).parent
# Whatever is written to standard error then comes before anything of the booking is stored.
TRIGGER = "beyond its limit"
SITE = """
[school]
name = "Test School"
[school.contact]
name = "IT office"
phone = "100"
[room]
id = "{room}"
name = "Room 101"
[web]
listen = "127.0.0.1:0"
[probe.call]
enabled = false
[probe.voice]
enabled = false
[channel.folder]
enabled = false
[metrics.cpu_utilization]
limit = {{ enter = -1.0, clear = -2.0, bad = 1, of = 1, recover = 1 }}
critical_limit = false
"""
# A round takes about a second; one that takes this long has lost its booking.
PATIENCE = 120


class Round:
    """One ledger, one kill."""

    def __init__(self, binary, shim, place, number, torn):
        self.binary, self.shim, self.number, self.torn = binary, shim, number, torn
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-once-"))
        self.room = f"{place.NAME}-{number}-{'torn' if torn else 'whole'}"
        (self.folder / "bellwether.toml").write_text(on_any_machine(SITE.format(room=self.room) + place.config("vendor")))
        self.record = self.folder / "record"
        self.daemon = None

    def start(self, **environment):
        command = [self.binary, "--config", self.folder / "bellwether.toml", "--state", self.folder / "state"]
        self.log = open(self.folder / "log", "ab")
        self.daemon = subprocess.Popen(command, stderr=self.log, env=os.environ | environment)

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()
        self.log.close()

    def orders(self):
        """Key of the booking, operation and state of each order."""
        try:
            with sqlite3.connect(f"file:{self.folder}/state/bellwether.db?mode=ro", uri=True, timeout=20) as ledger:
                return ledger.execute("SELECT booking_key, operation, state FROM orders ORDER BY op_seq").fetchall()
        except sqlite3.OperationalError:
            return []

    def opened(self):
        """States of the orders that open bookings, by booking."""
        return {key: state for key, operation, state in self.orders() if operation == "open"}

    def settled(self):
        states = self.opened()
        return states and set(states.values()) <= {"done", "dead"}

    def wait(self, condition):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.02)
        log = (self.folder / "log").read_text(errors="replace")
        raise AssertionError(f"not settled after {PATIENCE} s: {self.orders()}\n{log[-3000:]}")

    def counted(self):
        """The calls that were counted: number, call and what it was done to."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [(call, self.plain(what)) for _, call, what in (line.split(" ", 2) for line in lines)]

    def plain(self, what):
        """The same word for the same thing in each round."""
        what = re.sub(r"^(pipe|socket):.*", r"\1", what)
        what = "standard error" if what == str(self.folder / "log") else what
        return "the vendor" if what.startswith("port ") else what.replace(str(self.folder) + "/", "")

    def run(self):
        """Returns the calls up to the kill, and the states that it left; None if none came before the end."""
        environment = {"LD_PRELOAD": str(self.shim), "KILL_TRIGGER": TRIGGER, "KILL_AT": str(self.number),
                       "KILL_RECORD": str(self.record)} | ({"KILL_TORN": "1"} if self.torn else {})
        self.start(**environment)
        self.wait(lambda: self.daemon.poll() is not None or self.settled())
        killed = self.daemon.poll() is not None
        if killed:
            assert self.daemon.returncode == -signal.SIGKILL, f"ended with {self.daemon.returncode}"
            self.log.close()
        else:
            self.kill()
        calls, left = self.counted(), self.opened()
        # It may have come after the settlement was seen, and before the daemon was stopped here.
        killed = killed or self.number > 0 and len(calls) >= self.number
        if killed:
            self.start()
            self.wait(self.settled)
            self.kill()
        self.booked = self.opened()
        assert set(self.booked.values()) == {"done"}, self.booked
        lost = set(left) - set(self.booked)
        assert not lost, f"bookings are gone from the ledger: {lost}"
        return (calls, left) if killed else None


def one_round(binary, shim, place, number, torn=False):
    one = Round(binary, shim, place, number, torn)
    try:
        found = one.run()
        for key in one.booked:
            objects = place.objects(key)
            assert len(objects) == 1, f"{key} is there {len(objects)} times: {objects}"
    except BaseException:
        if one.daemon and one.daemon.poll() is None:
            one.kill()
        print(f"kept for a look: {one.folder}", file=sys.stderr)
        raise
    shutil.rmtree(one.folder)
    return number, torn, found, set(one.booked)


def set_up(binary, place, folder):
    """As an operator does: the check also makes what a channel's search is tested by."""
    (folder / "check.toml").write_text(SITE.format(room="check") + place.config("vendor"))
    subprocess.run([binary, "--config", folder / "check.toml", "channel", "check", "vendor"], check=True,
                   stdout=subprocess.DEVNULL)


def points(calls):
    """What the last call was, and the how-manieth of its kind."""
    last = calls[-1]
    return *last, calls.count(last)


def all_rounds(binary, shim, place):
    """Returns the points that were hit, the states that the kills left, the keys booked, and the failures."""
    hit, states, keys, failures = set(), collections.Counter(), set(), []
    with concurrent.futures.ThreadPoolExecutor(2 * os.cpu_count()) as pool:
        running, following, end = set(), 1, None
        while running or end is None:
            while end is None and len(running) < 2 * os.cpu_count():
                running.add(pool.submit(one_round, binary, shim, place, following))
                following += 1
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                if future.exception():
                    failures.append(future.exception())
                    print(f"FAILED  {place.NAME}: {future.exception()}", file=sys.stderr, flush=True)
                    end = end or following if len(failures) > 5 else end
                    continue
                number, torn, found, booked = future.result()
                keys |= booked
                if found is None:
                    end = min(end or number, number)
                    continue
                calls, left = found
                hit.add((torn, *points(calls)))
                states[next(iter(left.values()), "none")] += 1
                if not torn and calls[-1][0].startswith(("write", "pwrite", "send")):
                    running.add(pool.submit(one_round, binary, shim, place, number, True))
    return hit, states, keys, failures


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="bellwether-vendors-") as folder:
        folder = pathlib.Path(folder)
        # Some servers run as users of their own.
        folder.chmod(0o755)
        shim = folder / "kill.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, HERE / "vendors/kill.c", "-ldl"], check=True)
        for name in sys.argv[2:] or VENDORS:
            began = time.monotonic()
            place = vendor(name, folder / name).start()
            try:
                set_up(binary, place, folder)
                hit, states, keys, failures = all_rounds(binary, shim, place)
                there = place.keys()
            finally:
                place.stop()
            table = collections.Counter((call, what) for _, call, what, _ in hit)
            for (call, what), count in sorted(table.items()):
                print(f"  {call:12} {what:36} {count:4}")
            said = ", ".join(f"{state} {count}" for state, count in sorted(states.items()))
            print(f"{name}: {states.total()} kills at {len(hit)} points; the order was then: {said}")
            extra, missing = {key: n for key, n in there.items() if n > 1 or key not in keys}, keys - set(there)
            print(f"{name}: {len(keys)} bookings, {len(extra)} extra, {len(missing)} missing, {len(failures)} rounds "
                  f"failed ({time.monotonic() - began:.0f} s)", flush=True)
            # What is settled is killed as well, at the end of each round.
            edges = {"none", "pending", "inflight"} - set(states)
            if edges:
                print(f"{name}: no kill left an order in {edges}")
            failed += bool(extra or missing or failures or edges)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
