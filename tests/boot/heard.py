"""Sound for a system service: by a second socket of a user's own session, as the operating guide sets it up."""

import json

import guide
from box import NO_CALL
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


def check_without_a_session_it_says_what_would_help(box, _):
    box.configure(NO_CALL + FREE + probe(PipeWire.ear))
    box.restart()
    mark = box.mark()
    box.wait_for_run("echo", 150)
    line = box.line(mark, "the run failed", 'probe="echo"')
    for word in ("no_server", SOCKET, "log in to the desktop", "group bellwether-audio"):
        assert word in line, line
    print(line.strip(), flush=True)
    box.wait_for_run("box", 90)
    # Nor where the folder does not let it in.
    box.run("chown root: /run/bellwether-audio; chmod 700 /run/bellwether-audio")
    run, _ = look(box)
    assert run["failure"]["reason"] == "not_permitted" and "systemd-tmpfiles --create" in run["failure"]["detail"], run
    print(run["failure"]["detail"], flush=True)
    box.run("systemd-tmpfiles --create")


def check_pipewire_of_a_session_is_heard_by_the_service(box, _):
    box.run(f"useradd --create-home {USER}")
    box.run(next(block for block in guide.blocks("Sound") if "pipewire-pulse.conf.d" in block))
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
    box.run(next(block for block in guide.blocks("Sound") if "pulse/default.pa.d" in block))
    box.configure(NO_CALL + FREE + probe(PulseAudio.ear))
    with Session(box, PulseAudio) as session, Room(session):
        print(f"{session.name}: {heard(box)}", flush=True)
    box.run(f"loginctl disable-linger {USER}; loginctl terminate-user {USER} || true")
    box.configure(NO_CALL)
    box.restart()
