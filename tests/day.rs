//! Days of a school, lived through in seconds by the real loop: the clock is the test's, and so are the
//! beats. What it did is read from its page, as Prometheus reads it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "waits end")]

mod school;

use std::{collections::BTreeMap, time::Duration};

use bellwether::bookings;
use bellwether_agent::{schedule, site::Language};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Asia::Shanghai;
use school::{Metrics, NO_CALL, ROOM, School, local, port, runs, value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Tuesday, 24 November 2026, has two lessons of two periods in the morning, and one after a long break;
/// on Wednesday the first is later. The rest of the week is free.
const TIMETABLE: &str = r#"
[holidays]
country = ""
[[timetable.bells]]
periods = [
  "08:00-08:45", "08:55-09:40", "10:00-10:45", "10:55-11:40",
  "14:00-14:45", "14:55-15:40",
]
[[timetable.term]]
first_day = "2026-11-23"
weeks = 1
lessons = ["Tue 1-2: 数学", "Tue 3-4: 语文", "Tue 5: 音乐", "Wed 3: 语文"]
"#;

/// When the room is taken on Tuesday, as the table above has it: there is no leaving it within a double lesson.
const TAKEN: [(&str, &str); 3] = [("08:00", "09:40"), ("10:00", "11:40"), ("14:00", "14:45")];

fn skipped(metrics: &Metrics, probe: &str, reason: &str) -> u64 {
    value(metrics, &format!("bellwether_probe_skipped_total{{probe=\"{probe}\",reason=\"{reason}\"}}"))
}

fn all_skipped(metrics: &Metrics, probe: &str) -> u64 {
    // None of them is heard in the room, so none is off for that.
    let reasons = schedule::Skip::ALL.iter().filter(|skip| **skip != schedule::Skip::Off);
    reasons.map(|skip| skipped(metrics, probe, skip.name())).sum()
}

/// A probe that reads some files, which takes no time.
fn file_probe(name: &str, weight: &str) -> String {
    format!(
        "[probe.{name}]\nkind = \"versions\"\nschedule = \"*/10 * * * *\"\ntimeout = \"40 s\"\nweight = \"{weight}\"\n"
    )
}

/// Why a heavy run of up to 40 s may not start on those days, by the table alone.
fn held(taken: &[(DateTime<Utc>, DateTime<Utc>)], at: DateTime<Utc>) -> Option<&'static str> {
    let margin = TimeDelta::minutes(10);
    if taken.iter().any(|(start, end)| *start <= at && at < *end) {
        return Some("lesson");
    }
    let near = |(start, end): &(DateTime<Utc>, DateTime<Utc>)| {
        at < *end + margin && at + TimeDelta::seconds(40) + margin > *start
    };
    taken.iter().any(near).then_some("margin")
}

/// Every tenth minute, as this room is spread, and how far that is from the full minute.
fn due_instants(from: &str, to: &str) -> (Vec<DateTime<Utc>>, TimeDelta) {
    let splay = schedule::splay(ROOM, Duration::from_secs(300));
    let splay = TimeDelta::from_std(splay).expect("some seconds");
    let (from, to) = (local(from), local(to));
    let instants = (0..).map(|count| from + splay + TimeDelta::minutes(10 * count));
    (instants.take_while(|at| *at < to).collect(), splay)
}

