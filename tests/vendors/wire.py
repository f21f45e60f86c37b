"""What the servers of these tests have in common: HTTP as it stands on the wire, kept as it came."""

import contextlib
import re
import socket
import threading


def read_message(connection, piece_read=lambda piece: None):
    """Reads one request or answer whole; None if it did not come whole. Without a length, an answer's body goes on
    until the connection ends."""
    data = b""
    while True:
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
            if length:
                if len(body) >= int(length.group(1)):
                    return data
            elif not data.startswith(b"HTTP/"):
                return data
            elif re.match(rb"HTTP/1\.\d (1..|204|304)", data):
                return data
            elif re.search(rb"(?i)\r\ntransfer-encoding:\s*chunked", head) and data.endswith(b"\r\n0\r\n\r\n"):
                return data
        piece = connection.recv(65536)
        if not piece:
            to_the_end = found and data.startswith(b"HTTP/") and b"chunked" not in head.lower() and not length
            return data if to_the_end else None
        piece_read(piece)
        data += piece


def head_and_body(message):
    """The first line, the headers by their small names, the body."""
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return first, headers, body


class Server:
    """Takes connections in threads of its own; `serve(connection)` is called for each."""

    def __init__(self, serve, port=0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        # Whoever is killed while it speaks closes its end.
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def close(self):
        # Wakes the thread that waits in it.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
