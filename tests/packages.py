#!/usr/bin/env python3
"""The packages: what is in them and whose it is, what their scripts do, manual, completions, and the same bytes from
another folder. Needs root: it installs into roots of its own.

    packages.py BELLWETHER
"""

import atexit
import functools
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import tomllib

from daemon import run_tests

BINARY = pathlib.Path(sys.argv[1]).resolve()
TREE = pathlib.Path(__file__).resolve().parent.parent
# A program that is packed in a moment, where it does not matter which.
SMALL = "/usr/bin/true"
FOLDER = pathlib.Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, FOLDER)
# What only one of the two packages has, or has elsewhere.
DEBIAN = {"lib/systemd/system/bellwether.service": "usr/lib/systemd/system/bellwether.service",
          "usr/share/zsh/vendor-completions/_bellwether": "usr/share/zsh/site-functions/_bellwether"}


def run(*command, good=(0,), **more):
    """What a command prints, errors too."""
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | more
    done = subprocess.run(list(map(str, command)), **more)
    assert done.returncode in good, f"{command} ended with {done.returncode}: {done.stdout}"
    return done.stdout


def build(tree, out, *words, **environment):
    run(tree / "packaging/build", *words, "--out", out, env=os.environ | environment)
    return sorted(out.iterdir())


@functools.cache
def packages():
    """The .deb and the .rpm of the real program."""
    rpm, deb = build(TREE, FOLDER / "out", "--binary", BINARY)
    assert (deb.name, rpm.name) == ("bellwether_0.1.0_amd64.deb", "bellwether-0.1.0-1.x86_64.rpm"), (deb, rpm)
    return deb, rpm


@functools.cache
def unpacked():
    """The files of the .deb."""
    run("dpkg-deb", "--extract", packages()[0], FOLDER / "deb")
    return FOLDER / "deb"


@functools.cache
def scripts():
    """Of the .deb, by name; and of the .rpm."""
    run("dpkg-deb", "--control", packages()[0], FOLDER / "control")
    found = {name: (FOLDER / "control" / name).read_text() for name in ("postinst", "prerm", "postrm")}
    text = run("rpm", "-qp", "--scripts", packages()[1])
    parts = re.split(r"^(\w+) scriptlet \(using /bin/sh\):$", text, flags=re.MULTILINE)[1:]
    return found | dict(zip(parts[::2], parts[1::2]))


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_both_packages_hold_the_same():
    other = FOLDER / "rpm"
    run("rpm", "--root", other, "--dbpath", "/db", "-i", "--noscripts", "--nodeps", "--force-debian", packages()[1])
    run("rpm", "--root", other, "--dbpath", "/db", "--verify", "--nodeps", "bellwether")
    there = {name for name in files(other) if not name.startswith("db/")}
    assert {DEBIAN.get(name, name) for name in files(unpacked())} == there, there ^ files(unpacked())
    for name in files(unpacked()):
        mine, yours = unpacked() / name, other / DEBIAN.get(name, name)
        assert mine.read_bytes() == yours.read_bytes(), name
        mode = 0o100755 if name == "usr/bin/bellwether" else 0o100644
        assert mine.stat().st_mode == yours.stat().st_mode == mode, name
        assert yours.stat().st_uid == yours.stat().st_gid == 0, name


def test_nothing_is_missing():
    kit = {path.name for path in (TREE / "packaging/monitoring").iterdir()} - {"dashboards.py"}
    want = {"etc/bellwether/bellwether.toml", "usr/bin/bellwether", "usr/share/man/man1/bellwether-check-config.1.gz",
            "usr/share/doc/bellwether/third-party.txt.gz", "usr/share/doc/bellwether/examples/default.toml"}
    want |= {f"usr/share/doc/bellwether/{path.name}" for path in TREE.glob("*.md")}
    want |= {f"usr/share/bellwether/monitoring/{name}" for name in kit if ".test." not in name}
    assert want <= files(unpacked()), want - files(unpacked())
    assert len(want) > 10 and not [name for name in files(unpacked()) if "test" in name or name.endswith(".py")]


