#!/usr/bin/env python3
"""Echo by a virtual room behind real sound servers: what is measured of it, what is said when it cannot be
measured, and that nothing of what the microphone took is kept anywhere.

    sound.py BELLWETHER [WORD…]

Needs no sound hardware. PulseAudio and PipeWire run in folders of their own, with a loudspeaker and a microphone
that are only buffers (sound/servers.py); between the two stands a process of known delay and gain (sound/room.py).
"""

import array
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE / "sound"))

import search
from daemon import Daemon, wait_for
from planted import PLACES, Watch, plant_controls, voice
from proc import children, status
from servers import AIR, MIC, SERVERS, SPEAKER, like_hardware

BINARY = pathlib.Path(sys.argv[1]).resolve()
# Readings that say something of an echo. In a room whose echo cannot be measured there is none of them.
OF_ECHO = {"echo_delay", "echo_return_loss", "echo_return_loss_wideband", "echo_return_loss_change", "echo_delay_change",
           "echo_distortion", "echo_clock_skew", "echo_reverberation", "echo_coherence"}
# A timetable without a lesson in sight: what is heard may be measured by the daemon at any time.
FREE = """[site]
timezone = "UTC"
[[timetable.bells]]
periods = ["08:00-08:45"]
[[timetable.term]]
name = "past"
first_day = "2026-03-02"
weeks = 1
lessons = ["Mon 1: physics"]
"""
# The virtual room in rest: samples, decibels.
DELAY, GAIN = 480, -10
# How often a run that says that sound slipped, which a busy box does, is made again.
ATTEMPTS = 4
# The most by which the clocks of loudspeaker and microphone differ, as a ratio.
DRIFT = 60e-6
# Seconds from the first stream on: while something is heard; and between the second and the third of four sweeps.
MIDDLE, BETWEEN = 3.6, 5.2
MEBIBYTES = 20


class Room:
    """The virtual room between the loudspeaker and the microphone of a server."""

    def __init__(self, server):
        command = [sys.executable, HERE / "sound" / "room.py", SPEAKER, AIR, *server.room_waits]
        self.process = subprocess.Popen(command, env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=like_hardware)

    def __enter__(self):
        self.rest()
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
        # What it gives now is heard a little later.
        time.sleep(0.3)
        return answers

    def rest(self):
        self.tell(f"delay {DELAY}", f"gain {GAIN}", "noise -70", "plant off", "alive")

    def slips(self):
        return int(self.tell("slips")[0])


class Look:
    """One `inspect` of the room, with its readings by name and labels. `during` is called once it listens."""

    def __init__(self, server, more="", during=None, released=True, accepted=None, arguments=(), environment=None):
        with tempfile.TemporaryDirectory(prefix="bellwether-look-") as folder:
            folder = pathlib.Path(folder)
            (folder / "bellwether.toml").write_text(probe(server, more))
            command = [BINARY, "--config", folder / "bellwether.toml", "--state", accepted or folder / "state",
                       "inspect", "echo", "--json", *arguments]
            before = server.volumes()
            self.highest, self.workers = 0.0, set()
            spent = resource.getrusage(resource.RUSAGE_CHILDREN)
            with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
                self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
                try:
                    self._watch(server, during)
                except BaseException:
                    self.process.kill()
                    self.process.wait()
                    raise
            self.code, self.said = self.process.returncode, (folder / "err").read_text()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.cpu = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
            try:
                found = json.loads((folder / "out").read_text())
            except ValueError:
                raise AssertionError(f"ended with {self.code}: {self.said}") from None
        self.run, = found["runs"]
        self.readings = {}
        for reading in found["readings"]:
            labels = ",".join(value for key, value in sorted(reading["labels"].items()) if key != "probe")
            self.readings[reading["metric"] + (f"[{labels}]" if labels else "")] = reading
        if released:
            wait_for("the devices to be released", lambda: not server.streams(of=self.workers), 5, 0.1)
            assert server.volumes() == before, f"volumes changed from {before} to {server.volumes()}"

    def _watch(self, server, during):
        end = time.monotonic() + 90
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self.workers |= set(children(self.process.pid))
            for child in self.workers:
                with contextlib.suppress(OSError):
                    self.highest = max(self.highest, status(child, "RssAnon"))
            if during and server.streams(of=self.workers):
                self.worker, = self.workers
                during(self)
                during = None
            time.sleep(0.02)

    def value(self, name):
        reading = self.readings.get(name)
        return None if reading is None or reading["validity"] != "ok" else reading["value"]

    def reasons(self):
        """All reasons it gives why there is no number."""
        found = {part["reason"] for part in self.run["absent"]} | {self.run["inconclusive"]}
        found |= {reading["reason"] for reading in self.readings.values()}
        if self.run["failure"]:
            found.add(self.run["failure"]["reason"])
        return found - {None}

    def says(self, reason, codes=(3,)):
        """That it gives this reason and no number of an echo."""
        assert reason in self.reasons(), f"said {self}, expected {reason}"
        numbers = sorted(name for name in self.readings if name in OF_ECHO)
        assert not numbers, f"said {reason} and {numbers}"
        assert self.code in codes, f"ended with {self.code}, expected one of {codes}: {self}"
        return self

    def __str__(self):
        values = {name: reading["value"] for name, reading in self.readings.items()}
        return f"{self.code}, {sorted(self.reasons())}, {self.run['failure']}, {values}"


