#!/usr/bin/env python3
"""The channel `caldav` against real servers: what a booking goes through, and what must never happen.

    caldav_test.py CHANNEL [TEST…]        CHANNEL is target/debug/examples/channel
"""

import concurrent.futures
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from caldav import SERVERS

CHANNEL = pathlib.Path(sys.argv[1]).resolve()
UTC = datetime.timezone.utc
NOON = datetime.datetime(2027, 3, 2, 4, tzinfo=UTC)


def window(start, minutes=60):
    return {"start": start.isoformat(), "end": (start + datetime.timedelta(minutes=minutes)).isoformat()}


def booking(key, **changes):
    return {
        "key": key, "kind": "fault", "state": "requested", "severity": "normal", "scope": "r1", "family": "net",
        "cause": "room", "epoch": 0, "opened_at": "2027-03-01T02:00:00Z", "updated_at": "2027-03-01T02:00:00Z",
        "recovered_at": None,
        "school": {"name": "示范小学", "contact": {"name": "信息中心", "phone": "010-5550100"}},
        "room": {"id": "三-302, a", "name": "三年级二班"}, "vendor": {"name": "维护公司"}, "timezone": "Asia/Shanghai",
        "versions": [], "changes": [], "evidence": [], "wanted": [window(NOON)], "missing": [], "op_seq": 1,
    } | changes


class Channel:
    """Our side, as a command of its own for each call."""

    def __init__(self, server, **more):
        self.server = server
        self.config = {"kind": "caldav", "url": server.url, "user": server.user, "password_file": str(server.password_file)} | more

    def run(self, *words):
        command = [CHANNEL, json.dumps(self.config), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def send(self, operation, booking, op_seq, times=1):
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=self.server.folder) as file:
            json.dump(booking, file)
            file.flush()
            return self.run(operation, file.name, op_seq, times)

    def order(self, operation, booking, op_seq):
        return self.send(operation, booking, op_seq)[0]

    def read(self, key, *remote_id):
        return self.run("read", key, *remote_id)[0]


def equal(found, expected, what=""):
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


def at(text):
    return datetime.datetime.fromisoformat(text)


def stands(channel, key, standing, start=None, minutes=60):
    remote = channel.read(key)
    equal(remote.get("standing"), standing, remote)
    if start:
        end = start + datetime.timedelta(minutes=minutes)
        equal((at(remote["window"]["start"]), at(remote["window"]["end"])), (start, end), remote)
    return remote


def name(number):
    return f"bw1-{number:026d}"


def story(server, channel):
    """Made, repeated, changed, moved, changed again, agreed by words, cancelled."""
    key = name(1)
    first = booking(key)
    made = channel.order("open", first, 1)
    equal((made["outcome"], made["remote_id"]), ("done", f"{server.path}{key}.ics"))
    text, version = server.get(key)
    equal(channel.order("open", first, 1)["outcome"], "done", "a repeat")
    equal(server.get(key), (text, version), "a repeat changes nothing")
    stands(channel, key, "requested", NOON)

    later = NOON + datetime.timedelta(days=1)
    second = booking(key, wanted=[window(later)], severity="high")
    equal(channel.order("update", second, 2)["outcome"], "done")
    stands(channel, key, "requested", later)
    equal((server.value(key, "SEQUENCE"), server.value(key, "X-BELLWETHER-OP")), ("2", f"{key}.2"))

    theirs = datetime.datetime(2027, 3, 4, 14)
    server.move(key, theirs, theirs + datetime.timedelta(hours=2), "Asia/Shanghai")
    server.note(key, "带梯子")
    moved = datetime.datetime(2027, 3, 4, 6, tzinfo=UTC)
    equal(stands(channel, key, "requested", moved, 120)["note"], "带梯子")
    third = booking(key, wanted=[window(NOON + datetime.timedelta(days=2))], severity="critical")
    equal(channel.order("update", third, 3)["outcome"], "done")
    equal(stands(channel, key, "requested", moved, 120)["note"], "带梯子", "an update keeps the move")
    assert "[critical]" in server.value(key, "SUMMARY")

    server.confirm(key)
    stands(channel, key, "confirmed", moved, 120)
    equal(channel.order("update", third, 4)["outcome"], "done")
    stands(channel, key, "confirmed", moved, 120)
    server.done(key)
    stands(channel, key, "reported", moved, 120)

    sequence = int(server.value(key, "SEQUENCE"))
    equal(channel.order("cancel", booking(key, state="cancelled"), 5)["outcome"], "done")
    stands(channel, key, "withdrawn", moved, 120)
    equal(server.value(key, "STATUS"), "CANCELLED")
    assert int(server.value(key, "SEQUENCE")) > sequence, sequence
    equal(channel.order("cancel", booking(key, state="cancelled"), 5)["outcome"], "done", "a repeat")
    equal(channel.order("open", first, 1)["outcome"], "done", "a repeat that comes late")
    stands(channel, key, "withdrawn", moved, 120)
    equal(server.names(), [f"{key}.ics"])


