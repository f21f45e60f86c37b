#!/usr/bin/env python3
"""The page as Prometheus sees it, and the call as the wire sees it.

    prometheus.py BELLWETHER
"""

import collections
import http.server
import json
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading

from daemon import Daemon, run_tests, wait_for

BINARY = sys.argv[1]
# Units and words that have no place in a name or label; promtool lets them pass.
FORBIDDEN_IN_NAMES = re.compile(r"(milli|micro(?!phone)|nano|_ms(_|$)|percent|_pct|kilo|mega|_bits?(_|$)|minutes|hours|days)")
FORBIDDEN_LABELS = {"type", "env", "owner", "zone", "instance", "job", "room", "building", "le "}


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"users": 17}).encode() if self.path == "/stats" else b"<h1>portal</h1>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def daemon_with_a_page(more=""):
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return Daemon(BINARY, f"""
[probe.portal]
kind = "page"
url = "http://127.0.0.1:{server.server_port}/"
expect_text = "portal"
{more}""")


def inspected(daemon):
    """The page after the first inspection."""
    probes = ("box", "call", "portal", "versions")
    wait_for("the first inspection", lambda: all(
        daemon.metric(f'bellwether_probe_runs_total{{probe="{probe}"}}') for probe in probes), 40)
    return daemon.get("/metrics")


def test_the_page_passes_promtool_and_our_own_lint():
    # The light call's turn would come in five minutes.
    with daemon_with_a_page('[probe.voice]\nschedule = "* * * * *"\nduration = "3 s"\n') as daemon:
        inspected(daemon)
        wait_for("a light call", lambda: daemon.metric('bellwether_probe_runs_total{probe="voice"}'), 100)
        page = daemon.get("/metrics")
        check = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        assert check.returncode == 0 and not check.stderr and not check.stdout, check.stdout + check.stderr
        lint(page)
        daemon.stop()


def lint(page):
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    assert len(samples) < 490, f"{len(samples)} series"
    for line in samples:
        name, labels, value = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line).groups()
        assert name.startswith("bellwether_"), name
        assert not FORBIDDEN_IN_NAMES.search(name), name
        assert re.fullmatch(r"[-+0-9.e]+", value), f"{name} is {value}"
        keys = set(re.findall(r'([a-z_]+)="', labels or ""))
        info = name.endswith("_info")
        assert info or not keys & FORBIDDEN_LABELS, f"{name} has {keys}"
        assert not [key for key in keys if key in name.split("_") and key != "probe"] or info, f"{name} names its label"
    families = re.findall(r"# HELP (\S+) (.*)", page)
    assert len({help_ for _, help_ in families}) >= len(families) - 1, "two families share a help text"


def test_the_page_has_media_resources_page_and_versions():
    with daemon_with_a_page() as daemon:
        page = inspected(daemon)
        wanted = ["media_success", "media_sender_lateness_seconds", "media_timer_overshoot_seconds",
                  "cpu_utilization_ratio", "memory_utilization_ratio", "disk_utilization_ratio",
                  "page_response_seconds", "page_success", "component_info", "build_info", "room_info"]
        timing = ["media_connect_seconds", "media_round_trip_seconds", "media_packet_delay_seconds",
                  "media_audio_delay_seconds", "media_video_delay_seconds", "media_jitter_seconds",
                  "media_delay_variation_seconds", "media_loss_ratio", "media_skew_seconds",
                  "media_frame_rate_hertz", "media_freeze_ratio"]
        # A box that was too busy to measure shows no timing at all.
        busy = daemon.metric('bellwether_probe_inconclusive_total{probe="call"}')
        for name in wanted + ([] if busy else timing):
            assert f"\nbellwether_{name}" in page, f"{name} is missing"
        for name in timing if busy else []:
            assert f"\nbellwether_{name}" not in page, f"{name} is shown of an inconclusive call"
        # The first inspection is to be over within 20 s: its call is shortened to 8 s.
        assert 8 < daemon.metric('bellwether_probe_last_duration_seconds{probe="call"}') < 20
        assert daemon.metric('bellwether_probe_runs_total{probe="voice"}') == 0, "it waits for its turn"
        assert daemon.get("/-/healthy") and daemon.get("/-/ready")
        daemon.stop()


