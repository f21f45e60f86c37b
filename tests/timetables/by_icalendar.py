"""Cases → iCalendar, as python-icalendar writes it."""

import datetime
from zoneinfo import ZoneInfo

import icalendar

STAMP = datetime.datetime(2026, 8, 1, tzinfo=datetime.timezone.utc)


def time(text):
    """The value, and the name of its zone where that is one that only the file knows."""
    if "T" not in text:
        return datetime.date.fromisoformat(text), None
    local, _, zone = text.partition(" ")
    local = datetime.datetime.fromisoformat(local)
    if not zone:
        return local, None
    if zone == "UTC":
        return local.replace(tzinfo=datetime.timezone.utc), None
    if "/" in zone:
        return local.replace(tzinfo=ZoneInfo(zone)), None
    return local, zone


def add(component, name, text, **parameters):
    value, zone = time(text)
    if zone:
        parameters["TZID"] = zone
    component.add(name, value, parameters=parameters)


def period(pair):
    start, end = pair
    end = icalendar.vDuration.from_ical(end) if end.startswith("P") else time(end)[0]
    return time(start)[0], end


def vevent(event):
    made = icalendar.Event()
    made.add("uid", event["uid"])
    made.add("dtstamp", STAMP)
    made.add("summary", event["title"])
    add(made, "dtstart", event["start"])
    if event.get("end"):
        add(made, "dtend", event["end"])
    if "duration" in event:
        # As it stands: whole days are not so many hours.
        made.add("duration", icalendar.vDuration.from_ical(event["duration"]))
    if "rule" in event:
        made.add("rrule", icalendar.vRecur.from_ical(event["rule"]))
    for text in event.get("rdate", []):
        if isinstance(text, list):
            made.add("rdate", [period(text)], parameters={"VALUE": "PERIOD"})
        else:
            made.add("rdate", [time(text)[0]])
    for text in event.get("exdate", []):
        made.add("exdate", [time(text)[0]])
    if "of" in event:
        add(made, "recurrence-id", event["of"], **({"RANGE": "THISANDFUTURE"} if event.get("following") else {}))
    if "status" in event:
        made.add("status", event["status"])
    if event.get("transparent"):
        made.add("transp", "TRANSPARENT")
    if "sequence" in event:
        made.add("sequence", event["sequence"])
    return made


def vtimezone(name, observances):
    made = icalendar.Timezone()
    made.add("tzid", name)
    for one in observances:
        part = icalendar.TimezoneDaylight() if one["daylight"] else icalendar.TimezoneStandard()
        part.add("dtstart", datetime.datetime.fromisoformat(one["start"]))
        part.add("tzoffsetfrom", icalendar.vUTCOffset.from_ical(one["from"], ))
        part.add("tzoffsetto", icalendar.vUTCOffset.from_ical(one["to"]))
        part.add("tzname", one["to"])
        if one["rule"]:
            part.add("rrule", icalendar.vRecur.from_ical(one["rule"]))
        made.add_component(part)
    return made


def write(case):
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//timetables//icalendar//")
    calendar.add("version", "2.0")
    for name, observances in case["zones"].items():
        calendar.add_component(vtimezone(name, observances))
    for event in case["events"]:
        calendar.add_component(vevent(event))
    if case["define"]:
        first = int(min(event["start"] for event in case["events"])[:4])
        calendar.add_missing_timezones(datetime.date(first - 1, 1, 1), datetime.date(2030, 1, 1))
    return calendar.to_ical()
