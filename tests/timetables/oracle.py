"""What a file says, as recurring-ical-events reads it.

In one thing it is set right everywhere: it adds lengths on the wall clock, so that a lesson of 45 minutes may take
none at all where clocks are set forward. RFC 5545 3.3.6 and 3.8.5.3 want the time that passes to stay the same, but
for the whole days and weeks of a DURATION. Since nobody does so with a DTEND, a room is taken until the later of both.
"""

import datetime
import re
import warnings
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

UTC = datetime.timezone.utc
# Guesses at the names of zones are meant to be made.
warnings.simplefilter("ignore")


def instant(time, zone):
    """Whole days and floating times are the school's; a time that clocks jump over, or show twice, is taken at the
    offset before the change, as RFC 5545 3.3.5 wants it."""
    if not isinstance(time, datetime.datetime):
        time = datetime.datetime.combine(time, datetime.time())
    return (time if time.tzinfo else time.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def span_of(case):
    """From local midnight of the first day to that after the last."""
    first, last = map(datetime.date.fromisoformat, case["span"])
    return instant(first, case["zone"]), instant(last + datetime.timedelta(days=1), case["zone"])


def text(at):
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def mark(event, zone):
    """Writes into an event how long it is: on the wall clock, in days of that, and in time that passes."""
    if "DTSTART" not in event:
        return
    start = event["DTSTART"].dt
    if not isinstance(start, datetime.datetime):
        return
    if "DTEND" in event:
        end = event["DTEND"].dt
        if not isinstance(end, datetime.datetime) or (end.tzinfo is None) != (start.tzinfo is None):
            return
        marks, kind = (end - start, 0, instant(end, zone) - instant(start, zone)), "to"
    elif "DURATION" in event:
        whole, days = event["DURATION"].dt, int(event["X-DAYS"])
        marks, kind = (whole, days, whole - datetime.timedelta(days=days)), "for"
    else:
        return
    wall, days, passing = marks
    event.add("x-length", f"{wall.total_seconds():.0f};{days};{passing.total_seconds():.0f};{kind}")


def ends(event, zone):
    """Start and end of an occurrence."""
    start, stop = event.decoded("dtstart"), event.decoded("dtend")
    if "X-LENGTH" in event:
        wall, days, passing = map(int, event["X-LENGTH"].split(";")[:3])
        # But of an occurrence that has a length of its own.
        if (stop - start).total_seconds() == wall:
            later = instant(start + datetime.timedelta(days=days), zone) if days else instant(start, zone)
            later += datetime.timedelta(seconds=passing)
            return instant(start, zone), later if event["X-LENGTH"].endswith(";for") else max(later, instant(stop, zone))
    return instant(start, zone), instant(stop, zone)


def occurrences(texts, case):
    """(start, end, title) of all that touch the span and take any time, sorted."""
    begin, end = span_of(case)
    # Wider, since what it compares local times with is not the school's zone.
    margin = datetime.timedelta(days=3)
    found = []
    for one in texts:
        one = one.encode() if isinstance(one, str) else one
        # It remembers the zones of files that it read before.
        icalendar.use_zoneinfo()
        # The library keeps a DURATION as so many seconds: whether days were meant is read from the file.
        for calendar in icalendar.Calendar.from_ical(days_marked(one), multiple=True):
            for event in calendar.walk("VEVENT"):
                mark(event, case["zone"])
            for event in recurring_ical_events.of(calendar).between(begin - margin, end + margin):
                start, stop = ends(event, case["zone"])
                if start < stop and start < end and begin < stop:
                    found.append([text(start), text(stop), str(event.get("summary", ""))])
    return sorted(found)


def days_marked(one):
    """Adds the days of each DURATION as a property of its own."""
    one = re.sub(rb"\r?\n[ \t]", b"", one)

    def with_days(match):
        days = sum(int(count) * (7 if unit == b"W" else 1) for count, unit in re.findall(rb"(\d+)([DW])", match[1]))
        return match[0].rstrip(b"\r") + b"\r\nX-DAYS:" + str(days).encode() + b"\r"

    return re.sub(rb"^DURATION:([^\n]*)", with_days, one, flags=re.MULTILINE | re.IGNORECASE)
