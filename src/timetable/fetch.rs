//! One source's text, from a file or from the web; bounded in size and time.

use std::{path::Path, time::Duration};

use bellwether_agent::calendar::ical::MAX_BYTES;
use reqwest::{Client, redirect::Policy};
use url::Url;

use super::Note;
use crate::files;

/// Deadline of one request.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Calendars often move within their server; no further than this.
const REDIRECTS: usize = 3;

/// Whether a source is a file of this box.
pub(super) fn is_file(source: &str) -> bool {
    source.starts_with('/')
}

/// The text of a source, as it came: a fold of iCalendar may split a character.
pub(super) async fn text(source: &str) -> Result<Vec<u8>, Note> {
    let read = if is_file(source) { file(source).await } else { web(source).await };
    read.map_err(|message| Note { source: shown(source), line: None, message })
}

/// A source as it may be shown. Whoever knows a calendar's whole address can often read it.
pub(super) fn shown(source: &str) -> String {
    match Url::parse(source) {
        Ok(url) if !is_file(source) => {
            let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
            format!("{}/…/{file}", url.origin().ascii_serialization())
        }
        _ => source.to_owned(),
    }
}

async fn file(source: &str) -> Result<Vec<u8>, String> {
    let path = source.to_owned();
    // A file of a network share may take long.
    let read = tokio::task::spawn_blocking(move || files::read_bytes(Path::new(&path), MAX_BYTES as u64));
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(Ok(read)) => read.map_err(|error| format!("cannot be read: {error}")),
        Ok(Err(_)) | Err(_) => Err(format!("cannot be read within {} s", TIMEOUT.as_secs())),
    }
}

async fn web(source: &str) -> Result<Vec<u8>, String> {
    let policy = Policy::custom(|attempt| {
        let downgraded =
            attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS || downgraded { attempt.stop() } else { attempt.follow() }
    });
    let mut client = Client::builder().redirect(policy).no_proxy().timeout(TIMEOUT).connect_timeout(TIMEOUT / 2);
    if source.starts_with("http:") {
        // Plain http must work on a box without any certificates.
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|error| format!("the connection cannot be prepared: {}", innermost(&error)))?;
    let failed = |error: reqwest::Error| format!("cannot be fetched: {}", innermost(&error.without_url()));
    let mut answer = client.get(source).send().await.map_err(failed)?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("found status {}, expected 200", answer.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(format!("found more than {MAX_BYTES} bytes, which is no timetable"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The last cause of an error, which names what happened.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
