"""What stands before a peer in the test, to see how it was spoken to: a proxy that notes each exchange and
first sends whoever comes to the wrong door to the right one (307), and WHIP for the page in Chromium.
"""

import http.client
import http.server
import itertools
import json
import pathlib
import queue
import threading

PAGE = pathlib.Path(__file__).with_name("page.html")
PASSED_ON = ("Content-Type", "Authorization", "If-Match", "Location", "ETag", "Link", "Accept-Patch")


class Server:
    """A web server on a free port of loopback. Each exchange is noted as "METHOD path status"."""

    def __init__(self, host="127.0.0.1"):
        self.seen = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, answer = owner.answer(self.command, self.path, self.headers, body)
                owner.note(self.command, self.path, status)
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = do_DELETE = do_OPTIONS = handle_one

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://{host}:{self.server.server_port}"

    def note(self, method, path, status):
        self.seen.append(f"{method} {path} {status}")

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Proxy(Server):
    """Passes everything on to `host`:`port`; what comes to /moved/… is sent on to /… with 307."""

    def __init__(self, host, port):
        self.to = (host, port)
        super().__init__()

    def answer(self, method, path, headers, body):
        if path.startswith("/moved/"):
            return 307, [("Location", path.removeprefix("/moved"))], b""
        connection = http.client.HTTPConnection(*self.to, timeout=20)
        connection.request(method, path, body, {name: headers[name] for name in PASSED_ON if name in headers})
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        kept = [(name, value) for name in PASSED_ON for value in answer.headers.get_all(name, [])]
        return answer.status, kept, found


class Browser(Server):
    """WHIP on one connection for a page that polls: each POST is an offer for it, each DELETE ends that call."""

    def __init__(self):
        self.jobs = queue.Queue()
        self.answers = {}
        self.names = itertools.count()
        self.polled = threading.Event()
        super().__init__()

    def note(self, method, path, status):
        if path.startswith(("/whip", "/resource")):
            super().note(method, path, status)

    def answer(self, method, path, headers, body):
        if (method, path) == ("GET", "/"):
            return 200, [("Content-Type", "text/html")], PAGE.read_bytes()
        if (method, path) == ("GET", "/next"):
            self.polled.set()
            return 200, [("Content-Type", "application/json")], json.dumps(self.jobs.get()).encode()
        if method == "POST" and path.startswith("/answer/"):
            self.answers[path.removeprefix("/answer/")].put(body)
            return 204, [], b""
        if (method, path) == ("POST", "/whip"):
            name = str(next(self.names))
            self.answers[name] = queue.Queue()
            self.jobs.put({"name": name, "offer": body.decode()})
            answer = self.answers[name].get(timeout=20)
            if not answer.startswith(b"v=0"):
                return 500, [], answer
            return 201, [("Content-Type", "application/sdp"), ("Location", f"/resource/{name}")], answer
        if method == "DELETE" and path.removeprefix("/resource/") in self.answers:
            self.jobs.put({"name": path.removeprefix("/resource/")})
            return 200, [], b""
        return 404, [], b""
