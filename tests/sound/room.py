#!/usr/bin/env python3
"""A virtual room: what the loudspeaker is given goes through air of known delay and gain to the microphone.

    room.py LOUDSPEAKER AIR [wait]

With `wait`, what comes in before the way out is open is left out, for servers that would keep it as delay.

It records the monitor of the sink LOUDSPEAKER and plays to the sink AIR, sample by sample: as long as no stream
of it runs dry, its delay is constant, and only what it is told changes it. Commands come by standard input, one
a line, and are answered by `done` when they hold:

    delay N      samples between what comes in and what goes out
    gain DB      of that way; `gain off`: nothing goes through
    noise DB     white, below full scale; `noise off`
    slip N       N samples of silence too much, or -N samples left out, once
    plant FILE   sound somebody makes in the room, as samples of 16 bit, again and again; `plant off`
    dead         from now on only zeros go out
    alive        the end of that
    slips        answered by how often a stream of the room has run dry or over
"""

import array
import contextlib
import random
import subprocess
import sys
import threading

BLOCK = 480
RATE = 48_000
LONGEST = 2 * RATE
# Samples that are given to the server before they are heard: 120 ms.
AHEAD = 12 * BLOCK


class Streams:
    """One recording and one playing stream. Both are watched: what is lost or late in them is counted."""

    def __init__(self, loudspeaker, air):
        common = ["--raw", "--format=s16le", f"--rate={RATE}", "--channels=1", "--channel-map=mono", "-v"]
        self.record = subprocess.Popen(
            ["parec", "-d", f"{loudspeaker}.monitor", "--latency-msec=10", "--client-name=air in", *common],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.play = subprocess.Popen(
            ["pacat", "-p", "-d", air, "--latency-msec=120", "--client-name=air out", *common],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.slips, self.started = 0, threading.Event()
        for process in (self.record, self.play):
            threading.Thread(target=self._watch, args=(process.stderr,), daemon=True).start()

    def _watch(self, stderr):
        for line in stderr:
            if b"underrun" in line or b"overrun" in line:
                self.slips += 1
            elif b"Stream started" in line:
                self.started.set()

    def blocks(self):
        """What the loudspeaker was given, block by block, until the stream ends."""
        given = 0
        while len(raw := self.record.stdout.read(2 * BLOCK)) == 2 * BLOCK:
            if self.started.is_set():
                yield array.array("h", raw)
            elif given < 2 * AHEAD:
                # What piled up before the other stream began would be late for good.
                self.give([0] * BLOCK)
                given += BLOCK

    def give(self, samples):
        self.play.stdin.write(array.array("h", samples).tobytes())
        self.play.stdin.flush()

    def close(self):
        for process in (self.record, self.play):
            process.terminate()
            process.wait()


class Air:
    """What lies between loudspeaker and microphone."""

    def __init__(self, streams):
        self.streams = streams
        self.history = array.array("h", bytes(2 * LONGEST))
        self.delay, self.gain, self.dead = 0, 1.0, False
        self.noise, self.planted, self.at, self.skipped = None, None, 0, 0
        self.asked, self.lock = [], threading.Lock()

    def command(self, word, value):
        """Takes over one command; gives its answer."""
        if word == "delay":
            self.delay = int(value)
        elif word == "gain":
            self.gain = 0.0 if value == "off" else 10 ** (float(value) / 20)
        elif word == "noise":
            seeded = random.Random(1)
            rms = 0.0 if value == "off" else 32768 * 10 ** (float(value) / 20)
            self.noise = array.array("h", (round(seeded.gauss(0, rms)) for _ in range(5 * RATE))) if rms else None
        elif word == "slip":
            if int(value) > 0:
                self.streams.give([0] * int(value))
            else:
                self.skipped -= int(value)
        elif word == "plant":
            self.at = 0
            self.planted = None if value == "off" else array.array("h", open(value, "rb").read())
        elif word in ("dead", "alive"):
            self.dead = word == "dead"
        elif word == "slips":
            return str(self.streams.slips)
        else:
            return f"not understood: {word}"
        return "done"

    def hear(self, block):
        """What the microphone is to hear after the loudspeaker was given this."""
        del self.history[:len(block)]
        self.history.extend(block)
        end = len(self.history) - self.delay
        heard = self.history[end - len(block):end]
        if self.dead:
            return bytes_of_silence(len(block))
        if self.gain != 1.0:
            gain = self.gain
            heard = [round(gain * sample) for sample in heard]
        for added in (self.noise, self.planted):
            if added:
                length = len(added)
                heard = [max(-32768, min(32767, sample + added[(self.at + n) % length]))
                         for n, sample in enumerate(heard)]
        self.at += len(block)
        return heard

    def run(self):
        for block in self.streams.blocks():
            with self.lock:
                for word, value in self.asked:
                    print(self.command(word, value), flush=True)
                self.asked.clear()
            heard = self.hear(block)
            left_out = min(self.skipped, len(heard))
            self.skipped -= left_out
            self.streams.give(heard[left_out:])

    def listen(self):
        """Takes commands until there are no more, which is the end of the room."""
        for line in sys.stdin:
            word, _, value = line.strip().partition(" ")
            with self.lock:
                self.asked.append((word, value))
        self.streams.close()


def bytes_of_silence(length):
    return array.array("h", bytes(2 * length))


def main():
    streams = Streams(*sys.argv[1:3])
    if sys.argv[3:] != ["wait"]:
        streams.started.set()
    air = Air(streams)
    threading.Thread(target=air.listen, daemon=True).start()
    # When it is over, its streams end in whichever order.
    with contextlib.suppress(BrokenPipeError):
        air.run()


main()
