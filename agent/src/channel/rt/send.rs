//! Sending an order: everything before the write that carries its key may be repeated, and has a deadline.

use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use serde_json::json;
use tokio::time::timeout;

use super::{
    Config,
    answer::{Created, Part},
    api::{Session, Versioned},
    find::{Settled, blind, find, settle},
    order::{self, Body},
};
use crate::{
    booking::{Booking, Operation, Order},
    channel::{Link, Outcome, Standing},
};

/// Makes one attempt.
pub(in crate::channel) async fn send(config: &Config, order: &Order, link: &Link, now: DateTime<Utc>) -> Outcome {
    let body = match order::parse(order) {
        Ok(body) => body,
        Err(detail) => return Outcome::Rejected { detail },
    };
    let session = match Session::new(config, now) {
        Ok(session) => session,
        Err(outcome) => return outcome,
    };
    let done = match order.operation {
        Operation::Open => open(&session, order, &body).await,
        Operation::Update | Operation::Cancel => tell(&session, order, &body, link)
            .await
            .map(|number| Outcome::done(number.map(|number| number.to_string()).or(link.remote_id.clone()))),
    };
    done.unwrap_or_else(|outcome| outcome)
}

/// What comes before the write that carries the key: as nothing of the order has arrived by then, a failure is
/// certain non-delivery.
async fn beforehand<T>(session: &Session<'_>, what: impl Future<Output = Result<T, Outcome>>) -> Result<T, Outcome> {
    match timeout(session.config.timeout.0, what).await {
        Ok(Err(Outcome::Ambiguous { detail, retry_after })) => Err(Outcome::NotDelivered { detail, retry_after }),
        Ok(done) => done,
        Err(_) => Err(Outcome::not_delivered(format!("RT took longer than {:?} to look", session.config.timeout.0))),
    }
}

/// What comes after it: whatever fails, the order may have arrived.
pub(super) fn afterwards(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::NotDelivered { detail, retry_after } => Outcome::Ambiguous { detail, retry_after },
        Outcome::LockedOut { detail } | Outcome::Missing { detail } => Outcome::ambiguous(detail),
        other => other,
    }
}

/// Opens the booking: look, make, look again.
async fn open(session: &Session<'_>, order: &Order, body: &Body) -> Result<Outcome, Outcome> {
    let (config, key) = (session.config, &order.booking_key);
    let before = async {
        let found = find(session, key).await?;
        match settle(session, key, &found, None).await? {
            None if found.mark.is_none() => Err(Outcome::not_delivered(blind(config))),
            settled => Ok(settled),
        }
    };
    if let Some(settled) = beforehand(session, before).await? {
        return ended(session, key, settled).await;
    }
    let created: Created = session.post("ticket", &order::ticket(config, order, body)).await?;
    let after = async {
        let mut found = find(session, key).await?;
        if !found.ours.iter().any(|ticket| ticket.id == created.id) {
            // Neither by its key nor by its subject: what it is shows itself.
            found.ours.extend(session.ticket(created.id).await?.map(|read| read.ticket));
        }
        settle(session, key, &found, Some(created.id)).await
    };
    match after.await.map_err(afterwards)? {
        Some(settled) => ended(session, key, settled).await,
        None => Err(Outcome::ambiguous(format!("ticket {} was made and is not there", created.id))),
    }
}

/// The end of an opened booking: without its key in its field the ticket needs a person.
pub(super) async fn ended(session: &Session<'_>, key: &str, settled: Settled) -> Result<Outcome, Outcome> {
    let Settled { number, has_key, repeats } = settled;
    if has_key {
        return Ok(Outcome::Done { remote_id: Some(number.to_string()), repeats });
    }
    let field = &session.config.key_field;
    let note = json!({ "Content": format!("{field}: {key}"), "ContentType": "text/plain" });
    // It only helps a person: without it the line below says the same.
    let _ = session.comment(number, &note).await;
    Err(Outcome::Rejected {
        detail: format!(
            "ticket {number} was made, and its field {field} does not take the key: let the user of token_file \
             change that field, write {key} into it, and run `bellwether channel check`"
        ),
    })
}

/// Updates or cancels: appointment and status first, and the comment, by which it is known, last. To cancel what is
/// not there is done at once, without a number.
async fn tell(session: &Session<'_>, order: &Order, body: &Body, link: &Link) -> Result<Option<u64>, Outcome> {
    let before = async {
        let Some(read) = locate(session, &order.booking_key, link).await? else { return Ok(None) };
        let number = read.ticket.id;
        match order.operation {
            Operation::Cancel => reject(session, read).await?,
            _ => arrange(session, read, body).await?,
        }
        Ok(Some(number))
    };
    match beforehand(session, before).await? {
        Some(number) => session.comment(number, &order::comment(order, body)).await.map(|()| Some(number)),
        None if order.operation == Operation::Cancel => Ok(None),
        None => Err(Outcome::Rejected {
            detail: format!("the ticket of {} is not there any more: the vendor deleted it", order.booking_key),
        }),
    }
}

