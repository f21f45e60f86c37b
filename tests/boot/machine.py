"""A machine with a real systemd that is up within a second: systemd-nspawn over a tree of Debian packages. The tree is
made once for each recipe, and kept as it is: what a test changes is gone with its machine."""

import contextlib
import ctypes
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PACKAGES = ["systemd", "systemd-sysv", "dbus", "udev", "iproute2", "iputils-ping", "curl", "procps", "netbase", "man-db",
            "python3", "ca-certificates",
            # a desktop's session with its sound, either of two
            "libpam-systemd", "dbus-user-session", "pipewire", "pipewire-pulse", "wireplumber", "libspa-0.2-modules",
            "pulseaudio", "pulseaudio-utils"]
# How nspawn ends where the machine wants to be started anew.
REBOOT = 133
PR_SET_PDEATHSIG = 1


def recipe(suite):
    return ["mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), suite, "root.tar"]


def suite():
    """Debian's name for what this system is, so that what is built here runs there."""
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release["VERSION_CODENAME"].strip('"')


def tree(folder):
    """The folder of the tree; made first, if there is none by this recipe."""
    command = recipe(suite())
    made = pathlib.Path(folder, hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]).resolve()
    if made.exists():
        return made
    begin = time.monotonic()
    making = made.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    (making / "root").mkdir(parents=True)
    with open(making / "log", "w") as log:
        done = subprocess.run(command, cwd=making, stdout=log, stderr=log)
    assert done.returncode == 0, (making / "log").read_text()[-3000:]
    subprocess.run(["tar", "-C", making / "root", "-xf", making / "root.tar"], check=True)
    (making / "root").rename(made)
    shutil.rmtree(making)
    print(f"tree made in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return made


def nspawn(root, *arguments):
    # Neither the manager of machines nor a bus is needed here. What the unit may do is the unit's to say, as elsewhere.
    return ["systemd-nspawn", "--quiet", "-D", root, "--register=no", "--keep-unit", "--private-network", "--console=pipe",
            "--system-call-filter=@memlock sched_getattr sched_setattr", *arguments]


class Groups:
    """Control groups of our own: two machines in one would each find the other's processes in theirs."""

    def __init__(self, name):
        mounts = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
        own = {}
        for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
            _, kind, path = line.split(":", 2)
            own[kind] = path.lstrip("/")
        self.folders = []
        for fields in mounts:
            kind = fields[fields.index("-") + 1]
            key = "" if kind == "cgroup2" else "name=systemd" if "name=systemd" in fields[-1].split(",") else None
            if kind.startswith("cgroup") and key in own:
                self.folders.append(pathlib.Path(fields[4], own[key], name))
        for folder in self.folders:
            folder.mkdir()

    def enter(self):
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        for folder in self.folders:
            for below, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(below)


class Machine:
    """A running machine; `with` boots it and makes sure that it is gone after. Its network is its own: only `lo`."""

    def __init__(self, tree, folder):
        self.tree, self.parent = tree, folder
        self.process = self.leader = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.parent)).resolve()
        for name in ("changes", "work", "root"):
            (self.folder / name).mkdir()
        self.root = self.folder / "root"
        self.groups = None
        try:
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                            f"lowerdir={self.tree},upperdir={self.folder}/changes,workdir={self.folder}/work", self.root],
                           check=True)
            self.groups = Groups(f"bellwether-{self.folder.name}")
            self.boot()
        except BaseException:
            self._gone()
            raise
        return self

    def boot(self):
        """Boots, and waits until all is started."""
        def prepare():
            # Whatever becomes of us, the machine does not stay.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            self.groups.enter()

        with open(self.folder / "console", "ab") as console:
            self.process = subprocess.Popen(nspawn(self.root, "--boot"), stdin=subprocess.DEVNULL, stdout=console,
                                            stderr=console, preexec_fn=prepare,
                                            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        end = time.monotonic() + 60
        while not self._is_up():
            if time.monotonic() > end or self.process.poll() is not None:
                console = (self.folder / "console").read_text(errors="replace")[-3000:]
                raise AssertionError(f"the machine did not come up; its console: {console}")
            time.sleep(0.05)
        self.run("ip link set lo up")

    def _is_up(self):
        try:
            below = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.leader = next((int(pid) for pid in below
                                if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n"), None)
        except OSError:
            return False
        if not self.leader:
            return False
        state = self.run("systemctl is-system-running", check=False, stderr=subprocess.DEVNULL).stdout.strip()
        return state in ("running", "degraded")

    def reboot(self):
        self.run("systemctl reboot", check=False)
        code = self.process.wait(60)
        assert code == REBOOT, f"the machine ended with {code} instead of booting again"
        self.boot()

    def inside(self, *command):
        """The command here that runs a command there."""
        return ["nsenter", "--target", str(self.leader), "--all", "--", *map(str, command)]

    def run(self, script, check=True, **options):
        """Runs a script of the shell there, as root in root's home, and waits for it; what it said."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True,
                   "timeout": 120, **options}
        home = {"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(self.inside("sh", "-ec", f"cd /root\n{script}"), env=home, **options)
        assert not check or done.returncode == 0, f"{script}\nended with {done.returncode}:\n{done.stdout}"
        return done

    def path(self, path):
        """Where a file of the machine is found here, whatever is mounted there."""
        return pathlib.Path(f"/proc/{self.leader}/root{path}")

    def write(self, path, text, mode=0o644, owner=None):
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        if owner:
            self.run(f"chown {owner} {path}")

    def _gone(self):
        if self.process and self.process.poll() is None:
            # Nothing of it is kept, so it need not stop in order. All its processes end with its first one.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader or self.process.pid, signal.SIGKILL)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        subprocess.run(["umount", self.root], stderr=subprocess.DEVNULL)
        if self.groups:
            self.groups.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *_):
        self._gone()


def main():
    """Makes the tree in a folder, boots it once, and says why that cannot be, if so."""
    folder = pathlib.Path(sys.argv[1]).resolve()
    try:
        with Machine(tree(folder), folder):
            pass
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"no machine with systemd runs here: {error}")


if __name__ == "__main__":
    main()
