//! Which series of an exporter count: `name{label="value",…}`.

use super::exposition::{Series, series};

/// A name, and labels that must have these values; other labels may have any.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selector(Series<'static>);

impl Selector {
    /// Reads a selector; the message of a mistake says what is missing.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (found, rest) = series(text)?;
        if !rest.is_empty() {
            return Err("something behind the labels");
        }
        let labels = found.labels.into_iter().map(|(key, value)| (key.into_owned().into(), value.into_owned().into()));
        Ok(Self(Series { name: found.name.into_owned().into(), labels: labels.collect() }))
    }

    /// Whether a series is meant.
    pub(super) fn selects(&self, series: &Series<'_>) -> bool {
        let Self(wanted) = self;
        wanted.name == series.name && wanted.labels.iter().all(|(key, value)| series.label(key) == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_meant_if_its_name_and_all_named_labels_are_the_same() {
        let series = series(r#"janus_sessions{plugin="videoroom",node="a"} 3"#).expect("a series").0;
        for (selector, expected) in [
            ("janus_sessions", true),
            (" janus_sessions{} ", true),
            (r#"janus_sessions{plugin="videoroom"}"#, true),
            (r#"janus_sessions{node="a", plugin="videoroom",}"#, true),
            (r#"janus_sessions{plugin="echotest"}"#, false),
            (r#"janus_sessions{plugin="videoroom",zone="1"}"#, false),
            // A label that is not there has the empty value.
            (r#"janus_sessions{zone=""}"#, true),
            ("janus_session", false),
            (r#"{"janus_sessions"}"#, true),
        ] {
            assert_eq!(Selector::parse(selector).expect(selector).selects(&series), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for (selector, what) in [
            ("", "no name"),
            ("sum(users)", "something behind the labels"),
            ("users 12", "something behind the labels"),
            ("users{plugin=~\"a\"}", "a text without quotes, or without their end"),
        ] {
            assert_eq!(Selector::parse(selector), Err(what), "{selector}");
        }
    }
}