def probe(server, more="", name="echo"):
    """The config of the probe. What `more` says again is not said twice."""
    lines = {"kind": '"echo"', "server": f'"{server.socket}"', "loudspeaker": f'"{SPEAKER}"', "microphone": f'"{server.ear}"'}
    for line in more.splitlines():
        key, value = line.split(" = ", 1)
        lines[key] = value
    return f"[probe.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def steady(server, room, more="", codes=(3,), **options):
    """A look during which nothing slipped. What slipped must have been seen, and ended with one of the codes."""
    for attempt in range(ATTEMPTS):
        slips = room.slips()
        look = Look(server, more, **options)
        if room.slips() == slips and "slip" not in look.reasons():
            return look
        print(f"slipped look {attempt + 1} of at most {ATTEMPTS}: the room {room.slips() - slips} times, {look}", flush=True)
        look.says("slip", codes)
    raise AssertionError(f"sound slipped in each of {ATTEMPTS} looks: this box is too busy")


# what is measured


def in_turn(server, room, states, more=""):
    """A look at each state of the room, given as what delay and gain are more than in rest: with what it adds in seconds
    and in decibels to the mean of the looks in rest before and after it."""
    for attempt in range(ATTEMPTS):
        slips, looks, times = room.slips(), [], []
        for delay, gain in [(0, 0), *(each for state in states for each in (state, (0, 0)))]:
            room.tell(f"delay {DELAY + delay}", f"gain {GAIN + gain}")
            times.append(time.monotonic())
            looks.append(steady(server, room, more))
            assert looks[-1].value("echo_delay") is not None and looks[-1].value("echo_return_loss") is not None, looks[-1]
        rests = list(zip(looks[::2], looks[2::2]))
        shifts = [after.value("echo_delay") - before.value("echo_delay") for before, after in rests]
        rates = [shift / (after - before) for shift, before, after in zip(shifts, times[::2], times[2::2])]
        # What slips between two looks shifts the room itself, also where a server leaves out a turn of a stream
        # (PipeWire, 5.3 ms each) and tells nobody. PulseAudio's null sinks round each piece to microseconds: where
        # those of the two differ, their clocks drift apart, evenly.
        if room.slips() == slips and max(map(abs, rates)) < DRIFT and max(shifts) - min(shifts) < 1e-4:
            return [(look, *(look.value(name) - (before.value(name) + after.value(name)) / 2
                             for name in ("echo_delay", "echo_return_loss", "echo_return_loss_wideband")))
                    for look, (before, after) in zip(looks[1::2], rests)]
        print(f"round {attempt + 1} of at most {ATTEMPTS}: the room slipped {room.slips() - slips} times, and moved by "
              f"{[round(shift * 1e3, 3) for shift in shifts]} ms", flush=True)
    raise AssertionError(f"the room slipped in each of {ATTEMPTS} rounds: this box is too busy")


