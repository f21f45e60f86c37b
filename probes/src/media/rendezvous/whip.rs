//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one POST brings the offer and its answer, one
//! DELETE ends it.

use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{ETAG, LINK},
};
use tokio::time::Instant;
use url::Url;

use super::{
    Leg, Refusal, Reply,
    http::{Answer, Client, Request, place},
    kept::{Kept, Session},
    link,
};
use crate::{Failure, Reason, media::far_log};

const SDP: &str = "application/sdp";
const JSON: &str = "application/json";

/// Statuses with which a server says that there is nothing to subscribe to yet.
const NOT_YET: [StatusCode; 4] =
    [StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::TOO_EARLY, StatusCode::SERVICE_UNAVAILABLE];

/// Posts our offer. What the server created for it is in `kept` as soon as it is known.
pub(super) async fn post(
    client: &Client,
    endpoint: &Url,
    leg: Leg,
    offer: String,
    kept: &Kept,
    deadline: Instant,
) -> Result<Reply, Refusal> {
    let request = Request {
        method: Method::POST,
        url: endpoint,
        home: Some(endpoint),
        content_type: SDP,
        if_match: None,
        body: Bytes::from(offer),
    };
    let answer = client.send(&request, deadline).await?;
    let counter_offer = leg == Leg::Subscribe && answer.status == StatusCode::NOT_ACCEPTABLE;
    if answer.status != StatusCode::CREATED && !counter_offer {
        let not_yet = leg == Leg::Subscribe && NOT_YET.contains(&answer.status);
        return Err(Refusal { failure: unexpected("POST", &answer, "201 Created"), not_yet });
    }
    if let Some(url) = answer.location() {
        let tag = answer.headers.get(ETAG).cloned();
        kept.add(Session::Resource { leg, url, home: endpoint.clone(), tag });
    }
    let links = answer.headers.get_all(LINK);
    let servers = link::ice_servers(links.iter().filter_map(|value| value.to_str().ok()));
    let text = answer.text(deadline).await?;
    Ok(if counter_offer { Reply::Offer { sdp: text, servers } } else { Reply::Answer { sdp: text, servers } })
}

/// Answers the offer that a server made instead of answering ours.
pub(super) async fn patch(client: &Client, session: &Session, answer: String, at: Instant) -> Result<(), Failure> {
    let Session::Resource { url, home, tag, .. } = session else {
        return Err(Failure::new(Reason::Signalling, "the session takes no answer"));
    };
    let request = Request {
        method: Method::PATCH,
        url,
        home: Some(home),
        content_type: SDP,
        if_match: tag.as_ref(),
        body: Bytes::from(answer),
    };
    let answer = client.send(&request, at).await?;
    if answer.status.is_success() { Ok(()) } else { Err(unexpected("PATCH", &answer, "204 No Content")) }
}

/// Ends a session.
pub(super) async fn delete(client: &Client, url: &Url, home: &Url, deadline: Instant) -> Result<(), Failure> {
    let method = Method::DELETE;
    let request = Request { method, url, home: Some(home), content_type: SDP, if_match: None, body: Bytes::new() };
    let answer = client.send(&request, deadline).await?;
    if answer.status.is_success() { Ok(()) } else { Err(unexpected("DELETE", &answer, "200 OK")) }
}

/// Ends a session at a box that reflects, and brings what it noted of the call; of older versions nothing.
pub(super) async fn notes(client: &Client, url: &Url, home: &Url, deadline: Instant) -> Result<String, Failure> {
    let method = Method::DELETE;
    let request = Request { method, url, home: Some(home), content_type: JSON, if_match: None, body: Bytes::new() };
    let answer = client.send(&request, deadline).await?;
    if answer.status.is_success() {
        answer.body(deadline, far_log::MOST_BYTES).await
    } else {
        Err(unexpected("DELETE", &answer, "200 OK"))
    }
}

/// The failure of an answer with another status than `expected`.
pub(super) fn unexpected(method: &str, answer: &Answer, expected: &str) -> Failure {
    let detail = format!("{method} {}: found status {}, expected {expected}", place(&answer.url), answer.status);
    Failure::new(Reason::Signalling, detail)
}
