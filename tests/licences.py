#!/usr/bin/env python3
"""Reads `cargo metadata` from standard input: every dependency must be under a licence that the project
may ship. Advisories need a data base from the network: `cargo deny check advisories`, where it is installed."""

import json
import re
import sys

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
packages = json.load(sys.stdin)["packages"]
bad = [p for p in packages if p["source"] and not (p["license"] and allowed(p["license"]))]
for package in bad:
    print(f"{package['name']} {package['version']}: {package['license'] or 'no licence named'}", file=sys.stderr)
print(f"licences of {len(packages)} packages: {len(bad)} not allowed")
sys.exit(1 if bad else 0)
