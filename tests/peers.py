#!/usr/bin/env python3
"""One real call to each of the far ends that nobody here wrote, and what could be measured of it.

    unshare --net --pid --fork --kill-child --mount-proc peers.py BELLWETHER INSTALLED

It runs in a network and among processes of its own: no port is taken, nothing is reached from outside, and
when it ends, however it ends, nothing is left. INSTALLED is what peers/install.sh made.
"""

import collections
import contextlib
import json
import math
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

sys.path.append(str(pathlib.Path(__file__).with_name("peers")))

import servers
from daemon import wait_for
from front import Browser, Proxy
from servers import ECHO, HERE, HERE_6, JANUS, JANUS_ADMIN, JANUS_SECRET, TOKEN, TURN, TURNS, WHEP, WHIP

BINARY, INSTALLED = (pathlib.Path(path).resolve() for path in sys.argv[1:3])

# What every call shows, and what only payloads that come back as they were can show.
OF_EVERY_CALL = {
    "media_success", "media_connect", "media_setup[signalling]", "media_setup[ice]", "media_setup[dtls]",
    "media_first_frame", "media_first_sound", "media_audio_delay[p95]",
    "media_video_delay[p95]", "media_skew", "media_frame_rate", "media_frame_ratio", "media_repeated_frames",
    "media_torn_frames", "media_freezes", "media_freeze_ratio", "media_freezes_libwebrtc", "media_pauses",
    "media_freeze_duration_libwebrtc", "media_jitter[audio]", "media_jitter[video]", "media_reported_loss[uplink,video]",
    "media_report_round_trip[p95]", "media_sender_lateness[p95]", "media_timer_overshoot[p99]",
} | {f"media_throughput[{way},{stream}]" for way in ("transmit", "receive") for stream in ("audio", "video")}
OF_FORWARDED = {f"{name}[{stream}]" for stream in ("audio", "video") for name in (
    "media_packet_delay[p95]", "media_delay_variation[p95]", "media_delay_change", "media_loss",
    "media_reported_loss[uplink]", "media_reported_loss[downlink]", "media_residual_loss", "media_late_packets",
    "media_repaired_packets", "media_reordering", "media_reordering_extent", "media_duplicates", "media_burst_loss",
    "media_burst_density", "media_burst_length", "media_gap_density", "media_loss_run",
)}
# A label of the name itself comes first.
OF_FORWARDED = {re.sub(r"\[(\w+)\]\[(\w+)\]", r"[\1,\2]", name) for name in OF_FORWARDED}
# The delays that stand on these; and key frames come as they were sent, not when the far end sees fit.
# Browsers report on sound so seldom that a short call may be without.
OF_FORWARDED |= {"media_playout_delay", "mouth_to_ear", "media_key_frame_interval", "media_map_skew"}
EXPECTED = {"forward": OF_EVERY_CALL | OF_FORWARDED, "transcode": OF_EVERY_CALL}
OF_LIGHT = {name for name in EXPECTED["forward"] if not re.search("video|frame|freeze|torn|pauses|skew", name)}

COLUMNS = [  # heading, reading, factor, digits
    ("connect ms", "media_connect", 1e3, 0), ("dtls ms", "media_setup[dtls]", 1e3, 0),
    ("picture ms", "media_first_frame", 1e3, 0),
    ("rtt up ms", "media_round_trip[uplink,p50]", 1e3, 2), ("rtt down ms", "media_round_trip[downlink,p50]", 1e3, 2),
    ("packet ms", "media_packet_delay[p50,audio]", 1e3, 2),
    ("sound ms", "media_audio_delay[p50]", 1e3, 1), ("video ms", "media_video_delay[p50]", 1e3, 1),
    ("skew ms", "media_skew", 1e3, 1), ("jitter ms", "media_jitter[audio]", 1e3, 2),
    ("lost up %", "media_reported_loss[uplink,video]", 1e2, 1),
    ("lost down %", "media_reported_loss[downlink,video]", 1e2, 1),
    ("frames/s", "media_frame_rate", 1, 1), ("frozen %", "media_freeze_ratio", 1e2, 1),
]


