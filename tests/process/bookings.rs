//! From a limit that cannot be kept to a booking that people can read.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    daemon::{Daemon, Home, NEXT_RUN, NO_CALL, ROOM, SCHOOL, SOON, impossible, wait_for},
    http::Receiver,
};

/// The only folder of a booking.
fn folder(home: &Home) -> Option<PathBuf> {
    let entries = fs::read_dir(home.state().join("bookings")).ok()?;
    let folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(folders.len() <= 1, "{folders:?}");
    folders.into_iter().next()
}

/// Waits until the folder channel has taken so many orders; the folder of the booking.
fn wait_for_orders(home: &Home, count: usize) -> PathBuf {
    wait_for(&format!("{count} orders in the folder"), SOON, || {
        let folder = folder(home)?;
        folder.join(format!("orders/{count}.json")).exists().then_some(folder)
    })
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// Metrics that a booking names as evidence.
fn evidence(booking: &Value) -> Vec<&str> {
    let all = booking["evidence"].as_array().expect("a list").iter();
    all.map(|evidence| evidence["metric"].as_str().expect("a name")).collect()
}

/// Requires what the schema requires and nothing that it does not know.
fn check(root: &Value, schema: &Value, value: &Value, path: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/");
        return check(root, &root["$defs"][name], value, path);
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{path}: {value}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().expect("a name")).is_some(), "{path}: {name} is missing");
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => check(root, schema, field, &format!("{path}.{name}")),
            None => assert_ne!(schema["additionalProperties"], Value::Bool(false), "{path}.{name} is unknown"),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(root, &schema["items"], item, path);
    }
}

fn assert_keeps_the_schema(booking: &Value) {
    let schema: Value = serde_json::from_str(include_str!("../booking.schema.json")).expect("JSON");
    check(&schema, &schema, booking, "booking");
}

