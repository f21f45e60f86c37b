#!/usr/bin/env python3
"""Reads `cargo metadata` from standard input: every dependency must be under a licence that the project
may ship, and nothing that is linked into the product may be able to write sound files. Advisories need a data base
from the network: `cargo deny check advisories`, where it is installed."""

import json
import re
import sys

# Crates that write files of sound, in any of their formats.
WRITES_SOUND = {
    "audio-codec", "creek", "flacenc", "hound", "lewton", "mp3lame-encoder", "mp3lame-sys", "ogg", "opusenc", "riff",
    "rodio", "sndfile", "sndfile-sys", "symphonia", "vorbis-encoder", "vorbis_rs", "wav", "wav_io", "wave_stream", "waver",
}

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "NCSA", "OpenSSL", "Unicode-3.0", "Unlicense",
    "Zlib",
}


def allowed(expression):
    """Whether an SPDX expression can be met from ALLOWED; `/` is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def alternatives():
        met = conjunction()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = conjunction() or met
        return met

    def conjunction():
        met = single()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = single() and met
        return met

    def single():
        if tokens[0] == "(":
            tokens.pop(0)
            met = alternatives()
            tokens.pop(0)
            return met
        name = tokens.pop(0)
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            return f"{name} WITH {tokens.pop(0)}" in ALLOWED or name in ALLOWED
        return name in ALLOWED

    return alternatives()


assert allowed("MIT OR GPL-3.0") and not allowed("MIT AND GPL-3.0") and not allowed("(MIT AND GPL-3.0) OR LGPL-3.0")


def linked(metadata):
    """Packages that are linked into the product, by way of its dependencies that are not of tests or builds."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, waiting = set(), [metadata["resolve"]["root"]]
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            normal = [dep for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
            waiting += [dep["pkg"] for dep in normal]
    return found


metadata = json.load(sys.stdin)
packages = metadata["packages"]
product = linked(metadata)
names = {package["name"] for package in packages if package["id"] in product}
assert "tokio" in names and "criterion" not in names
bad = [p for p in packages if p["source"] and not (p["license"] and allowed(p["license"]))]
for package in bad:
    print(f"{package['name']} {package['version']}: {package['license'] or 'no licence named'}", file=sys.stderr)
for name in sorted(names & WRITES_SOUND):
    print(f"{name} is linked, and can write sound into a file", file=sys.stderr)
print(f"licences of {len(packages)} packages: {len(bad)} not allowed; {len(names & WRITES_SOUND)} of {len(names)} linked "
      "ones write sound")
sys.exit(1 if bad or names & WRITES_SOUND else 0)
