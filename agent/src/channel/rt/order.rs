//! An order's bytes, and the requests that are made of them. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Config;
use crate::{
    booking::{Booking, Operation, Order, State, Window, text::Texts},
    site::Language,
};

/// Longest subject, in bytes: RT cuts off what is longer, and its end is the key.
const MAX_SUBJECT: usize = 200;

/// An order's bytes: what they say is not bound to the names of a config, which may change before it is sent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    /// The ticket's subject; ends with the key in brackets.
    pub(super) subject: String,
    /// The message; its last line is the order's key.
    pub(super) text: String,
    /// The appointment that the ticket is to have.
    pub(super) window: Option<Window>,
    /// Whether it is agreed; otherwise it is asked for. An order of an earlier version has no other.
    #[serde(default = "agreed")]
    pub(super) is_agreed: bool,
    /// How often the school had decided by then.
    #[serde(default)]
    pub(super) turn: u32,
    /// How long the visit takes.
    minutes: i64,
    /// The room's id.
    room: String,
    /// The booking's JSON, as it is attached.
    booking: String,
}

fn agreed() -> bool {
    true
}

/// The bytes of an order.
pub(in crate::channel) fn body(booking: &Booking, operation: Operation, op_key: &str, texts: &Texts) -> String {
    let written = texts.write(booking);
    let mut text = written.letter();
    if operation == Operation::Cancel {
        text = format!("{}\n\n{text}", please_close(texts.language));
    }
    let duration = TimeDelta::from_std(booking.vendor.duration.0).unwrap_or(TimeDelta::MAX);
    let body = Body {
        subject: subject(&written.subject, &booking.key),
        text: format!("{}\n\n{op_key}\n", text.trim_end()),
        window: appointment(booking, operation).or_else(|| asked_for(booking, operation)),
        is_agreed: appointment(booking, operation).is_some(),
        turn: booking.life.decisions,
        minutes: booking.class().visit(duration).num_minutes(),
        room: booking.room.id.clone(),
        booking: serde_json::to_string(booking).expect("a booking has string keys and no failing serializer"),
    };
    serde_json::to_string(&body).expect("texts and numbers always serialize")
}

/// Reads an order's bytes back.
pub(super) fn parse(order: &Order) -> Result<Body, String> {
    // The key becomes part of a search: it comes from a database that somebody may have edited.
    if !is_key(&order.booking_key) {
        return Err("the booking's key is no key".to_owned());
    }
    serde_json::from_str(&order.body).map_err(|_| "the order's body is not that of a ticket".to_owned())
}

/// Whether a text can be a booking's key.
pub(super) fn is_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)
}

/// The agreed appointment that a ticket is to have after an order. What the vendor wants instead of it is the vendor's
/// to change.
pub(super) fn appointment(booking: &Booking, operation: Operation) -> Option<Window> {
    let is_ours = operation != Operation::Cancel && booking.state != State::Countered;
    booking.life.appointment.filter(|_| is_ours)
}

/// The appointment that is asked for, before one is agreed.
fn asked_for(booking: &Booking, operation: Operation) -> Option<Window> {
    let is_asked = operation != Operation::Cancel && booking.life.appointment.is_none();
    booking.wanted.first().copied().filter(|_| is_asked)
}

fn please_close(language: Language) -> &'static str {
    match language {
        Language::Chinese => "本预约已取消，请关闭此工单；如已有人在途，请先联系学校。",
        Language::English => {
            "This booking is cancelled: please close the ticket. If somebody is on the way already, please call the \
             school first."
        }
    }
}

/// A subject that RT does not cut: its end, the key in brackets, is what is found.
fn subject(line: &str, key: &str) -> String {
    let end = ending(key);
    let start = line.strip_suffix(&end).unwrap_or(line).trim_end();
    let room = MAX_SUBJECT - end.len() - 1;
    if start.len() <= room {
        return format!("{start} {end}");
    }
    let mut cut = room - '…'.len_utf8();
    while !start.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}… {end}", &start[..cut])
}

/// How a subject ends that carries a key.
pub(super) fn ending(key: &str) -> String {
    format!("[{key}]")
}

/// The name of the file that an order attaches: by it an order is known without reading its text.
pub(super) fn file_name(op_key: &str) -> String {
    format!("booking-{op_key}.json")
}

/// The request that makes a ticket.
pub(super) fn ticket(config: &Config, order: &Order, body: &Body) -> Value {
    let mut ticket = json!({
        "Queue": config.queue,
        "Subject": body.subject,
        "Content": body.text,
        "ContentType": "text/plain",
        "TimeEstimated": body.minutes,
        "CustomFields": { &config.key_field: order.booking_key, &config.room_field: body.room },
        "Attachments": [attachment(order, body)],
    });
    if let Some(window) = body.window {
        // Only what makes a ticket understands this form, and no other: see `moved`.
        let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        ticket["Starts"] = time(window.start).into();
        ticket["Due"] = time(window.end).into();
    }
    ticket
}

/// The request that comments on a ticket, for the vendor's eyes alone.
pub(super) fn comment(order: &Order, body: &Body) -> Value {
    json!({ "Content": body.text, "ContentType": "text/plain", "Attachments": [attachment(order, body)] })
}

