"""Good files, damaged: what is left of a timetable must not make a lesson's room free."""

import random
import re

FIELDS = re.compile(rb"^(DTSTART|RRULE|DTEND|RDATE|EXDATE|RECURRENCE-ID|TZID|UID|BEGIN|END|DURATION)[;:]")


def cut(text):
    """(what was done, text): the beginning of a file, each 7 % of its length, and just before its end."""
    size = len(text)
    for at in sorted({size * part // 100 for part in range(7, 100, 7)} | {size - 3, size - 15, size - 16}):
        yield f"cut at byte {at} of {size}", text[:at]


def flipped(text, count, chance):
    """(what was done, text): one bit changed in a line that says when lessons are."""
    lines = text.split(b"\n")
    named = [index for index, line in enumerate(lines) if FIELDS.match(line)]
    for _ in range(count):
        index = chance.choice(named)
        line = bytearray(lines[index])
        at, bit = chance.randrange(len(line)), chance.randrange(8)
        line[at] ^= 1 << bit
        yield (f"line {index + 1}: {lines[index]!r} with bit {bit} of byte {at} changed",
               b"\n".join([*lines[:index], bytes(line), *lines[index + 1:]]))


def cut_out(text, count, chance):
    """(what was done, text): a stretch is missing in the middle, as where a download was resumed wrongly."""
    for _ in range(count):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.choice([1, 2, 10, 100, 1000]))
        yield f"without bytes {start} to {end}", text[:start] + text[end:]


def other_bytes(text):
    yield "as UTF-16", text.decode().encode("utf-16")
    yield "as UTF-16 without a mark", text.decode().encode("utf-16-le")
    yield "with a zero at its end", text + b"\0"
    yield "zeros in place of its second half", text[: len(text) // 2] + bytes(len(text) - len(text) // 2)
    yield "twice its half", text[: len(text) // 2] * 2


def alone(size=10 << 20):
    """(what it is, text): no timetable at all."""
    chance = random.Random(7)
    yield f"{size} random bytes", chance.randbytes(size)
    yield f"{size} bytes of letters", (b"X-GARBAGE:" + b"x" * 60 + b"\r\n") * (size // 72)
    yield f"an endless line of {size} bytes", b"BEGIN:VCALENDAR\r\nSUMMARY:" + b"x" * size
    yield "a megabyte of BEGIN", b"BEGIN:VCALENDAR\r\n" + b"BEGIN:VEVENT\r\n" * 75_000
    yield "zeros", bytes(4096)
    yield "nothing", b""


def busy(occurrences):
    """The time taken, as disjoint stretches."""
    found = []
    for start, end in sorted((start, end) for start, end, *_ in occurrences):
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return found


def covers(more, less):
    """Whether all the time that `less` takes is taken by `more`, too."""
    stretches = busy(more)
    return all(any(start <= one[0] and one[1] <= end for start, end in stretches) for one in busy(less))
