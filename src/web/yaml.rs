//! A small YAML document as a tree that knows its lines: what the web config file is written in.
//!
//! No more of YAML than such a file needs: no aliases (which may grow without bound), no tags but `!!str`,
//! one document.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// How deep a document may be nested.
const DEEPEST: usize = 8;

/// A value and the line on which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other single value, as it is written.
    Scalar {
        text: String,
        /// Whether it stands without quotes, and may thus be a number or a truth value.
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Line of the key, counted from 1.
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) node: Node,
}

impl Node {
    /// What it is, for messages; never what it says, which may be a secret.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "keys with values",
        }
    }
}

/// Why a text is no such document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Counted from 1.
    pub(super) line: usize,
    /// What was found, and what would be right.
    pub(super) message: String,
}

impl Broken {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A list or map that is not complete yet.
enum Open {
    List(usize, Vec<Node>),
    /// The key whose value comes next stands last.
    Map(usize, Vec<Entry>, Option<(usize, String)>),
}

/// Reads a document; an empty text is one that says nothing. The bound of its size is the caller's.
///
/// # Errors
/// It is no YAML, or more of it than is understood here.
pub(super) fn parse(text: &str) -> Result<Node, Broken> {
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Open> = Vec::new();
    let mut root: Option<Node> = None;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            Broken::at(error.marker().line(), format!("found no YAML ({}), expected KEY: VALUE", error.info()))
        })?;
        let line = span.start.line();
        let done = match event {
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Broken::at(line, "found a second document, expected one"));
            }
            Event::SequenceStart(_, tag) => {
                tagged(tag.as_deref(), line)?;
                open.push(Open::List(line, Vec::new()));
                None
            }
            Event::MappingStart(_, tag) => {
                tagged(tag.as_deref(), line)?;
                open.push(Open::Map(line, Vec::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(closed),
            Event::Scalar(text, style, _, tag) => Some(scalar(&text, style, tag.as_deref(), &span)?),
            Event::Alias(_) => return Err(Broken::at(line, "found an alias (*NAME), expected the value itself")),
            _ => None,
        };
        if open.len() > DEEPEST {
            return Err(Broken::at(line, format!("found values nested more than {DEEPEST} deep, expected fewer")));
        }
        if let Some(node) = done {
            match open.last_mut() {
                None => root = Some(node),
                Some(Open::List(_, items)) => items.push(node),
                Some(Open::Map(_, entries, key)) => match key.take() {
                    None => *key = Some(key_of(node)?),
                    Some((line, key)) => entries.push(Entry { line, key, node }),
                },
            }
        }
    }
    Ok(root.unwrap_or(Node { line: 1, value: Value::Null }))
}

fn closed(open: Open) -> Node {
    match open {
        Open::List(line, items) => Node { line, value: Value::List(items) },
        Open::Map(line, entries, _) => Node { line, value: Value::Map(entries) },
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Node, Broken> {
    let line = span.start.line();
    let plain = style == ScalarStyle::Plain && !tagged(tag, line)?;
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        _ => Value::Scalar { text: text.to_owned(), plain },
    };
    Ok(Node { line, value })
}

/// Whether a tag says that the value is a text; any other is a mistake.
fn tagged(tag: Option<&Tag>, line: usize) -> Result<bool, Broken> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(_) => Err(Broken::at(line, "found a tag (!NAME), expected none")),
    }
}

fn key_of(node: Node) -> Result<(usize, String), Broken> {
    match node.value {
        Value::Scalar { text, .. } => Ok((node.line, text)),
        _ => Err(Broken::at(node.line, format!("found {} as a key, expected a name", node.kind()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The tree in short: `{key@line: value@line}`.
    fn short(node: &Node) -> String {
        let text = match &node.value {
            Value::Null => "-".to_owned(),
            Value::Scalar { text, plain: true } => text.clone(),
            Value::Scalar { text, plain: false } => format!("{text:?}"),
            Value::List(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entry = |entry: &Entry| format!("{}@{}: {}", entry.key, entry.line, short(&entry.node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        };
        format!("{text}@{}", node.line)
    }

    #[test]
    fn a_document_becomes_a_tree_that_knows_its_lines() {
        for (text, tree) in [
            ("", "-@1"),
            ("# nothing\n", "-@1"),
            ("---\n...\n", "-@2"),
            ("\u{feff}a: b\n", "{a@1: b@1}@1"),
            ("a:\n  b: 'yes'\n  c: yes\nd: ~\n", "{a@1: {b@2: \"yes\"@2 c@3: yes@3}@2 d@4: -@4}@1"),
            ("a: [x, \"y\", null]\n", "{a@1: [x@1 \"y\"@1 -@1]@1}@1"),
            ("a:\n- x\n- y: 1\n", "{a@1: [x@2 {y@3: 1@3}@3]@2}@1"),
            ("a: |\n  one\n  two\nb: 2\n", "{a@1: \"one\\ntwo\\n\"@2 b@4: 2@4}@1"),
            ("a: !!str 5\n", "{a@1: \"5\"@1}@1"),
            ("1: $2y$10$x\n", "{1@1: $2y$10$x@1}@1"),
            ("a: &x b\n", "{a@1: b@1}@1"),
        ] {
            assert_eq!(short(&parse(text).unwrap()), tree, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_such_document_is_refused_at_its_line() {
        let deep = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
        let (deep, deepest) = (deep(20), deep(100_000));
        for (text, line, found) in [
            ("a: b\n c: d\n", 2, "found no YAML"),
            ("a: 'b\n", 1, "found no YAML"),
            ("a: b\n---\na: c\n", 2, "a second document"),
            ("a: &x b\nc: *x\n", 2, "an alias"),
            ("a: b\nc: !!binary aGk=\n", 2, "a tag"),
            ("[a]: b\n", 1, "a list as a key"),
            ("? \n: b\n", 2, "nothing as a key"),
            (&deep, 1, "nested more than 8 deep"),
            (&deepest, 1, "recursion limit"),
        ] {
            let broken = parse(text).unwrap_err();
            let text: String = text.chars().take(20).collect();
            assert_eq!(broken.line, line, "{text:?}: {broken:?}");
            assert!(broken.message.contains(found), "{text:?}: {broken:?}");
        }
    }
}
