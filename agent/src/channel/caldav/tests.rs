//! The whole channel, over the wire against answers written here; the parts have tests of their own.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{entry::Entry, merge::merged, object::Object, *};
use crate::{
    booking::{State, examples, op_key, text::template::Template},
    channel::{Standing, http::install_provider},
    site::Language,
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time written here")
}

fn now() -> DateTime<Utc> {
    at("2026-11-24T02:00:30Z")
}

struct Place {
    _folder: tempfile::TempDir,
    config: Config,
}

fn config(url: &str) -> Place {
    install_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let password_file = folder.path().join("password");
    fs::write(&password_file, "s3cret word\n").expect("a password");
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let config = Config {
        url: url.to_owned(),
        user: "bw".to_owned(),
        password_file,
        ca_file: None,
        timeout: Span(Duration::from_secs(20)),
        allow_plain_http: false,
        organizer: None,
        attendee: None,
    };
    Place { _folder: folder, config }
}

fn booking(op_seq: u32) -> Booking {
    Booking { op_seq, ..examples::full() }
}

/// An order's bytes, without anybody invited.
fn rendered(booking: &Booking, operation: Operation) -> String {
    let op_key = op_key(&booking.key, booking.op_seq);
    body(&config("http://localhost/cal").config, booking, operation, &op_key, &Language::English.into())
}

fn order(booking: &Booking, operation: Operation) -> Order {
    Order {
        op_key: op_key(&booking.key, booking.op_seq),
        booking_key: booking.key.clone(),
        op_seq: booking.op_seq,
        channel: "cal".into(),
        operation,
        created_at: booking.updated_at,
        body: rendered(booking, operation),
    }
}

fn object(text: &str) -> Object {
    Object::read(text.as_bytes()).expect("an object")
}

fn text(object: &Object) -> String {
    String::from_utf8(object.write()).expect("text")
}

