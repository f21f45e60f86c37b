//! Finding a booking's ticket by its key.

use serde_json::json;

use super::{
    Config,
    answer::{Page, Ticket},
    api::{PER_PAGE, Session},
};
use crate::channel::Outcome;

/// What a search for a key brought.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// The tickets of the booking, by number. The same survivor may stand behind several.
    pub(super) ours: Vec<Ticket>,
    /// The queue's mark, if it was found: then what was not found is not there.
    pub(super) mark: Option<Ticket>,
    /// Whether all that came was asked for.
    pub(super) is_sound: bool,
}

impl Found {
    /// The number of the ticket that is the booking's: the lowest that has its key in its field, else the lowest.
    pub(super) fn kept(&self, config: &Config, key: &str) -> Option<&Ticket> {
        self.ours.iter().find(|ticket| ticket.has(&config.key_field, key)).or(self.ours.first())
    }
}

/// Searches for a key.
pub(super) async fn find(session: &Session<'_>, key: &str) -> Result<Found, Outcome> {
    let config = session.config;
    let query = [
        ("query", &by_key(config, key)[..]),
        ("fields", "EffectiveId,Subject,Status,Starts,Due,Creator,CustomFields"),
        ("orderby", "id"),
        ("per_page", "20"),
    ];
    let page: Page<Ticket> = session.get("tickets", &query).await?;
    Ok(sift(config, key, page.items))
}

/// A miss that counts for nothing.
pub(super) fn blind(config: &Config) -> String {
    format!(
        "the search does not find its own mark {}, so what it does not find may be there: run `bellwether channel \
         check`",
        config.mark()
    )
}

/// The search for a key, in any queue, since tickets are moved, and among merged tickets, of which a search by
/// `EffectiveId` takes notice.
fn by_key(config: &Config, key: &str) -> String {
    let (field, mark) = (&config.key_field, quoted(&config.mark()));
    let key = quoted(key);
    format!("(CF.{{{field}}} = {key} OR CF.{{{field}}} = {mark} OR Subject LIKE {key}) AND EffectiveId > 0")
}

/// A text within a search.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Takes what is ours: by the field, or, if the search brought nothing that it was not asked for, by the subject. A
/// field may have been dropped when the ticket was made, or stayed behind when it was moved to another queue.
fn sift(config: &Config, key: &str, items: Vec<Ticket>) -> Found {
    let (field, mark) = (&config.key_field, config.mark());
    let asked = |ticket: &Ticket| ticket.has(field, key) || ticket.has(field, &mark) || ticket.subject.contains(key);
    let is_sound = items.iter().all(asked);
    let is_ours = |ticket: &&Ticket| ticket.has(field, key) || is_sound && ticket.is_titled(key);
    let mut ours: Vec<Ticket> = items.iter().filter(is_ours).cloned().collect();
    ours.sort_by_key(|ticket| ticket.id);
    let mark = items.into_iter().find(|ticket| ticket.has(field, &mark)).filter(|_| is_sound);
    Found { ours, mark, is_sound }
}

/// The one ticket that was made of those that were found.
#[derive(Debug, PartialEq)]
pub(super) struct Settled {
    /// Its number.
    pub(super) number: u64,
    /// Whether it has its key; otherwise it does not take it.
    pub(super) has_key: bool,
    /// How many tickets of the booking are merged into it, whenever that was done.
    pub(super) repeats: u32,
}

/// Makes one ticket with its key of those that were found, if any were: the lowest stays, others are merged into
/// it. Each of several that do so at once comes to the same end. `fresh` was made just now, in a queue that has the
/// field.
pub(super) async fn settle(
    session: &Session<'_>,
    key: &str,
    found: &Found,
    fresh: Option<u64>,
) -> Result<Option<Settled>, Outcome> {
    let config = session.config;
    let Some(kept) = found.kept(config, key) else { return Ok(None) };
    let survivor = kept.effective_id;
    let is_repeat = |ticket: &&Ticket| {
        let same_maker = ticket.creator.is_some() && ticket.creator == kept.creator;
        ticket.effective_id != survivor && (ticket.has(&config.key_field, key) || same_maker)
    };
    let mut seen = Vec::new();
    for repeat in found.ours.iter().filter(is_repeat) {
        if seen.contains(&repeat.effective_id) {
            continue;
        }
        seen.push(repeat.effective_id);
        tracing::warn!(booking = key, kept = survivor, repeat = repeat.id, "a repeated ticket is merged");
        let said = session.change(repeat.effective_id, None, &json!({ "MergeInto": survivor })).await?;
        let note = format!("#{} = {key} = #{survivor}: {}", repeat.id, said.join("; "));
        session.comment(survivor, &json!({ "Content": note, "ContentType": "text/plain" })).await?;
    }
    // A ticket that was merged has another's fields; one that was moved to another queue may have none.
    let is_moved = kept.id != survivor || fresh != Some(kept.id) && !kept.knows(&config.key_field);
    let has_key = is_moved || kept.has(&config.key_field, key) || restore(session, survivor, key).await?;
    let merged = |ticket: &&Ticket| ticket.id != kept.id && (ticket.effective_id == survivor || is_repeat(ticket));
    let repeats = found.ours.iter().filter(merged).count().try_into().unwrap_or(u32::MAX);
    Ok(Some(Settled { number: survivor, has_key, repeats }))
}

/// Sets a ticket's key once more; whether it is there then.
async fn restore(session: &Session<'_>, ticket: u64, key: &str) -> Result<bool, Outcome> {
    let field = &session.config.key_field;
    session.change(ticket, None, &json!({ "CustomFields": { field: key } })).await?;
    Ok(session.ticket(ticket).await?.is_some_and(|read| read.ticket.has(field, key)))
}

/// Whether one of a ticket's files has this name, among the newest 500.
pub(super) async fn has_file(session: &Session<'_>, ticket: u64, name: &str) -> Result<bool, Outcome> {
    for page in 1..=5 {
        let files = session.files(ticket, page).await?;
        if files.iter().any(|file| file.filename.as_deref() == Some(name)) {
            return Ok(true);
        }
        if files.len() < PER_PAGE {
            break;
        }
    }
    Ok(false)
}
