"""iCalendar as it is found, in forms that none of the other writers makes."""

from cases import AUTUMN, BERLIN, CHINA, DEFINITIONS, EUROPE, NEW_YORK, YEAR


def calendar(*lines, head=(), end="\r\n"):
    return end.join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//timetables//hand//", *head, *lines, "END:VCALENDAR", ""])


def vevent(*lines, uid="1", title="数学"):
    return ["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260801T000000Z", f"SUMMARY:{title}", *lines, "END:VEVENT"]


def weekly(zone=f";TZID={CHINA}", *more, rule="RRULE:FREQ=WEEKLY;COUNT=8", **others):
    return vevent(f"DTSTART{zone}:20260907T080000", f"DTEND{zone}:20260907T084500", rule, *more, **others)


def vtimezone(name, observances, *more):
    lines = ["BEGIN:VTIMEZONE", f"TZID:{name}", *more]
    for one in observances:
        kind = "DAYLIGHT" if one["daylight"] else "STANDARD"
        start = one["start"].replace("-", "").replace(":", "") + "00"
        rule = [f"RRULE:{one['rule']}"] if one["rule"] else []
        lines += [f"BEGIN:{kind}", f"DTSTART:{start}", *rule, f"TZOFFSETFROM:{one['from']}", f"TZOFFSETTO:{one['to']}",
                  f"END:{kind}"]
    return [*lines, "END:VTIMEZONE"]


