//! The HTTP client of signalling: every request on a connection of its own, under one deadline,
//! bounded in all it reads. A redirect (307, 308) is followed with its body; the token goes only to
//! the origin it is meant for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, IF_MATCH, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use url::{Position, Url};

use crate::{
    Failure, Reason,
    dial::{connect, failed, host_and_port, resolve, tls},
    secret::Secret,
};

/// Most bytes of a head.
const MOST_HEAD: usize = 64 << 10;
/// Most bytes of a body, unless another bound is named.
const MOST_BODY: usize = 256 << 10;
/// Most redirects that are followed.
const MOST_REDIRECTS: usize = 3;

/// How long the ways to the servers took, summed over all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    /// Resolving names.
    pub(crate) dns: Duration,
    /// Connecting.
    pub(crate) tcp: Duration,
    /// Handshakes.
    pub(crate) tls: Duration,
}

/// A client for one call.
#[derive(Debug)]
pub(crate) struct Client {
    ca_file: Option<PathBuf>,
    token: Option<Secret>,
    /// The network interface that connections go by.
    interface: Option<String>,
    /// Made when it is first needed: reading the trust store costs time and memory.
    tls: OnceCell<Arc<ClientConfig>>,
    timing: Mutex<Timing>,
}

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    /// A configured address; the token is sent to its origin and to no other. Without it no token
    /// is sent, and no redirect followed.
    pub(super) home: Option<&'a Url>,
    /// Of the body, and of the answer that is wanted.
    pub(super) content_type: &'static str,
    pub(super) if_match: Option<&'a HeaderValue>,
    pub(super) body: Bytes,
}

/// The head of an answer, with its body still to come.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The address that answered, after redirects.
    pub(super) url: Url,
    body: Incoming,
    /// Drives the connection.
    _tasks: JoinSet<hyper::Result<()>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What may be shown of an address: scheme, host and port. Path and query may hold a key.