STEPS = [(1440, -4), (4800, -16), (351, -8)]


def check_steps_of_delay_and_gain_come_out_as_they_are(server, room):
    for (delay, gain), (look, more, lost, wide) in zip(STEPS, in_turn(server, room, STEPS)):
        print(f"step {delay / 48:7.3f} ms {gain:4} dB: {more * 1e3:8.4f} ms {lost:7.3f} dB, wide band {wide:7.3f} dB; "
              f"in all {look.value('echo_delay') * 1e3:.3f} ms, {look.value('echo_return_loss'):.2f} dB; "
              f"{look.cpu:.2f} s of processor time, {look.highest:.1f} MiB", flush=True)
        assert abs(more - delay / 48e3) < 1e-4, f"delay by {more * 1e3} ms instead of {delay / 48}"
        assert abs(lost + gain) < 0.1 and abs(wide + gain) < 0.1, f"{lost}, {wide} instead of {-gain} dB"
        assert look.value("microphone_working") == 1 and look.value("loudspeaker_working") == 1, look
        assert look.value("sound_muted[loudspeaker]") == 0 and look.value("sound_muted[microphone]") == 0, look
        skew = look.value("echo_clock_skew")
        assert skew is None or abs(skew) < 15e-6, skew
        assert look.highest < MEBIBYTES, f"the worker took {look.highest:.1f} MiB"


def check_slips_are_recognised_and_voided(server, room):
    for samples, seconds in ((-100, BETWEEN + 1.5), (480, BETWEEN)):
        def slip(_, samples=samples, seconds=seconds):
            time.sleep(seconds)
            room.tell(f"slip {samples}")

        look = Look(server, during=slip)
        print(f"slip of {samples} samples after {seconds} s: {look}", flush=True)
        # Where as many sweeps came before it as after, no echo stands out: that is said to be noise.
        look.says("slip" if "slip" in look.reasons() else "noise")


# what is said when nothing can be measured


def check_a_dead_microphone_is_told_from_a_dead_loudspeaker(server, room):
    room.tell("dead")
    look = steady(server, room, codes=(1, 2, 3)).says("dead", (1, 2, 3))
    assert look.value("microphone_working") == 0, look
    assert look.value("loudspeaker_working") is None, "nothing can be known of it"
    room.rest()
    room.tell("gain off", "noise -55")
    look = steady(server, room, codes=(1, 2, 3)).says("dead", (1, 2, 3))
    assert look.value("microphone_working") == 1 and look.value("loudspeaker_working") == 0, look


def check_muted_devices_are_said_to_be_muted(server, room):
    for kind, device, component, other in (("sink", SPEAKER, "loudspeaker", "microphone"),
                                           ("source", server.ear, "microphone", "loudspeaker")):
        server.pactl(f"set-{kind}-mute", device, "1")
        look = Look(server).says("muted", (1, 2, 3))
        server.pactl(f"set-{kind}-mute", device, "0")
        assert look.value(f"sound_muted[{component}]") == 1 and look.value(f"sound_muted[{other}]") == 0, look
        for name in ("microphone_working", "loudspeaker_working"):
            assert look.value(name) != 0, f"{name} is 0, though all that is known is that something is muted"


