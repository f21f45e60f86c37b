#!/usr/bin/env python3
"""What a call of bellwether costs, beside headless Chromium and a GStreamer pipeline that call themselves.

    beside.py BELLWETHER

Each sends 20 s of sound and picture (640×360, 30 pictures/s, H.264 at 500 kbit/s, Opus at 32 kbit/s) to
itself by ICE, DTLS and SRTP, and decodes what comes back. They run one after the other, in processes watched
as a whole: programs with all that descends from them. Prints a table, and ends with 1 if a bar is not reached.
"""

import contextlib
import json
import os
import pathlib
import platform
import pty
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE / "peers"))

from front import Server
from proc import cpu, memory, tree
from promised import bar, end

BINARY = pathlib.Path(sys.argv[1]).resolve()
SECONDS, VIDEO, AUDIO = 20, 500_000, 32_000
PICTURE = f"""width = 640
height = 360
frame_rate = 30
video_bits_per_second = {VIDEO}
audio_bits_per_second = {AUDIO}
"""
# How often memory is read, in seconds, and after how many a program is given up.
PAUSE, LIMIT = 0.5, 90


# watching


class Watched:
    """A program under way, of which others say when it has its first picture (`first`) and when it is
    `done`, with what was counted; what it costs is read at both. It is not waited for before, so that what
    its children took is not lost with it."""

    def __init__(self, name, command, said, **options):
        self.name, self.said, self.log = name, said, tempfile.TemporaryFile()
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **{"stderr": self.log, **options})
        self.marks = {}
        self.largest = 0.0
        # The largest memory of the program itself, and of all that descends from it: resident, proportional.
        self.own, self.others = (0.0, 0.0), (0.0, 0.0)

    def until_done(self):
        try:
            while "done" not in self.marks:
                with contextlib.suppress(queue.Empty):
                    word, facts = self.said.get(timeout=PAUSE)
                    self.marks[word] = (time.monotonic() - self.began, self._cpu())
                    if word == "failed":
                        raise AssertionError(f"{self.name} failed: {facts}")
                    self.facts = facts
                self._look()
                if time.monotonic() > self.began + LIMIT:
                    raise AssertionError(f"{self.name} did not end: {self._complaints()}")
        finally:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.process.kill()
            self.process.wait()
        return self

    def _cpu(self):
        total = 0.0
        for pid in tree(self.process.pid):
            with contextlib.suppress(OSError):
                total += cpu(pid) + cpu(pid, of_children=True)
        return total

    def _look(self):
        sizes = {}
        for pid in tree(self.process.pid):
            # What ended meanwhile has none.
            with contextlib.suppress(OSError):
                sizes[pid] = memory(pid)
        own = sizes.pop(self.process.pid, (0.0, 0.0))
        others = tuple(map(sum, zip((0.0, 0.0), *sizes.values())))
        self.largest = max(self.largest, own[1] + others[1])
        self.own, self.others = tuple(map(max, self.own, own)), tuple(map(max, self.others, others))

    def _complaints(self):
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")

    # What it cost

    def share(self):
        """Of one processor, from the start of the program to the end of the call."""
        seconds, spent = self.marks["done"]
        return spent / seconds

    def per_minute(self):
        """Seconds of processor time a minute of media, without those that starting and connecting took."""
        (began, before), (ended, after) = self.marks["first"], self.marks["done"]
        return (after - before) / (ended - began) * 60

    def per_picture(self):
        pictures, seconds = self.facts["pictures"], self.facts["seconds"]
        return self.per_minute() / 60 / (pictures / seconds) if pictures else None


# bellwether


