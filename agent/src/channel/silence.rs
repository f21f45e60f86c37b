//! A silence in Alertmanager while somebody works on the room: what is taken apart raises no alarm.
//!
//! It speaks API v2 of Alertmanager. Each booking in maintenance has a silence, which ends by itself an hour after
//! the work should; its comment names booking and room, by which it is found again. [`keep`] makes what is there
//! what should be there, however often it is called: a reply that was lost, or a restart, leaves nothing behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    time::Duration,
};

use bellwether_probes::{
    Mistake, Span,
    secret::{Secret, usable},
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::http::{Answer, Endpoint, MAX_ANSWER, exchange};
use crate::booking::{Booking, State, plan::closes};

/// How long a silence outlasts the work, in case that takes longer.
const BEYOND: TimeDelta = TimeDelta::hours(1);
/// Who makes the silences, as Alertmanager shows it.
const MAKER: &str = "bellwether";

/// `[bookings.silence]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of Alertmanager, below which its API is `/api/v2`.
    pub url: String,
    /// What alerts are silenced: those with all of these labels; `room = ID` if left out.
    #[serde(default)]
    pub matchers: Option<BTreeMap<String, String>>,
    /// User, where a proxy before Alertmanager asks for one.
    #[serde(default)]
    pub user: Option<String>,
    /// File with the user's password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// PEM file of the only certificate authorities to trust, instead of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Deadline of one request.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Allows `http:` to other hosts than this one.
    #[serde(default)]
    pub allow_plain_http: bool,
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(10))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.endpoint().place())
            .field("matchers", &self.matchers)
            .field("user", &self.user)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .field("allow_plain_http", &self.allow_plain_http)
            .finish()
    }
}

impl Config {
    /// Mistakes that the shape of the table does not show. Looks at the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = self.endpoint().check();
        if let Some(matchers) = &self.matchers {
            let is_name = |name: &str| {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                name.bytes().all(fits) && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())
            };
            if matchers.is_empty() {
                let message = "found none, which would silence every alert; expected at least one label, such as room";
                mistakes.push(Mistake::new("matchers", message));
            }
            for (name, value) in matchers {
                if !is_name(name) || value.is_empty() || value.chars().any(char::is_control) {
                    let message = format!("found {name:?} = {value:?}, expected a label's name and a value of it");
                    mistakes.push(Mistake::new("matchers", message));
                }
            }
        }
        match (&self.user, &self.password_file) {
            (Some(_), None) => mistakes.push(Mistake::new("user", "found no password_file beside it, expected both")),
            (None, Some(_)) => mistakes.push(Mistake::new("password_file", "found no user beside it, expected both")),
            (Some(_), Some(path)) => {
                if let Err(message) = usable(path, Secret::read) {
                    mistakes.push(Mistake::new("password_file", message));
                }
            }
            (None, None) => {}
        }
        mistakes
    }

    fn endpoint(&self) -> Endpoint<'_> {
        Endpoint {
            url: &self.url,
            ca_file: self.ca_file.as_deref(),
            timeout: self.timeout,
            allow_plain_http: self.allow_plain_http,
            secret_key: "user and password_file",
        }
    }

    fn matchers(&self, room: &str) -> BTreeMap<String, String> {
        self.matchers.clone().unwrap_or_else(|| [("room".to_owned(), room.to_owned())].into())
    }

    /// The address of something below the API.
    fn below(&self, parts: &[&str]) -> Result<Url, String> {
        let mut url = Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        url.set_query(None);
        url.path_segments_mut().map_err(|()| "url: it has no path")?.pop_if_empty().extend(["api", "v2"]).extend(parts);
        Ok(url)
    }
}

/// The silences that should be there: the bookings in maintenance by key, each with its silence's end.
pub fn wanted<'b>(bookings: impl IntoIterator<Item = &'b Booking>) -> BTreeMap<String, DateTime<Utc>> {
    let of = |booking: &Booking| Some((booking.key.clone(), closes(booking)?.checked_add_signed(BEYOND)?));
    let open = bookings.into_iter().filter(|booking| booking.state == State::InMaintenance);
    open.filter_map(of).collect()
}

