//! Drives a channel by hand, for tests against real servers; prints one JSON object a line.
//!
//! ```text
//! channel CONFIG open|update|cancel BOOKING OP_SEQ [TIMES]   TIMES (1) at once, each a line
//! channel CONFIG read KEY [REMOTE_ID]
//! channel CONFIG list ROOM
//! channel CONFIG check
//! ```
//! CONFIG is the channel's table as JSON, with its kind; BOOKING is a file with a booking's JSON.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool of tests ends when something is not as it should be"
)]
#![allow(clippy::disallowed_methods, reason = "the clock of the tool")]

use std::{collections::BTreeMap, path::PathBuf};

use bellwether_agent::{
    booking::{Booking, Operation, Order, op_key},
    channel::{ChannelConfig, Channels, Link, Outcome},
    site::Language,
};
use chrono::Utc;
use serde_json::{Value, json};

fn config(text: &str) -> ChannelConfig {
    let mut table: Value = serde_json::from_str(text).expect("the config is JSON");
    let kind = table.as_object_mut().and_then(|table| table.remove("kind")).expect("a kind");
    match kind.as_str() {
        Some("folder") => ChannelConfig::Folder(serde_json::from_value(table).expect("a config")),
        Some("webhook") => ChannelConfig::Webhook(serde_json::from_value(table).expect("a config")),
        _ => ChannelConfig::Caldav(serde_json::from_value(table).expect("a config")),
    }
}

fn shown(outcome: &Outcome) -> Value {
    let word = match outcome {
        Outcome::Done { .. } => "done",
        Outcome::NotDelivered { .. } => "not_delivered",
        Outcome::LockedOut { .. } => "locked_out",
        Outcome::Ambiguous { .. } => "ambiguous",
        Outcome::Missing { .. } => "missing",
        Outcome::Rejected { .. } => "rejected",
    };
    let remote_id = match outcome {
        Outcome::Done { remote_id, .. } => remote_id.clone(),
        _ => None,
    };
    json!({ "outcome": word, "remote_id": remote_id, "detail": outcome.detail() })
}

async fn send(channels: Channels, order: Order, times: usize) {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..times {
        let (channels, order) = (channels.clone(), order.clone());
        running.spawn(async move { channels.send(&order, &Link::default(), Utc::now()).await });
    }
    while let Some(outcome) = running.join_next().await {
        println!("{}", shown(&outcome.expect("it ends")));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("no other provider is installed");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let channels = BTreeMap::from([("it".to_owned(), config(word(0)))]);
    let channels = Channels::new(channels, None, PathBuf::from("/nowhere"), Language::English);
    match word(1) {
        "read" => {
            let link = Link { remote_id: words.get(3).cloned() };
            match channels.read("it", word(2), &link, Utc::now()).await {
                Ok(remote) => println!("{}", json!(remote)),
                Err(error) => println!("{}", json!({ "error": error })),
            }
        }
        "list" => match channels.list("it", word(2), Utc::now()).await {
            Ok(listed) => {
                for listed in listed {
                    println!("{}", json!({ "key": listed.key, "remote": listed.remote, "booking": listed.booking }));
                }
            }
            Err(error) => println!("{}", json!({ "error": error })),
        },
        "check" => {
            for finding in channels.check("it", true, Utc::now()).await {
                println!("{}", json!({ "what": finding.what, "wrong": finding.wrong }));
            }
        }
        operation => {
            let operation: Operation = serde_json::from_value(json!(operation)).expect("open, update or cancel");
            let text = std::fs::read_to_string(word(2)).expect("a readable booking");
            let mut booking: Booking = serde_json::from_str(&text).expect("a booking");
            booking.op_seq = word(3).parse().expect("a number");
            let op_key = op_key(&booking.key, booking.op_seq);
            let order = Order {
                body: channels.render("it", &booking, operation, &op_key),
                op_key,
                booking_key: booking.key.clone(),
                op_seq: booking.op_seq,
                channel: "it".to_owned(),
                operation,
                created_at: booking.updated_at,
            };
            send(channels, order, word(4).parse().unwrap_or(1)).await;
        }
    }
}
