#!/usr/bin/env python3
"""The installed service in a machine with systemd: its calls beside calls by hand, and what it keeps of what it hears.

    service.py BELLWETHER FOLDER [CALLS]

Twenty calls of each kind, unless told otherwise, and as many inspections with sound and picture while a known voice is at the
microphone. Prints figures, and ends with 1 if a bar is not reached. Takes half an hour: inspections are a minute apart.
"""

import base64
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE / "boot"), str(HERE / "sound")]

import guide
import life
import search
from box import NO_CALL, STATE, UNIT, Box, packages
from daemon import wait_for
from heard import FREE, probe
from machine import Machine, tree
from planted import PLACES, Watch, plant_controls, voice
from proc import children
from promised import bar, end
from servers import PipeWire
from session import USER, Room, Session

CALLS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
NO_VOICE = "[probe.voice]\nenabled = false\n"
# Several probes alike share the minute: calls are made one after another, whoever asks for them.
EACH_MINUTE = 4
CALL = 'kind = "media"\nduration = "8 s"\nschedule = "* * * * *"\ntimeout = "15 s"\n'
KEYS = {"sound": ("media_audio_delay", {"stat": "p50"}), "picture": ("media_video_delay", {"stat": "p50"}),
        "packets": ("media_packet_delay", {"stat": "p50", "stream": "audio"}),
        "skew": ("media_skew", {}), "round trip": ("media_round_trip", {"stat": "p95", "leg": "both"})}
# How far medians of the service and by hand may be apart, in milliseconds: what calls of one kind may be (bars.py).
APART = 0.5


# calls


def call_probes():
    names = ["call"] + [f"call-{number}" for number in range(2, EACH_MINUTE + 1)]
    return names, NO_VOICE + "".join(f"[probe.{name}]\n{CALL}" for name in names)


def values_of(readings):
    """Values of one call in milliseconds."""
    values = {}
    for key, (metric, labels) in KEYS.items():
        for reading in readings:
            if reading["metric"] == metric and labels.items() <= reading["labels"].items() and reading["value"] is not None:
                values[key] = reading["value"] * 1e3
    return values


def by_the_service(box):
    names, config = call_probes()
    box.configure(config)
    box.restart()
    # The first inspection of all is that of the start.
    wait_for("the first inspection", lambda: all(box.runs(name) >= 1 for name in names), 120, 0.5)
    sums = lambda what: sum(value for series, value in box.metrics().items() if series.startswith(f"bellwether_probe_{what}_total{{")
                            and any(f'probe="{name}"' in series for name in names))
    began, void, before = sums("runs"), sums("inconclusive") + sums("failures"), calls_kept(box)
    wait_for(f"{CALLS} calls", lambda: sums("runs") - began >= CALLS, 70 * CALLS + 120, 1)
    wait_for("their readings", lambda: len(calls_kept(box)) - len(before) >= CALLS, 30, 1)
    calls = []
    for at in sorted(calls_kept(box).keys() - before.keys())[:CALLS]:
        calls.append(values_of(calls_kept(box)[at]))
        say("service", calls)
    return calls, int(sums("inconclusive") + sums("failures") - void)


def calls_kept(box):
    """Readings of each call that is in the history, by when it was and whose. The page shows no more than 500 series."""
    calls = {}
    for line in box.bellwether("history export 2>/dev/null").stdout.splitlines():
        reading = json.loads(line)
        if reading.get("metric", "").startswith("media_"):
            calls.setdefault((reading["ts"], reading["labels"]["probe"]), []).append(reading)
    return calls


def by_hand(box):
    """Under the same conditions: from the machine, with its config, by root. The service makes no calls meanwhile."""
    box.configure(NO_CALL)
    box.reload()
    box.machine.write("/root/by-hand.toml", call_probes()[1])
    calls, void = [], 0
    for _ in range(CALLS):
        done = box.run("bellwether --config by-hand.toml --state /root/by-hand inspect call --json 2>/dev/null", check=False)
        found = json.loads(done.stdout)
        run, = found["runs"]
        void += bool(run["inconclusive"] or run["failure"])
        calls.append(values_of(found["readings"]))
        say("by hand", calls)
    return calls, void


def say(name, calls):
    shown = "  ".join(f"{key} {calls[-1][key]:8.3f}" if key in calls[-1] else f"{key}        -" for key in KEYS)
    print(f"  {name:8} {len(calls):2}/{CALLS}  {shown} ms", flush=True)


def compare(service, hand):
    for key in KEYS:
        two = [[call[key] for call in calls if key in call] for calls in (service, hand)]
        if not all(two):
            bar(f"{key}: calls that have it, service and by hand", f"{len(two[0])}, {len(two[1])}", "all", False)
            continue
        medians = [statistics.median(values) for values in two]
        apart = abs(medians[0] - medians[1])
        bar(f"{key}, median of {len(two[0])} by the service and {len(two[1])} by hand", f"{medians[0]:.3f}, {medians[1]:.3f} ms",
            f"at most {APART} ms apart", apart <= APART)


