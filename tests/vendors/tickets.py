#!/usr/bin/env python3
"""The channel `rt` against a real Request Tracker 5: what it does to the vendor's tickets, each story on its own.

    tickets.py EXAMPLE [CACHE]

EXAMPLE is the built `agent/examples/rt.rs`; CACHE keeps the prepared database of rt.py. One ticket per key is counted
in RT's database, whatever its search says.
"""

import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from rt import CHINESE, QUEUE, RequestTracker

EXAMPLE = pathlib.Path(sys.argv[1]).resolve()
MARK = f"bw-canary-{QUEUE}"


def booking(number, **over):
    """A booking of room r1 with a key of its own."""
    window = lambda day: {"start": f"2026-12-{day:02}T01:00:00Z", "end": f"2026-12-{day:02}T02:00:00Z"}
    at = "2026-11-24T02:00:00Z"
    return {
        "key": f"bw1-{number:026}", "kind": "fault", "state": "requested", "severity": "high", "scope": "r1",
        "family": "net", "cause": "room", "epoch": 0, "opened_at": at, "updated_at": at, "recovered_at": None,
        "school": {"name": "示范小学", "contact": {"name": "信息中心", "phone": "010-5550100"}},
        "room": {"id": "r1", "name": "三年级二班"}, "vendor": {"name": "维护公司"}, "timezone": "Asia/Shanghai",
        "versions": [{"component": "app", "version": "2.4.1"}], "changes": [], "evidence": [],
        "wanted": [window(7), window(8)], "missing": [], "op_seq": 1,
    } | over


def agreed(booking, day, seq=2):
    window = {"start": f"2026-12-{day:02}T03:00:00Z", "end": f"2026-12-{day:02}T04:00:00Z"}
    return booking | {"state": "confirmed", "life": {"appointment": window}, "op_seq": seq}


def run(config, *what, booking=None, remote_id=None):
    """One attempt, as the daemon would make it."""
    config = {name: value for name, value in config.items() if name != "kind"}
    environment = os.environ | ({} if remote_id is None else {"REMOTE_ID": str(remote_id)})
    done = subprocess.run([EXAMPLE, json.dumps(config), *what], input=json.dumps(booking), text=True,
                          capture_output=True, timeout=200, env=environment)
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def expect(found, word, number=None, *texts):
    assert found["outcome"] == word, found
    if number is not None:
        assert found["remote_id"] == str(number), found
    for text in texts:
        assert text in found["detail"], found


class Lossy:
    """Stands before a vendor and, if `lose` says so of a request, drops its answer once the vendor has done the work."""

    def __init__(self, vendor, lose):
        proxy = self
        self.lost = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                onward = http.client.HTTPConnection("127.0.0.1", vendor.port, timeout=120)
                onward.request(self.command, self.path, body, dict(self.headers))
                answer = onward.getresponse()
                content = answer.read()
                self.close_connection = True
                if lose(self.command, self.path):
                    proxy.lost += 1
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("date", "server", "connection"):
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = forward

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def ready(vendor):
    """A vendor whose self-test has passed."""
    findings = run(vendor.channel(), "check")
    wrong = [finding for finding in findings if finding[1]]
    assert not wrong and len(findings) == 8, findings
    return vendor.channel()


def one(vendor, booking):
    found = vendor.tickets(booking["key"])
    assert len(found) == 1, found
    return found[0]


# The stories


def self_test(vendor):
    config = ready(vendor)
    mark = one(vendor, {"key": MARK})
    assert mark["Status"] == "resolved", mark
    ready(vendor)
    assert len(vendor.rows()) == 1, "a second self-test makes no second mark"
    bad = {
        "no fields in the queue": {"queue": "No fields"}, "no such queue": {"queue": "Nowhere"},
        "no such field": {"key_field": "BW.Nope"}, "no rights": {"token_file": str(vendor.folder / "stranger.token")},
        "not RT": {"url": vendor.url + "/elsewhere"},
    }
    for name, over in bad.items():
        findings = run(config | over, "check")
        assert findings[-1][1], f"{name}: {findings}"
        print(f"    {name}: {[finding for finding in findings if finding[1]]}")
    assert len(vendor.rows()) == 1, "no bad config makes a ticket"