def texts():
    """(name, text, school's zone, span)"""
    def here(name, *lines, zone=CHINA, span=AUTUMN, **how):
        return name, calendar(*lines, **how), zone, span

    good = weekly()
    # Names of zones as programs write them.
    yield here("quoted-name", *weekly(f';TZID="{CHINA}"'), zone=BERLIN)
    yield here("evolution-name", *weekly(f";TZID=/freeassociation.sourceforge.net/{CHINA}"), zone=BERLIN)
    yield here("mozilla-name", *weekly(f";TZID=/mozilla.org/20050126_1/{BERLIN}"), span=YEAR)
    yield here("old-name", *weekly(";TZID=PRC"), zone=BERLIN)
    yield here("offset-name", *weekly(";TZID=Etc/GMT-8"), zone=BERLIN)
    yield here("name-with-a-comma", *vtimezone("Beijing, Chongqing", DEFINITIONS[CHINA]),
               *weekly(';TZID="Beijing, Chongqing"'), zone=BERLIN)
    outlook = "(UTC+08:00) Beijing, Chongqing, Hong Kong, Urumqi"
    yield here("outlook-name", *vtimezone(outlook, DEFINITIONS[CHINA]), *weekly(f';TZID="{outlook}"'), zone=BERLIN)
    yield here("outlook-custom", *vtimezone("Customized Time Zone", EUROPE), *weekly(";TZID=Customized Time Zone",
               rule="RRULE:FREQ=DAILY"), span=YEAR)
    yield here("windows-summer-time", *weekly(";TZID=W. Europe Standard Time", rule="RRULE:FREQ=WEEKLY"), span=YEAR)
    yield here("windows-new-york", *weekly(";TZID=Eastern Standard Time", rule="RRULE:FREQ=WEEKLY"), span=YEAR)
    yield here("name-of-utc", *weekly(";TZID=UTC"))
    yield here("zone-after-its-event", *weekly(";TZID=Ours"), *vtimezone("Ours", DEFINITIONS[CHINA]),
               zone=BERLIN)
    yield here("zone-with-a-change-of-rules", *vtimezone("Ours", [
        {"daylight": False, "start": "1970-01-01T00:00", "from": "+0800", "to": "+0800", "rule": None},
        {"daylight": False, "start": "2026-10-01T00:00", "from": "+0800", "to": "+0730", "rule": None}]),
        *weekly(";TZID=Ours", rule="RRULE:FREQ=DAILY;COUNT=60"), zone=BERLIN)
    yield here("zone-with-an-end-of-summer-time", *vtimezone("Ours", [
        {**EUROPE[0], "rule": EUROPE[0]["rule"]},
        {**EUROPE[1], "rule": EUROPE[1]["rule"] + ";UNTIL=20260401T000000Z"}]),
        *weekly(";TZID=Ours", rule="RRULE:FREQ=WEEKLY"), span=YEAR)
    yield here("default-zone-of-the-file", *weekly(""), head=[f"X-WR-TIMEZONE:{CHINA}"], zone=CHINA)
    yield here("universal-and-a-default-zone", *vevent(
        "DTSTART:20260907T000000Z", "DTEND:20260907T004500Z", "RRULE:FREQ=WEEKLY;COUNT=8"),
        head=[f"X-WR-TIMEZONE:{CHINA}"])

    # Lines as they come.
    yield here("ends-of-unix", *good, end="\n")
    yield "mark-at-the-start", "\ufeff" + calendar(*good), CHINA, AUTUMN
    yield "no-last-end", calendar(*good).rstrip(), CHINA, AUTUMN
    yield here("folded", "BEGIN:VEVENT", "UID:1", "DTSTAMP:20260801T000000Z", f"DTSTART;TZID=Asia", f" /Shanghai:2026",
               "\t0907T080000", f"DTEND;TZID={CHINA}:20260907T08450", " 0", "RRULE:FREQ=WEEKLY;", " COUNT=8",
               "SUMMARY:数", " 学", "END:VEVENT")
    yield here("small-letters", *(line.replace("DTSTART", "dtstart").replace("RRULE", "rrule").replace(
        "BEGIN:VEVENT", "begin:vevent").replace("END:VEVENT", "end:vevent").replace("TZID", "tzid") for line in good))
    yield here("empty-lines", *good[:3], "", *good[3:], "")
    yield here("unknown-words", "X-OURS:1", *weekly(f";TZID={CHINA}", "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC",
               "CLASS:PRIVATE", "CATEGORIES:A,B", "GEO:1.0;2.0", 'ATTENDEE;CN="Li, Wei";ROLE=REQ-PARTICIPANT:mailto:li@school.example',
               "DESCRIPTION:DTSTART:20260101T000000\\nRRULE:FREQ=DAILY", "COLOR:red"),
               "BEGIN:X-OURS", "DTSTART:20260901T000000", "END:X-OURS")
    yield here("escapes", *weekly(title=r"数学\, 301\; A\\B"))
    yield here("alarm", *weekly(f";TZID={CHINA}", "BEGIN:VALARM", "ACTION:DISPLAY", "DESCRIPTION:x", "TRIGGER:-PT15M",
                                "DURATION:PT5M", "REPEAT:2", "END:VALARM"))
    yield here("tasks-and-notes", "BEGIN:VTODO", "UID:t", "DTSTAMP:20260801T000000Z", "DTSTART:20260901T000000Z",
               "DUE:20260902T000000Z", "SUMMARY:t", "END:VTODO", "BEGIN:VJOURNAL", "UID:j", "DTSTAMP:20260801T000000Z",
               "DTSTART;VALUE=DATE:20260901", "SUMMARY:j", "END:VJOURNAL", *good)
    yield "two-calendars", calendar(*good) + calendar(*vevent(
        f"DTSTART;TZID={CHINA}:20260908T080000", f"DTEND;TZID={CHINA}:20260908T084500", uid="2")), CHINA, AUTUMN
    yield here("nothing")
    yield here("nothing-but-a-zone", *vtimezone(CHINA, DEFINITIONS[CHINA]))
    yield here("published", *good, head=["METHOD:PUBLISH", "CALSCALE:GREGORIAN"])

    # Values as they come.
    yield here("rule-in-small-letters", *weekly(rule="RRULE:freq=weekly;count=8"))
    yield here("rule-in-another-order", *weekly(rule="RRULE:BYDAY=MO;COUNT=8;WKST=SU;INTERVAL=1;FREQ=WEEKLY"))
    yield here("two-rules", *weekly(f";TZID={CHINA}", "RRULE:FREQ=MONTHLY;COUNT=3"))
    yield here("several-on-a-line", *weekly(f";TZID={CHINA}", f"EXDATE;TZID={CHINA}:20260914T080000,20260921T080000",
                                            f"RDATE;TZID={CHINA}:20260916T080000,20260917T090000"))
    yield here("date-said-to-be-a-time", *vevent(f"DTSTART;VALUE=DATE-TIME;TZID={CHINA}:20260907T080000",
                                                 f"DTEND;VALUE=DATE-TIME;TZID={CHINA}:20260907T090000"))
    yield here("duration-of-nothing", *vevent(f"DTSTART;TZID={CHINA}:20260907T080000", "DURATION:PT0S"))
    yield here("duration-with-a-sign", *vevent(f"DTSTART;TZID={CHINA}:20260907T080000", "DURATION:+PT45M"))
    yield here("duration-of-seconds", *vevent(f"DTSTART;TZID={CHINA}:20260907T080000", "DURATION:PT2700S"))
    yield here("end-elsewhere", *vevent(f"DTSTART;TZID={CHINA}:20260907T080000", "DTEND:20260907T010000Z"))
    yield here("without-uid", *[line for line in good if not line.startswith("UID")])
    yield here("without-title", *[line for line in good if not line.startswith("SUMMARY")])
    yield here("ends-before-it-starts", *vevent(f"DTSTART;TZID={CHINA}:20260907T080000",
                                                f"DTEND;TZID={CHINA}:20260907T074500"), *weekly(uid="2"))
    yield here("moved-by-a-day", *weekly(), *vevent(
        f"DTSTART;TZID={CHINA}:20260922T080000", f"DTEND;TZID={CHINA}:20260922T090000",
        "RECURRENCE-ID;VALUE=DATE:20260921"))
    yield here("changed-before-its-series", *vevent(
        f"RECURRENCE-ID;TZID={CHINA}:20260921T080000", f"DTSTART;TZID={CHINA}:20260922T080000",
        f"DTEND;TZID={CHINA}:20260922T090000"), *weekly())
    yield here("changed-where-there-is-none", *weekly(), *vevent(
        f"RECURRENCE-ID;TZID={CHINA}:20260920T080000", f"DTSTART;TZID={CHINA}:20260922T080000",
        f"DTEND;TZID={CHINA}:20260922T090000"))
    yield here("excluded-by-rule", *weekly(f";TZID={CHINA}", "EXRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=2"))
    yield here("the-end-is-a-day", *vevent(f"DTSTART;TZID={CHINA}:20260907T080000", "DTEND;VALUE=DATE:20260909"))
    yield here("new-year-elsewhere", *vevent(f"DTSTART;TZID={NEW_YORK}:20261231T230000", "DURATION:PT2H",
                                             "RRULE:FREQ=DAILY;UNTIL=20270105T040000Z"))
    yield here("a-second-that-leaps", *vevent("DTSTART:20261231T235960Z", "DURATION:PT1H"))
    yield here("far-away", *vevent("DTSTART:16010101T000000Z", "DURATION:PT1H", uid="2"), *good,
               *vevent("DTSTART:99991231T000000Z", "DURATION:PT1H", uid="3"))


