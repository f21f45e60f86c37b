//! Requests to RT, one by one. The shell that the others stand on.

use bellwether_probes::secret::Secret;
use chrono::{DateTime, Utc};
use reqwest::{
    Client, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::{
    Config,
    answer::{self, Page, Part, Ticket, is_gone},
};
use crate::channel::{
    Outcome,
    http::{Answer, exchange},
};

/// How many items one page of a collection has at most; RT gives no more than 100.
pub(super) const PER_PAGE: usize = 100;

/// What an attempt needs. Files are read anew, so that a changed one needs no restart.
pub(super) struct Session<'a> {
    /// The channel's config.
    pub(super) config: &'a Config,
    /// When the attempt began.
    pub(super) now: DateTime<Utc>,
    client: Client,
    base: Url,
    place: String,
    token: Secret,
}

/// A ticket, and the mark of its version.
pub(super) struct Versioned {
    /// The ticket: that into which the one asked for was merged, if it was.
    pub(super) ticket: Ticket,
    /// Its version.
    pub(super) etag: Option<HeaderValue>,
}

/// What cannot be read condemns no order.
fn unread(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Rejected { detail } => Outcome::not_delivered(detail),
        other => other,
    }
}

impl<'a> Session<'a> {
    /// Prepares an attempt; why it cannot be made.
    pub(super) fn new(config: &'a Config, now: DateTime<Utc>) -> Result<Self, Outcome> {
        let endpoint = config.endpoint();
        let prepared = || -> Result<_, String> {
            let base = format!("{}/REST/2.0/", config.url.trim_end_matches('/'));
            let base = Url::parse(&base).map_err(|error| format!("url: {error}"))?;
            Ok((endpoint.client()?, base, Secret::read(&config.token_file)?))
        };
        let (client, base, token) = prepared().map_err(Outcome::not_delivered)?;
        Ok(Self { config, now, client, base, place: endpoint.place(), token })
    }

    /// One request: its answer, whatever it is.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        version: Option<HeaderValue>,
        body: Option<&Value>,
    ) -> Result<Answer, Outcome> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path.split('/')),
            Err(()) => return Err(Outcome::not_delivered("url: found no address of a host")),
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut token = HeaderValue::try_from(format!("token {}", self.token.expose()))
            .map_err(|_| Outcome::not_delivered("token_file holds no token"))?;
        token.set_sensitive(true);
        let mut request = self.client.request(method, url).header(AUTHORIZATION, token);
        if let Some(version) = version {
            request = request.header(IF_MATCH, version);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(body.to_string());
        }
        exchange(request, &self.place).await
    }

    /// What an answer means that is not the one hoped for, with the place.
    pub(super) fn refused(&self, answer: &Answer) -> Outcome {
        answer::refused(answer, self.now).at(&self.place)
    }

    /// What an answer says whose status should be `expected`.
    pub(super) fn said<T: DeserializeOwned>(&self, expected: StatusCode, answer: &Answer) -> Result<T, Outcome> {
        if answer.status != expected {
            return Err(self.refused(answer));
        }
        answer::json(answer).map_err(|detail| Outcome::ambiguous(detail).at(&self.place))
    }

    /// Reads something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Outcome> {
        let answer = self.ask(Method::GET, path, query, None, None).await?;
        self.said(StatusCode::OK, &answer).map_err(unread)
    }

    /// Makes something; `T` is read from what RT says of it.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Outcome> {
        let answer = self.ask(Method::POST, path, &[], None, Some(body)).await?;
        self.said(StatusCode::CREATED, &answer)
    }

    /// Changes a ticket, if it is still the version that was seen. RT says 200 whether it did or not, and why in
    /// words: they are for people alone.
    pub(super) async fn change(
        &self,
        ticket: u64,
        version: Option<HeaderValue>,
        body: &Value,
    ) -> Result<Vec<String>, Outcome> {
        let answer = self.ask(Method::PUT, &format!("ticket/{ticket}"), &[], version, Some(body)).await?;
        self.said(StatusCode::OK, &answer)
    }

    /// Reads a ticket, following it to the one into which it was merged; `None` if there is none any more.
    pub(super) async fn ticket(&self, ticket: u64) -> Result<Option<Versioned>, Outcome> {
        let answer = self.ask(Method::GET, &format!("ticket/{ticket}"), &[], None, None).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let etag = answer.headers.get(ETAG).cloned();
        let ticket: Ticket = self.said(StatusCode::OK, &answer).map_err(unread)?;
        Ok((!ticket.is_deleted()).then_some(Versioned { ticket, etag }))
    }

    /// The newest files and texts of a ticket, by their names alone, newest first; `page` counts from 1.
    pub(super) async fn files(&self, ticket: u64, page: usize) -> Result<Vec<Part>, Outcome> {
        let query = [
            ("fields", "Filename"),
            ("orderby", "id"),
            ("order", "DESC"),
            ("per_page", &PER_PAGE.to_string()),
            ("page", &page.to_string()),
        ];
        let found: Page<Part> = self.get(&format!("ticket/{ticket}/attachments"), &query).await?;
        Ok(found.items)
    }

    /// Comments on a ticket, for the vendor's eyes alone.
    pub(super) async fn comment(&self, ticket: u64, body: &Value) -> Result<(), Outcome> {
        let _said: Vec<String> = self.post(&format!("ticket/{ticket}/comment"), body).await?;
        Ok(())
    }
}
