"""A voice that is planted at a microphone, and a watch over all places where some of it could be kept."""

import array
import base64
import pathlib
import random
import struct
import time

import search

# Where a system keeps what programs leave behind.
PLACES = ["/tmp", "/var/tmp", "/dev/shm", "/run", "/var/log", "/var/crash", "/var/lib/systemd/coredump"]


def voice(seconds, seed=7):
    """Sound like speech: noise of a falling spectrum in bursts of syllables. Each sample of it is known."""
    drawn = random.Random(seed)
    samples, low = array.array("h"), 0.0
    for at in range(int(seconds * 48_000)):
        loud = 0.15 + 0.85 * abs(at / 48_000 * 4 % 2 - 1)
        noise = drawn.gauss(0, 1)
        low += 0.25 * (noise - low)
        samples.append(max(-32768, min(32767, round(9000 * loud * (low + 0.2 * noise)))))
    return samples


class Watch:
    """Everything that a measurement could leave behind."""

    def __init__(self, sound, roots, leave_out):
        self.sound, self.since, self.roots, self.leave_out = sound, time.time() - 1, roots, leave_out
        self.known = {}

    def found(self, processes, said):
        """What is where."""
        found, looked = {}, 0
        for path in search.files(self.roots, self.since, self.leave_out):
            changed = path.stat().st_mtime_ns if path.exists() else 0
            looked += 1
            if self.known.get(path, (None,))[0] != changed:
                self.known[path] = changed, self.sound.found_in(search.read(path))
            found[str(path)] = self.known[path][1]
        for pid in processes:
            for entry, target in search.open_files(pid):
                found[f"{target}, open in {pid}"] = self.sound.found_in(search.read(entry))
        for name, text in said.items():
            found[name] = self.sound.found_in(text.encode())
        print(f"privacy: {looked} changed files looked through", flush=True)
        return {place: forms for place, forms in found.items() if forms}


def plant_controls(sound, folder, packets):
    """Leaves it in each form in which it must be found: (file, form)."""
    some = sound[30_011:30_047]
    exact = struct.pack(f"<{len(some)}h", *some)
    floats = struct.pack(f"<{len(some)}f", *(sample / 32768 for sample in some))
    half = struct.pack("<80h", *(round(sample / 2) for sample in sound[50_000:50_080]))
    packet = next(packet for packet in packets[20:] if len(packet) >= 28)
    controls = {"16 bit": exact, "floats": floats, "16 bit, at some gain": half, "Opus": packet}
    for shift in range(3):
        for form in ("16 bit", "floats", "Opus"):
            controls[f"{form} in Base64", shift] = b'{"of": "' + base64.b64encode(bytes(30 + shift) + controls[form]) + b'"}'
    placed = []
    for number, (form, data) in enumerate(controls.items()):
        path = pathlib.Path(folder, f"control-{number}")
        path.write_bytes(random.Random(number).randbytes(101 + number) + data + b"\0" * 57)
        placed.append((path, form if isinstance(form, str) else form[0]))
    return placed
