#!/usr/bin/env python3
"""What the judge of the impairment bench computes, on calls small enough to be followed by hand."""

from truth import (LISTENED, SECOND, Entry, Log, bursts, changes, clock, counted, counts, delays, freezes, jitter,
                   missed, pictures, quantile, read_log, sound, variation, ways, worst_loss)

MS = 1_000_000
HEAD = "way,stream,ssrc,sequence,bytes,arrived,due,released,outcome"


def entry(way, sequence, arrived, released, outcome="sent", stream="audio"):
    return Entry(way, stream, 1, sequence, 100, arrived * MS, released * MS, released * MS, outcome)


def call(count=10, period=20, stream="audio"):
    """What is sent of a call: a packet each `period` ms from 1 s on, stamped as it is due."""
    sent = [{"stream": stream, "sequence": 70_000 + i, "rtp_time": i * 960, "hash": i, "unique": True,
             "due": (1000 + period * i) * MS, "at": (1000 + period * i) * MS} for i in range(count)]
    return {"sent": sent, "media_start": 1000 * MS, "media_end": 2000 * MS}


def path(delay, lost=(), count=10, period=20, stream="audio"):
    """The log of such a call: `delay` up, 5 ms at the far end, 5 ms down."""
    entries = []
    for i in range(count):
        at, sequence = 500 + period * i, (70_000 + i) & 0xFFFF
        if i in lost:
            entries.append(entry("up", sequence, at, at, "lost", stream))
        else:
            up = at + delay(i)
            entries += [entry("up", sequence, at, up, stream=stream),
                        entry("down", sequence, up + 5, up + 10, stream=stream)]
    return ways(Log(entries, 0, 0))


def near(got, want):
    assert abs(got - want) < 1e-9, (got, want)


def test_a_log_is_read_and_nothing_else():
    log = read_log(f"# up others=3 unlogged=0\n# down others=4 unlogged=1\n{HEAD}\nup,video,7,65535,1200,10,30,35,copy\n")
    assert (log.others, log.unlogged) == (7, 1)
    assert log.entries == [Entry("up", "video", 7, 65535, 1200, 10, 30, 35, "copy")]
    for text in ("", "way,stream\n", f"{HEAD}\nup,audio,x,1,1,1,1,1,sent\n"):
        try:
            read_log(text)
        except ValueError:
            continue
        raise AssertionError(f"{text!r} was read")


def test_the_way_is_from_the_relay_to_the_relay():
    pairs = counted(call(), "audio", path(lambda i: 30))
    assert delays(pairs) == [0.04] * 10
    near(changes(pairs), 0)
    pairs = counted(call(), "audio", path(lambda i: 30 + i % 2))
    assert quantile(variation(pairs), 0.5) == 0 and abs(quantile(variation(pairs), 0.95) - 0.001) < 1e-9
    near(changes(pairs), 0.001)


def test_losses_are_counted_and_leave_no_delay():
    pairs = counted(call(), "audio", path(lambda i: 30, lost={3, 4, 8}))
    assert len(delays(pairs)) == 7
    assert counts(pairs) == {"loss": 3, "residual": 3, "repaired": 0, "reordered": 0, "doubled": 0}
    assert sum(missed(pairs)) == 3


def test_a_repeat_is_a_repair_and_a_late_original_is_not():
    sequence = 70_003 & 0xFFFF
    found = path(lambda i: 30, lost={3})
    repaired = ways(Log([entry("up", sequence, 560, 560, "lost"), entry("up", sequence, 640, 670),
                         entry("down", sequence, 675, 680)], 0, 0))
    pairs = counted(call(), "audio", {**found, **repaired})
    assert counts(pairs) == {"loss": 1, "residual": 0, "repaired": 1, "reordered": 0, "doubled": 0}
    assert sum(missed(pairs)) == 1
    assert len(delays(pairs)) == 9, "the delay of a repeat says nothing of the path"
    # Lost on the way down, and sent again by the far end.
    below = ways(Log([entry("up", sequence, 560, 590), entry("down", sequence, 595, 595, "lost"),
                      entry("down", sequence, 700, 705)], 0, 0))
    assert counts(counted(call(), "audio", {**found, **below}))["repaired"] == 1
    # Held, overtaken by two, and back before its own repeat, which is one copy more.
    late = ways(Log([entry("up", sequence, 560, 635), entry("up", sequence, 630, 660),
                     entry("down", sequence, 640, 645), entry("down", sequence, 665, 670)], 0, 0))
    pairs = counted(call(), "audio", {**found, **late})
    assert counts(pairs) == {"loss": 0, "residual": 0, "repaired": 0, "reordered": 1, "doubled": 0}
    assert late["audio", sequence].more == 1


