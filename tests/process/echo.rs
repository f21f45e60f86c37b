//! What is heard in the room never runs by itself without a timetable, and what is accepted of its sound.

use std::fs;

use serde_json::Value;

use crate::daemon::{Home, NEXT_RUN, NO_CALL, SOON};

/// A socket at which nobody listens, whatever sound this machine has.
const NO_SOUND: &str = "[probe.echo]\nserver = \"/nonexistent/native\"\n";
const ENGLISH: &str = "[site]\nlanguage = \"en\"\n";

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_probe_that_is_heard_is_off_without_a_timetable_and_that_is_said_once() {
    let home = Home::new(&format!("{NO_CALL}{NO_SOUND}schedule = \"* * * * *\"\n"));
    let daemon = home.start();
    let off = "bellwether_probe_skipped_total{probe=\"echo\",reason=\"off\"}";
    let uses = "bellwether_microphone_uses_total{probe=\"echo\"}";
    daemon.wait_for_runs("box", 1.0, SOON);
    assert_eq!((daemon.metric(off), daemon.metric(uses)), (Some(0.0), Some(0.0)), "nor is it part of the start");
    daemon.wait_for_metric(off, 1.0, NEXT_RUN);
    assert_eq!(daemon.metric("bellwether_probe_runs_total{probe=\"echo\"}"), Some(0.0));
    assert_eq!(daemon.metric(uses), Some(0.0));
    assert_eq!(daemon.logged("does not run by itself until a [timetable]"), 1, "{:?}", daemon.lines());
    assert_eq!(daemon.metric("bellwether_probe_skipped_total{probe=\"box\",reason=\"off\"}"), None);
    daemon.stop();
}

#[test]
fn explain_says_why_it_is_off_and_what_to_do() {
    let home = Home::new(&format!("{NO_CALL}{ENGLISH}"));
    let told = home.run(["explain", "--json"]);
    let probes = parse(&told.stdout)["probes"].clone();
    let echo = probes.as_array().expect("a list").iter().find(|probe| probe["probe"] == "echo").expect("built in");
    assert_eq!((&echo["may_run"], &echo["reason"], &echo["free_again"]), (&false.into(), &"off".into(), &Value::Null));
    let told = home.run(["explain"]);
    let line = told.stdout.lines().find(|line| line.starts_with("echo ")).expect("its line").to_owned();
    assert!(line.contains("[timetable]") && line.contains("bellwether inspect"), "{line}");
}

#[test]
fn inspect_leaves_out_what_is_heard_unless_it_is_named() {
    let home = Home::new(&format!("{NO_CALL}{NO_SOUND}{ENGLISH}"));
    let all = home.run(["inspect", "--json"]);
    let json = parse(&all.stdout);
    assert_eq!(json["left_out"], serde_json::json!(["echo"]));
    let ran: Vec<_> = json["runs"].as_array().expect("a list").iter().map(|run| run["probe"].clone()).collect();
    assert_eq!(ran, ["box", "versions"]);
    let table = home.run(["inspect"]);
    let line = "\necho: not run: it is heard in the room; `bellwether inspect echo` runs it\n";
    assert!(table.stdout.contains(line), "{}", table.stdout);
    let named = home.run(["inspect", "echo", "--json"]);
    let json = parse(&named.stdout);
    assert_eq!((named.code, &json["left_out"]), (3, &serde_json::json!([])), "{}", named.stderr);
    assert_eq!(
        (&json["runs"][0]["failure"]["reason"], &json["runs"][0]["microphone"]),
        (&"no_server".into(), &false.into())
    );
}

#[test]
fn a_baseline_that_could_not_be_measured_is_refused_and_the_old_one_stays() {
    let home = Home::new(&format!("{NO_CALL}{NO_SOUND}{ENGLISH}"));
    let shown = home.run(["baseline", "echo", "--show"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "echo: nothing is accepted yet\n"));
    let refused = home.run(["baseline", "echo"]);
    assert_eq!(refused.code, 3, "{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.stdout.contains("no_server") && refused.stdout.contains("\necho: not accepted: "),
        "{}",
        refused.stdout
    );
    assert!(!home.state().join("accepted").exists(), "nothing is kept");

    let file = home.state().join("accepted/echo.json");
    fs::create_dir_all(home.state().join("accepted")).expect("a folder");
    let state = r#"{"at":"2026-11-01T00:00:00Z","form":"active","loudspeaker":{"name":"speaker","volume_decibels":-10.0},
        "microphone":{"name":"mic","volume_decibels":null},"delay_seconds":0.0402,"return_loss_decibels":12.25,
        "noise_floor_decibels":-62.0}"#;
    fs::write(&file, state).expect("a file");
    let shown = home.run(["baseline", "echo", "echo", "--show"]);
    let expected = "echo: 2026-11-01 08:00, active, loudspeaker speaker (-10 dB), microphone mic, delay 40.2 ms, ";
    assert!(shown.stdout.starts_with(expected), "{}", shown.stdout);
    assert_eq!(home.run(["baseline", "echo"]).code, 3);
    assert_eq!(fs::read_to_string(&file).expect("a file"), state);

    // What is damaged is said, and is none.
    fs::write(&file, &state[..80]).expect("a file");
    let shown = home.run(["baseline", "echo", "--show"]);
    assert!(
        shown.stderr.contains("cannot be used") && shown.stdout.contains("nothing is accepted"),
        "{}",
        shown.stderr
    );
    let wrong = home.run(["baseline", "echo", "box"]);
    assert_eq!((wrong.code, wrong.stderr.lines().count()), (64, 1), "{}", wrong.stderr);
}