/// The ticket of a booking as it is now; `None` if it was deleted.
pub(super) async fn locate(session: &Session<'_>, key: &str, link: &Link) -> Result<Option<Versioned>, Outcome> {
    let number = match link.remote_id.as_deref().and_then(|id| id.parse().ok()) {
        Some(number) => number,
        None => {
            let found = find(session, key).await?;
            match found.kept(session.config, key) {
                Some(ticket) => ticket.effective_id,
                None if found.mark.is_none() => return Err(Outcome::not_delivered(blind(session.config))),
                None => return Ok(None),
            }
        }
    };
    match session.ticket(number).await {
        Err(Outcome::LockedOut { detail }) if sees_mark(session).await => {
            Err(Outcome::Rejected { detail: format!("{detail}; ticket {number} was moved to where we may not look") })
        }
        read => read,
    }
}

async fn sees_mark(session: &Session<'_>) -> bool {
    find(session, &session.config.mark()).await.is_ok_and(|found| found.mark.is_some())
}

/// Rejects a ticket, if nobody has begun with it. If RT does not let us, the comment still asks for it.
async fn reject(session: &Session<'_>, read: Versioned) -> Result<(), Outcome> {
    let config = session.config;
    let Some(status) = config.refused.first() else { return Ok(()) };
    if read.ticket.standing(config) == Standing::Requested {
        session.change(read.ticket.id, read.etag, &json!({ "Status": status })).await?;
    }
    Ok(())
}

/// Gives a ticket the agreed appointment; and, if the school has decided anew since our last order, the one that is
/// asked for, and a status of which nobody has answered yet. A time that differs although we changed nothing was moved
/// by the vendor, and is left for the read-back.
async fn arrange(session: &Session<'_>, read: Versioned, body: &Body) -> Result<(), Outcome> {
    let (config, number, now) = (session.config, read.ticket.id, read.ticket.window());
    let has_decided = body.turn > 0;
    let is_answered = has_decided
        && match read.ticket.standing(config) {
            Standing::Confirmed => !body.is_agreed,
            standing => standing != Standing::Requested,
        };
    let window = body.window.filter(|window| now != Some(*window) && (body.is_agreed || has_decided));
    if window.is_none() && !is_answered {
        return Ok(());
    }
    let last = attached(session, number).await?;
    let is_new = last.as_ref().is_some_and(|last| last.life.decisions < body.turn);
    let sent = last.as_ref().and_then(|last| order::appointment(last, Operation::Update));
    let window = window.filter(|window| if body.is_agreed { sent != Some(*window) } else { is_new });
    let status = Some(&config.asked).filter(|_| is_answered && is_new);
    if window.is_none() && status.is_none() {
        return Ok(());
    }
    let said = session.change(number, read.etag, &order::moved(window, status)).await?;
    let Some(changed) = session.ticket(number).await? else { return Ok(()) };
    let wrong = if window.is_some() && changed.ticket.window() != window {
        "appointment"
    } else if status.is_some_and(|status| changed.ticket.status != *status) {
        "status `asked`"
    } else {
        return Ok(());
    };
    let said = said.join("; ");
    Err(Outcome::Rejected {
        detail: format!("ticket {number} did not take the {wrong} ({said}): let the user of token_file change tickets"),
    })
}

/// The booking as it was sent last to a ticket, if it can be read.
pub(super) async fn attached(session: &Session<'_>, ticket: u64) -> Result<Option<Booking>, Outcome> {
    let files = session.files(ticket, 1).await?;
    let is_booking = |name: &str| name.starts_with("booking-") && name.ends_with(".json");
    let Some(file) = files.iter().find(|file| file.filename.as_deref().is_some_and(is_booking)) else {
        return Ok(None);
    };
    let part: Part = match session.get(&format!("attachment/{}", file.id), &[]).await {
        Ok(part) => part,
        // Whatever it is, no booking of ours.
        Err(Outcome::Ambiguous { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    Ok(part.content.and_then(|content| decoded(&content)))
}

fn decoded(content: &str) -> Option<Booking> {
    let text: String = content.split_ascii_whitespace().collect();
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    serde_json::from_slice(&bytes).ok()
}
