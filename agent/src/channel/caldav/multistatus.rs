//! A server's XML (RFC 4918, 13): which resources it names and what it says of them, and what it complains
//! of. Pure and bounded.
//!
//! A 207 is no success: a server may put an error into it. Entities of a document's own are not expanded: a
//! document that brings any is refused.

use quick_xml::{NsReader, events::Event, name::ResolveResult};

const DAV: &str = "DAV:";
const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
/// Nothing that we read lies deeper.
const MAX_DEPTH: usize = 32;
/// More resources than this are not what we asked for.
pub const MAX_RESPONSES: usize = 5_000;
/// Longest text of one element, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// What a server says of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Its address, as written.
    pub href: String,
    /// The status of the whole of it, if it has one: an error, usually.
    pub status: Option<u16>,
    /// Names of the properties that were found, with the words within them: `resourcetype` and `calendar`.
    pub found: Vec<(String, Vec<String>)>,
}

/// A server's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multistatus {
    /// What it says of each resource.
    pub responses: Vec<Response>,
    /// Conditions that were not met, such as `no-uid-conflict`, wherever they stand.
    pub conditions: Vec<String>,
}

impl Multistatus {
    /// The first status that is an error.
    pub fn error(&self) -> Option<u16> {
        self.responses.iter().filter_map(|response| response.status).find(|status| *status >= 400)
    }

    /// Whether it complains of this.
    pub fn complains_of(&self, condition: &str) -> bool {
        self.conditions.iter().any(|own| own == condition)
    }
}

/// Reads a document whose root is `multistatus` or `error`.
///
/// # Errors
/// It is no such document, or not well-formed, or larger than what is asked for could be.
pub fn read(text: &[u8]) -> Result<Multistatus, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the answer is no UTF-8")?;
    let mut reader = NsReader::from_str(text);
    let mut state = State::default();
    loop {
        // The element's name is taken before the event, which borrows the reader.
        let (namespace, event) =
            reader.read_resolved_event().map_err(|error| format!("the answer is no XML: {error}"))?;
        let space = match namespace {
            ResolveResult::Bound(bound) if bound.0 == DAV => Space::Dav,
            ResolveResult::Bound(bound) if bound.0 == CALDAV => Space::Caldav,
            _ => Space::Other,
        };
        match event {
            Event::Start(start) => {
                state.start(space, start.local_name().as_ref(), &component(&start))?;
            }
            Event::Empty(start) => {
                state.start(space, start.local_name().as_ref(), &component(&start))?;
                state.end();
            }
            Event::End(_) => state.end(),
            Event::Text(text) => state.text(&text.xml10_content())?,
            Event::CData(text) => state.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let known = quick_xml::escape::resolve_predefined_entity(&reference);
                match (reference.resolve_char_ref(), known) {
                    (Ok(Some(c)), _) => state.text(c.encode_utf8(&mut [0; 4]))?,
                    (_, Some(text)) => state.text(text)?,
                    _ => return Err("the answer names an entity that XML does not know".to_owned()),
                }
            }
            Event::DocType(_) => return Err("the answer brings a document type of its own".to_owned()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match state.open.is_empty() && state.has_root {
        true => Ok(state.answer),
        false => Err("the answer ends early".to_owned()),
    }
}

/// The attribute `name`: which kind of entry a calendar takes.
fn component(start: &quick_xml::events::BytesStart<'_>) -> String {
    let found = start.attributes().with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == "name");
    found.map(|attribute| attribute.value.chars().take(64).collect()).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Dav,
    Caldav,
    Other,
}

#[derive(Debug, Default)]
struct State {
    answer: Multistatus,
    /// Elements that are open.
    open: Vec<(Space, String)>,
    has_root: bool,
    text: String,
    /// Properties since the last `propstat` began: whether they were found its status says, which follows.
    properties: Vec<(String, Vec<String>)>,
    status: Option<u16>,
}

