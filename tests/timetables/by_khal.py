"""Cases → iCalendar, as khal keeps it: one file for each event, in a folder."""

import os
import pathlib
import re
import subprocess
import sys

CONFIG = """\
[calendars]
[[timetable]]
path = {folder}
type = calendar
[locale]
local_timezone = {zone}
default_timezone = {zone}
timeformat = %H:%M
dateformat = %Y-%m-%d
longdateformat = %Y-%m-%d
datetimeformat = %Y-%m-%d %H:%M
longdatetimeformat = %Y-%m-%d %H:%M
[default]
default_calendar = timetable
[sqlite]
path = {cache}
"""

# What it is told on its own command line, and what that means in words of cases.py.
NEW = {
    "weekly": "2026-09-07 08:00 2026-09-07 09:40 数学 --repeat weekly --until 2026-12-31",
    "daily": "2026-09-07 12:00 12:30 Asia/Shanghai 午休 --repeat daily --until 2026-09-20",
    "elsewhere": "2026-10-20 09:00 09:45 Europe/Berlin Deutsch --repeat weekly",
    "monthly": "2026-09-30 14:00 15:30 班会 --repeat monthly",
    "whole-day": "2026-10-01 2026-10-07 国庆节",
    "yearly": "2025-10-01 国庆节 --repeat yearly",
    "over-night": "2026-09-11 22:00 2026-09-12 01:00 观星",
}


class Khal:
    def __init__(self, folder, zone):
        self.folder = pathlib.Path(folder)
        self.kept = self.folder / "timetable"
        self.kept.mkdir(parents=True)
        self.config = self.folder / "config"
        self.config.write_text(CONFIG.format(folder=self.kept, zone=zone, cache=self.folder / "khal.db"))

    def run(self, *arguments):
        command = [pathlib.Path(sys.executable).with_name("khal"), "-c", self.config, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "LC_ALL": "C.UTF-8", "XDG_DATA_HOME": str(self.folder)})
        if done.returncode != 0 or "rror" in done.stderr:
            raise RuntimeError(f"khal {arguments[0]}: {done.stderr[-500:]}")

    def files(self):
        """What it keeps, by UID."""
        found = {}
        for file in sorted(self.kept.glob("*.ics")):
            text = file.read_bytes()
            uid = re.search(rb"^UID:(.*?)\r?$", re.sub(rb"\r?\n ", b"", text), re.MULTILINE)[1].decode()
            found[uid] = text
        return found


def imported(folder, texts, cases):
    """One import of all files → for each case what is kept of it; `None` where khal takes no such thing.

    khal first keeps an event and then reads it for an index of its own, at which it may fail: what it kept counts,
    and the rest is imported anew.
    """
    khal = Khal(folder, "Asia/Shanghai")
    files = []
    for case, text in zip(cases, texts):
        files.append(khal.folder / f"{case['name']}.ics")
        files[-1].write_bytes(text)
    uids = [sorted({event["uid"] for event in case["events"]}) for case in cases]
    rest = 0
    while rest < len(cases):
        try:
            khal.run("import", "--batch", *files[rest:])
            break
        except RuntimeError:
            kept = khal.files()
            done = [index for index in range(rest, len(cases)) if any(uid in kept for uid in uids[index])]
            # If it kept nothing of what was left, then it takes nothing like the first of it.
            rest = max(done, default=rest) + 1
    kept = khal.files()
    return [[kept[uid] for uid in own] if all(uid in kept for uid in own) else None for own in uids]


def new(folder):
    """Each of `NEW`, told to khal itself → (name, texts)."""
    for name, words in NEW.items():
        khal = Khal(pathlib.Path(folder) / name, "Asia/Shanghai")
        khal.run("new", *words.split())
        yield f"khal-new-{name}", list(khal.files().values())
