//! Where versions stand, and what of the text is the version.

use std::{collections::BTreeMap, time::Duration};

use regex_lite::Regex;
use tokio::fs::OpenOptions;

use super::{
    ComponentConfig,
    child::{self, bounded, refused},
    within,
};
use crate::{Failure, Reason};

/// Longest version that is believed, in characters.
const MAX_VERSION: usize = 128;

/// Most bytes that are read of an answer to a URL.
const MAX_BODY: usize = 256 * 1024;

/// Reads the version of a configured component.
pub(super) async fn version(
    component: &ComponentConfig,
    client: &mut Option<reqwest::Client>,
    deadline: Duration,
) -> Result<String, Failure> {
    let pattern = component.pattern.as_deref();
    let arguments = |list: &[&str]| list.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
    if let Some(package) = &component.deb {
        let query = arguments(&["-W", "-f=${db:Status-Status} ${Version}\n", package]);
        let text = utf8(child::output("dpkg-query", &query, deadline).await?)?;
        return debian(&text);
    }
    if let Some(package) = &component.rpm {
        let query = arguments(&["-q", "--qf", "%{EVR}\n", package]);
        let text = utf8(child::output("rpm", &query, deadline).await?)?;
        // Of several installed ones, such as kernels, the last is the newest.
        return plausible(text.trim_end().lines().last().unwrap_or_default());
    }
    if let Some([program, arguments @ ..]) = component.command.as_deref() {
        return extract(&utf8(child::output(program, arguments, deadline).await?)?, pattern);
    }
    if let Some(path) = &component.file {
        return extract(&within(deadline, file(path)).await?, pattern);
    }
    if let (Some(url), Some(pointer)) = (&component.url, &component.pointer) {
        let client = match client {
            Some(client) => client,
            none => none.insert(make_client()?),
        };
        return pointed(&within(deadline, fetch(client, url)).await?, pointer);
    }
    Err(Failure::new(Reason::Source, "no source is configured"))
}

/// The operating system as it names itself (os-release(5)).
pub(super) async fn operating_system() -> Result<String, Failure> {
    let text = match file("/etc/os-release").await {
        Ok(text) => text,
        Err(_) => file("/usr/lib/os-release").await?,
    };
    os_release(&text)
}

/// Release of the running kernel.
pub(super) fn kernel() -> Result<String, Failure> {
    let release = sysinfo::System::kernel_version();
    plausible(&release.map_err(|error| Failure::new(Reason::Source, format!("uname: {error}")))?)
}

async fn file(path: &str) -> Result<String, Failure> {
    // Opening a pipe would wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).await;
    let file = file.map_err(|error| refused(path, &error))?;
    if !file.metadata().await.map_err(|error| refused(path, &error))?.is_file() {
        return Err(Failure::new(Reason::Source, format!("{path}: no regular file")));
    }
    utf8(bounded(file).await?)
}

