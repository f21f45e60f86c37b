//! Stored captures of calls, clean and impaired, and the readings they give: nothing may change them
//! unseen. `clean`, `late`, `lossy` and `busy` are real calls over the embedded far end, written by
//! `bellwether inspect call --capture` with `duration = "3 s"`, small pictures, a rehearsal of 150 ms of
//! delay, one of 8 % of loss, and on a box with no time to spare; the others are calls in virtual time over
//! a path that is known.
//!
//! `BLESS=1 cargo test --test captures` writes the readings anew, to be read before they are committed.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]

use std::path::{Path, PathBuf};

use bellwether::{analyse, config::Config};
use chrono::DateTime;
use serde_json::Value;

const FOLDER: &str = "tests/captures";

fn config() -> Config {
    Config::defaults(DateTime::UNIX_EPOCH).expect("the built-in settings are good")
}

fn captures() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files
}

#[test]
fn every_capture_gives_the_readings_that_are_stored() {
    for file in captures() {
        let (found, code) = analyse::run(&config(), &file, true).expect("a capture");
        let name = file.file_name().expect("a name");
        let stored = Path::new(FOLDER).join("readings").join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&stored, &found).expect("a writable folder");
        }
        let expected = std::fs::read_to_string(&stored).unwrap_or_default();
        assert!(found == expected, "{} differs; BLESS=1 writes it anew", stored.display());

        let json: Value = serde_json::from_str(&found).expect("JSON");
        let codes = [("pass", 0), ("degraded", 1), ("critical", 2), ("inconclusive", 3)];
        assert!(codes.iter().any(|known| *known == (json["verdict"].as_str().unwrap_or_default(), code)), "{code}");
    }
}

#[test]
fn a_folder_gives_what_its_files_give_and_the_worst_verdict() {
    let (found, code) = analyse::run(&config(), Path::new(FOLDER), true).expect("captures");
    let all: Value = serde_json::from_str(&found).expect("JSON");
    let each = captures().into_iter().map(|file| {
        let (found, code) = analyse::run(&config(), &file, true).expect("a capture");
        (serde_json::from_str::<Value>(&found).expect("JSON"), code)
    });
    let (mut readings, mut runs, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for (json, code) in each {
        readings.extend(json["readings"].as_array().expect("a list").clone());
        runs.extend(json["runs"].as_array().expect("a list").clone());
        codes.push(code);
    }
    // What is not known makes nothing worse than what is.
    let worst = codes.iter().copied().filter(|code| *code < 3).max().filter(|worst| *worst > 0).unwrap_or(3);
    assert_eq!((&all["readings"], &all["runs"]), (&Value::from(readings), &Value::from(runs)));
    assert_eq!(code, worst);
    let (table, code) = analyse::run(&config(), Path::new(FOLDER), false).expect("captures");
    assert_eq!(code, worst);
    assert_eq!(table.matches("\nPROBE ").count(), captures().len(), "each behind its name");
}
