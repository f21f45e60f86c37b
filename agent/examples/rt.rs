//! Drives the channel `rt` for `tests/vendors/tickets.py`, without a ledger: what one attempt does to a vendor.
//!
//! ```text
//! rt CONFIG-JSON open|update|cancel [--probe] < BOOKING-JSON    sends an order, or looks for it
//! rt CONFIG-JSON read|list < BOOKING-JSON                       the ticket; the open ones of the room
//! rt CONFIG-JSON check                                          the self-test
//! ```
//!
//! The order has the booking's `op_seq` as its number. `REMOTE_ID` in the environment is the ticket's number as the
//! ledger knows it. The answer is one JSON object.

#![allow(clippy::disallowed_methods, reason = "the clock of the tool")]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io::{self, Write},
    path::PathBuf,
};

use bellwether_agent::{
    booking::{Booking, Operation, Order, op_key},
    channel::{ChannelConfig, Channels, Link, Outcome, rt},
    site::Language,
};
use chrono::Utc;
use serde_json::{Value, json};

const CHANNEL: &str = "vendor";

fn shown(outcome: &Outcome) -> Value {
    let word = match outcome {
        Outcome::Done { remote_id, .. } => return json!({ "outcome": "done", "remote_id": remote_id }),
        Outcome::NotDelivered { .. } => "not_delivered",
        Outcome::LockedOut { .. } => "locked_out",
        Outcome::Ambiguous { .. } => "ambiguous",
        Outcome::Missing { .. } => "missing",
        Outcome::Rejected { .. } => "rejected",
    };
    json!({ "outcome": word, "detail": outcome.detail() })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Fails if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (Some(config), Some(what)) = (arguments.first(), arguments.get(1)) else {
        return Err("expected CONFIG-JSON and what to do".into());
    };
    let config: rt::Config = serde_json::from_str(config)?;
    if let Some(mistake) = config.check().first() {
        return Err(format!("{}: {}", mistake.key, mistake.message).into());
    }
    let by_name = BTreeMap::from([(CHANNEL.to_owned(), ChannelConfig::Rt(config))]);
    let channels = Channels::new(by_name, Some(CHANNEL.to_owned()), PathBuf::new(), Language::English);
    let (now, link) = (Utc::now(), Link { remote_id: env::var("REMOTE_ID").ok() });
    let booking = || serde_json::from_reader::<_, Booking>(io::stdin().lock());
    let answer = match &what[..] {
        "check" => {
            let findings = channels.check(CHANNEL, true, now).await;
            json!(findings.iter().map(|finding| json!([finding.what, finding.wrong])).collect::<Vec<_>>())
        }
        "read" => match channels.read(CHANNEL, &booking()?.key, &link, now).await {
            Ok(remote) => json!(remote),
            Err(error) => json!({ "error": error }),
        },
        "list" => match channels.list(CHANNEL, &booking()?.room.id, now).await {
            Ok(listed) => listed
                .iter()
                .map(|listed| json!({ "key": listed.key, "remote": listed.remote, "booking": listed.booking }))
                .collect(),
            Err(error) => json!({ "error": error }),
        },
        word => {
            let operation: Operation = serde_json::from_value(json!(word))?;
            let booking = booking()?;
            let op_key = op_key(&booking.key, booking.op_seq);
            let order = Order {
                body: channels.render(CHANNEL, &booking, operation, &op_key),
                op_key,
                booking_key: booking.key,
                op_seq: booking.op_seq,
                channel: CHANNEL.to_owned(),
                operation,
                created_at: now,
            };
            match arguments.get(2).map(String::as_str) {
                Some("--probe") => shown(&channels.probe(&order, &link, now).await),
                _ => shown(&channels.send(&order, &link, now).await),
            }
        }
    };
    writeln!(io::stdout().lock(), "{answer}")?;
    Ok(())
}
