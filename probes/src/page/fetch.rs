//! The shell: one GET on one fresh connection, timed by phase.

use std::{
    error::Error,
    io::Read,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{Config, Observation};
use crate::{Failure, Reason};

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 6;

/// Most bytes of a head, and of a file of certificates.
const MAX_HEAD: usize = 64 * 1024;
const MAX_CA_FILE: u64 = 1024 * 1024;

/// Time since the last lap.
struct Laps(Instant);

impl Laps {
    fn lap(&mut self, phase: &'static str, seen: &mut Observation) {
        let now = Instant::now();
        seen.phases.push((phase, now.duration_since(self.0).as_secs_f64()));
        self.0 = now;
    }
}

/// Fetches the page, and notes in `seen` whatever was reached, also when it then fails.
pub(super) async fn fetch(config: &Config, end: Instant, seen: &mut Observation) -> Result<(), Failure> {
    let url = Url::parse(&config.url).map_err(|error| failed(Reason::Source, &error))?;
    let unusable = || Failure::new(Reason::Source, "the address has no host or port");
    let port = url.port_or_known_default().ok_or_else(unusable)?;
    let host = match url.host().ok_or_else(unusable)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    // The trust store is read before the clock starts: it is our cost, not the page's.
    let tls = if url.scheme() == "https" { Some(tls(config.ca_file.as_deref()).await?) } else { None };

    let start = Instant::now();
    let mut laps = Laps(start);
    let addresses = resolve(&host, port).await?;
    laps.lap("resolve", seen);
    let stream = connect(&addresses, end).await?;
    laps.lap("connect", seen);
    if let Some((tls, leaf)) = tls {
        let name = ServerName::try_from(host).map_err(|error| failed(Reason::Tls, &error))?;
        let shaken = TlsConnector::from(tls).connect(name, stream).await;
        seen.certificate = leaf.take();
        let stream = shaken.map_err(|error| failed(Reason::Tls, &error))?;
        laps.lap("tls", seen);
        exchange(stream, &url, config, &mut laps, seen).await?;
    } else {
        exchange(stream, &url, config, &mut laps, seen).await?;
    }
    seen.response = Some(laps.0.duration_since(start).as_secs_f64());
    Ok(())
}

/// A failure with an error and what caused it, in one line.
fn failed(reason: Reason, error: &dyn Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::new(reason, text)
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| failed(Reason::Resolve, &error))?;
    let addresses: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(Failure::new(Reason::Resolve, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to the first address that answers. Each gets an equal part of the time that is left,
/// and one part is kept for what follows.
async fn connect(addresses: &[SocketAddr], end: Instant) -> Result<TcpStream, Failure> {
    let mut failures = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let parts = u32::try_from(addresses.len() - index + 1).unwrap_or(u32::MAX);
        let part: Duration = end.saturating_duration_since(Instant::now()) / parts;
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it the request waits for an acknowledgement; refused only by a dead socket.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer")),
        }
    }
    Err(Failure::new(Reason::Connect, failures.join("; ")))
}

/// Sends the request and reads the answer.
async fn exchange<S>(
    stream: S,
    url: &Url,
    config: &Config,
    laps: &mut Laps,
    seen: &mut Observation,
) -> Result<(), Failure>
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
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::get(target)
        .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(USER_AGENT, concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(Reason::Http, &error))?;
    let response = sender.send_request(request).await.map_err(http)?;
    laps.lap("first_byte", seen);
    seen.status = Some(response.status().as_u16());
    let body = bounded(response.into_body(), config.max_bytes).await?;
    laps.lap("whole", seen);
    seen.text_found = Some(config.expect_text.as_deref().is_none_or(|text| contains(&body, text.as_bytes())));
    Ok(())
}

async fn bounded(mut body: Incoming, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(Reason::Http, &error))?;
        let Some(data) = frame.data_ref() else { continue };
        if (bytes.len() + data.len()) as u64 > most {
            return Err(Failure::new(Reason::TooLarge, format!("the body has more than {most} bytes")));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// TLS settings made anew for each run: the trust store as it is now, and nothing to resume.
async fn tls(ca_file: Option<&Path>) -> Result<(Arc<ClientConfig>, Arc<Noting>), Failure> {
    let ca_file = ca_file.map(Path::to_owned);
    let made = tokio::task::spawn_blocking(move || {
        let extra = ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = |error: rustls::Error| failed(Reason::Tls, &error);
        let inner = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, Arc::clone(&provider));
        let noting = Arc::new(Noting { inner: inner.map_err(tls)?, leaf: Mutex::default() });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let verifier = Arc::clone(&noting);
        let mut config = builder
            .map_err(tls)?
            // Not dangerous here: the verifier asks the platform's and adds nothing.
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), noting))
    });
    made.await.map_err(|error| failed(Reason::Source, &error))?
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let named = |error: &dyn Error| Failure::new(Reason::Source, format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| named(&error))?;
    let mut text = Vec::new();
    file.take(MAX_CA_FILE).read_to_end(&mut text).map_err(|error| named(&error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found.map_err(|error| named(&error))? {
        none if none.is_empty() => {
            Err(Failure::new(Reason::Source, format!("{}: found no certificate, expected PEM", path.display())))
        }
        found => Ok(found),
    }
}

/// The platform's verifier, which also keeps the server's certificate: its end is worth knowing
/// above all when it was refused for having passed.
#[derive(Debug)]
struct Noting {
    inner: rustls_platform_verifier::Verifier,
    leaf: Mutex<Option<Vec<u8>>>,
}

impl Noting {
    fn take(&self) -> Option<Vec<u8>> {
        self.leaf.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.leaf.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaf.to_vec());
        self.inner.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_refuses_leads_to_the_next() {
        let unused = TcpListener::bind("127.0.0.1:0").await.expect("loopback").local_addr().expect("is bound");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let good = listener.local_addr().expect("is bound");
        let end = Instant::now() + Duration::from_secs(30);
        let stream = connect(&[unused, good], end).await.expect("the second one listens");
        assert_eq!(stream.peer_addr().expect("is connected"), good);
        let failure = connect(&[unused, unused], end).await.expect_err("nobody listens");
        assert_eq!(failure.detail.matches(&unused.to_string()).count(), 2, "{failure:?}");
    }

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        for (body, text, expected) in [("abc", "abc", true), ("abc", "c", true), ("ab", "abc", false), ("", "a", false)]
        {
            assert_eq!(contains(body.as_bytes(), text.as_bytes()), expected, "{body} {text}");
        }
    }
}
