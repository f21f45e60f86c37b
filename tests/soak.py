#!/usr/bin/env python3
"""Two hundred calls in one daemon, and two hundred that fail: memory, descriptors and processes must stay level.

    soak.py BELLWETHER [CALLS]

The probes are all due every minute, and the daemon runs until the calls are made. What fails does so as it
would in a school: the far end refuses, answers nonsense or without end, or leads to where nobody answers.
"""

import http.server
import itertools
import pathlib
import socket
import subprocess
import sys
import threading
import time

from daemon import Daemon, wait_for
from proc import children, status

BINARY = sys.argv[1]
CALLS = int(sys.argv[2]) if len(sys.argv) > 2 else 200
# How many probes of each kind; together they need less than a minute.
WHOLE = 12
FAILING = {"refused": 25, "garbage": 25, "endless": 12, "silent": 2}
# In MiB, of a daemon with a dozen probes; sixty-four need more, but no more from call to call.
BOUNDS = {"resident": 12, "anonymous": 4}
# What may come on top in the second half of the calls, in MiB: pages move between in use and free.
LEVEL = 0.5
missed = []


class FarEnd(http.server.BaseHTTPRequestHandler):
    """Every way in which a far end does not answer an offer."""

    nobody = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    nobody.bind(("127.0.0.1", 0))

    def do_POST(self):
        offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
        match self.path:
            case "/refused":
                self.answer(403, b"not today")
            case "/garbage":
                self.answer(201, b"v=0\r\no=- 1 1 IN IP4 \r\nm=audio x y z\r\na=candidate:\r\na=ssrc:-1\r\n" * 50)
            case "/endless":
                self.answer(201, None)
            case "/silent":
                self.answer(201, self.nowhere(offer).encode())

    def do_DELETE(self):
        self.answer(200, b"")

    def answer(self, status_code, body):
        self.send_response(status_code)
        self.send_header("Content-Type", "application/sdp")
        self.send_header("Location", "/resource")
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            for part in [body] if body is not None else itertools.repeat(b"a=x:" + b"y" * 1000 + b"\r\n"):
                self.wfile.write(part)
        except OSError:
            self.close_connection = True

    def nowhere(self, offer):
        """The offer as its own answer, with a candidate at which nobody listens."""
        kept = [line for line in offer.splitlines() if not line.startswith("a=candidate")]
        host, port = self.nobody.getsockname()
        candidate = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
        lines = []
        for line in kept:
            lines.append(line.replace("a=setup:actpass", "a=setup:passive"))
            if line.startswith("a=mid:"):
                lines.append(candidate)
        return "\r\n".join(lines) + "\r\n"

    def log_message(self, *_):
        pass


def total(daemon, counter, probe=""):
    start = f'bellwether_probe_{counter}_total{{probe="{probe}'
    return int(sum(value for name, value in daemon.metrics().items() if name.startswith(start)))


def look(daemon):
    pid = daemon.process.pid
    descriptors = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    return status(pid, "VmRSS"), status(pid, "RssAnon"), descriptors, len(children(pid))


def probe(name, far_end="", timeout=20):
    return (f'[probe.{name}]\nkind = "media"\nschedule = "* * * * *"\ntimeout = "{timeout} s"\nduration = "2 s"\n'
            + (f"[probe.{name}.far_end]\n{far_end}\n" if far_end else ""))


def soak(what, probes, expected, bounds=None):
    """Runs the probes until they have made all calls. `expected` says what is wrong with how they ended."""
    print(f"\n{what}\n{'calls':>6}{'resident':>12}{'anonymous':>12}{'descriptors':>14}{'children':>10}")
    with Daemon(BINARY, "[probe.call]\nenabled = false\n[probe.voice]\nenabled = false\n" + probes) as daemon:
        looks = []
        seen = 0
        while seen < CALLS:
            wanted = min(CALLS, seen + 20)
            wait_for(f"{wanted} calls", lambda: total(daemon, "runs", "call") >= wanted, 600, pause=0.5)
            seen = total(daemon, "runs", "call")
            resident, anonymous, descriptors, processes = look(daemon)
            print(f"{seen:6}{resident:8.1f} MiB{anonymous:8.1f} MiB{descriptors:14}{processes:10}", flush=True)
            looks.append((anonymous, descriptors))
        wait_for("the last child to end", lambda: not children(daemon.process.pid), 60)
        resident, anonymous, descriptors, _ = look(daemon)
        runs, failures = total(daemon, "runs", "call"), total(daemon, "failures", "call")
        wrong = expected(daemon, runs, failures)
        daemon.stop()
    then = looks[(len(looks) - 1) // 2]
    levels = {
        f"anonymous {anonymous:.1f} MiB, half-way {then[0]:.1f}": anonymous <= then[0] + LEVEL,
        f"descriptors {descriptors}, half-way {then[1]}": descriptors <= then[1] + 2,
    }
    if bounds:
        levels[f'resident {resident:.1f} MiB, at most {bounds["resident"]}'] = resident <= bounds["resident"]
        levels[f'anonymous {anonymous:.1f} MiB, at most {bounds["anonymous"]}'] = anonymous <= bounds["anonymous"]
    bad = [text for text, good in levels.items() if not good] + wrong
    missed.extend(bad)
    print(f"{failures} of {runs} failed; not held: {'; '.join(bad) or 'nothing'}")


def none_fails(_, __, failures):
    return [f"{failures} runs failed"] if failures else []


def all_fail(daemon, runs, failures):
    """Each kind fails as what it is, within its deadline."""
    wrong = [f"{failures} of {runs} runs failed"] if failures != runs else []
    for kind in FAILING:
        reasons = {name.split('reason="')[1].rstrip('"}') for name, value in daemon.metrics().items()
                   if name.startswith(f'bellwether_probe_failures_total{{probe="call-{kind}') and value}
        print(f"{kind}: {', '.join(sorted(reasons))}")
        if reasons != {"timeout" if kind == "silent" else "signalling"}:
            wrong.append(f"{kind} failed with {sorted(reasons)}")
    return wrong


def main():
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version}, {time.strftime('%Y-%m-%d', time.gmtime())}, {CALLS} calls of each")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FarEnd)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    soak("calls of 2 s", "".join(probe(f"call-{n}") for n in range(WHOLE)), none_fails, BOUNDS)
    soak("calls that fail", "".join(
        probe(f"call-{kind}-{n}", f'kind = "reflect"\nurl = "http://127.0.0.1:{server.server_port}/{kind}"',
              4 if kind == "silent" else 20)
        for kind, count in FAILING.items() for n in range(count)), all_fail)
    sys.exit(1 if missed else 0)


main()
