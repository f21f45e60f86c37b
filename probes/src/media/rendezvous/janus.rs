//! The echo test of a Janus server, by its HTTP API: session, handle, message, long poll.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;

use super::{
    Refusal, Reply,
    http::{Client, Request, place},
    kept::{Kept, Session},
    whip::unexpected,
};
use crate::{Failure, Reason, media::peer::has_pictures};

const PLUGIN: &str = "janus.plugin.echotest";
/// Most events that are looked through for the answer.
const MOST_EVENTS: usize = 32;
/// A session without a request for a minute is dropped (`session_timeout`), and a call may be longer.
const KEEPALIVE: Duration = Duration::from_secs(25);
/// How long a sign of life may take.
const SIGN: Duration = Duration::from_secs(5);

/// Opens a session, and hands our offer to its echo test.
pub(super) async fn call(
    client: &Client,
    server: &Url,
    offer: String,
    kept: &Kept,
    deadline: Instant,
) -> Result<Reply, Refusal> {
    let created = ask(client, server, json!({"janus": "create"}), deadline).await?;
    let session = below(server, id(server, &created)?);
    kept.add(Session::Janus { url: session.clone() });
    let attached = ask(client, &session, json!({"janus": "attach", "plugin": PLUGIN}), deadline).await?;
    let handle = below(&session, id(server, &attached)?);
    let message = json!({
        "janus": "message",
        "body": {"audio": true, "video": has_pictures(&offer), "videocodec": "h264"},
        "jsep": {"type": "offer", "sdp": offer, "trickle": false},
    });
    ask(client, &handle, message, deadline).await?;
    for _ in 0..MOST_EVENTS {
        let event = poll(client, &session, deadline).await?;
        if let Some(sdp) = event.pointer("/jsep/sdp").and_then(Value::as_str) {
            return Ok(Reply::Answer { sdp: sdp.to_owned(), servers: Vec::new() });
        }
        if let Some(error) = event.pointer("/plugindata/data/error").and_then(Value::as_str) {
            return Err(refused(server, &format!("the echo test refused: {}", shown(error))).into());
        }
    }
    Err(refused(server, "no answer among the events of the session").into())
}

/// Keeps a session alive until dropped.
pub(super) async fn keep_alive(client: Arc<Client>, kept: Arc<Kept>) {
    loop {
        sleep(KEEPALIVE).await;
        for session in kept.all() {
            let Session::Janus { url } = session else { continue };
            if let Err(failure) = ask(&client, &url, json!({"janus": "keepalive"}), Instant::now() + SIGN).await {
                tracing::debug!(detail = failure.detail, "a session was not kept alive");
            }
        }
    }
}

/// Ends a session and all that hangs on it.
pub(super) async fn destroy(client: &Client, session: &Url, deadline: Instant) -> Result<(), Failure> {
    ask(client, session, json!({"janus": "destroy"}), deadline).await.map(|_| ())
}

/// One request with its reply, which is no error.
async fn ask(client: &Client, url: &Url, mut message: Value, deadline: Instant) -> Result<Value, Failure> {
    message["transaction"] = json!("bellwether");
    if let Some(token) = client.token() {
        message["token"] = json!(token.expose());
    }
    exchange(client, Method::POST, url, Bytes::from(message.to_string()), deadline).await
}

/// The next event of a session.
async fn poll(client: &Client, session: &Url, deadline: Instant) -> Result<Value, Failure> {
    let mut url = session.clone();
    url.query_pairs_mut().append_pair("maxev", "1");
    if let Some(token) = client.token() {
        url.query_pairs_mut().append_pair("token", token.expose());
    }
    exchange(client, Method::GET, &url, Bytes::new(), deadline).await
}

async fn exchange(client: &Client, method: Method, url: &Url, body: Bytes, at: Instant) -> Result<Value, Failure> {
    let name = method.clone();
    let request = Request { method, url, home: None, content_type: "application/json", if_match: None, body };
    let answer = client.send(&request, at).await?;
    if answer.status != StatusCode::OK {
        return Err(unexpected(name.as_str(), &answer, "200 OK"));
    }
    let text = answer.text(at).await?;
    let value: Value = serde_json::from_str(&text).map_err(|_| refused(url, "the answer is no JSON"))?;
    // With `maxev`, some versions wrap even a single event into a list.
    let value = match value {
        Value::Array(events) => events.into_iter().next().unwrap_or_default(),
        value => value,
    };
    match value.get("janus").and_then(Value::as_str) {
        Some("error") => {
            let code = value.pointer("/error/code").and_then(Value::as_i64).unwrap_or_default();
            let reason = value.pointer("/error/reason").and_then(Value::as_str).unwrap_or_default();
            Err(refused(url, &format!("error {code}: {}", shown(reason))))
        }
        Some(_) => Ok(value),
        None => Err(refused(url, "the answer is not of a Janus server")),
    }
}

fn id(server: &Url, reply: &Value) -> Result<u64, Failure> {
    let id = reply.pointer("/data/id").and_then(Value::as_u64);
    id.ok_or_else(|| refused(server, "the reply has no id"))
}

/// The address of what has an `id` at `url`.
fn below(url: &Url, id: u64) -> Url {
    let mut below = url.clone();
    if let Ok(mut segments) = below.path_segments_mut() {
        segments.pop_if_empty().push(&id.to_string());
    }
    below
}

fn refused(url: &Url, what: &str) -> Failure {
    Failure::new(Reason::Signalling, format!("{}: {what}", place(url)))
}

/// What a server says, fit for one line of a log.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}
