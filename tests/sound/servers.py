"""Real sound servers without hardware: each in a run-time folder of its own, with a loudspeaker and a
microphone that are only buffers. Nothing of the system's or the session's own sound is touched.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess

from daemon import wait_for

# The room's loudspeaker; what the microphone hears; and the microphone.
SPEAKER, AIR, MIC = "speaker", "air", "mic"


def like_hardware(thread=0):
    """Sound hardware does not wait for its turn, and neither does what stands in its place, where that is allowed."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(5))


class Server:
    """A sound server under way. `socket` is where it listens."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "pulse" / "native"
        for name in ("home", "pulse"):
            (self.folder / name).mkdir(mode=0o700)
        # Root without a session: whatever the caller's session has is not ours.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PULSE_", "PIPEWIRE_", "DBUS_"))}
        self.environment = kept | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(self.folder / "home"),
                                   "PULSE_SERVER": f"unix:{self.socket}", "LC_ALL": "C"}
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "DISPLAY"):
            self.environment.pop(name, None)
        self.processes, self.modules = [], {}

    def __enter__(self):
        try:
            self.start()
            wait_for(f"{self.name} to answer", lambda: self._lives() and self._answers(), 30, 0.1)
            # PulseAudio gives up at its start what it was given. The threads of devices take after these.
            for process in self.processes:
                for thread in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
                    like_hardware(int(thread.name))
            self.make_devices()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def run(self, *command):
        """Starts a program that belongs to the server."""
        with open(self.folder / f"{pathlib.Path(command[0]).name}.log", "wb") as log:
            process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       preexec_fn=like_hardware)
        self.processes.append(process)
        return process

    def _lives(self):
        for process in self.processes:
            if process.poll() is not None:
                log = (self.folder / f"{pathlib.Path(process.args[0]).name}.log").read_text(errors="replace")
                raise AssertionError(f"{process.args[0]} ended: {log[-2000:]}")
        return True

    def _answers(self):
        with contextlib.suppress(subprocess.SubprocessError):
            return self.pactl("info")

    def pactl(self, *words):
        """What `pactl` says."""
        return subprocess.run(["pactl", *words], env=self.environment, check=True, capture_output=True, text=True,
                              timeout=10).stdout

    def load(self, name, module, *arguments):
        """Loads a module of the server, known here by a name."""
        self.modules[name] = self.pactl("load-module", module, *arguments).strip()

    def unload(self, name):
        self.pactl("unload-module", self.modules.pop(name))

    def make_devices(self):
        self.null_sink(SPEAKER)
        self.null_sink(AIR)
        self.has("sinks", SPEAKER, AIR)
        self.microphone(MIC)
        self.pactl("set-default-sink", SPEAKER)
        self.pactl("set-default-source", MIC)

    def null_sink(self, name):
        """A loudspeaker that nobody hears. One channel, so that no mixing changes a level."""
        self.load(name, "module-null-sink", f"sink_name={name}", "rate=48000", "channels=1", "channel_map=mono",
                  *self.of_one_card)

    def microphone(self, name):
        """A microphone in the room."""
        self.load(name, "module-remap-source", f"source_name={name}", f"master={AIR}.monitor", "channels=1",
                  "channel_map=mono", "remix=no")
        self.has("sources", name)

    def has(self, kind, *names):
        """Waits until there are devices of these names."""
        wait_for(f"{kind} {names}", lambda: set(names) <= set(self.devices(kind)), 10, 0.1)

    def devices(self, kind):
        """All `sinks` or `sources`, by name."""
        return {device["name"]: device for device in json.loads(self.pactl("--format=json", "list", kind))}

    def volumes(self):
        """What nobody but people may change: volume and mute of all devices."""
        return {name: (device["mute"], {channel: volume["value"] for channel, volume in device["volume"].items()})
                for kind in ("sinks", "sources") for name, device in self.devices(kind).items()}

    def streams(self, of=None):
        """How many streams play and record now: all, or those of some processes."""
        found = [stream["properties"].get("application.process.id") for kind in ("sink-inputs", "source-outputs")
                 for stream in json.loads(self.pactl("--format=json", "list", kind))]
        return len(found) if of is None else sum(pid in map(str, of) for pid in found)

    @contextlib.contextmanager
    def stopped(self):
        """As long as it lasts, the server is there but does nothing."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self.processes:
                process.send_signal(signal.SIGCONT)

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class PulseAudio(Server):
    """PulseAudio itself."""

    name = "PulseAudio"
    # The microphone itself: of one behind it, this server cannot say how late it is, as it is none.
    ear = f"{AIR}.monitor"
    of_one_card = ()
    room_waits = ("wait",)

    def start(self):
        self.run("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=true",
                 "--realtime=no", "--high-priority=no",
                 "-L", f"module-native-protocol-unix auth-anonymous=1 socket={self.socket}")


class PipeWire(Server):
    """PipeWire, as PulseAudio's clients see it."""

    name = "PipeWire"
    ear = MIC
    # One clock for both, as on a sound card: how late devices of two clocks are, it tells to a block only.
    of_one_card = ("sink_properties=node.group=room",)
    room_waits = ()

    # Samples of a turn. Its default is so many too; but a client that asks for less gets less, and then a turn is
    # left out each time that a virtual machine wakes up late.
    TURN = 1024

    def start(self):
        for name, key, value in (("pipewire", "default.clock.min-quantum", self.TURN),
                                 ("pipewire-pulse", "pulse.min.quantum", f"{self.TURN}/48000")):
            config = self.folder / "home" / ".config" / "pipewire" / f"{name}.conf.d"
            config.mkdir(parents=True)
            kind = "context" if name == "pipewire" else "pulse"
            (config / "turn.conf").write_text(f"{kind}.properties = {{ {key} = {value} }}\n")
        bus = self.folder / "bus"
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
        self.run("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={bus}")
        wait_for("the bus", bus.exists)
        self.run("pipewire")
        wait_for("PipeWire", (self.folder / "pipewire-0").exists)
        self.run("wireplumber")
        self.run("pipewire-pulse")


SERVERS = [PulseAudio, PipeWire]