# What could hide a lesson: nothing may be concluded from it.
def unreadable():
    yield "unknown-zone", calendar(*weekly(";TZID=Middle-earth/Shire"))
    yield "unknown-windows-zone", calendar(*weekly(";TZID=Mordor Standard Time"))
    yield "zone-of-another-name", calendar(*vtimezone("Ours", DEFINITIONS[CHINA]), *weekly(";TZID=Theirs"))
    yield "zone-without-offsets", calendar("BEGIN:VTIMEZONE", "TZID:Ours", "END:VTIMEZONE", *weekly(";TZID=Ours"))
    yield "no-start", calendar(*vevent("DTEND:20260907T084500Z"))
    yield "no-such-day", calendar(*vevent("DTSTART:20260931T080000Z", "DURATION:PT1H"))
    yield "no-such-hour", calendar(*vevent("DTSTART:20260907T250000Z", "DURATION:PT1H"))
    yield "no-time", calendar(*vevent("DTSTART:soon", "DURATION:PT1H"))
    yield "no-such-rule", calendar(*weekly(rule="RRULE:FREQ=FORTNIGHTLY"))
    yield "rule-without-frequency", calendar(*weekly(rule="RRULE:BYDAY=MO"))
    yield "rule-of-no-number", calendar(*weekly(rule="RRULE:FREQ=WEEKLY;INTERVAL=two"))
    yield "rule-of-no-day", calendar(*weekly(rule="RRULE:FREQ=WEEKLY;BYDAY=MN"))
    yield "rule-with-other-words", calendar(*weekly(rule="RRULE:FREQ=WEEKLY;RSCALE=CHINESE;COUNT=3"))
    yield "no-such-duration", calendar(*vevent("DTSTART:20260907T080000Z", "DURATION:1 hour"))
    yield "no-such-exdate", calendar(*weekly(f";TZID={CHINA}", "EXDATE:tomorrow"))
    yield "no-such-rdate", calendar(*weekly(f";TZID={CHINA}", "RDATE:tomorrow"))
    yield "endless-seconds", calendar(*vevent("DTSTART:20200101T000000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY"), *weekly())
    yield "not-closed", calendar(*weekly()).replace("END:VCALENDAR\r\n", "")
    yield "event-not-closed", calendar(*weekly()[:-1])
    yield "event-in-an-event", calendar("BEGIN:VEVENT", *weekly())
    yield "empty", ""
    yield "blank", "\r\n\r\n"
    yield "error-page", ("<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><center><h1>502 Bad Gateway"
                         "</h1></center><hr><center>nginx</center></body></html>\n")
    yield "log-in-page", '<html><body><form action="/login"><input name="user"></form>BEGIN:VEVENT</body></html>'
    yield "json", '{"error": "not found"}'
    yield "busy-times-alone", calendar("BEGIN:VFREEBUSY", "UID:1", "DTSTAMP:20260801T000000Z",
                                       "FREEBUSY:20260907T000000Z/PT1H", "END:VFREEBUSY")