def run(*command):
    subprocess.run(command, check=True)


def own_network():
    """Loopback, and an interface with an address in both families, as servers use nothing less."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "room", "type", "veth", "peer", "name", "wire")
    for end in ("room", "wire"):
        run("ip", "link", "set", "dev", end, "addrgenmode", "none", "up")
    run("ip", "-6", "address", "add", f"{HERE_6}/64", "dev", "room", "nodad")
    add_ipv4()


def add_ipv4():
    run("ip", "address", "add", f"{HERE}/24", "dev", "room")
    # Leads nowhere. Browsers offer the address that their way out would have, and no other.
    run("ip", "route", "add", "default", "dev", "room")


# calls


def inspect(folder, far_end, probe=""):
    """The command that makes one call."""
    config = pathlib.Path(tempfile.mkdtemp(dir=folder), "bellwether.toml")
    length = "" if "duration" in probe else 'duration = "4 s"\n'
    config.write_text(f'[probe.call]\n{length}{probe}\n[probe.call.far_end]\n{far_end}\n')
    return [BINARY, "--config", config, "--state", config.parent, "inspect", "call"]


def on_a_terminal(command):
    """What a person sees while the command runs, and what is left when it has ended."""
    shown = subprocess.run(["script", "-qec", shlex.join(map(str, command)), "/dev/null"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60)
    return shown.stdout.rsplit("\x1b[K", 1)


class Call:
    """One call by `inspect`, with its readings by name and labels."""

    def __init__(self, folder, far_end, probe=""):
        shown = subprocess.run([*inspect(folder, far_end, probe), "--json"], capture_output=True, text=True, timeout=60)
        if not shown.stdout:
            raise AssertionError(f"ended with {shown.returncode}: {shown.stderr}")
        found = json.loads(shown.stdout)
        self.run = found["runs"][0]
        self.readings = {}
        for reading in found["readings"]:
            labels = ",".join(value for key, value in sorted(reading["labels"].items()) if key != "probe")
            self.readings[reading["metric"] + (f"[{labels}]" if labels else "")] = reading

    def value(self, name):
        """The value of a reading; of a leg, that of the one connection that is both legs."""
        reading = self.readings.get(name) or self.readings.get(re.sub("uplink|downlink", "both", name))
        return None if reading is None else reading["value"]

    def server_class(self):
        """What the far end does to sound and picture."""
        return " ".join(sorted({path["class"] for path in self.run["paths"]}))


# Calls to one far end, at most, until this box had the time to measure one. Only a call of which this box itself
# says that it was too busy is followed by another: whatever else goes wrong in any of them fails the test.
ATTEMPTS = 8
PAUSE = 3

rows = []


def examine(name, attempt, server_class, legs=("both",), expected=None):
    """Puts the calls into the table, and makes sure that all its class can show is there and can be believed."""
    for number in range(1, ATTEMPTS + 1):
        call = attempt()
        assert call.run["failure"] is None, f'{name}: {call.run["failure"]}'
        busy = call.run["inconclusive"] == "host_limited"
        rows.append((name, call, busy))
        if not busy:
            break
        print(f"busy    {name}: call {number} of at most {ATTEMPTS} could not be judged, host_limited", flush=True)
        time.sleep(PAUSE)
    else:
        raise AssertionError(f"{name}: this box was too busy to measure any of {ATTEMPTS} calls")
    assert call.run["inconclusive"] is None, f'{name}: {call.run["inconclusive"]}'
    assert call.value("media_success") == 1, f"{name}: {call.run}"
    assert call.server_class() == server_class, f"{name}: {call.server_class()}, {sorted(call.readings)}"
    expected = (expected or EXPECTED[server_class]) | {f"media_round_trip[{leg},p95]" for leg in legs}
    missing = expected - set(call.readings)
    assert not missing, f"{name}: nothing read of {sorted(missing)}"
    broken = [key for key, reading in call.readings.items() if not math.isfinite(reading["value"])]
    assert not broken, f"{name}: {broken}"
    # A single stop of this box may leave open what such a stop can move, and says so.
    vague = [key for key in expected if call.readings[key]["validity"] == "inconclusive"
             and call.readings[key]["reason"] != "host_limited"]
    assert not vague, f"{name}: {vague}"
    return call


def table():
    print(f'\n{"far end":32}{"class":11}' + "".join(f"{heading:>12}" for heading, *_ in COLUMNS))
    for name, call, busy in rows:
        cells = []
        for _, key, factor, digits in COLUMNS:
            value = call.value(key)
            cells.append(f'{"-" if value is None else f"{value * factor:.{digits}f}":>12}')
        print(f"{name:32}{call.server_class():11}" + "".join(cells) + ("  host_limited" if busy else ""))


# what the wire shows


class Wire:
    """Everything on loopback, which is where datagrams between addresses of one box go."""

    def __init__(self, folder):
        self.file = pathlib.Path(folder, "wire.pcap")
        command = ["tcpdump", "-i", "lo", "-U", "-s", "128", "-B", "8192", "-Z", "root", "-w", self.file, "udp"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert "listening on" in "".join(iter(lambda: self.process.stderr.read(1), "\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()

    def datagrams(self):
        """(version of IP, DSCP, source port, destination port, payload) of each."""
        pcap = self.file.read_bytes()
        at = 24
        while at + 16 <= len(pcap):
            length = struct.unpack_from("<I", pcap, at + 8)[0]
            frame = pcap[at + 16:at + 16 + length]
            at += 16 + length
            packet = frame[14:]
            if frame[12:14] == b"\x08\x00":
                udp, traffic_class = 4 * (packet[0] & 15), packet[1]
            elif frame[12:14] == b"\x86\xdd" and packet[6] == 17:
                udp, traffic_class = 40, struct.unpack_from(">H", packet)[0] >> 4 & 0xFF
            else:
                continue
            source, to = struct.unpack_from(">HH", packet, udp)
            yield packet[0] >> 4, traffic_class >> 2, source, to, packet[udp + 8:]

    def rates(self, seconds):
        """Bits per second of each flow that carries media, in the last seconds of the call, with headers of IPv6."""
        pcap, at, flows = self.file.read_bytes(), 24, {}
        while at + 16 <= len(pcap):
            second, micro, length, _ = struct.unpack_from("<4I", pcap, at)
            packet = pcap[at + 16 + 14:at + 16 + length]
            at += 16 + length
            if packet[0] >> 4 == 4:
                source, to, size = struct.unpack_from(">3H", packet, 4 * (packet[0] & 15))
                flows.setdefault((source, to), []).append((second + micro / 1e6, 8 * (40 + size)))
        media = {flow: datagrams for flow, datagrams in flows.items() if len(datagrams) > 40 * seconds}
        assert media, {flow: len(datagrams) for flow, datagrams in flows.items()}
        ends = {flow: datagrams[-1][0] - 0.5 for flow, datagrams in media.items()}
        return {flow: sum(bits for when, bits in datagrams if ends[flow] - seconds <= when < ends[flow]) / seconds
                for flow, datagrams in media.items()}


def kind(payload):
    """What a datagram of a call is, by RFC 7983 and RFC 5761; media by its payload type."""
    first, second = (payload + b"\0\0")[:2]
    if 128 <= first <= 191:
        return "reports" if 192 <= second <= 223 else f"media {second & 127}"
    return "handshake" if 20 <= first <= 63 else "checks" if first < 4 else "other"


# the far ends


def exchanges(seen, *expected):
    """All of these were seen, in this order."""
    rest = iter(seen)
    for pattern in expected:
        assert any(re.fullmatch(pattern, one) for one in rest), f"no {pattern} in its place: {seen}"


def refuses(url):
    """The server wants the token: without it, it takes nothing."""
    request = urllib.request.Request(url, b"v=0\r\n", {"Content-Type": "application/sdp"}, method="POST")
    try:
        urllib.request.urlopen(request, timeout=5)
    except urllib.error.HTTPError as error:
        assert error.code in (401, 403), error.code
    else:
        raise AssertionError(f"{url} takes calls without a token")


@contextlib.contextmanager
def running(*peers):
    try:
        yield peers
    finally:
        for peer in reversed(peers):
            peer.stop()


class JanusProxy(Proxy):
    """Notes what Janus is asked, by the word in the request."""

    def answer(self, method, path, headers, body):
        status, kept, answer = super().answer(method, path, headers, body)
        if method == "POST":
            self.seen.append(json.loads(body).get("janus"))
        return status, kept, answer

    def note(self, method, path, status):
        pass


def janus_far_end(proxy, more=""):
    return f'kind = "janus"\nurl = "{proxy.url}/janus"\n{more}'


def test_janus_echo_test_and_the_marks_on_the_wire(folder):
    with running(servers.janus(folder), JanusProxy("127.0.0.1", JANUS)) as (_, proxy):
        def attempt():
            proxy.seen.clear()
            with Wire(folder) as wire:
                call = Call(folder, janus_far_end(proxy), "dscp = { audio = 46, video = 34 }")
            exchanges([word for word in proxy.seen if word], "create", "attach", "message", "destroy")
            print("marks read back: " + marks_of_ours(wire))
            return call

        examine("Janus, echo test", attempt, "forward")


def marks_of_ours(wire):
    """Sound is marked with 46, and so is all that serves the connection; pictures with 34."""
    flows = list(wire.datagrams())
    ours = {source for _, dscp, source, _, _ in flows if dscp}
    found = {}
    for _, dscp, source, _, payload in flows:
        if source in ours:
            found.setdefault(kind(payload), collections.Counter())[dscp] += 1
    media = sorted(name for name in found if name.startswith("media "))
    assert media == ["media 102", "media 111"], found
    wanted = {"media 111": 46, "media 102": 34, "checks": 46, "handshake": 46, "reports": 46}
    assert {name: set(marks) for name, marks in found.items()} == {name: {mark} for name, mark in wanted.items()}, found
    return ", ".join(f"{name} {mark} on {found[name][mark]}" for name, mark in wanted.items())


def test_janus_through_coturn_by_udp_tcp_and_tls(folder):
    tls = servers.certificates(folder)
    password = secret(folder, "turn-password", servers.TURN_PASSWORD)
    with running(servers.janus(folder), servers.coturn(folder, tls["certificate"], tls["key"]),
                 JanusProxy("127.0.0.1", JANUS)) as (_, coturn, proxy):
        for name, url, port, more in (
            ("UDP", f"turn:{HERE}:{TURN}?transport=udp", TURN, ""),
            ("TCP", f"turn:{HERE}:{TURN}?transport=tcp", TURN, ""),
            ("TLS", f"turns:{HERE}:{TURNS}?transport=tcp", TURNS, f'ca_file = "{tls["ca"]}"\n'),
        ):
            far_end = janus_far_end(proxy, f"""relay_only = true
{more}
[[probe.call.far_end.ice_servers]]
urls = ["{url}"]
username = "{servers.TURN_USER}"
credential_file = "{password}"
""")

            def attempt():
                before = len(coturn.printed())
                call = Call(folder, far_end)
                wait_for("coturn to see the end", lambda: relayed(coturn.printed()[before:], port), 10)
                return call

            examine(f"Janus through coturn by {name}", attempt, "forward")


LIGHT = 'profile = "light"\nduration = "6 s"\n'


def examine_light(name, attempt, legs=("both",)):
    """Nothing of a picture is there, and nothing is said to be missing."""
    call = examine(name, attempt, "forward", legs, OF_LIGHT)
    pictures = [key for key in call.readings if re.search("video|frame|freeze|torn|pauses|skew", key)]
    assert not pictures and not call.run["absent"], (pictures, call.run["absent"])


def test_light_calls_to_janus_directly_and_through_coturn(folder):
    tls = servers.certificates(folder)
    password = secret(folder, "turn-password", servers.TURN_PASSWORD)
    through = f"""relay_only = true

