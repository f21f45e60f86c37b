#!/usr/bin/env python3
"""Echo on ALSA devices themselves, in a virtual machine whose kernel makes up sound cards.

    alsa.py BELLWETHER ROOM IMAGES

A program of ours (tests/alsa/room.rs) is the room: what is played on one cable of the kernel's loopback card
comes back on another, later and softer. IMAGES is a folder in which the machine's image is kept.

The box under the machine may be busy, and sound is lost then. Of that nothing is concealed: a run that lost some
has to say so itself and is made again, a room that lost some begins again, and both are printed.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

import vm
from daemon import run_tests, wait_for

BINARY, ROOM, IMAGES = sys.argv[1:4]

# On the one side of the loopback card the product, on the other the room.
LOUDSPEAKER, MICROPHONE = "hw:Loopback,0,0", "hw:Loopback,0,1"
ROOM_TAKES, ROOM_GIVES = "hw:Loopback,1,0", "hw:Loopback,1,1"
# Delay in samples, and gain in decibels, one after the other in one room.
STEPS = [(1440, -20.0), (4800, -20.0), (1791, -26.0), (9600, -14.0), (1440, -20.0)]
# Samples by which the sound of a room shifts within a run: 1 ms and 10 ms.
SHIFTS = [48, -48, 480]
# How exact a step is.
DELAY_SECONDS, GAIN_DECIBELS = 1e-4, 0.1
# How often a run is made that was voided, as the box may be busy; then the stage fails.
TRIES = 4

MACHINE = None


class Run:
    """What a run of the product has found."""

    def __init__(self, shown):
        self.shown = shown
        self.run = shown["runs"][0]
        failure = self.run["failure"] or {}
        self.failure, self.detail = failure.get("reason"), failure.get("detail", "")

    def value(self, metric, **labels):
        """A valid value, or None."""
        for reading in self.shown["readings"]:
            if reading["metric"] == metric and labels.items() <= reading["labels"].items() \
                    and reading["validity"] == "ok":
                return reading["value"]
        return None

    def reasons(self):
        """Why it is no run to be judged."""
        absent = [failure["reason"] for failure in self.run["absent"]]
        invalid = [reading["reason"] for reading in self.shown["readings"] if reading.get("reason")]
        return {reason for reason in [self.failure, self.run["inconclusive"], *absent, *invalid] if reason}


def inspect(loudspeaker=LOUDSPEAKER, microphone=MICROPHONE, before="", user="", **keys):
    """Measures once. `before` is what the shell there does first, `user` how it becomes somebody else."""
    keys = {"system": "alsa", "loudspeaker": loudspeaker, "microphone": microphone, **keys}
    config = "[probe.room]\nkind = \"echo\"\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    command = f"cat >/tmp/room.toml; {before} {user} bellwether --config /tmp/room.toml --state /tmp/state inspect room --json"
    # It ends with what it has found.
    done = MACHINE.run(command, stdin=None, input=config, check=False, stderr=subprocess.PIPE)
    try:
        return Run(json.loads(done.stdout))
    except (json.JSONDecodeError, LookupError):
        raise AssertionError(f"ended with {done.returncode}: {done.stdout}{done.stderr}") from None


def undisturbed(measure):
    """A run in which no sound was lost; one that lost some says so, and gives no number."""
    for _ in range(TRIES):
        run = measure()
        lost = run.reasons() & {"slip", "host_limited"}
        if not lost:
            return run
        print(f"        voided by itself: {', '.join(sorted(lost))}")
        assert run.value("echo_delay") is None and run.value("echo_return_loss") is None, run.shown
    raise AssertionError(f"{TRIES} runs lost sound: is the box too busy?")


class Room:
    """A room that runs."""

    def __init__(self, process):
        self.process = process

    def change(self, samples, decibels):
        """Sets its delay and its gain; how often it has lost sound so far."""
        self.change_at_sound(samples, decibels)
        return self.slips()

    def change_at_sound(self, samples, decibels, after=None):
        """The same, `after` so many samples from the next sound on; it has been done once `slips` returns."""
        words = [samples, decibels] + ([] if after is None else [after])
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def slips(self):
        answer = self.process.stdout.readline().split()
        assert answer[:1] == ["set"], "the room is gone"
        return int(answer[1])


@contextlib.contextmanager
def room(channels=2, bits=16):
    with MACHINE.running(f"chrt -f 50 room {ROOM_TAKES} {ROOM_GIVES} {channels} {bits}", until="ready") as process:
        yield Room(process)


@contextlib.contextmanager
def held(command):
    """A program that has a device meanwhile."""
    MACHINE.run(f"{command} >/tmp/held 2>&1 </dev/zero & echo $! >/tmp/held.pid")
    card = command.split("-D hw:")[1].split()[0]
    _, device, subdevice = card.split(",")
    kind = "p" if command.startswith("aplay") else "c"
    status = f"/proc/asound/Loopback/pcm{device}{kind}/sub{subdevice}/status"
    wait_for(f"{command} to have it", lambda: "closed" not in MACHINE.run(f"cat {status}").stdout, pause=0.5)
    try:
        yield
    finally:
        MACHINE.run("kill $(cat /tmp/held.pid); while kill -0 $(cat /tmp/held.pid); do sleep 0.2; done 2>/dev/null")


def check_steps(room, steps):
    """Whether all steps came out. What the room needs by itself is the same in all of them, unless it loses sound:
    then nothing can be compared, and this is False."""
    first = slips = None
    for samples, decibels in steps:
        before = room.change(samples, decibels)
        measured = undisturbed(inspect)
        slips = before if slips is None else slips
        if room.change(samples, decibels) != slips:
            return False
        delay, loss = measured.value("echo_delay"), measured.value("echo_return_loss")
        assert delay is not None and loss is not None, measured.shown
        if first is None:
            first = (delay - samples / 48_000, loss + decibels)
            print(f"        {samples / 48:7.3f} ms {decibels:5.1f} dB: {delay * 1e3:.3f} ms {loss:.3f} dB")
            continue
        late, loud = delay - samples / 48_000 - first[0], loss + decibels - first[1]
        print(f"        {samples / 48:7.3f} ms {decibels:5.1f} dB: {late * 1e3:+.3f} ms {loud:+.3f} dB off")
        assert abs(late) <= DELAY_SECONDS, f"{late * 1e3:.3f} ms off"
        assert abs(loud) <= GAIN_DECIBELS, f"{loud:.3f} dB off"
    return True


def check_steps_in_a_room(steps, *form):
    for _ in range(TRIES):
        with room(*form) as there:
            if check_steps(there, steps):
                return
        print("        the room itself lost sound: again from the first step on")
    raise AssertionError(f"{TRIES} rooms lost sound: is the box too busy?")


def test_steps_of_delay_and_gain_in_one_room_come_out():
    check_steps_in_a_room(STEPS)


def test_one_channel_and_samples_of_32_bit_serve_as_well():
    for channels, bits in [(1, 16), (8, 32)]:
        check_steps_in_a_room(STEPS[:2], channels, bits)


def test_sound_that_the_devices_lost_is_seen_and_gives_no_number():
    # The process that has the devices stands still for longer than they can wait, whenever it tries.
    stops = ("(while sleep 3; do p=$(pgrep -f '[p]robe-worker') && { kill -STOP $p; sleep 1.6; kill -CONT $p; }; done) "
             ">/dev/null 2>&1 & stops=$!; trap 'kill $stops' EXIT;")
    with room() as there:
        there.change(1440, -20.0)
        run = inspect(before=stops)
    assert "slip" in run.reasons(), run.shown
    assert run.value("echo_delay") is None and run.value("echo_return_loss") is None, run.shown


def test_sound_that_shifts_in_the_room_is_seen_and_gives_no_number():
    # No device tells of it: in the second of the four sweeps the room lets out some samples, or puts some in.
    at, place = (1440, -20.0), 2 * 48_000

    def measure(shift, room):
        samples, decibels = at
        room.change(samples, decibels)
        room.change_at_sound(samples + shift, decibels, after=place)
        run = inspect()
        assert run.failure is None, run.shown
        room.slips()
        return run

    with room() as there:
        # By itself, a new setting in the midst of a run does no harm.
        run = undisturbed(lambda: measure(0, there))
        assert run.value("echo_delay") is not None, run.shown
        for shift in SHIFTS:
            run = measure(shift, there)
            assert "slip" in run.reasons(), run.shown
            assert run.value("echo_delay") is None and run.value("echo_return_loss") is None, run.shown


def test_a_device_that_somebody_has_is_busy():
    with held(f"aplay -q -D {LOUDSPEAKER} -t raw -f S16_LE -r 48000 -c 2"):
        run = inspect()
    assert run.failure == "device_busy" and LOUDSPEAKER in run.detail, run.shown
    with held(f"arecord -q -D {MICROPHONE} -t raw -f S16_LE -r 48000 -c 2"):
        run = inspect()
    assert run.failure == "device_busy" and MICROPHONE in run.detail, run.shown


def test_a_device_of_another_rate_is_told_as_such():
    # The other end of the cable binds this one to its rate.
    with held(f"arecord -q -D {ROOM_TAKES} -t raw -f S16_LE -r 44100 -c 2"):
        run = inspect()
        assert run.failure == "format" and "44100" in run.detail and "48000" in run.detail, run.shown
        # ALSA's own conversion would hide it.
        run = inspect(loudspeaker="plug" + LOUDSPEAKER)
        assert run.failure == "format", run.shown


def test_a_device_that_goes_away_in_use_is_lost():
    unbind = "(sleep 6; echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind) >/dev/null 2>&1 &"
    run = inspect(before=unbind)
    assert run.failure == "device_lost" and "went away" in run.detail, run.shown
    # It was let go of, or this would not end.
    MACHINE.run("modprobe -r snd-aloop && modprobe snd-aloop", timeout=60)


def test_a_device_that_is_not_there_is_named():
    for keys in ({"loudspeaker": "hw:Nobody,0"}, {"microphone": "*Nobody*"}):
        run = inspect(**keys)
        assert run.failure == "no_device" and "Nobody" in run.detail, run.shown


def test_a_pattern_finds_a_device_if_it_is_the_only_one():
    with room() as there:
        there.change(1440, -20.0)
        run = undisturbed(lambda: inspect(loudspeaker="hw:CARD=Loop*,DEV=0"))
    assert run.value("echo_delay") is not None, run.shown
    run = inspect(loudspeaker="*Loopback*")
    assert run.failure == "no_device" and "several" in run.detail, run.shown


def test_only_members_of_the_group_audio_may():
    nobody = "setpriv --reuid=65534 --regid=65534 --inh-caps=-all --clear-groups"
    run = inspect(user=nobody, before="rm -rf /tmp/state;")
    assert run.failure == "not_permitted" and "`audio`" in run.detail, run.shown
    with room() as there:
        there.change(1440, -20.0)
        member = nobody.replace("--clear-groups", "--groups=audio")
        run = undisturbed(lambda: inspect(user=member, before="rm -rf /tmp/state;"))
    MACHINE.run("rm -rf /tmp/state")
    assert run.value("echo_delay") is not None, run.shown


def main():
    global MACHINE
    image = vm.image(IMAGES, "bookworm")
    with vm.Machine(image) as MACHINE, tempfile.TemporaryDirectory() as folder:
        for program in (BINARY, ROOM):
            stripped = pathlib.Path(folder, pathlib.Path(program).name)
            vm.run("strip", "-o", stripped, program)
            MACHINE.copy(stripped, f"/usr/local/bin/{'room' if program == ROOM else 'bellwether'}")
        MACHINE.run("modprobe snd-aloop && ldconfig")
        run_tests(globals())


if __name__ == "__main__":
    main()
