#!/usr/bin/env python3
"""The figures that bellwether promises, measured: exactness of the call, its share of conclusive runs on
a busy box, and what the daemon costs beside the exporters that Debian ships.

    bars.py BELLWETHER [calls|cost|footprint]

Prints a table and ends with 1 if a bar is not reached. Real time is measured here and asserted nowhere
else; how late the box itself was stands beside each figure.
"""

import contextlib
import json
import os
import pathlib
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from daemon import Daemon, wait_for
from proc import children, cpu, memory, status, tree
from promised import bar, end

BINARY = pathlib.Path(sys.argv[1]).resolve()
# What all figures of calls are of, whatever the default.
LENGTH = 'duration = "8 s"\n'
IDLE, RUNS = 60, 20
# Seconds until a footprint has settled, and over which it is taken.
SETTLES, WATCHED = 30, 120
NO_VOICE = "[probe.voice]\nenabled = false\n"


# calls


def call(folder, delay_ms=0):
    config = pathlib.Path(folder, f"call-{delay_ms}.toml")
    rehearsal = f'[probe.call.rehearsal]\ndelay = "{delay_ms} ms"\n' if delay_ms else ""
    config.write_text(f"[probe.call]\n{LENGTH}{rehearsal}")
    shown = subprocess.run([BINARY, "--config", config, "--state", folder, "inspect", "call", "--json"],
                           capture_output=True, text=True)
    found = json.loads(shown.stdout)
    values = {}
    for reading in found["readings"]:
        labels = ",".join(value for key, value in sorted(reading["labels"].items()) if key != "probe")
        values[f'{reading["metric"]}[{labels}]'] = reading["value"]
    run = found["runs"][0]
    return {"verdict": found["verdict"], "why": run["inconclusive"] or (run["failure"] or {}).get("reason"), "values": values}


def series(name, folder, count, delay_ms=0):
    runs = []
    for number in range(1, count + 1):
        run = call(folder, delay_ms)
        runs.append(run)
        get = run["values"].get
        show = lambda key: f'{get(key) * 1e3:8.3f}' if get(key) is not None else "       -"
        print(f'  {name:10} {number:2}/{count}  sound p50{show("media_audio_delay[p50]")}  picture p50{show("media_video_delay[p50]")}'
              f'  packets p50{show("media_packet_delay[p50,audio]")}  skew{show("media_skew[]")}'
              f'  host p99{show("media_timer_overshoot[p99]")} ms  {run["verdict"]} {run["why"] or ""}', flush=True)
    return runs


def conclusive(runs):
    return [run for run in runs if not run["why"]]


def spread(runs, key):
    values = [run["values"][key] * 1e3 for run in runs]
    return max(values) - min(values), statistics.median(values)


@contextlib.contextmanager
def stressed(spinners):
    process = subprocess.Popen(["stress-ng", "--quiet", "--cpu", str(spinners)])
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def never_worse(name, runs):
    worse = [run["verdict"] for run in runs if run["verdict"] in ("degraded", "critical")]
    bar(f"{name}: falsely degraded", len(worse), "0", not worse)


