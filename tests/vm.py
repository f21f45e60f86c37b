"""A virtual machine with Debian's own kernel, for what needs one: sound cards that are not there, for example.

Its image is made from Debian packages only, once for each recipe, and kept. What a test changes in it is
gone when the machine stops."""

import contextlib
import hashlib
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PACKAGES = ["systemd", "systemd-sysv", "dbus", "udev", "iproute2", "kmod", "procps", "openssh-server", "alsa-utils",
            "initramfs-tools", "zstd", "linux-image-amd64"]
# Not needed here, and most of the image.
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"] + [
    f"/lib/modules/*/kernel/{part}/*" for part in (
        "drivers/gpu", "drivers/net/wireless", "drivers/net/ethernet", "drivers/media", "drivers/infiniband",
        "drivers/scsi", "drivers/iio", "drivers/staging", "fs/xfs", "fs/btrfs", "net/bluetooth")]
# Started at every boot, of no use here, and slow where the processor is emulated.
MASKED = ["e2scrub_reap.service", "getty@tty1.service", "serial-getty@ttyS0.service", "apt-daily.timer",
          "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "dev-hugepages.mount",
          "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-pstore.service", "alsa-restore.service",
          "alsa-state.service", "systemd-networkd-wait-online.service"]
KERNEL = ("root=/dev/vda rw console=ttyS0 quiet loglevel=3 mitigations=off nokaslr audit=0 apparmor=0 "
          "fsck.mode=skip systemd.show_status=0 " + " ".join(f"systemd.mask={unit}" for unit in MASKED))
# How long a machine may take to let us in: of itself, and with an emulated processor on a busy box.
KVM_SECONDS, EMULATED_SECONDS = 15, 600


def run(*command, **options):
    subprocess.run(list(map(str, command)), check=True, **options)


def recipe(suite):
    """The command that makes the tree; hooks are run by it in the folder of the image."""
    hooks = {
        "essential": [
            'mkdir -p "$1/etc/initramfs-tools/conf.d"; '
            'printf "MODULES=list\\nCOMPRESS=zstd\\n" >"$1/etc/initramfs-tools/conf.d/vm"; '
            'printf "virtio_pci\\nvirtio_blk\\next4\\n" >"$1/etc/initramfs-tools/modules"'],
        "customize": [
            'printf "/dev/vda / ext4 defaults,noatime 0 1\\n" >"$1/etc/fstab"; echo room >"$1/etc/hostname"',
            'mkdir -m 700 -p "$1/root/.ssh"; cp key.pub "$1/root/.ssh/authorized_keys"; chroot "$1" passwd -d root',
            'printf "[Match]\\nName=en*\\n[Network]\\nDHCP=yes\\n" >"$1/etc/systemd/network/10-en.network"; '
            'chroot "$1" systemctl enable systemd-networkd',
            'cp "$1"/boot/vmlinuz-* vmlinuz; cp "$1"/boot/initrd.img-* initrd'],
    }
    return (["mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES)]
            + [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
            + [f"--{kind}-hook={hook}" for kind, commands in hooks.items() for hook in commands]
            + [suite, "root.tar"])


def image(folder, suite):
    """The folder of the image; made first, if there is none by this recipe."""
    command = recipe(suite)
    made = pathlib.Path(folder, hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]).resolve()
    if made.exists():
        return made
    begin = time.monotonic()
    making = made.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key", cwd=making)
    with open(making / "log", "w") as log:
        try:
            run(*command, cwd=making, stdout=log, stderr=log)
        except subprocess.CalledProcessError:
            print((making / "log").read_text()[-3000:])
            raise
    with tempfile.TemporaryDirectory(dir=making) as tree:
        run("tar", "-C", tree, "-xf", making / "root.tar")
        run("mke2fs", "-q", "-t", "ext4", "-F", "-d", tree, making / "disk", "2G")
    (making / "root.tar").unlink()
    making.rename(made)
    print(f"image made in {time.monotonic() - begin:.0f} s")
    return made


class Machine:
    """A running machine; `with` starts it and makes sure that it is gone after."""

    def __init__(self, image):
        self.image = image
        self.process = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-vm-"))
        begin = time.monotonic()
        # Some boxes offer a KVM on which no ordinary kernel comes up.
        is_offered = os.access("/dev/kvm", os.W_OK) and any(
            word in pathlib.Path("/proc/cpuinfo").read_text().split() for word in ("vmx", "svm"))
        tries = [("kvm", KVM_SECONDS)] if is_offered else []
        tries.append(("tcg,thread=multi,tb-size=256", EMULATED_SECONDS))
        for accelerator, seconds in tries:
            self._start(accelerator)
            if self._answers(seconds):
                self.accelerator = accelerator.split(",")[0]
                print(f"booted by {self.accelerator} in {time.monotonic() - begin:.0f} s")
                return self
            self._stop()
        console = (self.folder / "console").read_text(errors="replace")[-3000:]
        shutil.rmtree(self.folder)
        raise AssertionError(f"the machine did not come up within {EMULATED_SECONDS} s; its console: {console}")

    def _start(self, accelerator):
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen([
            "qemu-system-x86_64", "-M", "q35", "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", "1024",
            "-nodefaults", "-no-user-config", "-display", "none", "-kernel", self.image / "vmlinuz",
            "-initrd", self.image / "initrd", "-append", KERNEL,
            "-drive", f"file={self.image}/disk,format=raw,if=virtio,cache=unsafe,snapshot=on",
            "-device", "virtio-rng-pci", "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
            "-device", "virtio-net-pci,netdev=net,romfile=", "-serial", f"file:{self.folder}/console"],
            stdin=subprocess.DEVNULL, start_new_session=True)
        # One connection for all commands: a new one takes seconds where the processor is emulated.
        self.ssh = ["-i", self.image / "key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                    "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "-o", "ControlMaster=auto",
                    "-o", f"ControlPath={self.folder}/control", "-o", "ControlPersist=yes"]
        self.port = port

    def _answers(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                left = max(1.0, end - time.monotonic())
                if self.run("true", check=False, timeout=left, stderr=subprocess.DEVNULL).returncode == 0:
                    return True
            time.sleep(1)
        return False

    def command(self, command):
        """The command here that runs a command there."""
        return ["ssh", *map(str, self.ssh), "-p", str(self.port), "root@127.0.0.1", command]

    def run(self, command, check=True, **options):
        """Runs a command of the shell there, and waits for it."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True, "timeout": 300, **options}
        return subprocess.run(self.command(command), check=check, **options)

    @contextlib.contextmanager
    def running(self, command, until=None):
        """A command there that runs meanwhile; it begins once it has printed a line with `until`."""
        # With a terminal of its own, it ends when its connection does.
        process = subprocess.Popen(self.command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if until:
                assert any(until in line for line in process.stdout), f"{command} ended before it said {until}"
            yield process
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def copy(self, path, name):
        run("scp", "-q", *self.ssh, "-P", self.port, path, f"root@127.0.0.1:{name}")

    def _stop(self):
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __exit__(self, *_):
        subprocess.run(["ssh", *map(str, self.ssh), "-O", "exit", "-p", str(self.port), "root@127.0.0.1"],
                       stderr=subprocess.DEVNULL, check=False)
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def quoted(*words):
    return " ".join(shlex.quote(str(word)) for word in words)
