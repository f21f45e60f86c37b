#!/usr/bin/env python3
"""A hundred calls in one daemon: memory, descriptors and processes must stay level.

    soak.py BELLWETHER [CALLS]

The daemon has several call probes of 3 s, each due every minute, and runs until the calls are made.
"""

import pathlib
import subprocess
import sys
import time

from daemon import Daemon, wait_for
from proc import children, status

BINARY = sys.argv[1]
CALLS = int(sys.argv[2]) if len(sys.argv) > 2 else 100
PROBES = 8


def made(daemon):
    runs = (value for name, value in daemon.metrics().items() if name.startswith('bellwether_probe_runs_total{probe="call'))
    return int(sum(runs))


def look(daemon):
    pid = daemon.process.pid
    descriptors = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    return status(pid, "VmRSS"), status(pid, "RssAnon"), descriptors, len(children(pid))


def main():
    probes = "[probe.call]\nenabled = false\n" + "".join(
        f'[probe.call-{n}]\nkind = "media"\nschedule = "* * * * *"\ntimeout = "20 s"\nduration = "3 s"\n' for n in range(PROBES))
    with Daemon(BINARY, probes) as daemon:
        first = None
        seen = 0
        version = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()
        print(f"{version}, {time.strftime('%Y-%m-%d', time.gmtime())}, {CALLS} calls")
        print(f"{'calls':>6}{'resident':>12}{'anonymous':>12}{'descriptors':>14}")
        while seen < CALLS:
            wanted = min(CALLS, seen + 10)
            wait_for(f"{wanted} calls", lambda: made(daemon) >= wanted, 600, pause=0.5)
            seen = made(daemon)
            resident, anonymous, descriptors, _ = look(daemon)
            print(f"{seen:6}{resident:8.1f} MiB{anonymous:8.1f} MiB{descriptors:14}", flush=True)
            first = first or (resident, anonymous, descriptors)
        wait_for("the last child to end", lambda: not children(daemon.process.pid))
        failures = sum(value for name, value in daemon.metrics().items() if name.startswith("bellwether_probe_failures_total"))
        resident, anonymous, descriptors, _ = look(daemon)
        daemon.stop()
    bad = [text for text, good in {
        f"resident {resident:.1f} MiB, at most 12": resident <= 12,
        f"anonymous {anonymous:.1f} MiB, at most 4": anonymous <= 4,
        f"descriptors {descriptors}, at first {first[2]}": descriptors <= first[2] + 2,
        f"{failures:.0f} runs failed": failures == 0,
    }.items() if not good]
    print(f"not level: {'; '.join(bad) or 'nothing'}")
    sys.exit(1 if bad else 0)


main()
