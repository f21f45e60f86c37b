//! From `tls_server_config` to what makes TLS of a connection. The files that it names are read here.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{
    file::{Clients, Pem, Source, Tls},
    keys::Slip,
};

/// Reads the bytes of a text in PEM; the error says which file cannot be read, and why.
pub(super) type ReadPem<'a> = dyn FnMut(&Source) -> Result<Vec<u8>, String> + 'a;

/// What makes TLS of connections, if all that is needed for it is there; what is wrong with it is in `slips`.
pub(super) fn build(tls: &Tls, read: &mut ReadPem<'_>, slips: &mut Vec<Slip>) -> Option<Arc<ServerConfig>> {
    let own = tls.certificate.as_ref().and_then(|pem| certificates(pem, read, slips));
    let key = tls.key.as_ref().and_then(|pem| private_key(pem, read, slips));
    let provider = Arc::new(provider(tls));
    let verifier = match &tls.clients {
        None => Some(None),
        Some(clients) => verifier(clients, &provider, read, slips).map(Some),
    };
    let (own, key, verifier, certificate) = (own?, key?, verifier?, tls.certificate.as_ref()?);
    let builder = match ServerConfig::builder_with_provider(provider).with_protocol_versions(&tls.versions) {
        Ok(builder) => builder,
        Err(error) => {
            slips.push(Slip::new(None, "tls_server_config", format!("found what cannot be offered: {error}")));
            return None;
        }
    };
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    match builder.with_single_cert(own, key) {
        Ok(mut config) => {
            config.ignore_client_order = tls.own_order;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            // Scrapes keep their connection; one that is resumed would not show its certificate again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Some(Arc::new(config))
        }
        Err(error) => {
            let message = format!("found a certificate that does not go with its key ({error}), expected its own");
            slips.push(Slip::new(Some(certificate.line), path(certificate), message));
            None
        }
    }
}

fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(suites) = &tls.suites {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(suites);
    }
    if let Some(groups) = &tls.groups {
        provider.kx_groups.clone_from(groups);
    }
    provider
}

fn path(pem: &Pem) -> String {
    format!("tls_server_config.{}", pem.key)
}

/// The certificates of a text; at least one.
fn certificates(pem: &Pem, read: &mut ReadPem<'_>, slips: &mut Vec<Slip>) -> Option<Vec<CertificateDer<'static>>> {
    let mut wrong = |message: String| {
        slips.push(Slip::new(Some(pem.line), path(pem), message));
        None
    };
    let bytes = match read(&pem.source) {
        Ok(bytes) => bytes,
        Err(why) => return wrong(why),
    };
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match found.map_err(|error| reason(&error)).and_then(parsed) {
        Ok(certificates) => Some(certificates),
        Err(why) => wrong(format!("found {why}, expected -----BEGIN CERTIFICATE-----")),
    }
}

fn parsed(found: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>, String> {
    match found.iter().position(|certificate| parse_x509_certificate(certificate).is_err()) {
        Some(place) => Err(format!("a damaged certificate at place {}", place + 1)),
        None if found.is_empty() => Err("no certificate".to_owned()),
        None => Ok(found),
    }
}

fn private_key(pem: &Pem, read: &mut ReadPem<'_>, slips: &mut Vec<Slip>) -> Option<PrivateKeyDer<'static>> {
    let mut wrong = |message: String| {
        slips.push(Slip::new(Some(pem.line), path(pem), message));
        None
    };
    let bytes = match read(&pem.source) {
        Ok(bytes) => bytes,
        Err(why) => return wrong(why),
    };
    let key = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => key,
        Err(error) => {
            let sealed = String::from_utf8_lossy(&bytes).contains("ENCRYPTED");
            let why = if sealed { "a key that is encrypted".to_owned() } else { reason(&error) };
            return wrong(format!("found {why}, expected an open -----BEGIN PRIVATE KEY-----"));
        }
    };
    match ring::sign::any_supported_type(&key) {
        Ok(_) => Some(key),
        Err(_) => wrong("found a key of another kind, expected RSA, ECDSA on P-256 or P-384, or Ed25519".to_owned()),
    }
}

/// What is wrong with a text in PEM, without anything of it.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing of the kind",
        pem::Error::MissingSectionEnd { .. } => "a text that ends too early",
        _ => "a damaged text",
    }
    .to_owned()
}

fn verifier(
    clients: &Clients,
    provider: &Arc<CryptoProvider>,
    read: &mut ReadPem<'_>,
    slips: &mut Vec<Slip>,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let authority = clients.authority.as_ref()?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority, read, slips)? {
        if let Err(error) = roots.add(certificate) {
            let message = format!("found a certificate that nobody can be checked by ({error}), expected another");
            slips.push(Slip::new(Some(authority.line), path(authority), message));
            return None;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    match (builder.build(), &clients.names) {
        (Ok(checked), None) => Some(checked),
        (Ok(checked), Some(names)) => Some(Arc::new(Named { checked, names: names.clone() })),
        (Err(error), _) => {
            let message = format!("found certificates that nobody can be checked by ({error}), expected others");
            slips.push(Slip::new(Some(authority.line), path(authority), message));
            None
        }
    }
}

/// Takes a certificate that is good and has one of some names (`client_allowed_sans`).
struct Named {
    checked: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Named {
    fn client_auth_mandatory(&self) -> bool {
        self.checked.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.checked.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.checked.verify_client_cert(own, between, now)?;
        if names(own).iter().any(|name| self.names.contains(name)) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(rustls::CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.checked.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.checked.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.checked.supported_verify_schemes()
    }
}

/// The alternative names of a certificate: of hosts, mail, addresses and URIs.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests;
