#!/usr/bin/env python3
"""Prints the Rust packages that are linked into bellwether, each with its licence, and their licence texts and notices,
which a package has to bring along. Each text once, however many packages have it.

    notices.py TARGET       such as x86_64-unknown-linux-gnu
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

NOTICE = re.compile(r"(un)?licen[cs]e|copying|copyright|notice", re.IGNORECASE)
SOURCE = {".rs", ".py", ".sh", ".c", ".h", ".cpp"}


def cargo(*words):
    return subprocess.run(["cargo", *words, "--locked"], check=True, capture_output=True, text=True).stdout


def linked(target):
    """Names and versions, sorted."""
    tree = cargo("tree", "--package", "bellwether", "--edges", "normal,no-proc-macro", "--target", target,
                 "--prefix", "none", "--no-dedupe", "--format", "{p}")
    return sorted({tuple(line.split()[:2]) for line in tree.splitlines()})


def notices(folder):
    """The files, of bundled sources too."""
    return sorted(path for path in folder.rglob("*")
                  if NOTICE.match(path.name) and path.suffix not in SOURCE and path.is_file())


def main():
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", sys.argv[1]))
    known = {(package["name"], "v" + package["version"]): package for package in metadata["packages"]}
    texts, lines = {}, []
    for name in linked(sys.argv[1]):
        package = known[name]
        if package["source"] is None:
            continue
        marks = []
        for path in notices(pathlib.Path(package["manifest_path"]).parent):
            text = path.read_text(errors="replace").strip()
            mark = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:8]
            texts.setdefault(mark, text)
            marks.append(mark)
        lines.append(f"{' '.join(name)}: {package['license']}; {' '.join(sorted(set(marks))) or 'has no text'}")
    print("bellwether contains these Rust packages, beside Rust's standard library (MIT OR Apache-2.0). Behind each\n"
          "stands its licence, and under what mark its text is found below.\n")
    print("\n".join(lines))
    for mark, text in sorted(texts.items()):
        print(f"\n{'=' * 20} {mark} {'=' * 20}\n\n{text}")


main()