def test_only_steady_packets_that_are_alone_and_had_time_are_counted():
    capture = call(count=60)
    capture["sent"][30]["unique"] = False
    capture["sent"][32]["hash"] = capture["sent"][31]["hash"]
    capture["sent"][33]["at"] = None
    capture["media_start"] = 1100 * MS
    found = path(lambda i: 30, count=60)
    assert len(counted(capture, "audio", found)) == 51 - 5 - 4
    slow = path(lambda i: LISTENED // MS + 90, count=60)
    assert len(counted(capture, "audio", slow)) == 46 - 5 - 4, "100 ms less than could be listened for"


def test_what_the_relay_doubled_is_no_repeat():
    sequence = 70_003 & 0xFFFF
    twice = ways(Log([entry("up", sequence, 560, 590), entry("down", sequence, 595, 600),
                      entry("down", sequence, 595, 600, "copy")], 0, 0))
    pairs = counted(call(), "audio", {**path(lambda i: 30), **twice})
    assert counts(pairs) == {"loss": 0, "residual": 0, "repaired": 0, "reordered": 0, "doubled": 1}
    assert twice["audio", sequence].more == 1


def test_losses_crowd_together_in_200_ms_and_in_bursts():
    times = [i * 20 * MS for i in range(100)]
    lost = [i in {10, 11, 12, 40, 60, 61, 77} for i in range(100)]
    assert worst_loss(times, lost) == 0.3
    # 10 to 12, and 60 to 77 with 15 received between; 40 stands alone.
    found = bursts(lost)
    near(found["burst_density"], 6 / (3 + 18))
    near(found["burst_length"], (3 + 18) / 2)
    near(found["gap_density"], 1 / (100 - 21))
    near(found["loss_run"], 7 / 4)
    assert worst_loss(times, [False] * 100) == 0 and set(bursts([False] * 100).values()) == {0}


def test_sound_is_late_by_the_way_and_the_packet_it_is_in():
    capture = call(count=200)
    capture["markers_sent"] = [{"index": i, "generated": (980 + 1000 * i) * MS} for i in range(4)]
    found = path(lambda i: 30 + (i >= 100) * 50, count=200)
    capture["media_start"] = 1500 * MS
    assert list(sound(capture, found)) == [1, 2, 3]
    near(sound(capture, found)[1][0], 0.040 + 0.020)
    near(sound(capture, found)[2][0], 0.090 + 0.020)
    near(sound(capture, found)[2][1], 0.090)


def test_a_picture_is_there_when_all_of_it_and_all_before_it_is():
    capture = call(count=9, period=1, stream="video")
    for i, packet in enumerate(capture["sent"]):
        packet["rtp_time"] = i // 3 * 3000
    capture["frames_sent"] = [{"counter": k, "captured": (990 + 3 * k) * MS} for k in range(3)]
    # The middle packet of the first picture is 20 ms later than the others.
    found = path(lambda i: 30 + 20 * (i == 1), count=9, period=1, stream="video")
    first, second, third = pictures(capture, found)
    near(first.way, 0.061)
    near(first.whole_way, (501 + 60 - 502 + 1002 - 990) / 1000)
    near(second.way, 0.042)
    assert first.shown == second.shown == third.shown == 561 * MS
    found = path(lambda i: 30, lost={4}, count=9, period=1, stream="video")
    assert [picture.counter for picture in pictures(capture, found)] == [0, 2]


def test_the_clocks_are_told_by_the_quickest_packet():
    found = path(lambda i: 30)
    assert clock(call(), found) == -500 * MS


def test_freezes_follow_the_rule():
    grid = [i * 33 * MS for i in range(300)]
    end = grid[-1] + 33 * MS
    assert freezes(grid, 0, end) == (0, 0.0)
    for missing, expected in ((4, (0, 0.0)), (5, (1, 0.198)), (15, (1, 0.528))):
        shown = grid[:100] + grid[100 + missing:]
        assert freezes(shown, 0, end) == expected, missing
    barely = grid[:100] + grid[105:]
    assert [freezes(barely, 0, end, margin * MS)[0] for margin in (-20, 14, 16)] == [1, 1, 0], "198 ms, by 15 more than it takes"
    assert freezes(grid[:200], 0, end)[0] == 1, "frozen until the end"
    assert freezes(grid[:100] + grid[110:], grid[150], end) == (0, 0.0), "before the steady part"


def test_jitter_of_a_step_is_a_sixteenth_and_decays():
    received = [{"stream": "audio", "sequence": i, "rtp_time": (i * 960 + 2**32 - 5000) % 2**32,
                 "at": (i * 20 + (40 if i >= 60 else 0)) * MS} for i in range(110)]
    assert jitter(received[:59], "audio", 0) < 1e-12
    course = [0.0] * 11 + [0.040 / 16 * (15 / 16)**k for k in range(50)]
    near(jitter(received, "audio", 0), sum(course) / len(course))
    assert SECOND == 1000 * MS


if __name__ == "__main__":
    from daemon import run_tests

    run_tests(globals())