#[tokio::test]
async fn no_heavy_probe_runs_in_a_lesson_and_all_are_run_before_the_first_and_after_a_long_break() {
    let config = TIMETABLE.to_owned()
        + NO_CALL
        + "[probe.versions]\nenabled = false\n"
        + &file_probe("heavy", "heavy")
        + &file_probe("light", "light");
    let (from, to) = ("2026-11-24T00:00", "2026-11-25T11:00");
    let on =
        |date: &str, (start, end): (&str, &str)| (local(&format!("{date}T{start}")), local(&format!("{date}T{end}")));
    let mut taken: Vec<_> = TAKEN.iter().map(|times| on("2026-11-24", *times)).collect();
    taken.push(on("2026-11-25", ("10:00", "10:45")));
    let ahead = ["2026-11-24T07:30", "2026-11-24T13:30", "2026-11-25T09:30"].map(local);
    let (due, splay) = due_instants(from, to);
    assert_ne!(splay.num_seconds() % 60, 0, "a look ahead would coincide with a run");

    School::open(&config, from, async |school| {
        // The first inspection, at night: all may run.
        let (mut ran, mut light) = (1, 1);
        let mut skips: BTreeMap<&str, u64> = BTreeMap::new();
        school.until("the first inspection", |page| runs(page, "heavy") == 1 && runs(page, "light") == 1).await;

        let minutes = (1..).map(|count| local(from) + TimeDelta::minutes(count)).take_while(|at| *at < local(to));
        let mut steps: Vec<(DateTime<Utc>, bool)> = minutes.map(|at| (at, ahead.contains(&at))).collect();
        steps.extend(due.iter().map(|at| (*at, true)));
        steps.sort();
        for (at, runs_now) in steps {
            school.at(at).await;
            if !runs_now {
                // Whatever runs now would be one too many at the next step.
                continue;
            }
            light += 1;
            match held(&taken, at) {
                None => ran += 1,
                Some(reason) => *skips.entry(reason).or_default() += 1,
            }
            let total: u64 = ran + skips.values().sum::<u64>();
            let what = format!("{ran} heavy runs, {skips:?} skipped, and {light} light runs");
            let counted = |page: &Metrics| {
                (runs(page, "heavy") + all_skipped(page, "heavy"), runs(page, "light")) == (total, light)
            };
            let page = school.until(&what, counted).await;
            let of = |reason| skips.get(reason).copied().unwrap_or_default();
            let found = (runs(&page, "heavy"), skipped(&page, "heavy", "lesson"), skipped(&page, "heavy", "margin"));
            let time = at.with_timezone(&Shanghai);
            assert_eq!(found, (ran, of("lesson"), of("margin")), "{time}");
            assert_eq!(all_skipped(&page, "light"), 0, "{time}");
            let in_lesson = held(&taken, at) == Some("lesson");
            assert_eq!(value(&page, "bellwether_room_timetable{state=\"lesson\"}") == 1, in_lesson, "{time}");
        }
        // Six in each of 35 hours, the first inspection, and one before each of three lessons.
        assert_eq!(light, 35 * 6 + 1 + 3);
        assert!(of_each(&skips), "{skips:?}");
    })
    .await;
}

/// Both reasons occurred, or the day would have shown nothing.
fn of_each(skips: &BTreeMap<&str, u64>) -> bool {
    ["lesson", "margin"].iter().all(|reason| skips.get(reason).is_some_and(|count| *count > 3))
}