def create(vendor):
    config, order = ready(vendor), booking(1)
    started = time.monotonic()
    expect(run(config, "open", booking=order), "done", 2)
    print(f"    made within {time.monotonic() - started:.2f} s, look before and look after included")
    ticket = one(vendor, order)
    assert (ticket["Starts"], ticket["Due"]) == ("2026-12-07 01:00:00", "2026-12-07 02:00:00"), ticket
    assert ticket["TimeEstimated"] == 60 and ticket["Subject"].endswith(f"[{order['key']}]"), ticket
    assert (vendor.keys(2), vendor.keys(2, "BW.Room")) == ([order["key"]], ["r1"])
    assert vendor.messages(order["key"] + ".1") == 1
    for _ in range(7):
        expect(run(config, "open", booking=order), "done", 2)
    one(vendor, order)


def lost_reply(vendor):
    config = ready(vendor)
    with Lossy(vendor, lambda method, path: method == "POST" and path.endswith("/ticket")) as proxy:
        for number in range(10, 20):
            order = booking(number)
            expect(run(config | {"url": proxy.url}, "open", booking=order), "ambiguous")
            found = run(config, "open", "--probe", booking=order)
            expect(found, "done", one(vendor, order)["id"])
        assert proxy.lost == 10
    expect(run(config, "open", "--probe", booking=booking(20)), "missing")


def race(vendor, rounds=5, racers=8):
    config = ready(vendor)
    made = []
    with concurrent.futures.ThreadPoolExecutor(racers) as pool:
        for number in range(rounds):
            order = booking(100 + number)
            before = len(vendor.rows())
            for found in pool.map(lambda _: run(config, "open", booking=order), range(racers)):
                assert found["outcome"] in ("done", "ambiguous"), found
            made.append(len(vendor.rows()) - before)
            # What the core does with those in doubt.
            expect(run(config, "open", "--probe", booking=order), "done")
            one(vendor, order)
    assert max(made) > 1, "no race was run"
    print(f"    {racers} at once, {rounds} rounds: {made} tickets made, and one left of each")


def dropped_key(folder, cache):
    with RequestTracker(folder, cache) as vendor:
        ready(vendor)
        vendor.stop()
        # The vendor's administrator takes away what the self-test found.
        vendor.take_away(("ModifyCustomField", "SetInitialCustomField"))
        vendor.start()
        config, order = vendor.channel(), booking(1)
        expect(run(config, "open", booking=order), "rejected", None, "ticket 2", "BW.Key", order["key"])
        assert vendor.keys(2) == [], "RT dropped the key"
        expect(run(config, "open", booking=order), "rejected", None, "ticket 2")
        expect(run(config, "open", "--probe", booking=order), "rejected", None, "ticket 2")
        one(vendor, order)
        # Without the field nothing is made, as nothing would be found; what has the key in its subject still is.
        blind = config | {"key_field": "BW.Nope"}
        expect(run(blind, "open", booking=booking(2)), "not_delivered", None, "its own mark")
        expect(run(blind, "open", booking=order), "done", 2)
        assert len(vendor.rows()) == 2
        one(vendor, order)
        findings = run(config, "check")
        assert not any(finding[1] for finding in findings if "field" not in finding[0]), findings


def unseen_comments(folder, cache):
    with RequestTracker(folder, cache) as vendor:
        config, order = ready(vendor), booking(1)
        expect(run(config, "open", booking=order), "done", 2)
        expect(run(config, "update", "--probe", booking=order | {"op_seq": 2}, remote_id=2), "missing")
        vendor.stop()
        vendor.take_away(("ShowTicketComments",))
        vendor.start()
        found = run(config | {"url": vendor.url}, "update", "--probe", booking=order | {"op_seq": 2}, remote_id=2)
        expect(found, "ambiguous", None, "not seen")
        wrong = [finding[0] for finding in run(vendor.channel(), "check") if finding[1]]
        assert wrong == ["a comment is seen again"], wrong


