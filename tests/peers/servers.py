"""The real peers: each starts a program that nobody here wrote, waits until it answers, and stops it.

All of them live in a network of their own (see peers.py), so ports need no search, nothing is reached
from outside, and the end of the run is the end of every process.
"""

import contextlib
import pathlib
import shutil
import socket
import subprocess
import urllib.request

from daemon import wait_for

# The address of this box in the network of the run, in both families.
HERE, HERE_6 = "192.0.2.1", "2001:db8::1"
JANUS, JANUS_WS, JANUS_ADMIN, WHIP, WHEP, ECHO, TURN, TURNS = 8088, 8188, 7088, 7080, 7090, 7100, 3478, 5349
ROOM, MOUNTPOINT = 1234, 1
TOKEN = "let-me-see"
JANUS_SECRET = "let-me-count"
TURN_USER, TURN_PASSWORD = "bellwether", "let-me-through"

JANUS_CONFIG = {
    "janus.jcfg": """
general: {{
    admin_secret = "{secret}"
    configs_folder = "{folder}"
    plugins_folder = "{folder}/plugins"
    transports_folder = "{folder}/transports"
    events_folder = "{folder}/none"
    loggers_folder = "{folder}/none"
}}
media: {{ ipv6 = true }}
""",
    "janus.transport.http.jcfg": """
general: {{ base_path = "/janus", http = true, port = {http} }}
admin: {{ admin_base_path = "/admin", admin_http = true, admin_port = {admin} }}
""",
    "janus.transport.websockets.jcfg": "general: {{ ws = true, ws_port = {ws} }}",
    "janus.plugin.echotest.jcfg": "general: {{ }}",
    "janus.plugin.videoroom.jcfg": """
room-{room}: {{ description = "classroom", publishers = 2, bitrate = 0, audiocodec = "opus", videocodec = "h264" }}
""",
    "janus.plugin.streaming.jcfg": """
classroom: {{
    type = "rtp"
    id = {mountpoint}
    media = (
        {{ type = "audio", mid = "a", port = 5002, pt = 111, codec = "opus" }},
        {{ type = "video", mid = "v", port = 5004, rtcpport = 5005, pt = 102, codec = "h264",
           fmtp = "profile-level-id=42e01f;packetization-mode=1" }}
    )
}}
""",
}
PARTS = {
    "plugins": ["libjanus_echotest.so", "libjanus_videoroom.so", "libjanus_streaming.so"],
    "transports": ["libjanus_http.so", "libjanus_websockets.so"],
}


