#!/usr/bin/env python3
"""The call against the truth: a relay worsens the path to `bellwether reflect` in known ways, and what the
call reads is compared with what the relay's log says was done to each packet.

    bench.py BELLWETHER RELAY [IMPAIRMENT…]

Prints a line a reading and ends with 1 if a bar is missed, or if more than a tenth of the impairments are
void: those in which bellwether itself says that this box was too busy to tell. On a box that does other
work, `chrt -r 1 tests/run bench` gives it its turns. See truth.py for what is computed, and tests/relay for
what is done to packets.
"""

import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import truth
from truth import SECOND, STREAMS

BINARY, RELAY = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
LENGTH = 20
SEED = 20261124
# How near to the shortest freeze, in nanoseconds, a pause counts either way.
UNSURE = 5_000_000

both = lambda path: {"audio": path, "video": path}
burst = {"enter": 0.01, "leave": 0.25}
# Pictures are dropped between key frames, of which there is one 0.2 s after the start and each 2 s after that.
freeze = [{"after_s": 7.0, "for_s": 0.3}, {"after_s": 11.2, "for_s": 0.5}, {"after_s": 15.0, "for_s": 0.3}]

IMPAIRMENTS = {
    "clean": {},
    "20 ms up": {"up": both({"delay_ms": 20})},
    "80 ms up": {"up": both({"delay_ms": 80})},
    "200 ms up": {"up": both({"delay_ms": 200})},
    "80 ms up, 20 ms down": {"up": both({"delay_ms": 80}), "down": both({"delay_ms": 20})},
    "jitter, even, 0 to 20 ms": {"up": both({"delay_ms": 20, "uniform_ms": 20})},
    "jitter, normal, 5 ms": {"up": both({"delay_ms": 40, "gaussian_ms": 5})},
    "jitter, normal, 4 ms each way": {"up": both({"delay_ms": 30, "gaussian_ms": 4}),
                                      "down": both({"delay_ms": 30, "gaussian_ms": 4})},
    "route change by 40 ms": {"up": both({"delay_ms": 20, "step": {"after_s": LENGTH / 2, "delay_ms": 60}})},
    "loss 1 % up": {"up": both({"delay_ms": 20, "loss": 0.01})},
    # Without delay a repeat comes back sooner than on any longer path.
    "loss 2 % up, no delay": {"up": both({"loss": 0.02})},
    "loss 5 % down": {"down": both({"delay_ms": 20, "loss": 0.05})},
    "loss in bursts up": {"up": both({"delay_ms": 20, "burst": burst})},
    "duplicates 1 % down": {"down": both({"delay_ms": 20, "duplicate": 0.01})},
    # Two packets of sound are 20 ms apart, two of a picture 0.25 ms.
    "reordering 2 % up": {"up": {"audio": {"delay_ms": 20, "reorder": {"share": 0.02, "by_ms": 24}},
                                 "video": {"delay_ms": 20, "reorder": {"share": 0.02, "by_ms": 3}}}},
    "sound 40 ms late": {"up": {"audio": {"delay_ms": 40}}},
    "picture 120 ms late": {"down": {"video": {"delay_ms": 120}}},
    "line of 1.2 Mbit/s up": {"up": {"bits_per_second": 1_200_000}},
    "freezes of 0.3 and 0.5 s": {"up": {"audio": {"delay_ms": 20}, "video": {"delay_ms": 20, "gaps": freeze}}},
}

missed, lines = [], 0


# one call


@contextlib.contextmanager
def running(*command, **more):
    """A program that says where it listens; its input ends when it is to end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **more)
    try:
        yield process
    finally:
        process.stdin.close()
        process.terminate()
        process.wait(10)


def first():
    """The relay goes before everything else, where that is allowed: it makes the truth."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


def listening(stream):
    for line in stream:
        if "listening on " in line:
            return line.split("listening on ")[1].split()[0]
    raise AssertionError("it does not listen")


