//! Looking for an order that may have arrived.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    Config,
    api::Session,
    find::{blind, find, has_file, settle},
    order::{self, file_name},
    selftest::MARK_FILE,
    send::{afterwards, ended, locate},
};
use crate::{
    booking::{Operation, Order},
    channel::{Link, Outcome},
};

/// The wait after RT has let us in no more while we only looked.
const LOCKED_OUT: Duration = Duration::from_secs(30 * 60);

/// Looks for an order: done, missing, or as little known as before.
pub(in crate::channel) async fn probe(config: &Config, order: &Order, link: &Link, now: DateTime<Utc>) -> Outcome {
    if let Err(detail) = order::parse(order) {
        return Outcome::Rejected { detail };
    }
    let session = match Session::new(config, now) {
        Ok(session) => session,
        Err(outcome) => return afterwards(outcome),
    };
    let found = match order.operation {
        Operation::Open => opened(&session, order).await,
        Operation::Update | Operation::Cancel => told(&session, order, link).await,
    };
    match found {
        Ok(done) => done,
        Err(outcome @ Outcome::Missing { .. }) => outcome,
        Err(Outcome::LockedOut { detail }) => Outcome::Ambiguous { detail, retry_after: Some(LOCKED_OUT) },
        Err(outcome) => afterwards(outcome),
    }
}

async fn opened(session: &Session<'_>, order: &Order) -> Result<Outcome, Outcome> {
    let key = &order.booking_key;
    let found = find(session, key).await?;
    match settle(session, key, &found, None).await? {
        Some(settled) => ended(session, key, settled).await,
        None if found.mark.is_none() => Err(Outcome::ambiguous(blind(session.config))),
        None => Err(Outcome::Missing { detail: format!("no ticket has the key {key}") }),
    }
}

async fn told(session: &Session<'_>, order: &Order, link: &Link) -> Result<Outcome, Outcome> {
    let Some(read) = locate(session, &order.booking_key, link).await? else {
        // The order itself says what that means for it.
        return Err(Outcome::Missing { detail: "the ticket is not there any more".to_owned() });
    };
    let number = read.ticket.id;
    if has_file(session, number, &file_name(&order.op_key)).await? {
        return Ok(Outcome::done(Some(number.to_string())));
    }
    // Comments are seen by a right of their own: without it all of them are missed.
    let mark = session.config.mark();
    let seen = match find(session, &mark).await?.mark {
        Some(ticket) => has_file(session, ticket.effective_id, MARK_FILE).await?,
        None => return Err(Outcome::ambiguous(blind(session.config))),
    };
    if !seen {
        return Err(Outcome::ambiguous(
            "the comment of the mark is not seen, so others may be there: run `bellwether channel check`",
        ));
    }
    Err(Outcome::Missing { detail: format!("ticket {number} has no comment {}", order.op_key) })
}
