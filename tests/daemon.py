"""Starts the real daemon for a test and talks to it as anyone would: files, HTTP, signals."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request


def wait_for(what, condition, seconds=30.0, pause=0.02):
    """Waits until the condition gives something, and returns that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


def on_any_machine(config):
    """The config, by which the machine's own disk and memory are judged only if it names them: a full disk would join any
    booking."""
    off = [f"[metrics.{metric}]\nlimit = false\ncritical_limit = false\n"
           for metric in ("disk_utilization", "memory_utilization") if metric not in config]
    return config + "\n" + "".join(off)


class Daemon:
    """A daemon with its own config and state; `with` starts it and makes sure that it is gone after."""

    def __init__(self, binary, config="", wrapper=(), folder=None):
        self.binary = pathlib.Path(binary).resolve()
        self.wrapper = list(wrapper)
        self.owned = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="bellwether-test-"))
        self.config = self.folder / "bellwether.toml"
        self.configure(config)
        self.state = self.folder / "state"
        self.lines = []

    def configure(self, config):
        self.config.write_text(on_any_machine('[web]\nlisten = "127.0.0.1:0"\n' + config))

    def command(self, *arguments):
        return [self.binary, "--config", self.config, "--state", self.state, *arguments]

    def start(self):
        self.lines = []
        self.process = subprocess.Popen(self.wrapper + self.command(), stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        line = wait_for("the daemon to listen", lambda: self.logged("listening on") or self._died())
        self.url = line.split("listening on ")[1].split()[0]
        return self

    def _died(self):
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended: " + "".join(self.lines))

    def _read(self, stderr):
        for line in stderr:
            self.lines.append(line)

    def logged(self, text):
        return next((line for line in self.lines if text in line), None)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Samples of the page, by what stands before the value."""
        samples = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def metric(self, name):
        return self.metrics().get(name)

    def bookings(self):
        shown = subprocess.run(self.command("bookings", "list", "--json"), capture_output=True, text=True, check=True)
        return json.loads(shown.stdout)

    def stop(self):
        self.process.terminate()
        code = self.process.wait(15)
        self.reader.join()
        self.process.stderr.close()
        assert code == 0, f"ended with {code}: " + "".join(self.lines)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        if kind:
            print("".join(self.lines[-40:]), file=os.sys.stderr)
        elif self.owned:
            shutil.rmtree(self.folder)


def run_tests(module):
    """Runs every function of the module whose name begins with `test_`, and says how many passed."""
    import sys
    import traceback

    tests = [test for name, test in module.items() if name.startswith("test_")]
    failed = 0
    for test in tests:
        try:
            test()
            print(f"ok      {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {test.__name__}")
            traceback.print_exc()
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