/// What the vendor makes of an entry: in place of a line there is another.
fn set(entry: &str, name: &str, lines: &[&str]) -> String {
    let mut object = object(entry);
    object.set(name, &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
    text(&object)
}

fn moved(entry: &str) -> String {
    let entry = set(entry, "DTSTART", &["DTSTART;TZID=Asia/Shanghai:20261125T140000"]);
    set(&entry, "DTEND", &["DTEND;TZID=Asia/Shanghai:20261125T160000"])
}

fn remote(entry: &str) -> Remote {
    Entry::read(&object(entry)).remote("/cal/x.ics").expect("it can be told")
}

fn window(start: &str, end: &str) -> Option<Window> {
    Some(Window { start: at(start), end: at(end) })
}

/// The entry after an update or a cancellation of ours.
fn after(entry: &str, booking: &Booking, operation: Operation) -> String {
    text(&merged(object(entry), &object(&rendered(booking, operation)), now()))
}

fn value(entry: &str, name: &str) -> String {
    object(entry).value(name).unwrap_or_default()
}

const ASKED: (&str, &str) = ("2026-11-24T04:00:00Z", "2026-11-24T05:00:00Z");
const THEIRS: (&str, &str) = ("2026-11-25T06:00:00Z", "2026-11-25T08:00:00Z");

#[test]
fn the_bytes_say_everything_and_never_change() {
    let booking = booking(1);
    let entry = rendered(&booking, Operation::Open);
    assert_eq!(entry, rendered(&booking, Operation::Open));
    let read = Entry::read(&object(&entry));
    assert_eq!(read.uid, booking.key);
    assert_eq!((read.op_seq, read.status.as_str()), (Some(1), "TENTATIVE"));
    assert_eq!(read.booking.as_ref(), Some(&booking));
    assert_eq!(read.room.as_deref(), Some("nizs2mzqgi"));
    assert!(!read.has_their_time() && !read.has_their_status() && !read.is_answered());
    let remote = read.remote("/cal/x.ics").expect("it can be told");
    assert_eq!(remote.window, window(ASKED.0, ASKED.1));
    assert_eq!((remote.standing, remote.note), (Standing::Requested, None));
    assert!(entry.split_terminator("\r\n").all(|line| line.len() <= 75));
    assert_eq!(value(&rendered(&booking, Operation::Cancel), "STATUS"), "CANCELLED");
}

#[test]
fn whoever_is_invited_is_named() {
    let mut place = config("http://localhost/cal");
    place.config.organizer = Some("it@school.example".into());
    place.config.attendee = Some("desk@vendor.example".into());
    assert_eq!(place.config.check(), []);
    let entry = body(&place.config, &booking(1), Operation::Open, "x", &Language::Chinese.into());
    assert_eq!(value(&entry, "ORGANIZER"), "mailto:it@school.example");
    assert_eq!(remote(&entry).standing, Standing::Requested);
    let answered = |answer: &str| entry.replace("PARTSTAT=NEEDS-ACTION", &format!("PARTSTAT={answer}"));
    assert_eq!(remote(&answered("ACCEPTED")).standing, Standing::Confirmed);
    assert_eq!(remote(&answered("DECLINED")).standing, Standing::Refused);
    assert_eq!(remote(&answered("TENTATIVE")).standing, Standing::Requested);
    // The vendor's own invitation of a technician: who invites has accepted, which says nothing.
    let lines =
        ["ATTENDEE;PARTSTAT=ACCEPTED:MAILTO:IT@school.example", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:a@v.example"];
    assert_eq!(remote(&set(&entry, "ATTENDEE", &lines)).standing, Standing::Requested);
}

#[test]
fn what_the_vendor_does_is_read_back() {
    let entry = rendered(&booking(1), Operation::Open);
    let title = value(&entry, "SUMMARY");
    let titled = |mark: &str| set(&entry, "SUMMARY", &[&format!("SUMMARY:{mark}{title}")]);
    let status = |status: &str| set(&entry, "STATUS", &[status]);
    let table = [
        ("nothing", entry.clone(), Standing::Requested),
        ("no status", status("X-NONE:1"), Standing::Requested),
        ("confirmed", status("STATUS:CONFIRMED"), Standing::Confirmed),
        ("cancelled", status("STATUS:CANCELLED"), Standing::Refused),
        ("a word in the title", titled("【确认】"), Standing::Confirmed),
        ("another word", titled("[declined] "), Standing::Refused),
        ("done", titled("[Done] "), Standing::Reported),
        ("done and confirmed", set(&titled("[done]"), "STATUS", &["STATUS:CONFIRMED"]), Standing::Reported),
        ("a category", set(&entry, "CATEGORIES", &["CATEGORIES:Visits,完成"]), Standing::Reported),
        ("another category", set(&entry, "CATEGORIES", &["CATEGORIES:Visits"]), Standing::Requested),
        ("cancelled by us", rendered(&booking(2), Operation::Cancel), Standing::Withdrawn),
    ];
    for (name, entry, standing) in table {
        let remote = remote(&entry);
        assert_eq!((remote.standing, remote.window), (standing, window(ASKED.0, ASKED.1)), "{name}");
    }
    assert_eq!(remote(&moved(&entry)).window, window(THEIRS.0, THEIRS.1));
    assert_eq!(remote(&moved(&entry)).standing, Standing::Requested);
    let start_alone = set(&set(&entry, "DTSTART", &["DTSTART:20261125T060000Z"]), "DTEND", &[]);
    assert_eq!(remote(&start_alone).window, window("2026-11-25T06:00:00Z", "2026-11-25T07:00:00Z"));
    let floating = set(&set(&entry, "DTSTART", &["DTSTART:20261125T140000"]), "DTEND", &["DURATION:PT2H"]);
    assert_eq!(remote(&floating).window, window(THEIRS.0, THEIRS.1), "in the school's zone");
}

#[test]
fn what_the_vendor_writes_is_its_note() {
    let entry = rendered(&booking(1), Operation::Open);
    let description = value(&entry, "DESCRIPTION");
    let noted = set(&entry, "DESCRIPTION", &[&format!("DESCRIPTION:{description}Gate 3\\, please\\nring")]);
    assert_eq!(remote(&noted).note.as_deref(), Some("Gate 3, please ring"));
    let commented = set(&noted, "COMMENT", &["COMMENT:not on Monday", "COMMENT:a\\nb"]);
    assert_eq!(remote(&commented).note.as_deref(), Some("not on Monday; a b"));
    let long = set(&entry, "COMMENT", &[&format!("COMMENT:{}", "课".repeat(2000))]);
    assert_eq!(remote(&long).note.map(|note| note.chars().count()), Some(300));
}

#[test]
fn a_time_that_cannot_be_told_is_no_time_that_was_asked() {
    let entry = set(&rendered(&booking(1), Operation::Open), "DTSTART", &["DTSTART;TZID=Nowhere:20261125T140000"]);
    let error = Entry::read(&object(&entry)).remote("/cal/x.ics").expect_err("nobody knows the zone");
    assert!(error.contains("Nowhere"), "{error}");
    let cancelled = set(&entry, "STATUS", &["STATUS:CANCELLED"]);
    assert_eq!((remote(&cancelled).standing, remote(&cancelled).window), (Standing::Refused, None));
}

#[test]
fn a_booking_without_a_time_is_a_day_by_which_somebody_should_come() {
    let mut booking = Booking { wanted: Vec::new(), severity: Severity::Normal, ..booking(1) };
    let entry = rendered(&booking, Operation::Open);
    // Tuesday and five working days.
    assert!(entry.contains("\r\nDTSTART;VALUE=DATE:20261201\r\nDTEND;VALUE=DATE:20261202\r\nTRANSP:TRANSPARENT\r\n"));
    assert_eq!((remote(&entry).standing, remote(&entry).window), (Standing::Requested, None));
    let confirmed = remote(&set(&entry, "STATUS", &["STATUS:CONFIRMED"]));
    assert_eq!(confirmed.window, window("2026-11-30T16:00:00Z", "2026-12-01T16:00:00Z"), "the whole day in Shanghai");
    let moved = remote(&set(&entry, "DTSTART", &["DTSTART;VALUE=DATE:20261130"]));
    assert_eq!(moved.window, window("2026-11-29T16:00:00Z", "2026-12-01T16:00:00Z"));

    let day = |booking: &Booking| value(&rendered(booking, Operation::Open), "DTSTART");
    booking.severity = Severity::High;
    assert_eq!(day(&booking), "20261125");
    booking.vendor.days = vec![chrono::Weekday::Mon];
    assert_eq!(day(&booking), "20261130");
    (booking.severity, booking.lesson_at_risk) = (Severity::Critical, Some(at("2026-11-25T00:30:00Z")));
    assert_eq!(day(&booking), "20261125");
    booking.updated_at = at("2026-12-24T02:00:00Z");
    assert_eq!(day(&booking), "20261224", "not in the past");
    // A time that is found later takes the day's place.
    let later = after(&entry, &self::booking(2), Operation::Update);
    assert_eq!((remote(&later).window, value(&later, "TRANSP")), (window(ASKED.0, ASKED.1), String::new()));
}

#[test]
fn a_template_does_not_answer_for_the_vendor() {
    let template = Template::parse("[done] {{key}}\n\n{{body}}\n".as_bytes()).expect("a template");
    let texts = Texts { language: Language::English, template: Some(Arc::new(template)) };
    let booking = booking(1);
    let entry =
        body(&config("http://localhost/cal").config, &booking, Operation::Open, &op_key(&booking.key, 1), &texts);
    assert_eq!(remote(&entry).standing, Standing::Requested, "{entry}");
}

#[test]
fn an_update_of_what_nobody_touched_is_ours() {
    let entry = set(&rendered(&booking(1), Operation::Open), "X-THEIRS", &["X-THEIRS;A=b:c\\,d"]);
    let mut next = booking(2);
    next.wanted.remove(0);
    next.severity = Severity::High;
    let updated = after(&entry, &next, Operation::Update);
    let read = Entry::read(&object(&updated));
    assert_eq!((read.op_seq, read.sequence, read.booking.as_ref()), (Some(2), 2, Some(&next)));
    assert_eq!(remote(&updated).window, next.wanted.first().copied());
    assert!(value(&updated, "SUMMARY").contains("[high]"));
    assert_eq!(value(&updated, "X-THEIRS"), "c\\,d");
    assert_eq!(value(&updated, "DTSTAMP"), "20261124T020030Z");
    assert!(!read.has_their_time());
    // Another text alone is no other appointment.
    let same = Booking { severity: Severity::High, ..booking(7) };
    assert_eq!(Entry::read(&object(&after(&entry, &same, Operation::Update))).sequence, 1);
}

#[test]
fn an_update_keeps_what_the_vendor_has_set() {
    let entry = rendered(&booking(1), Operation::Open);
    let mut next = booking(2);
    next.wanted.remove(0);
    let theirs = set(&moved(&entry), "COMMENT", &["COMMENT:not before two"]);
    let theirs = set(&theirs, "ATTENDEE", &["ATTENDEE;CN=\"A, B\":mailto:a@vendor.example"]);
    let updated = after(&theirs, &next, Operation::Update);
    assert_eq!(remote(&updated).window, window(THEIRS.0, THEIRS.1));
    assert!(updated.contains("\r\nDTSTART;TZID=Asia/Shanghai:20261125T140000\r\n"), "to the byte");
    assert!(updated.contains("\r\nATTENDEE;CN=\"A, B\":mailto:a@vendor.example\r\n"));
    assert_eq!(remote(&updated).note.as_deref(), Some("not before two"));
    let read = Entry::read(&object(&updated));
    assert_eq!((read.op_seq, read.sequence), (Some(2), 1));
    // And so does the next one.
    let again = after(&updated, &booking(3), Operation::Update);
    assert_eq!(remote(&again).window, window(THEIRS.0, THEIRS.1));

    let confirmed = set(&entry, "STATUS", &["STATUS:CONFIRMED"]);
    let updated = after(&confirmed, &next, Operation::Update);
    assert_eq!((remote(&updated).standing, remote(&updated).window), (Standing::Confirmed, window(ASKED.0, ASKED.1)));
    let refused = set(&entry, "STATUS", &["STATUS:CANCELLED"]);
    assert_eq!(remote(&after(&refused, &next, Operation::Update)).standing, Standing::Refused);
    let title = value(&entry, "SUMMARY");
    let done = set(&entry, "SUMMARY", &[&format!("SUMMARY:[done]{title}")]);
    let updated = after(&done, &Booking { severity: Severity::Low, ..next }, Operation::Update);
    assert!(value(&updated, "SUMMARY").starts_with("[done] [low]"), "{updated}");

    let description = value(&entry, "DESCRIPTION");
    let noted = set(&entry, "DESCRIPTION", &[&format!("DESCRIPTION:{description}Gate 3")]);
    let twice = after(&after(&noted, &booking(2), Operation::Update), &booking(3), Operation::Update);
    assert_eq!(remote(&twice).note.as_deref(), Some("Gate 3"));
    let anew = set(&entry, "DESCRIPTION", &["DESCRIPTION:we come on Friday"]);
    let twice = after(&after(&anew, &booking(2), Operation::Update), &booking(3), Operation::Update);
    assert_eq!(remote(&twice).note.as_deref(), Some("we come on Friday"));
    assert_eq!(value(&twice, "DESCRIPTION"), format!("{description}we come on Friday"));
}

/// The order `next`, as it would be with an agreed time or another decision of the school.
fn decided(next: &Booking, status: &str, turn: u32) -> Object {
    let mut ours = object(&rendered(next, Operation::Update));
    ours.set("STATUS", &[format!("STATUS:{status}")]);
    ours.set(entry::STATUS, &[format!("{}:{status}", entry::STATUS)]);
    ours.set(entry::TURN, &[format!("{}:{turn}", entry::TURN)]);
    ours
}

#[test]
fn an_agreed_time_is_put_in_once() {
    let entry = moved(&rendered(&booking(1), Operation::Open));
    let next = Booking { wanted: window(THEIRS.0, "2026-11-25T07:00:00Z").into_iter().collect(), ..booking(2) };
    let agreed = text(&merged(object(&entry), &decided(&next, "CONFIRMED", 0), now()));
    assert_eq!((remote(&agreed).standing, remote(&agreed).window), (Standing::Confirmed, next.wanted.first().copied()));
    assert_eq!(Entry::read(&object(&agreed)).sequence, 2);
    // What the vendor moves after that is not moved back by an order of the same decision.
    let later = set(&agreed, "DTSTART", &["DTSTART:20261126T060000Z"]);
    let later = set(&later, "DTEND", &["DTEND:20261126T070000Z"]);
    let next = Booking { op_seq: 3, ..next };
    let kept = text(&merged(object(&later), &decided(&next, "CONFIRMED", 0), now()));
    assert_eq!(remote(&kept).window, window("2026-11-26T06:00:00Z", "2026-11-26T07:00:00Z"));
    // Nor does an agreement bring back what the vendor has called off meanwhile.
    let off = set(&entry, "STATUS", &["STATUS:CANCELLED"]);
    let off = text(&merged(object(&off), &decided(&Booking { op_seq: 2, ..next }, "CONFIRMED", 0), now()));
    assert_eq!(remote(&off).standing, Standing::Refused);
}

#[test]
fn a_new_decision_of_the_school_overrules() {
    let entry = moved(&rendered(&booking(1), Operation::Open));
    let entry = set(&entry, "STATUS", &["STATUS:CANCELLED"]);
    let entry = set(&entry, "SUMMARY", &["SUMMARY:[done]x"]);
    let entry = set(&entry, "CATEGORIES", &["CATEGORIES:done", "CATEGORIES:visits"]);
    let entry = set(&entry, "ATTENDEE", &["ATTENDEE;PARTSTAT=DECLINED;RSVP=TRUE:mailto:a@vendor.example"]);
    let asked = text(&merged(object(&entry), &decided(&booking(2), "TENTATIVE", 1), now()));
    assert_eq!((remote(&asked).standing, remote(&asked).window), (Standing::Requested, window(ASKED.0, ASKED.1)));
    assert!(asked.contains("\r\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:a@vendor.example\r\n"));
    assert!(asked.contains("\r\nCATEGORIES:visits\r\n"));
    assert!(!Entry::read(&object(&asked)).has_their_time());
}

#[test]
fn a_cancellation_leaves_the_time_and_raises_the_sequence() {
    let entry = moved(&rendered(&booking(1), Operation::Open));
    let entry = set(&entry, "SEQUENCE", &["SEQUENCE:41"]);
    let last = Booking { state: State::Cancelled, ..booking(2) };
    let cancelled = after(&entry, &last, Operation::Cancel);
    let read = Entry::read(&object(&cancelled));
    assert_eq!((read.standing(), read.sequence, read.op_seq), (Standing::Withdrawn, 42, Some(2)));
    assert_eq!(remote(&cancelled).window, window(THEIRS.0, THEIRS.1));
    assert!(!value(&cancelled, "DESCRIPTION").contains("How to answer"));
    // The vendor takes it up again.
    let again = set(&cancelled, "STATUS", &["STATUS:CONFIRMED"]);
    assert_eq!(remote(&again).standing, Standing::Confirmed);
}

#[test]
fn a_program_that_drops_what_it_does_not_know_costs_no_booking() {
    let mut entry = rendered(&booking(1), Operation::Open);
    for name in [entry::KEY, entry::OP, entry::ASKED, entry::STATUS, entry::TURN, entry::ROOM, entry::BOOKING] {
        entry = set(&entry, name, &[]);
    }
    assert_eq!(remote(&entry).standing, Standing::Requested);
    assert_eq!(remote(&entry).window, window(ASKED.0, ASKED.1));
    let mut next = booking(2);
    next.wanted.remove(0);
    let updated = after(&entry, &next, Operation::Update);
    assert_eq!(remote(&updated).window, window(ASKED.0, ASKED.1), "nobody knows who set it");
    assert_eq!(Entry::read(&object(&updated)).op_seq, Some(2));
}

#[test]
fn a_config_is_checked_with_its_files() {
    let of = |change: fn(&mut Config)| {
        let mut place = config("https://cal.example/bw/a");
        change(&mut place.config);
        let mistakes: Vec<_> =
            place.config.check().iter().map(|mistake| format!("{}: {}", mistake.key, mistake.message)).collect();
        mistakes.join("\n")
    };
    assert_eq!(of(|_| {}), "");
    assert!(of(|config| config.url = "http://cal.example/bw/a/".into()).contains("allow_plain_http"));
    assert!(of(|config| config.url = "https://bw:s3cret@cal.example/".into()).starts_with("url: "));
    assert!(of(|config| config.url = "https://cal.example/?calendar=a".into()).starts_with("url: "));
    assert!(of(|config| config.user = String::new()).starts_with("user: "));
    assert!(of(|config| config.user = "a:b".into()).starts_with("user: "));
    assert!(of(|config| config.password_file = "/nowhere".into()).starts_with("password_file: cannot read"));
    assert!(of(|config| drop(fs::write(&config.password_file, "a\nb"))).contains("several lines"));
    assert!(of(|config| config.attendee = Some("desk@vendor.example".into())).starts_with("attendee: "));
    for bad in ["desk", "@vendor.example", "desk@vendor", "mailto:desk@vendor.example", "a b@vendor.example"] {
        let mut place = config("https://cal.example/bw/a");
        place.config.organizer = Some(bad.to_owned());
        assert_eq!(place.config.check().len(), 1, "{bad}");
    }
    let place = config("https://cal.example/bw/a");
    fs::set_permissions(&place.config.password_file, fs::Permissions::from_mode(0o640)).expect("a mode");
    assert!(place.config.check()[0].message.contains("mode 0640"));
    let shown = format!("{:?}", config("https://cal.example/bw/s3cret").config);
    assert!(!shown.contains("s3cret"), "{shown}");
    let least = json!({ "url": "https://v.example/", "user": "bw", "password_file": "/s" });
    let least: Config = serde_json::from_value(least).expect("enough");
    assert_eq!((least.timeout, least.allow_plain_http), (Span(Duration::from_secs(10)), false));
}

/// A server that answers one request after another as it is told to, each on a connection of its own; the heads
/// and bodies of the requests.
async fn serve(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        let mut buffer = vec![0; 65_536];
        while !is_whole(&request) {
            let count = stream.read(&mut buffer).await.expect("a request");
            assert_ne!(count, 0, "the request ended early");
            request.extend_from_slice(&buffer[..count]);
        }
        requests.push(String::from_utf8(request).expect("text"));
        stream.write_all(answer.as_bytes()).await.expect("room for the answer");
        stream.shutdown().await.expect("an end");
    }
    requests
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    request.len() >= head.len() + 4 + length.map_or(0, |length| length.parse::<usize>().expect("a number"))
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// An entry as the server gives it.
fn given(entry: &str) -> String {
    answer("200 OK", "etag: \"v7\"\r\n", entry)
}

/// A search that found these.
fn found(hrefs: &[&str]) -> String {
    let responses: String = hrefs
        .iter()
        .map(|href| {
            format!(
                "<response><href>{href}</href><propstat><prop/><status>HTTP/1.1 200 OK</status></propstat></response>"
            )
        })
        .collect();
    answer("207 Multi-Status", "", &format!("<multistatus xmlns=\"DAV:\">{responses}</multistatus>"))
}

async fn exchange(order: &Order, answers: Vec<String>) -> (Vec<String>, Outcome) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = config(&format!("http://{}/bw/a", listener.local_addr().expect("an address")));
    let link = Link::default();
    let count = answers.len();
    let (requests, outcome) = tokio::join!(serve(listener, answers), send(&place.config, order, &link, now()));
    assert_eq!(requests.len(), count);
    let shown = format!("{outcome:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("czNjcmV0"), "{shown}");
    (requests, outcome)
}

fn path() -> String {
    format!("/bw/a/{}.ics", examples::full().key)
}

fn done() -> Outcome {
    Outcome::done(Some(path()))
}

#[tokio::test]
async fn a_booking_is_made_where_none_of_its_name_is() {
    let order = order(&booking(1), Operation::Open);
    let (requests, outcome) = exchange(&order, vec![answer("201 Created", "", "")]).await;
    assert_eq!(outcome, done());
    let (head, sent) = requests[0].split_once("\r\n\r\n").expect("a head");
    assert_eq!(sent, order.body);
    assert!(head.starts_with(&format!("PUT {} HTTP/1.1\r\n", path())), "{head}");
    // `bw:s3cret word` in base64.
    for line in
        ["if-none-match: *", "authorization: Basic Ync6czNjcmV0IHdvcmQ=", "content-type: text/calendar; charset=utf-8"]
    {
        assert_eq!(head.matches(&format!("\r\n{line}")).count(), 1, "{line} in {head}");
    }
}

#[tokio::test]
async fn what_is_there_already_is_compared() {
    let exists = || answer("412 Precondition Failed", "", "");
    let order = order(&booking(5), Operation::Open);
    let (_, outcome) = exchange(&order, vec![exists(), given(&order.body)]).await;
    assert_eq!(outcome, done(), "a repeat");
    let newer = rendered(&booking(10), Operation::Open);
    let (_, outcome) = exchange(&order, vec![exists(), given(&newer)]).await;
    assert_eq!(outcome, done(), "numbers are compared as numbers");
    let older = rendered(&booking(4), Operation::Open);
    let (requests, outcome) = exchange(&order, vec![exists(), given(&older), answer("204 No Content", "", "")]).await;
    assert_eq!(outcome, done());
    assert!(
        requests[2].contains("\r\nif-match: \"v7\"\r\n")
            && requests[2].contains(&format!("{}.5\r\n", order.booking_key))
    );
    let stranger = older.replace(&order.booking_key, "bw1-aaaaaaaaaaaaaaaaaaaaaaaaaa");
    let (_, outcome) = exchange(&order, vec![exists(), given(&stranger)]).await;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
    let (_, outcome) = exchange(&order, vec![exists(), answer("500 Oops", "", "")]).await;
    assert!(matches!(outcome, Outcome::Ambiguous { .. }), "it may be ours: {outcome:?}");
}

#[tokio::test]
async fn a_second_entry_of_the_same_name_is_never_made() {
    let order = order(&booking(5), Operation::Open);
    let within = |href: &str| {
        format!(
            "<multistatus xmlns=\"DAV:\"><response><href>{href}</href><status>HTTP/1.1 412 Precondition Failed</status>\
             <error><no-uid-conflict xmlns=\"urn:ietf:params:xml:ns:caldav\"/></error></response></multistatus>"
        )
    };
    let error = "<error xmlns=\"DAV:\"><no-uid-conflict xmlns=\"urn:ietf:params:xml:ns:caldav\"/></error>";
    for conflict in
        [answer("207 Multi-Status", "", &within("/x")), answer("409 Conflict", "", error), answer("403 No", "", error)]
    {
        let stranger = rendered(&booking(1), Operation::Open).replace(&order.booking_key, "another");
        let answers = vec![
            conflict.clone(),
            found(&["/bw/a/renamed.ics", "/bw/a/another.ics"]),
            given(&stranger),
            given(&order.body),
            given(&order.body),
        ];
        let (requests, outcome) = exchange(&order, answers).await;
        assert_eq!(outcome, Outcome::done(Some("/bw/a/renamed.ics".into())));
        assert!(requests[1].starts_with("REPORT /bw/a/ ") && requests[1].contains("\r\ndepth: 1\r\n"));
        let (_, outcome) = exchange(&order, vec![conflict, found(&[])]).await;
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_change_is_made_to_what_was_read() {
    let next = order(&booking(2), Operation::Update);
    let entry = rendered(&booking(1), Operation::Open);
    let (requests, outcome) = exchange(&next, vec![given(&moved(&entry)), answer("204 No Content", "", "")]).await;
    assert_eq!(outcome, done());
    let (head, sent) = requests[1].split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nif-match: \"v7\"\r\n"), "{head}");
    assert_eq!(remote(sent).window, window(THEIRS.0, THEIRS.1));
    let (requests, outcome) = exchange(&next, vec![given(&next.body)]).await;
    assert_eq!((requests.len(), outcome), (1, done()), "a repeat changes nothing");
    let (_, outcome) = exchange(&next, vec![given(&entry), answer("412 Precondition Failed", "", "")]).await;
    assert!(matches!(outcome, Outcome::NotDelivered { .. }), "{outcome:?}");
    let (_, outcome) = exchange(&next, vec![answer("200 OK", "", &entry)]).await;
    assert!(outcome.detail().is_some_and(|detail| detail.contains("ETag")), "{outcome:?}");
}

#[tokio::test]
async fn what_was_deleted_is_not_made_anew() {
    let gone = || vec![answer("404 Not Found", "", ""), found(&[])];
    let (_, outcome) = exchange(&order(&booking(2), Operation::Update), gone()).await;
    assert!(matches!(&outcome, Outcome::Rejected { detail } if detail.contains("deleted")), "{outcome:?}");
    let (_, outcome) = exchange(&order(&booking(2), Operation::Cancel), gone()).await;
    assert_eq!(outcome, Outcome::done(None));
    // A calendar that is not there is no deleted entry.
    for operation in [Operation::Update, Operation::Cancel] {
        let answers = vec![answer("404 Not Found", "", ""), answer("404 Not Found", "", "")];
        let (_, outcome) = exchange(&order(&booking(2), operation), answers).await;
        assert!(matches!(&outcome, Outcome::NotDelivered { detail, .. } if detail.contains("/bw/a/")), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_entry_is_read_back_wherever_it_is() {
    let back = |answers: Vec<String>, link: Link| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let place = config(&format!("http://{}/bw/a/", listener.local_addr().expect("an address")));
        let key = examples::full().key;
        let (requests, remote) = tokio::join!(serve(listener, answers), read(&place.config, &key, &link, now()));
        (
            requests
                .iter()
                .map(|request| request.split(" HTTP").next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>(),
            remote,
        )
    };
    let entry = rendered(&booking(1), Operation::Open);
    let none = || answer("404 Not Found", "", "");
    let (_, remote) = back(vec![given(&entry)], Link::default()).await;
    assert_eq!(remote.map(|remote| (remote.remote_id, remote.standing)), Ok((Some(path()), Standing::Requested)));
    let link = Link { remote_id: Some("/bw/old/renamed.ics".into()) };
    let (requests, remote) = back(vec![given(&entry)], link.clone()).await;
    assert_eq!((&requests[0][..], remote.is_ok()), ("GET /bw/a/renamed.ics", true), "never outside of the calendar");
    let (requests, remote) = back(vec![none(), none(), found(&[])], link).await;
    assert_eq!((requests.len(), remote.map(|remote| remote.standing)), (3, Ok(Standing::Missing)));
    let (_, remote) = back(vec![none(), none()], Link::default()).await;
    assert!(remote.is_err_and(|message| message.contains("check url")));
    let (_, remote) = back(vec![answer("401 No", "", "")], Link::default()).await;
    assert!(remote.is_err_and(|message| message.contains("password_file")));
}

#[tokio::test]
async fn the_open_bookings_of_the_room_are_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = config(&format!("http://{}/bw/a/", listener.local_addr().expect("an address")));
    let own = rendered(&booking(1), Operation::Open);
    let mut other = booking(1);
    other.room.id = "j3-3021".into();
    let answers = vec![
        found(&["/bw/a/1.ics", "/bw/a/2.ics", "/bw/a/3.ics", "/bw/a/4.ics", "/bw/a/"]),
        given(&own),
        given(&rendered(&other, Operation::Open)),
        given(&set(&own, "STATUS", &["STATUS:CANCELLED"])),
        given(&own.replace("X-BELLWETHER-KEY:", "X-OTHER-KEY:")),
    ];
    let (requests, listed) = tokio::join!(serve(listener, answers), list(&place.config, "j3-302", now()));
    assert!(requests[0].contains("X-BELLWETHER-ROOM") && requests[0].contains(">nizs2mzqgi<"));
    let listed = listed.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key, listed[0].booking.as_ref()), (&booking(1).key, Some(&booking(1))));
}

#[tokio::test]
async fn failures_mean_what_they_say() {
    let order = order(&booking(1), Operation::Open);
    let table = [
        ("an error", answer("500 Oops", "", ""), "Ambiguous"),
        ("busy", answer("503 Busy", "retry-after: 7\r\n", ""), "retry_after: Some(7s)"),
        ("too many", answer("429 Slow", "retry-after: 7\r\n", ""), "NotDelivered"),
        ("a wrong password", answer("401 No", "", ""), "LockedOut"),
        ("a wrong address", answer("404 No", "", ""), "check url"),
        ("elsewhere", answer("301 Moved", "location: /other\r\n", ""), "is not followed"),
        ("a success that is none", answer("207 Multi-Status", "", "garbage"), "Ambiguous"),
        ("closed at once", String::new(), "Ambiguous"),
        ("closed amid the head", "HTTP/1.1 201 Cre".to_owned(), "Ambiguous"),
    ];
    for (name, answer, expected) in table {
        let (_, outcome) = exchange(&order, vec![answer]).await;
        let shown = format!("{outcome:?}");
        assert!(shown.contains(expected), "{name}: {shown}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let outcome = send(&config(&format!("http://{closed}/")).config, &order, &Link::default(), now()).await;
    assert!(matches!(outcome, Outcome::NotDelivered { .. }), "{outcome:?}");
    let mut place = config(&format!("http://{closed}/"));
    place.config.password_file = "/nowhere".into();
    let outcome = send(&place.config, &order, &Link::default(), now()).await;
    assert!(outcome.detail().is_some_and(|detail| detail.contains("/nowhere")), "{outcome:?}");
    for key in ["", "..", "../x", "a/b", "A"] {
        let order = Order { booking_key: key.into(), ..order.clone() };
        let outcome = send(&place.config, &order, &Link::default(), now()).await;
        assert!(matches!(outcome, Outcome::Rejected { .. }), "{key:?}");
    }
}

#[tokio::test]
async fn an_update_that_cannot_read_has_changed_nothing() {
    let order = order(&booking(2), Operation::Update);
    for answer in [answer("500 Oops", "", ""), String::new()] {
        let (_, outcome) = exchange(&order, vec![answer]).await;
        assert!(matches!(outcome, Outcome::NotDelivered { .. }), "{outcome:?}");
    }
}