impl State {
    fn start(&mut self, space: Space, name: &str, component: &str) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("the answer is nested more than {MAX_DEPTH} deep"));
        }
        if self.open.is_empty() {
            if self.has_root || space != Space::Dav || !matches!(name, "multistatus" | "error") {
                return Err("the answer is none of a calendar server".to_owned());
            }
            self.has_root = true;
        }
        if self.open.iter().any(|(space, name)| *space == Space::Dav && name == "error") {
            self.answer.conditions.push(name.chars().take(64).collect());
        }
        match (self.path(), name) {
            (["multistatus"], "response") => self.answer.responses.push(Response::default()),
            (["multistatus", "response"], "propstat") => {
                self.properties.clear();
                self.status = None;
            }
            (["multistatus", "response", "propstat", "prop"], name) => {
                self.properties.push((name.to_owned(), Vec::new()));
            }
            (["multistatus", "response", "propstat", "prop", ..], name) => {
                if let Some((_, words)) = self.properties.last_mut() {
                    words.push(if component.is_empty() { name.to_owned() } else { component.to_owned() });
                }
            }
            _ => {}
        }
        let many = self.answer.responses.len() > MAX_RESPONSES || self.answer.conditions.len() > 100;
        if many || self.properties.iter().map(|(_, words)| 1 + words.len()).sum::<usize>() > 1_000 {
            return Err("the answer says more than was asked for".to_owned());
        }
        self.open.push((space, name.chars().take(64).collect()));
        self.text.clear();
        Ok(())
    }

    /// Names of the elements that are open, if all are WebDAV's down to a property.
    fn path(&self) -> &'static [&'static str] {
        const PATH: &[&str] = &["multistatus", "response", "propstat", "prop", "…"];
        let fits = |(at, (space, name)): (usize, &(Space, String))| {
            at >= 4 || *space == Space::Dav && PATH.get(at).is_some_and(|expected| expected == name)
        };
        if self.open.iter().enumerate().all(fits) {
            return PATH.get(..self.open.len().min(PATH.len())).unwrap_or_default();
        }
        &[]
    }

    fn end(&mut self) {
        let Some((space, name)) = self.open.pop() else { return };
        let text = std::mem::take(&mut self.text);
        let Some(response) = self.answer.responses.last_mut() else { return };
        let parents: Vec<&str> = self.open.iter().map(|(_, name)| &name[..]).collect();
        match (&parents[..], space, &name[..]) {
            (["multistatus", "response"], Space::Dav, "href") if response.href.is_empty() => {
                response.href = text.trim().to_owned();
            }
            (["multistatus", "response"], Space::Dav, "status") => response.status = status(&text),
            (["multistatus", "response", "propstat"], Space::Dav, "status") => self.status = status(&text),
            (["multistatus", "response"], Space::Dav, "propstat") => match self.status {
                Some(200..=299) => response.found.append(&mut self.properties),
                // Some put the error of a request that is no question for properties here.
                status if self.properties.is_empty() => response.status = response.status.or(status),
                _ => self.properties.clear(),
            },
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        // Longer texts are of no element that we read.
        if self.text.len() + text.len() <= MAX_TEXT {
            self.text.push_str(text);
        }
        Ok(())
    }
}