def test_the_load_of_a_media_server_is_shown_by_an_exporter_and_a_document():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Debian's leaves loopback out, the one card that every machine has.
    exporter = subprocess.Popen(["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}",
                                 "--collector.netdev.device-exclude=^none$"], stderr=subprocess.DEVNULL)
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Daemon(BINARY, f"""
[probe.call]
enabled = false
[probe.voice]
enabled = false
[probe.media-box]
kind = "load"
source = "prometheus"
url = "http://127.0.0.1:{port}/metrics"
host = true
devices = ["lo"]
[probe.media-server]
kind = "load"
source = "json"
url = "http://127.0.0.1:{server.server_port}/stats"
users = "/users"
""") as daemon:
            busy = 'bellwether_service_cpu_utilization_ratio{probe="media-box"}'
            runs = 'bellwether_probe_runs_total{probe="media-box"}'
            wait_for("the first scrape", lambda: daemon.metric(runs), 40)
            assert daemon.metric(runs) > 1 or daemon.metric(busy) is None, "of one scrape there is no rate"
            wait_for("the second scrape", lambda: daemon.metric(busy), 140)
            assert 0 < daemon.metric(busy) <= 1
            assert daemon.metric('bellwether_service_users{probe="media-server"}') == 17
            # Both look at this very box.
            used = daemon.metric('bellwether_service_memory_utilization_ratio{probe="media-box"}')
            assert abs(used - daemon.metric('bellwether_memory_utilization_ratio{probe="box"}')) < 0.2, used
            for way in ("receive", "transmit"):
                # We scrape it ourselves.
                assert daemon.metric(f'bellwether_service_network_{way}_bytes_per_second{{probe="media-box"}}') > 0
            page = daemon.get("/metrics")
            check = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
            assert check.returncode == 0 and not check.stderr and not check.stdout, check.stdout + check.stderr
            lint(page)
            daemon.stop()
    finally:
        exporter.terminate()
        exporter.wait()
        server.shutdown()


def test_the_call_is_dtls_and_srtp_both_ways_between_two_sockets():
    daemon = daemon_with_a_page()
    capture = pathlib.Path(daemon.folder, "call.pcap")
    tcpdump = subprocess.Popen(["tcpdump", "-i", "lo", "-U", "-s", "128", "-Z", "root", "-w", capture, "udp"],
                               stderr=subprocess.PIPE, text=True)
    assert "listening on" in "".join(iter(lambda: tcpdump.stderr.read(1), "\n"))
    with daemon:
        inspected(daemon)
        tcpdump.terminate()
        tcpdump.wait()
        tcpdump.stderr.close()
        seen = kinds_by_direction(capture.read_bytes())
        pairs = [(a, b) for a, b in seen if a < b and {"dtls", "srtp"} <= seen[a, b] and {"dtls", "srtp"} <= seen.get((b, a), set())]
        assert pairs, f"found {dict(seen)}"
        daemon.stop()


def kinds_by_direction(pcap):
    """For each (source port, destination port): the kinds of datagram of RFC 7983."""
    seen = collections.defaultdict(set)
    at = 24
    while at + 16 <= len(pcap):
        length = struct.unpack_from("<I", pcap, at + 8)[0]
        frame = pcap[at + 16:at + 16 + length]
        at += 16 + length
        if len(frame) < 43 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
            continue
        udp = 14 + 4 * (frame[14] & 15)
        ports = struct.unpack_from(">HH", frame, udp)
        first = frame[udp + 8]
        kind = "dtls" if 20 <= first <= 63 else "srtp" if 128 <= first <= 191 else "other"
        seen[ports].add(kind)
    return seen


run_tests(globals())