pub(super) fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether a server is reached on this very machine.
pub(crate) fn on_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl Client {
    pub(crate) fn new(ca_file: Option<&Path>, token: Option<Secret>, interface: Option<&str>) -> Self {
        let (ca_file, interface) = (ca_file.map(Path::to_owned), interface.map(str::to_owned));
        Self { ca_file, token, interface, tls: OnceCell::new(), timing: Mutex::default() }
    }

    /// The network interface that connections go by; `None` where the routes decide.
    pub(super) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// The token, for servers that want it in their own way.
    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// TLS settings with the roots of the system and the configured ones.
    pub(crate) async fn tls(&self) -> Result<Arc<ClientConfig>, Failure> {
        let made = self.tls.get_or_try_init(|| async { Ok(tls(self.ca_file.as_deref()).await?.0) });
        made.await.map(Arc::clone)
    }

    /// How long ways took so far.
    pub(crate) fn timing(&self) -> Timing {
        *self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, and again where the server redirects it to.
    pub(super) async fn send(&self, request: &Request<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.once(&url, request, deadline).await;
            let answer = answer.map_err(|failure| {
                Failure::new(failure.reason, format!("{} {}: {}", request.method, place(&url), failure.detail))
            })?;
            let moved = matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if !moved || request.home.is_none() {
                return Ok(answer);
            }
            let refused = |why: &str| Failure::new(Reason::Signalling, format!("{}: redirected {why}", place(&url)));
            let next = answer.location().ok_or_else(|| refused("without a usable Location"))?;
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(refused("from https: to http:, which is not followed"));
            }
            url = next;
        }
        let detail = format!("{}: redirected more than {MOST_REDIRECTS} times", place(request.url));
        Err(Failure::new(Reason::Signalling, detail))
    }

    async fn once(&self, url: &Url, request: &Request<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let stream = self.dial(url, deadline).await?;
        let http = |error: hyper::Error| failed(Reason::Signalling, &error);
        let mut message = hyper::Request::builder()
            .method(&request.method)
            .uri(&url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(USER_AGENT, concat!("bellwether/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, request.content_type)
            .header(CONNECTION, "close");
        if !request.body.is_empty() {
            message = message.header(CONTENT_TYPE, request.content_type);
        }
        if let Some(tag) = request.if_match {
            message = message.header(IF_MATCH, tag);
        }
        let at_home = request.home.is_some_and(|home| home.origin() == url.origin());
        if let Some(token) = self.token.as_ref().filter(|_| at_home) {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| Failure::new(Reason::Source, "the token does not fit into a header"))?;
            value.set_sensitive(true);
            message = message.header(AUTHORIZATION, value);
        }
        let message =
            message.body(Full::new(request.body.clone())).map_err(|error| failed(Reason::Signalling, &error))?;
        let exchange = async {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(MOST_HEAD);
            let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
            let mut tasks = JoinSet::new();
            tasks.spawn(connection);
            let (head, body) = sender.send_request(message).await.map_err(http)?.into_parts();
            Ok(Answer { status: head.status, headers: head.headers, url: url.clone(), body, _tasks: tasks })
        };
        timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(late(Reason::Signalling, "no answer")))
    }

    /// A connection to the server of `url`, its phases timed.
    async fn dial(&self, url: &Url, deadline: Instant) -> Result<Box<dyn Stream>, Failure> {
        let (host, port) = host_and_port(url)?;
        let tls = if url.scheme() == "https" { Some(self.tls().await?) } else { None };
        let mut began = Instant::now();
        let mut lap = |which: fn(&mut Timing) -> &mut Duration| {
            let now = Instant::now();
            *which(&mut self.timing.lock().unwrap_or_else(PoisonError::into_inner)) += now - began;
            began = now;
        };
        let addresses = timeout_at(deadline, resolve(&host, port)).await;
        let addresses = addresses.unwrap_or_else(|_| Err(late(Reason::Resolve, "the name was not resolved")));
        lap(|timing| &mut timing.dns);
        let stream = connect(&addresses?, self.interface(), deadline).await;
        lap(|timing| &mut timing.tcp);
        let stream = stream?;
        let Some(tls) = tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(host).map_err(|error| failed(Reason::Tls, &error))?;
        let shaken = timeout_at(deadline, TlsConnector::from(tls).connect(name, stream)).await;
        lap(|timing| &mut timing.tls);
        let shaken = shaken.map_err(|_| late(Reason::Tls, "the handshake did not end"))?;
        Ok(Box::new(shaken.map_err(|error| failed(Reason::Tls, &error))?))
    }
}

fn late(reason: Reason, what: &str) -> Failure {
    Failure::new(reason, format!("{what} in time"))
}

impl Answer {
    /// `Location`, resolved against the address that answered.
    pub(super) fn location(&self) -> Option<Url> {
        let location = self.headers.get(LOCATION)?.to_str().ok()?;
        self.url.join(location).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
    }

    /// The whole body.
    pub(super) async fn text(self, deadline: Instant) -> Result<String, Failure> {
        self.body(deadline, MOST_BODY).await
    }

    /// The whole body, of at most `most` bytes.
    pub(super) async fn body(mut self, deadline: Instant, most: usize) -> Result<String, Failure> {
        let bad = |what: &str| Failure::new(Reason::Signalling, format!("{}: {what}", place(&self.url)));
        let read = async {
            let mut bytes = Vec::new();
            while let Some(frame) = self.body.frame().await {
                let frame = frame.map_err(|error| bad(&failed(Reason::Signalling, &error).detail))?;
                let Some(data) = frame.data_ref() else { continue };
                if bytes.len() + data.len() > most {
                    return Err(bad(&format!("the body of the answer is longer than {} KiB", most >> 10)));
                }
                bytes.extend_from_slice(data);
            }
            String::from_utf8(bytes).map_err(|_| bad("the body of the answer is no text"))
        };
        timeout_at(deadline, read).await.unwrap_or_else(|_| Err(bad("the answer did not end in time")))
    }
}
