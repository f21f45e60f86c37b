#!/usr/bin/env python3
"""Upgrades a toy Debian package and looks at what is booked. Needs root: it installs packages, and gives
the daemon another kernel and another system to look at.

    debian.py BELLWETHER
"""

import pathlib
import platform
import subprocess
import sys
import tempfile

from daemon import Daemon, run_tests, wait_for

BINARY = sys.argv[1]
PACKAGE = "bellwether-toy-whiteboard"
CONFIG = f"""
[probe.call]
enabled = false
[probe.voice]
enabled = false
[probe.box]
enabled = false
[probe.versions.components.whiteboard]
deb = "{PACKAGE}"
"""


def install(version):
    with tempfile.TemporaryDirectory() as folder:
        control = pathlib.Path(folder, "DEBIAN", "control")
        control.parent.mkdir()
        control.write_text(f"Package: {PACKAGE}\nVersion: {version}\nArchitecture: all\n"
                           "Maintainer: bellwether <bellwether@localhost>\nDescription: toy package of a test\n")
        deb = pathlib.Path(folder, "toy.deb")
        run("dpkg-deb", "--build", "--root-owner-group", control.parent.parent, deb)
        run("dpkg", "--install", deb)


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def look_once(daemon, component, version):
    """Starts the daemon, waits until what it read is in the ledger and was sent, and stops it."""
    with daemon:
        known = f'bellwether_component_info{{component="{component}",version="{version}"}}'
        wait_for("the versions", lambda: daemon.metric(known))
        wait_for("the orders", lambda: not any(
            value for name, value in daemon.metrics().items()
            if name.startswith("bellwether_orders{") and ("pending" in name or "inflight" in name)))
        bookings = daemon.bookings()
        daemon.stop()
    return bookings


def test_an_upgrade_opens_one_check_with_old_and_new_version():
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(BINARY, CONFIG, folder=folder)
        try:
            install("2.3.9-1")
            assert look_once(daemon, "whiteboard", "2.3.9-1") == []
            install("2.4.0-1")
            bookings = look_once(daemon, "whiteboard", "2.4.0-1")
            assert [booking["kind"] for booking in bookings] == ["upgrade_check"], bookings
            change = bookings[0]["changes"][0]
            assert (change["component"], change["old"], change["new"], change["kind"]) == ("whiteboard", "2.3.9-1", "2.4.0-1", "minor")
            text = next(pathlib.Path(folder, "state", "bookings").glob("*/booking.txt")).read_text()
            assert "2.3.9-1" in text and "2.4.0-1" in text, text
            again = look_once(daemon, "whiteboard", "2.4.0-1")
            same = lambda booking: (booking["key"], booking["op_seq"], booking["changes"])
            assert [same(booking) for booking in again] == [same(booking) for booking in bookings], again
        finally:
            run("dpkg", "--purge", PACKAGE)


def test_another_kernel_and_another_system_open_nothing():
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(BINARY, CONFIG.split("[probe.versions")[0], folder=folder)
        kernel = platform.release()
        assert look_once(daemon, "kernel", kernel) == []
        release = pathlib.Path(folder, "os-release")
        release.write_text('NAME="Other"\nID=other\nVERSION_ID="99"\nPRETTY_NAME="Other 99"\n')
        mount = f"mount --bind {release} $(readlink -f /etc/os-release) && exec setarch --uname-2.6 \"$@\""
        daemon.wrapper = ["unshare", "--mount", "sh", "-c", mount, "sh"]
        assert look_once(daemon, "os", "Other 99") == []
        changed = [line for line in daemon.lines if "the version changed" in line]
        assert any("kernel" in line for line in changed) and any("os" in line for line in changed), daemon.lines


run_tests(globals())
