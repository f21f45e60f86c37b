"""What is to be written as iCalendar: each case once, whoever writes it.

A time is text: "2026-09-07" a whole day, "2026-09-07T08:00" on whatever clock hangs there, and
"2026-09-07T08:00 Asia/Shanghai" in a zone. A case is plain data, so that it may go to another language as JSON.
"""

import random

CHINA, BERLIN, NEW_YORK = "Asia/Shanghai", "Europe/Berlin", "America/New_York"
AUTUMN, YEAR = ("2026-09-01", "2027-01-31"), ("2026-09-01", "2027-08-31")


def event(start, end=None, title="数学", **more):
    """`duration`, `rule`, `rdate`, `exdate`, `status`, `transparent`, `sequence`, `of` (RECURRENCE-ID),
    `following` (RANGE=THISANDFUTURE), `uid`."""
    return {"start": start, "end": end, "title": title, **more}


def case(name, *events, zone=CHINA, span=AUTUMN, zones=None, define=True):
    """`zone` is the school's, `zones` are names that only the file explains, and `define` says whether it explains
    the others."""
    # Without a UID of its own, one that changes an occurrence belongs to the event before it.
    uid = None
    for index, one in enumerate(events):
        if "uid" not in one:
            if "of" not in one or uid is None:
                uid = f"{name}-{index}"
            one["uid"] = uid
        uid = one["uid"]
    return {"name": name, "events": list(events), "zone": zone, "span": list(span), "zones": zones or {},
            "define": define}


def observance(offset, before, start="1970-01-01T00:00", rule=None, daylight=False):
    return {"to": offset, "from": before, "start": start, "rule": rule, "daylight": daylight}


def clocks(standard, daylight, autumn, spring):
    """A zone with summer time; when it ends and begins are (local time of a first, rule)."""
    return [observance(standard, daylight, *autumn), observance(daylight, standard, *spring, daylight=True)]


EUROPE = clocks("+0100", "+0200", ("1970-10-25T03:00", "FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU"),
                ("1970-03-29T02:00", "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU"))
# What ical.js and our own hand write for zones that are known by name, too.
DEFINITIONS = {
    CHINA: [observance("+0800", "+0800")],
    BERLIN: EUROPE,
    NEW_YORK: clocks("-0500", "-0400", ("2007-11-04T02:00", "FREQ=YEARLY;BYMONTH=11;BYDAY=1SU"),
                     ("2007-03-11T02:00", "FREQ=YEARLY;BYMONTH=3;BYDAY=2SU")),
    "Australia/Lord_Howe": clocks("+1030", "+1100", ("2008-04-06T02:00", "FREQ=YEARLY;BYMONTH=4;BYDAY=1SU"),
                                  ("2008-10-05T02:00", "FREQ=YEARLY;BYMONTH=10;BYDAY=1SU")),
    "Asia/Kathmandu": [observance("+0545", "+0545")],
}


