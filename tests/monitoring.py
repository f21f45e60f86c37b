#!/usr/bin/env python3
"""The monitoring kit: valid, tested rule by rule, naming only what a box shows; and seen to fire and to clear by a real
Prometheus and a real Alertmanager that watch real boxes.

    monitoring.py BELLWETHER
"""

import contextlib
import functools
import http.server
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from daemon import Daemon, run_tests, wait_for
from watchers import Alertmanager, Prometheus

BINARY = sys.argv[1]
TREE = pathlib.Path(__file__).resolve().parent.parent
KIT = TREE / "packaging" / "monitoring"
TESTS = ["rules.test.yml", "rules.days.test.yml"]
DASHBOARDS = ["room.json", "campus.json"]
# What no box in a test has: sound, and the sensors of a real machine.
NOT_HERE = re.compile(r"bellwether_(echo_.*|microphone_working|loudspeaker_working|sound_muted|temperature_celsius)")
# Of Prometheus itself.
OF_PROMETHEUS = {"up", "ALERTS"}
LABELS_OF_PROMETHEUS = {"job", "instance", "alertname", "alertstate"}
# The first inspection, and what the next beat brings.
NEXT_MINUTE = 100


@functools.cache
def rules():
    """The rules as Prometheus reads them."""
    with Prometheus("rule_files: [rules.yml]", {"rules.yml": (KIT / "rules.yml").read_text()}) as prometheus:
        return [rule for group in prometheus.start().ask("rules")["groups"] for rule in group["rules"]]


def recorded():
    return {rule["name"] for rule in rules() if rule["type"] == "recording"}


def panels(name):
    return json.loads((KIT / name).read_text())["panels"]


def expressions():
    """Where each stands, and the expression; variables of Grafana as a series has them."""
    for rule in rules():
        yield f"rules.yml: {rule['name']}", rule["query"]
    for name in DASHBOARDS:
        for panel in panels(name):
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}", target["expr"]
        board = json.loads((KIT / name).read_text())
        for mark in board["annotations"]["list"]:
            yield f"{name}: {mark['name']}", mark["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
                yield f"{name}: ${variable['name']}", f"count by ({label}) ({series})"


SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
WORDS = {"or", "and", "unless", "bool", "offset"}
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')


def parts(expression):
    """The series of an expression, each with its matchers, and the labels that it groups by."""
    labels = {label.strip() for found in GROUPING.findall(expression) for label in found.split(",")} - {""}
    rest = re.sub(r"\[\w+\]", "", GROUPING.sub("", expression))
    # Functions and aggregations go, and so do the strings that a function is given.
    rest = re.sub(r"\b[a-z_]+\s*(?=\()", "", rest)
    rest = re.sub(r'(?<![=~])"[^"]*"', "", rest)
    series = []
    for name, matchers in SELECTOR.findall(rest):
        if name not in WORDS:
            series.append((name, dict(MATCHER.findall(matchers))))
    return series, labels


def exported():
    """Every name that the program can show, by its source: one place has the metrics, one the rest of the page."""
    units = dict(re.findall(r'Self::(\w+) => "(\w*)",', (TREE / "probes/src/units.rs").read_text().split("fn name")[1]))
    names, histograms = set(), set()
    spec = re.compile(r'^    [A-Z]\w+ "(\w+)" (\w+) (?:Up|Down|AwayFromZero|Neither) ', re.M)
    for name, unit in spec.findall((TREE / "probes/src/metric.rs").read_text()):
        suffix = "" if unit == "One" or unit == "Ratio" and name.endswith("_ratio") else f"_{units[unit]}"
        names.add(f"bellwether_{name}{suffix}")
        histograms.add(f"bellwether_{name}_runs_{units[unit]}")
    for file in [TREE / "agent/src/export.rs", *(TREE / "agent/src/export").glob("*.rs")]:
        code = file.read_text().split("#[cfg(test)]")[0]
        names |= set(re.findall(r'"(bellwether_[a-z_]+)"', code))
    histograms.add("bellwether_probe_duration_seconds")
    return names | {name + end for name in histograms for end in ("_bucket", "_sum", "_count")}


def samples(page):
    """Name and labels of each line."""
    for line in page.splitlines():
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
            yield name, dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))


