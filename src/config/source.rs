//! The texts a config is made of, and where in them a value stands.
//!
//! All texts lie behind one another in one imagined buffer, so that the span of a value or of an
//! error names file and line even after the files' tables were merged.

use std::{fmt, ops::Range, path::PathBuf};

use bellwether_probes::Mistake;
use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, ValueDeserializer},
};

/// After so many mistakes in one section, the rest of it is not read.
const MOST_LEFT_OUT: usize = 100;

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

    /// How many mistakes were found so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Reads a section into `T`. Each key, or element of a list, that does not fit is reported and left
    /// out, and the rest is read again, so that one mistake does not hide the next.
    pub(super) fn read<T: DeserializeOwned>(&mut self, mut value: Value<'_>, path: &str) -> Option<T> {
        // Places in lists are those of the text, whatever was left out.
        let whole = value.clone();
        let mut left_out: Vec<String> = Vec::new();
        loop {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(section) => return Some(section),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| value.span());
            let mut key = path.to_owned();
            locate(&whole, &span, &mut key);
            let dropped = drop_at(&mut value, &span);
            let message = error.message().replace('\n', ", ");
            // A key that was left out is missed next, and was reported already.
            let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
            if !missing.is_some_and(|field| left_out.contains(&format!("{key}.{field}"))) {
                self.report(span, key.clone(), message);
            }
            left_out.push(key);
            if !dropped || left_out.len() >= MOST_LEFT_OUT {
                return None;
            }
        }
    }
}

fn inside(inner: &Range<usize>, outer: Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Appends the path of the innermost entry that contains `span` to `key`; whether there is one.
///
/// A table under a header of its own lies elsewhere than the one that it belongs to, so that every
/// entry is looked into.
fn locate(value: &Value<'_>, span: &Range<usize>, key: &mut String) -> bool {
    let known = key.len();
    let mut hit = |part: &str, own: bool, inner: &Value<'_>| {
        key.push_str(part);
        let hit = locate(inner, span, key) || own || inside(span, inner.span());
        if !hit {
            key.truncate(known);
        }
        hit
    };
    match value.get_ref() {
        DeValue::Table(table) => {
            let dot = if known == 0 { "" } else { "." };
            table.iter().any(|(name, inner)| hit(&format!("{dot}{}", name.get_ref()), inside(span, name.span()), inner))
        }
        DeValue::Array(items) => {
            items.iter().enumerate().any(|(index, inner)| hit(&format!("[{index}]"), false, inner))
        }
        _ => false,
    }
}

/// Removes the innermost entry that contains `span`; whether there is one.
fn drop_at(value: &mut Value<'_>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            for (name, inner) in table.iter_mut() {
                if drop_at(inner, span) {
                    return true;
                }
                if inside(span, name.span()) || inside(span, inner.span()) {
                    let name = name.clone();
                    return table.remove(&name).is_some();
                }
            }
            false
        }
        DeValue::Array(items) => {
            if items.iter_mut().any(|inner| drop_at(inner, span)) {
                return true;
            }
            let count = items.len();
            let kept = std::mem::replace(items, DeArray::new()).into_iter().filter(|inner| !inside(span, inner.span()));
            *items = kept.collect();
            items.len() < count
        }
        _ => false,
    }
}

/// The span of the longest known part of a key path such as `timetable.term[0].lessons[2]`.
fn find(root: &Table<'_>, path: &str) -> Option<Range<usize>> {
    let mut table = root;
    let mut found = None;
    for part in path.split('.') {
        let (part, places) = part.split_once('[').unwrap_or((part, ""));
        let Some((name, mut value)) = table.iter().find(|(name, _)| name.get_ref() == part) else { break };
        found = Some(name.span());
        for place in places.split('[').filter_map(|place| place.trim_end_matches(']').parse::<usize>().ok()) {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(place)) else { break };
            (value, found) = (item, Some(item.span()));
        }
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
