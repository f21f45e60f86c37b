#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

const HASH: &str = "$2y$05$3uLsJE1UWUn7NKcSJjqKAubPJ5YCRjxIGXlzMs.4gr9rOSqf/G/oq";

/// A folder with a certificate and its key, an authority, and a web config file that says `text`.
fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    for (name, text) in [
        ("web.crt", own.cert.pem()),
        ("web.key", own.signing_key.serialize_pem()),
        ("other.key", KeyPair::generate().unwrap().serialize_pem()),
        ("ca.crt", authority.pem()),
        ("empty", String::new()),
        ("damaged.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
        ("sealed.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned()),
        ("web.yml", text.to_owned()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let path = folder.path().join("web.yml");
    (folder, path)
}

fn tls(more: &str) -> String {
    format!("tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n{more}")
}

#[test]
fn a_good_file_is_taken_whole() {
    let more = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [a]\n";
    let (_folder, path) = folder(&format!("{}basic_auth_users:\n  alice: {HASH}\n", tls(more)));
    let access = Access::read(&path).unwrap();
    let config = access.tls.clone().unwrap();
    assert_eq!((config.alpn_protocols.len(), config.send_tls13_tickets), (1, 0));
    assert!(access.clients_named && access.users.len() == 1 && access.warnings.is_empty());
    assert_eq!(access.url(([127, 0, 0, 1], 9642).into()), "https://127.0.0.1:9642");
    assert_eq!(Access::default().url(([127, 0, 0, 1], 9642).into()), "http://127.0.0.1:9642");
    let inline = |name: &str| {
        let text = fs::read_to_string(path.with_file_name(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let text = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", inline("web.crt"), inline("web.key"));
    fs::write(&path, text).unwrap();
    let access = Access::read(&path).unwrap();
    assert!(access.tls.is_some() && !access.clients_named);
}

#[test]
fn files_that_are_of_no_use_are_all_mistakes_at_their_lines() {
    let client = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: empty\n";
    let text = tls(client).replace("web.crt", "nowhere.crt").replace("web.key", "web.crt");
    let (_folder, path) = folder(&format!("{text}basic_auth_users: {{alice: s3cret}}\n"));
    let found = Access::read(&path).unwrap_err();
    let place = path.display();
    let nowhere = path.with_file_name("nowhere.crt");
    let expected = [
        format!(
            "{place}:2: tls_server_config.cert_file: cannot read {}: No such file or directory (os error 2)",
            nowhere.display()
        ),
        format!(
            "{place}:3: tls_server_config.key_file: found nothing of the kind, expected an open -----BEGIN PRIVATE KEY-----"
        ),
        format!(
            "{place}:5: tls_server_config.client_ca_file: found no certificate, expected -----BEGIN CERTIFICATE-----"
        ),
    ];
    assert_eq!(found[..3], expected);
    assert!(found[3].contains("basic_auth_users.alice: found no hash") && found.len() == 4, "{found:#?}");
    assert!(!found.concat().contains("s3cret"));
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_refused() {
    for (from, to, line, found) in [
        ("web.key", "other.key", 2, "cert_file: found a certificate that does not go with its key"),
        ("web.key", "sealed.key", 3, "key_file: found a key that is encrypted"),
        ("web.crt", "damaged.crt", 2, "cert_file: found a damaged certificate at place 1"),
        ("web.crt", "web.key", 2, "cert_file: found no certificate"),
    ] {
        let (_folder, path) = folder(&tls("").replace(from, to));
        let mistakes = Access::read(&path).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{to}: {mistakes:#?}");
        assert!(mistakes[0].contains(&format!("web.yml:{line}: tls_server_config.{found}")), "{to}: {mistakes:#?}");
    }
}

#[test]
fn a_file_that_is_missing_or_too_large_or_no_text_is_a_mistake() {
    let (folder, path) = folder("");
    let (missing, long) = (folder.path().join("nowhere.yml"), "#".repeat(300 << 10));
    assert!(
        Access::read(&missing).unwrap_err()[0]
            .ends_with("nowhere.yml: cannot be read: No such file or directory (os error 2)")
    );
    for (bytes, found) in [(long.as_bytes(), "more than 262144 bytes"), (&[b'a', 0xff], "not UTF-8")] {
        fs::write(&path, bytes).unwrap();
        let mistakes = Access::read(&path).unwrap_err();
        assert!(mistakes[0].contains(found), "{mistakes:?}");
    }
}

#[test]
fn whether_anything_changed_is_told_by_all_files() {
    let (folder, path) = folder(&tls(""));
    let first = read(&path).digest;
    assert_eq!(read(&path).digest, first);
    fs::write(folder.path().join("web.key"), "broken").unwrap();
    let broken = read(&path);
    assert!(broken.digest != first && broken.access.is_err());
    fs::remove_file(folder.path().join("web.key")).unwrap();
    assert_ne!(read(&path).digest, broken.digest);
}

#[test]
fn what_everybody_on_the_box_can_read_is_said() {
    let (folder, path) = folder(&format!("{}basic_auth_users:\n  alice: {HASH}\n", tls("")));
    let open = |name: &str| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    };
    open("web.crt");
    assert_eq!(Access::read(&path).unwrap().warnings, [""; 0]);
    open("web.key");
    open("web.yml");
    let warnings = Access::read(&path).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("private key: chmod o-r /") && warnings[1].ends_with("web.yml"), "{warnings:?}");
    assert_eq!(Access::read(&path).unwrap().digest, Access::read(&path).unwrap().digest);
}

#[test]
fn what_others_can_reach_without_tls_and_password_is_said_with_its_remedy() {
    let (_folder, path) = folder(&format!("{}basic_auth_users:\n  alice: {HASH}\n", tls("")));
    let both = Access::read(&path).unwrap();
    let users = Access { tls: None, ..both.clone() };
    let encrypted = Access { users: BTreeMap::new(), ..both.clone() };
    let clients = Access { clients_named: true, ..encrypted.clone() };
    let said = |access: &Access, listen: &str| access.exposure(listen.parse().unwrap(), Some(Path::new("web.yml")));
    for local in ["127.0.0.1:9642", "[::1]:9642", "127.1.2.3:9642", "[::ffff:127.0.0.1]:9642"] {
        assert_eq!(said(&Access::default(), local), None);
    }
    let any = "0.0.0.0:9642";
    assert!(said(&Access::default(), any).unwrap().contains("ask for TLS and a password in web.yml"));
    assert!(said(&Access::default(), "[::]:9642").is_some());
    assert!(Access::default().exposure(any.parse().unwrap(), None).unwrap().contains("named by [web] config_file"));
    assert!(said(&users, any).unwrap().contains("passwords come to 0.0.0.0:9642 in plain HTTP"));
    assert!(said(&encrypted, any).unwrap().contains("add basic_auth_users, or client_auth_type, to web.yml"));
    assert_eq!((said(&both, any), said(&clients, any)), (None, None));

    assert_eq!(encrypted.gives_up(&both), Some("passwords"));
    assert_eq!(users.gives_up(&both), Some("TLS"));
    assert_eq!(both.gives_up(&clients), Some("certificates of clients"));
    assert_eq!(both.gives_up(&Access::default()), None);
    assert!(!format!("{both:?}").contains("$2y"));
}
