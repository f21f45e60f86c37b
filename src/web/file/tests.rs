#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const HASH: &str = "$2y$05$3uLsJE1UWUn7NKcSJjqKAubPJ5YCRjxIGXlzMs.4gr9rOSqf/G/oq";

fn mistakes(text: &str) -> Vec<String> {
    let (_, mut slips) = parse(text, Path::new("/etc/x"));
    slips.sort();
    slips.iter().map(Slip::to_string).collect()
}

#[test]
fn a_whole_file_of_the_exporters_is_understood() {
    let text = format!(
        "# as the exporters have it
tls_server_config:
  cert_file: web.crt
  key_file: /srv/web.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.school.example, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: no
  curve_preferences: [CurveP256, X25519]
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: {HASH}
  '42': \"{HASH}\"
rate_limit: {{interval: 1m30s, burst: 5}}
"
    );
    let (file, slips) = parse(&text, Path::new("/etc/x"));
    assert_eq!(slips, []);
    let tls = file.tls.unwrap();
    let file_of = |pem: &Pem| match &pem.source {
        Source::File(path) => (path.to_string_lossy().into_owned(), pem.line),
        Source::Inline(_) => (String::new(), pem.line),
    };
    assert_eq!(file_of(tls.certificate.as_ref().unwrap()), ("/etc/x/web.crt".to_owned(), 3));
    assert_eq!(file_of(tls.key.as_ref().unwrap()), ("/srv/web.key".to_owned(), 4));
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!((clients.required, clients.names.as_ref().unwrap().len()), (true, 2));
    assert_eq!(file_of(clients.authority.as_ref().unwrap()).0, "/etc/x/ca.crt");
    assert_eq!(tls.versions.len(), 2);
    assert_eq!(tls.suites.as_ref().unwrap().len(), 1, "suites of TLS 1.3 are always all");
    let groups: Vec<_> = tls.groups.as_ref().unwrap().iter().map(|group| format!("{:?}", group.name())).collect();
    assert_eq!(groups, ["secp256r1", "X25519"]);
    assert!(!tls.own_order);
    assert_eq!(file.users.keys().collect::<Vec<_>>(), ["42", "alice"]);
    assert_eq!(file.headers.len(), 2);
    assert_eq!(file.rate, Some(Rate { interval: Duration::from_secs(90), burst: 5 }));
    let shown = format!("{tls:?}{:?}", file.users);
    assert!(!shown.contains("$2y$"), "{shown}");
}

#[test]
fn what_says_nothing_is_as_if_it_were_not_there() {
    let empty =
        "tls_server_config:\nhttp_server_config:\n  headers:\n  http2: off\nbasic_auth_users: {}\nrate_limit:\n";
    for text in ["", "# nothing\n", empty, "tls_server_config: {}\n", "rate_limit: {interval: 0, burst: 20}\n"] {
        let (file, slips) = parse(text, Path::new(""));
        assert_eq!(slips, [], "{text:?}");
        assert!(file.tls.is_none() && file.users.is_empty() && file.headers.is_empty() && file.rate.is_none());
    }
    let text = "tls_server_config: {cert: A, key: B, cert_file: '', client_ca: ~, cipher_suites: []}\n";
    let (file, slips) = parse(text, Path::new(""));
    assert_eq!(slips, []);
    let tls = file.tls.unwrap();
    assert!(matches!(tls.certificate.unwrap().source, Source::Inline(text) if text == "A"));
    assert!(tls.clients.is_none() && tls.suites.is_none() && tls.groups.is_none() && tls.own_order);
}