def from_the_design():
    """The table in which crates were seen wrong."""
    weekly = "FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20261231T155959Z"
    yield case("weekly-until-exdate-rdate", event(
        f"2026-09-07T08:00 {CHINA}", f"2026-09-07T09:40 {CHINA}", rule=weekly,
        exdate=[f"2026-10-05T08:00 {CHINA}", f"2026-10-07T08:00 {CHINA}"], rdate=[f"2026-10-10T08:00 {CHINA}"]))
    thirteen = event(f"2026-09-08T10:00 {CHINA}", f"2026-09-08T10:45 {CHINA}", rule="FREQ=WEEKLY;COUNT=13")
    yield case("moved-lesson", thirteen, event(
        f"2026-10-07T14:00 {CHINA}", f"2026-10-07T14:45 {CHINA}", of=f"2026-10-06T10:00 {CHINA}"))
    for name, start in ("odd-weeks", "2026-09-07"), ("even-weeks", "2026-09-14"):
        yield case(name, event(f"{start}T08:00 {CHINA}", f"{start}T08:45 {CHINA}",
                               rule="FREQ=WEEKLY;INTERVAL=2;WKST=MO;COUNT=8"))
    for first in "MO", "SU":
        yield case(f"weeks-begin-{first}", event(
            f"2026-09-08T08:00 {CHINA}", f"2026-09-08T08:45 {CHINA}",
            rule=f"FREQ=WEEKLY;INTERVAL=2;COUNT=12;WKST={first};BYDAY=TU,SU"))
    for define in True, False:
        yield case(f"summer-time-{'defined' if define else 'by-name'}", event(
            f"2026-09-07T09:00 {BERLIN}", f"2026-09-07T09:45 {BERLIN}", rule="FREQ=WEEKLY;BYDAY=MO,FR"),
            zone=BERLIN, span=YEAR, define=define)
    yield case("in-the-gap", event(f"2027-03-26T02:30 {BERLIN}", duration="PT45M", rule="FREQ=DAILY;COUNT=5"),
               zone=BERLIN, span=YEAR)
    yield case("in-the-overlap", event(f"2026-10-23T02:30 {BERLIN}", duration="PT45M", rule="FREQ=DAILY;COUNT=5"),
               zone=BERLIN, span=YEAR)
    windows = "China Standard Time"
    for define in True, False:
        yield case(f"windows-name-{'defined' if define else 'alone'}", event(
            f"2026-09-07T08:00 {windows}", f"2026-09-07T08:45 {windows}", rule="FREQ=WEEKLY;COUNT=20"),
            zone=BERLIN, zones={windows: [observance("+0800", "+0800", "1601-01-01T00:00")]} if define else None)
    yield case("private-zone", event("2026-09-07T08:00 Our School", "2026-09-07T08:45 Our School",
                                     rule="FREQ=DAILY;COUNT=20"),
               zone=BERLIN, zones={"Our School": [observance("+0800", "+0800")]})
    yield case("private-zone-summer-time", event(
        "2026-09-07T08:00 Our Other School", "2026-09-07T08:45 Our Other School", rule="FREQ=WEEKLY;BYDAY=MO,SU"),
        span=YEAR, zones={"Our Other School": EUROPE})
    yield case("exdate-of-a-day", event(f"2026-09-07T08:00 {CHINA}", f"2026-09-07T08:45 {CHINA}",
                                        rule="FREQ=WEEKLY;COUNT=10", exdate=["2026-10-05", "2026-10-12"]))
    endless = event(f"2020-01-01T12:00 {CHINA}", f"2020-01-01T12:30 {CHINA}", "午休", rule="FREQ=DAILY")
    others = [event(f"2026-09-0{day}T0{hour}:00 {CHINA}", f"2026-09-0{day}T0{hour}:45 {CHINA}", f"第{hour}节",
                    rule="FREQ=WEEKLY;UNTIL=20270115T155959Z") for day in (7, 8, 9) for hour in (8, 9)]
    yield case("endless-first", endless, *others)


def whole_days():
    yield case("whole-day", event("2026-10-01", "2026-10-02", "国庆节"))
    yield case("whole-day-without-end", event("2026-10-01", title="国庆节"))
    yield case("several-days", event("2026-10-01", "2026-10-08", "国庆节"))
    yield case("whole-days-by-duration", event("2026-10-01", duration="P7D"))
    yield case("whole-days-each-month", event("2026-09-30", "2026-10-02", rule="FREQ=MONTHLY;BYMONTHDAY=-1",
                                              exdate=["2026-11-30"], rdate=["2026-12-15"]))
    yield case("whole-days-until", event("2026-09-07", "2026-09-08", rule="FREQ=WEEKLY;UNTIL=20261012"))
    yield case("whole-day-moved", event("2026-09-07", "2026-09-08", rule="FREQ=WEEKLY;COUNT=6"),
               event("2026-09-23", "2026-09-25", of="2026-09-21"))
    # Midnight does not exist on the first day, and comes twice around the second.
    for day in "2018-11-04", "2019-02-16":
        yield case(f"whole-day-at-a-change-{day}", event(day, rule="FREQ=DAILY;COUNT=3"), zone="America/Sao_Paulo",
                   span=("2018-10-01", "2019-03-31"))
    # The islands went from the 29th to the 31st.
    yield case("whole-day-left-out", event("2011-12-28", rule="FREQ=DAILY;COUNT=6"), zone="Pacific/Apia",
               span=("2011-12-01", "2012-01-31"))


