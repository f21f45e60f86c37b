//! Strict reading of sections: each key is known and stands there once, each value is of its kind; and all
//! mistakes are found.

use std::{collections::BTreeMap, fmt};

use super::yaml::{Entry, Node, Value};

/// A mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slip {
    /// Counted from 1; `None` for a key that is missing altogether.
    pub(super) line: Option<usize>,
    /// The path of the key; empty for the file as a whole.
    pub(super) key: String,
    /// What was found and what would be right. Never a password, a hash or a key.
    pub(super) message: String,
}

impl Slip {
    pub(super) fn new(line: Option<usize>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A value in a message: quoted, and cut if it is long.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

/// A value and its line.
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// The keys of a section.
pub(super) struct Keys<'a> {
    path: &'static str,
    pub(super) entries: BTreeMap<&'a str, &'a Entry>,
}

impl<'a> Keys<'a> {
    /// The keys of `node`, each of which must be one of `known`, if given, and stand there once.
    pub(super) fn read(node: &'a Node, path: &'static str, known: Option<&[&str]>, slips: &mut Vec<Slip>) -> Self {
        let mut keys = Self { path, entries: BTreeMap::new() };
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                let message = format!("found {}, expected keys with values", node.kind());
                slips.push(Slip::new(Some(node.line), path, message));
                &[]
            }
        };
        for entry in entries {
            let path = keys.path_of(&entry.key);
            if let Some(known) = known.filter(|known| !known.contains(&&*entry.key)) {
                let message = format!("found an unknown key, expected one of {}", known.join(", "));
                slips.push(Slip::new(Some(entry.line), path, message));
            } else if let Some(first) = keys.entries.get(&*entry.key) {
                let message = format!("found a second time, expected once: it stands on line {} already", first.line);
                slips.push(Slip::new(Some(entry.line), path, message));
            } else {
                keys.entries.insert(&entry.key, entry);
            }
        }
        keys
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        let name = name.chars().take(60).collect::<String>();
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    /// The value of a key that says something.
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        self.entries.get(name).map(|entry| &entry.node).filter(|node| node.value != Value::Null)
    }

    /// Whether a key is there, be it with a value that is none.
    pub(super) fn says(&self, name: &str) -> bool {
        self.get(name).is_some_and(|node| !matches!(&node.value, Value::Scalar { text, .. } if text.is_empty()))
    }

    /// The line of a key, counted from 1.
    pub(super) fn line(&self, name: &str) -> Option<usize> {
        self.entries.get(name).map(|entry| entry.line)
    }

    /// A single value; an empty one counts as none.
    pub(super) fn text(&self, name: &str, slips: &mut Vec<Slip>) -> Option<At<&'a str>> {
        let node = self.get(name)?;
        match &node.value {
            Value::Scalar { text, .. } => Some(At { line: node.line, value: &**text }).filter(|_| !text.is_empty()),
            _ => {
                let message = format!("found {}, expected a single value", node.kind());
                slips.push(Slip::new(Some(node.line), self.path_of(name), message));
                None
            }
        }
    }

    /// A truth value, as YAML 1.1 writes it.
    pub(super) fn truth(&self, name: &str, default: bool, slips: &mut Vec<Slip>) -> bool {
        let Some(node) = self.get(name) else { return default };
        let found = match &node.value {
            Value::Scalar { text, plain: true } => match &*text.to_ascii_lowercase() {
                "true" | "yes" | "on" | "y" => return true,
                "false" | "no" | "off" | "n" => return false,
                _ => shown(text),
            },
            Value::Scalar { text, .. } => shown(text),
            _ => node.kind().to_owned(),
        };
        slips.push(Slip::new(Some(node.line), self.path_of(name), format!("found {found}, expected true or false")));
        default
    }

    /// A list of single values.
    pub(super) fn words(&self, name: &str, slips: &mut Vec<Slip>) -> Option<Vec<At<&'a str>>> {
        let node = self.get(name)?;
        let Value::List(items) = &node.value else {
            let message = format!("found {}, expected a list", node.kind());
            slips.push(Slip::new(Some(node.line), self.path_of(name), message));
            return None;
        };
        let mut words = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::Scalar { text, .. } => words.push(At { line: item.line, value: &**text }),
                _ => {
                    let key = format!("{}[{index}]", self.path_of(name));
                    slips.push(Slip::new(Some(item.line), key, format!("found {}, expected a name", item.kind())));
                }
            }
        }
        Some(words)
    }
}
