"""What the relay's log says a call must have read: pure functions of the log and of what was sent.

The way of a packet begins when it reaches the relay and ends when the relay lets it go to the caller: both
by one clock, and both next to the caller's own socket. What the far end itself takes lies in between, and
is part of the way. Times are nanoseconds, results seconds.

From the capture only what was sent is taken (numbers, and when each was due) and which pictures were
decoded; when anything came back is taken from the log alone.
"""

import collections
import csv
import math

SECOND = 1_000_000_000
STREAMS = ("audio", "video")
# The capture goes on listening for this long after the last packet was sent.
LISTENED = SECOND // 2
# The time over which the worst loss is looked for, and the packets received in a row that end a burst.
WINDOW = SECOND // 5
GAP = 16

Entry = collections.namedtuple("Entry", "way stream ssrc sequence bytes arrived due released outcome")
Log = collections.namedtuple("Log", "entries others unlogged")
# What became of a packet: when it set out and first came back (None: never), whether that was a repeat, how
# many more came back, and whether the relay doubled one of them.
Way = collections.namedtuple("Way", "sent back repeated more doubled")


def read_log(text):
    """The relay's log. Raises ValueError for what is none."""
    others, unlogged, rows = 0, 0, []
    for line in text.splitlines():
        if line.startswith("#"):
            counts = dict(part.split("=") for part in line.split()[2:])
            others += int(counts["others"])
            unlogged += int(counts["unlogged"])
        else:
            rows.append(line)
    if not rows or rows[0] != ",".join(Entry._fields):
        raise ValueError("this is no log of the relay")
    entries = [Entry(row[0], row[1], *map(int, row[2:8]), row[8]) for row in csv.reader(rows[1:])]
    return Log(entries, others, unlogged)


def ways(log):
    """What became of each packet that reached the relay, by stream and sequence number (16 bits)."""
    grouped = collections.defaultdict(lambda: {"up": [], "down": []})
    for entry in log.entries:
        grouped[entry.stream, entry.sequence][entry.way].append(entry)
    return {key: _way(**found) for key, found in grouped.items() if found["up"]}


def _way(up, down):
    # Entries stand in the order of leaving; of sending, it is that of arrival.
    up, down = (sorted(entries, key=lambda entry: entry.arrived) for entries in (up, down))
    sendings = [[entry for entry in entries if entry.outcome != "copy"] for entries in (up, down)]
    first = [entries[0] if entries else None for entries in sendings]
    left = [entry for entry in down if entry.outcome != "lost"]
    back = min((entry.released for entry in left), default=None)
    through = [entry for entry in up if entry.outcome != "lost"]
    # Whichever passes first is passed on by the far end, and whichever comes back first counts.
    repeated = bool(left) and (
        min(through, key=lambda entry: entry.released).arrived != up[0].arrived
        or min(left, key=lambda entry: entry.released).arrived != first[1].arrived
    )
    doubled = any(entry.outcome == "copy" for entry in left)
    return Way(up[0].arrived, back, repeated, max(len(left) - 1, 0), doubled)


# What became of a packet on one leg, at its first sending there: whether it was lost, else what it took.
Leg = collections.namedtuple("Leg", "lost taken")


def legs(log):
    """What became of each packet on each leg, by stream and sequence number (16 bits)."""
    found = {"uplink": {}, "downlink": {}}
    for entry in sorted(log.entries, key=lambda entry: entry.arrived):
        if entry.outcome != "copy":
            lost = entry.outcome == "lost"
            taken = None if lost else (entry.released - entry.arrived) / SECOND
            found["uplink" if entry.way == "up" else "downlink"].setdefault((entry.stream, entry.sequence), Leg(lost, taken))
    return found


def counted(capture, stream, found):
    """Packets of the steady part that can be told from every other and had the time to come back: pairs of
    what was sent and what became of it."""
    sent = [packet for packet in capture["sent"] if packet["stream"] == stream]
    hashes = collections.Counter(packet["hash"] for packet in sent)
    alone = [packet for packet in sent
             if packet["unique"] and packet["at"] is not None and hashes[packet["hash"]] == 1]
    pairs = [(packet, found.get((stream, packet["sequence"] & 0xFFFF))) for packet in alone]
    delays = [way.back - way.sent for _, way in pairs if way and way.back]
    last = capture["media_end"] - max(max(delays, default=0) - LISTENED, 0)
    return [(packet, way) for packet, way in pairs if capture["media_start"] <= packet["at"] <= last]