def bellwether(folder, name, settings):
    """`inspect` by hand on a terminal, which shows when media begins to flow."""
    config, found, said = folder / "bellwether.toml", folder / "found.json", queue.Queue()
    config.write_text(f'[probe.call]\nduration = "{SECONDS} s"\n{settings}')
    terminal, of_program = pty.openpty()
    with open(found, "wb") as out:
        watched = Watched(name, [BINARY, "--config", config, "inspect", "call", "--json"], said,
                          stdout=out, stderr=of_program)
    os.close(of_program)

    def follow():
        shown = b""
        with contextlib.suppress(OSError):  # the terminal has no other end any more
            while part := os.read(terminal, 4096):
                if b" media " not in shown and b" media " in shown + part:
                    said.put(("first", None))
                shown += part
        os.waitid(os.P_PID, watched.process.pid, os.WEXITED | os.WNOWAIT)
        text = found.read_text()
        said.put(("done", json.loads(text)) if text else ("failed", shown.decode(errors="replace").strip()))

    threading.Thread(target=follow, daemon=True).start()
    try:
        watched.until_done()
    finally:
        os.close(terminal)
    run = watched.facts["runs"][0]
    values = {}
    for reading in watched.facts["readings"]:
        labels = ",".join(value for key, value in sorted(reading["labels"].items()) if key != "probe")
        values[f'{reading["metric"]}[{labels}]'] = reading
    if run["failure"] or "first" not in watched.marks:
        raise AssertionError(f'{name}: {run["failure"]}, {watched.marks}')
    value = lambda key: values[key]["value"] if key in values else 0.0
    watched.facts = {
        "pictures": values.get("media_frame_rate[]", {"n": 0})["n"],
        "seconds": SECONDS,
        "bytes": SECONDS * sum(value(f"media_throughput[receive,{stream}]") for stream in ("audio", "video")),
        "codec": " ".join(path["codec"] for path in run["paths"]),
    }
    # By its own count of the time since the call began; the rest of its life is starting and printing.
    ended, _ = watched.marks["done"]
    first = value("media_first_frame[]") or value("media_first_sound[]")
    watched.first_at = ended - run["duration_seconds"] + first
    watched.readings_at = ended
    return watched


# the others


class Page(Server):
    """Shows the page that calls itself, and takes what it says."""

    def __init__(self, said):
        self.said = said
        super().__init__()

    def answer(self, method, path, headers, body):
        if method == "POST":
            self.said.put((path.removeprefix("/"), json.loads(body)))
            return 204, [], b""
        if path.startswith("/?"):
            return 200, [("Content-Type", "text/html")], (HERE / "beside/page.html").read_bytes()
        return 404, [], b""


def chromium(folder):
    said = queue.Queue()
    page = Page(said)
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
               "--disable-breakpad", "--disable-background-networking", "--disable-component-update",
               "--autoplay-policy=no-user-gesture-required",
               "--disable-features=WebRtcHideLocalIpsWithMdns", "--use-fake-ui-for-media-stream",
               "--use-fake-device-for-media-stream=fps=30", f"--user-data-dir={folder / 'chromium'}",
               f"{page.url}/?seconds={SECONDS}&video={VIDEO}&audio={AUDIO}"]
    try:
        watched = Watched("Chromium", command, said, stdout=subprocess.DEVNULL).until_done()
    finally:
        page.stop()
    return others(watched)


def gstreamer(_):
    said = queue.Queue()
    # The bindings are Debian's, and so must its Python be.
    command = ["/usr/bin/python3", HERE / "beside/pipeline.py", str(SECONDS), str(VIDEO), str(AUDIO)]
    watched = Watched("GStreamer", command, said, stdout=subprocess.PIPE)

    def follow():
        for line in watched.process.stdout:
            said.put(tuple(json.loads(line)))

    threading.Thread(target=follow, daemon=True).start()
    return others(watched.until_done())


def others(watched):
    """Their first picture is their first reading."""
    watched.first_at = watched.readings_at = watched.marks["first"][0]
    return watched


# the table

COLUMNS = [
    ("", 24, lambda one: f"{one.name:24}"),
    ("first picture", 15, lambda one: f"{one.first_at:.2f} s"),
    ("readings", 10, lambda one: f"{one.readings_at:.2f} s"),
    ("CPU before", 12, lambda one: f'{one.marks["first"][1]:.2f} s'),
    ("CPU/minute", 12, lambda one: f"{one.per_minute():.2f} s"),
    ("CPU/picture", 13, lambda one: f"{one.per_picture() * 1e3:.2f} ms" if one.per_picture() else "-"),
    ("memory", 11, lambda one: f"{one.largest:.1f} MiB"),
    ("pictures", 10, lambda one: str(one.facts["pictures"])),
    ("received", 13, lambda one: f'{one.facts["bytes"] * 8 / one.facts["seconds"] / 1e3:.0f} kbit/s'),
    ("codec", 14, lambda one: one.facts["codec"]),
]
NOTES = """CPU: user and system time of the whole tree of processes; before media flows, and from then on a minute.
memory: largest sum of the proportional set sizes (PSS) of that tree. first picture: from the start of the
program until it was decoded (light: first sound). readings: until the first was there to be read; bellwether
prints all at the end, and shows progress until then. Chromium: its test devices, not shown, sound processing
off, its crash handlers not counted. GStreamer: webrtcbin twice, Python's own memory included, no congestion
control, and nothing measured but what is in the table."""