def test_config_files_are_marked():
    deb, rpm = packages()
    assert run("dpkg-deb", "-I", deb, "conffiles").split() == ["/etc/bellwether/bellwether.toml"]
    flags = run("rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]", rpm)
    assert re.findall(r"^(/\S+) .*c.*$", flags, re.MULTILINE) == ["/etc/bellwether/bellwether.toml"], flags
    assert "/etc/bellwether/bellwether.toml cn\n" in flags, flags


def test_lintian_has_nothing_to_say():
    print(run("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", packages()[0]), end="")


def test_the_version_is_that_of_the_program():
    version = tomllib.loads((TREE / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    deb, rpm = packages()
    assert run("dpkg-deb", "--field", deb, "Version").strip() == version
    assert run("rpm", "-qp", "--qf", "%{VERSION}", rpm) == version
    assert run(unpacked() / "usr/bin/bellwether", "--version").startswith(f"bellwether {version} ")


def test_an_earlier_version_is_lower():
    out = FOLDER / "earlier"
    names = [path.name for path in build(TREE, out, "--binary", SMALL, "--version", "0.1.0~earlier")]
    assert names == ["bellwether-0.1.0~earlier-1.x86_64.rpm", "bellwether_0.1.0~earlier_amd64.deb"], names
    run("dpkg", "--compare-versions", "0.1.0~earlier", "lt", "0.1.0")
    assert "version 0.1.0~earlier\n" in run("dpkg-deb", "-I", out / names[1]).replace(": ", " ").lower()


def test_another_folder_and_another_person_make_the_same_bytes():
    here = build(TREE, FOLDER / "here", "--binary", SMALL)
    tree = FOLDER / "quite another folder" / "bellwether"
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=TREE).splitlines():
        if (TREE / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, tree / name, follow_symlinks=False)
    odd = {"TZ": "Asia/Shanghai", "LANG": "C", "USER": "other", "CARGO_TARGET_DIR": str(FOLDER / "target")}
    before = os.umask(0o077)
    try:
        there = build(tree, FOLDER / "there", "--binary", SMALL, **odd)
    finally:
        os.umask(before)
    assert [path.name for path in here] == [path.name for path in there] and len(here) == 2
    for one, other in zip(here, there):
        assert one.read_bytes() == other.read_bytes(), f"{one} and {other} differ"


def test_wrong_words_are_named():
    for words, part in ([("dep",), "found dep, expected deb, rpm, all"], [("--binary",), "--binary: expected a value"],
                        [("--binary", "/nowhere"), "--binary: found no file /nowhere"],
                        [("--binary", "/etc/passwd"), "expected a program for x86-64 or AArch64: /etc/passwd"]):
        text = run(TREE / "packaging/build", "--out", FOLDER / "none", *words, good=(2,))
        assert part in text, text


def test_users_and_folders():
    root = FOLDER / "root"
    shutil.copytree(unpacked(), root)
    run("systemd-sysusers", f"--root={root}", "bellwether.conf")
    users = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    groups = {line.split(":")[0]: int(line.split(":")[2]) for line in (root / "etc/group").read_text().splitlines()}
    user = next(user for user in users if user[0] == "bellwether")
    assert user[5:] == ["/var/lib/bellwether", "/usr/sbin/nologin"] and int(user[3]) == groups["bellwether"], user
    assert re.search(r"^bellwether:!\*:", (root / "etc/shadow").read_text(), re.MULTILINE)
    run("systemd-tmpfiles", f"--root={root}", "--create", "bellwether.conf")
    made = {}
    for name in ("etc/bellwether", "etc/bellwether/conf.d", "etc/bellwether/credentials", "run/bellwether-audio"):
        found = (root / name).stat()
        made[name] = (oct(stat.S_IMODE(found.st_mode)), found.st_uid, found.st_gid)
    ours = ("0o750", 0, groups["bellwether"])
    assert made == {"etc/bellwether": ours, "etc/bellwether/conf.d": ours, "etc/bellwether/credentials": ours,
                    "run/bellwether-audio": ("0o570", int(user[2]), groups["bellwether-audio"])}, made
    may_use_sound(root / "run/bellwether-audio", int(user[2]), groups)


def may_use_sound(folder, daemon, groups):
    """Who may do what in the folder of the session's sound server."""
    for above in folder.parents[:3]:
        above.chmod(0o755)
    session = 40001
    assert attempt(session, [groups["bellwether-audio"]], lambda: listen(folder / "native")), "the session cannot open it"
    assert attempt(daemon, [groups["bellwether"]], lambda: connect(folder / "native")), "the daemon cannot reach it"
    assert not attempt(daemon, [groups["bellwether"]], lambda: listen(folder / "other")), "the daemon can write"
    assert not attempt(40002, [40002], lambda: connect(folder / "native")), "anybody can reach it"


def listen(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        os.chmod(path, 0o777)


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            pass # its server is gone; the folder let it in


def attempt(user, groups, action):
    """Whether a user of these groups, the first its own, can do it."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(groups[0])
            os.setuid(user)
            action()
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_default_config_is_good_and_so_is_what_it_proposes():
    text = (unpacked() / "etc/bellwether/bellwether.toml").read_text()
    assert all(not line or line.startswith("#") for line in text.splitlines())
    proposed = re.findall(r"^# (\[\S+\]|\w+ = .*)", text, re.MULTILINE)
    assert len(proposed) > 12, proposed
    folder = FOLDER / "config"
    folder.mkdir()
    secret = folder / "vendor"
    secret.write_text("whsec_" + "A" * 32)
    secret.chmod(0o600)
    config = folder / "bellwether.toml"
    config.write_text(text)
    check = lambda: run(BINARY, "check-config", config)
    assert "school.name" in check()
    config.write_text("\n".join(proposed).replace("/etc/bellwether/credentials/vendor", str(secret)))
    told = check()
    assert "the config is good" in told and "school" not in told and "room" not in told, told


def test_scripts_are_plain_shell():
    for name, text in scripts().items():
        run("sh", "-n", input=text)
        assert name in {"postinst", "prerm", "postrm", "preinstall", "postinstall", "preuninstall", "postuninstall"}
    assert len(scripts()) == 7, scripts().keys()


def calls(name, *arguments):
    """What a script calls where systemd runs, in order."""
    folder = FOLDER / "calls"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for tool in ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "systemd-sysctl", "deb-systemd-helper",
                 "deb-systemd-invoke", "rm"):
        stub = folder / tool
        # All fail: that must not fail the package, which asks first whether the unit was enabled.
        ends = 'case "$*" in *was-enabled*) exit 0 ;; esac; exit 1'
        stub.write_text(f'#!/bin/sh\necho "{tool} $*" >>{folder}/log\n{ends}\n' if tool != "rm" else
                        f'#!/bin/sh\necho "{tool} $*" >>{folder}/log\n')
        stub.chmod(0o755)
    (folder / "log").touch()
    text = scripts()[name].replace("/run/systemd/system", str(folder)).replace("/usr/bin/deb-", f"{folder}/deb-")
    text = re.sub(r"/(usr/)?lib/systemd/systemd-sysctl", f"{folder}/systemd-sysctl", text)
    # A user that cannot be made is the one thing that has to end it.
    text = re.sub(r"(systemd-sysusers .*bellwether.conf)", r"\1 || true", text)
    run("sh", "-s", "--", *arguments, input=text, env={"PATH": f"{folder}:{os.environ['PATH']}"})
    return (folder / "log").read_text().replace("'", "").splitlines()


def in_order(found, *wanted):
    places = [next((n for n, line in enumerate(found) if want in line), None) for want in wanted]
    assert None not in places and places == sorted(places), (wanted, found)


def test_scripts_of_the_deb_do_their_work_though_systemd_refuses():
    first, upgrade = calls("postinst", "configure", ""), calls("postinst", "configure", "0.0.9")
    in_order(first, "systemd-sysctl --prefix=net.ipv4.ping_group_range", "systemd-sysusers", "systemd-tmpfiles --create",
             "deb-systemd-helper enable", "deb-systemd-invoke start bellwether.service")
    in_order(upgrade, "systemd-tmpfiles", "deb-systemd-invoke restart bellwether.service")
    assert "deb-systemd-invoke stop bellwether.service" in calls("prerm", "remove")
    assert not [line for line in calls("prerm", "upgrade", "0.2.0") if "stop" in line]
    gone = calls("postrm", "remove")
    assert not [line for line in gone if "/var/lib" in line or "/etc/bellwether" in line], gone
    purged = calls("postrm", "purge")
    assert {"/var/lib/bellwether", "/etc/bellwether", "/run/bellwether-audio"} <= set(purged[-1].split()), purged


def test_scripts_of_the_rpm_do_the_same():
    in_order(calls("preinstall", 1), "systemd-sysusers -")
    first, upgrade = calls("postinstall", 1), calls("postinstall", 2)
    in_order(first, "systemd-tmpfiles --create", "systemd-sysctl --prefix=net.ipv4.ping_group_range",
             "systemctl --no-reload enable bellwether.service", "systemctl start bellwether.service")
    assert not [line for line in upgrade if "enable" in line or "start" in line], upgrade
    assert calls("preuninstall", 1) == []
    in_order(calls("preuninstall", 0), "disable bellwether.service", "systemctl stop bellwether.service")
    assert "systemctl try-restart bellwether.service" in calls("postuninstall", 1)
    last = calls("postuninstall", 0)
    assert last[-1] == "rm -rf /run/bellwether-audio", last


def test_the_manual_is_whole_and_well_formed():
    pages = {path.name.removesuffix(".1.gz"): path for path in (unpacked() / "usr/share/man/man1").iterdir()}
    for name, path in pages.items():
        # Where values are listed, one line break too many is written, which does no harm.
        said = run("mandoc", "-T", "lint", "-W", "warning", path, good=(0, 2)).splitlines()
        assert not [line for line in said if "skipping paragraph macro: br" not in line], said
        assert run("man", "--warnings", "--local-file", path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) is None
    text = run("man", "--local-file", pages["bellwether"], env=os.environ | {"MANWIDTH": "9999"})
    for section in ("FILES", "EXIT STATUS", "SIGNALS", "SEE ALSO"):
        assert re.search(rf"^{section}$", text, re.MULTILINE), section
    linked = set(re.findall(r"(bellwether[a-z-]*)\(1\)", text))
    assert linked == set(pages), linked ^ set(pages)
    # As the program itself says.
    told = re.findall(r"^  ([a-z-]+) ", run(BINARY, "--help").split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    missing = {f"bellwether-{command}" for command in told if command != "help"} - set(pages)
    assert len(told) > 10 and not missing and "bellwether-probe-worker" not in pages, missing
    codes = {int(code) for code in re.findall(r"^ +(\d\d) +\S", text, re.MULTILINE)}
    sources = "\n".join(path.read_text() for path in (TREE / "src").rglob("*.rs"))
    functions = "\n".join(re.findall(r"fn exit_code.*?\n    }", sources, re.DOTALL))
    known = {int(code) for code in re.findall(r"=> (\d\d),", functions)}
    assert codes == known, codes ^ known


def test_completions_are_read_by_their_shells():
    share = unpacked() / "usr/share"
    bash = share / "bash-completion/completions/bellwether"
    zsh = share / "zsh/vendor-completions/_bellwether"
    fish = share / "fish/vendor_completions.d/bellwether.fish"
    for shell, path in (("bash", bash), ("zsh", zsh), ("fish", fish)):
        run(shell, "-n", path)
        assert "check-config" in path.read_text() and "probe-worker" not in path.read_text(), path
    words = "COMP_WORDS=(bellwether bookings con); COMP_CWORD=2; _bellwether bellwether con bookings; echo $COMPREPLY"
    assert run("bash", "-c", f"source {bash}; {words}").strip() == "confirm"
    assert "check-config" in run("fish", "-c", f"source {fish}; complete -C 'bellwether check-'")


def test_the_unit_is_good_where_the_package_is_installed():
    # The tree of the package over this system's, so that what the unit names is where it says.
    over = " ".join(f"mount -t overlay overlay -o lowerdir={unpacked()}/{part}:/{part} /{part} &&"
                    for part in ("etc", "usr"))
    unit = unpacked() / "lib/systemd/system/bellwether.service"
    said = run("unshare", "--mount", "sh", "-c", f"{over} systemd-analyze verify {unit}").splitlines()
    # Of other units of this system it has its say, too.
    assert not (ours := [line for line in said if "bellwether" in line]), ours


run_tests(globals())