def quantile(values, share):
    """The value of nearest rank."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else None


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def delays(pairs):
    """Delays of packets that came back by their first sending, in the order of sending."""
    return [(way.back - way.sent) / SECOND for _, way in pairs if way and way.back and not way.repeated]


def changes(pairs):
    """Mean size of the change of delay from a packet to the next, where both came back (RFC 5481 §4.1)."""
    known = [(way.back - way.sent) / SECOND if way and way.back and not way.repeated else None for _, way in pairs]
    return mean(abs(b - a) for a, b in zip(known, known[1:]) if a is not None and b is not None)


def variation(pairs):
    """Delays above the least."""
    found = delays(pairs)
    return [delay - min(found) for delay in found]


def counts(pairs):
    """How many packets were lost before repair and after it, repaired, and reordered (RFC 4737 §3.3)."""
    known = [way for _, way in pairs if way]
    lost = sum(way.back is None for way in known)
    repaired = sum(way.back is not None and way.repeated for way in known)
    doubled = sum(way.doubled for way in known)
    newest, reordered = -1, 0
    back = [(way.back, packet["sequence"], way) for packet, way in pairs if way and way.back]
    for _, sequence, way in sorted(back, key=lambda found: found[:2]):
        reordered += sequence < newest and not way.repeated
        newest = max(newest, sequence)
    return {"loss": lost + repaired, "residual": lost, "repaired": repaired, "reordered": reordered,
            "doubled": doubled}


def missed(pairs):
    """Whether each packet was lost before repair."""
    return [way is None or way.back is None or way.repeated for _, way in pairs]


def worst_loss(times, lost):
    """Worst share lost in any 200 ms that begin with a packet and end before sending does."""
    usual = (times[-1] - times[0]) // max(len(times) - 1, 1)
    shares = []
    for start, time in enumerate(times):
        if time + WINDOW <= times[-1] + usual:
            within = [flag for at, flag in zip(times[start:], lost[start:]) if at < time + WINDOW]
            shares.append(sum(within) / len(within))
    return max(shares, default=None)


def bursts(lost):
    """RFC 3611 §4.7.2: density and mean length of bursts, density of gaps; and the mean run of losses."""
    at = [i for i, flag in enumerate(lost) if flag]
    groups = []
    for i in at:
        if groups and i - groups[-1][-1] <= GAP:
            groups[-1].append(i)
        else:
            groups.append([i])
    groups = [group for group in groups if len(group) > 1]
    length, within = sum(group[-1] - group[0] + 1 for group in groups), sum(map(len, groups))
    runs = sum(i - 1 not in at for i in at)
    share = lambda part, whole: part / whole if whole else 0.0
    return {"burst_density": share(within, length), "burst_length": share(length, len(groups)),
            "gap_density": share(len(at) - within, len(lost) - length), "loss_run": share(len(at), runs)}


def sound(capture, found):
    """Delay of sound and delay of the way, by marker: from a marker's first sample until the packet that
    carries it is back, as if it had been sent when it was due."""
    audio = [packet for packet in capture["sent"] if packet["stream"] == "audio"]
    if not audio:
        return {}
    origin = min(audio, key=lambda packet: packet["sequence"])["rtp_time"]
    places = {(packet["rtp_time"] - origin) % 2**32: packet for packet in audio}
    result = {}
    for marker in capture["markers_sent"]:
        packet = places.get(marker["index"] * 48_000)
        way = packet and found.get(("audio", packet["sequence"] & 0xFFFF))
        if way and way.back and marker["generated"] >= capture["media_start"]:
            taken = way.back - way.sent
            result[marker["index"]] = ((taken + packet["due"] - marker["generated"]) / SECOND, taken / SECOND)
    return result


Picture = collections.namedtuple("Picture", "counter captured complete whole_way way shown")


def pictures(capture, found):
    """Pictures of which all packets came back, in order: when each was complete, and how long that took
    from when its last packet was due (`shown`: once those before it were complete too)."""
    by_time = collections.defaultdict(list)
    for packet in capture["sent"]:
        if packet["stream"] == "video":
            by_time[packet["rtp_time"]].append(packet)
    # Time stamps as they came to be: pictures are sent in order.
    order = sorted(by_time.values(), key=lambda packets: packets[0]["sequence"])
    result, before = [], 0
    for frame, packets in zip(capture["frames_sent"], order):
        known = [found.get(("video", packet["sequence"] & 0xFFFF)) for packet in packets]
        if not all(way and way.back for way in known):
            continue
        complete = max(way.back for way in known)
        before = max(before, complete)
        last = max(range(len(packets)), key=lambda i: packets[i]["sequence"])
        own = packets[last]["due"] - frame["captured"]
        result.append(Picture(
            frame["counter"], frame["captured"], complete,
            (before - known[last].sent + own) / SECOND,
            (complete - min(way.sent for way in known)) / SECOND, before))
    return result


def clock(capture, found):
    """Wall clock minus the capture's clock: a packet reaches the relay at once after it was stamped."""
    pairs = [(packet, found.get((packet["stream"], packet["sequence"] & 0xFFFF))) for packet in capture["sent"]]
    return min(way.sent - packet["at"] for packet, way in pairs if way and packet["at"] is not None)


def freezes(shown, start, end, margin=0):
    """Freezes by the W3C's rule for `freezeCount` (webrtc-stats), the average being that of up to 30 times
    before; count, and frozen time in seconds. Times on one clock. A `margin` is added to the shortest freeze."""
    before, count, frozen = collections.deque(maxlen=30), 0, 0
    for this, following in zip(shown, [*shown[1:], end]):
        time = following - this
        if before and time > 0:
            average = sum(before) // len(before)
            within = min(following, end) - max(this, start)
            if time >= max(3 * average, average + 150_000_000) + margin and within > 0:
                count += 1
                frozen += within
        before.append(time)
    return count, frozen / SECOND


def jitter(received, stream, start):
    """RFC 3550 §6.4.1 (code in A.8), from the capture's own arrivals: mean of J over the steady part, once it
    has settled. Of a picture only the first packet counts, and none older than the newest."""
    rate = {"audio": 48_000, "video": 90_000}[stream]
    arrivals = sorted((packet["at"], packet["sequence"], packet["rtp_time"])
                      for packet in received if packet["stream"] == stream)
    course, newest, last, estimate = [], -1, None, 0.0
    for at, sequence, rtp in arrivals:
        if sequence <= newest:
            continue
        newest = sequence
        if stream == "video" and last and last[1] == rtp:
            continue
        if last:
            ticks = (rtp - last[1] + 2**31) % 2**32 - 2**31
            difference = abs((at - last[0]) / SECOND - ticks / rate)
            if difference < 10:
                estimate += (difference - estimate) / 16
                course.append((at, estimate))
        last = (at, rtp)
    settled = course[min(48, len(course) // 2):]
    return mean(value for at, value in settled if at >= start)
