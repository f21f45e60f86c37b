//! Reading back: what a receiver says of the bookings that it has.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET url/KEY` | 200 and `{"key", "id", "state", "window": {"start", "end"}, "note"}` |
//! | | 404 and `{"error": "unknown"}` if it has no such booking |
//! | `GET url?room=ID` | 200 and `{"bookings": [{…as above, "data": the booking as it was sent last}]}`, the open ones |
//!
//! Both are signed as an order is, over an empty body; their `webhook-id` is `read.KEY` or `list.ROOM`. An
//! answer counts only if it names the key, or the room, that was asked for: a broken filter answers with
//! somebody else's.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Config, answer::remote_id, percent_encoded, secret::secrets};
use crate::{
    booking::{Booking, Window},
    channel::{
        Finding, Listed, Remote, Standing,
        http::{Answer, MAX_ANSWER, USER_AGENT, exchange_up_to},
    },
};

/// Longest list that is read: some hundred bookings.
const MAX_LIST: usize = 4 * 1024 * 1024;
/// Longest note that is kept, in characters.
const MAX_NOTE: usize = 300;
/// How far the receiver's clock may be from ours: signatures are only good for some minutes.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(60);
/// A key that no booking ever has: base32 knows no `0`.
const NO_KEY: &str = "bw1-00000000000000000000000000";

/// What a receiver says of a booking.
#[derive(Deserialize)]
struct Told {
    key: String,
    #[serde(default)]
    id: Value,
    state: Standing,
    #[serde(default)]
    window: Option<Window>,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
struct List {
    bookings: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(flatten)]
    told: Told,
    data: Value,
}

impl Told {
    fn remote(self) -> Result<Remote, String> {
        if self.state == Standing::Missing {
            return Err("found state \"missing\", expected an answer 404".to_owned());
        }
        if self.window.is_some_and(|window| window.end <= window.start) {
            return Err("its window ends before it begins".to_owned());
        }
        let note = self.note.as_deref().map(one_line).filter(|note| !note.is_empty());
        Ok(Remote { remote_id: remote_id(&self.id), standing: self.state, window: self.window, note })
    }
}

/// A text on one line of bounded length.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_NOTE).collect()
}

/// Where a booking is read.
fn address_of(url: &str, booking_key: &str) -> Result<Url, String> {
    let mut url = Url::parse(url).map_err(|error| format!("url: {error}"))?;
    let cannot = "url: nothing can stand below it";
    url.path_segments_mut().map_err(|()| cannot)?.pop_if_empty().push(booking_key);
    Ok(url)
}

/// Where the bookings of a room are listed.
fn address_of_room(url: &str, room_id: &str) -> Result<Url, String> {
    let mut url = Url::parse(url).map_err(|error| format!("url: {error}"))?;
    url.query_pairs_mut().append_pair("room", room_id);
    Ok(url)
}

/// Asks; `id` is what is signed beside the time.
async fn get(config: &Config, url: Url, id: &str, most: usize, now: DateTime<Utc>) -> Result<Answer, String> {
    let endpoint = config.endpoint();
    let (client, secrets) = (endpoint.client()?, secrets(&config.secret_file)?);
    let timestamp = now.timestamp();
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, "")).collect();
    let request = client
        .get(url)
        .header("accept", "application/json")
        .header("user-agent", USER_AGENT)
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signatures.join(" "));
    exchange_up_to(most, request, &endpoint.place())
        .await
        .map_err(|outcome| outcome.detail().unwrap_or_default().to_owned())
}

/// What an answer to the question for one booking says.
fn parse_one(answer: &Answer, booking_key: &str) -> Result<Remote, String> {
    if answer.status == StatusCode::NOT_FOUND && says_unknown(answer) {
        return Ok(Remote { remote_id: None, standing: Standing::Missing, window: None, note: None });
    }
    let told: Told = json(answer)?;
    if told.key != booking_key {
        return Err("answered with another booking than the one asked for".to_owned());
    }
    told.remote()
}

