#!/usr/bin/env python3
"""Boots a minimal Debian with systemd, installs the package, and shows that it lives as it should: through crashes, hangs,
bad configs, a reboot, an upgrade, wrong permissions, and to the last file that it leaves.

    boot.py BELLWETHER FOLDER [WORD…]

Needs root, systemd-nspawn and mmdebstrap. The commands of installation, upgrade, backup and removal are those of OPERATING.md.
The tree of the machine is kept in FOLDER. With WORDs only checks whose names have one of them are made, after those that
install.
"""

import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE / "boot"), str(HERE / "sound")]

import heard
import life
import surroundings
from box import Box, packages
from machine import Machine, tree

# In this order; each leaves the box as it found it.
CHECKS = [
    life.check_install_is_one_command,
    life.check_without_a_config_it_runs_and_says_what_is_missing,
    life.check_the_first_inspection_is_done_within_half_of_the_memory,
    life.check_the_unit_is_sound_and_little_exposed,
    life.check_echo_requests_need_no_right,
    life.check_the_first_config_of_the_guide_is_good,
    life.check_killed_it_comes_back_with_nothing_lost,
    life.check_stuck_it_is_started_anew,
    life.check_a_bad_config_is_refused_and_the_old_one_lives,
    life.check_with_a_bad_config_it_does_not_start_and_is_not_tried_again,
    life.check_a_reboot_keeps_state_judge_and_bookings,
    surroundings.check_secrets_are_given_by_systemd,
    surroundings.check_a_secret_that_is_not_there_is_asked_for,
    surroundings.check_a_secret_that_others_can_read_is_refused,
    surroundings.check_a_config_that_it_may_not_read_is_refused,
    surroundings.check_a_state_that_is_not_its_own_is_said,
    surroundings.check_what_root_imports_is_the_services,
    surroundings.check_bookings_that_cannot_be_written_wait,
    surroundings.check_a_port_that_is_taken_keeps_nothing_else,
    surroundings.check_who_is_not_of_the_group_is_told,
    life.check_an_upgrade_keeps_state_and_asks_nothing,
    life.check_ledgers_of_every_earlier_schema_are_upgraded,
    life.check_a_backup_is_whole_and_can_be_gone_back_to,
    heard.check_what_the_service_does_not_see_and_hear_it_says,
    heard.check_with_the_drop_in_it_sees_what_others_run,
    heard.check_pipewire_of_a_session_is_heard_by_the_service,
    heard.check_pulseaudio_of_a_session_is_heard_by_the_service,
    life.check_removal_keeps_the_state,
    life.check_purged_no_file_is_left,
]
INSTALLS = 1


def main():
    binary, folder = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    wanted = sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    root = tree(folder)
    made = packages(binary, folder / "packages")
    passed = failed = 0
    with Machine(root, folder) as machine:
        box = Box(machine)
        box.is_debug = "debug" in binary.parts
        for number, check in enumerate(CHECKS):
            if number >= INSTALLS and wanted and not any(word in check.__name__ for word in wanted):
                continue
            name, begin = check.__name__.removeprefix("check_"), time.monotonic()
            try:
                check(box, made)
                passed += 1
                print(f"ok      {name}, {time.monotonic() - begin:.1f} s", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {name}", flush=True)
                traceback.print_exc()
                print(box.run("journalctl -u bellwether --no-pager -n 30; systemctl status --no-pager bellwether", check=False).stdout,
                      flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