def calls():
    with tempfile.TemporaryDirectory() as folder:
        call(folder)  # warms the page cache
        idle = series("idle", folder, IDLE)
        late = series("80 ms", folder, RUNS, 80)
        with stressed(1):
            one = series("1 spinner", folder, RUNS)
        with stressed(4):
            four = series("4 spinners", folder, RUNS)
    good = conclusive(idle)
    share = len(good) / len(idle)
    bar(f"idle: conclusive runs of {len(idle)}", f"{share:.0%}", "at least 95 %", share >= 0.95)
    never_worse("idle", idle)
    share = len(conclusive(one)) / len(one)
    bar(f"1 spinner: conclusive runs of {len(one)}", f"{share:.0%}", "at least 75 %", share >= 0.75)
    never_worse("1 spinner", one)
    bar(f"4 spinners: conclusive runs of {len(four)}", f"{len(conclusive(four)) / len(four):.0%}", "", None)
    never_worse("4 spinners", four)
    if not good:
        return  # of a box this busy nothing else can be told
    losses = [run["values"][key] for run in good for key in run["values"] if key.startswith("media_residual_loss")]
    bar("idle: largest loss", f"{max(losses):.2%}", "0", max(losses) == 0)
    for name, key in (("sound", "media_audio_delay[p50]"), ("picture", "media_video_delay[p50]")):
        width, median = spread(good, key)
        bar(f"idle: {name} delay p50, median and spread", f"{median:.2f}, {width:.2f} ms", "spread at most 0.5 ms", width <= 0.5)
        shifted = conclusive(late)
        shift = spread(shifted, key)[1] - median if shifted else float("nan")
        bar(f"80 ms on the way: median shift of {name} delay p50", f"{shift:.2f} ms", "80 ± 0.5 ms", abs(shift - 80) <= 0.5)
        near = sum(abs(run["values"][key] * 1e3 - median - 80) <= 0.5 for run in shifted)
        bar(f"80 ms on the way: single calls whose {name} is so", f"{near} of {len(shifted)}", "all", near == len(shifted))


# cost


def start_to_ready():
    """Seconds from starting the daemon to its READY=1, ten times."""
    times = []
    for _ in range(10):
        daemon = Daemon(BINARY, "[probe.call]\nenabled = false\n" + NO_VOICE)
        path = daemon.folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            daemon.wrapper = ["env", f"NOTIFY_SOCKET={path}"]
            begin = time.monotonic()
            with daemon:
                while b"READY=1" not in notify.recv(4096):
                    pass
                times.append(time.monotonic() - begin)
                daemon.stop()
    return statistics.median(times)


def scrape_cpu(pid, url, count=500):
    begin = cpu(pid)
    for _ in range(count):
        urllib.request.urlopen(url, timeout=10).read()
    return (cpu(pid) - begin) / count