def passes(*command):
    done = subprocess.run(command, cwd=KIT, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "WARNING" not in said, f"{command}: {said}"


def test_promtool_and_amtool_have_nothing_to_say():
    passes("promtool", "check", "config", "prometheus.yml")
    passes("promtool", "check", "rules", "rules.yml")
    passes("amtool", "check-config", "alertmanager.yml")
    passes("promtool", "test", "rules", *TESTS)


def test_each_rule_has_a_test_and_each_alert_two_languages():
    text = "".join((KIT / name).read_text() for name in TESTS)
    fires, holds = set(), set()
    for case in text.split("- eval_time: ")[1:]:
        if alert := re.search(r"alertname: (\w+)", case):
            severities = re.findall(r'exp_labels: .*severity: "(\w+)"', case)
            fires |= {(alert[1], severity) for severity in severities}
            holds |= set() if severities else {alert[1]}
    values = set(re.findall(r"expr: (\S+)\n +exp_samples:\n", text))
    chinese = re.compile("[\u4e00-\u9fff]")
    for rule in rules():
        name = rule["name"]
        if rule["type"] == "recording":
            assert name in values, f"{name} is not tested"
            continue
        assert (name, rule["labels"]["severity"]) in fires, f"{name} is never seen to fire"
        assert name in holds, f"{name} is never seen not to fire"
        said = rule["annotations"]
        assert set(said) == {"summary", "summary_zh"}, name
        assert chinese.search(said["summary_zh"]) and not chinese.search(said["summary"]), name


def test_the_dashboards_are_those_of_their_script_and_no_panel_covers_another():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-test-"))
    subprocess.run([sys.executable, KIT / "dashboards.py", folder], check=True)
    for name in DASHBOARDS:
        assert (folder / name).read_text() == (KIT / name).read_text(), f"{name} is older than dashboards.py: run that"
        taken, ids = set(), set()
        for panel in panels(name):
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken and at["x"] + at["w"] <= 24, f"{name}: {panel['title']} covers another"
            taken |= cells
            assert panel["id"] not in ids, f"{name}: {panel['title']}"
            ids.add(panel["id"])
    shutil.rmtree(folder)


class Far(http.server.BaseHTTPRequestHandler):
    """What a box looks at: a web page, and how busy the media server is."""

    def do_GET(self):
        stats = {"users": 17, "cpu": 0.4, "memory": 0.5, "in": 1e6, "out": 2e6}
        body = json.dumps(stats).encode() if self.path == "/stats" else b"<h1>portal</h1>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(handler, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def site(room, more=""):
    """A room of the one school and building of these tests."""
    return f"""
[school]
name = "Test School"
[school.contact]
name = "IT office"
phone = "100"
[room]
id = "{room}"
name = "Room {room}"
building = "b3"
service = "sfu-1"
{more}"""


NO_CALL = "[probe.call]\nenabled = false\n[probe.voice]\nenabled = false\n"


def certify(folder, name, days):
    """A certificate for this machine, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", str(days), "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


@contextlib.contextmanager
def box_with_everything():
    """A box that looks at as much as it can in a test."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bellwether-test-"))
    secret, lessons = folder / "secret", folder / "r301.ics"
    certificate, key = certify(folder, "page", 30)
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    secret.chmod(0o600)
    lessons.write_text("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//test//EN\r\nBEGIN:VEVENT\r\nUID:1\r\n"
                       "DTSTAMP:20200101T000000Z\r\nDTSTART:20200106T000000Z\r\nDTEND:20200106T004500Z\r\nSUMMARY:数学\r\n"
                       "END:VEVENT\r\nEND:VCALENDAR\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    page, stats = serve(Far, context), serve(Far)
    try:
        with Daemon(BINARY, site("r301", f"""
[timetable]
ical = ["{lessons}"]
[probe.call]
duration = "3 s"
schedule = "* * * * *"
[[probe.box.process]]
name = "bellwether"
[probe.portal]
kind = "page"
url = "https://127.0.0.1:{page.server_port}/"
ca_file = "{certificate}"
[probe.media-server]
kind = "load"
source = "json"
url = "http://127.0.0.1:{stats.server_port}/stats"
users = "/users"
cpu = "/cpu"
memory = "/memory"
network_receive = "/in"
network_transmit = "/out"
[channel.vendor]
kind = "webhook"
url = "http://127.0.0.1:{stats.server_port}/bookings"
secret_file = "{secret}"
""")) as daemon:
            wait_for("the first inspection", lambda: all(
                daemon.metric(f'bellwether_probe_runs_total{{probe="{probe}"}}')
                for probe in ("box", "call", "portal", "versions", "media-server")), 60)
            # A box that is too busy to measure shows no loss, and calls again in a minute.
            wait_for("a call that says what it lost", lambda: "\nbellwether_media_loss_ratio{" in daemon.get("/metrics"), 400)
            yield daemon
            daemon.stop()
    finally:
        page.shutdown()
        stats.shutdown()
        shutil.rmtree(folder)


def watch(boxes, alertmanager="127.0.0.1:1"):
    """Prometheus with the kit's own files: only times and addresses are others, and which boxes there are.

    The first box is named in the config, the second in the file, the third by the inventory.
    """
    addresses = [box.url.removeprefix("http://") for box in boxes]
    found = [{"targets": addresses[2:], "labels": {}}]

    class Inventory(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_):
            pass

    inventory = serve(Inventory)
    config = changed((KIT / "prometheus.yml").read_text(), {
        "scrape_interval: 30s": "scrape_interval: 2s",
        "evaluation_interval: 30s": "evaluation_interval: 1s",
        "scrape_timeout: 10s": "scrape_timeout: 2s",
        "refresh_interval: 1m": "refresh_interval: 2s",
        "127.0.0.1:9093": alertmanager,
        "r301.school.example:9642": addresses[0],
        "http://inventory.school.example/bellwether": f"http://127.0.0.1:{inventory.server_port}/"})
    files = {"rules.yml": hurried((KIT / "rules.yml").read_text()), "rooms.yml": "[]"}
    if len(boxes) > 1:
        files["rooms.yml"] = changed((KIT / "rooms.yml").read_text(), {"r302.school.example:9642": addresses[1]})
    return Prometheus(config, files).start()


def changed(text, replacements):
    for old, new in replacements.items():
        assert text.count(old) == 1, f"found {old!r} {text.count(old)} times in the kit, expected it once"
        text = text.replace(old, new)
    return text


def hurried(text):
    """The same rules, each raised after two seconds instead of minutes or days."""
    text, count = re.subn(r"(?m)^(        (?:for|keep_firing_for): )\w+$", r"\g<1>2s", text)
    assert count == sum(bool(rule.get(key)) for rule in rules() for key in ("duration", "keepFiringFor"))
    return text


def test_every_series_and_label_exists_and_every_panel_shows_a_real_box():
    known = exported()
    with box_with_everything() as box:
        page = list(samples(box.get("/metrics")))
        shown = {name for name, _ in page}
        assert shown <= known, f"the source is not read well: {sorted(shown - known)}"
        labels = {key for _, labels in page for key in labels} | LABELS_OF_PROMETHEUS | {"component"}
        for where, expression in expressions():
            series, grouped = parts(expression)
            assert series, f"{where}: no series in {expression}"
            assert grouped <= labels, f"{where}: no series has {grouped - labels}"
            for name, matchers in series:
                if name in OF_PROMETHEUS or name in recorded():
                    continue
                assert name in known, f"{where}: found {name}, which no box shows"
                assert name in shown or NOT_HERE.fullmatch(name), f"{where}: {name} is not on the page of a real box"
                check_matchers(where, name, matchers, page)
        with watch([box]) as prometheus:
            wait_for("a recorded room", lambda: prometheus.series('service:bellwether_media_loss_ratio:median'))
            wait_for("a rate", lambda: prometheus.series("increase(bellwether_probe_runs_total[1h])"))
            for where, expression in expressions():
                if where.startswith("rules.yml"):
                    continue
                asked = re.sub(r"\$\w+", ".*", expression.replace('="$', '=~"$'))
                optional = "== 1" in asked or "> 0" in asked or "ALERTS" in asked
                some = any(NOT_HERE.fullmatch(name) for name, _ in parts(expression)[0])
                assert prometheus.series(asked) or optional or some, f"{where}: nothing comes of {asked}"


def check_matchers(where, name, matchers, page):
    """That each word a matcher asks for is one that the series can have."""
    for label, wanted in matchers.items():
        found = {labels[label] for other, labels in page if other == name and label in labels}
        if label in LABELS_OF_PROMETHEUS or "$" in wanted or not found:
            assert label in LABELS_OF_PROMETHEUS or NOT_HERE.fullmatch(name) or found, f"{where}: {name} has no {label}"
            continue
        missing = set(wanted.split("|")) - found
        assert not missing, f"{where}: {name} never has {label}={missing}"


class Told:
    """What the receiver of the kit's example is told."""

    def __init__(self):
        told = self.alerts = []

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                told.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = serve(Receiver)

    def of(self, alert, room, status):
        return [one for one in list(self.alerts) if one["status"] == status
                and (one["labels"]["alertname"], one["labels"].get("room")) == (alert, room)]


@contextlib.contextmanager
def watched(*boxes):
    """Alertmanager and who is told, while Prometheus watches the boxes."""
    told = Told()
    config = changed((KIT / "alertmanager.yml").read_text(), {
        "group_wait: 1m": "group_wait: 1s", "group_interval: 5m": "group_interval: 1s",
        "http://127.0.0.1:8060/alerts": f"http://127.0.0.1:{told.server.server_port}/alerts"})
    with Alertmanager(config) as alertmanager:
        alertmanager.start()
        with watch(boxes, f"127.0.0.1:{alertmanager.port}") as prometheus:
            wait_for("a scrape of each box", lambda: len(prometheus.series("up == 1")) == len(boxes))
            yield alertmanager, told
    told.server.shutdown()


def raised(alertmanager, alert, room=None):
    """Alerts that Alertmanager has, of that name and room."""
    return [one for one in alertmanager.ask("alerts") if one["labels"]["alertname"] == alert
            and (room is None or one["labels"].get("room") == room)]


def fires(alertmanager, alert, room=None):
    return wait_for(f"{alert} of {room}", lambda: raised(alertmanager, alert, room), NEXT_MINUTE)


def clears(alertmanager, alert, room=None):
    wait_for(f"the end of {alert} of {room}", lambda: not raised(alertmanager, alert, room), NEXT_MINUTE)


def inhibited(alertmanager, alert, room):
    return [one for one in raised(alertmanager, alert, room) if one["status"]["inhibitedBy"]]


def reload(box, config):
    box.configure(config)
    box.process.send_signal(signal.SIGHUP)


def bookings(box, *arguments):
    done = subprocess.run(box.command("bookings", *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_refused_config_is_told_and_kept_back_while_somebody_works_on_the_room():
    with Daemon(BINARY, site("r301", NO_CALL)) as box, watched(box) as (alertmanager, told):
        reload(box, "nonsense = 1\n")
        found = fires(alertmanager, "BellwetherConfigReloadFailed", "r301")[0]
        labels = {"school": "Test School", "building": "b3", "name": "Room r301", "severity": "warning"}
        assert labels.items() <= found["labels"].items(), found
        said = found["annotations"]
        assert "Room r301" in said["summary"] and "新配置未被接受" in said["summary_zh"], said
        wait_for("a message", lambda: told.of("BellwetherConfigReloadFailed", "r301", "firing"))
        # Somebody comes, and goes.
        bookings(box, "open", "routine", "please look at the room")
        key = wait_for("a booking", box.bookings)[0]["key"]
        wait_for("a booking that was sent", lambda: box.bookings()[0]["state"] == "requested")
        bookings(box, "start", key)
        fires(alertmanager, "BellwetherInMaintenance", "r301")
        wait_for("an alert kept back", lambda: inhibited(alertmanager, "BellwetherConfigReloadFailed", "r301"))
        bookings(box, "report", key, "done")
        clears(alertmanager, "BellwetherInMaintenance", "r301")
        wait_for("an alert not kept back", lambda: not inhibited(alertmanager, "BellwetherConfigReloadFailed", "r301"))
        assert raised(alertmanager, "BellwetherConfigReloadFailed", "r301"), "it is still there"
        assert not [one for one in told.alerts if one["labels"]["alertname"] == "BellwetherInMaintenance"], "no news"
        reload(box, site("r301", NO_CALL))
        clears(alertmanager, "BellwetherConfigReloadFailed", "r301")
        wait_for("good news", lambda: told.of("BellwetherConfigReloadFailed", "r301", "resolved"))
        box.stop()


def test_a_fault_is_told_until_it_is_over():
    beyond = "[metrics.cpu_utilization]\nlimit = { enter = -1.0, clear = -2.0, bad = 1, of = 1, recover = 1 }\n" \
             "critical_limit = false\n"
    with Daemon(BINARY, site("r301", NO_CALL + beyond)) as box, watched(box) as (alertmanager, told):
        found = fires(alertmanager, "BellwetherIncidentOpen", "r301")
        assert [one["labels"]["family"] for one in found] == ["app"], found
        wait_for("a message", lambda: told.of("BellwetherIncidentOpen", "r301", "firing"))
        reload(box, site("r301", NO_CALL + "[metrics.cpu_utilization]\nlimit = false\ncritical_limit = false\n"))
        clears(alertmanager, "BellwetherIncidentOpen", "r301")
        box.stop()


def test_a_channel_is_told_that_fails_its_self_test():
    # A server that never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent, tempfile.TemporaryDirectory(prefix="bellwether-test-") as folder:
        token = pathlib.Path(folder, "token")
        token.write_text("1-14-abcdef\n")
        token.chmod(0o600)
        tickets = f"""
[channel.tickets]
kind = "rt"
url = "http://127.0.0.1:{silent.getsockname()[1]}"
token_file = "{token}"
queue = "AV-Vendor"
key_field = "BW.Key"
room_field = "BW.Room"
timeout = "2 s"
"""
        with Daemon(BINARY, site("r301", NO_CALL + tickets)) as box, watched(box) as (alertmanager, _):
            found = fires(alertmanager, "BellwetherChannelSelftestFailed", "r301")
            assert [one["labels"]["channel"] for one in found] == ["tickets"], found
            reload(box, site("r301", NO_CALL))
            clears(alertmanager, "BellwetherChannelSelftestFailed", "r301")
            box.stop()


def test_a_certificate_is_told_until_it_is_renewed():
    with tempfile.TemporaryDirectory(prefix="bellwether-test-") as name:
        folder = pathlib.Path(name)
        (old, old_key), (new, new_key) = certify(folder, "old", 2), certify(folder, "new", 90)
        trusted = folder / "trusted.pem"
        trusted.write_text(old.read_text() + new.read_text())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(old, old_key)
        page = serve(Far, context)
        looks = f'[probe.portal]\nkind = "page"\nurl = "https://127.0.0.1:{page.server_port}/"\nca_file = "{trusted}"\n'
        with Daemon(BINARY, site("r301", NO_CALL + looks + 'schedule = "* * * * *"\ntimeout = "10 s"\n')) as box, \
                watched(box) as (alertmanager, told):
            found = fires(alertmanager, "BellwetherCertificateExpires")
            assert [(one["labels"]["probe"], one["labels"]["severity"]) for one in found] == [("portal", "critical")], found
            wait_for("a message", lambda: told.of("BellwetherCertificateExpires", None, "firing"))
            context.load_cert_chain(new, new_key)
            clears(alertmanager, "BellwetherCertificateExpires")
            box.stop()
        page.shutdown()


def test_a_room_away_is_told_by_its_name_and_a_building_away_once():
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(Daemon(BINARY, site(room, NO_CALL))) for room in ("r301", "r302", "r303")]
        alertmanager, told = stack.enter_context(watched(*boxes))
        # All at once first: found by config, file and inventory alike.
        for box in boxes:
            box.process.send_signal(signal.SIGSTOP)
        found = fires(alertmanager, "BellwetherManyRoomsUnreachable")[0]
        assert found["annotations"]["summary"].startswith("3 rooms in b3 "), found
        wait_for("a message", lambda: told.of("BellwetherManyRoomsUnreachable", None, "firing"))
        for room in ("r301", "r302", "r303"):
            wait_for(f"{room} kept back", lambda room=room: inhibited(alertmanager, "BellwetherRoomUnreachable", room),
                     NEXT_MINUTE)
        for box in boxes[:2]:
            box.process.send_signal(signal.SIGCONT)
        clears(alertmanager, "BellwetherManyRoomsUnreachable")
        clears(alertmanager, "BellwetherRoomUnreachable", "r301")
        wait_for("the third alone", lambda: not inhibited(alertmanager, "BellwetherRoomUnreachable", "r303"))
        found = raised(alertmanager, "BellwetherRoomUnreachable", "r303")[0]
        assert "Room r303" in found["annotations"]["summary"], found
        boxes[2].process.send_signal(signal.SIGCONT)
        clears(alertmanager, "BellwetherRoomUnreachable", "r303")
        for box in boxes:
            box.stop()


run_tests(globals())