#[test]
fn all_mistakes_are_found_at_once_each_with_line_key_what_was_found_and_expected() {
    let text = format!(
        "tls_server_config:
  cert_file: web.crt
  cert: inline
  key_fiel: web.key
  client_auth_type: RequireAnyClientCert
  client_allowed_sans: prometheus
  min_version: TLS10
  max_version: [TLS13]
  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]
  prefer_server_cipher_suites: 'true'
  curve_preferences: [CurveP521]
http_server_config:
  http2: maybe
  headers:
    X-Frame-Options: allow
    Server: bellwether
basic_auth_users:
  alice: s3cret
  bob: {HASH}x
  alice: {HASH}
  a:b: {HASH}
rate_limit:
  interval: 1 s
  burst: -1
web: 1
"
    );
    let found = mistakes(&text);
    let expected = [
        "1: tls_server_config: found no key_file, expected its private key in PEM",
        "3: tls_server_config.cert: found beside cert_file, expected one of the two",
        "4: tls_server_config.key_fiel: found an unknown key, expected one of cert, key, client_ca, cert_file, key_file, \
         client_auth_type, client_ca_file, client_allowed_sans, min_version, max_version, cipher_suites, \
         prefer_server_cipher_suites, curve_preferences",
        "5: tls_server_config.client_auth_type: found \"RequireAnyClientCert\", which takes any certificate and protects \
         nothing; expected NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert",
        "6: tls_server_config.client_allowed_sans: found a single value, expected a list",
        "7: tls_server_config.min_version: found \"TLS10\" (it is broken, and not offered), expected TLS12 or TLS13",
        "8: tls_server_config.max_version: found a list, expected a single value",
        "9: tls_server_config.cipher_suites[0]: found \"TLS_RSA_WITH_AES_128_CBC_SHA\", expected one of \
         TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, \
         TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, \
         TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
         TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "10: tls_server_config.prefer_server_cipher_suites: found \"true\", expected true or false",
        "11: tls_server_config.curve_preferences[0]: found \"CurveP521\", expected one of X25519, CurveP256, CurveP384",
        "13: http_server_config.http2: found \"maybe\", expected true or false",
        "15: http_server_config.headers.X-Frame-Options: found \"allow\", expected deny or sameorigin",
        "16: http_server_config.headers.Server: found an unknown key, expected one of Content-Security-Policy, \
         X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security",
        "18: basic_auth_users.alice: found no hash, maybe the password itself, expected a bcrypt hash, such as $2y$10$…; \
         `htpasswd -nBC 10 USER` makes one",
        "19: basic_auth_users.bob: found a damaged hash, expected a bcrypt hash, such as $2y$10$… with 60 characters; \
         `htpasswd -nBC 10 USER` makes one",
        "20: basic_auth_users.alice: found a second time, expected once: it stands on line 18 already",
        "21: basic_auth_users.a:b: found another name, expected up to 255 bytes without colon",
        "23: rate_limit.interval: found \"1 s\", expected a time such as 1s or 100ms, or 0 for no limit",
        "24: rate_limit.burst: found \"-1\", expected how many requests may come at once, at least 1",
        "25: web: found an unknown key, expected one of tls_server_config, http_server_config, basic_auth_users, \
         rate_limit",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn keys_that_do_not_go_together_are_mistakes() {
    let tls = |more: &str| mistakes(&format!("tls_server_config: {{cert: A, key: B, {more}}}\n"));
    for (more, found) in [
        ("client_ca_file: x", "client_ca_file: found without client_auth_type"),
        ("client_auth_type: RequireAndVerifyClientCert", "client_auth_type: found no client_ca_file"),
        (
            "client_auth_type: VerifyClientCertIfGiven, client_ca: C, client_allowed_sans: [x]",
            "client_allowed_sans: found without client_auth_type: RequireAndVerifyClientCert",
        ),
        (
            "client_auth_type: RequireAndVerifyClientCert, client_ca: C, client_allowed_sans: []",
            "client_allowed_sans: found no name",
        ),
        ("min_version: TLS13, max_version: TLS12", "min_version: found TLS13, above max_version"),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", "cipher_suites: found no suite of TLS 1.2"),
    ] {
        let mistakes = tls(more);
        assert_eq!(mistakes.len(), 1, "{more}: {mistakes:#?}");
        assert!(mistakes[0].starts_with(&format!("1: tls_server_config.{found}")), "{more}: {mistakes:#?}");
    }
    assert_eq!(tls("cipher_suites: [TLS_AES_128_GCM_SHA256], min_version: TLS13"), [""; 0]);
    let both = mistakes("tls_server_config: {min_version: TLS13}\n");
    assert_eq!(both.len(), 2, "neither certificate nor key: {both:#?}");
    assert!(mistakes("rate_limit: {interval: 1s}\n")[0].contains("rate_limit.burst: found \"0\""));
    assert!(mistakes("- a\n")[0].contains("found a list, expected keys with values"));
}

#[test]
fn times_are_those_of_go() {
    for (text, expected) in [
        ("1s", Some(1_000_000_000)),
        ("1.5s", Some(1_500_000_000)),
        ("1h2m3s4ms5us6ns", Some(3_723_004_005_006)),
        ("2µs", Some(2000)),
        ("0", Some(0)),
        ("250", Some(250)),
        ("", None),
        ("s", None),
        ("1", Some(1)),
        ("1x", None),
        ("1s2", None),
        ("-1s", None),
        ("1..5s", None),
        ("9999999999999999999999h", None),
    ] {
        assert_eq!(duration(text).map(|found| found.as_nanos()), expected, "{text:?}");
    }
}

#[test]
fn what_is_no_yaml_is_one_mistake_at_its_line() {
    let found = mistakes("tls_server_config:\n  cert_file: 'web.crt\nbasic_auth_users:\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("found no YAML"), "{found:#?}");
}