#[tokio::test]
async fn a_heavy_probe_that_a_lesson_catches_is_stopped_and_its_run_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = format!(
        "{TIMETABLE}{NO_CALL}[probe.slow]\nkind = \"page\"\nurl = \"http://{address}/\"\n\
         schedule = \"*/10 * * * *\"\ntimeout = \"4 min\"\nweight = \"heavy\"\n{}",
        file_probe("waits", "heavy")
    );
    School::open(&config, "2026-11-24T06:00", async |school| {
        let (mut first, _) = listener.accept().await.expect("the first fetch");
        let mut bytes = [0; 4096];
        assert!(first.read(&mut bytes).await.expect("a request") > 0);
        // The clock is stepped into a lesson, between two instants of the schedule.
        let (due, _) = due_instants("2026-11-24T08:10", "2026-11-24T08:30");
        school.at(due[0] + TimeDelta::seconds(150)).await;
        let page = school.until("the stop", |page| skipped(page, "slow", "lesson") > 0).await;
        assert_eq!(first.read(&mut bytes).await.unwrap_or(0), 0, "the fetch goes on");
        assert_eq!((runs(&page, "slow"), skipped(&page, "slow", "lesson")), (0, 1));
        // What waited for it must not run either.
        assert_eq!((runs(&page, "waits"), skipped(&page, "waits", "lesson")), (0, 1));
        let failures =
            page.iter().filter(|(name, _)| name.starts_with("bellwether_probe_failures_total{probe=\"slow\""));
        assert_eq!(failures.map(|(_, count)| count).sum::<f64>() as u64, 0);

        // In the long break it is fetched again.
        let (due, _) = due_instants("2026-11-24T12:00", "2026-11-24T12:30");
        school.at(due[0]).await;
        let (mut second, _) = listener.accept().await.expect("another fetch");
        second.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("it listens");
        school.until("the runs", |page| runs(page, "slow") == 1 && runs(page, "waits") == 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_heavy_probe_that_waited_until_a_lesson_was_near_is_given_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = format!(
        "{TIMETABLE}{NO_CALL}[probe.slow]\nkind = \"page\"\nurl = \"http://{address}/\"\n\
         schedule = \"*/10 * * * *\"\ntimeout = \"4 min\"\nweight = \"heavy\"\n{}",
        file_probe("waits", "heavy")
    );
    School::open(&config, "2026-11-24T06:00", async |school| {
        let (mut fetch, _) = listener.accept().await.expect("the first fetch");
        // The box was suspended for long. No lesson has begun, so that what runs may end.
        school.at(local("2026-11-24T07:52")).await;
        fetch.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("it listens");
        let page = school.until("the run", |page| runs(page, "slow") == 1).await;
        assert_eq!((runs(&page, "waits"), skipped(&page, "waits", "margin")), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn nothing_heavy_starts_before_the_timetable_is_known() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let config = format!(
        "[holidays]\ncountry = \"\"\n[timetable]\nical = [\"https://{address}/r302.ics\"]\n{NO_CALL}\
         [probe.versions]\nenabled = false\n{}{}",
        file_probe("heavy", "heavy"),
        file_probe("light", "light")
    );
    School::open(&config, "2026-11-24T12:00", async |school| {
        let page = school.until("the first inspection", |page| runs(page, "light") == 1).await;
        assert_eq!((runs(&page, "heavy"), skipped(&page, "heavy", "lesson")), (0, 1));
        assert_eq!(value(&page, "bellwether_room_timetable{state=\"unknown\"}"), 1);
        assert!(!page.keys().any(|name| name.contains("timetable_age")), "it is still being read");
    })
    .await;
}

#[tokio::test]
async fn what_is_still_broken_before_a_lesson_is_critical() {
    let config = format!(
        "{TIMETABLE}{NO_CALL}[channel.desk]\nkind = \"folder\"\n[probe.portal]\nkind = \"page\"\n\
         url = \"http://127.0.0.1:{}/\"\nschedule = \"*/10 * * * *\"\n",
        port()
    );
    School::open(&config, "2026-11-24T07:00", async |school| {
        let (due, _) = due_instants("2026-11-24T07:00", "2026-11-24T07:30");
        let mut count = 1;
        school.until("the first inspection", |page| runs(page, "portal") == 1).await;
        for at in due {
            school.at(at).await;
            count += 1;
            school.until("the next run", |page| runs(page, "portal") == count).await;
        }
        let booking = async || {
            let listed = bookings::list(&school.state(), Language::English, true).await.expect("a ledger");
            let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("JSON");
            assert_eq!(listed.len(), 1, "{listed:?}");
            listed[0].clone()
        };
        let before = booking().await;
        assert_ne!(before["severity"], "critical");
        assert!(before["lesson_at_risk"].is_null());

        school.at(local("2026-11-24T07:30")).await;
        school.until("the look ahead", |page| runs(page, "portal") == count + 1).await;
        // Another beat is handled only when the conclusion was written.
        school.at(local("2026-11-24T07:31")).await;
        let after = booking().await;
        assert_eq!((&after["key"], &after["severity"]), (&before["key"], &"critical".into()));
        assert_eq!(after["lesson_at_risk"], "2026-11-24T00:00:00Z");
        assert!(after["op_seq"].as_u64() > before["op_seq"].as_u64(), "nobody was told");
    })
    .await;
}

#[tokio::test]
async fn a_timetable_that_was_never_read_holds_heavy_probes_until_they_starve() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r302.ics");
    let config = format!("[holidays]\ncountry = \"\"\n[timetable]\nical = [{file:?}]\n{NO_CALL}")
        + "[probe.versions]\nenabled = false\n"
        + &file_probe("heavy", "heavy")
        + &file_probe("light", "light");
    let starved = "bellwether_probe_starved{probe=\"heavy\"}";
    School::open(&config, "2026-11-24T12:00", async |school| {
        let page = school.until("the first inspection", |page| runs(page, "light") == 1).await;
        assert_eq!((runs(&page, "heavy"), skipped(&page, "heavy", "lesson"), value(&page, starved)), (0, 1, 0));
        assert_eq!(value(&page, "bellwether_room_timetable{state=\"unknown\"}"), 1);
        assert_eq!(page.get("bellwether_timetable_age_seconds{component=\"r302.ics\"}"), None, "never read");
        assert_eq!(value(&page, "bellwether_calendar_certainty{state=\"unreadable\"}"), 1);

        for hours in 1..=24 {
            school.at(local("2026-11-24T12:00") + TimeDelta::hours(hours)).await;
        }
        assert_eq!(value(&school.metrics().await, starved), 0);
        school.at(local("2026-11-25T12:01")).await;
        let page = school.until("hunger", |page| value(page, starved) == 1).await;
        assert_eq!(value(&page, "bellwether_probe_starved{probe=\"light\"}"), 0);
        assert_eq!(runs(&page, "heavy"), 0);

        let lesson = "BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Asia/Shanghai:20261125T140000\r\n\
                      DTEND;TZID=Asia/Shanghai:20261125T150000\r\nEND:VEVENT\r\n";
        let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n{lesson}END:VCALENDAR\r\n");
        std::fs::write(&file, text).expect("a file");
        school.at(local("2026-11-25T12:20")).await;
        school.until("the file", |page| value(page, "bellwether_room_timetable{state=\"unknown\"}") == 0).await;
        let (due, _) = due_instants("2026-11-25T12:30", "2026-11-25T13:00");
        school.at(due[0]).await;
        school.until("the run", |page| runs(page, "heavy") == 1).await;
        school.at(due[0] + TimeDelta::seconds(150)).await;
        school.until("it is fed", |page| value(page, starved) == 0).await;
    })
    .await;
}