def accept(server, folder, more=""):
    """Records the accepted state of the room."""
    config = pathlib.Path(folder, "bellwether.toml")
    config.write_text(probe(server, more))
    for _ in range(ATTEMPTS):
        done = subprocess.run([BINARY, "--config", config, "--state", folder, "baseline", "echo"],
                              capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            return
        print(f"not accepted: {done.stdout}{done.stderr}", flush=True)
        assert done.returncode == 3 and not pathlib.Path(folder, "accepted").exists(), "it was to keep nothing"
    raise AssertionError(f"the state of the room was not measured surely in {ATTEMPTS} attempts")


def check_changes_against_the_accepted_state_are_told_apart(server, room):
    with tempfile.TemporaryDirectory(prefix="bellwether-accepted-") as folder:
        accept(server, folder)
        server.pactl("set-sink-volume", SPEAKER, "-6dB")
        look = steady(server, room, accepted=folder)
        server.pactl("set-sink-volume", SPEAKER, "100%")
        change = look.value("sound_gain_change[loudspeaker]")
        assert change is not None and abs(change + 6) < 0.2, f"{change}: {look}"
        assert abs(look.value("sound_gain_change[microphone]") or 0) < 0.2, look
        assert look.value("sound_device_changed[loudspeaker]") == 0, look
        # The room itself is as it was; the microphone hears less of what is played.
        room.tell(f"gain {GAIN - 6}")
        look = steady(server, room, accepted=folder)
        assert abs(look.value("echo_return_loss_change") - 6) < 0.2, look
        assert abs(look.value("sound_gain_change[loudspeaker]") or 0) < 0.2, "its volume is as it was"
        room.rest()
        # Another microphone in its place.
        server.microphone("other")
        # That it is another one is said also where its sound slips: how late one is that stands behind another
        # source, PulseAudio tells too unsteadily.
        look = Look(server, 'microphone = "other"', accepted=folder)
        server.unload("other")
        assert look.value("sound_device_changed[microphone]") == 1, look
        assert look.value("sound_device_changed[loudspeaker]") == 0, look


def check_what_is_not_there_is_named(server, room):
    for name, more, reason in (
        ("no socket", f'server = "{server.folder}/none"', "no_server"),
        ("no such loudspeaker", 'loudspeaker = "horn"', "no_device"),
        ("no such microphone", 'microphone = "ear*"', "no_device"),
        ("several", 'loudspeaker = "*r"', "no_device"),
    ):
        look = Look(server, more).says(reason)
        print(f"{name}: {look.run['failure']}", flush=True)
        assert look.run["failure"]["reason"] == reason, look


def check_a_device_that_goes_away_ends_the_look(server, room):
    def unload(_):
        time.sleep(MIDDLE)
        server.unload(MIC)

    started = time.monotonic()
    look = Look(server, f'microphone = "{MIC}"', during=unload, released=False).says("device_lost")
    assert time.monotonic() - started < 30
    server.microphone(MIC)
    wait_for("its streams to end", lambda: server.streams() == 3, 5, 0.1)
    return look


def check_a_server_that_stalls_ends_the_look(server, room):
    with contextlib.ExitStack() as stopped:
        def stall(_):
            time.sleep(MIDDLE)
            stopped.enter_context(server.stopped())

        look = Look(server, during=stall, released=False)
    look.says("stalled")
    wait_for("the server to be there again", lambda: server.streams() == 3, 15, 0.1)


# the silent form


@contextlib.contextmanager
def playing(server, samples, folder):
    """Somebody else plays a sound."""
    file = pathlib.Path(folder, "lesson")
    file.write_bytes(array.array("h", samples).tobytes())
    command = ["pacat", "-p", "-d", SPEAKER, "--raw", "--format=s16le", "--rate=48000", "--channels=1",
               "--channel-map=mono", "--latency-msec=20"]
    with open(file, "rb") as sound:
        process = subprocess.Popen(command, env=server.environment, stdin=sound)
        try:
            wait_for("the sound", lambda: server.streams() == 4, 5, 0.1)
            yield
        finally:
            process.terminate()
            process.wait()


def check_the_silent_form_hears_what_the_room_plays_anyway(server, room):
    silent = 'form = "silent"\nduration = "20 s"'
    with tempfile.TemporaryDirectory(prefix="bellwether-lesson-") as folder:
        with playing(server, 20 * voice(20), folder):
            (look, more, lost, _), = in_turn(server, room, [(960, -6)], silent)
    print(f"silent: 20 ms and 6 dB more came out as {more * 1e3:.4f} ms and {lost:.3f} dB; {look.cpu:.2f} s of processor "
          f"time, {look.highest:.1f} MiB", flush=True)
    assert abs(more - 0.02) < 1e-4 and abs(lost - 6) < 0.5
    assert look.value("echo_coherence") > 0.5, look
    room.rest()
    Look(server, 'form = "silent"\nduration = "10 s"').says("nothing_played")


# privacy


HELPER = "import sys, os; f = open(sys.argv[1], 'r+b'); os.unlink(sys.argv[1]); print(flush=True); sys.stdin.read()"


def check_nothing_of_what_was_heard_is_kept(server, room):
    # What we know of it ourselves lies where nobody else writes.
    ours = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-planted-"))
    work = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-private-"))
    try:
        # Another one for each server: both may be looked at at once.
        samples = voice(2, seed=len(server.name))
        (ours / "voice").write_bytes(samples.tobytes())
        packets = search.packets_of(samples, ours)
        sound = search.Sound(samples, packets)
        watch = Watch(sound, [work, *PLACES], {ours, server.folder})
        for name in ("captures", "temporary", "cwd"):
            (work / name).mkdir()
        room.tell("gain off", "noise off", f"plant {ours / 'voice'}")
        keeps_nothing(server, work, watch, samples, packets)
    finally:
        room.rest()
        shutil.rmtree(ours)
        shutil.rmtree(work)


def keeps_nothing(server, work, watch, samples, packets):
    environment = os.environ | {"TMPDIR": str(work / "temporary")}
    wrapper = ["env", f"TMPDIR={work / 'temporary'}", "sh", "-c",
               f'cd {work / "cwd"} && ulimit -c unlimited && exec "$@"', "sh"]
    silent, active = 'form = "silent"\nduration = "10 s"', 'form = "active"'
    off = "".join(f"[probe.{name}]\nenabled = false\n" for name in ("call", "voice"))
    # In turns: one would find the other's streams.
    often = '\ntimeout = "45 s"\nschedule = '
    config = FREE + off + probe(server, f'{silent}{often}"*/2 * * * *"')
    config += probe(server, f'{active}{often}"1-59/2 * * * *"', "played")
    cores = core_dumps_are_files()
    (work / "daemon").mkdir()
    with Daemon(BINARY, config, wrapper, folder=work / "daemon") as daemon:
        said = {}
        for form in (silent, active):
            look = Look(server, form, during=lambda look: in_locked_memory(watch, look.worker), environment=environment,
                        arguments=("--capture", work / "captures"))
            said[f"inspect {form}"] = look.said
            print(f"privacy: while it listened: {look}", flush=True)
            killed(server, form, work, cores)
        for name in ("echo", "played"):
            runs, uses = (f'bellwether_{what}_total{{probe="{name}"}}' for what in ("probe_runs", "microphone_uses"))
            wait_for(f"the daemon to have listened: {name}", lambda: daemon.metric(runs), 170, 0.5)
            assert daemon.metric(uses) >= 1, f"the use of the microphone is not counted: {name}"
            listened = [line for line in daemon.lines if "microphone" in line and f'"{name}"' in line]
            assert listened, f"the use of the microphone is not in the log: {name}"
        said["daemon"] = "".join(daemon.lines)
        pids = [daemon.process.pid, *children(daemon.process.pid)]
        found = watch.found(pids, said)
        assert not found, f"kept: {found}"
        for flags, name, content in search.memory(daemon.process.pid):
            assert not watch.sound.found_in(content), f"the daemon's memory has it: {name} {flags}"
        controls_are_found(watch, work, samples, packets, said)
        os.kill(daemon.process.pid, signal.SIGABRT)
        daemon.process.wait()
    if cores:
        dumped = list((work / "cwd").glob("core*"))
        assert len(dumped) == 1, f"the daemon was to leave a core dump, and nothing else: {dumped}"
        assert not watch.found([], {}), "the daemon's core dump has it"


def controls_are_found(watch, work, samples, packets, said):
    """The same search finds what was left on purpose, in each form and at each place."""
    places = [work / "daemon" / "state", work / "daemon" / "state" / "bookings", work / "captures", work / "temporary",
              work / "cwd"]
    placed = []
    for place in places:
        place.mkdir(exist_ok=True)
        placed += plant_controls(samples, place, packets)
    hidden = work / "temporary" / "deleted"
    hidden.write_bytes(placed[0][0].read_bytes())
    helper = subprocess.Popen([sys.executable, "-c", HELPER, hidden], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    helper.stdout.readline()
    encoded = next(path for path, form in placed if form == "16 bit in Base64").read_bytes().decode("latin-1")
    try:
        found = watch.found([helper.pid], said | {"planted line": f"INFO heard {encoded}"})
    finally:
        helper.communicate(b"")
    for path, form in placed:
        assert form in found.pop(str(path), ()), f"the search does not find {form} in {path}"
        path.unlink()
    assert "16 bit" in found.pop(f"{hidden} (deleted), open in {helper.pid}", ()), f"not found in an open file: {found}"
    assert found.pop("planted line", None), "not found in the log"
    assert not found, found


def core_dumps_are_files():
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        print(f"privacy: core dumps of this box go to {pattern}: only what is left in folders was looked at", flush=True)
    return not pattern.startswith(("|", "/"))


def in_locked_memory(watch, worker):
    """The worker has it: in memory that is locked, and left out of core dumps, and nowhere else."""
    time.sleep(MIDDLE)
    holds = [(flags, name, len(content)) for flags, name, content in search.memory(worker)
             if watch.sound.found_in(content)]
    print(f"privacy: the worker holds it in {[(name or 'anonymous', size) for _, name, size in holds]}", flush=True)
    assert holds, "the worker does not have what is to be looked for: nothing would be proven"
    for flags, name, size in holds:
        assert {"lo", "dd"} <= set(flags), f"it is in {name or 'memory'} of {size} bytes with flags {flags}"
    for entry, target in search.open_files(worker):
        raise AssertionError(f"the worker has {target} open")


def killed(server, more, work, cores):
    """Killed while it listens, it leaves no core dump; nor one with sound in it where somebody forces one."""
    for force in (False, True):
        def kill(look, force=force):
            time.sleep(MIDDLE)
            if force:
                # Not even root may everywhere raise what a process has given up.
                with contextlib.suppress(PermissionError):
                    resource.prlimit(look.worker, resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
            os.kill(look.worker, signal.SIGABRT)

        # Its own folder is the working one of this program, which a core dump would go to.
        with working_in(work / "cwd"):
            Look(server, more, during=kill).says("worker")
        dumped = list((work / "cwd").glob("core*"))
        print(f"privacy: killed{' after an attempt to allow core dumps' if force else ''}, it left {len(dumped)} core dumps", flush=True)
        assert force or not dumped or not cores, f"left {dumped}"
        # What is in it is for the search to find.
        for number, core in enumerate(dumped):
            core.rename(core.with_name(f"dumped-{number}"))


@contextlib.contextmanager
def working_in(folder):
    before = os.getcwd()
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (limit[1], limit[1]))
    try:
        yield
    finally:
        os.chdir(before)
        resource.setrlimit(resource.RLIMIT_CORE, limit)


def main():
    checks = [(name.removeprefix("check_"), check) for name, check in globals().items() if name.startswith("check_")]
    wanted = sys.argv[2:]
    passed = failed = 0
    for kind in SERVERS:
        for name, check in checks:
            if wanted and not any(word in f"{kind.name} {name}" for word in wanted):
                continue
            started = time.monotonic()
            try:
                # Each has a server and a room of its own: what one check stopped or stalled is late for the next.
                with tempfile.TemporaryDirectory(prefix="bellwether-sound-") as folder, kind(folder) as server, \
                        Room(server) as room:
                    check(server, room)
                passed += 1
                print(f"ok      {kind.name}: {name}, {time.monotonic() - started:.1f} s", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {kind.name}: {name}", flush=True)
                traceback.print_exc()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
