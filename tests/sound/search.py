"""Looks for a stretch of a known sound wherever something could have kept it.

Found are at least 32 samples in a row as they were, as 16 bit or as 32-bit floats of full scale 1, at any place of
any file; at least 72 samples at any gain in the same forms; packets of Opus of the same sound; and each of these
in Base64. An encoder whose frames begin elsewhere, or that was set otherwise, makes other packets, which nothing
short of decoding would know; so what begins like a file of sound is found as well, whatever is in it.
"""

import array
import base64
import binascii
import contextlib
import operator
import os
import pathlib
import re
import struct
import subprocess

# Bytes that are compared at once. They begin at every fifth byte of the sound, and at every ninth of what is looked
# through: as these have no common divisor, 45 bytes on from anywhere both have begun at the same place once.
MARK, OF_SOUND, OF_DATA = 16, 5, 9
# Signs of differences that are compared: at every place of the sound, at every eighth of what is looked through.
SIGNS, OF_SIGNS = 64, 8
# Beyond this, nothing is looked for at other gains: what is as large was not made by a probe.
LARGE = 32 << 20
LARGEST = 256 << 20
BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]|\\?[\r\n]|\\n|\\r){40,}={0,2}")
BEGINNINGS = (b"OggS\0", b"OpusHead", b"fLaC\0", b"caff\0\1", b"#!AMR")


class Sound:
    """What is looked for: samples of 16 bit, and their packets."""

    def __init__(self, samples, packets):
        exact = struct.pack(f"<{len(samples)}h", *samples)
        floats = struct.pack(f"<{len(samples)}f", *(sample / 32768 for sample in samples))
        self.marks = {}
        for form, data in (("16 bit", exact), ("floats", floats)):
            self._mark(form, data, range(0, len(data) - MARK, OF_SOUND))
        for packet in packets:
            # The beginning of a packet is much the same in all.
            self._mark("Opus", packet, range(4, len(packet) - MARK + 1))
        signs = rises(samples)
        all_signs = (signs[at:at + SIGNS] for at in range(len(signs) - SIGNS + 1))
        self.signs = {some for some in all_signs if telling(some)}
        # Whoever records with the poles swapped.
        self.signs |= {some.translate(bytes((1, 0)) + bytes(254)) for some in self.signs}
        assert len(self.marks) > 1000 and len(self.signs) > 1000, "too little to be recognised by"

    def _mark(self, form, data, places):
        for mark in (data[at:at + MARK] for at in places):
            if len(set(mark)) > MARK // 3:
                self.marks[mark] = form

    def found_in(self, data):
        """The forms in which bytes hold some of it."""
        found = self._as_it_was(data)
        if len(data) <= LARGE:
            found |= self._at_any_gain(data)
            # What is no text is not decoded: most of it could be read as Base64 for a while.
            for run in BASE64.findall(data):
                run = re.sub(rb"\\[nr]|[\\\r\n=]", b"", run).translate(bytes.maketrans(b"-_", b"+/"))
                for shift in range(4):
                    with contextlib.suppress(binascii.Error):
                        shifted = run[shift:]
                        decoded = base64.b64decode(shifted[:len(shifted) // 4 * 4])
                        found |= {f"{form} in Base64" for form in self._as_it_was(decoded) | self._at_any_gain(decoded)}
        return found

    def _as_it_was(self, data):
        marks = self.marks
        found = {f"a file that begins with {begin!r}" for begin in BEGINNINGS if data.startswith(begin)}
        if data[:4] in (b"RIFF", b"FORM") and data[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
            found.add("a file of sound")
        return found | {marks[data[at:at + MARK]] for at in range(0, len(data) - MARK + 1, OF_DATA)
                        if data[at:at + MARK] in marks}

    def _at_any_gain(self, data):
        found = set()
        for form, code, width in (("16 bit, at some gain", "h", 2), ("floats, at some gain", "f", 4)):
            for shift in range(width):
                samples = array.array(code)
                samples.frombytes(data[shift:shift + (len(data) - shift) // width * width])
                signs = rises(samples)
                if any(signs[at:at + SIGNS] in self.signs for at in range(0, len(signs) - SIGNS + 1, OF_SIGNS)):
                    found.add(form)
        return found


def rises(samples):
    """For each sample but the first, whether it is above the one before it."""
    return bytes(map(operator.gt, samples[1:], samples))


def telling(signs):
    """Whether hardly anything else has these signs: not the long rises and falls of low tones."""
    changes = signs.count(b"\0\1") + signs.count(b"\1\0")
    return SIGNS // 4 < changes < 3 * SIGNS // 4


def packets_of(samples, folder):
    """The packets of a sound as the reference encoder makes them, in the ways that calls use."""
    packets = []
    raw = struct.pack(f"<{len(samples)}h", *samples)
    for bits in ("16", "32", "64"):
        command = ["opusenc", "--quiet", "--raw", "--raw-bits", "16", "--raw-rate", "48000", "--raw-chan", "1",
                   "--bitrate", bits, "--framesize", "20", "-", "-"]
        ogg = subprocess.run(command, input=raw, capture_output=True, check=True, cwd=folder).stdout
        packets += ogg_packets(ogg)[2:]
    return packets


def ogg_packets(ogg):
    """The packets of one Ogg stream (RFC 3533)."""
    packets, packet, at = [], b"", 0
    while ogg[at:at + 4] == b"OggS":
        lengths = ogg[at + 27:at + 27 + ogg[at + 26]]
        at += 27 + len(lengths)
        for length in lengths:
            packet += ogg[at:at + length]
            at += length
            if length < 255:
                packets.append(packet)
                packet = b""
    return packets


# places


def files(roots, since, leave_out=()):
    """All files in folders that were changed since then."""
    for root in roots:
        for folder, below, names in os.walk(root):
            below[:] = [name for name in below if pathlib.Path(folder, name) not in leave_out]
            for name in names:
                path = pathlib.Path(folder, name)
                with contextlib.suppress(OSError):
                    status = path.lstat()
                    if path.is_file() and not path.is_symlink() and max(status.st_mtime, status.st_ctime) >= since:
                        yield path


def open_files(pid):
    """What a process has open that holds data, deleted files and memory without a name included."""
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(entry)
            if entry.stat().st_mode & 0o170000 == 0o100000 or target.startswith("/memfd:"):
                yield entry, target


def read(path):
    """The content of a file, or of as much of it as is looked at."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST)
    except OSError:
        return b""


def mappings(pid):
    """(first, last, flags, name) of what a process can write to."""
    found, entry = [], None
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if head := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line):
            entry = (int(head[1], 16), int(head[2], 16), head[3], head[4])
        elif line.startswith("VmFlags:") and "w" in entry[2] and not entry[3].startswith("[v"):
            found.append((entry[0], entry[1], line.split()[1:], entry[3]))
    return found


def memory(pid):
    """(flags, name, content) of each mapping of a process that it can write to."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, last, flags, name in mappings(pid):
            content = bytearray()
            for at in range(first, last, 1 << 20):
                try:
                    memory.seek(at)
                    content += memory.read(min(1 << 20, last - at))
                except OSError:
                    break
            yield flags, name, bytes(content)
