"""Sound for a system service: by a second socket of a user's own session, as the operating guide sets it up."""

import json

import guide
from box import NO_CALL, UNIT
from session import SOCKET, USER, Room, Session
from daemon import wait_for
from servers import SPEAKER, PipeWire, PulseAudio

# No lesson in sight: what is heard may be measured at any time.
FREE = """[timetable]
bells = [{ periods = ["08:00-08:45"] }]
[[timetable.term]]
name = "past"
first_day = "2026-03-02"
weeks = 1
lessons = ["Mon 1: physics"]
"""
# How often a look that says that sound slipped, which a busy box does, is made again.
ATTEMPTS = 4


def probe(ear):
    return (f'[probe.echo]\nloudspeaker = "{SPEAKER}"\nmicrophone = "{ear}"\nschedule = "* * * * *"\ntimeout = "45 s"\n')


def look(box):
    """What `inspect echo` finds with no more rights than the service."""
    code, said = box.as_the_service("/usr/bin/bellwether inspect echo --json")
    found = json.loads(said[said.index("{"):said.rindex("}") + 1])
    run, = found["runs"]
    values = {reading["metric"]: reading["value"] for reading in found["readings"] if reading["validity"] == "ok"}
    return run, values


def heard(box):
    """Whether an echo is measured with no more rights than the service."""
    for _ in range(ATTEMPTS):
        run, values = look(box)
        assert run["failure"] is None, run["failure"]
        if "echo_return_loss" in values:
            return values
        print(f"not measured: {run['inconclusive']}, {run['absent']}", flush=True)
    raise AssertionError(f"no echo in {ATTEMPTS} looks: this box is too busy")


def check_what_the_service_does_not_see_and_hear_it_says(box, _):
    """Neither a session's sound, as there is none, nor what other users run."""
    box.run("systemd-run -q --unit lesson --uid teacher sleep 600")
    box.configure(NO_CALL + FREE + probe(PipeWire.ear) + '[occupied]\nprocesses = ["sleep"]\n')
    box.restart()
    mark = box.mark()
    box.wait_for_run("echo", 150)
    line = box.line(mark, "the run failed", 'probe="echo"')
    for word in ("no_server", SOCKET, "log in to the desktop", "group bellwether-audio"):
        assert word in line, line
    print(line.strip(), flush=True)
    print(box.line(mark, "does not let us see whether the room is in use", "processes of other users are hidden").strip(), flush=True)
    assert box.metric('bellwether_occupied_unseen{component="process",reason="not_permitted"}') == 1
    assert box.get("/-/ready") and box.runs("box") >= 1
    # Nor is there sound where the folder of the socket does not let it in.
    box.run("chown root: /run/bellwether-audio; chmod 700 /run/bellwether-audio")
    run, _ = look(box)
    assert run["failure"]["reason"] == "not_permitted" and "systemd-tmpfiles --create" in run["failure"]["detail"], run
    print(run["failure"]["detail"], flush=True)
    box.run("systemd-tmpfiles --create")


def check_with_the_drop_in_it_sees_what_others_run(box, _):
    box.run("install -D -m 644 /usr/share/doc/bellwether/examples/processes.conf "
            f"/etc/systemd/system/{UNIT}.service.d/processes.conf\nsystemctl daemon-reload")
    box.restart()
    held = 'bellwether_probe_skipped_total{probe="echo",reason="occupied"}'
    wait_for("the program to be seen", lambda: (box.metric(held) or 0) >= 1, 150, 0.5)
    box.run(f"systemctl stop lesson; rm -r /etc/systemd/system/{UNIT}.service.d; systemctl daemon-reload")
    box.configure(NO_CALL + FREE + probe(PipeWire.ear))
    box.restart()


def check_pipewire_of_a_session_is_heard_by_the_service(box, _):
    box.run(f"useradd --create-home {USER}")
    # Of the guide's block, what makes the two servers open a socket; both are installed here.
    set_up, = (block for block in guide.blocks("Sound") if "pipewire-pulse.conf.d" in block)
    box.run(set_up)
    with Session(box, PipeWire) as session, Room(session):
        print(f"{session.name}: {heard(box)}", flush=True)
        mark = box.mark()
        uses = 'bellwether_microphone_uses_total{probe="echo"}'
        before = box.metric(uses)
        wait_for("the service to listen", lambda: box.metric(uses) > before, 150, 0.5)
        wait_for("the line", lambda: any("the microphone of the room was listened to" in line for line in box.said(mark)), 20, 0.5)
        failed = [line for line in box.said(mark) if "the run failed" in line]
        assert not failed, failed
        # Nobody else gets in.
        assert box.run(f"runuser -u nobody -- ls {SOCKET}", check=False).returncode != 0


def check_pulseaudio_of_a_session_is_heard_by_the_service(box, _):
    box.configure(NO_CALL + FREE + probe(PulseAudio.ear))
    with Session(box, PulseAudio) as session, Room(session):
        print(f"{session.name}: {heard(box)}", flush=True)
    box.run(f"loginctl disable-linger {USER}; loginctl terminate-user {USER} || true; rm /usr/local/bin/room.py")
    box.configure(NO_CALL)
    box.restart()
