"""The sound of a desktop: a user's own session in the machine, with its sound server, as systemd starts it."""

import contextlib
import os
import pathlib
import subprocess

import servers
from daemon import wait_for

# As the guide calls them.
USER, SOCKET = "classroom", "/run/bellwether-audio/native"
# Units of the session that are one server or the other; Debian starts all that are installed.
UNITS = {
    "PipeWire": "pipewire.socket pipewire.service wireplumber.service pipewire-pulse.socket pipewire-pulse.service",
    "PulseAudio": "pulseaudio.socket pulseaudio.service",
}
# What each calls itself.
CALLED = {"PipeWire": "Server Name: PulseAudio (on PipeWire", "PulseAudio": "Server Name: pulseaudio\n"}


class Session:
    """A sound server of the session, with a loudspeaker and a microphone that are only buffers."""

    def __init__(self, box, kind):
        self.box, self.kind = box, kind
        self.name = kind.name
        self.ear, self.of_one_card, self.room_waits = kind.ear, kind.of_one_card, kind.room_waits
        self.modules = {}

    null_sink, microphone, has, devices = (getattr(servers.Server, name) for name in ("null_sink", "microphone", "has", "devices"))
    load, make_devices, volumes, streams = (getattr(servers.Server, name) for name in ("load", "make_devices", "volumes", "streams"))

    def command(self, *words):
        """The command here that runs one in the session."""
        uid = self.box.run(f"id -u {USER}").stdout.strip()
        runtime = f"/run/user/{uid}"
        return self.box.machine.inside("runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR={runtime}", "LC_ALL=C.UTF-8",
                                       f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus", f"HOME=/home/{USER}", *words)

    def session(self, *words, check=True):
        done = subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                              env={"PATH": os.environ["PATH"]})
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def pactl(self, *words):
        return self.session("pactl", *words)

    def __enter__(self):
        other = next(units for name, units in UNITS.items() if name != self.name)
        self.box.run(f"loginctl enable-linger {USER}")
        wait_for("the session", lambda: self.session("systemctl", "--user", "is-active", "dbus.socket", check=False), 20, 0.1)
        self.session("systemctl", "--user", "mask", "--runtime", "--now", *other.split())
        self.session("systemctl", "--user", "unmask", "--runtime", *UNITS[self.name].split())
        self.session("systemctl", "--user", "start", *UNITS[self.name].split())
        wait_for(f"{self.name} to answer", lambda: CALLED[self.name] in self.session("pactl", "info", check=False), 30, 0.1)
        wait_for("the second socket", lambda: self.box.machine.path(SOCKET).is_socket(), 10, 0.1)
        self.like_hardware()
        self.make_devices()
        return self

    def like_hardware(self):
        """See servers.py."""
        names = ("pipewire", "pipewire-pulse", "wireplumber", "pulseaudio")
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "comm").read_text().strip() in names and (process / "root").samefile(self.box.machine.path("/")):
                    for thread in (process / "task").iterdir():
                        servers.like_hardware(int(thread.name))

    def __exit__(self, *_):
        self.session("systemctl", "--user", "stop", *UNITS[self.name].split(), check=False)


class Room:
    """The virtual room of sound/room.py, in the session."""

    def __init__(self, server):
        place = server.box.machine.path("/usr/local/bin/room.py")
        place.write_bytes((pathlib.Path(servers.__file__).parent / "room.py").read_bytes())
        command = server.command("python3", "/usr/local/bin/room.py", servers.SPEAKER, servers.AIR, *server.room_waits)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=servers.like_hardware)

    def __enter__(self):
        self.tell("delay 480", "gain -10", "noise -70")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def tell(self, *commands):
        for command in commands:
            self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answers = [self.process.stdout.readline().strip() for _ in commands]
        assert all(answers) and not any(answer.startswith("not ") for answer in answers), answers
