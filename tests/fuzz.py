#!/usr/bin/env python3
"""Runs each fuzz target for a minute, as many at once as there are processors; ends with 1 if one found
something, whose input stays in target/fuzz/ to be run again:

    fuzz.py FOLDER-OF-TARGETS FOLDER-OF-SOURCES… [SECONDS]
    target/debug/examples/fuzz_NAME target/fuzz/NAME/crash-…
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

TARGETS = pathlib.Path(sys.argv[1]).resolve()
SOURCES = [pathlib.Path(folder) for folder in sys.argv[2:] if not folder.isdigit()]
SECONDS = int(sys.argv[-1]) if sys.argv[-1].isdigit() else 60
FOUND = TARGETS.parents[1] / "fuzz"


def run(source):
    """What is grown stays between runs; what is known to matter is read from `seeds/NAME` too."""
    name = source.stem
    corpus, seeds = FOUND / name / "corpus", source.parent / "seeds" / name
    corpus.mkdir(parents=True, exist_ok=True)
    command = [TARGETS / f"fuzz_{name}", f"-max_total_time={SECONDS}", "-max_len=1000000", "-timeout=20", "-rss_limit_mb=1024",
               f"-artifact_prefix={FOUND / name}/", corpus, *([seeds] if seeds.is_dir() else [])]
    return name, subprocess.run(command, capture_output=True, text=True, errors="replace")


def main():
    sources = sorted(path for folder in SOURCES for path in folder.glob("*.rs"))
    failed = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, result in pool.map(run, sources):
            runs = re.search(r"Done (\d+) runs", result.stderr)
            covered = re.findall(r"cov: (\d+)", result.stderr)
            # Without coverage the minute would be spent on guesses.
            if result.returncode or not runs or not covered or int(covered[-1]) < 20:
                failed = True
                print(f"{name}: FAILED\n{result.stderr[-4000:]}")
            else:
                print(f"{name}: {int(runs[1])} runs, {covered[-1]} edges")
    sys.exit(failed)


main()
