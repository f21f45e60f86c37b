//! Numbers in a JSON document, each by its pointer (RFC 6901).

use serde_json::Value;

use super::{Place, host::Measured};
use crate::{Failure, Metric, Reason};

/// The values at the places of a document; a place without one says why. Fails as a whole if it is no JSON.
pub(super) fn values<'a>(
    text: &str,
    places: impl Iterator<Item = (Metric, &'a Place)>,
) -> Result<Vec<(Metric, Measured)>, Failure> {
    let document: Value = serde_json::from_str(text).map_err(|error| {
        // Without what was found: it may be anything.
        let (line, column) = (error.line(), error.column());
        Failure::new(Reason::Parse, format!("the answer is no JSON from line {line}, column {column} on"))
    })?;
    Ok(places.map(|(metric, place)| (metric, value(&document, place))).collect())
}

/// A number, or how many entries a list has.
fn value(document: &Value, place: &Place) -> Measured {
    let Place { at, times } = place;
    let failure =
        |found: &str| Failure::new(Reason::Parse, format!("{at}: found {found}, expected a number or a list"));
    let number = match document.pointer(at) {
        Some(Value::Number(number)) => number.as_f64().ok_or_else(|| failure("no number that fits"))?,
        Some(Value::Array(entries)) => entries.len() as f64,
        Some(Value::Null) => return Err(failure("null")),
        Some(Value::Bool(_)) => return Err(failure("true or false")),
        Some(Value::String(_)) => return Err(failure("a text")),
        Some(Value::Object(_)) => return Err(failure("an object")),
        None => return Err(failure("nothing")),
    };
    Ok(number * times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, pointer: &str, times: f64) -> Result<f64, String> {
        let place = Place { at: pointer.to_owned(), times };
        let found = values(text, [(Metric::ServiceUsers, &place)].into_iter());
        let (metric, value) = found.map_err(|failure| failure.detail)?.remove(0);
        assert_eq!(metric, Metric::ServiceUsers);
        value.map_err(|failure| failure.detail)
    }

    #[test]
    fn a_place_holds_a_number_or_a_list() {
        let text = r#"{"users": 17, "a/b": {"~": [1, [2, 3]]}, "cpu": 37.5, "peers": [], "": 4}"#;
        for (pointer, times, expected) in [
            ("/users", 1.0, 17.0),
            ("/a~1b/~0/0", 1.0, 1.0),
            ("/a~1b/~0", 1.0, 2.0),
            ("/a~1b/~0/1/1", 1.0, 3.0),
            ("/cpu", 0.01, 0.375),
            ("/peers", 1.0, 0.0),
            ("/", 1.0, 4.0),
        ] {
            assert_eq!(at(text, pointer, times), Ok(expected), "{pointer}");
        }
        assert_eq!(at("8", "", 125.0), Ok(1000.0), "the document itself");
    }

    #[test]
    fn what_is_no_number_is_said_to_be_none() {
        let text = r#"{"text": "17", "no": null, "yes": true, "more": {"users": 1}}"#;
        for (pointer, found) in [
            ("/text", "a text"),
            ("/no", "null"),
            ("/yes", "true or false"),
            ("/more", "an object"),
            ("/less", "nothing"),
            ("/more/0", "nothing"),
        ] {
            let expected = format!("{pointer}: found {found}, expected a number or a list");
            assert_eq!(at(text, pointer, 1.0), Err(expected));
        }
        assert_eq!(at("{\"a\": 1,\n oh}", "/a", 1.0), Err("the answer is no JSON from line 2, column 2 on".to_owned()));
        assert!(at(&"[".repeat(100_000), "/0", 1.0).is_err(), "too deep");
    }
}