def call(plan, folder):
    """Makes a call over the relay: what `inspect` says, the capture, and the log."""
    log, captures = folder / "log.csv", folder / "captures"
    with running(BINARY, "reflect", "--listen", "127.0.0.1:0", stderr=subprocess.PIPE) as reflect:
        far = listening(reflect.stderr)
        with subprocess.Popen([RELAY, "--far", far, "--plan", json.dumps(plan), "--seed", str(SEED), "--log", log],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              preexec_fn=first) as relay:
            url = listening(relay.stdout)
            config = folder / "bellwether.toml"
            config.write_text(f'[probe.call]\nduration = "{LENGTH} s"\n'
                              f'far_end = {{ kind = "reflect", url = "{url}/reflect" }}\n')
            shown = subprocess.run([BINARY, "--config", config, "--state", folder, "inspect", "call", "--json",
                                    "--capture", captures], capture_output=True, text=True, timeout=120)
            relay.stdin.close()
            assert relay.wait(10) == 0, "the relay ended badly"
    assert shown.stdout, shown.stderr
    found = json.loads(shown.stdout)
    capture = next(iter(captures.glob("*.json")), None)
    return found, capture and json.loads(capture.read_text()), truth.read_log(log.read_text())


class Row:
    """One impairment's lines."""

    def __init__(self, name, void):
        self.name, self.void = name, void

    def line(self, reading, want, got, unit, bar, good):
        global lines
        lines += 1
        void = self.void or (got is None and "not valid")
        mark = "void" if void else "reached" if good else "MISSED"
        if mark == "MISSED":
            missed.append(f"{self.name}: {reading}")
        show = lambda value: "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        difference = got - want if isinstance(got, (int, float)) and isinstance(want, (int, float)) else None
        print(f"{self.name:30}{reading:34}{show(want):>12}{show(got):>12}{show(difference):>10} {unit:3} {bar:20}{mark}",
              flush=True)

    def near(self, reading, want, got, bar, share=0.0):
        """A time in seconds, within a bar in milliseconds or a share, whichever is wider."""
        want, got = (None if value is None else value * 1e3 for value in (want, got))
        within = None if want is None else max(bar, share * abs(want))
        good = want is not None and got is not None and abs(got - want) <= within
        self.line(reading, want, got, "ms", f"±{bar:g} ms" + (f" or {share:.0%}" if share else ""), good)

    def exact(self, reading, want, got):
        self.line(reading, want, got, "", "exact", want == got)


def valid(found, metric, *labels):
    """The reading of a metric with these labels, unless it must not be judged."""
    for reading in found["readings"]:
        said = {value for key, value in reading["labels"].items() if key != "probe"}
        if reading["metric"] == metric and said == set(labels):
            return None if reading["validity"] == "inconclusive" else reading
    return None


def value(found, metric, *labels):
    reading = valid(found, metric, *labels)
    return reading and reading["value"]


def hits(found, metric, stream):
    """The count behind a share."""
    reading = valid(found, metric, stream)
    return reading and round(reading["value"] * reading["n"])


# the comparison


def packets(row, found, capture, way):
    """Delay, variation, jitter, loss, order and copies of each stream."""
    for stream in STREAMS:
        pairs = truth.counted(capture, stream, way)
        back = {}
        for packet in capture["received"]:
            if packet["stream"] == stream:
                back.setdefault(packet["hash"], packet["at"])
        delays = truth.delays(pairs)
        for stat, share in (("p50", 0.5), ("p95", 0.95)):
            row.near(f"{stream} packet delay {stat}", truth.quantile(delays, share),
                     value(found, "media_packet_delay", stream, stat), 0.3)
        single = [abs((back[packet["hash"]] - packet["at"]) - (to.back - to.sent)) / SECOND for packet, to in pairs
                  if to and to.back and not to.repeated and packet["hash"] in back]
        row.near(f"{stream} single packets, p95 of error", 0.0, truth.quantile(single, 0.95), 0.3)
        row.near(f"{stream} delay variation p95", truth.quantile(truth.variation(pairs), 0.95),
                 value(found, "media_delay_variation", stream, "p95"), 0.1, 0.02)
        row.near(f"{stream} mean delay change", truth.changes(pairs), own_changes(found, stream, pairs, back), 0.1, 0.02)
        j, read = truth.jitter(capture["received"], stream, capture["media_start"]), value(found, "media_jitter", stream)
        row.line(f"{stream} jitter (RFC 3550)", j and j * 1e3, read and read * 1e3, "ms", "1e-6",
                 read is not None and abs(read - j) <= 1e-6 * j)
        want = truth.counts(pairs)
        for name, metric in (("loss", "media_loss"), ("residual", "media_residual_loss"),
                             ("repaired", "media_repaired_packets"), ("reordered", "media_reordering")):
            row.exact(f"{stream} {name}", want[name], hits(found, metric, stream))
        crowded(row, found, stream, pairs, back)
        doubled = hits(found, "media_duplicates", stream)
        if doubled is not None:
            row.exact(f"{stream} duplicates", want["doubled"], doubled)
        more = sum(to.more for (of, _), to in way.items() if of == stream)
        numbers = [packet["sequence"] for packet in capture["received"] if packet["stream"] == stream]
        row.exact(f"{stream} further arrivals*", more, len(numbers) - len(set(numbers)))