/// All ways to look at bookings show this one.
fn assert_shown(home: &Home, key: &str) {
    let list = home.run(["bookings", "list"]);
    assert_eq!((list.code, list.stdout.matches(key).count()), (0, 2), "as key and in the subject: {}", list.stdout);
    let bookings = home.bookings();
    assert_eq!(bookings.len(), 1);
    assert_eq!(bookings[0]["key"], key);
    assert_keeps_the_schema(&bookings[0]);
    for prefix in [key, &key[..10]] {
        let shown = home.run(["bookings", "show", prefix]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        assert!(shown.stdout.contains(&format!("{key}.1")) && shown.stdout.contains("folder"), "{}", shown.stdout);
        let shown = home.run(["bookings", "show", prefix, "--json"]);
        assert_eq!(serde_json::from_str::<Value>(&shown.stdout).expect("JSON"), bookings[0]);
    }
    let unknown = home.run(["bookings", "show", "bw1-0"]);
    assert_eq!((unknown.code, unknown.stderr.lines().count()), (1, 1), "{}", unknown.stderr);
}

#[test]
fn a_fault_opens_one_booking_that_a_restart_keeps_and_later_evidence_joins() {
    let site = format!("{NO_CALL}{SCHOOL}{ROOM}");
    let home = Home::new(&format!("{site}{}", impossible("cpu_utilization")));
    let daemon = home.start();
    let folder = wait_for_orders(&home, 1);
    daemon.wait_for_metric("bellwether_bookings{state=\"requested\"}", 1.0, SOON);
    assert_eq!(daemon.metric("bellwether_incidents{family=\"app\"}"), Some(1.0));
    assert_eq!(daemon.metric("bellwether_orders{channel=\"folder\",state=\"done\"}"), Some(1.0));

    let booking = json(folder.join("booking.json"));
    assert_keeps_the_schema(&booking);
    let key = booking["key"].as_str().expect("a key").to_owned();
    assert_eq!(folder.file_name().and_then(|name| name.to_str()), Some(&*key));
    assert_eq!((&booking["kind"], &booking["scope"]), (&"fault".into(), &"r101".into()));
    assert_eq!(evidence(&booking), ["cpu_utilization"]);
    assert_eq!(booking["missing"], Value::Array(Vec::new()));
    let text = fs::read_to_string(folder.join("booking.txt")).expect("a text");
    assert!(text.contains("学校名称：Test School") && text.contains(&key), "{text}");
    let event = fs::read_to_string(folder.join("booking.ics")).expect("an appointment");
    assert!(event.starts_with("BEGIN:VCALENDAR\r\n") && event.ends_with("END:VCALENDAR\r\n"), "{event}");

    assert_shown(&home, &key); // beside a running daemon
    daemon.stop();
    assert_shown(&home, &key); // and without one

    // The same again, and one more series beyond its limit.
    home.configure(&format!("{site}{}{}", impossible("cpu_utilization"), impossible("memory_utilization")));
    let daemon = home.start();
    let folder = wait_for_orders(&home, 2);
    let booking = json(folder.join("booking.json"));
    assert_eq!(booking["key"], *key);
    assert_eq!(evidence(&booking), ["cpu_utilization", "memory_utilization"]);
    assert_eq!(daemon.metric("bellwether_incidents{family=\"app\"}"), Some(1.0));
    daemon.stop();
    assert_shown(&home, &key);
}

#[test]
fn a_school_has_texts_of_its_own_and_one_with_mistakes_is_not_taken() {
    let template = tempfile::NamedTempFile::new().expect("a file");
    let write = |text: &str| fs::write(template.path(), text).expect("a file");
    write("报修 {{school}} [{{key}}]\n\nDear {{vendor}},\nUsers: {{users}}\nEvidence: {{evidence}}\n");
    let site = format!("{NO_CALL}{SCHOOL}{ROOM}[bookings]\ntemplate = {:?}\n", template.path());
    let home = Home::new(&format!("{site}{}", impossible("cpu_utilization")));
    let daemon = home.start();
    let folder = wait_for_orders(&home, 1);
    let read = || fs::read_to_string(folder.join("booking.txt")).expect("a text");
    let key = json(folder.join("booking.json"))["key"].as_str().expect("a key").to_owned();
    let text = read();
    assert!(text.starts_with(&format!("报修 Test School [{key}]\n\nDear vendor,\nEvidence:\n  - ")), "{text}");
    let event = fs::read_to_string(folder.join("booking.ics")).expect("an appointment");
    assert!(event.contains("SUMMARY:报修 Test School [bw1-"), "{event}");

    write("报修 {{scool}} [{{key}}]\n\nDear {{vendor}},\n");
    let place = format!("bookings.template: {}:1: found {{{{scool}}}}, expected one of ", template.path().display());
    let checked = home.run(["check-config"]);
    assert!(checked.code == 78 && checked.stderr.contains(&place), "{}", checked.stderr);
    assert!(!daemon.reload());
    home.run(["bookings", "note", &key, "please", "ring"]);
    wait_for("the next text", SOON, || folder.join("orders/2.json").exists().then_some(()));
    assert!(read().contains("Dear vendor,\nEvidence:"), "the old text goes on: {}", read());
    daemon.stop();
}

#[test]
fn a_restart_alone_asks_for_nothing_again() {
    let home = Home::new(&format!("{NO_CALL}{SCHOOL}{ROOM}{}", impossible("cpu_utilization")));
    let daemon = home.start();
    let folder = wait_for_orders(&home, 1);
    daemon.wait_for_metric("bellwether_bookings{state=\"requested\"}", 1.0, SOON);
    daemon.stop();
    let first = fs::read(folder.join("booking.json")).expect("a file");
    for killed in [true, false] {
        let daemon = home.start();
        daemon.wait_for_runs("box", 1.0, SOON);
        assert_eq!(daemon.metric("bellwether_bookings{state=\"requested\"}"), Some(1.0));
        if killed {
            drop(daemon)
        } else {
            daemon.stop()
        }
        assert_eq!(home.bookings().len(), 1);
        let now = fs::read(folder.join("booking.json")).expect("a file");
        assert_eq!(String::from_utf8_lossy(&now), String::from_utf8_lossy(&first), "asked again");
        assert_eq!(fs::read_dir(folder.join("orders")).expect("a folder").count(), 1);
    }
}

#[test]
fn texts_are_in_the_language_of_the_site() {
    let site = format!("{NO_CALL}{SCHOOL}{ROOM}[site]\nlanguage = \"en\"\n");
    let home = Home::new(&format!("{site}{}", impossible("cpu_utilization")));
    let daemon = home.start();
    let folder = wait_for_orders(&home, 1);
    let text = fs::read_to_string(folder.join("booking.txt")).expect("a text");
    assert!(text.contains("School: Test School"), "{text}");
    assert!(home.run(["bookings", "list"]).stdout.contains("fault · Test School Room 101"));
    daemon.stop();
}

#[test]
fn without_bookings_and_without_a_ledger_there_is_a_plain_answer() {
    let home = Home::new(NO_CALL);
    let none = home.run(["bookings", "list"]);
    assert_eq!((none.code, none.stderr.lines().count()), (1, 1), "{}", none.stderr);
    let daemon = home.start();
    assert_eq!(home.run(["bookings", "list"]).stdout, "no bookings\n");
    assert_eq!(home.bookings().len(), 0);
    daemon.stop();
}

#[test]
fn an_incomplete_site_is_refused_by_the_webhook_until_it_is_complete() {
    let receiver = Receiver::start(Vec::new());
    let home = Home::new("");
    let webhook = crate::webhook::channel(&home, &receiver.address, "");
    let rest = format!("{NO_CALL}{ROOM}{webhook}{}", impossible("cpu_utilization"));
    home.configure(&rest);
    let daemon = home.start();
    let folder = wait_for_orders(&home, 1);
    let booking = json(folder.join("booking.json"));
    assert_eq!(booking["missing"], serde_json::json!(["school.name", "school.contact.name", "school.contact.phone"]));
    let text = fs::read_to_string(folder.join("booking.txt")).expect("a text");
    assert!(text.contains("school.contact.name"), "{text}");
    let refused = |daemon: &Daemon, channel: &str| {
        daemon.metric(&format!("bellwether_bookings_refused{{channel=\"{channel}\"}}"))
    };
    assert_eq!((refused(&daemon, "vendor"), refused(&daemon, "folder")), (Some(1.0), Some(0.0)));
    assert_eq!(receiver.requests(), []);

    home.configure(&format!("{SCHOOL}{rest}"));
    assert!(daemon.reload());
    let requests = receiver.wait_for(1, NEXT_RUN);
    let event: Value = serde_json::from_str(&requests[0].body).expect("JSON");
    assert_eq!(event["type"], "bellwether.booking.open.v1");
    assert_eq!((&event["data"]["key"], &event["data"]["missing"]), (&booking["key"], &serde_json::json!([])));
    assert_keeps_the_schema(&event["data"]);
    wait_for("the refusal to end", SOON, || refused(&daemon, "vendor").filter(|count| *count == 0.0));
    daemon.wait_for_metric("bellwether_orders{channel=\"vendor\",state=\"done\"}", 1.0, SOON);
    daemon.stop();
    assert_eq!(home.bookings().len(), 1);
    assert_eq!(receiver.requests().len(), 1);
}