def locked_out(vendor):
    config = ready(vendor)
    token = vendor.folder / "wrong.token"
    token.write_text("1-14-0123456789abcdef\n")
    token.chmod(0o600)
    for name in (token, vendor.folder / "stranger.token"):
        # Whoever sees nothing at all is told that the search is blind; whoever is nobody, that he is.
        found = run(config | {"token_file": str(name)}, "open", booking=booking(1))
        expect(found, "locked_out" if name == token else "not_delivered")
    assert len(vendor.rows()) == 1


def update(vendor):
    config, order = ready(vendor), booking(1)
    expect(run(config, "open", booking=order), "done", 2)
    second = order | {"op_seq": 2, "severity": "critical"}
    expect(run(config, "update", booking=second, remote_id=2), "done", 2)
    assert vendor.messages(order["key"] + ".2") == 1
    expect(run(config, "update", "--probe", booking=second), "done", 2)
    third = order | {"op_seq": 3}
    with Lossy(vendor, lambda method, path: path.endswith("/comment")) as proxy:
        expect(run(config | {"url": proxy.url}, "update", booking=third, remote_id=2), "ambiguous")
    expect(run(config, "update", "--probe", booking=third, remote_id=2), "done", 2)
    assert vendor.messages(order["key"] + ".3") == 1
    # The time that was agreed.
    fourth = agreed(order, 9, 4)
    expect(run(config, "update", booking=fourth, remote_id=2), "done", 2)
    assert (one(vendor, order)["Starts"], one(vendor, order)["Due"]) == ("2026-12-09 03:00:00", "2026-12-09 04:00:00")
    # The vendor moves it, and our next word changes nothing of that; a new agreement does.
    vendor.move(2, "2026-12-10T05:00:00Z", "2026-12-10T06:00:00Z")
    expect(run(config, "update", booking=agreed(order, 9, 5), remote_id=2), "done", 2)
    assert one(vendor, order)["Starts"] == "2026-12-10 05:00:00"
    expect(run(config, "update", booking=agreed(order, 11, 6), remote_id=2), "done", 2)
    assert one(vendor, order)["Starts"] == "2026-12-11 03:00:00"
    assert [vendor.messages(f"{order['key']}.{seq}") for seq in range(1, 7)] == [1] * 6


def cancel(vendor):
    config = ready(vendor)
    for number, status, left in ((1, "new", "rejected"), (2, "open", "open"), (3, "resolved", "resolved")):
        order = booking(number)
        ticket = int(run(config, "open", booking=order)["remote_id"])
        if status != "new":
            vendor.set_status(ticket, status)
        second = order | {"state": "cancelled", "op_seq": 2}
        expect(run(config, "cancel", booking=second, remote_id=ticket), "done", ticket)
        expect(run(config, "cancel", "--probe", booking=second, remote_id=ticket), "done", ticket)
        assert one(vendor, order)["Status"] == left, status
        assert vendor.messages("please close the ticket") == number
    expect(run(config, "cancel", booking=booking(4)), "done")


def merged(vendor):
    config, order = ready(vendor), booking(1)
    expect(run(config, "open", booking=order), "done", 2)
    theirs = vendor.create()
    vendor.merge(2, theirs)
    expect(run(config, "open", "--probe", booking=order), "done", theirs)
    expect(run(config, "open", booking=order), "done", theirs)
    expect(run(config, "update", booking=order | {"op_seq": 2}, remote_id=2), "done", theirs)
    expect(run(config, "update", "--probe", booking=order | {"op_seq": 2}, remote_id=2), "done", theirs)
    vendor.set_status(theirs, "open")
    remote = run(config, "read", booking=order, remote_id=2)
    assert (remote["remote_id"], remote["standing"]) == (str(theirs), "confirmed"), remote
    assert len(vendor.rows()) == 3, "the mark, ours and theirs"


