"""Takes the text of each booking apart: what, before, now, since, evidence, what changed before, what it is not, what ends it.

  python texts.py bookings.jsonl      prints texts that lack a part, and exits 1 if there are any
"""
import json, re, sys

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
WHAT = rf"\S+ {NUMBER} -> (?:{NUMBER}|none)(?: \([^()]*\))?"
CAUSE = r"room|building|service|version|load"
BOOKING = re.compile(
    rf"(?:Room|Building|Service|Version) \S+: {WHAT}(?: and {WHAT})*"
    r" since (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{1,2} [A-Z][a-z]{2} [012]\d:[0-5]\d\."
    rf" (?:\d+ of the last \d+ (?:half-hours|teaching days); evidence {NUMBER} of {NUMBER} [^.]+|Evidence.*?)\."
    r" Changed before: .+?\."
    rf"(?P<nots>(?: Not the (?:{CAUSE}): .+?\.(?= )| Not examined: [^.]+\.| Peers: none; not examined: [^.]+\.)+)"
    r"(?: Version not ruled out: .+?\.(?= ))?(?: Hold the rollout\.)?(?: A (?:larger|smaller) size is advised.*?\.(?= ))?"
    r" Clears (?:when|after) .+?\.(?: Before the next lesson\.)?")


def wrong(path):
    """Texts of a replay's output that lack a part, and how many there are in all."""
    found = [json.loads(line) for line in open(path)]
    texts = [b["text"] for b in found if b.get("action") not in ("check", "explain", "compare") and "booking" in b]
    return [text for text in texts if not BOOKING.fullmatch(text)], len(texts)


if __name__ == "__main__":
    bad, n = wrong(sys.argv[1])
    for text in bad: print(text)
    print(f"{len(bad)} of {n} texts lack a part")
    sys.exit(bool(bad))
