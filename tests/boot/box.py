"""A machine with bellwether's package, and what a test asks of the two."""

import json
import pathlib
import re
import shutil
import sqlite3
import subprocess

from daemon import on_any_machine, wait_for

URL = "http://127.0.0.1:9642"
UNIT = "bellwether"
STATE = "/var/lib/bellwether"
CONFIG = "/etc/bellwether/conf.d"
DROP_INS = f"/run/systemd/system/{UNIT}.service.d"
# A site that says all that a booking needs, and measures the box alone.
SITE = """[school]
name = "Test School"
[school.contact]
name = "IT office"
phone = "100"
[room]
id = "r101"
name = "Room 101"
[site]
language = "en"
"""
NO_CALL = "[probe.call]\nenabled = false\n[probe.voice]\nenabled = false\n"
# A limit that nothing can keep: the first look at the box opens a booking.
FAULT = """[metrics.cpu_utilization]
limit = { enter = -1.0, clear = -2.0, bad = 1, of = 1, recover = 1 }
critical_limit = false
"""
BUILD = pathlib.Path(__file__).parents[2] / "packaging" / "build"


def packages(binary, folder):
    """The package, and the same as of a version before it: in the folders `now` and `earlier`."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("now", "earlier"):
        (folder / name).mkdir(parents=True)
    subprocess.run([BUILD, "deb", "--binary", binary, "--out", folder / "now"], check=True, stdout=subprocess.DEVNULL)
    made, = (folder / "now").glob("*.deb")
    subprocess.run(["dpkg-deb", "--raw-extract", made, folder / "tree"], check=True)
    control = folder / "tree" / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1~earlier", control.read_text()))
    # Hardly packed: that takes longest by far.
    subprocess.run(["dpkg-deb", "-Zxz", "-z0", "--root-owner-group", "--build", folder / "tree", folder / "earlier"], check=True,
                   stdout=subprocess.DEVNULL)
    shutil.rmtree(folder / "tree")
    return folder


class Box:
    """The machine, seen as its administrator sees it."""

    def __init__(self, machine):
        self.machine = machine
        self.run = machine.run

    # what listens

    def get(self, path):
        """What is served there; `None` if nothing is."""
        done = self.run(f"curl -sf -m 5 {URL}{path}", check=False)
        return done.stdout if done.returncode == 0 else None

    def metrics(self):
        """Samples of the page, by what stands before the value."""
        page = self.get("/metrics") or ""
        samples = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def metric(self, name):
        return self.metrics().get(name)

    def runs(self, probe):
        return self.metric(f'bellwether_probe_runs_total{{probe="{probe}"}}') or 0

    def wait_for_run(self, probe, seconds=30.0):
        """Waits until a probe has run since the daemon started."""
        wait_for(f"a run of {probe}", lambda: self.runs(probe) >= 1, seconds, 0.1)

    # the service

    def property(self, name, unit=UNIT):
        return self.run(f"systemctl show -P {name} {unit}").stdout.strip()

    def pid(self):
        """The daemon; 0 if there is none. Never to be killed without looking: 0 would be whoever kills."""
        return int(self.property("MainPID") or 0)

    def here(self):
        """The number of the daemon's process here."""
        pid = str(self.pid())
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                numbers = re.search(r"^NSpid:(.*)", status.read_text(), re.M)[1].split()
                if len(numbers) > 1 and numbers[-1] == pid and (status.parent / "root").samefile(self.machine.path("/")):
                    return int(status.parent.name)
            except OSError:
                pass
        raise AssertionError(f"there is no process {pid} in the machine")

    def kill(self, signal):
        pid = self.pid()
        assert pid > 1, "there is no daemon to be killed"
        self.run(f"kill -{signal} {pid}")
        return pid

    def restart(self):
        self.run(f"systemctl reset-failed {UNIT} || true; systemctl restart {UNIT}")
        assert self.get("/-/ready"), "it is active and not ready"

    def wait_for_another(self, pid, seconds=30.0):
        """Waits until another daemon than this one is ready."""
        wait_for("another daemon", lambda: self.pid() not in (0, pid) and self.property("ActiveState") == "active", seconds, 0.1)
        wait_for("its page", lambda: self.get("/-/ready"), 10, 0.1)

    def drop_in(self, text):
        """Changes the unit until it is changed again; nothing takes the change back."""
        if text:
            self.machine.write(f"{DROP_INS}/test.conf", text)
        else:
            self.run(f"rm -f {DROP_INS}/test.conf")
        self.run("systemctl daemon-reload")

    def configure(self, text, name="test.toml"):
        self.machine.write(f"{CONFIG}/{name}", on_any_machine(SITE + text))

    def reload(self, check=True):
        return self.run(f"systemctl reload {UNIT}", check=check)

    def as_the_service(self, command):
        """Runs a program with no more rights than the service has: its exit code, and what it said."""
        unit = self.run(f"systemctl cat {UNIT}.service").stdout
        unit = re.sub(r"(?m)^(Type|ExecStart|ExecReload|Restart|WatchdogSec|RuntimeDirectory\w*|NotifyAccess)=.*\n", "", unit)
        unit = unit.replace("[Service]\n", f"[Service]\nType=oneshot\nExecStart={command}\nStandardOutput=file:/run/said\n"
                            "StandardError=file:/run/said\n", 1)
        self.machine.write("/run/systemd/system/as-the-service.service", unit)
        self.run("rm -f /run/said; systemctl daemon-reload; systemctl start as-the-service || true")
        code = int(self.property("ExecMainStatus", "as-the-service"))
        said = self.run("cat /run/said; rm -f /run/said /run/systemd/system/as-the-service.service; "
                        "systemctl reset-failed as-the-service 2>/dev/null || true; systemctl daemon-reload").stdout
        return code, said

    # what it says

    def mark(self):
        """A place in the journal."""
        # Its lines come by a socket that is read in turn.
        self.run("journalctl --sync")
        shown = self.run("journalctl -n 0 --show-cursor --no-pager").stdout
        return re.search(r"cursor: (\S+)", shown)[1]

    def said(self, since):
        """Lines of the service, and of systemd about it, since a mark."""
        self.run("journalctl --sync")
        return self.run(f"journalctl -u {UNIT} --no-pager -o cat --after-cursor '{since}'").stdout.splitlines()

    def line(self, since, *parts, seconds=20.0):
        """Waits for a line that has all these; there must be one alone. Returns it."""
        find = lambda: [line for line in self.said(since) if all(part in line for part in parts)]
        try:
            found = wait_for(f"a line with {parts}", find, seconds, 0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: " + "\n".join(self.said(since))) from None
        assert len(found) == 1, f"it is said {len(found)} times: {found}"
        return found[0]

    # what it keeps

    def bellwether(self, arguments, check=True):
        """A command by hand on the service's state."""
        return self.run(f"bellwether --state {STATE} {arguments}", check=check)

    def bookings(self):
        return json.loads(self.bellwether("bookings list --json 2>/dev/null").stdout)

    def why(self, metric):
        found, = json.loads(self.bellwether(f"why {metric} --json 2>/dev/null").stdout)["series"]
        return found

    def ledger(self, query, path=f"{STATE}/bellwether.db"):
        """What the ledger answers, beside the running daemon."""
        database = sqlite3.connect(f"file:{self.machine.root}{path}?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def files(self):
        """All files of the machine's disk."""
        shown = self.run("find / -xdev -not -path '/tmp/*' -print", timeout=60).stdout
        return set(shown.splitlines())