def race(server, channel):
    """Many at once make one."""
    key, rounds = name(2), []
    for number in range(5):
        key = name(20 + number)
        began = time.monotonic()
        outcomes = [line["outcome"] for line in channel.send("open", booking(key), 1, 64)]
        # What a server broke off is sent again, as the outbox does.
        again = 0
        while outcomes.count("done") < 64:
            left = 64 - outcomes.count("done")
            assert set(outcomes) <= {"done", "ambiguous", "not_delivered"}, outcomes
            outcomes = ["done"] * (64 - left) + [line["outcome"] for line in channel.send("open", booking(key), 1, left)]
            again += left
        equal([entry for entry in server.names() if entry.startswith(key)], [f"{key}.ics"])
        rounds.append((again, round(time.monotonic() - began, 2)))
    return "64 at once, sent again and seconds: " + ", ".join(f"{again} in {took} s" for again, took in rounds)


def apart(server, channel):
    """The same from eight processes, with an update among them."""
    key = name(3)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: channel.order("open", booking(key), 1)["outcome"], range(8)))
        equal(outcomes, ["done"] * 8)
        outcomes = list(pool.map(lambda _: channel.order("update", booking(key, severity="high"), 2)["outcome"], range(8)))
    assert set(outcomes) <= {"done", "not_delivered"} and "done" in outcomes, outcomes
    equal(channel.order("update", booking(key, severity="high"), 2)["outcome"], "done")
    equal(server.value(key, "X-BELLWETHER-OP"), f"{key}.2")
    equal([entry for entry in server.names() if entry.startswith(key)], [f"{key}.ics"])
    return f"8 processes: {outcomes.count('done')} updates done, {8 - outcomes.count('done')} to be tried again"


def answers(server, channel):
    """Each way to say yes, no and done."""
    invites = Channel(server, organizer="it@school.example", attendee="desk@vendor.example")
    for number, (act, standing) in enumerate([
            (server.confirm, "confirmed"), (server.cancel, "refused"), (server.accept, "confirmed"),
            (server.decline, "refused"), (server.done, "reported"), (lambda key: server.title(key, "【确认】"), "confirmed"),
            (lambda key: server.title(key, "[declined]"), "refused"),
            (lambda key: server.replace(key, CATEGORIES="CATEGORIES:完成"), "reported")]):
        key = name(40 + number)
        equal(invites.order("open", booking(key), 1)["outcome"], "done")
        stands(channel, key, "requested", NOON)
        act(key)
        stands(channel, key, standing, NOON)
        equal(channel.order("update", booking(key, severity="high"), 2)["outcome"], "done")
        stands(channel, key, standing, NOON)
    server.comment(name(40), "周五再来")
    equal(stands(channel, name(40), "confirmed")["note"], "周五再来")


