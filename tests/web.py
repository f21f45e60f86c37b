#!/usr/bin/env python3
"""Safe listening: TLS, passwords and certificates of clients by the web config file that the Prometheus exporters have,
read again while the daemon runs; a real Prometheus scrapes so; and clients that are slow, endless or guess passwords are in
nobody's way.

    web.py BELLWETHER
"""

import base64
import contextlib
import http.client
import pathlib
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from daemon import Daemon, run_tests, wait_for
from proc import memory
from watchers import Prometheus

BINARY = sys.argv[1]
# No call: for tests that are about something else.
QUIET = "".join(f"[probe.{probe}]\nenabled = false\n" for probe in ("call", "voice", "versions"))
SLOW_CLIENTS = 200
SCRAPES = 40
TAKEN = "bellwether_web_config_last_reload_successful"


class Keys:
    """A certificate authority in a folder, and what it signs."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.openssl("req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=school", "-keyout", "ca.key", "-out", "ca.crt",
                     *self.curve())

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    @staticmethod
    def curve():
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"

    def sign(self, name, alternative, kind=None):
        self.openssl("req", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                     *(kind or self.curve()))
        (self.folder / "extensions").write_text(f"subjectAltName={alternative}\n")
        self.openssl("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                     "-extfile", "extensions", "-out", f"{name}.crt")

    def read(self, name):
        return (self.folder / name).read_text()


def hashed(password):
    made = subprocess.run(["htpasswd", "-niBC", "8", ""], input=password, capture_output=True, text=True, check=True)
    return made.stdout.strip().lstrip(":")


class Safe(Daemon):
    """A daemon that listens with TLS and a password, and what is asked of it."""

    def __init__(self, password="s3cret", more=""):
        super().__init__(BINARY)
        self.keys = Keys(self.folder)
        self.keys.sign("web", "IP:127.0.0.1")
        self.web = self.folder / "web.yml"
        self.write(password, more)
        self.configure(f'config_file = "{self.web}"\n{QUIET}')
        self.user, self.password = "prometheus", password

    def write(self, password, more=""):
        tls = f"tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n{more}"
        self.web.write_text(f"{tls}basic_auth_users:\n  prometheus: {hashed(password)}\n")
        self.web.chmod(0o600)

    def trust(self, client=None, most=None):
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        if client:
            context.load_cert_chain(self.folder / f"{client}.crt", self.folder / f"{client}.key")
        if most:
            context.maximum_version = most
        return context

    @property
    def address(self):
        host, port = self.url.split("//")[1].split(":")
        return host, int(port)

    def connect(self, **more):
        return http.client.HTTPSConnection(*self.address, timeout=20, context=self.trust(**more))

    def basic(self, password=None):
        text = f"{self.user}:{self.password if password is None else password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(text).decode()}

    def ask(self, path="/metrics", headers=None, method="GET", **more):
        """Status, headers and body; `None` if there is no answer."""
        connection = self.connect(**more)
        try:
            connection.request(method, path, headers=self.basic() if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def status(self, *arguments, **more):
        answer = self.ask(*arguments, **more)
        return answer and answer[0]

    def get(self, path):
        status, _, body = self.ask(path)
        assert status == 200, status
        return body

    def serial(self):
        """Which certificate it shows."""
        with socket.create_connection(self.address, 10) as stream, \
                self.trust().wrap_socket(stream, server_hostname=self.address[0]) as secure:
            return secure.getpeercert()["serialNumber"]


def is_up(prometheus, job):
    """Whether the newest scrape worked, and why not."""
    found = [target for target in prometheus.ask("targets")["activeTargets"] if target["labels"]["job"] == job]
    return found and found[0]["health"] != "unknown" and (found[0]["health"] == "up", found[0]["lastError"])


def job(name, daemon, scheme="https", more=""):
    return f"""
  - job_name: {name}
    scheme: {scheme}
    tls_config: {{ca_file: {daemon.folder}/ca.crt}}
    static_configs: [{{targets: ["127.0.0.1:{daemon.address[1]}"]}}]
{more}"""


def with_password(file):
    return f"    basic_auth: {{username: prometheus, password_file: {file}}}\n"


def test_prometheus_scrapes_over_tls_with_a_password_and_not_without():
    with Safe() as daemon:
        assert daemon.url.startswith("https://")
        right, wrong = daemon.folder / "right", daemon.folder / "wrong"
        right.write_text("s3cret")
        wrong.write_text("secret")
        config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:" + \
            job("right", daemon, more=with_password(right)) + job("wrong", daemon, more=with_password(wrong)) + \
            job("none", daemon) + job("plain", daemon, "http", with_password(right))
        with Prometheus(config, {}) as prometheus:
            prometheus.start()
            wait_for("a scrape", lambda: (is_up(prometheus, "right") or [False])[0], 60)
            for name, error in {"wrong": "401", "none": "401", "plain": "400"}.items():
                up, why = wait_for(f"the scrape of {name}", lambda name=name: is_up(prometheus, name))
                assert not up and error in why, f"{name}: {why}"
            assert prometheus.series('bellwether_build_info{job="right"}')
            assert prometheus.series('up{job="right"}')[0][1] == 1

            # Another password, while both run. What was right is no longer.
            daemon.write("ch4nged")
            wait_for("the old password to be refused", lambda: not is_up(prometheus, "right")[0])
            right.write_text("ch4nged")
            wait_for("the new one to be taken", lambda: is_up(prometheus, "right")[0])
            # Another certificate, of another kind. Prometheus notices nothing but that.
            before = daemon.serial()
            daemon.keys.sign("web", "IP:127.0.0.1", ["-newkey", "rsa:2048"])
            wait_for("the new certificate", lambda: daemon.serial() != before)
            time.sleep(3)
            assert prometheus.series('min_over_time(up{job="right"}[2s])')[0][1] == 1
        daemon.stop()


def test_nothing_is_reached_without_the_password_and_nothing_can_be_written():
    with Safe() as daemon:
        for path in ["/", "/metrics", "/-/healthy", "/-/ready", "/nowhere"]:
            for headers in [{}, daemon.basic("secret"), {"Authorization": "Basic x"}, {"Authorization": "Bearer x"}]:
                status, found, body = daemon.ask(path, headers)
                assert status == 401 and found["WWW-Authenticate"].startswith("Basic"), (path, headers, status)
                assert "bellwether_" not in body
            status = daemon.status(path)
            assert status == (404 if path == "/nowhere" else 200), (path, status)
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]:
            for path in ["/", "/metrics", "/quiet", "/bookings"]:
                status = daemon.status(path, method=method)
                assert status in (404, 405), (method, path, status)
        long = {"Authorization": "Basic " + "A" * 8000}
        assert daemon.status("/", long) == 401
        assert daemon.status("/", {"X": "A" * 40_000}) in (431, None)
        plain = http.client.HTTPConnection(*daemon.address, timeout=10)
        plain.request("GET", "/metrics", headers=daemon.basic())
        answer = plain.getresponse()
        assert (answer.status, answer.read()) == (400, b"expected https, found http\n")
        assert daemon.serial()
        for version, taken in {"-tls1_1": False, "-tls1_2": True}.items():
            seen = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % daemon.address, version, "-cipher",
                                   "DEFAULT@SECLEVEL=0"], input="", capture_output=True, text=True, timeout=20)
            assert (seen.returncode == 0) == taken and ("alert" in seen.stderr) != taken, seen.stderr
        lines = "".join(daemon.lines)
        assert "s3cret" not in lines and "$2y$" not in lines, lines
        daemon.stop()


def test_a_broken_file_keeps_the_last_good_one_and_is_said_once():
    with Safe() as daemon:
        check = subprocess.run(["promtool", "check", "metrics"], input=daemon.get("/metrics"), capture_output=True, text=True)
        assert check.returncode == 0 and not check.stderr and not check.stdout, check.stdout + check.stderr
        assert daemon.metric(TAKEN) == 1
        taken_at = daemon.metric("bellwether_web_config_last_reload_success_timestamp_seconds")
        before, good = daemon.serial(), daemon.web.read_text()
        daemon.web.write_text(good.replace("cert_file", "cert_fiel") + "  bob: s3cret-of-bob\n")
        wait_for("the mistake to be seen", lambda: daemon.metric(TAKEN) == 0)
        time.sleep(3)
        assert daemon.metric(TAKEN) == 0 and daemon.serial() == before
        said = [line for line in daemon.lines if "not taken" in line]
        assert len(said) == 1 and "cert_fiel" in said[0] and "basic_auth_users.bob" in said[0], daemon.lines
        assert "s3cret" not in said[0]
        # Half a file, as an editor leaves it for a moment: nothing is opened by that.
        daemon.web.write_text("")
        wait_for("that to be seen", lambda: daemon.status() and len([line for line in daemon.lines if "not taken" in line]) == 2)
        assert daemon.status() == 200 and daemon.status(headers={}) == 401
        # A key that does not go with its certificate, and then one that does.
        daemon.web.write_text(good)
        wait_for("the good file", lambda: daemon.metric(TAKEN) == 1)
        key = daemon.keys.read("web.key")
        daemon.keys.sign("other", "IP:127.0.0.1")
        (daemon.folder / "web.key").write_text(daemon.keys.read("other.key"))
        wait_for("the mistake to be seen", lambda: daemon.metric(TAKEN) == 0)
        assert daemon.serial() == before
        (daemon.folder / "web.crt").write_text(daemon.keys.read("other.crt"))
        wait_for("the good pair", lambda: daemon.metric(TAKEN) == 1)
        assert daemon.serial() != before and key != daemon.keys.read("web.key")
        assert daemon.metric("bellwether_web_config_last_reload_success_timestamp_seconds") > taken_at

        # What asks for less is taken when somebody says so.
        daemon.web.write_text(good.split("basic_auth_users")[0])
        wait_for("that to be seen", lambda: daemon.metric(TAKEN) == 0)
        assert daemon.status(headers={}) == 401
        daemon.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: daemon.status(headers={}) == 200)
        assert daemon.metric(TAKEN) == 1
        daemon.stop()


def test_a_bad_file_at_the_start_is_a_mistake_of_the_config():
    daemon = Safe(more="  min_version: TLS10\n  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n")
    (daemon.folder / "web.key").unlink()
    for arguments in [["check-config"], ["run"]]:
        done = subprocess.run(daemon.command(*arguments), capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        assert done.returncode == 78, said
        for part in ["3 mistakes", "web.yml:3: tls_server_config.key_file: cannot read", "TLS10", "CBC"]:
            assert part in said, said


def test_what_others_reach_without_protection_is_said_with_its_remedy():
    with Daemon(BINARY) as daemon:
        daemon.stop()
        assert not daemon.logged("whoever reaches")
    with Daemon(BINARY) as daemon:
        daemon.stop()
        daemon.config.write_text('[web]\nlisten = "0.0.0.0:0"\n' + QUIET)
        daemon.start()
        said = [line for line in daemon.lines if "whoever reaches" in line]
        wait_for("the warning", lambda: daemon.logged("whoever reaches"))
        assert "WARN" in daemon.logged("config_file"), said
        daemon.stop()


def test_a_client_must_show_its_certificate():
    daemon = Safe(more="  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
                       "  client_allowed_sans: [prometheus.school.example]\n")
    daemon.keys.sign("right", "DNS:prometheus.school.example")
    daemon.keys.sign("wrong", "DNS:another.school.example")
    with tempfile.TemporaryDirectory() as folder:
        stranger = Keys(folder)
        stranger.sign("stranger", "DNS:prometheus.school.example")
        for end in ("crt", "key"):
            (daemon.folder / f"stranger.{end}").write_text(stranger.read(f"stranger.{end}"))
    with daemon:
        for most in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
            assert daemon.status(client="right", most=most) == 200
            for client in [None, "wrong", "stranger"]:
                assert daemon.status(client=client, most=most) is None, client
        assert daemon.status(client="right", headers={}) == 401
        config = "global: {scrape_interval: 1s}\nscrape_configs:" + job("none", daemon) + \
            job("right", daemon, more=with_password(daemon.folder / "password")).replace(
                "ca.crt}", f"ca.crt, cert_file: {daemon.folder}/right.crt, key_file: {daemon.folder}/right.key}}")
        (daemon.folder / "password").write_text("s3cret")
        with Prometheus(config, {}) as prometheus:
            prometheus.start()
            wait_for("a scrape", lambda: (is_up(prometheus, "right") or [False])[0], 60)
            assert not wait_for("another", lambda: is_up(prometheus, "none"))[0]
        daemon.stop()


class Hanging:
    """Many clients, each of which hangs in its own way, and comes again when it was sent away."""

    def __init__(self, daemon, count):
        self.daemon, self.stopped, self.tries = daemon, threading.Event(), 0
        ways = [self.silent, self.half_a_handshake, self.endless_head, self.never_reads]
        self.threads = [threading.Thread(target=self.again, args=(ways[index % len(ways)],), daemon=True)
                        for index in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_for("all to have come", lambda: self.tries >= len(self.threads), 60)
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def again(self, way):
        while not self.stopped.is_set():
            self.tries += 1
            with contextlib.suppress(OSError), socket.create_connection(self.daemon.address, 5) as stream:
                way(stream)
            self.stopped.wait(1)

    def drip(self, stream, piece):
        while not self.stopped.wait(0.5):
            stream.sendall(piece)

    def silent(self, stream):
        stream.settimeout(1)
        while not self.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                if not stream.recv(1):
                    return

    def half_a_handshake(self, stream):
        # The beginning of a ClientHello of 512 bytes, which comes byte by byte.
        stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        self.drip(stream, b"\x00")

    def secure(self, stream):
        return self.daemon.trust().wrap_socket(stream, server_hostname=self.daemon.address[0])

    def endless_head(self, stream):
        with self.secure(stream) as secure:
            secure.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
            self.drip(secure, b"X: y\r\n")

    def never_reads(self, stream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with self.secure(stream) as secure:
            head = "".join(f"{key}: {value}\r\n" for key, value in self.daemon.basic().items())
            while not self.stopped.wait(0.2):
                secure.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())


def scrapes(daemon, count=SCRAPES):
    """How long scrapes take, each on a new connection, in seconds."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        status = daemon.status()
        assert status == 200, f"a scrape ended with {status}"
        took.append(time.monotonic() - began)
        time.sleep(0.05)
    return took


