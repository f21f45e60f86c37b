//! Labels of a series.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use crate::metric::Label;

/// Labels of one series, beside `probe`, in the order of [`Label`]. A list, not a tree: there are one or
/// two, and a daemon keeps hundreds of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(Label, Box<str>)>);

impl Labels {
    /// No labels.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets the value of a label.
    pub fn insert(&mut self, label: Label, value: impl AsRef<str>) {
        let value = value.as_ref().into();
        match self.0.binary_search_by_key(&label, |entry| entry.0) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (label, value));
            }
        }
    }

    /// The value of a label.
    pub fn get(&self, label: Label) -> Option<&str> {
        let at = self.0.binary_search_by_key(&label, |entry| entry.0).ok()?;
        Some(&self.0[at].1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Label, &str)> {
        self.0.iter().map(|(label, value)| (*label, &**value))
    }

    /// Their values, in order.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(_, value)| value)
    }
}

impl<V: AsRef<str>> FromIterator<(Label, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Label, V)>>(labels: I) -> Self {
        let mut all = Self::new();
        labels.into_iter().for_each(|(label, value)| all.insert(label, value));
        all
    }
}

impl<V: AsRef<str>, const N: usize> From<[(Label, V); N]> for Labels {
    fn from(labels: [(Label, V); N]) -> Self {
        labels.into_iter().collect()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels and their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::new();
                while let Some((label, value)) = map.next_entry::<Label, Box<str>>()? {
                    labels.insert(label, value);
                }
                Ok(labels)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_keep_their_order_whatever_the_order_of_insertion() {
        let labels = Labels::from([(Label::Stream, "audio"), (Label::Stat, "p50"), (Label::Stat, "p95")]);
        let mut sorted = [Label::Stream, Label::Stat];
        sorted.sort_unstable();
        assert_eq!(labels.iter().map(|(label, _)| label).collect::<Vec<_>>(), sorted);
        assert_eq!((labels.get(Label::Stat), labels.get(Label::Leg), labels.len()), (Some("p95"), None, 2));
    }

    #[test]
    fn they_are_a_map_in_json() {
        let labels = Labels::from([(Label::Stat, "p95"), (Label::Stream, "audio")]);
        let text = serde_json::to_string(&labels).expect("plain data");
        assert_eq!(serde_json::from_str::<Labels>(&text).expect("what was written"), labels);
        assert!(text.contains(r#""stat":"p95""#), "{text}");
    }
}