[[probe.call.far_end.ice_servers]]
urls = ["turn:{HERE}:{TURN}?transport=udp"]
username = "{servers.TURN_USER}"
credential_file = "{password}"
"""
    with running(servers.janus(folder), servers.coturn(folder, tls["certificate"], tls["key"]),
                 JanusProxy("127.0.0.1", JANUS)) as (_, coturn, proxy):
        for name, more in (("Janus, light", ""), ("Janus through coturn, light", through)):
            def attempt():
                with Wire(folder) as wire:
                    call = Call(folder, janus_far_end(proxy, more), LIGHT)
                for (source, to), rate in sorted(wire.rates(6).items()):
                    print(f"{name}: {rate / 1e3:.1f} kbit/s from port {source} to {to}, if it were IPv6")
                    assert rate <= 60e3, f"{name}: {rate} bit/s"
                return call

            examine_light(name, attempt)


def relayed(log, port):
    """Whether coturn ended an allocation of ours at that port, after it had relayed a call's worth of packets."""
    packets = {session: int(count) for session, count in re.findall(
        rf"session (\d+): usage: .*username=<{servers.TURN_USER}>, rp=(\d+)", log)}
    ended = re.findall(rf"session (\d+): closed .*user <{servers.TURN_USER}> .*local \S+:{port},", log)
    return [session for session in ended if packets.get(session, 0) > 200]


