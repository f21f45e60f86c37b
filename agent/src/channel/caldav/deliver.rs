//! How an order gets into the calendar, and how it is read back.

use chrono::{DateTime, Utc};
use url::Url;

use super::{
    answer::Put,
    dav::{If, Server},
    entry::{Entry, KEY, ROOM},
    merge::merged,
    object::Object,
    room_word,
};
use crate::{
    booking::{Operation, Order},
    channel::{Link, Listed, Outcome, Remote, Standing},
};

/// More entries than this are not of one room.
const MAX_LISTED: usize = 1_000;

/// Brings an order into the calendar at `now`.
pub(super) async fn deliver(server: &Server<'_>, order: &Order, link: &Link, now: DateTime<Utc>) -> Outcome {
    let Ok(ours) = Object::read(order.body.as_bytes()) else {
        return Outcome::Rejected { detail: "the order's body is not that of a calendar".to_owned() };
    };
    let delivery = Delivery { server, order, ours, now };
    let outcome = match order.operation {
        Operation::Open => delivery.open().await,
        Operation::Update | Operation::Cancel => delivery.change(link).await,
    };
    outcome.unwrap_or_else(|outcome| outcome)
}

struct Delivery<'d> {
    server: &'d Server<'d>,
    order: &'d Order,
    ours: Object,
    now: DateTime<Utc>,
}

impl Delivery<'_> {
    async fn open(&self) -> Result<Outcome, Outcome> {
        let key = &self.order.booking_key;
        let url = self.server.named(key).map_err(rejected)?;
        match self.server.put(&url, self.order.body.clone().into_bytes(), If::New).await {
            Put::Done => Ok(done(&url)),
            // It is there: by an earlier attempt, most likely. That is not to be called undelivered.
            Put::Unmet => match self.revise(&url).await.map_err(doubtful)? {
                Some(outcome) => Ok(outcome),
                None => Err(Outcome::not_delivered(format!("{url}: somebody deleted it just now"))),
            },
            Put::UidElsewhere => {
                for url in self.server.search("UID", key).await.map_err(doubtful)? {
                    if let Some(outcome) = self.revise_if_ours(&url).await.map_err(doubtful)? {
                        return Ok(outcome);
                    }
                }
                Err(rejected(format!(
                    "{}: the server says that there is an entry of the name {key} already, and finds none here: look \
                     into the user's other calendars and deleted entries",
                    self.server.url()
                )))
            }
            Put::Failed(outcome) => Err(outcome),
        }
    }

    async fn change(&self, link: &Link) -> Result<Outcome, Outcome> {
        let key = &self.order.booking_key;
        for url in places(self.server, key, link)? {
            if let Some(outcome) = self.revise(&url).await? {
                return Ok(outcome);
            }
        }
        // Somebody may have given it another name.
        for url in self.server.search("UID", key).await? {
            if let Some(outcome) = self.revise_if_ours(&url).await? {
                return Ok(outcome);
            }
        }
        match self.order.operation {
            // Nobody comes for what is not there.
            Operation::Cancel => Ok(Outcome::done(None)),
            Operation::Open | Operation::Update => Err(rejected(format!(
                "{}: the entry {key} was deleted there, and is not made anew by an update: ask the vendor, or cancel \
                 the booking",
                self.server.url()
            ))),
        }
    }

    /// Revises an object that a search named, if it is the booking's.
    async fn revise_if_ours(&self, url: &Url) -> Result<Option<Outcome>, Outcome> {
        match read_entry(self.server, url).await? {
            Some((entry, _, _)) if entry.uid == self.order.booking_key => self.revise(url).await,
            _ => Ok(None),
        }
    }

    /// Brings the order onto an object; `None` if it is not there.
    async fn revise(&self, url: &Url) -> Result<Option<Outcome>, Outcome> {
        let Some((entry, object, etag)) = read_entry(self.server, url).await? else { return Ok(None) };
        if entry.uid != self.order.booking_key {
            return Err(rejected(format!("{url} holds another entry than the booking's, and is left alone")));
        }
        let is_newer = match entry.op_seq {
            Some(theirs) => theirs >= self.order.op_seq,
            // Somebody's program left out what it does not know: that the entry is there says enough.
            None => self.order.operation == Operation::Open,
        };
        if is_newer {
            return Ok(Some(done(url)));
        }
        let Some(etag) = etag else {
            return Err(Outcome::not_delivered(format!(
                "{url}: the server does not say which version it gave (ETag), so nothing can be changed safely"
            )));
        };
        let body = merged(object, &self.ours, self.now).write();
        match self.server.put(url, body, If::Same(&etag)).await {
            Put::Done => Ok(Some(done(url))),
            Put::Unmet => Err(Outcome::not_delivered(format!("{url}: somebody changed it just now; it is read again"))),
            Put::UidElsewhere => Err(rejected(format!("{url}: the server says that there is a second entry like it"))),
            Put::Failed(outcome) => Err(outcome),
        }
    }
}