fn make_client() -> Result<reqwest::Client, Failure> {
    // Refused when it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let same_host = reqwest::redirect::Policy::custom(|attempt| {
        let origin = attempt.previous().first().map(|url| (url.scheme(), url.host_str(), url.port_or_known_default()));
        let target = (attempt.url().scheme(), attempt.url().host_str(), attempt.url().port_or_known_default());
        if origin == Some(target) && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    });
    let client = reqwest::Client::builder()
        .redirect(same_host)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|error| Failure::new(Reason::Source, format!("HTTP client: {error}")))
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, Failure> {
    let failure = |error: reqwest::Error| {
        let reason = if error.is_connect() { Reason::Connect } else { Reason::Http };
        // Without the address: its query may hold a secret.
        Failure::new(reason, error.without_url().to_string())
    };
    let mut response = client.get(url).send().await.map_err(failure)?;
    if !response.status().is_success() {
        return Err(Failure::new(Reason::Source, format!("found status {}", response.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(Failure::new(Reason::TooLarge, format!("more than {MAX_BODY} bytes came")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn utf8(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| Failure::new(Reason::Parse, "found bytes that are no UTF-8"))
}

/// A text that can be a version, without the blanks around it.
fn plausible(text: &str) -> Result<String, Failure> {
    let text = text.trim();
    let problem = match text.chars().count() {
        0 => "found no text",
        count if count > MAX_VERSION => "found more than 128 characters",
        _ if text.chars().any(char::is_control) => "found control characters",
        _ => return Ok(text.to_owned()),
    };
    Err(Failure::new(Reason::Parse, format!("{problem}, expected a version")))
}

/// The first group of `pattern`, or all that it matches; without one the first line with text.
fn extract(text: &str, pattern: Option<&str>) -> Result<String, Failure> {
    let Some(pattern) = pattern else {
        return plausible(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default());
    };
    let pattern = Regex::new(pattern).map_err(|error| Failure::new(Reason::Parse, format!("pattern: {error}")))?;
    let found = pattern.captures(text).and_then(|groups| groups.get(1).or(groups.get(0)));
    plausible(found.ok_or_else(|| Failure::new(Reason::Parse, "the pattern matches nothing"))?.as_str())
}

/// The version of the first installed line of `STATUS VERSION`; a package that was removed keeps
/// its version while its settings stay.
fn debian(text: &str) -> Result<String, Failure> {
    let version = text.lines().find_map(|line| line.strip_prefix("installed "));
    plausible(version.ok_or_else(|| Failure::new(Reason::Source, "the package is known, but not installed"))?)
}

/// For the fuzz target `answer`: what any source may say.
#[cfg(feature = "fuzz")]
pub fn fuzz(data: &[u8]) {
    let versions = [
        pointed(data, "/version"),
        utf8(data.to_vec()).and_then(|text| extract(&text, Some(r"v(\d+(?:\.\d+)*)"))),
        utf8(data.to_vec()).and_then(|text| extract(&text, None)),
        utf8(data.to_vec()).and_then(|text| debian(&text)),
        utf8(data.to_vec()).and_then(|text| os_release(&text)),
    ];
    for version in versions.iter().flatten() {
        assert!(version.chars().count() <= MAX_VERSION, "an endless version");
    }
}

/// The text or number at `pointer` (RFC 6901).
fn pointed(body: &[u8], pointer: &str) -> Result<String, Failure> {
    let parse = |problem: String| Failure::new(Reason::Parse, problem);
    let json: serde_json::Value = serde_json::from_slice(body).map_err(|error| parse(format!("JSON: {error}")))?;
    match json.pointer(pointer) {
        Some(serde_json::Value::String(text)) => plausible(text),
        Some(serde_json::Value::Number(number)) => plausible(&number.to_string()),
        Some(_) => Err(parse(format!("found neither text nor number at {pointer:?}"))),
        None => Err(parse(format!("found nothing at {pointer:?}"))),
    }
}

/// `PRETTY_NAME`, else `ID` and `VERSION_ID`.
fn os_release(text: &str) -> Result<String, Failure> {
    let fields: BTreeMap<&str, String> =
        text.lines().filter_map(|line| line.trim().split_once('=')).map(|(key, value)| (key, unquote(value))).collect();
    let field = |key: &str| fields.get(key).map(String::as_str).unwrap_or_default();
    match field("PRETTY_NAME") {
        "" => plausible(&format!("{} {}", field("ID"), field("VERSION_ID"))),
        name => plausible(name),
    }
}

/// Undoes the quotes of a shell around a whole value.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let quoted = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    if let Some(inner) = quoted('\'') {
        return inner.to_owned();
    }
    let mut plain = String::new();
    let mut characters = quoted('"').unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn reason<T>(result: Result<T, Failure>) -> Option<Reason> {
        result.err().map(|failure| failure.reason)
    }

    #[test]
    fn a_version_is_one_short_line_of_printable_text() {
        assert_eq!(plausible(" 1.2.3-4ubuntu1~22.04\n").as_deref(), Ok("1.2.3-4ubuntu1~22.04"));
        assert_eq!(plausible(&"9".repeat(128)).map(|version| version.len()), Ok(128));
        for text in ["", "  \n", &"9".repeat(129), "1.2\u{1b}[31m", "1\n2"] {
            assert_eq!(reason(plausible(text)), Some(Reason::Parse), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_takes_its_group_or_all_it_matches() {
        let text = "\nJanus version: 1103 (1.1.3)\nCommit: none\n";
        for (pattern, expected) in [
            (None, "Janus version: 1103 (1.1.3)"),
            (Some(r"\(([^)]+)\)"), "1.1.3"),
            (Some(r"[0-9]+\.[0-9.]+"), "1.1.3"),
            (Some(r"Commit: (x)?"), "Commit:"),
        ] {
            assert_eq!(extract(text, pattern).as_deref(), Ok(expected), "{pattern:?}");
        }
        assert_eq!(reason(extract(text, Some("nothing"))), Some(Reason::Parse));
        assert_eq!(reason(extract("\n\n", None)), Some(Reason::Parse));
    }

    #[test]
    fn a_debian_package_counts_only_while_installed() {
        assert_eq!(debian("installed 1:2.3-4\n").as_deref(), Ok("1:2.3-4"));
        assert_eq!(debian("not-installed \ninstalled 7\n").as_deref(), Ok("7"), "of another architecture");
        assert_eq!(reason(debian("config-files 1.0\n")), Some(Reason::Source));
        assert_eq!(reason(debian("")), Some(Reason::Source));
    }

    #[test]
    fn a_pointer_finds_text_or_a_number() {
        let body = br#"{"data":{"version":"2.7.1","build":4711,"parts":[1]}}"#;
        assert_eq!(pointed(body, "/data/version").as_deref(), Ok("2.7.1"));
        assert_eq!(pointed(body, "/data/build").as_deref(), Ok("4711"));
        for pointer in ["/data", "/data/parts", "/none"] {
            assert_eq!(reason(pointed(body, pointer)), Some(Reason::Parse), "{pointer}");
        }
        assert_eq!(reason(pointed(b"<html>", "/data")), Some(Reason::Parse));
    }

    #[test]
    fn the_operating_system_has_its_pretty_name_or_its_parts() {
        let debian = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(os_release(debian).as_deref(), Ok("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(os_release("# x\nID='alpine'\nVERSION_ID=3.20.1\n").as_deref(), Ok("alpine 3.20.1"));
        assert_eq!(os_release("PRETTY_NAME=\"A \\\"B\\\" 1\"").as_deref(), Ok("A \"B\" 1"));
        assert_eq!(reason(os_release("garbage")), Some(Reason::Parse));
    }

    #[tokio::test]
    async fn a_file_is_read_within_its_bound_and_only_if_it_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("good"), "4.5\n").expect("a file");
        std::fs::write(path("large"), vec![b'1'; 70_000]).expect("a file");
        std::fs::write(path("binary"), [0xff, 0xfe]).expect("a file");
        assert_eq!(file(&path("good")).await.as_deref(), Ok("4.5\n"));
        assert_eq!(reason(file(&path("large")).await), Some(Reason::TooLarge));
        assert_eq!(reason(file(&path("binary")).await), Some(Reason::Parse));
        assert_eq!(reason(file("/dev/zero").await), Some(Reason::Source));
        assert_eq!(reason(file(&path("none")).await), Some(Reason::Source));
    }

    /// A server that answers one connection with `answer` and then holds it open.
    async fn server(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("is bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("one client");
            let _ = stream.read(&mut [0; 1024]).await;
            // The client may have left once it had enough.
            let _ = stream.write_all(&answer).await;
            std::future::pending::<()>().await;
        });
        format!("http://{address}/version")
    }

    #[tokio::test]
    async fn an_address_answers_with_a_version_or_fails_by_name_and_in_time() {
        let good = br#"{"v":"1.9"}"#;
        let with_length = |body: &[u8]| {
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
        };
        for (answer, expected) in [
            (with_length(good), Ok("1.9")),
            (with_length(&vec![b' '; 300_000]), Err(Reason::TooLarge)),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n".to_vec(),
                Err(Reason::Source),
            ),
            (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(), Err(Reason::Source)),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), Err(Reason::Http)),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec(), Err(Reason::Timeout)),
        ] {
            let component = ComponentConfig {
                url: Some(server(answer.clone()).await),
                pointer: Some("/v".to_owned()),
                ..ComponentConfig::default()
            };
            let deadline = Duration::from_millis(if expected == Err(Reason::Timeout) { 300 } else { 30_000 });
            let found = version(&component, &mut None, deadline).await.map_err(|failure| failure.reason);
            assert_eq!(
                found.as_deref(),
                expected.as_ref().copied(),
                "{}",
                String::from_utf8_lossy(&answer[..40.min(answer.len())])
            );
        }
        let unused = TcpListener::bind("127.0.0.1:0").await.expect("loopback").local_addr().expect("is bound");
        let component = ComponentConfig {
            url: Some(format!("http://{unused}/?token=secret")),
            pointer: Some("/v".to_owned()),
            ..ComponentConfig::default()
        };
        let failure = version(&component, &mut None, Duration::from_secs(30)).await.expect_err("nobody listens");
        assert_eq!(failure.reason, Reason::Connect);
        assert!(!failure.detail.contains("secret"), "{failure:?}");
    }
}
