//! The shell that talks to a calendar server: one request, one answer.

use chrono::{DateTime, Utc};
use reqwest::{Client, Method, RequestBuilder};
use url::Url;

use super::{
    Config, answer,
    multistatus::{self, Multistatus},
    password::Password,
};
use crate::channel::{
    Outcome,
    http::{Answer, exchange_up_to},
};

/// Longest object that is read: a vendor may have put a picture into it.
const MAX_OBJECT: usize = 4 << 20;
/// Longest list of a collection that is read.
const MAX_LIST: usize = 4 << 20;

/// A collection at a server, for one attempt.
pub(super) struct Server<'c> {
    client: Client,
    user: &'c str,
    password: Password,
    /// The collection's address, ended by a slash.
    collection: Url,
    now: DateTime<Utc>,
}

/// What a request for an object found.
pub(super) struct Found {
    /// Its bytes.
    pub(super) body: Vec<u8>,
    /// What it must still be for an overwriting to take place.
    pub(super) etag: Option<String>,
}

/// What must be so for a PUT to take place.
pub(super) enum If<'e> {
    /// There is no such object.
    New,
    /// It is still this one.
    Same(&'e str),
}

impl<'c> Server<'c> {
    /// Files are read anew, so that a changed one needs no restart.
    pub(super) fn new(config: &'c Config, now: DateTime<Utc>) -> Result<Self, String> {
        let client = config.endpoint().client()?;
        let password = Password::read(&config.password_file)?;
        Ok(Self { client, user: &config.user, password, collection: config.collection()?, now })
    }

    /// The collection's address, for people.
    pub(super) fn url(&self) -> &str {
        self.collection.as_str()
    }

    /// The address of an object by the name that we give it.
    pub(super) fn named(&self, name: &str) -> Result<Url, String> {
        self.collection.join(&format!("{name}.ics")).map_err(|_| format!("{name:?} is no name for an object"))
    }

    /// The address of an object by what the server calls it: by its last part, since what stands before it may be
    /// written in other ways, or be an address behind a gateway. It never leads out of the collection.
    pub(super) fn within(&self, href: &str) -> Option<Url> {
        let name =
            href.split(['?', '#']).next()?.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))?;
        let found = self.collection.join(&format!("./{name}")).ok()?;
        (found.path() != self.collection.path()).then_some(found)
    }

    fn request(&self, method: &'static str, url: &Url) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method written here");
        self.client.request(method, url.clone()).basic_auth(self.user, Some(self.password.expose()))
    }

    async fn answer(&self, request: RequestBuilder, most: usize) -> Result<Answer, Outcome> {
        exchange_up_to(most, request, self.url()).await
    }

    /// Reads an object; `None` if it is not there.
    pub(super) async fn get(&self, url: &Url) -> Result<Option<Found>, Outcome> {
        let answer = self.answer(self.request("GET", url), MAX_OBJECT).await.map_err(unsent)?;
        match answer.status.as_u16() {
            200 if answer.is_cut => {
                let detail = format!("{}: found an entry of more than {MAX_OBJECT} bytes", self.url());
                Err(Outcome::Rejected { detail })
            }
            200 => {
                let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok());
                // A gateway that packs answers makes tags weak, and a weak one is never the same.
                let etag = etag.map(|etag| etag.strip_prefix("W/").unwrap_or(etag).to_owned());
                Ok(Some(Found { body: answer.body, etag }))
            }
            404 | 410 => Ok(None),
            _ => Err(answer::refused(&answer, self.url(), false, self.now).at(self.url())),
        }
    }

    /// Stores an object.
    pub(super) async fn put(&self, url: &Url, body: Vec<u8>, only: If<'_>) -> answer::Put {
        let request = self.request("PUT", url).header("content-type", "text/calendar; charset=utf-8").body(body);
        let request = match only {
            If::New => request.header("if-none-match", "*"),
            If::Same(etag) => request.header("if-match", etag),
        };
        match self.answer(request, crate::channel::http::MAX_ANSWER).await {
            Ok(answer) => match answer::put(&answer, self.url(), self.now) {
                answer::Put::Failed(outcome) => answer::Put::Failed(outcome.at(self.url())),
                other => other,
            },
            Err(outcome) => answer::Put::Failed(outcome),
        }
    }

    /// Takes an object away; whether it was there.
    pub(super) async fn delete(&self, url: &Url) -> Result<bool, Outcome> {
        let answer = self.answer(self.request("DELETE", url), crate::channel::http::MAX_ANSWER).await?;
        match answer.status.as_u16() {
            200 | 202 | 204 => Ok(true),
            404 | 410 => Ok(false),
            _ => Err(answer::refused(&answer, self.url(), true, self.now).at(self.url())),
        }
    }

    /// What the server says of the collection itself, and its clock.
    pub(super) async fn describe(&self) -> Result<(Multistatus, Option<DateTime<Utc>>), Outcome> {
        const BODY: &str = r#"<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:resourcetype/><C:supported-calendar-component-set/></D:prop></D:propfind>"#;
        let (found, answer) = self.ask("PROPFIND", "0", BODY.to_owned()).await?;
        let clock = answer.headers.get("date").and_then(|date| date.to_str().ok());
        let clock = clock.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).map(|date| date.with_timezone(&Utc));
        Ok((found, clock))
    }

    /// Addresses of the objects with this property, sorted. Radicale looks for them within a value and
    /// Xandikos for the whole of it, and a server may understand less and name more: what is named is to be looked
    /// at.
    pub(super) async fn search(&self, property: &str, text: &str) -> Result<Vec<Url>, Outcome> {
        let (found, _) = self.ask("REPORT", "1", query(property, text)).await?;
        let mut urls: Vec<Url> = found.responses.iter().filter_map(|response| self.within(&response.href)).collect();
        urls.sort();
        urls.dedup();
        Ok(urls)
    }

    async fn ask(&self, method: &'static str, depth: &str, body: String) -> Result<(Multistatus, Answer), Outcome> {
        let request = self.request(method, &self.collection).header("depth", depth);
        let request = request.header("content-type", "application/xml; charset=utf-8").body(body);
        let answer = self.answer(request, MAX_LIST).await.map_err(unsent)?;
        if answer.status.as_u16() != 207 {
            return Err(answer::refused(&answer, self.url(), false, self.now).at(self.url()));
        }
        let odd = |what: String| Outcome::not_delivered(format!("{}: {what}; is it a calendar? check url", self.url()));
        if answer.is_cut {
            return Err(odd(format!("answered with more than {MAX_LIST} bytes")));
        }
        let found = multistatus::read(&answer.body).map_err(odd)?;
        Ok((found, answer))
    }
}

/// What it means that a question was not answered: nothing was changed by it.
fn unsent(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Ambiguous { detail, retry_after } => Outcome::NotDelivered { detail, retry_after },
        other => other,
    }
}

/// A question for entries (RFC 4791, 7.8) with this property.
fn query(property: &str, text: &str) -> String {
    let text = quick_xml::escape::escape(text);
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><C:calendar-query xmlns:D=\"DAV:\" \
         xmlns:C=\"urn:ietf:params:xml:ns:caldav\"><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter \
         name=\"VCALENDAR\"><C:comp-filter name=\"VEVENT\"><C:prop-filter name=\"{property}\"><C:text-match>{text}\
         </C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
    )
}
