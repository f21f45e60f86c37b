//! A school whose page can be broken, and the desk of its vendor.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]
#![allow(clippy::disallowed_methods, reason = "waits end")]
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::{
    cell::RefCell,
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::school::{NO_CALL, School, runs, value};

const START: &str = "2026-11-24T08:00";
/// How long anything is waited for that should happen at once.
const SOON: Duration = Duration::from_secs(30);

/// Whether the page fails.
pub static FAILS: AtomicBool = AtomicBool::new(false);

async fn serve(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            let _request = stream.read(&mut bytes).await;
            let status = if FAILS.load(Ordering::Relaxed) { "500 Internal Server Error" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            // A client that went away needs no answer.
            let _gone = stream.write_all(answer.as_bytes()).await;
        });
    }
}

/// Where the vendor answers.
pub enum Desk {
    /// By files in a folder; that of the state, if none is named.
    Folder(Option<PathBuf>),
    /// In a server of its own, where somebody does what they are told: tests/vendors/desk.py.
    Server(RefCell<Server>),
}

/// A server, and the program that acts in it.
pub struct Server {
    child: Child,
    said: ChildStdin,
    heard: BufReader<ChildStdout>,
    /// The channel's table.
    table: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It tidies up when its input ends; what is left then is killed.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Server {
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.heard.read_line(&mut line).expect("an answer");
        assert!(!line.is_empty(), "the desk is gone");
        line.trim().to_owned()
    }
}

impl Desk {
    /// Starts a server.
    pub fn server(kind: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["tests/vendors/desk.py", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let (said, heard) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut server = Server { child, said, heard: BufReader::new(heard), table: Value::Null };
        server.table = serde_json::from_str(&server.hear()).expect("JSON");
        Self::Server(RefCell::new(server))
    }

    /// What a config says of it.
    fn config(&self) -> String {
        let table = match self {
            Self::Folder(None) => return String::new(),
            Self::Folder(Some(path)) => return format!("[channel.folder]\npath = {path:?}\n"),
            Self::Server(server) => server.borrow().table.clone(),
        };
        let keys = table.as_object().expect("a table").iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[channel.folder]\nenabled = false\n[channel.vendor]\n{}", keys.collect::<String>())
    }

    /// By which channel the vendor is reached.
    fn channel(&self) -> &'static str {
        match self {
            Self::Folder(_) => "folder",
            Self::Server(_) => "vendor",
        }
    }

    /// When the story begins: a server has a clock of its own, with which the box has to agree at its start.
    fn start(&self) -> String {
        match self {
            Self::Folder(_) => START.to_owned(),
            Self::Server(_) => {
                Utc::now().with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%dT%H:%M").to_string()
            }
        }
    }

    /// Has somebody do something there; what is found.
    pub fn tell(&self, words: &str) -> String {
        let Self::Server(server) = self else { panic!("there is no server") };
        let mut server = server.borrow_mut();
        writeln!(server.said, "{words}").expect("it listens");
        let answer = server.hear();
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{words}: {answer}")).trim().to_owned()
    }
}

/// The school, its page, and the vendor's desk.
pub struct Story<'s> {
    pub school: &'s School,
    pub desk: &'s Desk,
}