def peer(name, *arguments, port):
    process = subprocess.Popen([name, *arguments, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/metrics"

    def answers():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(url, timeout=5).read()

    try:
        wait_for(name, answers)
        scrape = scrape_cpu(process.pid, url)
        bar(f"{name}: resident, anonymous",
            f'{status(process.pid, "VmRSS"):.1f}, {status(process.pid, "RssAnon"):.1f} MiB', "", None)
        bar(f"{name}: CPU of a scrape", f"{scrape * 1e3:.2f} ms", "", None)
    finally:
        process.terminate()
        process.wait()


def light_call():
    """CPU of a light call of the default length, as a share of one core."""
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "bellwether.toml")
        config.write_text("")
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run([BINARY, "--config", config, "--state", folder, "inspect", "voice"], stdout=subprocess.DEVNULL)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begin
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds


def cost():
    share = light_call()
    bar("one light call of 20 s, all processes: CPU", f"{share:.1%} of a core", "at most 3 %", share <= 0.03)
    ready = start_to_ready()
    bar("start to ready, median of 10", f"{ready * 1e3:.0f} ms", "at most 100 ms", ready <= 0.1)
    with Daemon(BINARY, f"{NO_VOICE}[probe.call]\n{LENGTH}") as daemon:
        pid = daemon.process.pid
        largest = 0.0
        call_over = lambda: daemon.metric('bellwether_probe_runs_total{probe="call"}')
        wait_for("the call", lambda: children(pid), pause=0.01)
        end = time.monotonic() + 40
        while not call_over() and time.monotonic() < end:
            resident = status(pid, "VmRSS")
            for child in children(pid):
                with contextlib.suppress(OSError):
                    resident += status(child, "VmRSS")
            largest = max(largest, resident)
            time.sleep(0.2)
        seconds = daemon.metric('bellwether_probe_last_duration_seconds{probe="call"}')
        share = cpu(pid, of_children=True) / seconds
        bar("one full call of 8 s: CPU", f"{share:.1%} of a core", "at most 20 %", share <= 0.20)
        bar("daemon and child during a call: resident", f"{largest:.1f} MiB", "at most 45 MiB", largest <= 45)
        begin, at = cpu(pid), time.monotonic()
        time.sleep(200)
        share = (cpu(pid) - begin) / (time.monotonic() - at)
        bar("idle, over 200 s with the box read each minute: CPU", f"{share:.3%} of a core", "at most 0.1 %", share <= 0.001)
        resident, anonymous = status(pid, "VmRSS"), status(pid, "RssAnon")
        bar("idle after a call: resident", f"{resident:.1f} MiB", "at most 12 MiB (aim: 8)", resident <= 12)
        bar("idle after a call: anonymous", f"{anonymous:.1f} MiB", "at most 4 MiB", anonymous <= 4)
        scrape = scrape_cpu(pid, daemon.url + "/metrics")
        samples = len(daemon.metrics())
        bar(f"CPU of a scrape of {samples} series", f"{scrape * 1e3:.2f} ms", "at most 1 ms", scrape <= 0.001)
        daemon.stop()
    peer("prometheus-node-exporter", port=19100)
    peer("prometheus-blackbox-exporter", "--config.file=/etc/prometheus/blackbox.yml", port=19115)


# the footprint of what is installed, beside what else watches a box


@contextlib.contextmanager
def started(command, ready):
    """A program and all that it starts, once it is ready."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        wait_for(command[0], ready)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(url, timeout=5).read()


def connects(port):
    with contextlib.suppress(OSError):
        return not socket.create_connection(("127.0.0.1", port), 1).close()


def footprint_of(name, pid, url=None):
    """One line of the table: two minutes with one scrape every 15 s, of all processes."""
    time.sleep(SETTLES)
    whole = lambda: sum(cpu(one) + cpu(one, of_children=True) for one in tree(pid))
    begin, at = whole(), time.monotonic()
    while time.monotonic() < at + WATCHED:
        if url:
            answers(url)
        time.sleep(15)
    share = (whole() - begin) / (time.monotonic() - at)
    sizes = [memory(one) for one in tree(pid)]
    resident, proportional = (sum(size) for size in zip(*sizes))
    print(f"{name:28} {resident:9.1f} {proportional:9.1f} {share:9.3%} {len(sizes):10}", flush=True)


def footprint():
    print(f"{'':28} {'resident':>9} {'PSS, MiB':>9} {'CPU':>9} {'processes':>10}")
    with Daemon(BINARY) as daemon:
        # The call of the start is over.
        wait_for("the first call", lambda: daemon.metric('bellwether_probe_runs_total{probe="call"}'), 90, 1)
        footprint_of("bellwether", daemon.process.pid, daemon.url + "/metrics")
        daemon.stop()
    for name, *arguments, port in [
        ("prometheus-node-exporter", "--web.listen-address=127.0.0.1:19100", 19100),
        ("prometheus-blackbox-exporter", "--config.file=/etc/prometheus/blackbox.yml", "--web.listen-address=127.0.0.1:19115", 19115),
    ]:
        url = f"http://127.0.0.1:{port}/metrics"
        with started([name, *arguments], lambda: answers(url)) as pid:
            footprint_of(name, pid, url)
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "agent.conf")
        config.write_text(f"Server=127.0.0.1\nListenIP=127.0.0.1\nListenPort=19050\nLogType=console\nPidFile={folder}/pid\n"
                          f"ControlSocket={folder}/agent.sock\n")
        with started(["zabbix_agent2", "-f", "-c", str(config)], lambda: connects(19050)) as pid:
            footprint_of("zabbix-agent2", pid)
    url = "http://127.0.0.1:19999/api/v1/allmetrics?format=prometheus"
    with started(["netdata", "-D", "-i", "127.0.0.1", "-p", "19999"], lambda: answers(url)) as pid:
        footprint_of("netdata", pid, url)


def main():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version}, {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} × {model}, Linux {platform.release()}")
    parts = sys.argv[2:] or ["cost", "calls"]
    for part in parts:
        {"calls": calls, "cost": cost, "footprint": footprint}[part]()
    end()


main()