/// A silence, as Alertmanager lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Silence {
    id: String,
    status: Status,
    created_by: String,
    comment: String,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Status {
    state: String,
}

/// What a silence says of itself.
fn comment(key: &str, room: &str) -> String {
    format!("booking {key}: maintenance of room {room}")
}

impl Silence {
    /// Key of the booking of this room that it is for, if it is one of ours that has not ended.
    fn key(&self, room: &str) -> Option<&str> {
        let key = self.comment.strip_prefix("booking ")?.split(':').next()?;
        let is_ours = self.created_by == MAKER && self.status.state != "expired" && self.comment == comment(key, room);
        is_ours.then_some(key)
    }
}

/// What is to be done so that what is there is what should be there.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A silence is made, or one that ends too early is prolonged.
    Post(Value),
    /// The silence of this id is ended.
    Delete(String),
}

/// What is to be done, with these silences there. Nothing, once it was done.
fn steps(
    there: &[Silence],
    matchers: &BTreeMap<String, String>,
    room: &str,
    wanted: &BTreeMap<String, DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Step> {
    let ours = || there.iter().filter_map(|silence| Some((silence.key(room)?, silence)));
    let mut steps = Vec::new();
    let long_enough: BTreeSet<&str> = ours()
        .filter(|(key, silence)| wanted.get(*key).is_some_and(|until| silence.ends_at.timestamp() >= until.timestamp()))
        .map(|(key, _)| key)
        .collect();
    for (key, until) in wanted.iter().filter(|(key, until)| **until > now && !long_enough.contains(&key[..])) {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let equal = |(name, value)| json!({ "name": name, "value": value, "isRegex": false, "isEqual": true });
        let mut silence = json!({
            "matchers": matchers.iter().map(equal).collect::<Vec<_>>(),
            "startsAt": time(now),
            "endsAt": time(*until),
            "createdBy": MAKER,
            "comment": comment(key, room),
        });
        if let Some((_, known)) = ours().find(|(known, _)| *known == &key[..]) {
            silence["id"] = known.id.clone().into();
            silence["startsAt"] = time(known.starts_at).into();
        }
        steps.push(Step::Post(silence));
    }
    let over = ours().filter(|(key, _)| !wanted.contains_key(*key));
    steps.extend(over.map(|(_, silence)| Step::Delete(silence.id.clone())));
    steps
}

/// Makes the silences of a room those that are `wanted`, and ends its others. Those of other rooms, and of other
/// makers, stay as they are.
///
/// # Errors
/// Alertmanager did not do all of it: one line for people. It can be called again.
pub async fn keep(
    config: &Config,
    room: &str,
    wanted: &BTreeMap<String, DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), String> {
    let client = config.endpoint().client()?;
    let matchers = config.matchers(room);
    let mut list = config.below(&["silences"])?;
    for (name, value) in &matchers {
        // Others are none of ours, and may be many.
        let filter = format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        list.query_pairs_mut().append_pair("filter", &filter);
    }
    let answer = ask(config, client.request(Method::GET, list)).await?;
    if answer.is_cut {
        return Err(format!("{}: found more than {MAX_ANSWER} bytes of silences", config.endpoint().place()));
    }
    let there: Vec<Silence> = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("{}: answered no list of silences; check url", config.endpoint().place()))?;
    for step in steps(&there, &matchers, room, wanted, now) {
        let request = match &step {
            Step::Post(silence) => client.post(config.below(&["silences"])?).json(silence),
            Step::Delete(id) => client.delete(config.below(&["silence", id])?),
        };
        ask(config, request).await?;
    }
    Ok(())
}

/// One request, answered with 200.
async fn ask(config: &Config, request: RequestBuilder) -> Result<Answer, String> {
    let place = config.endpoint().place();
    let request = match (&config.user, &config.password_file) {
        (Some(user), Some(path)) => request.basic_auth(user, Some(Secret::read(path)?.expose())),
        _ => request,
    };
    let answer = exchange(request, &place)
        .await
        .map_err(|outcome| outcome.detail().unwrap_or("no whole answer came").to_owned())?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(format!("{place}: {}; check user and password_file", answer.detail()))
        }
        _ => Err(format!("{place}: {}", answer.detail())),
    }
}

#[cfg(test)]
mod tests;
