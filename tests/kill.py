#!/usr/bin/env python3
"""Kills the daemon with SIGKILL at every point between a fault and its booking, and shows that no
booking is lost and none is doubled.

    kill.py BELLWETHER [ROUNDS]

Each round is a fresh ledger and a receiver that is a process of its own. The daemon is started with a
limit that nothing can keep, killed at the point, started again, and left to deliver. Then, over every
request the receiver ever stored: one key per booking, equal bytes per key, and the key of every
committed order. ROUNDS (10) kills are made at each point, with each kind of receiver; what point a
kill really hit is read from the ledger and the receiver after it, and misses are made up for.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading

from daemon import on_any_machine, wait_for

HERE = pathlib.Path(__file__).parent
POINTS = {
    "ok": ["detected", "committed", "inflight", "first-byte", "replied"],
    "500": ["detected", "committed", "inflight", "first-byte", "replied"],
    "drop": ["detected", "committed", "inflight", "first-byte", "replied"],
    "down": ["detected", "committed", "inflight"],
}


class Missed(Exception):
    """The kill hit another point than the one aimed at."""


def reserved():
    """A socket that keeps its port from everybody but the receiver, and does not listen: while the
    receiver is down, the port must refuse, and nobody else may have it."""
    place = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        place.setsockopt(socket.SOL_SOCKET, option, 1)
    place.bind(("127.0.0.1", 0))
    return place


class Round:
    """One ledger, one receiver, one kill."""

    def __init__(self, binary, mode, point):
        self.binary, self.mode, self.point = binary, mode, point
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-kill-"))
        self.place = reserved()
        self.port = self.place.getsockname()[1]
        self.receiver = self.daemon = None
        (self.folder / "secret").write_text("whsec_c2VjcmV0IG9mIHRoZSBraWxsIHRlc3Q=\n")
        (self.folder / "secret").chmod(0o600)
        (self.folder / "bellwether.toml").write_text(on_any_machine(f"""
