//! A full disk: nothing is half-written, Prometheus is not blinded, and nothing is lost.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    daemon::{Home, NEXT_RUN, NO_CALL, ROOM, SCHOOL, SOON, impossible, wait_for},
    http::{self, Page},
};

/// A file system of 1 MiB; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Only root can have one; elsewhere than where every change is tested, that is no failure.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir(path).expect("a folder");
        let options = ["-t", "tmpfs", "-o", "size=1m,mode=0750", "bellwether-test"];
        let mounted = Command::new("mount").args(options).arg(path).status().is_ok_and(|status| status.success());
        if !mounted {
            assert!(
                std::env::var_os("CI").is_none(),
                "no disk can be mounted here, and none of the tests may be left out"
            );
            eprintln!("NOT RUN: needs root to mount a small disk");
        }
        mounted.then(|| Self(path.to_owned()))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("an empty file");
        for size in [4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).expect("our own file");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what was killed may not be gone yet.
        let _left_to_a_person = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_it_does_not_start_and_says_what_to_do() {
    let home = Home::new(NO_CALL);
    let Some(disk) = SmallDisk::mount(&home.state()) else { return };
    // Without a ledger, and with one.
    for _ in 0..2 {
        disk.fill();
        let ended = home.fails_to_start();
        assert_eq!((ended.code, ended.stderr.lines().count()), (74, 1), "{}", ended.stderr);
        assert!(ended.stderr.contains("no room on the disk"), "{}", ended.stderr);
        disk.free();
        home.start().stop();
    }
    drop(disk);
}

#[test]
fn a_full_disk_blinds_nobody_and_once_freed_one_booking_is_made() {
    let page = Page::start(false);
    let home = Home::new(&format!(
        "{NO_CALL}{SCHOOL}{ROOM}{}{}",
        page.probe("portal", "timeout = \"50 s\""),
        impossible("cpu_utilization")
    ));
    let Some(disk) = SmallDisk::mount(&home.state()) else { return };
    let daemon = home.start();
    // The first pass is held up by the page until the disk is full.
    wait_for("the fetch", SOON, || (page.asked() > 0).then_some(()));
    disk.fill();
    page.set_open(true);

    daemon.wait_for_metric("bellwether_commit_failures_total", 1.0, SOON);
    assert_eq!(http::get(daemon.address(), "/-/ready").status, 200);
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"box\"}"), Some(1.0));
    assert!(daemon.metric("bellwether_cpu_utilization_ratio{probe=\"box\"}").is_some());
    assert_eq!(daemon.metric("bellwether_bookings{state=\"requested\"}"), Some(0.0));
    assert_eq!(home.bookings().len(), 0);
    assert!(!home.state().join("bookings").exists(), "something was sent that is not written");

    disk.free();
    daemon.wait_for_metric("bellwether_bookings{state=\"requested\"}", 1.0, NEXT_RUN);
    daemon.stop();
    let bookings = home.bookings();
    assert_eq!(bookings.len(), 1);
    let folders: Vec<_> = fs::read_dir(home.state().join("bookings")).expect("a folder").collect();
    assert_eq!(folders.len(), 1);
    let folder = folders[0].as_ref().expect("an entry").path();
    assert_eq!(folder.file_name().and_then(|name| name.to_str()), bookings[0]["key"].as_str());
    assert_eq!(fs::read_dir(folder.join("orders")).expect("a folder").count(), 1);
    drop(disk);
}
