"""The life of an installation: from the first scrape to the last file, by the commands of the operating guide."""

import pathlib
import re
import shutil
import time

import guide
from box import CONFIG, FAULT, NO_CALL, STATE, UNIT
from daemon import wait_for
from proc import memory, tree

# Seconds from the beginning of the installation to the first scrape, of the package that is shipped.
FIRST_SCRAPE = 5.0
# How exposed the unit may be, and with one of its drop-ins, as systemd counts.
EXPOSURE, EXPOSURE_WITH = 1.3, 1.5
DATABASES = pathlib.Path(__file__).parents[2] / "agent" / "tests" / "databases"
ECHO_REQUEST = """import socket
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
echo.settimeout(2)
echo.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]), ("127.0.0.1", 0))
assert echo.recv(64)[0] == 0
print("answered")
"""
# What no package of ours made: logs and caches of the package manager, of the journal and of who logged in.
NOT_OURS = re.compile(r"/(var/log/(apt|dpkg|journal|alternatives|wtmp|lastlog|btmp)|var/lib/(apt|dpkg)(/|$)|var/cache/"
                      r"|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|root/|run/|dev/|proc/|sys/"
                      r"|var/tmp/systemd-private-[0-9a-f]+-systemd-)")


def deb(folder):
    found, = folder.glob("bellwether_*.deb")
    return found


def check_install_is_one_command(box, packages):
    """The guide's own. The package of an earlier version stands where the guide's is, and is upgraded later."""
    wanted = re.search(r"\S*bellwether_\S+\.deb", guide.blocks("Debian and Ubuntu")[0])[0].removeprefix("./")
    assert wanted == deb(packages / "now").name, f"the guide installs {wanted}"
    box.wanted = wanted
    box.before = box.files()
    shutil.copy(deb(packages / "earlier"), box.machine.path(f"/root/{wanted}"))
    begin = time.monotonic()
    first, *rest = guide.blocks("Debian and Ubuntu")[0].splitlines()
    box.run(first)
    wait_for("the first scrape", lambda: box.get("/metrics"), 60, 0.02)
    took = time.monotonic() - begin
    print(f"install to first scrape: {took:.2f} s (bound {FIRST_SCRAPE:.0f} s)", flush=True)
    assert took <= FIRST_SCRAPE or box.is_debug, f"{took:.2f} s from installation to the first scrape"
    print(box.run("\n".join(rest)).stdout, flush=True)
    assert box.property("ActiveState") == "active" and box.property("SubState") == "running"
    assert box.get("/-/ready") and box.get("/-/healthy")
    assert box.property("UnitFileState") == "enabled"


def check_without_a_config_it_runs_and_says_what_is_missing(box, _):
    said = box.run(f"journalctl -u {UNIT} -o cat --no-pager").stdout.splitlines()
    lacking = [line for line in said if "bookings are incomplete" in line]
    assert len(lacking) == 1, said
    for key in ("school.name", "room.name", "school.contact.name", "school.contact.phone", "/etc/bellwether/bellwether.toml"):
        assert key in lacking[0], lacking[0]
    print(lacking[0], flush=True)


def check_the_first_inspection_is_done_within_half_of_the_memory(box, _):
    limit = int(box.property("MemoryMax")) / 2**20
    daemon, largest = box.here(), 0.0

    def inspected():
        nonlocal largest
        total = 0.0
        for process in tree(daemon):
            try:
                total += memory(process)[1]
            except OSError:
                pass
        largest = max(largest, total)
        return all(box.metric(f'bellwether_probe_success{{probe="{probe}"}}') == 1 for probe in ("box", "versions", "call"))

    wait_for("the first inspection", inspected, 60, 0.1)
    metrics = box.metrics()
    assert metrics['bellwether_media_success{probe="call"}'] == 1
    assert metrics["bellwether_commit_failures_total"] == 0
    for name in ("cpu_utilization", "memory_utilization", "load_average"):
        assert any(series.startswith(f"bellwether_{name}") for series in metrics), f"{name} is not measured"
    print(f"memory during a call (PSS of all processes): {largest:.1f} MiB of {limit:.0f} MiB; half is {limit / 2:.0f} MiB"
          + (", with a debug build" if box.is_debug else ""), flush=True)
    assert largest <= limit / 2 or box.is_debug, f"{largest:.1f} MiB of {limit:.0f}"