def report(what, took):
    print(f"        {what}: median {statistics.median(took) * 1000:.1f} ms, slowest {max(took) * 1000:.1f} ms of {len(took)}")


def test_scrapes_go_on_while_two_hundred_clients_hang():
    with Safe() as daemon:
        (daemon.folder / "password").write_text("s3cret")
        config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:" + \
            job("bellwether", daemon, more=with_password(daemon.folder / "password"))
        with Prometheus(config, {}) as prometheus:
            prometheus.start()
            wait_for("a scrape", lambda: (is_up(prometheus, "bellwether") or [False])[0], 60)
            time.sleep(10)
            report("scrapes, nobody hangs", scrapes(daemon))
            slowest = prometheus.series("max_over_time(scrape_duration_seconds[10s])")[0][1]
            print(f"        by Prometheus: slowest {slowest * 1000:.1f} ms; {memory(daemon.process.pid)[0]:.1f} MiB resident")
            with Hanging(daemon, SLOW_CLIENTS) as hanging:
                began, before = time.monotonic(), hanging.tries
                time.sleep(5)
                took = scrapes(daemon)
                time.sleep(max(0, 12 - time.monotonic() + began))
                slowest = prometheus.series("max_over_time(scrape_duration_seconds[10s])")[0][1]
                ups = prometheus.series("min_over_time(up[10s])")[0][1]
                report(f"scrapes, {SLOW_CLIENTS} clients hang", took)
                print(f"        by Prometheus: slowest {slowest * 1000:.1f} ms; {memory(daemon.process.pid)[0]:.1f} MiB "
                      f"resident; {(hanging.tries - before) / (time.monotonic() - began):.0f} came again each second")
                assert ups == 1, "Prometheus missed a scrape"
            # They are gone at once when it ends, and before that they are in nobody's way.
        with Hanging(daemon, 20):
            daemon.stop()