def times():
    yield case("floating", event("2026-09-07T08:00", "2026-09-07T08:45", rule="FREQ=WEEKLY"), zone=BERLIN, span=YEAR)
    yield case("floating-once", event("2026-09-07T08:00", duration="PT45M"), zone=NEW_YORK)
    yield case("floating-exdate", event("2026-09-07T08:00", "2026-09-07T08:45", rule="FREQ=DAILY;UNTIL=20260930T080000",
                                        exdate=["2026-09-09T08:00"], rdate=["2026-10-10T08:00"]), zone=NEW_YORK)
    yield case("universal", event("2026-09-07T00:00 UTC", "2026-09-07T00:45 UTC", rule="FREQ=WEEKLY;COUNT=30"),
               zone=BERLIN, span=YEAR)
    yield case("duration", event(f"2026-09-07T08:00 {CHINA}", duration="PT1H30M", rule="FREQ=WEEKLY;COUNT=5"))
    yield case("duration-of-weeks", event(f"2026-09-07T08:00 {CHINA}", duration="P1W"))
    yield case("duration-of-days-and-hours", event(f"2026-09-07T08:00 {CHINA}", duration="P1DT2H"))
    yield case("several-days-at-a-time", event(f"2026-09-07T18:00 {CHINA}", f"2026-09-10T12:00 {CHINA}",
                                               rule="FREQ=MONTHLY;COUNT=3"))
    yield case("from-before-the-span", event(f"2026-08-30T20:00 {CHINA}", f"2026-09-02T06:00 {CHINA}"),
               event(f"2027-01-31T23:00 {CHINA}", f"2027-02-01T02:00 {CHINA}", "自习"),
               event(f"2026-08-31T22:00 {CHINA}", f"2026-09-01T00:00 {CHINA}", "before"),
               event(f"2027-02-01T00:00 {CHINA}", f"2027-02-01T01:00 {CHINA}", "after"))
    yield case("over-midnight", event(f"2026-09-07T23:30 {CHINA}", f"2026-09-08T00:30 {CHINA}",
                                      rule="FREQ=DAILY;COUNT=10"))
    yield case("until-midnight", event(f"2026-09-07T22:00 {CHINA}", f"2026-09-08T00:00 {CHINA}",
                                       rule="FREQ=DAILY;COUNT=10"))
    yield case("to-the-second", event(f"2026-09-07T08:00:15 {CHINA}", f"2026-09-07T08:44:59 {CHINA}",
                                      rule="FREQ=DAILY;COUNT=3"))
    yield case("no-length", event(f"2026-09-07T08:00 {CHINA}"),
               event(f"2026-09-07T10:00 {CHINA}", f"2026-09-07T10:00 {CHINA}", "钟声"))
    # A night in which clocks change is longer or shorter.
    for name, day in ("autumn", "2026-10-24"), ("spring", "2027-03-27"):
        yield case(f"night-of-{name}-end", event(
            f"{day}T22:00 {BERLIN}", f"{day[:-2]}{int(day[-2:]) + 1}T06:00 {BERLIN}"), zone=BERLIN, span=YEAR)
        yield case(f"night-of-{name}-hours", event(f"{day}T22:00 {BERLIN}", duration="PT8H"), zone=BERLIN, span=YEAR)
        yield case(f"night-of-{name}-day", event(f"{day}T22:00 {BERLIN}", duration="P1D"), zone=BERLIN, span=YEAR)
        yield case(f"night-of-{name}-each", event(
            f"{day[:-2]}{int(day[-2:]) - 1}T22:00 {BERLIN}", f"{day}T06:00 {BERLIN}", rule="FREQ=DAILY;COUNT=3"),
            zone=BERLIN, span=YEAR)
        yield case(f"night-of-{name}-each-hours", event(
            f"{day[:-2]}{int(day[-2:]) - 1}T22:00 {BERLIN}", duration="PT8H", rule="FREQ=DAILY;COUNT=3"),
            zone=BERLIN, span=YEAR)
    yield case("two-zones", event(f"2026-10-01T20:00 {NEW_YORK}", f"2026-10-02T08:45 {CHINA}",
                                  rule="FREQ=WEEKLY;COUNT=12"))
    yield case("elsewhere", event(f"2026-10-01T20:00 {NEW_YORK}", f"2026-10-01T20:45 {NEW_YORK}",
                                  rule="FREQ=WEEKLY;BYDAY=TH;COUNT=20"))


