"""Debian's Prometheus and Alertmanager, each with a folder and a port of its own."""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

from daemon import wait_for

SILENT = "route: {receiver: none}\nreceivers: [{name: none}]\n"


class Watcher:
    """What both have in common; `with` makes sure that it is gone after."""

    def __init__(self, config):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-watcher-"))
        (self.folder / "config.yml").write_text(config)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(type(self).__name__, self.is_ready)
        return self

    def is_ready(self):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).status == 200

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder)


class Alertmanager(Watcher):
    """Takes alerts, silences and inhibits them."""

    def __init__(self, config=SILENT):
        super().__init__(config)

    def command(self):
        return ["prometheus-alertmanager", f"--config.file={self.folder}/config.yml", f"--storage.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="]

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v2/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def silences(self, state="active"):
        return [silence for silence in self.ask("silences") if silence["status"]["state"] == state]


class Prometheus(Watcher):
    """Scrapes, records and raises. `files` stand beside its config."""

    def __init__(self, config, files):
        super().__init__(config)
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def command(self):
        return ["prometheus", f"--config.file={self.folder}/config.yml", f"--storage.tsdb.path={self.folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}"]

    def ask(self, path, **arguments):
        query = urllib.parse.urlencode(arguments)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error

    def series(self, expression):
        """The series of an expression, now: labels and value."""
        return [(one["metric"], float(one["value"][1])) for one in self.ask("query", query=expression)["result"]]
