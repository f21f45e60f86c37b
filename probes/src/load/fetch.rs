//! The shell: one request on a fresh connection, bounded in all that it reads.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use super::Config;
use crate::{
    Failure, Reason,
    dial::{connect, failed, host_and_port, resolve, tls},
};

/// Most bytes of a head.
const MAX_HEAD: usize = 64 * 1024;
/// Most bytes of a body.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// What the server answers to a GET, or to a POST of `body`. A redirect is followed within the same server only:
/// another one has no business with the secret in the body, nor with the reader of the config.
pub(super) async fn fetch(
    config: &Config,
    accept: &'static str,
    body: Option<String>,
    end: Instant,
) -> Result<String, Failure> {
    let mut url = Url::parse(&config.url).map_err(|error| failed(Reason::Source, &error))?;
    let body = body.map(Bytes::from);
    for _ in 0..=MAX_REDIRECTS {
        match once(config, &url, accept, body.clone(), end).await? {
            Answer::Body(text) => return Ok(text),
            Answer::Elsewhere(next) if next.origin() == url.origin() => url = next,
            Answer::Elsewhere(_) => {
                return Err(Failure::new(Reason::Source, "redirected to another server, which is not followed"));
            }
        }
    }
    Err(Failure::new(Reason::Source, format!("redirected more than {MAX_REDIRECTS} times")))
}

enum Answer {
    Body(String),
    Elsewhere(Url),
}

async fn once(
    config: &Config,
    url: &Url,
    accept: &'static str,
    body: Option<Bytes>,
    end: Instant,
) -> Result<Answer, Failure> {
    let (host, port) = host_and_port(url)?;
    let tls = if url.scheme() == "https" { Some(tls(config.ca_file.as_deref()).await?.0) } else { None };
    let stream = connect(&resolve(&host, port).await?, None, end).await?;
    let Some(tls) = tls else { return exchange(stream, url, accept, body).await };
    let name = ServerName::try_from(host).map_err(|error| failed(Reason::Tls, &error))?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| failed(Reason::Tls, &error))?;
    exchange(stream, url, accept, body).await
}

/// Sends the request and reads the answer.
async fn exchange<S>(stream: S, url: &Url, accept: &'static str, body: Option<Bytes>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error: hyper::Error| failed(Reason::Http, &error);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
    // The connection is driven by a task of its own, which ends with this set.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let mut request = Request::builder()
        .uri(target)
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, accept)
        .header(CONNECTION, "close");
    if body.is_some() {
        request = request.method(hyper::Method::POST).header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(body.unwrap_or_default())).map_err(|error| failed(Reason::Http, &error))?;
    let response = sender.send_request(request).await.map_err(http)?;
    match response.status() {
        StatusCode::OK => bounded(response.into_body()).await.map(Answer::Body),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let unusable = || Failure::new(Reason::Source, "redirected without a usable Location");
            next.map(Answer::Elsewhere).ok_or_else(unusable)
        }
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(Failure::new(Reason::NotPermitted, format!("found status {status}, expected 200 OK")))
        }
        status => Err(Failure::new(Reason::Source, format!("found status {status}, expected 200 OK"))),
    }
}

async fn bounded(mut body: Incoming) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(Reason::Http, &error))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(Failure::new(Reason::TooLarge, format!("the answer has more than {MAX_BODY} bytes")));
        }
        bytes.extend_from_slice(data);
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(Reason::Parse, "the answer is no UTF-8"))
}