ZONES = {  # name, and years in which its clocks did something
    CHINA: ["1986", "1991", "2026"],
    BERLIN: ["2026", "2027"],
    NEW_YORK: ["2006", "2026"],
    "Australia/Lord_Howe": ["2026"],
    "Asia/Kathmandu": ["1985", "2026"],
    "America/Sao_Paulo": ["2018", "2026"],
    "Africa/Casablanca": ["2017", "2026"],
    "Pacific/Apia": ["2011", "2021", "2026"],
    "Asia/Tehran": ["2022", "2026"],
    "UTC": ["2026"],
}


def zones():
    """A lesson in the morning and one at night, through whole years."""
    for zone, years in ZONES.items():
        for year in years:
            yield case(f"zone-{zone.replace('/', '-')}-{year}", *(
                event(f"{year}-01-01T{start} {zone}", f"{year}-01-01T{end} {zone}", title, rule="FREQ=DAILY")
                for start, end, title in [("08:00", "09:40", "早"), ("01:45", "02:15", "夜")]),
                zone=zone, span=(f"{year}-01-01", f"{year}-12-31"))


RULES = {
    "daily": "FREQ=DAILY;INTERVAL=3;COUNT=20",
    "weekdays": "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;UNTIL=20261030T155959Z",
    "daily-in-months": "FREQ=DAILY;BYMONTH=9,11",
    "weekly-all-days": "FREQ=WEEKLY;BYDAY=SU,MO,TU,WE,TH,FR,SA;COUNT=40",
    "weekly-each-third": "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,TH;WKST=SU",
    "weekly-in-months": "FREQ=WEEKLY;BYMONTH=9,12;BYDAY=MO",
    "monthly": "FREQ=MONTHLY;COUNT=4",
    "monthly-last-weekday": "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "monthly-first-and-third": "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1,3",
    "monthly-second-tuesday": "FREQ=MONTHLY;BYDAY=2TU",
    "monthly-last-friday": "FREQ=MONTHLY;BYDAY=-1FR,1MO",
    "monthly-last-day": "FREQ=MONTHLY;BYMONTHDAY=-1",
    "monthly-negative": "FREQ=MONTHLY;BYMONTHDAY=-3,7,15",
    "monthly-31": "FREQ=MONTHLY;BYMONTHDAY=31",
    "monthly-friday-13": "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
    "monthly-each-second": "FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=7",
    "yearly": "FREQ=YEARLY",
    "yearly-months": "FREQ=YEARLY;BYMONTH=9,10,12;BYDAY=1MO",
    "yearly-weeks": "FREQ=YEARLY;BYWEEKNO=37,40,53;BYDAY=MO",
    "yearly-days": "FREQ=YEARLY;BYYEARDAY=250,-1,300",
    "yearly-weekday": "FREQ=YEARLY;BYDAY=-1MO,37MO",
    "yearly-position": "FREQ=YEARLY;BYMONTH=9,10,11;BYDAY=MO,TU;BYSETPOS=1,-1",
    "twice-a-day": "FREQ=DAILY;BYHOUR=8,14;BYMINUTE=0,50;COUNT=30",
    # The odd hours never come, but Radicale checks a rule as if it began now, and refuses one that then holds no hour.
    "hourly": "FREQ=HOURLY;INTERVAL=2;BYHOUR=7,8,9,10,12,14;UNTIL=20260920T155959Z",
    "hourly-count": "FREQ=HOURLY;COUNT=12",
    "minutely": "FREQ=MINUTELY;INTERVAL=50;COUNT=9",
}