/// Where a booking's entry should be: where the server put it last, and where we would put it.
fn places(server: &Server<'_>, key: &str, link: &Link) -> Result<Vec<Url>, Outcome> {
    let mut places: Vec<Url> = link.remote_id.as_deref().and_then(|href| server.within(href)).into_iter().collect();
    let own = server.named(key).map_err(rejected)?;
    if !places.contains(&own) {
        places.push(own);
    }
    Ok(places)
}

async fn read_entry(server: &Server<'_>, url: &Url) -> Result<Option<(Entry, Object, Option<String>)>, Outcome> {
    let Some(found) = server.get(url).await? else { return Ok(None) };
    let object = Object::read(&found.body).map_err(|message| rejected(format!("{url}: {message}")))?;
    Ok(Some((Entry::read(&object), object, found.etag)))
}

/// Where a booking stands in the calendar.
pub(super) async fn read_back(server: &Server<'_>, key: &str, link: &Link) -> Result<Remote, String> {
    let line = |outcome: Outcome| outcome.detail().unwrap_or_default().to_owned();
    for url in places(server, key, link).map_err(line)? {
        if let Some((entry, ..)) = read_entry(server, &url).await.map_err(line)?.filter(|(entry, ..)| entry.uid == key)
        {
            return entry.remote(url.path()).map_err(|message| format!("{url}: {message}"));
        }
    }
    // A calendar that is not there, or not searched, is no deleted entry: this fails for it.
    for url in server.search("UID", key).await.map_err(line)? {
        if let Some((entry, ..)) = read_entry(server, &url).await.map_err(line)?.filter(|(entry, ..)| entry.uid == key)
        {
            return entry.remote(url.path()).map_err(|message| format!("{url}: {message}"));
        }
    }
    Ok(Remote { remote_id: None, standing: Standing::Missing, window: None, note: None })
}

/// The bookings of a room that the calendar still has open.
pub(super) async fn list(server: &Server<'_>, room_id: &str) -> Result<Vec<Listed>, String> {
    let line = |outcome: Outcome| outcome.detail().unwrap_or_default().to_owned();
    let room = room_word(room_id);
    let found = server.search(ROOM, &room).await.map_err(line)?;
    if found.len() > MAX_LISTED {
        return Err(format!("{}: found {} entries of one room, expected fewer", server.url(), found.len()));
    }
    let mut listed: Vec<Listed> = Vec::new();
    for url in found {
        let Some((entry, object, _)) = read_entry(server, &url).await.map_err(line)? else { continue };
        let is_own = entry.room.as_ref() == Some(&room) && object.value(KEY).as_ref() == Some(&entry.uid);
        let is_over =
            entry.status == "CANCELLED" || entry.booking.as_ref().is_some_and(|booking| booking.state.ended());
        if !is_own || is_over || listed.iter().any(|other| other.key == entry.uid) {
            continue;
        }
        let remote = entry.remote(url.path()).map_err(|message| format!("{url}: {message}"))?;
        listed.push(Listed { key: entry.uid, remote, booking: entry.booking });
    }
    Ok(listed)
}

fn done(url: &Url) -> Outcome {
    Outcome::done(Some(url.path().to_owned()))
}

fn rejected(detail: String) -> Outcome {
    Outcome::Rejected { detail }
}

/// What failed after an entry of this name was found: the order may have arrived before.
fn doubtful(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::NotDelivered { detail, retry_after } => Outcome::Ambiguous { detail, retry_after },
        other => other,
    }
}
