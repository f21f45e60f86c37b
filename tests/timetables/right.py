"""Where what is right is not what recurring-ical-events says: the reason, and what is right, written by hand."""


def lesson(day, start="00:00", end="00:45", title="数学"):
    return [f"{day}T{start}:00Z", f"{day}T{end}:00Z", title]


# The usual lesson of by_hand.py: Mondays at 8 in China.
WEEKLY = [lesson(day) for day in (
    "2026-09-07", "2026-09-14", "2026-09-21", "2026-09-28", "2026-10-05", "2026-10-12", "2026-10-19", "2026-10-26")]

BOTH = "which of two counts the file does not say: the room is taken at both times"
MINUTE = "what takes no time is there all the same: the room is taken for a minute"
CANCELLED = "what is cancelled does not take place; the library leaves STATUS to whoever asks it"

# The case, or WRITER/CASE: the reason, and what stands in place of some of the library's occurrences.
INSTEAD = {
    "cancelled": (CANCELLED, [lesson("2026-09-07", end="01:00")], []),
    "cancelled-series": (CANCELLED, WEEKLY, []),
    "cancelled-once": (CANCELLED, [lesson("2026-09-21")], []),
    "no-length": (MINUTE, [], [lesson("2026-09-07", end="00:01"), lesson("2026-09-07", "02:00", "02:01", "钟声")]),
    "khal/no-length": ("khal gives it an hour", [], []),
    "duration-of-nothing": (MINUTE, [], [lesson("2026-09-07", end="00:01")]),
    "whole-day-left-out": (MINUTE, [], [lesson("2011-12-30", "10:00", "10:01")]),
    "until-before-the-first": ("DTSTART is an occurrence, whatever the rule says (RFC 5545 3.8.5.3)", [], WEEKLY[:1]),
    "moved-by-a-day": (BOTH, [], [lesson("2026-09-21")]),
    "ends-before-it-starts": ("which of start and end is wrong nobody knows: the day is taken; the library swaps them",
                              [["2026-09-06T23:45:00Z", "2026-09-07T00:00:00Z", "数学"]],
                              [["2026-09-06T16:00:00Z", "2026-09-07T16:00:00Z", "数学"]]),
}

# The same, where the library reads nothing, or nothing that could be compared.
RIGHT = {
    "mark-at-the-start": ("a byte order mark is no part of the text; the library does not take it", WEEKLY),
    "a-second-that-leaps": ("RFC 5545 3.3.12: a leap second is the second before it where there is none; the library "
                            "does not take it", [["2026-12-31T23:59:59Z", "2027-01-01T00:59:59Z", "数学"]]),
}

# A writer that changes what it is given: what it wrote is compared all the same, but not with the others.
OTHERWISE = {
    "khal/no-length": "khal gives an hour to what takes no time",
}

# A writer that does not take a case: it is asked again each time.
REFUSED = {
    "radicale/until-before-the-first": "a series without any occurrence",
    "radicale/rdate-period": "vobject does not write periods",
    "radicale/a-newer-version": "one UID twice in an item",
}
REFUSED |= {name.replace("radicale/", "radicale of ical.js/"): why for name, why in REFUSED.items()}


def right(name, writer, found):
    """What is right: the library's occurrences, or what this file says in their place. Complains where an entry no
    longer is what it says."""
    for key in f"{writer}/{name}", name:
        if key in INSTEAD:
            _, wrong, instead = INSTEAD[key]
            missing = [one for one in wrong if one not in found]
            if missing:
                raise ValueError(f"right.py, {key}: the library no longer says {missing}")
            return sorted([one for one in found if one not in wrong] + instead)
        if key in RIGHT:
            return sorted(RIGHT[key][1])
    return found
