//! The texts a config is made of, and where in them a value stands.
//!
//! All texts lie behind one another in one imagined buffer, so that the span of a value or of an
//! error names file and line even after the files' tables were merged.

use std::{fmt, ops::Range, path::PathBuf};

use bellwether_probes::Mistake;
use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

/// A table whose spans count from the start of the first source.
pub(super) type Table<'a> = DeTable<'a>;
/// A value with such a span.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in messages: the path as given.
    pub name: PathBuf,
    /// Its content.
    pub text: String,
}

/// A mistake with its place, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Located {
    /// The file.
    pub file: PathBuf,
    /// Line in the file, counted from 1; `None` for a key that is missing altogether.
    pub line: Option<usize>,
    /// Full key path.
    pub key: String,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Collects mistakes and knows where everything stands.
#[derive(Debug)]
pub(super) struct Places<'a> {
    sources: &'a [Source],
    found: Vec<Located>,
}

impl<'a> Places<'a> {
    pub(super) fn new(sources: &'a [Source]) -> Self {
        Self { sources, found: Vec::new() }
    }

    /// Whether nothing was found so far.
    pub(super) fn clean(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything found, in the order of files and lines.
    pub(super) fn into_found(mut self) -> Vec<Located> {
        let rank = |file: &PathBuf| self.sources.iter().position(|source| source.name == *file);
        self.found.sort_by_key(|mistake| (rank(&mistake.file), mistake.line, mistake.key.clone()));
        self.found.dedup();
        self.found
    }

    /// Reports a mistake at a span.
    pub(super) fn report(&mut self, span: Range<usize>, key: impl Into<String>, message: impl Into<String>) {
        let (file, line) = self.place(span.start);
        self.found.push(Located { file, line: Some(line), key: key.into(), message: message.into() });
    }

    /// Reports a part's mistake: its key is looked up in `root`, the longest known part of it counts.
    pub(super) fn report_at(&mut self, root: &Table<'_>, mistake: Mistake) {
        match find(root, &mistake.key) {
            Some(span) => self.report(span, mistake.key, mistake.message),
            None => {
                let file = self.sources.last().map(|source| source.name.clone()).unwrap_or_default();
                self.found.push(Located { file, line: None, key: mistake.key, message: mistake.message });
            }
        }
    }

    /// The file and line of an offset.
    fn place(&self, offset: usize) -> (PathBuf, usize) {
        let mut base = 0;
        for source in self.sources {
            let end = base + source.text.len();
            if offset <= end {
                let before = &source.text.as_bytes()[..offset - base];
                return (source.name.clone(), 1 + before.iter().filter(|byte| **byte == b'\n').count());
            }
            base = end + 1;
        }
        (PathBuf::new(), 0)
    }

    /// The file of a span, for messages that name two places.
    pub(super) fn shown(&self, span: &Range<usize>) -> String {
        let (file, line) = self.place(span.start);
        format!("{}:{line}", file.display())
    }

    /// Parses every source; the tables' spans are those of the imagined buffer.
    pub(super) fn parse(&mut self) -> Vec<Table<'a>> {
        let mut base = 0;
        let mut tables = Vec::new();
        for source in self.sources {
            let (mut table, errors) = DeTable::parse_recoverable(&source.text);
            for error in errors {
                let span = error.span().unwrap_or(0..0);
                let found = source.text.get(span.clone()).and_then(|text| text.lines().next()).unwrap_or_default();
                let found = if found.is_empty() { String::new() } else { format!("found {found:?}: ") };
                let message = format!("{found}{}", error.message().replace('\n', ", "));
                self.report(shift(span, base), "", message);
            }
            shift_table(table.get_mut(), base);
            tables.push(table.into_inner());
            base += source.text.len() + 1;
        }
        tables
    }

    /// Reads a section into `T`. Each key that does not fit is reported and left out, and the rest is
    /// read again, so that one mistake does not hide the next.
    pub(super) fn read<T: DeserializeOwned>(&mut self, mut value: Value<'_>, path: &str) -> Option<T> {
        loop {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(section) => return Some(section),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| value.span());
            let mut key = path.to_owned();
            let dropped = value.get_mut().is_table() && drop_at(&mut value, &span, &mut key);
            self.report(span, key, error.message().replace('\n', ", "));
            if !dropped {
                return None;
            }
        }
    }
}

/// Removes the innermost entry of a table that contains `span`, and appends its path to `key`.
fn drop_at(value: &mut Value<'_>, span: &Range<usize>, key: &mut String) -> bool {
    let DeValue::Table(table) = value.get_mut() else { return false };
    let inside = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let hit = table.iter().find(|(name, value)| inside(name.span()) || inside(value.span()));
    let Some(name) = hit.map(|(name, _)| name.clone()) else { return false };
    if !key.is_empty() {
        key.push('.');
    }
    key.push_str(name.get_ref());
    let deeper = !inside(name.span()) && table.get_mut(&name).is_some_and(|inner| drop_at(inner, span, key));
    if !deeper {
        table.remove(&name);
    }
    true
}

/// The span of the longest known part of a dotted key path.
fn find(root: &Table<'_>, path: &str) -> Option<Range<usize>> {
    let mut table = root;
    let mut found = None;
    for part in path.split('.') {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else { break };
        found = Some(name.span());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

fn shift(span: Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}

fn shift_table(table: &mut DeTable<'_>, base: usize) {
    let entries = std::mem::take(table);
    for (name, mut value) in entries {
        shift_value(&mut value, base);
        let span = shift(name.span(), base);
        table.insert(Spanned::new(span, name.into_inner()), value);
    }
}

fn shift_value(value: &mut Value<'_>, base: usize) {
    let span = shift(value.span(), base);
    match value.get_mut() {
        DeValue::Table(table) => shift_table(table, base),
        DeValue::Array(items) => items.iter_mut().for_each(|item| shift_value(item, base)),
        _ => {}
    }
    let inner = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    *value = Spanned::new(span, inner);
}
