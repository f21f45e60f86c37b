//! STUN and TURN servers that a server names in `Link` headers (RFC 8288, RFC 9725 §4.6).

use crate::{media::ice::Server, secret::Secret};

/// Most servers that are taken from one answer.
const MOST_SERVERS: usize = 8;
/// Longest header value that is read.
const MOST_BYTES: usize = 4096;

/// The servers of all values with `rel="ice-server"`, as far as they are well-formed.
pub(super) fn ice_servers<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Server> {
    let values = values.filter(|value| value.len() <= MOST_BYTES);
    values.flat_map(|value| split(value, ',')).filter_map(server).take(MOST_SERVERS).collect()
}

/// `<URL>; rel="ice-server"; username="…"; credential="…"`.
fn server(link: &str) -> Option<Server> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let (mut is_server, mut username, mut credential) = (false, String::new(), String::new());
    for parameter in split(parameters, ';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "rel" => is_server = value.split(' ').any(|relation| relation.eq_ignore_ascii_case("ice-server")),
            "username" => username = value,
            "credential" => credential = value,
            _ => {}
        }
    }
    is_server.then(|| Server { urls: vec![url.trim().to_owned()], username, credential: Secret::new(credential) })
}

/// Splits at `separator` outside of `<…>` and `"…"`.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut bracketed, mut escaped) = (Vec::new(), 0, false, false, false);
    for (i, character) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match character {
            '\\' if quoted => escaped = true,
            '"' if !bracketed => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ if character == separator && !quoted && !bracketed => {
                parts.extend(text.get(start..i));
                start = i + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// A token, or a quoted string with its escapes undone (RFC 9110 §5.6.4).
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut plain = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_from_links_however_they_are_written() {
        let stun = ("stun:stun.example.net", "", "");
        let turn = ("turn:turn.example.net?transport=udp", "user", "my,Pass;w\"ord");
        for (values, expected) in [
            (&[r#"<stun:stun.example.net>; rel="ice-server""#][..], &[stun][..]),
            (
                &[
                    r#"<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="my,Pass;w\"ord"; credential-type="password""#,
                ],
                &[turn],
            ),
            (
                &[
                    r#"<stun:stun.example.net>;rel=ice-server,<turn:turn.example.net?transport=udp> ; REL="x ICE-server" ;username=user;credential="my,Pass;w\"ord""#,
                ],
                &[stun, turn],
            ),
            (&["<stun:stun.example.net>; rel=ice-server", "<https://x.example/>; rel=\"next\""], &[stun]),
            (
                &[
                    "<stun:stun.example.net>",
                    "stun:stun.example.net; rel=ice-server",
                    "<stun:x; rel=ice-server",
                    "",
                    "\"",
                    "<",
                ],
                &[],
            ),
        ] {
            let found = ice_servers(values.iter().copied());
            let found: Vec<_> =
                found.iter().map(|it| (it.urls[0].as_str(), it.username.as_str(), it.credential.expose())).collect();
            assert_eq!(found, expected, "{values:?}");
        }
        let many = "<stun:a>;rel=ice-server,".repeat(50);
        assert_eq!(ice_servers([many.as_str()].into_iter()).len(), MOST_SERVERS);
        assert!(ice_servers([many.repeat(10).as_str()].into_iter()).is_empty(), "too long to be read");
    }
}
