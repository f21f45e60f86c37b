#!/usr/bin/env python3
"""A vendor's receiver for the kill test: a process of its own that stores every request raw, as it
arrived, and removes nothing.

    receiver.py FOLDER PORT ANSWER [HOLD]

ANSWER: ok      202
        500     500, after reading the whole request
        drop    none: reads the whole request and closes
HOLD:   accept  takes no connection, the kernel holds what the client sends
        byte    reads one byte and no more
until FOLDER/go is there.

FOLDER/requests/N.raw is a request, N.done exists once it was read whole, N.answered once the answer
was written. FOLDER/first-byte exists after the first byte of any request.
"""

import pathlib
import re
import socket
import sys
import threading
import time


def read_request(connection, target):
    """Reads one request into the file as it comes; returns whether it came whole."""
    data = b""
    with open(target, "ab", buffering=0) as out:
        while True:
            head_end = data.find(b"\r\n\r\n")
            if head_end >= 0:
                length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", data[:head_end])
                if len(data) >= head_end + 4 + int(length.group(1) if length else 0):
                    return True
            piece = connection.recv(1 if not data else 65536)
            if not piece:
                return False
            out.write(piece)
            if not data:
                (FOLDER / "first-byte").touch()
                hold("byte")
            data += piece


def hold(where):
    while HOLD == where and not (FOLDER / "go").exists():
        time.sleep(0.002)


def serve(connection, target):
    with connection:
        try:
            whole = read_request(connection, target)
            if not whole:
                return
            target.with_suffix(".done").touch()
            if ANSWER == "drop":
                return
            status = b"500 Internal Server Error" if ANSWER == "500" else b"202 Accepted"
            connection.sendall(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            target.with_suffix(".answered").touch()
        except OSError:
            return


def main():
    requests = FOLDER / "requests"
    requests.mkdir(parents=True, exist_ok=True)
    listener = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(64)
    print("listening", flush=True)
    number = len(list(requests.glob("*.raw")))
    hold("accept")
    while True:
        connection, _ = listener.accept()
        number += 1
        threading.Thread(target=serve, args=(connection, requests / f"{number}.raw"), daemon=True).start()


FOLDER, PORT, ANSWER = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
HOLD = sys.argv[4] if len(sys.argv) > 4 else ""
main()
