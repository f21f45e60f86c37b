//! From a name to a connection: addresses, TCP, and TLS with the roots of the system.

use std::{
    error::Error,
    io::{self, Read},
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use url::{Host, Url};

use crate::{Failure, Reason};

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 6;
/// Most bytes of a file of certificates.
const MAX_CA_FILE: u64 = 1024 * 1024;

/// Host and port of a web address, the host as a resolver and a certificate know it.
pub(crate) fn host_and_port(url: &Url) -> Result<(String, u16), Failure> {
    let unusable = || Failure::new(Reason::Source, "the address has no host or port");
    let port = url.port_or_known_default().ok_or_else(unusable)?;
    let host = match url.host().ok_or_else(unusable)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    Ok((host, port))
}

/// A failure with an error and what caused it, in one line.
pub(crate) fn failed(reason: Reason, error: &dyn Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::new(reason, text)
}

/// The addresses of a name.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| failed(Reason::Resolve, &error))?;
    let addresses: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(Failure::new(Reason::Resolve, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to the first address that answers, by the network interface of that name alone if one is
/// given. Each gets an equal part of the time that is left, and one part is kept for what follows.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    interface: Option<&str>,
    end: Instant,
) -> Result<TcpStream, Failure> {
    let mut failures = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let parts = u32::try_from(addresses.len() - index + 1).unwrap_or(u32::MAX);
        let part: Duration = end.saturating_duration_since(Instant::now()) / parts;
        match timeout(part, open(*address, interface)).await {
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

async fn open(address: SocketAddr, interface: Option<&str>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.connect(address).await
}

/// TLS settings made anew for each run: the trust store as it is now, and nothing to resume.
pub(crate) async fn tls(ca_file: Option<&Path>) -> Result<(Arc<ClientConfig>, Arc<Noting>), Failure> {
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
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
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
pub(crate) struct Noting {
    inner: rustls_platform_verifier::Verifier,
    leaf: Mutex<Option<Vec<u8>>>,
}

impl Noting {
    /// The certificate that came last, in DER.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
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
        let stream = connect(&[unused, good], None, end).await.expect("the second one listens");
        assert_eq!(stream.peer_addr().expect("is connected"), good);
        let failure = connect(&[unused, unused], None, end).await.expect_err("nobody listens");
        assert_eq!(failure.detail.matches(&unused.to_string()).count(), 2, "{failure:?}");
    }

    #[tokio::test]
    async fn a_connection_keeps_to_its_interface() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.expect("loopback");
            let there = [listener.local_addr().expect("is bound")];
            let end = Instant::now() + Duration::from_secs(30);
            connect(&there, Some("lo"), end).await.expect("it is there");
            let failure = connect(&there, Some("no-such-card"), end).await.expect_err("there is no such interface");
            assert!(failure.detail.contains("No such device"), "{failure:?}");
        }
    }
}
