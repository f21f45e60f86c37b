#!/usr/bin/env python3
"""A real client of a classroom in a virtual room: headless Chromium, whose canceller of echo is switched on and
off. What a far end hears of itself must tell the two apart.

    canceller.py BELLWETHER

Chromium plays to the loudspeaker of a PulseAudio server of its own and listens to its microphone (servers.py);
between the two the server itself is the air. `bellwether` calls it as a remote class would.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "peers")]

from daemon import wait_for
from front import Browser
from proc import children, cpu, status
from servers import AIR, SPEAKER, PulseAudio

# From the loudspeaker to the microphone: decibels, and milliseconds.
GAIN, LATENCY = -10, 60
# How far the loss that is found without a canceller may be from that: the client's own way of playing and
# recording is between.
NEAR = 3
# The least by which a canceller makes the loss greater: real ones take 24 to 28 dB off speech-like sound.
LEAST = 15
# Calls of each kind, at most, until this box had the time to measure one.
ATTEMPTS = 4

CANCELLER, NOISE, GAINS = "echoCancellation", "noiseSuppression", "autoGainControl"
# What the client does to what its microphone takes.
KINDS = {
    "nothing": {},
    "canceller": {CANCELLER: True},
    "noise suppression": {NOISE: True},
    "gain control": {GAINS: True},
    "all of it": {CANCELLER: True, NOISE: True, GAINS: True},
}


class Classroom(Browser):
    """Shows the client's page, and says to it what it is to do to the microphone's sound."""

    def __init__(self):
        self.wanted, self.settings = {}, None
        super().__init__()

    def answer(self, method, path, headers, body):
        if (method, path) == ("GET", "/"):
            return 200, [("Content-Type", "text/html")], (HERE / "room.html").read_bytes()
        if (method, path) == ("GET", "/microphone"):
            return 200, [("Content-Type", "application/json")], json.dumps(self.wanted).encode()
        if (method, path) == ("POST", "/settings"):
            self.settings = json.loads(body)
            return 204, [], b""
        return super().answer(method, path, headers, body)


@contextlib.contextmanager
def client(server, classroom):
    """Chromium with that page, on the devices of the server."""
    with tempfile.TemporaryDirectory(prefix="bellwether-client-") as folder:
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
                   "--disable-features=WebRtcHideLocalIpsWithMdns,AudioServiceSandbox",
                   f"--user-data-dir={pathlib.Path(folder, 'profile')}", classroom.url]
        log = pathlib.Path(folder, "log")
        with open(log, "wb") as out:
            process = subprocess.Popen(command, env=server.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            wait_for("Chromium to show the page", classroom.polled.is_set, 60)
            yield
        except BaseException:
            print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


class Call:
    """One call to the room, with its readings by name."""

    def __init__(self, binary, url):
        with tempfile.TemporaryDirectory(prefix="bellwether-call-") as folder:
            config = pathlib.Path(folder, "bellwether.toml")
            config.write_text(f"""[probe.room]
kind = "echo"
form = "call"
timeout = "60 s"

[probe.room.far_end]
kind = "reflect"
url = "{url}/whip"
""")
            command = [binary, "--config", config, "--state", folder, "inspect", "room", "--json"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.highest = self.cpu = 0.0
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    out, said = process.communicate(timeout=0.2)
                    break
                for child in children(process.pid):
                    with contextlib.suppress(OSError):
                        self.highest = max(self.highest, status(child, "VmHWM") - status(child, "RssFile"))
                        self.cpu = max(self.cpu, cpu(child))
        assert out, f"ended with {process.returncode}: {said}"
        found = json.loads(out)
        self.run, = found["runs"]
        self.readings = {reading["metric"]: reading for reading in found["readings"]}

    def value(self, name):
        reading = self.readings.get(name)
        return None if reading is None or reading["validity"] == "inconclusive" else reading["value"]

    def __str__(self):
        shown = [f"{name.removeprefix('echo_')} {reading['value']:.4g}" for name, reading in self.readings.items()
                 if name.startswith("echo_") and self.value(name) is not None]
        return ", ".join(shown) or f"{self.run['failure']}, {self.run['inconclusive']}, {self.run['absent']}"


def renew_air(server):
    """The air between loudspeaker and microphone: the server's own loop. It must not steer towards its latency, as
    all devices here keep one time; but what once ran dry on a busy box stays late, so each call has a new one."""
    if "loop" in server.modules:
        server.unload("loop")
    server.load("loop", "module-loopback", f"source={SPEAKER}.monitor", f"sink={AIR}", f"latency_msec={LATENCY}",
                "adjust_time=0")
    ours = [stream for stream in json.loads(server.pactl("--format=json", "list", "sink-inputs"))
            if str(stream["owner_module"]) == server.modules["loop"]]
    server.pactl("set-sink-input-volume", str(ours[0]["index"]), f"{GAIN}dB")


def call(binary, server, classroom, name, wanted):
    """A call of which this box does not say that it was too busy."""
    classroom.wanted = {setting: wanted.get(setting, False) for setting in (CANCELLER, NOISE, GAINS)}
    for _ in range(ATTEMPTS):
        renew_air(server)
        made = Call(binary, classroom.url)
        print(f"{name:18} {made}; {made.cpu:.2f} s of processor time, {made.highest:.1f} MiB", flush=True)
        assert made.run["failure"] is None, made.run["failure"]
        done = {setting: classroom.settings[setting] for setting in classroom.wanted}
        assert done == classroom.wanted, f"Chromium does {done} instead of {classroom.wanted}"
        if made.run["inconclusive"] != "host_limited":
            return made
    raise AssertionError(f"{name}: this box was too busy to measure any of {ATTEMPTS} calls")


def check(binary, server):
    """The whole test."""
    classroom = Classroom()
    try:
        with client(server, classroom):
            made = {name: call(binary, server, classroom, name, wanted) for name, wanted in KINDS.items()}
    finally:
        classroom.stop()
    off, on = made["nothing"], made["canceller"]
    loss = off.value("echo_loss")
    assert loss is not None and abs(loss + GAIN) <= NEAR, f"{loss} dB instead of {-GAIN}: {off}"
    # What the room alone takes is the least.
    assert LATENCY / 1e3 < off.value("echo_delay") < 1.5, off
    cancelled = on.value("echo_loss")
    assert cancelled is not None and cancelled >= loss + LEAST, f"{cancelled} dB with a canceller, {loss} without: {on}"
    # A gain control makes what is left of the echo louder, as it does the echo itself.
    louder, everything = made["gain control"].value("echo_loss"), made["all of it"].value("echo_loss")
    assert louder is not None and everything is not None and everything >= louder + LEAST, \
        f"{everything} dB with all of it, {louder} with gain control alone: {made['all of it']}"


def main():
    with tempfile.TemporaryDirectory(prefix="bellwether-sound-") as folder, PulseAudio(folder) as server:
        check(pathlib.Path(sys.argv[1]).resolve(), server)
    print("the canceller is told on from off")


if __name__ == "__main__":
    main()
