#!/usr/bin/env python3
"""The README's first command on a clean clone, from a cold start: how long it builds, that it listens, and
that the first inspection follows within 20 s."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request

FAMILIES = ("bellwether_media_audio_delay_seconds", "bellwether_media_loss_ratio", "bellwether_cpu_utilization_ratio",
            "bellwether_component_info")


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ".", f"{folder}/bellwether"], check=True)
        environment = {name: value for name, value in os.environ.items() if name != "CARGO_TARGET_DIR"}
        environment["XDG_STATE_HOME"] = f"{folder}/state"
        begin = time.monotonic()
        process = subprocess.Popen(["cargo", "run", "--release"], cwd=f"{folder}/bellwether", env=environment,
                                   stderr=subprocess.PIPE, text=True)
        try:
            line = next(line for line in process.stderr if "listening on" in line)
            listening = time.monotonic()
            url = line.split("listening on ")[1].strip()
            missing = FAMILIES
            while missing and time.monotonic() < listening + 20:
                page = urllib.request.urlopen(url + "/metrics").read().decode()
                missing = [family for family in FAMILIES if f"\n{family}" not in page]
                time.sleep(0.1)
            inspected = time.monotonic()
        finally:
            process.terminate()
            process.wait()
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"{revision}, {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} processors")
    print(f"cold build until it listens: {listening - begin:.0f} s")
    print(f"first inspection after that: {inspected - listening:.1f} s, at most 20 s: {'MISSED' if missing else 'reached'}")
    sys.exit(1 if missing else 0)


main()