def check_the_unit_is_sound_and_little_exposed(box, _):
    assert not (said := box.run(f"systemd-analyze verify {UNIT}.service").stdout), said
    drop_ins = {"as installed": None, "processes.conf": EXPOSURE_WITH, "alsa.conf": EXPOSURE_WITH}
    for name, bound in drop_ins.items():
        if bound:
            box.run(f"install -D -m 644 /usr/share/doc/bellwether/examples/{name} "
                    f"/etc/systemd/system/{UNIT}.service.d/{name}\nsystemctl daemon-reload")
        shown = box.run(f"systemd-analyze security --no-pager {UNIT}.service").stdout.splitlines()[-1]
        box.run(f"rm -rf /etc/systemd/system/{UNIT}.service.d\nsystemctl daemon-reload")
        exposure = float(re.search(r"([0-9.]+) [A-Z]+", shown)[1])
        print(f"exposure, {name}: {exposure} (bound {bound or EXPOSURE})", flush=True)
        assert exposure <= (bound or EXPOSURE), shown


def check_echo_requests_need_no_right(box, _):
    """A program with no more rights than the service sends an echo request, and is answered."""
    box.machine.write("/usr/local/bin/echo-request", ECHO_REQUEST)
    code, said = box.as_the_service("/usr/bin/python3 /usr/local/bin/echo-request")
    assert (code, said) == (0, "answered\n"), said
    box.run("sysctl -qw net.ipv4.ping_group_range='1 0'")
    code, said = box.as_the_service("/usr/bin/python3 /usr/local/bin/echo-request")
    assert code != 0, f"it is let in whatever the kernel is told, so that nothing was proven: {said}"
    box.run("/lib/systemd/systemd-sysctl --prefix=net.ipv4.ping_group_range; rm /usr/local/bin/echo-request")


def check_the_first_config_of_the_guide_is_good(box, _):
    for number, text in enumerate(guide.blocks("First config in five minutes", "toml")):
        box.machine.write(f"{CONFIG}/guide-{number}.toml", text)
    said = box.run("bellwether check-config").stdout
    assert "the config is good" in said and "missing" not in said, said
    box.run(f"rm {CONFIG}/guide-*")


def check_killed_it_comes_back_with_nothing_lost(box, _):
    box.configure(NO_CALL + FAULT)
    box.reload()
    wait_for("a booking", box.bookings, 90, 0.2)
    wait_for("its file", lambda: box.run(f"ls {STATE}/bookings", check=False).stdout.strip(), 20, 0.2)
    before, = box.bookings()
    pid = box.kill("KILL")
    box.wait_for_another(pid)
    assert box.property("NRestarts") == "1"
    box.wait_for_run("box", 90)
    after, = box.bookings()
    assert after["key"] == before["key"] and after["opened_at"] == before["opened_at"], (before, after)
    assert box.ledger("SELECT count(*) FROM orders WHERE operation = 'open'") == [(1,)]


def check_stuck_it_is_started_anew(box, _):
    box.drop_in("[Service]\nWatchdogSec=4\n")
    box.restart()
    mark = box.mark()
    time.sleep(9)
    assert box.property("NRestarts") == "0", "the watchdog is not fed"
    pid = box.kill("STOP")
    box.wait_for_another(pid)
    box.line(mark, "Watchdog timeout")
    box.drop_in(None)
    box.restart()


def check_a_bad_config_is_refused_and_the_old_one_lives(box, _):
    pid, mark = box.pid(), box.mark()
    box.machine.write(f"{CONFIG}/bad.toml", "[room]\nnaem = 1\n")
    assert box.reload(check=False).returncode != 0, "systemctl says that it was reloaded"
    box.line(mark, f"{CONFIG}/bad.toml:1", "room")
    # And where nobody looked before.
    mark = box.mark()
    box.kill("HUP")
    box.line(mark, "the config was read again and not taken", f"{CONFIG}/bad.toml:1")
    assert box.pid() == pid and box.get("/-/ready")
    assert box.metric("bellwether_config_last_reload_successful") == 0
    assert box.bookings(), "the old config is gone"


def check_with_a_bad_config_it_does_not_start_and_is_not_tried_again(box, _):
    mark = box.mark()
    assert box.run(f"systemctl restart {UNIT}", check=False).returncode != 0
    time.sleep(3)
    assert box.property("ActiveState") == "failed" and box.property("NRestarts") == "0", box.said(mark)
    assert box.property("ExecMainStatus") == "78"
    box.line(mark, f"{CONFIG}/bad.toml:1")
    box.run(f"rm {CONFIG}/bad.toml")
    box.restart()


def check_a_reboot_keeps_state_judge_and_bookings(box, _):
    box.wait_for_run("box", 90)
    box.run("bellwether quiet for 2h")
    samples = lambda: int(box.bellwether("history export | wc -l").stdout.split()[-1])
    before, judged, had = box.bookings(), box.why("cpu_utilization"), samples()
    box.machine.reboot()
    wait_for("the service", lambda: box.get("/-/ready"), 20, 0.1)
    assert [booking["key"] for booking in box.bookings()] == [booking["key"] for booking in before]
    assert box.why("cpu_utilization")["limits"]["since"] == judged["limits"]["since"], "the judge has forgotten"
    assert samples() >= had
    assert box.metric("bellwether_quiet") == 1
    assert box.property("NRestarts") == "0"
    box.run("bellwether quiet off")