def read_back(vendor):
    config, order = ready(vendor), booking(1)
    expect(run(config, "open", booking=order), "done", 2)
    remote = run(config, "read", booking=order)
    assert (remote["standing"], remote["window"], remote["note"]) == ("requested", order["wanted"][0], None), remote
    vendor.reply(2, "\nWe come at nine.\nThe desk")
    vendor.move(2, "2026-12-10T05:00:00Z", "2026-12-10T06:00:00Z")
    remote = run(config, "read", booking=order, remote_id=2)
    window = {"start": "2026-12-10T05:00:00Z", "end": "2026-12-10T06:00:00Z"}
    assert remote == {"remote_id": "2", "standing": "confirmed", "window": window, "note": "We come at nine."}, remote
    for status, standing in (("stalled", "requested"), ("resolved", "reported"), ("rejected", "refused")):
        vendor.set_status(2, status)
        assert run(config, "read", booking=order, remote_id=2)["standing"] == standing
    vendor.delete(2)
    assert run(config, "read", booking=order, remote_id=2)["standing"] == "missing"
    expect(run(config, "update", booking=order | {"op_seq": 2}, remote_id=2), "rejected", None, "deleted")
    expect(run(config, "cancel", booking=order | {"op_seq": 3}, remote_id=2), "done", 2)


def moved_queue(vendor):
    config, order = ready(vendor), booking(1)
    expect(run(config, "open", booking=order), "done", 2)
    status, said = vendor.request("bellwether", "PUT", "ticket/2", {"Queue": "No fields"})
    assert status == 200 and "changed" in said[0], said
    expect(run(config, "open", booking=order), "done", 2)
    expect(run(config, "update", booking=order | {"op_seq": 2}, remote_id=2), "done", 2)
    one(vendor, order)


def lost_ledger(vendor):
    config = ready(vendor)
    rooms = {1: "r1", 2: "r1", 3: "r2", 4: "r1", 5: "r'1\\"}
    orders = {number: booking(number) | {"room": {"id": room, "name": "x"}} for number, room in rooms.items()}
    tickets = {}
    for number, order in orders.items():
        tickets[number] = int(run(config, "open", booking=order)["remote_id"])
    vendor.set_status(tickets[2], "open")
    vendor.set_status(tickets[4], "resolved")
    newest = agreed(orders[2], 9)
    expect(run(config, "update", booking=newest, remote_id=tickets[2]), "done", tickets[2])
    vendor.create(Subject="no booking")
    listed = {item["key"]: item for item in run(config, "list", booking=orders[1])}
    assert set(listed) == {orders[1]["key"], orders[2]["key"]}, listed
    for number, sent, standing in ((1, orders[1], "requested"), (2, newest, "confirmed")):
        item = listed[sent["key"]]
        assert (item["remote"]["remote_id"], item["remote"]["standing"]) == (str(tickets[number]), standing), item
        assert (item["booking"]["op_seq"], item["booking"]["wanted"]) == (sent["op_seq"], sent["wanted"]), item
    assert [item["key"] for item in run(config, "list", booking=orders[5])] == [orders[5]["key"]]
    assert run(config, "list", booking=booking(9) | {"room": {"id": "r9"}}) == []
    found = run(config | {"room_field": "BW.Nope"}, "list", booking=orders[1])
    assert "its own mark" in found["error"], found


def chinese_queue(vendor):
    config, order = vendor.channel(queue=CHINESE), booking(1)
    findings = run(config, "check")
    assert not any(finding[1] for finding in findings), findings
    expect(run(config, "open", booking=order), "done", 2)
    expect(run(config, "open", booking=order), "done", 2)
    assert [item["key"] for item in run(config, "list", booking=order)] == [order["key"]]
    # Another box of the same vendor looks for its own mark.
    expect(run(vendor.channel(), "open", booking=booking(2)), "not_delivered", None, "its own mark")
    one(vendor, order)


STORIES = (self_test, create, lost_reply, race, locked_out, update, cancel, merged, read_back, moved_queue, lost_ledger,
           chinese_queue)


def main():
    with tempfile.TemporaryDirectory(prefix="bellwether-rt-") as folder:
        os.chmod(folder, 0o755)
        cache = sys.argv[2] if len(sys.argv) > 2 else folder
        wanted = set(sys.argv[3:])
        stories = [(story.__name__, story, {}) for story in STORIES] + [("race, unique values", race, {"unique": True})]
        for name, story, options in stories:
            if wanted and name not in wanted:
                continue
            print(name, flush=True)
            with RequestTracker(folder, cache, **options) as vendor:
                story(vendor)
        for story in (dropped_key, unseen_comments):
            if wanted and story.__name__ not in wanted:
                continue
            print(story.__name__, flush=True)
            story(folder, cache)
    print("all stories ended as they should")


main()
