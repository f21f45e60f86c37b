//! Reading back: where a booking's ticket stands, and which tickets of a room are open.

use chrono::{DateTime, Utc};

use super::{
    Config,
    answer::{Entry, Page, Part, Ticket},
    api::Session,
    find::quoted,
    order::is_key,
    send::{attached, locate},
};
use crate::channel::{Link, Listed, Outcome, Remote, Standing};

/// Longest note of somebody at the vendor's, in characters.
const MAX_NOTE: usize = 200;
/// How many open tickets of a room are listed at most.
const MAX_LISTED: usize = 200;
/// How many are asked for at once.
const LISTED_AT_ONCE: usize = 20;

/// Reads where a booking's ticket stands.
pub(in crate::channel) async fn read(
    config: &Config,
    booking_key: &str,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<Remote, String> {
    if !is_key(booking_key) {
        return Err("the booking's key is no key".to_owned());
    }
    reread(config, booking_key, link, now).await.map_err(line)
}

/// What failed, for people.
fn line(outcome: Outcome) -> String {
    outcome.detail().unwrap_or("it is done").to_owned()
}

async fn reread(config: &Config, key: &str, link: &Link, now: DateTime<Utc>) -> Result<Remote, Outcome> {
    let session = Session::new(config, now)?;
    let Some(read) = locate(&session, key, link).await? else {
        let remote_id = link.remote_id.clone();
        return Ok(Remote { remote_id, standing: Standing::Missing, window: None, note: None });
    };
    // What we wrote last is no news; nor is what nobody wrote.
    let is_news = read.ticket.last_updated_by != read.ticket.creator;
    let note = if is_news { note(&session, read.ticket.id).await? } else { None };
    Ok(remote(config, &read.ticket, note))
}

fn remote(config: &Config, ticket: &Ticket, note: Option<String>) -> Remote {
    Remote {
        remote_id: Some(ticket.effective_id.to_string()),
        standing: ticket.standing(config),
        window: ticket.window(),
        note,
    }
}

/// The first line of the newest message of the last 20 entries; we ourselves write comments alone.
async fn note(session: &Session<'_>, ticket: u64) -> Result<Option<String>, Outcome> {
    let query = [("fields", "Type"), ("orderby", "id"), ("order", "DESC"), ("per_page", "20")];
    let history: Page<Entry> = session.get(&format!("ticket/{ticket}/history"), &query).await?;
    let Some(entry) = history.items.iter().find(|entry| entry.kind == "Correspond") else { return Ok(None) };
    let query = [("fields", "Content,ContentType,Filename"), ("per_page", "5")];
    // A long one, with a picture in it, is no reason not to read the rest.
    let parts: Page<Part> = match session.get(&format!("transaction/{}/attachments", entry.id), &query).await {
        Ok(parts) => parts,
        Err(Outcome::Ambiguous { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    Ok(parts.items.iter().find_map(first_line))
}

/// The first line of a message that is no quotation.
fn first_line(part: &Part) -> Option<String> {
    let is_text = part.content_type.as_deref() == Some("text/plain");
    let is_file = part.filename.as_deref().is_some_and(|name| !name.is_empty());
    let content = part.content.as_deref().filter(|_| is_text && !is_file)?;
    let line = content.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('>'))?;
    let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(shown.take(MAX_NOTE).collect())
}

/// The open bookings of a room.
pub(in crate::channel) async fn list(
    config: &Config,
    room_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Listed>, String> {
    // RT would take such a text for the name of a field, quoted or not.
    if room_id.is_empty() || room_id.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("CF.")) {
        return Err(format!("tickets cannot be searched by the room {room_id:?}"));
    }
    listed(config, room_id, now).await.map_err(line)
}

async fn listed(config: &Config, room_id: &str, now: DateTime<Utc>) -> Result<Vec<Listed>, Outcome> {
    let session = Session::new(config, now)?;
    let mut tickets: Vec<Ticket> = Vec::new();
    let mut is_sound = false;
    for page in 1..=MAX_LISTED / LISTED_AT_ONCE {
        let query = [
            ("query", &by_room(config, room_id)[..]),
            ("fields", "EffectiveId,Subject,Status,Starts,Due,CustomFields"),
            ("orderby", "id"),
            ("per_page", &LISTED_AT_ONCE.to_string()),
            ("page", &page.to_string()),
        ];
        let found: Page<Ticket> = session.get("tickets", &query).await?;
        let count = found.items.len();
        is_sound |= found.items.iter().any(|ticket| ticket.has(&config.room_field, &config.mark()));
        tickets.extend(found.items.into_iter().filter(|ticket| ticket.has(&config.room_field, room_id)));
        if count < LISTED_AT_ONCE {
            break;
        }
    }
    if !is_sound {
        return Err(Outcome::ambiguous(format!(
            "the search by {} does not find its own mark, so open tickets may be there: run `bellwether channel check`",
            config.room_field
        )));
    }
    let mut listed: Vec<Listed> = Vec::new();
    for ticket in tickets {
        let Some(key) = ticket.field(&config.key_field).filter(|key| is_key(key)) else { continue };
        if listed.iter().any(|listed| listed.key == key) {
            continue;
        }
        let booking = attached(&session, ticket.id).await?.filter(|booking| booking.key == key);
        listed.push(Listed { key: key.to_owned(), remote: remote(config, &ticket, None), booking });
    }
    Ok(listed)
}

/// The search for a room's open tickets in the queue; the mark is closed.
fn by_room(config: &Config, room_id: &str) -> String {
    let (queue, field) = (quoted(&config.queue), &config.room_field);
    let (room, mark) = (quoted(room_id), quoted(&config.mark()));
    format!("Queue = {queue} AND ((CF.{{{field}}} = {room} AND Status = '__Active__') OR CF.{{{field}}} = {mark})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &str, name: &str, content: &str) -> Part {
        serde_json::from_value(serde_json::json!({
            "id": "1", "ContentType": kind, "Filename": name, "Content": content,
        }))
        .expect("a part written here")
    }

    #[test]
    fn a_note_is_the_first_line_that_somebody_wrote() {
        let table = [
            (part("text/plain", "", "\n> when?\n\nAt nine.\r\nBye"), Some("At nine.")),
            (part("text/plain", "a.txt", "At nine."), None),
            (part("text/html", "", "<p>At nine.</p>"), None),
            (part("text/plain", "", "> when?\n"), None),
            (part("text/plain", "", "a\u{1b}[31mb"), Some("a [31mb")),
        ];
        for (part, expected) in table {
            assert_eq!(first_line(&part).as_deref(), expected);
        }
        let long = part("text/plain", "", &"教".repeat(1000));
        assert_eq!(first_line(&long).map(|line| line.chars().count()), Some(MAX_NOTE));
    }
}