/// The number of a status line: `HTTP/1.1 412 Precondition Failed`.
fn status(text: &str) -> Option<u16> {
    text.split_ascii_whitespace().nth(1)?.parse().ok().filter(|status| (100..=599).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_names_what_it_found() {
        // As Radicale writes it, and as Xandikos does.
        let radicale = r#"<?xml version='1.0' encoding='utf-8'?>
<multistatus xmlns="DAV:"><response><href>/bw/a/k1.ics</href><propstat><prop><getetag>"x&amp;y"</getetag></prop>
<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"#;
        let xandikos = r#"<ns0:multistatus xmlns:ns0="DAV:"><ns0:response><ns0:href>/bw/a/k1.ics</ns0:href><ns0:propstat>
<ns0:status>HTTP/1.1 200 OK</ns0:status><ns0:prop><ns0:getetag>"x"</ns0:getetag></ns0:prop></ns0:propstat>
</ns0:response></ns0:multistatus>"#;
        for text in [radicale, xandikos] {
            let found = read(text.as_bytes()).expect(text);
            let found: Vec<_> =
                found.responses.iter().map(|response| (&response.href[..], response.found.len())).collect();
            assert_eq!(found, [("/bw/a/k1.ics", 1)]);
        }
        let none = read(br#"<D:multistatus xmlns:D="DAV:"/>"#).expect("an empty answer");
        assert_eq!(none, Multistatus::default());
    }

    #[test]
    fn an_error_within_a_success_is_found() {
        let text = r#"<ns0:multistatus xmlns:ns0="DAV:" xmlns:ns1="urn:ietf:params:xml:ns:caldav"><ns0:response>
<ns0:href>/bw/a/k2.ics</ns0:href><ns0:status>HTTP/1.1 412 Precondition Failed</ns0:status><ns0:error><ns1:no-uid-conflict/>
</ns0:error></ns0:response></ns0:multistatus>"#;
        let found = read(text.as_bytes()).expect("an answer");
        assert_eq!(found.error(), Some(412));
        assert!(found.complains_of("no-uid-conflict") && !found.complains_of("valid-calendar-data"));
        let error = r#"<D:error xmlns:D="DAV:"><C:no-uid-conflict xmlns:C="urn:ietf:params:xml:ns:caldav"><D:href>/x</D:href>
</C:no-uid-conflict></D:error>"#;
        assert!(read(error.as_bytes()).expect("an error").complains_of("no-uid-conflict"));
    }

    #[test]
    fn properties_count_only_where_they_were_found() {
        let text = r#"<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>/a/</d:href>
<d:propstat><d:prop><d:resourcetype><d:collection/><c:calendar/></d:resourcetype><c:supported-calendar-component-set>
<c:comp name="VEVENT"/></c:supported-calendar-component-set></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>
<d:propstat><d:prop><d:owner/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>
</d:multistatus>"#;
        let found = read(text.as_bytes()).expect("an answer");
        let of = |name: &str, words: &[&str]| (name.to_owned(), words.iter().map(|word| (*word).to_owned()).collect());
        let expected: Vec<(String, Vec<String>)> =
            vec![of("resourcetype", &["collection", "calendar"]), of("supported-calendar-component-set", &["VEVENT"])];
        assert_eq!(found.responses[0].found, expected);
        assert_eq!(found.error(), None);
    }

    #[test]
    fn what_is_not_a_calendar_servers_is_refused() {
        let deep = format!("<multistatus xmlns=\"DAV:\">{}", "<a>".repeat(40));
        let many = format!("<multistatus xmlns=\"DAV:\">{}</multistatus>", "<response/>".repeat(MAX_RESPONSES + 1));
        let bomb = r#"<!DOCTYPE a [<!ENTITY b "bbbb">]><multistatus xmlns="DAV:">&b;</multistatus>"#;
        let entity = r#"<multistatus xmlns="DAV:"><response><href>&b;</href></response></multistatus>"#;
        for text in [
            "",
            "plain",
            "<html><body>Log in</body></html>",
            "<multistatus/>",
            "<multistatus xmlns=\"DAV:\">",
            "<multistatus xmlns=\"DAV:\"></other>",
            "<multistatus xmlns=\"DAV:\"/><multistatus xmlns=\"DAV:\"/>",
            &deep,
            &many,
            bomb,
            entity,
        ] {
            assert!(read(text.as_bytes()).is_err(), "{}", text.chars().take(90).collect::<String>());
        }
        assert!(read(b"<multistatus xmlns=\"DAV:\">\xff</multistatus>").is_err());
    }
}