[school]
name = "Test School"
[school.contact]
name = "IT office"
phone = "100"
[room]
id = "r101"
name = "Room 101"
[web]
listen = "127.0.0.1:0"
[probe.call]
enabled = false
[probe.voice]
enabled = false
[channel.folder]
enabled = false
[channel.vendor]
kind = "webhook"
url = "http://127.0.0.1:{self.port}/bookings"
secret_file = "{self.folder}/secret"
[metrics.cpu_utilization]
limit = {{ enter = -1.0, clear = -2.0, bad = 1, of = 1, recover = 1 }}
critical_limit = false
"""))

    # the receiver

    def start_receiver(self, answer, hold=""):
        command = [sys.executable, HERE / "receiver.py", self.folder / "receiver", str(self.port), answer, hold]
        self.receiver = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.receiver.stdout.readline() == b"listening\n"

    def stop_receiver(self):
        if self.receiver:
            self.receiver.kill()
            self.receiver.wait()
            self.receiver.stdout.close()
            self.receiver = None

    def go(self):
        (self.folder / "receiver").mkdir(exist_ok=True)
        (self.folder / "receiver" / "go").touch()

    def said(self, name):
        return (self.folder / "receiver" / name).exists()

    def requests(self, suffix="raw"):
        return sorted((self.folder / "receiver" / "requests").glob(f"*.{suffix}"))

    # the daemon

    def start_daemon(self):
        command = [self.binary, "--config", self.folder / "bellwether.toml", "--state", self.folder / "state"]
        self.daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self.read_lines, args=(self.daemon.stderr,), daemon=True)
        self.reader.start()

    def read_lines(self, stderr):
        for line in stderr:
            self.lines.append(line)

    def logged(self, text):
        return any(text in line for line in self.lines)

    def kill_daemon(self):
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        self.reader.join()
        self.daemon.stderr.close()

    # the ledger

    def ledger(self):
        return sqlite3.connect(self.folder / "state" / "bellwether.db", isolation_level=None, timeout=20)

    def orders(self):
        try:
            with sqlite3.connect(f"file:{self.folder}/state/bellwether.db?mode=ro", uri=True, timeout=20) as ledger:
                return ledger.execute("SELECT op_key, state, operation FROM orders ORDER BY op_seq").fetchall()
        except sqlite3.OperationalError:
            return []

    def state_of_open(self):
        return next((state for _, state, operation in self.orders() if operation == "open"), None)

    # the kill

    def kill_at_point(self):
        """Starts the daemon and kills it at the point; whatever else is stopped stays stopped."""
        if self.mode != "down":
            self.start_receiver(self.mode, {"inflight": "accept", "first-byte": "byte", "replied": "byte"}.get(self.point, ""))
        self.start_daemon()
        wait_for("the daemon to listen", lambda: self.logged("listening on"))
        lock = self.ledger()
        if self.point in ("detected", "committed"):
            lock.execute("BEGIN IMMEDIATE")
            wait_for("the detection", lambda: self.logged("beyond its limit"), pause=0)
        if self.point == "committed":
            lock.execute("ROLLBACK")
            wait_for("the commit", lambda: self.state_of_open(), pause=0)
        elif self.point == "inflight":
            wait_for("an order in flight", lambda: self.state_of_open() == "inflight", pause=0)
        elif self.point == "first-byte":
            wait_for("the first byte", lambda: self.said("first-byte"), pause=0)
        elif self.point == "replied":
            # Nothing is settled while the ledger is locked.
            wait_for("the first byte", lambda: self.said("first-byte"), pause=0)
            lock.execute("BEGIN IMMEDIATE")
            self.go()
            suffix = "done" if self.mode == "drop" else "answered"
            wait_for("the reply", lambda: self.requests(suffix), pause=0)
        self.kill_daemon()
        lock.close()
        self.check_hit()

    def check_hit(self):
        state, seen = self.state_of_open(), len(self.requests())
        hit = {
            "detected": state is None and seen == 0,
            "committed": state == "pending" and seen == 0,
            "inflight": state == "inflight",
            "first-byte": state == "inflight" and seen == 1,
            "replied": state == "inflight" and seen >= 1,
        }[self.point]
        if not hit:
            raise Missed(f"{self.point}: {state}, {seen} requests")

    # after it

    def recover(self):
        """Lets held requests go, starts the daemon again, and heals the receiver once it was met again."""
        committed = {key for key, _, _ in self.orders()}
        self.go()
        if self.mode in ("500", "drop"):
            self.stop_receiver()
            self.start_receiver(self.mode)
            self.start_daemon()
            wait_for("another try in vain", lambda: self.logged("perhaps delivered"))
            self.stop_receiver()
            self.start_receiver("ok")
        elif self.mode == "down":
            self.start_daemon()
            wait_for("a try in vain", lambda: self.logged("not delivered"))
            self.start_receiver("ok")
        else:
            self.start_daemon()
        # After four tries in vain the next may come 40 s later.
        wait_for("the delivery", lambda: self.state_of_open() == "done", seconds=90)
        committed |= {key for key, _, _ in self.orders()}
        self.daemon.terminate()
        assert self.daemon.wait(10) == 0, "the daemon did not stop well"
        self.reader.join()
        self.daemon.stderr.close()
        return committed

    def check_requests(self, committed):
        bodies, bookings = collections.defaultdict(set), collections.defaultdict(set)
        for request in self.requests():
            raw = request.read_bytes()
            if not request.with_suffix(".done").exists():
                continue  # the daemon was killed while it sent this one
            head, _, body = raw.partition(b"\r\n\r\n")
            key = re.search(rb'(?i)\r\nidempotency-key: "([^"]+)"', head).group(1).decode()
            event = json.loads(body)
            assert event["id"] == key, f"the event is {event['id']}, its key {key}"
            bodies[key].add(body)
            if ".open." in event["type"]:
                fault = tuple(event["data"][name] for name in ("kind", "scope", "family", "cause"))
                bookings[fault].add((event["subject"], key))
        for key, variants in bodies.items():
            assert len(variants) == 1, f"{key} was sent with {len(variants)} different bodies"
        for fault, keys in bookings.items():
            assert len(keys) == 1, f"{fault} was booked as {keys}"
        assert committed, "nothing was booked"
        missing = committed - set(bodies)
        assert not missing, f"committed and never sent: {missing}"

    def close(self, keep):
        for process in (self.daemon, self.receiver):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        self.place.close()
        if not keep:
            shutil.rmtree(self.folder)


def one_kill(binary, mode, point):
    """Kills until the point is hit; returns how many tries that took."""
    for tries in range(1, 21):
        one = Round(binary, mode, point)
        failed = True
        try:
            one.kill_at_point()
            one.check_requests(one.recover())
            failed = False
            return tries
        except Missed:
            failed = False
        except BaseException:
            print(f"kept for a look: {one.folder}", "".join(one.lines[-20:]), sep="\n", file=sys.stderr)
            raise
        finally:
            one.close(keep=failed)
    raise AssertionError(f"{mode}/{point} was not hit in 20 tries")


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    jobs = [(mode, point) for mode, points in POINTS.items() for point in points for _ in range(rounds)]
    passed, failed, tries = collections.Counter(), collections.Counter(), collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(4 * os.cpu_count()) as pool:
        running = {pool.submit(one_kill, binary, *job): job for job in jobs}
        for future in concurrent.futures.as_completed(running):
            job = running[future]
            if future.exception():
                failed[job] += 1
                print(f"{job}: {future.exception()}", file=sys.stderr)
            else:
                passed[job] += 1
                tries[job] += future.result()
    print(f"{'receiver':10}{'killed':12}{'kills':>6}{'tries':>6}{'failed':>7}")
    for mode, points in POINTS.items():
        for point in points:
            job = (mode, point)
            print(f"{mode:10}{point:12}{passed[job]:6}{tries[job]:6}{failed[job]:7}")
    print(f"{passed.total()} passed, {failed.total()} failed")
    sys.exit(1 if failed else 0)


main()