def legs(row, found, capture, log):
    """Loss, delay and variation of each way. A delay's bar is what it says it may be off, and that of packets."""
    ways = truth.legs(log)
    uncertainty = value(found, "media_clock_uncertainty")
    for leg in ("uplink", "downlink"):
        taken = []
        for stream in STREAMS:
            counted = [ways[leg].get((stream, packet["sequence"] & 0xFFFF))
                       for packet, _ in truth.counted(capture, stream, truth.ways(log))]
            reading = valid(found, "media_reported_loss", leg, stream)
            row.exact(f"{stream} loss, {leg}", sum(passed is not None and passed.lost for passed in counted),
                      reading and round(reading["value"] * reading["n"]))
            taken += [passed.taken for passed in counted if passed and passed.taken is not None]
        least = min(taken, default=None)
        row.near(f"{leg} delay variation p95", truth.quantile([each - least for each in taken], 0.95),
                 value(found, "media_one_way_delay_variation", leg, "p95"), 0.1, 0.02)
        p95, read = truth.quantile(taken, 0.95), value(found, "media_one_way_delay", leg, "p95")
        bar = None if uncertainty is None else uncertainty * 1e3
        row.line(f"{leg} delay p95", p95 and p95 * 1e3, read and read * 1e3, "ms", f"±{bar or 0:.2f} ms (its own)",
                 None not in (p95, read, bar) and abs(p95 - read) * 1e3 <= bar + 0.3)


def crowded(row, found, stream, pairs, back):
    """How losses crowd together: as read, or as the capture has it while there is no such reading. That
    knows no repairs, so of pictures nothing is said then."""
    times, lost = [packet["at"] for packet, _ in pairs], truth.missed(pairs)
    if not times:
        return
    want = {"burst_loss": truth.worst_loss(times, lost), **truth.bursts(lost)}
    if not any(reading["metric"] == "media_burst_loss" for reading in found["readings"]):
        if stream == "audio":
            lost = [packet["hash"] not in back for packet, _ in pairs]
            got = {"burst_loss": truth.worst_loss(times, lost), **truth.bursts(lost)}
            for name in want:
                row.exact(f"{stream} {name}*", want[name], got[name])
        return
    for name in want:
        got = value(found, f"media_{name}", stream)
        row.line(f"{stream} {name}", want[name], got, "", "exact", got is not None and abs(got - want[name]) < 1e-9)


def own_changes(found, stream, pairs, back):
    """Mean change of delay: as read, or from the capture's own stamps while there is no such reading."""
    read = value(found, "media_delay_change", stream)
    if read is not None:
        return read
    known = [(back[packet["hash"]] - packet["at"]) / SECOND
             if to and to.back and not to.repeated and packet["hash"] in back else None for packet, to in pairs]
    return truth.mean(abs(b - a) for a, b in zip(known, known[1:]) if a is not None and b is not None)