def check_calls(box):
    service, void = by_the_service(box)
    hand, void_by_hand = by_hand(box)
    compare(service, hand)
    bar(f"void, of {len(service)} by the service", void, "0", void == 0)
    bar(f"void, of {len(hand)} by hand", void_by_hand, "0", void_by_hand == 0)


# sound


def microphone_uses(box):
    return int(box.metric('bellwether_microphone_uses_total{probe="echo"}') or 0)


def is_in_the_workers_memory(box, sound):
    """Whether the voice has come as far as the microphone: while the service listens, its worker holds it."""
    def holds():
        for worker in children(box.here()):
            try:
                if any(sound.found_in(content) for flags, _, content in search.memory(worker) if "lo" in flags):
                    return True
            except OSError:
                pass
        return False

    wait_for("the voice in the memory of who listens", holds, 150, 0.2)


def inspect_with_a_voice(box, ours):
    samples = voice(2, seed=11)
    (ours / "voice").write_bytes(samples.tobytes())
    packets = search.packets_of(samples, ours)
    sound = search.Sound(samples, packets)
    root = box.machine.path("/")
    places = [root / place.lstrip("/") for place in (*PLACES, STATE, "/etc", "/root", "/home", "/var/cache", "/var/spool", "/var/backups")]
    planted = root / "opt" / "voice"
    planted.write_bytes(samples.tobytes())
    watch = Watch(sound, places, set())
    with Session(box, PipeWire) as session, Room(session) as room:
        room.tell("gain off", "noise off", "plant /opt/voice")
        call = NO_VOICE + "[probe.call]\n" + CALL
        box.configure(call + FREE + probe(PipeWire.ear))
        box.restart()
        is_in_the_workers_memory(box, sound)
        bar("the voice is in the locked memory of the process that listens", "yes", "yes", True)
        begin = time.monotonic()
        done = lambda: min(microphone_uses(box), int(box.runs("call")))
        wait_for(f"{CALLS} inspections with sound and picture", lambda: done() >= CALLS, 70 * CALLS + 180, 1)
        print(f"{microphone_uses(box)} uses of the microphone and {box.runs('call'):.0f} calls with a picture "
              f"in {time.monotonic() - begin:.0f} s", flush=True)
        look_for(box, watch, sound, samples, packets)


def look_for(box, watch, sound, samples, packets):
    said = lambda: {"the journal": box.run("journalctl --no-pager -o export --all", timeout=300).stdout,
                    "the page": box.get("/metrics"), "the history": box.bellwether("history export").stdout}
    daemon = box.here()
    found = watch.found([daemon], said())
    for flags, name, content in search.memory(daemon):
        if forms := sound.found_in(content):
            found[f"memory of the daemon: {name} {flags}"] = forms
    bar(f"places with some of the voice, after {microphone_uses(box)} inspections", len(found), "0", not found)
    print(found or "nothing is kept", flush=True)
    placed = []
    for folder in (STATE, f"{STATE}/bookings", "/tmp", "/var/log", "/run/bellwether"):
        place = box.machine.path(folder)
        place.mkdir(exist_ok=True)
        placed += plant_controls(samples, place, packets)
    # Whoever writes it into the journal would write it so.
    box.run(f"logger -t bellwether 'heard {encoded(samples)}'; journalctl --sync")
    found = watch.found([], said())
    seen = sum(form in found.get(str(path), ()) for path, form in placed) + bool(found.get("the journal"))
    bar("controls that were left on purpose and are found", f"{seen} of {len(placed) + 1}", "all", seen == len(placed) + 1)


def encoded(samples):
    return base64.b64encode(samples[30_011:30_147].tobytes()).decode()


def check_sound(box):
    box.run(f"useradd --create-home {USER}")
    set_up, = (block for block in guide.blocks("Sound") if "pipewire-pulse.conf.d" in block)
    box.run(set_up)
    ours = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-planted-"))
    try:
        inspect_with_a_voice(box, ours)
    finally:
        shutil.rmtree(ours)


def main():
    binary, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    print(f"{version}, {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} × {model}, Linux {platform.release()}")
    root, made = tree(folder), packages(binary, folder / "packages")
    with Machine(root, folder) as machine:
        box = Box(machine)
        box.is_debug = "debug" in binary.parts
        life.check_install_is_one_command(box, made)
        life.check_the_first_inspection_is_done_within_half_of_the_memory(box, made)
        life.check_the_unit_is_sound_and_little_exposed(box, made)
        check_calls(box)
        check_sound(box)
        print(box.run(f"systemctl show -P NRestarts {UNIT}").stdout.strip(), "restarts of the service", flush=True)
    end()


main()
