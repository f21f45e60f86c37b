#!/usr/bin/env python3
"""Silences in a real Alertmanager: there while somebody works on the room, gone after.

    alertmanager.py BELLWETHER
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from daemon import Daemon, run_tests, wait_for  # noqa: E402
from watchers import Alertmanager  # noqa: E402

BINARY = sys.argv[1]
# A silence is set at once; after a failure, or a start, with the next minute.
NEXT_MINUTE = 100
SITE = """
[school]
name = "Test School"
[school.contact]
name = "IT office"
phone = "100"
[room]
id = "r101"
name = "Room 101"
[probe.call]
enabled = false
[probe.voice]
enabled = false
"""


def daemon_beside(alertmanager, folder=None):
    return Daemon(BINARY, f'{SITE}[bookings.silence]\nurl = "{alertmanager.url}"\n', folder=folder)


def book(daemon, *arguments):
    done = subprocess.run(daemon.command("bookings", *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def booked(daemon):
    """The key of a booking that the folder has taken."""
    book(daemon, "open", "routine", "please look at the room")
    requested = lambda: [one for one in daemon.bookings() if one["state"] == "requested"]
    return wait_for("a booking that was sent", requested)[0]["key"]


def only_silence(alertmanager, key):
    """Waits for the one active silence of ours."""
    ours = lambda: [one for one in alertmanager.silences() if one["createdBy"] == "bellwether"]
    found = wait_for("a silence", ours, NEXT_MINUTE)
    assert len(found) == 1, found
    matcher = {"name": "room", "value": "r101", "isRegex": False, "isEqual": True}
    assert found[0]["matchers"] == [matcher] and key in found[0]["comment"], found
    return found[0]


def no_silence(alertmanager):
    ours = lambda: [one for one in alertmanager.silences() if one["createdBy"] == "bellwether"]
    wait_for("the end of the silence", lambda: not ours(), NEXT_MINUTE)


def test_a_silence_is_there_while_the_window_is_open_and_gone_after():
    with Alertmanager() as alertmanager:
        alertmanager.start()
        # What others silence stays.
        of_others = {"matchers": [{"name": "room", "value": "r101", "isRegex": False, "isEqual": True}],
                     "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
                     "createdBy": "caretaker", "comment": "holidays"}
        caretakers = alertmanager.ask("silences", of_others)["silenceID"]
        alert = {"labels": {"alertname": "SlowPage", "room": "r101"}, "endsAt": "2099-01-01T00:00:00Z"}
        with daemon_beside(alertmanager) as daemon:
            key = booked(daemon)
            assert len(alertmanager.silences()) == 1, "nobody works yet"
            book(daemon, "start", key)
            silence = only_silence(alertmanager, key)
            assert daemon.metric("bellwether_in_maintenance") == 1
            request = urllib.request.Request(f"{alertmanager.url}/api/v2/alerts", json.dumps([alert]).encode(),
                                             {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=10).close()
            silenced = lambda: [one["status"]["silencedBy"] for one in alertmanager.ask("alerts")
                                if silence["id"] in one["status"]["silencedBy"]]
            wait_for("an alert that is silenced", silenced)
            book(daemon, "report", key, "done")
            no_silence(alertmanager)
            assert [one["id"] for one in alertmanager.silences()] == [caretakers]
            daemon.stop()


def test_an_alertmanager_that_is_away_holds_nothing_up_and_is_told_later():
    with Alertmanager() as alertmanager, daemon_beside(alertmanager) as daemon:
        key = booked(daemon)
        book(daemon, "start", key)
        wait_for("a warning", lambda: daemon.logged("silences for maintenance cannot be set"), NEXT_MINUTE)
        assert daemon.metric("bellwether_in_maintenance") == 1
        alertmanager.start()
        only_silence(alertmanager, key)
        wait_for("good news", lambda: daemon.logged("silences can be set again"))
        assert len([line for line in daemon.lines if "cannot be set" in line]) == 1, "said once"
        daemon.stop()


def test_a_kill_leaves_one_silence_and_a_start_ends_what_is_over():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-test-"))
    with Alertmanager() as alertmanager:
        alertmanager.start()
        with daemon_beside(alertmanager, folder) as daemon:
            key = booked(daemon)
            book(daemon, "start", key)
            first = only_silence(alertmanager, key)
            daemon.process.kill()
            daemon.process.wait()
        with daemon_beside(alertmanager, folder) as daemon:
            book(daemon, "note", key, "goes on")  # after it, the silences were looked at
            assert only_silence(alertmanager, key)["id"] == first["id"], "the same one"
            # Away while the work is reported, and the daemon is killed before it can tell.
            alertmanager.stop()
            book(daemon, "report", key, "done")
            wait_for("a warning", lambda: daemon.logged("silences for maintenance cannot be set"), NEXT_MINUTE)
            daemon.process.kill()
            daemon.process.wait()
        alertmanager.start()
        assert len(alertmanager.silences()) == 1, "kept over the stop"
        with daemon_beside(alertmanager, folder) as daemon:
            no_silence(alertmanager)
            assert [one["id"] for one in alertmanager.silences("expired")] == [first["id"]], "never a second one"
            daemon.stop()
    shutil.rmtree(folder)


run_tests(globals())
