"""What a rule engine in common use costs on the same data: `promtool test rules` of Prometheus evaluates one alert per metric,
above the room's own limit for 1 h, over a world's samples, and `replay` reads the same samples. Prints both; asserts no timing.

  python promtool.py --cmd 'bellwether --config {config} replay {samples}' [--seed 9 --rooms 24 --days 28] [--promtool promtool]

Exit code 2 when one of the two failed, or when Prometheus did not evaluate what it was given."""
import argparse, os, re, resource, shlex, shutil, subprocess, sys, tempfile, time
import numpy as np
from gen import DT, METRICS, NAMES, World

ap = argparse.ArgumentParser()
ap.add_argument("--cmd", required=True); ap.add_argument("--promtool", default="promtool")
ap.add_argument("--seed", type=int, default=9); ap.add_argument("--rooms", type=int, default=24); ap.add_argument("--days", type=int, default=28)
a = ap.parse_args()


def timed(command, out, **more):
    """Seconds, seconds of processor, and exit code."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    with open(out, "w") as f: code = subprocess.run(command, stdout=f, stderr=subprocess.STDOUT, **more).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.time() - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, code


def limit(W, m, r):
    """The room's own middle of the learning time and 1.5 of what is material, in the metric's unit."""
    tr, sgn, material = METRICS[m][:3]
    middle = np.nanmedian(W.x[m][r, :14 * 86400 // DT])
    return middle * np.exp(1.5 * material) if tr == "log" else middle + sgn * 1.5 * material


out = tempfile.mkdtemp()
try:
    W = World(a.seed, a.rooms, a.days).build(); W.write(out, compress=False)
    values = sum(int(np.isfinite(W.x[m]).sum()) for m in NAMES)
    with open(out + "/rules.yml", "w") as f:
        f.write("groups:\n- name: rooms\n  rules:\n")
        for m in NAMES:
            f.write(f"  - alert: {m}\n    expr: {m} {'>' if METRICS[m][1] > 0 else '<'} on(room) {m}_limit\n    for: 1h\n")
    with open(out + "/test.yml", "w") as f:
        f.write("rule_files: [rules.yml]\nevaluation_interval: 5m\ntests:\n- interval: 5m\n  input_series:\n")
        for m in NAMES:
            for r in range(W.R):
                f.write(f"  - series: '{m}{{room=\"r{r:03d}\"}}'\n    values: '{' '.join('_' if np.isnan(v) else f'{v:.2f}' for v in W.x[m][r])}'\n")
                f.write(f"  - series: '{m}_limit{{room=\"r{r:03d}\"}}'\n    values: '{limit(W, m, r):.4f}x{W.T}'\n")
        # An expectation that is never met: what was found is then printed.
        f.write(f"  promql_expr_test:\n  - expr: sum(count_over_time(ALERTS{{alertstate=\"firing\"}}[{a.days}d]))\n    eval_time: {W.T * 5}m\n    exp_samples: [{{value: -1}}]\n")
    wall, cpu, code = timed([a.promtool, "test", "rules", "test.yml"], out + "/promtool.txt", cwd=out)
    said = open(out + "/promtool.txt").read(); fired = re.search(r"got:\s*(?:nil|\S*\s*([0-9.E+]+))", said)
    if not fired or not fired.group(1): print(said[-2000:]); sys.exit(2)
    wall2, cpu2, code = timed(shlex.split(a.cmd.format(config=out + "/bellwether.toml", samples=out + "/samples.jsonl")), out + "/bookings.jsonl")
    if code: print(f"the command exited {code}"); sys.exit(2)
    version = subprocess.run([a.promtool, "--version"], capture_output=True, text=True).stdout.split("(")[0].replace(",", "").strip() + ", eight alerts"
    print(f"{a.rooms} rooms, {a.days} days, {values} values\n{'':32s}{'wall':>9s}{'processor':>11s}{'values/s of processor':>23s}")
    for name, w, c in ((version, wall, cpu), ("replay, all of the engine", wall2, cpu2)): print(f"{name[:31]:32s}{w:7.1f} s{c:9.1f} s{values / c:23.0f}")
    print(f"Prometheus: {float(fired.group(1)):.0f} samples of firing alerts")
finally: shutil.rmtree(out)
