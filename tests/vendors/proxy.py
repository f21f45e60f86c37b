"""A way to a vendor's server on which answers fare badly: the request is passed on, the server does its work, and what
then becomes of the answer is decided here."""

import random
import re
import socket
import threading
import time
import urllib.parse

from wire import Server, read_message


class Proxy:
    """Listens on a port of its own. `fate(request, answer, draw)` gives what is sent back, None for nothing at all;
    `draw` is a number from 0 to 1, by a seed. `lost` counts the answers that did not come back as they were."""

    def __init__(self, origin, fate, seed=1):
        place = urllib.parse.urlsplit(origin)
        self.target = (place.hostname, place.port)
        self.fate = fate
        self.draws = random.Random(seed)
        self.lock = threading.Lock()
        self.lost = self.passed = 0
        self.server = Server(self.serve)
        self.origin = self.server.origin

    def serve(self, connection):
        # One request a connection, and the other side is told so.
        request = read_message(connection)
        if request is None:
            return
        with socket.create_connection(self.target, timeout=120) as server:
            server.sendall(closing(request))
            answer = read_message(server)
        if answer is None:
            return
        with self.lock:
            draw = self.draws.random()
        given = self.fate(request, answer, draw)
        with self.lock:
            self.lost += given != answer
            self.passed += given == answer
        if given is not None:
            connection.sendall(closing(given))

    def close(self):
        self.server.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def closing(message):
    head, found, body = message.partition(b"\r\n\r\n")
    head = re.sub(rb"(?i)\r\n(connection|keep-alive):[^\r]*", b"", head)
    return head + b"\r\nConnection: close" + found + body


def is_read(request):
    return request.split(b" ", 1)[0] in (b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"REPORT")


def dropping(share):
    """Of all answers this share never comes back."""
    return lambda request, answer, draw: None if draw < share else answer


def broken(share):
    """Of what changes something this share is answered with 500, although it was done."""
    oops = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
    return lambda request, answer, draw: oops if draw < share and not is_read(request) else answer


def late(share, seconds):
    """Of what changes something this share is answered so much later than it was done."""
    def fate(request, answer, draw):
        if draw < share and not is_read(request):
            time.sleep(seconds)
        return answer
    return fate
