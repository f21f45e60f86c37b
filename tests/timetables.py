#!/usr/bin/env python3
"""iCalendar files by many hands, and what bellwether makes of each:

    timetables.py BELLWETHER INSTALLED

INSTALLED is what timetables/install.sh made. Each file is read by `bellwether calendar`, and its lessons are
compared with what recurring-ical-events reads, or with what timetables/right.py says in its place. Damaged files
must leave the room taken for at least as long as the good ones did, or altogether.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).with_name("timetables")))

from corrupt import covers

BINARY, INSTALLED = (pathlib.Path(path).resolve() for path in sys.argv[1:3])
# What bellwether ends with where a source of the timetable cannot be used.
UNSURE = 3


class Wrong(Exception):
    """What was found, and what would be right."""


def bellwether(state, *arguments):
    """Exit code and answer of a command that is asked for JSON."""
    command = [BINARY, *arguments, "--json", "--config", state / "bellwether.toml", "--state", state]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise Wrong(f"{arguments[0]} ended with {done.returncode}, and no JSON: {done.stderr.strip()[-500:]}") from None


def config(state, entry):
    sources = json.dumps(entry["sources"])
    (state / "bellwether.toml").write_text(
        f'[site]\ntimezone = "{entry["zone"]}"\n[timetable]\nical = {sources}\n[holidays]\ncountry = ""\n')


def lessons(state, entry):
    """What `bellwether calendar` says: its lessons, or `None` if it could not read them."""
    first, last = entry["span"]
    code, answer = bellwether(state, "calendar", "--from", first, "--to", last)
    found = [[lesson[key] for key in ("start", "end", "title")] for day in answer["days"] for lesson in day["lessons"]]
    if answer["timetable"] == "unreadable":
        if code != UNSURE:
            raise Wrong(f"found exit code {code}, expected {UNSURE} of an unreadable timetable")
        if not answer["notes"]:
            raise Wrong("unreadable, and no word why")
        code, slots = bellwether(state, "slots")
        if slots["offers"]:
            raise Wrong(f"unreadable, but it offers {slots['offers'][:1]}")
        return None
    if answer["timetable"] != "known" or code != 0:
        raise Wrong(f"found {answer['timetable']} and exit code {code}, expected known and 0")
    return sorted(found), [note["message"] for note in answer["notes"]]


def as_set(occurrences):
    """Two that are alike in start, end and title are one."""
    return set(map(tuple, occurrences))


def difference(wanted, found):
    missing, more = (sorted(as_set(some) - as_set(other)) for some, other in ((wanted, found), (found, wanted)))
    return f"of {len(wanted)}: {len(missing)} missing {missing[:3]}, {len(more)} too many {more[:3]}"


def judge(state, entry):
    found = lessons(state, entry)
    if "good" in entry:
        # Damaged: unknown, or at least as much as before; or another good file, that is read as such.
        if found is None or covers(found[0], entry["good"]):
            return
        if "other" not in entry:  # which is only of damage that may leave a good file
            raise Wrong(f"less than the good file: {difference(entry['good'], found[0])}; notes {found[1]}")
        if not covers(found[0], entry["other"]):
            raise Wrong(f"less than what is left: {difference(entry['other'], found[0])}; notes {found[1]}")
    elif entry["expected"] == "unreadable":
        if found is not None:
            raise Wrong(f"found {len(found[0])} lessons, expected none to be told; notes {found[1]}")
    elif found is None:
        raise Wrong(f"unreadable, expected {len(entry['expected'])} lessons: {bellwether_notes(state, entry)}")
    elif as_set(found[0]) != as_set(entry["expected"]):
        raise Wrong(f"{difference(entry['expected'], found[0])}; notes {found[1]}")


def bellwether_notes(state, entry):
    first, last = entry["span"]
    return [f"line {note['line']}: {note['message']}"
            for note in bellwether(state, "calendar", "--from", first, "--to", last)[1]["notes"]]


def kept(state, entry):
    """After a good file, damaged ones in its place change nothing."""
    path = pathlib.Path(entry["sources"][0])
    good = path.read_bytes()
    first, last = entry["span"]
    for left in good[: len(good) // 2], b"<html>502 Bad Gateway</html>", b"":
        path.write_bytes(left)
        _, answer = bellwether(state, "calendar", "--from", first, "--to", last)
        found = [[lesson[key] for key in ("start", "end", "title")] for day in answer["days"] for lesson in day["lessons"]]
        if as_set(found) != as_set(entry["expected"]) or not answer["notes"]:
            raise Wrong(f"with {left[-20:]} in its place: {difference(entry['expected'], found)}; notes {answer['notes']}")


def run(entry):
    """What is wrong with it, if anything is."""
    with tempfile.TemporaryDirectory(prefix="timetables-") as state:
        state = pathlib.Path(state)
        config(state, entry)
        try:
            judge(state, entry)
            if "then" in entry:
                kept(state, entry)
        except Wrong as wrong:
            return str(wrong)
        except (OSError, KeyError, TypeError, subprocess.SubprocessError) as error:
            return f"{type(error).__name__}: {error}"
    return None


def offers():
    """That `slots` offers something of a free room, so that nothing offered means something."""
    with tempfile.TemporaryDirectory(prefix="timetables-") as state:
        state = pathlib.Path(state)
        (state / "empty.ics").write_text("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n")
        config(state, {"zone": "Asia/Shanghai", "sources": [str(state / "empty.ics")]})
        try:
            _, slots = bellwether(state, "slots")
            return None if slots["offers"] else "found no offer, expected some of a room without lessons"
        except (Wrong, OSError, KeyError, subprocess.SubprocessError) as error:
            return str(error)


def main():
    with tempfile.TemporaryDirectory(prefix="timetables-") as folder:
        made = [INSTALLED / "venv/bin/python", pathlib.Path(__file__).with_name("timetables") / "make.py", INSTALLED, folder]
        subprocess.run(made, check=True, env={**os.environ, "PYTHONTZPATH": ""})
        listed = json.loads((pathlib.Path(folder) / "list.json").read_text())
        entries, failures = listed["entries"], list(listed["failures"])
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for entry, wrong in zip(entries, pool.map(run, entries)):
                if wrong:
                    failures.append(f"{entry['name']}: {wrong}")
    if wrong := offers():
        failures.append(f"a free room: {wrong}")
    for line in failures:
        print(f"FAILED {line}")
    print(f"{len(entries) + 1 + len(listed['failures']) - len(failures)} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


main()