def table(rows):
    print("".join(f"{heading:>{width}}" for heading, width, _ in COLUMNS))
    for row in rows:
        print("".join(f"{cell(row):>{width}}" for _, width, cell in COLUMNS))
    print(NOTES, flush=True)


# the analysis


def analysis(folder):
    """Seconds from the start of `analyse` on a capture of a call of full length to its end, ten times."""
    config, captures = folder / "bellwether.toml", folder / "captures"
    config.write_text(f'[probe.call]\nduration = "{SECONDS} s"\n{PICTURE}')
    subprocess.run([BINARY, "--config", config, "inspect", "call", "--capture", captures], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    size = sum(file.stat().st_size for file in captures.iterdir())
    times = []
    for _ in range(10):
        begin = time.monotonic()
        shown = subprocess.run([BINARY, "--config", config, "analyse", captures], capture_output=True, text=True)
        times.append(time.monotonic() - begin)
        assert "media_video_delay" in shown.stdout, shown.stderr
    median = statistics.median(times)
    name = f"analyse, capture of {SECONDS} s and {size / 1e6:.1f} MB, median of 10"
    bar(name, f"{median * 1e3:.0f} ms", "under 300 ms", median < 0.3)


def whole_cpu(name, watched, text, most):
    share = watched.share()
    bar(f"{name}: CPU, start of the program to end of the call", f"{share:.1%} of a core", text, share <= most)


def printed(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    print(f'{printed(BINARY, "--version")}, {time.strftime("%Y-%m-%d", time.gmtime())}, {os.cpu_count()} × {model}, '
          f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f} at the start")
    parts = {
        "bellwether, full": lambda folder: bellwether(folder, "bellwether, full", PICTURE),
        "bellwether, light": lambda folder: bellwether(folder, "bellwether, light", 'profile = "light"\n'),
        "Chromium": chromium,
        "GStreamer": gstreamer,
    }
    rows = {}
    for name, part in parts.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="bellwether-beside-", ignore_cleanup_errors=True) as folder:
            try:
                rows[name] = part(pathlib.Path(folder))
            except AssertionError as error:
                print(error)
                bar(f"{name}: a call", "none", "one", False)
    print(f'{printed("chromium", "--version")}; {rows["GStreamer"].facts["version"] if "GStreamer" in rows else ""}')
    table(rows.values())
    shown = lambda sizes: "{:.1f}, {:.1f} MiB".format(*sizes)
    if full := rows.get("bellwether, full"):
        whole_cpu("full", full, "at most 15 % (aim: 8)", 0.15)
        bar("full: memory, parent and child (PSS)", f"{full.largest:.1f} MiB", "at most 40 MiB", full.largest <= 40)
        name = "full: child, with both codecs: resident, proportional"
        bar(name, shown(full.others), "at most 40 MiB", full.others[0] <= 40)
        bar("full: parent: resident, proportional", shown(full.own), "", None)
        # A box too busy to send them all would make the call look cheap.
        pictures, most = full.facts["pictures"], SECONDS * 30
        bar("full: pictures received", str(pictures), f"at least 95 % of {most}", pictures >= 0.95 * most)
    if light := rows.get("bellwether, light"):
        whole_cpu("light", light, "at most 3 %", 0.03)
        bar("light: child: resident, proportional", shown(light.others), "", None)
    with tempfile.TemporaryDirectory(prefix="bellwether-beside-") as folder:
        analysis(pathlib.Path(folder))
    end()


main()