def media(row, found, capture, way):
    """Delay of sound and picture, skew, freezes."""
    sound = truth.sound(capture, way)
    row.near("sound delay p50", truth.quantile([delay for delay, _ in sound.values()], 0.5),
             value(found, "media_audio_delay", "p50"), 1)
    whole = {frame["counter"] for frame in capture["frames_decoded"] if not frame["torn"]}
    all_pictures = truth.pictures(capture, way)
    pictures = [picture for picture in all_pictures
                if picture.counter in whole and picture.captured >= capture["media_start"]]
    row.near("picture delay p50", truth.quantile([picture.whole_way for picture in pictures], 0.5),
             value(found, "media_video_delay", "p50"), 2)
    lead = (truth.quantile([picture.way for picture in pictures], 0.5) or 0) - (
        truth.quantile([taken for _, taken in sound.values()], 0.5) or 0)
    row.near("skew", lead, value(found, "media_skew"), 5)
    offset = truth.clock(capture, way)
    start, end = capture["media_start"] + offset, capture["media_end"] + offset
    # Decoding takes its time, so a pause that only just is a freeze, or is none, may be read either way.
    shown = [picture.shown for picture in all_pictures]
    (most, longest), (count, frozen), (least, shortest) = (
        truth.freezes(shown, start, end, margin) for margin in (-UNSURE, 0, UNSURE))
    read = value(found, "media_freezes")
    read = None if read is None else round(read)
    row.line("freezes", count, read, "", "exact" if most == least else f"{least} to {most}",
             read is not None and least <= read <= most)
    share = value(found, "media_freeze_ratio")
    read = None if share is None else share * (end - start) / SECOND * 1e3
    bar = max(count, 1) * 500 / capture["frame_rate"]
    row.line("time frozen", frozen * 1e3, read, "ms", f"±{bar:.1f} ms",
             read is not None and shortest * 1e3 - bar <= read <= longest * 1e3 + bar)


def judge(name, plan):
    with tempfile.TemporaryDirectory(prefix="bellwether-bench-") as folder:
        found, capture, log = call(plan, pathlib.Path(folder))
    run = found["runs"][0]
    way = truth.ways(log)
    void = run["inconclusive"] or ("relay" if log.unlogged else None)
    row = Row(name, void)
    if run["failure"] or capture is None:
        row.exact("the call", "made", str(run["failure"]))
        return void
    sent = [packet for packet in capture["sent"] if packet["at"] is not None]
    seen = sum((packet["stream"], packet["sequence"] & 0xFFFF) in way for packet in sent)
    # ICE that found a way past the relay would measure a path without impairment, and well.
    Row(name, None).exact("packets through the relay", len(sent), seen)
    if void:
        print(f"{name:30}void: {void}, timer p99 {value(found, 'media_timer_overshoot', 'p99')}, lateness of sending "
              f"p95 {value(found, 'media_sender_lateness', 'p95')}, unlogged {log.unlogged}")
    late = [(entry.released - entry.due) / 1e6 for entry in log.entries if entry.outcome != "lost"]
    print(f"  the relay let go {len(late)} packets p50 {truth.quantile(late, 0.5):.3f}, p95 {truth.quantile(late, 0.95):.3f}, "
          f"max {max(late):.3f} ms after they were due")
    packets(row, found, capture, way)
    legs(row, found, capture, log)
    media(row, found, capture, way)
    return void


def main():
    asked = sys.argv[3:] or list(IMPAIRMENTS)
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version}, {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} × {model}, Linux {platform.release()}")
    group = pathlib.Path("/proc/self/autogroup")
    session = group.read_text().split()[-1] if group.exists() else "-"
    turns = {os.SCHED_OTHER: "usual", os.SCHED_FIFO: "FIFO", os.SCHED_RR: "RR"}.get(os.sched_getscheduler(0), "?")
    print(f"load {os.getloadavg()[0]:.1f} at the start, scheduling {turns}, nice {os.nice(0)}, session's nice {session}")
    print(f"calls of {LENGTH} s, seed {SEED}; * taken from the capture by this judge, as there is no reading yet")
    print(f"{'impairment':30}{'reading':34}{'truth':>12}{'read':>12}{'diff.':>10}     {'bar':20}")
    voids = []
    for name in asked:
        void = judge(name, IMPAIRMENTS[name])
        if void:
            voids.append(name)
    print(f"{len(asked)} impairments, {lines} lines; void: {', '.join(voids) or 'none'}")
    print(f"bars missed: {', '.join(missed) or 'none'}")
    sys.exit(1 if missed or len(voids) * 10 > len(asked) else 0)


main()
