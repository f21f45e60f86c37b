#!/usr/bin/env python3
"""Vendors' servers whose answers get lost, come late or say something else than what was done: no booking is doubled,
none is lost.

    replies.py BELLWETHER ORDERS [VENDOR…]

ORDERS is the example `orders`: the planner, the store and the dispatcher of the daemon with a clock that can run
fast. Each test has a server of its own. The same ways are gone by a careless client, too, which must come to grief on
them, or they would show nothing.
"""

import collections
import concurrent.futures
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from daemon import Daemon, wait_for
from exactly_once import SITE, set_up
from vendors.table import VENDORS, vendor

from proxy import Proxy, broken, dropping, late

BINARY, ORDERS = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
SHARE = 0.3


class Site:
    """A ledger with many bookings, and what is done with it."""

    def __init__(self, folder, place, room, count, origin=None, **channel):
        self.folder, self.place, self.count = pathlib.Path(folder) / room, place, count
        self.folder.mkdir()
        (self.folder / "bellwether.toml").write_text(SITE.format(room=room) + place.config("vendor", origin, **channel))
        place.prepare_fast()

    def start(self, **options):
        options = {"config": self.folder / "bellwether.toml", "state": self.folder / "state", "count": self.count,
                   "speed": self.place.SPEED, "within": 600} | options
        command = [ORDERS, *(f"--{name}={value}" for name, value in options.items())]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def deliver(self, **options):
        with self.start(**options) as process:
            told = process.stdout.read()
        assert process.returncode == 0, f"ended with {process.returncode}"
        return json.loads(told)


def judge(place, told, needing_people=0):
    """One object per booking, or a person who is asked; returns a line about it."""
    there = place.keys()
    states = collections.Counter(one["state"] for one in told.values())
    extra = sum(count - 1 for count in there.values() if count > 1) + len(set(there) - set(told))
    missing = [key for key, one in told.items() if key not in there and one["state"] != "needs_human"]
    line = (f"{len(told)} bookings in {sum(one['attempts'] for one in told.values())} attempts: {extra} extra, "
            f"{len(missing)} missing, {states['needs_human']} need a person")
    unsettled = {key: one for key, one in told.items() if not set(one["orders"]) <= {"done", "dead"}}
    assert not extra and not missing and not unsettled, f"{line}; {list(unsettled.items())[:3]}"
    assert states["needs_human"] <= needing_people, line
    return line


def test_answers_are_dropped(place, folder):
    with Proxy(place.origin, dropping(SHARE)) as proxy:
        told = Site(folder, place, "dropped", 100, proxy.origin).deliver()
    assert proxy.lost >= 15, f"only {proxy.lost} answers were lost"
    return f"{proxy.lost} of {proxy.lost + proxy.passed} answers lost; " \
        + judge(place, told, 0 if place.KEYED else 2)


def test_a_careless_client_doubles(place, folder):
    place.prepare_naive()
    keys = [f"bw1-careless{number:018}" for number in range(100)]

    def send(key):
        for _ in range(30):
            try:
                return place.naive(proxy.origin, key)
            except OSError:
                continue
        raise AssertionError(f"{key} got no answer in 30 attempts")

    with Proxy(place.origin, dropping(SHARE)) as proxy, concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(send, keys))
    there = place.keys()
    extra = sum(there[key] - 1 for key in keys)
    assert extra > 0, "a client that knows no keys made nothing twice: these tests show nothing"
    return f"{proxy.lost} answers lost; {extra} extra, as it must be"


def test_500_although_it_was_done(place, folder):
    with Proxy(place.origin, broken(SHARE)) as proxy:
        told = Site(folder, place, "broken", place.SOME, proxy.origin).deliver()
    assert proxy.lost >= 5, f"only {proxy.lost} answers were changed"
    return f"{proxy.lost} answers 500; " + judge(place, told, 0 if place.KEYED else 2)


def test_slower_than_the_deadline(place, folder):
    with Proxy(place.origin, late(SHARE, 2 * int(place.DEADLINE.split()[0]))) as proxy:
        told = Site(folder, place, "late", 12, proxy.origin, timeout=place.DEADLINE).deliver()
    assert sum(one["attempts"] for one in told.values()) > len(told), "nothing was late"
    return judge(place, told)


def test_work_that_takes_longer_than_the_deadline(place, folder):
    if "slow" not in place.FAULTS:
        return None
    place.misbehave(slow=1)
    told = Site(folder, place, "slow", 8, timeout="300 ms").deliver()
    assert min(one["attempts"] for one in told.values()) > 1, "nothing was late"
    return judge(place, told)


def broken_search(place, folder, room, heals=True, **faults):
    """Nothing is doubled while the fault lasts; what had to wait is delivered once it is gone."""
    if not set(faults) <= place.FAULTS:
        return None
    place.misbehave(**faults)
    with Proxy(place.origin, dropping(SHARE)) as proxy:
        site = Site(folder, place, room, place.SOME, proxy.origin)
        told = site.deliver(within=600 if place.KEYED or not heals else 45)
        waiting = sum(not set(one["orders"]) <= {"done", "dead"} for one in told.values())
        doubled = {key: count for key, count in place.keys().items() if count > 1}
        assert not doubled, f"while the search was broken: {doubled}"
        assert not (waiting and place.KEYED), f"{waiting} wait for a search that they do not need"
        place.misbehave(**{name: None if name == "filter" else 0 for name in faults})
        if waiting:
            told = site.deliver()
    people = sum(one["state"] == "needs_human" for one in told.values())
    return f"{waiting} waited for it to heal; " + judge(place, told, 0 if place.KEYED else people)