def rules():
    """`DTSTART` is an occurrence of each rule, as RFC 5545 wants it."""
    first = {"monthly-last-weekday": "2026-09-30", "monthly-last-friday": "2026-09-25", "monthly-last-day": "2026-09-30",
             "monthly-31": "2026-10-31", "monthly-friday-13": "2026-11-13", "monthly-second-tuesday": "2026-09-08"}
    for name, rule in RULES.items():
        day = first.get(name, "2026-09-07")
        yield case(f"rule-{name}", event(f"{day}T08:00 {CHINA}", f"{day}T08:45 {CHINA}", rule=rule), span=YEAR)
    yield case("rule-leap-day", event(f"2024-02-29T08:00 {CHINA}", duration="PT45M", rule="FREQ=YEARLY"),
               span=("2026-09-01", "2028-03-31"))
    yield case("rule-since-long", event(f"1999-09-06T08:00 {CHINA}", duration="PT45M", rule="FREQ=WEEKLY;INTERVAL=2"))
    for name, until in {"to-the-last": "20260928T000000Z", "just-before-the-last": "20260927T235959Z",
                        "before-the-first": "20260101T000000Z"}.items():
        yield case(f"until-{name}", event(f"2026-09-07T08:00 {CHINA}", duration="PT45M",
                                          rule=f"FREQ=WEEKLY;UNTIL={until}"))
    # Against the standard, and common: a day or a local time, where the standard wants UTC.
    yield case("until-a-day", event(f"2026-09-07T08:00 {CHINA}", duration="PT45M", rule="FREQ=WEEKLY;UNTIL=20261012"))
    yield case("until-local", event(f"2026-09-07T08:00 {CHINA}", duration="PT45M",
                                    rule="FREQ=WEEKLY;UNTIL=20261012T080000"))
    yield case("start-beside-the-rule", event(f"2026-09-08T08:00 {CHINA}", duration="PT45M",
                                              rule="FREQ=WEEKLY;BYDAY=MO,FR;UNTIL=20261030T155959Z"))


