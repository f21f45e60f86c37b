"""What is wrong around the service: each gives one clear line that names the remedy, and the rest keeps working."""

from box import CONFIG, FAULT, NO_CALL, STATE, UNIT
from daemon import wait_for

SECRETS = "/etc/bellwether/credentials"
VENDOR = """[channel.vendor]
kind = "webhook"
url = "https://vendor.example/bookings"
secret_file = "/etc/bellwether/credentials/vendor"
"""


def check_secrets_are_given_by_systemd(box, _):
    # Root's alone: the service itself cannot read it.
    box.machine.write(f"{SECRETS}/vendor", "whsec_c2VjcmV0IG9mIHRoZSBib290IHRlc3Q=\n", 0o600, "root:root")
    box.configure(NO_CALL + FAULT + VENDOR)
    box.restart()
    mark = box.mark()
    box.reload()
    box.line(mark, "the config was read again")
    said = box.run(f"journalctl -u {UNIT} --no-pager; systemctl status {UNIT}; cat /proc/{box.pid()}/environ").stdout
    assert "c2VjcmV0" not in said and "c2VjcmV0" not in box.get("/metrics")


def check_a_secret_that_is_not_there_is_asked_for(box, _):
    box.configure(NO_CALL + FAULT + VENDOR.replace("credentials/vendor", "credentials/later"))
    pid, mark = box.pid(), box.mark()
    box.reload(check=False)
    line = box.line(mark, "channel.vendor.secret_file", "credentials/later")
    assert "systemctl restart bellwether" in line and "not taken" in "\n".join(box.said(mark)), line
    print(line.strip(), flush=True)
    assert box.pid() == pid and box.get("/-/ready")
    box.machine.write(f"{SECRETS}/later", "secret\n", 0o600, "root:root")
    box.restart()


def check_a_secret_that_others_can_read_is_refused(box, _):
    """By whoever sees the file: systemd's copy has no mode of its own."""
    box.run(f"chmod 644 {SECRETS}/later")
    said = box.run("bellwether check-config", check=False)
    assert said.returncode == 78 and "expected 0600" in said.stdout, said.stdout
    box.run(f"rm -r {SECRETS}")
    box.configure(NO_CALL + FAULT)
    # Without the folder, too.
    box.restart()
    box.run("systemd-tmpfiles --create")


def check_a_config_that_it_may_not_read_is_refused(box, _):
    box.machine.write(f"{CONFIG}/closed.toml", "[engine]\ncaution = \"high\"\n", 0o600, "root:root")
    pid, mark = box.pid(), box.mark()
    assert box.reload(check=False).returncode != 0
    line = box.line(mark, f"{CONFIG}/closed.toml", "Permission denied")
    assert "chgrp bellwether" in line, line
    print(line, flush=True)
    assert box.pid() == pid and box.get("/-/ready")
    mark = box.mark()
    assert box.run(f"systemctl restart {UNIT}", check=False).returncode != 0
    box.line(mark, f"{CONFIG}/closed.toml", "chgrp bellwether")
    assert box.property("ExecMainStatus") == "78" and box.property("ActiveState") == "failed"
    box.run(f"rm {CONFIG}/closed.toml")
    box.restart()


def check_a_state_that_is_not_its_own_is_said(box, _):
    box.run(f"systemctl stop {UNIT}; chown root: {STATE}/bellwether.db; chmod 600 {STATE}/bellwether.db")
    mark = box.mark()
    assert box.run(f"systemctl start {UNIT}", check=False).returncode != 0
    line = box.line(mark, STATE, "Permission denied")
    assert "give it to the user that runs bellwether" in line, line
    print(line, flush=True)
    assert box.property("ExecMainStatus") == "73" and box.property("ActiveState") == "failed"
    box.run(f"chown bellwether: {STATE}/bellwether.db")
    box.restart()


def check_what_root_imports_is_the_services(box, _):
    box.run(f"systemctl stop {UNIT}; mkdir /root/aside")
    box.bellwether("history export /root/history.jsonl")
    box.run(f"mv {STATE}/bellwether.db* /root/aside/")
    print(box.bellwether("history import /root/history.jsonl").stdout, flush=True)
    box.restart()
    box.run(f"systemctl stop {UNIT}; rm {STATE}/bellwether.db* /root/history.jsonl; mv /root/aside/* {STATE}/; rmdir /root/aside")
    box.restart()


def check_bookings_that_cannot_be_written_wait(box, _):
    """The folder of a channel is closed: its order waits, and nothing else does."""
    box.run(f"mv {STATE}/bookings /root/bookings; mkdir -m 755 {STATE}/bookings")
    mark = box.mark()
    box.run("bellwether bookings open routine --severity low test")
    line = box.line(mark, "bookings", "Permission denied", seconds=30)
    print(line, flush=True)
    assert "give it to the user that runs bellwether" in line, line
    assert box.get("/-/ready") and box.property("NRestarts") == "0"
    box.run(f"rmdir {STATE}/bookings; mv /root/bookings {STATE}/")
    box.restart()
    wait_for("the order", lambda: box.ledger("SELECT count(*) FROM orders WHERE state <> 'done'") == [(0,)], 90, 0.5)


def check_a_port_that_is_taken_keeps_nothing_else(box, _):
    box.run(f"systemctl stop {UNIT}; systemd-run -q --unit taker python3 -c 'import socket, time\n"
            "taken = socket.create_server((\"127.0.0.1\", 9642))\ntime.sleep(600)'")
    wait_for("the port to be taken", lambda: box.run("ss -Hltn sport = :9642").stdout.strip(), 10, 0.1)
    mark = box.mark()
    box.run(f"systemctl start {UNIT}")
    line = box.line(mark, "cannot listen on 127.0.0.1:9642")
    assert "[web] listen" in line, line
    print(line, flush=True)
    measured = lambda: box.ledger("SELECT count(*) FROM runs")[0][0]
    had = measured()
    wait_for("an inspection", lambda: measured() > had, 90, 0.5)
    box.run("systemctl stop taker")
    # It would be tried again within a minute; a reload tries at once.
    box.reload()
    box.line(mark, "listening on http://127.0.0.1:9642")
    assert box.get("/-/ready") and box.property("NRestarts") == "0"


def check_who_is_not_of_the_group_is_told(box, _):
    box.run("useradd --create-home teacher 2>/dev/null || true")
    said = box.run("runuser -u teacher -- bellwether quiet for 1h", check=False)
    assert said.returncode == 77 and "its group may" in said.stdout, said.stdout
    box.run("usermod --append --groups bellwether teacher; runuser -u teacher -- bellwether quiet for 1h; bellwether quiet off")
    box.run("gpasswd --delete teacher bellwether")