impl Story<'_> {
    pub fn run(&self, command: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .arg("--config")
            .arg(self.school.config())
            .arg("--state")
            .arg(self.school.state())
            .args(command)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A command of which the daemon in this process must have its turn.
    pub async fn ask(&self, command: &[&str]) -> String {
        let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        let (config, state) = (self.school.config(), self.school.state());
        let asked = tokio::task::spawn_blocking(move || {
            let mut program = Command::new(env!("CARGO_BIN_EXE_bellwether"));
            program.arg("--config").arg(config).arg("--state").arg(state).args(command).output().expect("it starts")
        });
        let output = asked.await.expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn bookings(&self) -> Vec<Value> {
        let listed: Vec<Value> = serde_json::from_str(&self.run(&["bookings", "list", "--json"])).expect("JSON");
        listed
    }

    /// Goes on by minutes, and returns the booking once it stands so.
    pub async fn until(&self, state: &str) -> Value {
        let end = Instant::now() + SOON;
        loop {
            if let Some(booking) = self.bookings().into_iter().find(|booking| booking["state"] == state) {
                return booking;
            }
            assert!(Instant::now() < end, "not {state}: {:#?}", self.bookings());
            self.minutes(1).await;
        }
    }

    /// Lets time go on; every minute the page is looked at.
    pub async fn minutes(&self, count: i64) {
        for _ in 0..count {
            self.school.at(self.school.now() + TimeDelta::minutes(1)).await;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    pub async fn to(&self, at: DateTime<Utc>) {
        self.school.at(at).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Puts an answer into the folder.
    fn reply(&self, key: &str, answer: &Value) {
        fs::write(self.folder().join(key).join("reply.json"), answer.to_string()).expect("an answer");
    }

    fn folder(&self) -> PathBuf {
        match self.desk {
            Desk::Folder(Some(path)) => path.clone(),
            _ => self.school.state().join("bookings"),
        }
    }

    /// The vendor moves the appointment.
    fn moves(&self, key: &str, start: DateTime<Utc>) {
        let end = start + TimeDelta::hours(1);
        match self.desk {
            Desk::Folder(_) => {
                let window = json!({ "start": start, "end": end });
                self.reply(key, &json!({ "standing": "requested", "window": window }));
            }
            Desk::Server(_) => {
                let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                self.desk.tell(&format!("move {key} {} {}", time(start), time(end)));
            }
        }
    }

    /// The vendor says that the work is done.
    fn reports(&self, key: &str) {
        match self.desk {
            Desk::Folder(_) => self.reply(key, &json!({ "standing": "reported", "note": "换了网线" })),
            Desk::Server(_) => drop(self.desk.tell(&format!("done {key}"))),
        }
    }

    /// The vendor says whether somebody comes.
    fn answers(&self, key: &str, comes: bool) {
        match self.desk {
            Desk::Folder(_) => {
                self.reply(key, &json!({ "standing": if comes { "confirmed" } else { "refused" } }));
            }
            Desk::Server(_) => drop(self.desk.tell(&format!("{} {key}", if comes { "confirm" } else { "decline" }))),
        }
    }

    /// Waits until the vendor is asked where it works, and what was answered before stands there no more.
    async fn asked(&self, key: &str) {
        let end = Instant::now() + SOON;
        while let Desk::Server(_) = self.desk
            && self.desk.tell(&format!("waits {key}")) != "True"
        {
            assert!(Instant::now() < end, "{key} does not wait for an answer");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.told().await;
    }

    /// Waits until nothing waits to be sent.
    pub async fn told(&self) {
        let channel = self.desk.channel();
        self.school
            .until("everything is sent", |page| {
                ["pending", "inflight", "ambiguous"].iter().all(|state| {
                    value(page, &format!("bellwether_orders{{channel=\"{channel}\",state=\"{state}\"}}")) == 0
                })
            })
            .await;
    }

    /// Waits until the folder says so.
    pub async fn filed(&self, booking: &Value, state: &str) {
        self.told().await;
        if let Desk::Server(_) = self.desk {
            return;
        }
        let path = self.folder().join(key(booking)).join("booking.json");
        let filed: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
        assert_eq!(filed["state"], state);
    }

    pub fn trail(&self, booking: &Value) -> Vec<String> {
        let shown = self.run(&["bookings", "show", booking["key"].as_str().expect("a key")]);
        let trail = shown.split("WHEN").nth(1).expect("a trail");
        trail
            .lines()
            .skip(1)
            .filter_map(|line| line.split("  ").filter(|cell| !cell.is_empty()).nth(2))
            .map(|act| act.trim().to_owned())
            .collect()
    }
}

/// It goes on with the table of the room.
const HEAD: &str = "name = \"三年级二班\"\n[school]\nname = \"示范小学\"\n[school.contact]\nname = \"信息中心\"\nphone = \"100\"\n\
                    [holidays]\ncountry = \"\"\n[visit]\nobserve = \"1 d\"\nchecklist = [\"画面正常\"]\n";

pub fn key(booking: &Value) -> &str {
    booking["key"].as_str().expect("a key")
}

pub fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time").parse().expect("a time")
}

/// Breaks the page and has the vendor come, up to the observation.
pub async fn repaired(story: &Story<'_>) -> Value {
    FAILS.store(false, Ordering::Relaxed);
    story.minutes(10).await;
    assert_eq!(story.bookings(), Vec::<Value>::new(), "nothing is wrong");
    FAILS.store(true, Ordering::Relaxed);
    let booking = story.until("requested").await;
    let key = key(&booking).to_owned();

    // The vendor moves it to a time that nobody asked for; the school agrees.
    let asked = time(&booking["wanted"][0]["start"]);
    let start = asked + TimeDelta::hours(26);
    story.told().await;
    story.moves(&key, start);
    let countered = story.until("countered").await;
    assert_eq!(time(&countered["life"]["appointment"]["start"]), start);
    story.ask(&["bookings", "confirm", &key]).await;
    let confirmed = story.until("confirmed").await;
    assert_eq!((time(&confirmed["life"]["appointment"]["start"]), &confirmed["key"]), (start, &booking["key"]));

    // A quarter of an hour before it everything is looked at; then it opens.
    let before = runs(&story.school.metrics().await, "portal");
    story.to(start - TimeDelta::minutes(14)).await;
    story.school.until("a look before the window", |page| runs(page, "portal") > before).await;
    story.to(start).await;
    story.until("in_maintenance").await;
    story.school.until("maintenance on the page", |page| value(page, "bellwether_in_maintenance") == 1).await;

    // What is read while they work is held against nobody.
    FAILS.store(false, Ordering::Relaxed);
    story.minutes(10).await;
    story.told().await;
    story.reports(&key);
    let reported = story.until("observing").await;
    assert_eq!(reported["key"], booking["key"]);
    story.school.until("the end of it on the page", |page| value(page, "bellwether_in_maintenance") == 0).await;
    reported
}

/// A school that reaches its vendor there.
pub async fn with_desk(desk: &Desk, day: impl AsyncFnOnce(&Story<'_>)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let page = listener.local_addr().expect("an address");
    let config = format!(
        "{HEAD}{NO_CALL}[probe.portal]\nkind = \"page\"\nschedule = \"* * * * *\"\nurl = \"http://{page}/\"\n{}",
        desk.config()
    );
    let served = tokio::spawn(serve(listener));
    School::open(&config, &desk.start(), async |school| {
        day(&Story { school, desk }).await;
    })
    .await;
    served.abort();
}

/// From a fault to its acceptance.
pub async fn to_the_end(story: &Story<'_>) -> Value {
    let booking = repaired(story).await;
    story.ask(&["bookings", "check", key(&booking), "1"]).await;
    // A day later the numbers have judged; the school has the last word.
    story.to(time(&booking["life"]["observed_from"]) + TimeDelta::hours(24)).await;
    let evaluated = story.until("evaluated").await;
    assert!(evaluated["life"]["effect"]["verdict"].is_string(), "{evaluated:#}");
    assert!(evaluated["life"]["vendor_minutes"]["confirm"].is_number());
    story.ask(&["bookings", "rate", key(&booking), "5", "很好"]).await;
    story.ask(&["bookings", "accept", key(&booking)]).await;
    let archived = story.until("archived").await;
    assert_eq!((&archived["key"], archived["life"]["rating"]["stars"].as_u64()), (&booking["key"], Some(5)));
    let acts = story.trail(&booking);
    let expected =
        ["plan", "taken", "counter", "confirm", "start", "report", "examined", "checked", "observed", "rate", "accept"];
    assert_eq!(acts, expected);
    story.filed(&booking, "archived").await;
    assert_eq!(story.bookings().len(), 1);
    archived
}

/// The same fault, back while the room is observed.
pub async fn with_a_relapse(story: &Story<'_>) {
    let booking = repaired(story).await;
    story.minutes(5).await;
    FAILS.store(true, Ordering::Relaxed);
    let again = story.until("requested").await;
    assert_eq!((&again["key"], again["life"]["reopened"].as_u64()), (&booking["key"], Some(1)));
    assert!(again["wanted"].as_array().is_some_and(|wanted| !wanted.is_empty()), "times are asked for anew");
    assert_eq!(story.bookings().len(), 1, "the same booking");
    // What was answered before it came back is no answer to this.
    story.asked(key(&booking)).await;
    story.minutes(12).await;
    assert_eq!(story.bookings()[0]["state"], "requested");
}

/// A vendor who does not come, is asked for another time, and comes then.
pub async fn with_a_refusal(story: &Story<'_>) {
    FAILS.store(true, Ordering::Relaxed);
    let booking = story.until("requested").await;
    let asked = time(&booking["wanted"][0]["start"]);
    story.told().await;
    story.answers(key(&booking), false);
    let refused = story.until("refused").await;
    assert_eq!(refused["key"], booking["key"]);
    story.minutes(10).await;
    assert_eq!(story.bookings()[0]["state"], "refused", "nothing is asked of them again by itself");

    let at = (asked + TimeDelta::hours(24)).with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M");
    story.ask(&["bookings", "move", key(&booking), "--at", &at.to_string()]).await;
    assert_eq!(time(&story.until("requested").await["wanted"][0]["start"]), asked + TimeDelta::hours(24));
    story.asked(key(&booking)).await;
    story.minutes(10).await;
    assert_eq!(story.bookings()[0]["state"], "requested", "the refusal was of the time before");
    story.answers(key(&booking), true);
    let confirmed = story.until("confirmed").await;
    assert_eq!(time(&confirmed["life"]["appointment"]["start"]), asked + TimeDelta::hours(24));
    assert_eq!(story.bookings().len(), 1);
}

/// The same fault, back after the numbers had judged, and before the school accepted.
pub async fn back_after_the_verdict(story: &Story<'_>) {
    let booking = repaired(story).await;
    story.to(time(&booking["life"]["observed_from"]) + TimeDelta::hours(24)).await;
    story.until("evaluated").await;
    FAILS.store(true, Ordering::Relaxed);
    let again = story.until("requested").await;
    assert_eq!((&again["key"], again["life"]["reopened"].as_u64()), (&booking["key"], Some(1)));
    assert_eq!(story.bookings().len(), 1, "the same booking");
}

/// A box that is set up anew: its ledger is another one, and goes on with what the vendor has.
pub async fn set_up_anew(desk: &Desk) {
    FAILS.store(true, Ordering::Relaxed);
    let mut known = Value::Null;
    with_desk(desk, async |story| {
        known = story.until("requested").await;
        story.told().await;
    })
    .await;
    with_desk(desk, async |story| {
        let adopted = story.until("requested").await;
        assert_eq!((&adopted["key"], &adopted["opened_at"]), (&known["key"], &known["opened_at"]));
        story.minutes(10).await;
        assert_eq!(story.bookings().len(), 1, "the fault is there, and is booked already");
        assert_eq!(story.trail(&known)[0], "adopt");
        FAILS.store(false, Ordering::Relaxed);
        story.minutes(5).await;
        story.to(story.school.now() + TimeDelta::hours(24)).await;
        assert_eq!(story.until("cancelled").await["key"], known["key"], "it ends from here, too");
        FAILS.store(true, Ordering::Relaxed);
        let next = story.until("requested").await;
        assert_ne!(next["key"], known["key"], "no key is used again");
        story.told().await;
    })
    .await;
}

/// What the vendor does in its own system is seen here within one interval of reading back, which is five minutes.
pub async fn answers_are_seen(kind: &str) {
    for (word, state) in [("confirm", "confirmed"), ("decline", "refused"), ("done", "observing")] {
        FAILS.store(true, Ordering::Relaxed);
        let desk = Desk::server(kind);
        with_desk(&desk, async |story| {
            let booking = story.until("requested").await;
            story.told().await;
            desk.tell(&format!("{word} {}", key(&booking)));
            for _ in 0..6 {
                story.minutes(1).await;
                // What was read comes back beside the loop.
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            assert_eq!(story.bookings()[0]["state"], state, "{word}");
        })
        .await;
    }
}