def changes():
    """Single occurrences that are more, fewer or other than the rule says."""
    def weekly(**more):
        return event(f"2026-09-07T08:00 {CHINA}", f"2026-09-07T08:45 {CHINA}", **{"rule": "FREQ=WEEKLY;COUNT=8", **more})

    def at(day, hour="08", minutes="00"):
        return f"2026-{day}T{hour}:{minutes} {CHINA}"

    yield case("rdate-alone", event(at("09-07"), duration="PT45M", rdate=[at("09-09"), at("09-15", "14")]))
    yield case("rdate-of-the-rule", weekly(rdate=[at("09-14"), at("09-16")]))
    yield case("rdate-excluded", weekly(rdate=[at("09-16")], exdate=[at("09-16"), at("09-21")]))
    yield case("rdate-period", weekly(rdate=[[at("09-16"), at("09-16", "11")], [at("09-17"), "PT2H"]]))
    yield case("rdate-universal", weekly(rdate=["2026-09-16T00:00 UTC"]))
    yield case("exdate-first", weekly(exdate=[at("09-07")]))
    yield case("exdate-all", weekly(rule="FREQ=WEEKLY;COUNT=2", exdate=[at("09-07"), at("09-14")]))
    yield case("exdate-universal", weekly(exdate=["2026-09-14T00:00 UTC"]))
    yield case("exdate-elsewhere", weekly(exdate=[f"2026-09-13T20:00 {NEW_YORK}"]))
    yield case("exdate-beside", weekly(exdate=[at("09-14", "09"), at("09-15")]))
    yield case("exdate-and-summer-time", event(
        f"2026-10-05T02:30 {BERLIN}", duration="PT45M", rule="FREQ=DAILY;COUNT=30",
        exdate=[f"2026-10-25T02:30 {BERLIN}", f"2026-10-27T02:30 {BERLIN}"]), zone=BERLIN)
    yield case("cancelled", event(at("09-07"), at("09-07", "09"), status="CANCELLED"),
               event(at("09-08"), at("09-08", "09"), "语文"))
    yield case("cancelled-series", weekly(status="CANCELLED"))
    yield case("cancelled-once", weekly(), event(at("09-21"), at("09-21", minutes="45"), of=at("09-21"),
                                                 status="CANCELLED"))
    yield case("tentative", weekly(status="TENTATIVE"))
    yield case("transparent", weekly(transparent=True))
    yield case("moved-to-a-day-with-one", weekly(), event(at("09-28"), at("09-28", minutes="45"), of=at("09-21")))
    yield case("moved-over-another", weekly(), event(at("10-07", "14"), at("10-07", "15"), of=at("09-21")))
    yield case("moved-out-of-the-span", weekly(), event(
        f"2027-03-01T08:00 {CHINA}", f"2027-03-01T08:45 {CHINA}", of=at("09-21")))
    yield case("moved-into-the-span", event(
        f"2026-08-03T08:00 {CHINA}", f"2026-08-03T08:45 {CHINA}", rule="FREQ=WEEKLY;COUNT=3"),
        event(at("09-05"), at("09-05", "09"), of=f"2026-08-10T08:00 {CHINA}"))
    yield case("moved-back-into-the-span", event(
        f"2027-02-01T08:00 {CHINA}", f"2027-02-01T08:45 {CHINA}", rule="FREQ=WEEKLY;COUNT=3"),
        event(f"2027-01-30T08:00 {CHINA}", f"2027-01-30T08:45 {CHINA}", of=f"2027-02-08T08:00 {CHINA}"))
    yield case("renamed", weekly(), event(at("09-21"), at("09-21", minutes="45"), "语文 (代课)", of=at("09-21")))
    yield case("longer", weekly(), event(at("09-21"), at("09-21", "10"), of=at("09-21")))
    yield case("moved-elsewhere", weekly(), event(
        f"2026-09-21T03:00 {BERLIN}", f"2026-09-21T03:45 {BERLIN}", of=at("09-21")))
    yield case("moved-by-universal", weekly(), event(at("09-22"), at("09-22", minutes="45"), of="2026-09-21T00:00 UTC"))
    yield case("moved-twice", weekly(), event(at("09-22"), at("09-22", "09"), of=at("09-21"), sequence=1),
               event(at("09-24"), at("09-24", "09"), of=at("09-21"), sequence=2))
    yield case("moved-and-moved", weekly(), event(at("09-22"), at("09-22", "09"), of=at("09-21")),
               event(at("09-29"), at("09-29", "09"), of=at("09-28")))
    yield case("moved-to-a-whole-day", weekly(), event("2026-09-22", "2026-09-23", of=at("09-21")))
    yield case("moved-of-an-rdate", weekly(rdate=[at("09-16")]), event(at("09-17"), at("09-17", "09"), of=at("09-16")))
    yield case("moved-without-the-rest", event(at("09-22"), at("09-22", "09"), of=at("09-21"), uid="rest"))
    yield case("moved-floating", event("2026-09-07T08:00", "2026-09-07T08:45", rule="FREQ=WEEKLY;COUNT=8"),
               event("2026-09-22T08:00", "2026-09-22T08:45", of="2026-09-21T08:00"), zone=BERLIN)
    yield case("moved-in-the-overlap", event(f"2026-10-23T02:30 {BERLIN}", duration="PT45M", rule="FREQ=DAILY;COUNT=5"),
               event(f"2026-10-25T12:00 {BERLIN}", f"2026-10-25T13:00 {BERLIN}", of=f"2026-10-25T02:30 {BERLIN}"),
               zone=BERLIN)
    yield case("all-that-follow", weekly(), event(at("09-28", "10"), at("09-28", "11"), of=at("09-28"), following=True))
    yield case("all-that-follow-but-one", weekly(),
               event(at("09-29", "10"), at("09-29", "11"), of=at("09-28"), following=True),
               event(at("10-13"), at("10-13", "09"), of=at("10-12")))
    yield case("two-at-once", weekly(), event(at("09-07"), at("09-07", minutes="45"), "语文", rule="FREQ=WEEKLY;COUNT=8"))
    yield case("a-newer-version", weekly(uid="same", sequence=0),
               event(at("09-08"), at("09-08", "09"), rule="FREQ=WEEKLY;COUNT=8", uid="same", sequence=3))
    yield case("long-title", weekly(title="，".join(["高二（3）班 数学：导数及其应用，第二章；复习 \\ 讲评"] * 6)))