/// What an answer to the question for a room's bookings says.
fn parse_list(answer: &Answer, room_id: &str) -> Result<Vec<Listed>, String> {
    let list: List = json(answer)?;
    let listed = |Entry { told, data }: Entry| {
        if data["key"] != told.key[..] {
            return Err(format!("the data of {} are of another booking", one_line(&told.key)));
        }
        if data["room"]["id"] != *room_id {
            return Err("listed bookings of other rooms than the one asked for".to_owned());
        }
        let booking: Option<Booking> = serde_json::from_value(data).ok();
        Ok(Listed { key: told.key.clone(), remote: told.remote()?, booking })
    };
    list.bookings.into_iter().map(listed).collect()
}

fn says_unknown(answer: &Answer) -> bool {
    serde_json::from_slice(&answer.body).is_ok_and(|body: Value| body["error"] == "unknown")
}

/// The body of an answer 200.
fn json<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, String> {
    match answer.status.as_u16() {
        200 if answer.is_cut => Err("answered with more than is read".to_owned()),
        200 => serde_json::from_slice(&answer.body).map_err(|error| format!("answered not as agreed: {error}")),
        401 | 403 => Err(format!("{}; check secret_file", answer.detail())),
        404 | 405 => Err(format!("{}; check url, and whether bookings can be read there", answer.detail())),
        _ => Err(answer.detail()),
    }
}

/// Reads where a booking stands.
pub(in crate::channel) async fn read(config: &Config, booking_key: &str, now: DateTime<Utc>) -> Result<Remote, String> {
    let url = address_of(&config.url, booking_key)?;
    let answer = get(config, url, &format!("read.{booking_key}"), MAX_ANSWER, now).await?;
    parse_one(&answer, booking_key).map_err(|error| format!("{}: {error}", config.endpoint().place()))
}

/// Lists the open bookings of a room.
pub(in crate::channel) async fn list(
    config: &Config,
    room_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Listed>, String> {
    let url = address_of_room(&config.url, room_id)?;
    let answer = get(config, url, &format!("list.{}", percent_encoded(room_id)), MAX_LIST, now).await?;
    parse_list(&answer, room_id).map_err(|error| format!("{}: {error}", config.endpoint().place()))
}

/// Whether the receiver lets us in, keeps the contract as far as that shows without a booking, and has our time.
pub(in crate::channel) async fn check(config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    if !config.read_back {
        let prepared = config.endpoint().client().and_then(|_| secrets(&config.secret_file));
        let what = "its address and secret are there; it cannot be asked (read_back = false)";
        return vec![Finding { what: what.to_owned(), wrong: prepared.err() }];
    }
    let asked = format!("{} answers for a booking that it does not have", config.endpoint().place());
    let url = match address_of(&config.url, NO_KEY) {
        Ok(url) => url,
        Err(error) => return vec![Finding::wrong(asked, error)],
    };
    let answer = match get(config, url, &format!("read.{NO_KEY}"), MAX_ANSWER, now).await {
        Ok(answer) => answer,
        Err(error) => return vec![Finding::wrong(asked, error)],
    };
    let contract = match parse_one(&answer, NO_KEY) {
        Ok(Remote { standing: Standing::Missing, .. }) => Finding::fine(asked),
        Ok(_) => Finding::wrong(asked, "answered as if it had it; expected 404 and {\"error\": \"unknown\"}"),
        Err(error) => Finding::wrong(asked, error),
    };
    vec![contract, clock(&answer, now)]
}

/// Whether the receiver's clock is near ours.
fn clock(answer: &Answer, now: DateTime<Utc>) -> Finding {
    let date = answer.headers.get("date").and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
    let Some(date) = date else {
        return Finding::fine("its clock is not known, since its answers have no Date");
    };
    let off = date.with_timezone(&Utc).signed_duration_since(now);
    let what = format!("its clock is within {} s of ours", MAX_CLOCK_DIFFERENCE.num_seconds());
    if off.abs() <= MAX_CLOCK_DIFFERENCE {
        return Finding::fine(what);
    }
    let way = if off > TimeDelta::zero() { "ahead of" } else { "behind" };
    Finding::wrong(what, format!("it is {} s {way} ours: signatures may not be taken", off.abs().num_seconds()))
}

#[cfg(test)]
mod tests;
