//! `inspect` and `analyse`, by hand.

use serde_json::Value;

use crate::daemon::{Home, NO_CALL};

/// Nothing is judged of the box, however busy it is.
fn relaxed() -> String {
    let metrics = [
        "cpu_utilization",
        "cpu_steal",
        "memory_utilization",
        "disk_utilization",
        "cpu_pressure",
        "memory_pressure",
        "io_pressure",
        "network_errors",
    ];
    metrics.iter().map(|metric| format!("[metrics.{metric}]\nlimit = false\ncritical_limit = false\n")).collect()
}

/// The same with limits of one metric that nothing can keep.
fn strict(limit: &str) -> String {
    relaxed().replace("[metrics.memory_utilization]\nlimit = false\ncritical_limit = false\n", limit)
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_exit_code_is_the_verdict() {
    let (impossible, off) = ("{ enter = -1.0, clear = -2.0 }", "false");
    let limits = |limit: &str, critical: &str| {
        strict(&format!("[metrics.memory_utilization]\nlimit = {limit}\ncritical_limit = {critical}\n"))
    };
    let unreachable = "[probe.portal]\nkind = \"page\"\nurl = \"http://127.0.0.1:1/\"\n\
                       [metrics.page_success]\nlimit = false\n";
    let table = [
        (relaxed(), 0, "pass"),
        (limits(impossible, off), 1, "degraded"),
        (limits(impossible, impossible), 2, "critical"),
        (format!("{}{unreachable}", relaxed()), 3, "inconclusive"),
    ];
    for (config, code, verdict) in table {
        let home = Home::new(&format!("{NO_CALL}{config}"));
        let ended = home.run(["inspect"]);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.starts_with("PROBE "), "{}", ended.stdout);
        let last = ended.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("verdict: {verdict} (")), "{}", ended.stdout);
        assert!(ended.stdout.contains("memory_utilization") && ended.stdout.contains("kernel"), "{}", ended.stdout);
        // What makes the verdict is named so in its own line, however few samples there were.
        let marks = ended.stdout.lines().filter(|line| line.starts_with("box ") && line.contains(verdict)).count();
        assert!(code == 3 || (marks > 0) == (code > 0), "{}", ended.stdout);
        assert!(!home.state().exists(), "inspect by hand leaves no state");

        let ended = home.run(["inspect", "--json"]);
        assert_eq!(ended.code, code, "{}", ended.stderr);
        let json = parse(&ended.stdout);
        assert_eq!(json["verdict"], verdict);
        let readings = json["readings"].as_array().expect("a list");
        assert!(!readings.is_empty());
        for reading in readings {
            let mut keys: Vec<&String> = reading.as_object().expect("an object").keys().collect();
            keys.sort();
            let expected = ["high", "labels", "low", "metric", "n", "reason", "ts", "unit", "validity", "value"];
            assert_eq!(keys, expected);
            assert!(reading["labels"]["probe"].is_string());
        }
        let beyond = json["beyond"].as_array().expect("a list");
        assert_eq!(
            beyond.iter().filter(|beyond| beyond["metric"] == "memory_utilization").count(),
            usize::from((1..=2).contains(&code))
        );
    }
}

#[test]
fn only_the_probes_that_are_named_run() {
    let home = Home::new(NO_CALL);
    let ended = home.run(["inspect", "versions", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let runs = parse(&ended.stdout)["runs"].clone();
    assert_eq!((runs.as_array().map(Vec::len), &runs[0]["probe"]), (Some(1), &Value::from("versions")));
}

#[test]
fn an_unknown_probe_is_named_with_those_that_are_known() {
    let home = Home::new(NO_CALL);
    let ended = home.run(["inspect", "boks"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (64, ""));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for name in ["boks", "box", "versions"] {
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("call"), "it is switched off: {}", ended.stderr);
}

#[test]
fn a_capture_analysed_again_gives_the_same_readings() {
    let home = Home::new("[probe.call]\nduration = \"3 s\"\n");
    let folder = home.path().join("captures");
    let path = folder.to_str().expect("UTF-8");
    let ended = home.run(["inspect", "call", "--json", "--capture", path]);
    // A busy box may be unsure of it.
    assert!((0..=3).contains(&ended.code), "{}: {}", ended.code, ended.stderr);
    let live = parse(&ended.stdout);
    assert_eq!(live["runs"][0]["failure"], Value::Null);
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
    let again = home.run(["analyse", path, "--json"]);
    assert_eq!(again.code, ended.code, "{}", again.stderr);

    let again = parse(&again.stdout);
    let readings = |json: &Value| json["readings"].as_array().expect("a list").clone();
    assert!(readings(&live).len() > 20, "{} readings", readings(&live).len());
    assert_eq!(readings(&live).len(), readings(&again).len());
    readings(&live).iter().zip(&readings(&again)).for_each(|(live, again)| assert_eq!(live, again));
    for key in ["verdict", "beyond"] {
        assert_eq!(live[key], again[key]);
    }
    for key in ["probe", "paths", "absent", "stage_at_fault"] {
        assert_eq!(live["runs"][0][key], again["runs"][0][key]);
    }
    // One file is analysed as its folder is, and as a table if no JSON is asked for.
    let file = std::fs::read_dir(&folder).expect("a folder").next().expect("a file").expect("an entry").path();
    let file = file.to_str().expect("UTF-8");
    assert_eq!(parse(&home.run(["analyse", file, "--json"]).stdout), again);
    let table = home.run(["analyse", file]);
    assert_eq!(table.code, ended.code);
    assert!(table.stdout.starts_with("PROBE ") && table.stdout.contains("\ncall: video: H264 "), "{}", table.stdout);
}

#[test]
fn what_is_no_capture_is_refused() {
    let home = Home::new(NO_CALL);
    let file = home.path().join("x.json");
    std::fs::write(&file, "{\"no\": \"capture\"}").expect("a file");
    for path in [file, home.path().join("nothing")] {
        let ended = home.run(["analyse", path.to_str().expect("UTF-8")]);
        assert_eq!((ended.code, ended.stderr.lines().count()), (66, 1), "{}", ended.stderr);
    }
}