CASES = [*from_the_design(), *whole_days(), *times(), *zones(), *rules(), *changes()]


def by_chance(count, seed=1):
    """Series as nobody would think of them."""
    from dateutil.rrule import rrulestr

    chance = random.Random(seed)
    import datetime

    weekdays = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
    for index in range(count):
        zone = chance.choice(list(ZONES))
        parts = {"FREQ": chance.choice(["DAILY", "WEEKLY", "WEEKLY", "WEEKLY", "MONTHLY", "YEARLY"])}
        some = lambda values, most: sorted(chance.sample(values, chance.randint(1, most)), key=values.index)
        if chance.random() < 0.4:
            parts["INTERVAL"] = chance.choice([2, 3, 4])
        if parts["FREQ"] in ("DAILY", "WEEKLY"):
            if chance.random() < 0.7:
                parts["BYDAY"] = ",".join(some(weekdays, 3))
            if chance.random() < 0.2:
                parts["BYMONTH"] = ",".join(map(str, some(list(range(1, 13)), 8)))
        elif chance.random() < 0.5:
            parts["BYDAY"] = ",".join(chance.choice(["", "1", "2", "-1"]) + day for day in some(weekdays, 3))
            if parts["FREQ"] == "YEARLY":
                parts["BYMONTH"] = ",".join(map(str, some(list(range(1, 13)), 4)))
            if chance.random() < 0.5:
                parts["BYSETPOS"] = chance.choice(["1", "-1", "1,2", "2,-1"])
        else:
            parts["BYMONTHDAY"] = ",".join(map(str, some([1, 7, 15, 28, 29, 30, 31, -1, -2, -8], 3)))
            if parts["FREQ"] == "YEARLY":
                parts["BYMONTH"] = ",".join(map(str, some(list(range(1, 13)), 4)))
        if chance.random() < 0.3:
            parts["WKST"] = chance.choice(weekdays)
        if chance.random() < 0.2:
            hours = some(list(range(6, 22)), 2)
            parts["BYHOUR"] = ",".join(map(str, hours))
        rule = ";".join(f"{key}={value}" for key, value in parts.items())
        base = datetime.datetime(2026, 8, 1) + datetime.timedelta(
            days=chance.randint(-900, 60), hours=chance.randint(0, 23), minutes=chance.choice([0, 15, 30, 50]))
        # DTSTART is an occurrence.
        start = next(iter(rrulestr(rule, dtstart=base)), None)
        if start is None:
            continue
        end_of_rule = chance.random()
        if end_of_rule < 0.3:
            rule += f";COUNT={chance.randint(3, 200)}"
        elif end_of_rule < 0.6:
            rule += f";UNTIL={start + datetime.timedelta(days=chance.randint(60, 1200)):%Y%m%dT%H%M%S}Z"
        ahead = rrulestr(rule.replace("Z", ""), dtstart=start)
        near = ahead.between(datetime.datetime(2026, 9, 1), datetime.datetime(2027, 8, 20))[:60]
        text = lambda local: f"{local:%Y-%m-%dT%H:%M} {zone}"
        length = datetime.timedelta(minutes=chance.choice([45, 90, 180, 600, 1500]))
        more = {"duration": f"PT{length // datetime.timedelta(minutes=1)}M"}
        if near and chance.random() < 0.5:
            more["exdate"] = [text(local) for local in sorted(chance.sample(near, min(len(near), 3)))]
        if chance.random() < 0.3:
            more["rdate"] = [text(datetime.datetime(2026, 11, chance.randint(1, 28), chance.randint(5, 22)))]
        events = [event(text(start), title=f"{index}", rule=rule, **more)]
        for local in chance.sample(near, min(len(near), chance.choice([0, 0, 1, 3]))):
            if text(local) not in more.get("exdate", []):
                moved = local + datetime.timedelta(minutes=chance.choice([0, 60, -150, 1440, 4000, -10000]))
                events.append(event(text(moved), title=f"{index} moved", duration="PT1H", of=text(local)))
        yield case(f"chance-{index}", *events, zone=chance.choice([zone, CHINA]), span=YEAR,
                   define=chance.random() < 0.5)
