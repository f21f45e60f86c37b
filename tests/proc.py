"""What /proc says of a process."""

import contextlib
import os
import pathlib

TICK = os.sysconf("SC_CLK_TCK")


def status(pid, key):
    """A size of /proc/PID/status, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def memory(pid):
    """MiB of memory: resident, and proportional, in which what processes share is divided among them."""
    sizes = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name] = int(size) / 1024
    return sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0)


def cpu(pid, of_children=False):
    """Seconds of processor time: its own, or of its children that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    user, system = (fields[13], fields[14]) if of_children else (fields[11], fields[12])
    return (int(user) + int(system)) / TICK


def children(pid):
    """Its children that live."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rsplit(")", 1)[1].split()[1] == str(pid):
                found.append(int(stat.parent.name))
    return found


def tree(pid):
    """It, and all that descends from it and lives."""
    found = [pid]
    for one in found:
        found += children(one)
    return found