def check_an_upgrade_keeps_state_and_asks_nothing(box, packages):
    version = lambda: box.run("dpkg-query -W -f='${Version}' bellwether").stdout
    before, pid, was = box.bookings(), box.pid(), version()
    # What the site changed in the package's own file, and nobody there to be asked.
    box.run("echo '# as the site wants it' >>/etc/bellwether/bellwether.toml")
    shutil.copy(deb(packages / "now"), box.machine.path(f"/root/{box.wanted}"))
    said = box.run(guide.blocks("Upgrade")[0]).stdout
    assert version() != was, f"it is still {was}: {said}"
    assert "onffiguration file" not in said and "bellwether.toml" not in said, said
    box.wait_for_another(pid)
    assert [booking["key"] for booking in box.bookings()] == [booking["key"] for booking in before]
    box.run("grep -q 'as the site wants it' /etc/bellwether/bellwether.toml")
    copies = box.run("ls /var/backups/bellwether").stdout.split()
    assert len(copies) == 1, copies
    print(f"upgraded from {was} to {version()}", flush=True)


def check_ledgers_of_every_earlier_schema_are_upgraded(box, _):
    stored = sorted(DATABASES.glob("v*.db"))
    newest, = box.ledger("PRAGMA user_version")[0]
    assert [path.name for path in stored] == [f"v{number}.db" for number in range(1, newest + 1)], f"{stored}, schema {newest}"
    box.run(f"systemctl stop {UNIT}; mkdir /root/aside; mv {STATE}/bellwether.db* /root/aside/")
    for path in stored:
        shutil.copy(path, box.machine.path(f"{STATE}/bellwether.db"))
        box.run(f"chown bellwether: {STATE}/bellwether.db")
        had = set(box.ledger("SELECT key FROM bookings"))
        box.run(f"systemctl start {UNIT}")
        assert box.ledger("PRAGMA user_version") == [(newest,)]
        assert had and had <= set(box.ledger("SELECT key FROM bookings")), f"{path.name}: bookings are gone"
        box.run(f"systemctl stop {UNIT}; rm -f {STATE}/bellwether.db*; rm -rf {STATE}/bookings")
    box.run(f"mv /root/aside/* {STATE}/; rmdir /root/aside")
    box.restart()


def check_a_backup_is_whole_and_can_be_gone_back_to(box, _):
    save, back = guide.blocks("Backup")[:2]
    keys = "SELECT key, state FROM bookings ORDER BY key"
    before, listed = box.ledger(keys), box.bookings()
    assert before and listed
    box.run(save)
    copy = box.run("ls -t /var/backups/bellwether/ledger-*.db").stdout.split()[0]
    assert box.ledger("PRAGMA integrity_check", copy) == [("ok",)]
    assert box.ledger(keys, copy) == before
    box.run(f"systemctl stop {UNIT}; rm {STATE}/bellwether.db*")
    box.run(back)
    assert [booking["key"] for booking in box.bookings()] == [booking["key"] for booking in listed]


def check_removal_keeps_the_state(box, _):
    remove, box.purge = guide.blocks("Remove")[:2]
    pid = box.pid()
    box.run(remove)
    assert not box.machine.path(f"/proc/{pid}").exists() and not box.machine.path("/usr/bin/bellwether").exists()
    assert box.machine.path(f"{STATE}/bellwether.db").exists() and box.machine.path(f"{CONFIG}/test.toml").exists()


def check_purged_no_file_is_left(box, _):
    box.run(box.purge)
    # What the test itself has put there, and what the guide had the site write for its sound server.
    box.run("systemctl daemon-reload; for user in teacher classroom; do id -u $user >/dev/null 2>&1 || continue; "
            "pkill -KILL -u $user || true; sleep 0.5; userdel --remove $user; done; "
            "rm -rf /var/lib/systemd/linger/* /etc/pulse/default.pa.d /etc/pipewire/pipewire-pulse.conf.d /etc/pipewire")
    left = sorted(path for path in box.files() - box.before if not NOT_OURS.match(path))
    assert not left, f"left: {left}"
    # A manual page that was read is kept by man-db for a while.
    named = box.run("find / -xdev -iname '*bellwether*' -not -path '/var/log/journal/*' -not -path '/var/cache/man/*' "
                    f"-not -path '/root/{box.wanted}'").stdout.split()
    assert not named, f"left: {named}"
    assert not box.run("ls /run | grep bellwether; ls /run/systemd/system | grep bellwether", check=False).stdout
    assert "/usr/sbin/nologin" in box.run("getent passwd bellwether || echo /usr/sbin/nologin").stdout, "it can log in"