class Peer:
    """A program under way. `log` is what it printed."""

    def __init__(self, name, command, ready, log, **options):
        self.name, self.log = name, pathlib.Path(log)
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)
        wait_for(f"{name} to answer", lambda: self._lives() and ready(), 30)

    def _lives(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {self.printed()[-2000:]}")
        return True

    def printed(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def answers(url):
    def ready():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(url, timeout=2).status == 200
    return ready


def listens(port, host="127.0.0.1"):
    def ready():
        with contextlib.suppress(OSError), socket.create_connection((host, port), 2):
            return True
    return ready


def janus(folder):
    folder = pathlib.Path(folder, "janus")
    for part, names in PARTS.items():
        (folder / part).mkdir(parents=True)
        for name in names:
            found = next(pathlib.Path("/usr/lib").glob(f"*/janus/{part}/{name}"))
            (folder / part / name).symlink_to(found)
    values = {"folder": folder, "http": JANUS, "ws": JANUS_WS, "admin": JANUS_ADMIN, "secret": JANUS_SECRET,
              "room": ROOM, "mountpoint": MOUNTPOINT}
    for name, text in JANUS_CONFIG.items():
        (folder / name).write_text(text.format(**values))
    command = ["janus", "-F", folder, "-C", folder / "janus.jcfg", "--disable-colors"]
    return Peer("Janus", command, answers(f"http://127.0.0.1:{JANUS}/janus/info"), folder / "log")


def whip(folder, installed):
    """Publishes into the room, and forwards what it gets to the mountpoint, as Janus' own demos do."""
    folder = pathlib.Path(folder, "whip")
    shutil.copytree(pathlib.Path(installed, "whip"), folder)
    (folder / "config.js").write_text(f"""module.exports = {{
        janus: {{ address: "ws://127.0.0.1:{JANUS_WS}" }}, port: {WHIP}, rest: "/whip", allowTrickle: true,
        strictETags: true, iceServers: [{{ uri: "stun:{HERE}:{TURN}" }}] }};""")
    environment = {"PATH": "/usr/bin:/bin", "NODE_PATH": str(pathlib.Path(installed, "node_modules"))}
    peer = Peer("the WHIP server", ["node", "server.js"], answers(f"http://127.0.0.1:{WHIP}/whip/healthcheck"),
                folder / "log", cwd=folder, env=environment)
    endpoint = f"""{{"id": "classroom", "room": {ROOM}, "token": "{TOKEN}",
        "recipient": {{"host": "127.0.0.1", "audioPort": 5002, "videoPort": 5004, "videoRtcpPort": 5005}}}}"""
    create = urllib.request.Request(f"http://127.0.0.1:{WHIP}/whip/create", endpoint.encode(),
                                    {"Content-Type": "application/json"})
    urllib.request.urlopen(create, timeout=5).close()
    return peer


def whep(folder, installed):
    script = pathlib.Path(__file__).with_name("whep.mjs")
    modules = pathlib.Path(installed, "node_modules").resolve()
    command = ["node", script, modules, str(WHEP), f"ws://127.0.0.1:{JANUS_WS}", str(ROOM), str(MOUNTPOINT)]
    return Peer("the WHEP server", command, answers(f"http://127.0.0.1:{WHEP}/whep/healthcheck"),
                pathlib.Path(folder, "whep.log"))


def aiortc(folder, installed, host):
    script = pathlib.Path(__file__).with_name("echo.py")
    url = f"http://[{host}]:{ECHO}/" if ":" in host else f"http://{host}:{ECHO}/"
    command = [pathlib.Path(installed, "venv/bin/python"), script, host, str(ECHO)]
    return Peer("aiortc", command, answers(url), pathlib.Path(folder, "aiortc.log"))


def certificates(folder):
    """A CA of our own, and a certificate by it for the addresses of this run: paths by name."""
    folder = pathlib.Path(folder, "tls")
    folder.mkdir()
    names = f"subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,IP:{HERE},IP:{HERE_6}"
    files = {name: folder / f"{name}.pem" for name in ("ca", "ca_key", "certificate", "key")}
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
           "-days", "2"]
    for command in (
        [*new, "-subj", "/CN=the school's CA", "-keyout", files["ca_key"], "-out", files["ca"]],
        [*new, "-subj", "/CN=turn", "-keyout", files["key"], "-out", files["certificate"], "-CA", files["ca"],
         "-CAkey", files["ca_key"], "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return files


def coturn(folder, certificate, key):
    command = ["turnserver", "-n", "--listening-ip", "127.0.0.1", "--listening-ip", HERE, "--relay-ip", HERE,
               "--listening-port", str(TURN), "--tls-listening-port", str(TURNS), "--no-dtls", "--no-cli",
               "--cert", certificate, "--pkey", key, "--lt-cred-mech", "--realm", "school", "--allow-loopback-peers",
               "--user", f"{TURN_USER}:{TURN_PASSWORD}", "--userdb", pathlib.Path(folder, "turn.db"),
               "--pidfile", pathlib.Path(folder, "turn.pid"), "--log-file", "stdout", "--simple-log", "--verbose"]
    ready = [listens(TURN), listens(TURNS)]
    return Peer("coturn", command, lambda: all(one() for one in ready), pathlib.Path(folder, "turn.log"))


def chromium(folder, front):
    """Shows the page of `front`, which answers calls."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
               "--autoplay-policy=no-user-gesture-required", "--disable-features=WebRtcHideLocalIpsWithMdns",
               f"--user-data-dir={pathlib.Path(folder, 'chromium')}", front.url]
    return Peer("Chromium", command, front.polled.is_set, pathlib.Path(folder, "chromium.log"))