def deleted(server, channel):
    """What was deleted is not made anew; what was renamed is found."""
    key = name(4)
    equal(channel.order("open", booking(key), 1)["outcome"], "done")
    text, _ = server.get(key)
    server.delete(key)
    stands(channel, key, "missing")
    found = channel.order("update", booking(key), 2)
    equal(found["outcome"], "rejected")
    assert "deleted" in found["detail"], found
    equal(channel.order("cancel", booking(key, state="cancelled"), 3)["outcome"], "done")
    assert f"{key}.ics" not in server.names()

    # A program that moves an entry out and in again gives it another name.
    status, _, _ = server.ask("PUT", f"{server.path}moved.ics", text.replace("\n", "\r\n"), Content_Type="text/calendar")
    assert status in (201, 204), status
    found = channel.order("open", booking(key), 1)
    equal((found["outcome"], found["remote_id"]), ("done", f"{server.path}moved.ics"), "no second one of its name")
    assert f"{key}.ics" not in server.names()
    equal(channel.read(key)["remote_id"], f"{server.path}moved.ics")
    equal(channel.order("update", booking(key, severity="high"), 4)["outcome"], "done")
    equal(channel.order("cancel", booking(key, state="cancelled"), 5)["outcome"], "done")
    stands(channel, key, "withdrawn")


def listed(server, channel):
    """A new ledger finds what is open in its own room."""
    for number, changes in [(60, {}), (61, {"room": {"id": "三-302, ab"}}), (62, {}), (63, {"wanted": []})]:
        equal(channel.order("open", booking(name(number), **changes), 1)["outcome"], "done")
    equal(channel.order("cancel", booking(name(62), state="cancelled"), 2)["outcome"], "done")
    found = {line["key"]: line for line in channel.run("list", "三-302, a") if line["key"] >= name(60)}
    equal(sorted(found), [name(60), name(63)])
    equal((found[name(63)]["remote"]["standing"], found[name(63)]["remote"]["window"]), ("requested", None))
    equal(found[name(60)]["booking"]["school"]["name"], "示范小学")
    equal(channel.run("list", "三-302, abc"), [])


def wrong(server, channel):
    """Mistakes in the config, and a server that is gone."""
    key = name(5)
    nowhere = Channel(server, url=server.url.replace("/calendar/", "/none/").replace("/school/", "/none/"))
    found = nowhere.order("open", booking(key), 1)
    equal(found["outcome"], "not_delivered")
    assert "check url" in found["detail"] and "/none/" in found["detail"], found
    assert "check url" in nowhere.read(key)["error"]
    equal(nowhere.order("update", booking(key), 2)["outcome"], "not_delivered", "a calendar that is not there is no deleted entry")
    if type(server).__name__ == "Radicale":
        bad = server.folder / "bad"
        bad.write_text("not the password\n")
        stranger = Channel(server, password_file=str(bad))
        equal([stranger.order(word, booking(key), 1)["outcome"] for word in ("open", "update", "cancel")], ["locked_out"] * 3)
        assert "password_file" in stranger.read(key)["error"]
        assert any(line["wrong"] for line in stranger.run("check"))
    before = server.names()
    server.stop()
    equal(channel.order("open", booking(key), 1)["outcome"], "not_delivered")
    assert "error" in channel.read(key)
    server.start()
    equal(server.names(), before)
    equal(channel.order("open", booking(key), 1)["outcome"], "done")


def checked(server, channel):
    """The self-test passes, and leaves nothing behind."""
    before = server.names()
    findings = channel.run("check")
    equal([line for line in findings if line["wrong"]], [])
    assert len(findings) >= 8, findings
    equal(server.names(), before)
    return f"{len(findings)} findings, all fine"


def main():
    for kind in SERVERS:
        with kind() as server:
            channel = Channel(server)
            tests = (checked, story, apart, answers, deleted, listed, wrong, race)
            for test in (test for test in tests if test.__name__ in sys.argv[2:] or not sys.argv[2:]):
                began = time.monotonic()
                said = test(server, channel)
                print(f"{kind.__name__}: {test.__name__} ({time.monotonic() - began:.1f} s){': ' + said if said else ''}", flush=True)


main()
