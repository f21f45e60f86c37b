#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::{ClientConfig, ProtocolVersion, pki_types::ServerName, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::web::file::parse;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key, in PEM.
fn signed(by: &Issuer, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = names;
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

fn host(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn client(by: &Issuer, names: Vec<SanType>) -> (String, String) {
    signed(by, names, ExtendedKeyUsagePurpose::ClientAuth)
}

/// What `tls_server_config` with a certificate by `by` and these other keys makes.
fn server(by: &Issuer, more: &str) -> Arc<ServerConfig> {
    let (certificate, key) = signed(by, vec![host("localhost")], ExtendedKeyUsagePurpose::ServerAuth);
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let pem = format!("  cert: |\n{}  key: |\n{}", indented(&certificate), indented(&key));
    let text = format!("tls_server_config:\n{pem}  client_ca: |\n{}{more}", indented(&by.pem()));
    let text = if more.contains("client_auth_type") { text } else { format!("tls_server_config:\n{pem}{more}") };
    let (file, mut slips) = parse(&text, Path::new(""));
    let mut read = |source: &Source| match source {
        Source::Inline(text) => Ok(text.clone().into_bytes()),
        Source::File(_) => Err("no file".to_owned()),
    };
    let config = build(&file.tls.unwrap(), &mut read, &mut slips);
    assert_eq!(slips, []);
    config.unwrap()
}

/// Version and suite of a handshake, if the server takes the client.
async fn handshake(
    server: &Arc<ServerConfig>,
    trusted: &Issuer,
    shown: Option<&(String, String)>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Option<(ProtocolVersion, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    let (near, far) = tokio::io::duplex(64 << 10);
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let (_client, accepted) =
        tokio::join!(connector.connect(name, near), TlsAcceptor::from(Arc::clone(server)).accept(far));
    let accepted = accepted.ok()?;
    let (_, connection) = accepted.get_ref();
    let suite = format!("{:?}", connection.negotiated_cipher_suite()?.suite());
    Some((connection.protocol_version()?, suite))
}

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

#[tokio::test]
async fn only_clients_of_the_authority_with_one_of_the_names_are_taken() {
    let (school, other) = (authority(), authority());
    let required = "  client_auth_type: RequireAndVerifyClientCert\n";
    let named = format!("{required}  client_allowed_sans: [scraper.example, 10.0.0.7, 'urn:scraper', it@x.example]\n");
    let optional = "  client_auth_type: VerifyClientCertIfGiven\n";
    let ours = client(&school, vec![host("another.example")]);
    let theirs = client(&other, vec![host("scraper.example")]);
    let as_server = signed(&school, vec![host("scraper.example")], ExtendedKeyUsagePurpose::ServerAuth);
    let by_name = client(&school, vec![host("x"), host("scraper.example")]);
    let by_address = client(&school, vec![SanType::IpAddress([10, 0, 0, 7].into())]);
    let by_uri = client(&school, vec![SanType::URI("urn:scraper".try_into().unwrap())]);
    let by_mail = client(&school, vec![SanType::Rfc822Name("it@x.example".try_into().unwrap())]);
    for versions in [&BOTH[..1], &BOTH[1..]] {
        for (more, shown, taken) in [
            (required, None, false),
            (required, Some(&ours), true),
            (required, Some(&theirs), false),
            (required, Some(&as_server), false),
            (optional, None, true),
            (optional, Some(&ours), true),
            (optional, Some(&theirs), false),
            (&*named, None, false),
            (&*named, Some(&ours), false),
            (&*named, Some(&theirs), false),
            (&*named, Some(&by_name), true),
            (&*named, Some(&by_address), true),
            (&*named, Some(&by_uri), true),
            (&*named, Some(&by_mail), true),
            ("", None, true),
        ] {
            let done = handshake(&server(&school, more), &school, shown, versions).await;
            assert_eq!(done.is_some(), taken, "{more} {versions:?}");
        }
    }
}

#[tokio::test]
async fn what_is_offered_is_what_the_file_says() {
    let school = authority();
    let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let order = format!("  cipher_suites: [{chacha}, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n");
    let client_order = format!("{order}  prefer_server_cipher_suites: false\n");
    for (more, versions, expected) in [
        ("", BOTH, Some((ProtocolVersion::TLSv1_3, "TLS13_AES_256_GCM_SHA384"))),
        ("  max_version: TLS12\n", BOTH, Some((ProtocolVersion::TLSv1_2, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"))),
        ("  min_version: TLS13\n", &BOTH[..1], None),
        ("  max_version: TLS12\n", &BOTH[1..], None),
        (&*order, &BOTH[..1], Some((ProtocolVersion::TLSv1_2, chacha))),
        (&*client_order, &BOTH[..1], Some((ProtocolVersion::TLSv1_2, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"))),
        (&*order, &BOTH[1..], Some((ProtocolVersion::TLSv1_3, "TLS13_AES_256_GCM_SHA384"))),
        ("  curve_preferences: [CurveP384]\n", BOTH, Some((ProtocolVersion::TLSv1_3, "TLS13_AES_256_GCM_SHA384"))),
    ] {
        let done = handshake(&server(&school, more), &school, None, versions).await;
        let done = done.as_ref().map(|(version, suite)| (*version, &**suite));
        assert_eq!(done, expected, "{more} {versions:?}");
    }
}
