"""Has every case written by every writer, says what is right, and damages some:

    make.py INSTALLED FOLDER

FOLDER/list.json then names the files, and what is to be found in each. The zone data is the package's, not that of
this machine: PYTHONTZPATH is to be empty.
"""

import concurrent.futures
import contextlib
import json
import pathlib
import random
import signal
import subprocess
import sys

import by_hand
import by_icalendar
import by_khal
import by_radicale
import cases
import corrupt
import oracle
import right

# Of these, damaged ones are made: (writer, case).
GOOD = [
    ("icalendar", "weekly-until-exdate-rdate"), ("icalendar", "several-days"), ("icalendar", "odd-weeks"),
    ("ical.js", "moved-lesson"), ("ical.js", "private-zone"), ("ical.js", "rule-monthly-last-weekday"),
    ("ical.js", "endless-first"), ("radicale", "summer-time-defined"), ("radicale", "universal"),
    ("khal", "floating"),
]


def written(installed, folder):
    """Every case by every writer: (writer, case, texts), or in place of the texts why there are none."""
    chance = list(cases.by_chance(150))
    ours = [by_icalendar.write(case) for case in cases.CASES]
    js = subprocess.run(["node", pathlib.Path(__file__).with_name("by_icaljs.mjs"), installed], check=True, text=True,
                        input=json.dumps({"cases": cases.CASES, "definitions": cases.DEFINITIONS}), stdout=subprocess.PIPE)
    js = json.loads(js.stdout)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        imported = pool.submit(by_khal.imported, folder / "khal", ours, cases.CASES)
        new = pool.submit(lambda: list(by_khal.new(folder / "khal-new")))
        kept = pool.submit(through_radicale, folder / "radicale", {"radicale": ours, "radicale of ical.js": js})
    yield from (("icalendar", case, [text]) for case, text in zip(cases.CASES, ours))
    yield from (("icalendar", case, [by_icalendar.write(case)]) for case in chance)
    yield from (("ical.js", case, [text]) for case, text in zip(cases.CASES, js))
    yield from (("khal", case, texts or "it keeps no such event") for case, texts in zip(cases.CASES, imported.result()))
    yield from (("khal", cases.case(name), texts) for name, texts in new.result())
    yield from kept.result()
    for name, text, zone, span in by_hand.texts():
        yield "hand", {"name": name, "zone": zone, "span": list(span)}, [text]


def through_radicale(folder, by_writer):
    made = []
    with by_radicale.server(folder) as running:
        for writer, texts in by_writer.items():
            for case, text in zip(cases.CASES, texts):
                try:
                    kept = by_radicale.kept(running, f"{writer.replace(' ', '-')}-{case['name']}", text)
                    made.append((writer, case, [kept]))
                except RuntimeError as error:
                    made.append((writer, case, str(error)))
    return made


def damaged(good):
    """(name, text, case, what the good one said, whether it may be another good one) of good files, damaged;
    `good` has texts and occurrences by name."""
    chance = random.Random(5)
    for name in map("/".join, GOOD):
        case, texts, occurrences = good[name]
        text = texts[0] if isinstance(texts[0], bytes) else texts[0].encode()
        left = [(*one, False) for one in [*corrupt.cut(text), *corrupt.other_bytes(text)]]
        left += [(*one, True) for one in [*corrupt.flipped(text, 30, chance), *corrupt.cut_out(text, 10, chance)]]
        for what, text, other in left:
            yield f"{name}, {what}", text, case, occurrences, other


@contextlib.contextmanager
def within(seconds):
    """What takes longer is given up."""
    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def read(texts, case):
    """What the library says; or why it does not."""
    try:
        with within(60):
            return oracle.occurrences(texts, case), None
    except Exception as error:  # whatever it fails at
        return None, f"{type(error).__name__}: {error}"


class Made:
    """What was made so far."""

    def __init__(self, folder):
        self.folder = folder
        self.entries = []
        self.failures = []
        self.good = {}

    def entry(self, name, texts, case, **more):
        paths = []
        for text in texts:
            paths.append(str(self.folder / f"{len(self.entries)}-{len(paths)}.ics"))
            pathlib.Path(paths[-1]).write_bytes(text if isinstance(text, bytes) else text.encode())
        self.entries.append({"name": name, "sources": paths, "zone": case["zone"], "span": case["span"], **more})

    def add(self, writer, case, texts, found, why):
        """A case as somebody wrote it: what is right, and that it is what others wrote, too."""
        name = f"{writer}/{case['name']}"
        if (name in right.REFUSED) != isinstance(texts, str):
            self.failures.append(f"{name}: right.py, REFUSED is wrong: {texts}")
        if isinstance(texts, str):
            return
        if found is None and case["name"] not in right.RIGHT:
            self.failures.append(f"{name}: the library reads nothing: {why}")
            return
        try:
            found = right.right(case["name"], writer, found)
        except ValueError as error:
            self.failures.append(str(error))
            return
        first = self.good.get(f"icalendar/{case['name']}")
        if first and found != first[2] and name not in right.OTHERWISE:
            self.failures.append(f"{name}: the writer changed something: {first[2]} became {found}")
        self.good[name] = case, texts, found
        self.entry(name, texts, case, expected=found)


def main():
    installed, folder = map(pathlib.Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    made = Made(folder)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        jobs = [(writer, case, texts) for writer, case, texts in written(installed, folder)]
        # What no writer made has no texts, and nothing is said in it.
        texts = [[] if isinstance(texts, str) else texts for _, _, texts in jobs]
        for job, found in zip(jobs, pool.map(read, texts, [case for _, case, _ in jobs], chunksize=8)):
            made.add(*job, *found)
        left = list(damaged(made.good))
        others = pool.map(read, [[text] for _, text, *_ in left], [case for _, _, case, *_ in left], chunksize=8)
        for (name, text, case, good, may_differ), (found, _) in zip(left, others):
            # A 1 that became a 3 makes another timetable, not a wrong one: then it is read as such.
            more = {"other": found} if may_differ and found is not None else {}
            made.entry(name, [text], case, good=good, **more)
    here = {"zone": cases.CHINA, "span": list(cases.AUTUMN)}
    for name, text in [*by_hand.unreadable(), *corrupt.alone()]:
        made.entry(name, [text], here, expected="unreadable")
    for name in map("/".join, GOOD):
        case, texts, good = made.good[name]
        made.entry(f"{name}, kept", texts, case, expected=good, then=True)
    (folder / "list.json").write_text(json.dumps({"entries": made.entries, "failures": made.failures}))


if __name__ == "__main__":
    main()