/// The request that gives a ticket another appointment, and another status. A change takes times as its database has
/// them, in UTC; any other form it takes for 1970, with status 200.
pub(super) fn moved(window: Option<Window>, status: Option<&String>) -> Value {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S").to_string();
    let mut change = json!({});
    if let Some(window) = window {
        change["Starts"] = time(window.start).into();
        change["Due"] = time(window.end).into();
    }
    if let Some(status) = status {
        change["Status"] = status.clone().into();
    }
    change
}

fn attachment(order: &Order, body: &Body) -> Value {
    json!({
        "FileName": file_name(&order.op_key),
        "FileType": "application/json",
        "FileContent": BASE64.encode(body.booking.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::{examples, op_key};

    fn order(operation: Operation, booking: &Booking) -> Order {
        let op_key = op_key(&booking.key, 3);
        Order {
            body: body(booking, operation, &op_key, &Language::Chinese.into()),
            op_key,
            booking_key: booking.key.clone(),
            op_seq: 3,
            channel: "vendor".into(),
            operation,
            created_at: booking.updated_at,
        }
    }

    fn config() -> Config {
        serde_json::from_value(json!({ "url": "https://v.example", "token_file": "/t", "queue": "AV" }))
            .expect("a config written here")
    }

    #[test]
    fn a_ticket_carries_key_appointment_and_booking() {
        let booking = examples::full();
        let order = order(Operation::Open, &booking);
        let parsed = parse(&order).expect("our own bytes");
        let ticket = ticket(&config(), &order, &parsed);
        assert_eq!(ticket["Queue"], "AV");
        assert_eq!(ticket["CustomFields"], json!({ "BW.Key": booking.key, "BW.Room": "j3-302" }));
        assert_eq!(ticket["Starts"], "2026-11-24T04:00:00Z");
        assert_eq!(ticket["Due"], "2026-11-24T05:00:00Z");
        assert_eq!(ticket["TimeEstimated"], 60);
        let subject = ticket["Subject"].as_str().expect("a text");
        assert!(subject.ends_with(&format!(" [{}]", booking.key)) && subject.contains("三年级二班"), "{subject}");
        let text = ticket["Content"].as_str().expect("a text");
        assert_eq!(text.trim_end().lines().last(), Some(&order.op_key[..]));
        let file = &ticket["Attachments"][0];
        assert_eq!(file["FileName"], format!("booking-{}.json", order.op_key));
        let bytes = BASE64.decode(file["FileContent"].as_str().expect("a text").as_bytes()).expect("base64");
        assert_eq!(serde_json::from_slice::<Booking>(&bytes).expect("a booking"), booking);
    }

    #[test]
    fn times_of_a_change_have_the_form_of_the_database() {
        let window = examples::full().wanted[0];
        assert_eq!(moved(Some(window), None), json!({ "Starts": "2026-11-24 04:00:00", "Due": "2026-11-24 05:00:00" }));
    }

    #[test]
    fn only_an_agreed_time_moves_a_ticket() {
        let full = examples::full();
        let (first, second) = (full.wanted[0], full.wanted[1]);
        for operation in [Operation::Open, Operation::Update] {
            assert_eq!((appointment(&full, operation), asked_for(&full, operation)), (None, Some(first)));
        }
        assert_eq!(asked_for(&full, Operation::Cancel), None);
        let mut agreed = Booking { state: State::Confirmed, ..full };
        agreed.life.appointment = Some(second);
        assert_eq!(appointment(&agreed, Operation::Open), Some(second));
        assert_eq!(appointment(&agreed, Operation::Update), Some(second));
        assert_eq!(appointment(&agreed, Operation::Cancel), None);
        agreed.state = State::Countered;
        assert_eq!(appointment(&agreed, Operation::Update), None);
        assert_eq!(asked_for(&agreed, Operation::Update), None);
        let nothing = examples::exceptional();
        let order = order(Operation::Open, &nothing);
        let ticket = ticket(&config(), &order, &parse(&order).expect("our own bytes"));
        assert_eq!((ticket.get("Starts"), ticket.get("Due")), (None, None));
    }

    #[test]
    fn a_cancellation_asks_first_to_close() {
        for (language, word) in [(Language::Chinese, "请关闭"), (Language::English, "please close")] {
            let text = body(&examples::full(), Operation::Cancel, "k.4", &language.into());
            let body: Body = serde_json::from_str(&text).expect("our own bytes");
            assert!(body.text.lines().next().is_some_and(|line| line.contains(word)), "{}", body.text);
            assert_eq!(body.text.lines().last(), Some("k.4"));
        }
    }

    #[test]
    fn a_long_subject_is_cut_before_the_key() {
        for shift in 0..4 {
            let line = format!("{}{} [bw1-k]", "x".repeat(shift), "教室".repeat(60));
            let cut = subject(&line, "bw1-k");
            assert!(cut.len() <= MAX_SUBJECT && cut.len() > MAX_SUBJECT - 4, "{}", cut.len());
            assert!(cut.ends_with("… [bw1-k]"), "{cut}");
        }
        assert_eq!(subject("short [bw1-k]", "bw1-k"), "short [bw1-k]");
    }

    #[test]
    fn a_key_that_could_end_a_search_is_refused() {
        let booking = examples::full();
        for key in ["", "bw1-' OR id > 0", "bw1-\\", "BW1", &"k".repeat(65)] {
            let order = Order { booking_key: key.to_owned(), ..order(Operation::Open, &booking) };
            assert!(parse(&order).is_err(), "{key}");
        }
        let other = Order { body: "{}".into(), ..order(Operation::Open, &booking) };
        assert!(parse(&other).is_err());
    }
}
