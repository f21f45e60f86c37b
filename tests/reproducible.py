#!/usr/bin/env python3
"""Builds the packages from two clean clones, from scratch, in folders of different names: both have to be the same bytes.
Prints their size, and the C library that the program needs."""

import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from promised import bar, end

MIB = 1024 * 1024


def build(clone):
    """The packages, by name, and the program."""
    environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
    begin = time.monotonic()
    subprocess.run([clone / "packaging/build"], env=environment, stdout=subprocess.DEVNULL, check=True)
    print(f"built in {time.monotonic() - begin:.0f} s", flush=True)
    made = {path.name: path.read_bytes() for path in (clone / "target/packages").iterdir()}
    return made, clone / "target/package/tree/usr/bin/bellwether"


def glibc(program):
    """The newest version of a symbol that it needs."""
    text = subprocess.run(["objdump", "-T", program], check=True, capture_output=True, text=True).stdout
    return max(tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([\d.]+)", text))


def main():
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"{revision}, {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(suffix="-by-another-name") as other:
        clones = [pathlib.Path(folder, "bellwether") for folder in (one, other)]
        for clone in clones: # both now: somebody may commit while the first is built
            subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
        (first, program), (second, _) = map(build, clones)
        places = [place.encode() for place in (one, os.path.expanduser("~/.cargo"))]
        told = [place for place in places if place in program.read_bytes()]
        needs = glibc(program)
    for name in sorted(first):
        bar(name, f"{len(first[name]) / MIB:.2f} MiB", "at most 8 MiB", len(first[name]) <= 8 * MIB)
        bar("  SHA-256", hashlib.sha256(first[name]).hexdigest()[:12], "the same from another folder",
            first[name] == second.get(name))
    bar("paths of this machine in the program", str(len(told)), "none", not told)
    bar("glibc that it needs", ".".join(map(str, needs)), "", None)
    if len(first) != 2:
        sys.exit(f"expected two packages, found {sorted(first)}")
    end()


main()
