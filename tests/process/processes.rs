//! What runs on this box, from `/proc` (proc(5)).

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::daemon::Home;

/// Marks a daemon and its calls in their environment.
pub(crate) const MARK: &str = "BELLWETHER_TEST_MARK";

/// The daemon of this home and all that descends from it, if it was started with the mark.
pub(crate) fn of(home: &Home) -> Vec<PathBuf> {
    let mark = format!("{MARK}={}", home.path().display());
    all_that(|process| fs::read(process.join("environ")).is_ok_and(|environment| holds(&environment, &mark)))
}

/// Those of them that make a call.
pub(crate) fn calls(home: &Home) -> Vec<PathBuf> {
    let mut calls = of(home);
    calls.retain(|process| has_argument(process, "probe-worker"));
    calls
}

/// All processes that were called with this argument.
pub(crate) fn called_with(argument: &str) -> Vec<PathBuf> {
    all_that(|process| has_argument(process, argument))
}

/// Processor time that a process has used, in seconds, by the 100 Hz clock.
pub(crate) fn processor_seconds(process: &Path) -> Option<f64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

fn has_argument(process: &Path, argument: &str) -> bool {
    fs::read(process.join("cmdline")).is_ok_and(|line| holds(&line, argument))
}

/// Whether one of the texts that zeros separate is this one.
fn holds(texts: &[u8], text: &str) -> bool {
    texts.split(|byte| *byte == 0).any(|found| found == text.as_bytes())
}

fn all_that(is: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").expect("a Linux system").map_while(Result::ok).map(|entry| entry.path());
    let number = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    entries.filter(|path| number(path) && is(path)).collect()
}