def test_who_does_not_say_what_it_wants_is_sent_away_and_who_scrapes_is_kept():
    with Safe() as daemon:
        began, took = time.monotonic(), {}
        kept = daemon.connect()

        def lasts(name, way):
            with contextlib.suppress(OSError), socket.create_connection(daemon.address, 5) as stream:
                way(stream)
            took[name] = time.monotonic() - began

        ways = Hanging(daemon, 0)
        threads = [threading.Thread(target=lasts, args=(way.__name__, way), daemon=True)
                   for way in (ways.silent, ways.half_a_handshake, ways.endless_head)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            kept.request("GET", "/-/ready", headers=daemon.basic())
            stream, answer = kept.sock, kept.getresponse()
            assert (answer.status, answer.read()) == (200, b"bellwether is ready\n")
            assert kept.sock is stream, "the connection was not kept"
            assert time.monotonic() - began < 40, f"only {took} were sent away"
            time.sleep(5)
        kept.close()
        print("        sent away after " + ", ".join(f"{seconds:.1f} s: {name}" for name, seconds in took.items()))
        assert min(took.values()) > 8, took
        daemon.stop()


def test_who_guesses_passwords_slows_down_nobody_whose_password_is_known():
    with Safe() as daemon:
        report("scrapes", scrapes(daemon))
        ended, statuses = threading.Event(), []

        def guess(number):
            while not ended.is_set():
                statuses.append(daemon.status(headers=daemon.basic(f"{number} {len(statuses)}")))

        threads = [threading.Thread(target=guess, args=(number,), daemon=True) for number in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        began, guesses = time.monotonic(), statuses.count(401)
        report("scrapes, 20 clients guess", scrapes(daemon))
        rate = (statuses.count(401) - guesses) / (time.monotonic() - began)
        ended.set()
        for thread in threads:
            thread.join()
        print(f"        {rate:.1f} guesses a second were compared; answers: "
              f"{ {status: statuses.count(status) for status in sorted(set(statuses))} }")
        assert set(statuses) <= {401, 503}, set(statuses)
        daemon.stop()


run_tests(globals())