def secret(folder, name, text):
    path = pathlib.Path(folder, name)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_sessions_of_janus_by_its_admin_api(folder):
    def ask(word):
        body = json.dumps({"janus": word, "transaction": "t"}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{JANUS}/janus", body, timeout=5) as answer:
            assert json.load(answer)["janus"] == "success"

    def inspected(key):
        """The run of a load probe with that secret, and the users it has read."""
        config = pathlib.Path(tempfile.mkdtemp(dir=folder), "bellwether.toml")
        config.write_text(f"""[probe.media-server]
kind = "load"
source = "janus"
url = "http://127.0.0.1:{JANUS_ADMIN}/admin"
admin_secret_file = "{key}"
""")
        command = [BINARY, "--config", config, "--state", config.parent, "inspect", "media-server", "--json"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert JANUS_SECRET not in shown.stdout + shown.stderr
        found = json.loads(shown.stdout)
        return found["runs"][0], [reading["value"] for reading in found["readings"] if reading["metric"] == "service_users"]

    with running(servers.janus(folder)):
        key = secret(folder, "admin-secret", JANUS_SECRET)
        for opened in range(3):
            run, users = inspected(key)
            assert run["failure"] is None and users == [opened], run
            ask("create")
        run, users = inspected(secret(folder, "wrong-secret", "let-me-in"))
        assert run["failure"]["reason"] == "not_permitted" and not users, run


def test_a_room_of_janus_by_whip_and_whep(folder):
    token = secret(folder, "token", TOKEN)
    tls = servers.certificates(folder)
    with running(servers.janus(folder), servers.coturn(folder, tls["certificate"], tls["key"]),
                 servers.whip(folder, INSTALLED), servers.whep(folder, INSTALLED),
                 Proxy("127.0.0.1", WHIP), Proxy("127.0.0.1", WHEP)) as peers:
        publish, subscribe = peers[-2:]
        refuses(f"{publish.url}/whip/endpoint/classroom")
        for name, endpoint, answered in (
            ("stream", "stream", ["POST /whep/endpoint/stream 201"]),
            ("room", "room", ["POST /whep/endpoint/room 406", r"PATCH /whep/resource/\w+ 204"]),
        ):
            refuses(f"{subscribe.url}/whep/endpoint/{endpoint}")

            def attempt():
                publish.seen.clear()
                subscribe.seen.clear()
                call = Call(folder, f"""kind = "whip_whep"
publish = "{publish.url}/moved/whip/endpoint/classroom"
subscribe = "{subscribe.url}/whep/endpoint/{endpoint}"
token_file = "{token}"
""")
                # A server that saw the connection end before the request came has nothing left to delete.
                exchanges(publish.seen, "POST /moved/whip/endpoint/classroom 307", "POST /whip/endpoint/classroom 201",
                          "DELETE /whip/resource/classroom (200|404)")
                exchanges(subscribe.seen, *answered, r"DELETE /whep/resource/\w+ (200|404)")
                return call

            examine(f"Janus by WHIP and WHEP, {name}", attempt, "forward", ("uplink", "downlink"))

        def light():
            return Call(folder, f"""kind = "whip_whep"
publish = "{publish.url}/whip/endpoint/classroom"
subscribe = "{subscribe.url}/whep/endpoint/stream"
token_file = "{token}"
""", LIGHT)

        examine_light("Janus by WHIP and WHEP, light", light, ("uplink", "downlink"))
        pair = f"""kind = "whip_whep"
publish = "{publish.url}/whip/endpoint/classroom"
subscribe = "{subscribe.url}/whep/endpoint/stream"
"""
        progress, table = on_a_terminal(inspect(folder, f'{pair}token_file = "{token}"'))
        exchanges(re.findall(r"call: (\w+) \d+ %", progress), *2 * ["signalling", "ice", "dtls"], "media", "media")
        assert table.startswith("PROBE ") and "\ncall: video: H264 " in table and "\nverdict: " in table, table
        other = secret(folder, "other", "let-me-out")
        _, table = on_a_terminal(inspect(folder, f'{pair}token_file = "{other}"'))
        assert re.search(r"\ncall: signalling: .* 403 .*\n  → .*token_file", table), table


def reflect(proxy):
    return f'kind = "reflect"\nurl = "{proxy.url}/whip"'


def test_aiortc_codes_anew(folder):
    with running(servers.aiortc(folder, INSTALLED, "127.0.0.1"), Proxy("127.0.0.1", ECHO)) as (_, proxy):
        def attempt():
            proxy.seen.clear()
            call = Call(folder, reflect(proxy))
            exchanges(proxy.seen, "POST /whip 201", r"DELETE /resource/\d+ 200")
            return call

        examine("aiortc", attempt, "transcode")


@contextlib.contextmanager
def without_ipv4():
    run("ip", "address", "del", f"{HERE}/24", "dev", "room")
    try:
        yield
    finally:
        add_ipv4()


def test_aiortc_by_ipv6_alone(folder):
    with without_ipv4(), running(servers.aiortc(folder, INSTALLED, "::1")):
        def attempt():
            with Wire(folder) as wire:
                call = Call(folder, f'kind = "reflect"\nurl = "http://[::1]:{ECHO}/whip"')
            media = [version for version, _, _, _, payload in wire.datagrams() if kind(payload).startswith("media")]
            assert media.count(6) > 200 and media.count(4) == 0, f"{media.count(6)} by IPv6, {media.count(4)} by IPv4"
            return call

        examine("aiortc by IPv6", attempt, "transcode")


def test_chromium_codes_anew(folder):
    with running(Browser()) as (front,), running(servers.chromium(folder, front)):
        def attempt():
            front.seen.clear()
            call = Call(folder, reflect(front))
            exchanges(front.seen, "POST /whip 201", r"DELETE /resource/\d+ 200")
            return call

        examine("Chromium", attempt, "transcode")


def main():
    own_network()
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    if not shutil.which("chromium"):
        del tests["test_chromium_codes_anew"]
    failed = 0
    for name, test in tests.items():
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bellwether-peers-") as folder:
            try:
                test(folder)
                print(f"ok      {name} ({time.monotonic() - began:.0f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {name}", flush=True)
                traceback.print_exc()
                for log in sorted(pathlib.Path(folder).rglob("*log")):
                    print(f"--- {log.relative_to(folder)}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
    table()
    examined = sum(not busy for *_, busy in rows)
    print(f"{examined} of {len({name for name, *_ in rows})} far ends were examined in {len(rows)} calls; of "
          f"{len(rows) - examined} this box said that it was too busy to measure")
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