def test_a_search_that_lags(place, folder):
    return broken_search(place, folder, "lag", heals=False, lag=60 / place.SPEED)


def test_a_search_that_finds_nothing(place, folder):
    return broken_search(place, folder, "nothing", filter="nothing")


def test_a_search_that_finds_everything(place, folder):
    return broken_search(place, folder, "everything", filter="everything")


def test_a_receiver_without_keys_gets_nothing_twice(place, folder):
    if not hasattr(place, "BLIND"):
        return None
    place.prepare_naive()
    with Proxy(place.origin, dropping(SHARE)) as proxy:
        told = Site(folder, place, "blind", 50, proxy.origin, **place.BLIND).deliver()
    people = sum(one["state"] == "needs_human" for one in told.values())
    assert people == proxy.lost, f"{proxy.lost} answers were lost, and {people} bookings need a person"
    return judge(place, told, people)


def resident(process):
    """Bytes of memory that the process holds by itself."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def test_300_orders_with_a_killed_dispatcher(place, folder):
    """Killed ten times while it delivers, it comes to the end that it comes to undisturbed."""
    if not place.MANY:
        return None
    draws, site = random.Random(3), Site(folder, place, "killed", 300)
    kills = 0
    for _ in range(10):
        enough = place.keys().total() + draws.randint(5, 25)
        process = site.start()
        while place.keys().total() < enough and process.poll() is None:
            time.sleep(draws.uniform(0, 0.01))
        kills += process.poll() is None
        process.kill()
        process.wait()
        process.stdout.close()
    told = site.deliver()
    ends = lambda told: collections.Counter((one["state"], *one["orders"]) for one in told.values())
    line = judge(place, told)
    assert kills == 10, f"only {kills} kills came while it delivered"
    undisturbed = Site(folder, place, "undisturbed", 300).deliver()
    assert ends(told) == ends(undisturbed) and len(told) == 300, f"{ends(told)}, undisturbed {ends(undisturbed)}"
    return f"{kills} kills; {line}"


def test_300_orders_in_flat_memory(place, folder):
    """Read while they drain, from the first sixth on until the last is there: what is told in the end is all in memory."""
    if not place.MANY:
        return None
    site, seen = Site(folder, place, "flat", 300), []
    process = site.start()
    while process.poll() is None:
        if 50 <= place.keys().total() < 300:
            try:
                seen.append(resident(process))
            except OSError:
                break
        time.sleep(0.05)
    told = json.loads(process.stdout.read())
    process.wait()
    process.stdout.close()
    seen = [size for size in seen if size]
    assert len(seen) >= 5, f"it was over after {len(seen)} looks"
    growth = max(seen) - seen[0]
    assert growth < 4 << 20, f"grew by {growth / 2**20:.1f} MiB"
    return f"{seen[0] / 2**20:.1f} MiB, at most {growth / 2**10:.0f} KiB more; {judge(place, told)}"


def test_what_the_vendor_does_is_seen(place, folder):
    """Moved, confirmed; then the ledger is lost, and a new one takes the booking over and makes no other."""
    if not hasattr(place, "control"):
        return None
    listener = '[web]\nlisten = "127.0.0.1:0"\n'
    config = SITE.format(room="seen").replace(listener, "") + place.config("vendor")
    (pathlib.Path(folder) / "daemon").mkdir()
    daemon = Daemon(BINARY, config, folder=pathlib.Path(folder) / "daemon")

    def stands(state):
        with daemon:
            booking = wait_for(state, lambda: next((one for one in daemon.bookings() if one["state"] == state), None))
            daemon.stop()
        return booking["key"]

    key = stands("requested")
    place.control(key=key, window={"start": "2037-03-03T02:00:00Z", "end": "2037-03-03T03:00:00Z"}, note="not before")
    assert stands("countered") == key
    place.control(key=key, state="confirmed")
    assert stands("confirmed") == key
    shutil.rmtree(daemon.state)
    assert stands("requested") == key
    assert daemon.logged("taken over from an earlier ledger")
    assert place.keys() == {key: 1}, place.keys()
    return "countered, confirmed, taken over by a new ledger"


def main():
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    failed = passed = 0
    for name in sys.argv[3:] or VENDORS:
        for title, test in tests.items():
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="bellwether-replies-") as folder:
                # Some servers run as users of their own.
                pathlib.Path(folder).chmod(0o755)
                place = vendor(name, pathlib.Path(folder) / "vendor").start()
                try:
                    set_up(BINARY, place, pathlib.Path(folder))
                    said = test(place, folder)
                    if said:
                        passed += 1
                        print(f"ok      {name} {title} ({time.monotonic() - began:.0f} s): {said}", flush=True)
                except Exception:
                    failed += 1
                    print(f"FAILED  {name} {title}", flush=True)
                    traceback.print_exc()
                finally:
                    place.stop()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
