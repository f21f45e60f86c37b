//! What RT's answers say, and what they mean for an order. Pure.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{Config, order::ending};
use crate::{
    booking::Window,
    channel::{Outcome, Standing, http::Answer},
};

/// What an answer means that is not the one hoped for.
pub(super) fn refused(answer: &Answer, now: DateTime<Utc>) -> Outcome {
    let (status, retry_after) = (answer.status, answer.retry_after(now));
    let detail = || answer.detail();
    match status.as_u16() {
        300..=399 => Outcome::not_delivered(format!(
            "answered {status}, which would lead elsewhere and is not followed; put the final address into url"
        )),
        401 | 403 => Outcome::LockedOut { detail: format!("{}; check token_file and the user's rights", detail()) },
        404 | 405 | 407 => Outcome::not_delivered(format!("{}; check url", detail())),
        412 => Outcome::not_delivered("somebody changed the ticket just now"),
        429 => Outcome::NotDelivered { detail: detail(), retry_after },
        400 | 402..=499 if !matches!(status.as_u16(), 408 | 409) => Outcome::Rejected { detail: detail() },
        _ => Outcome::Ambiguous { detail: detail(), retry_after },
    }
}

/// The JSON of an answer that arrived whole.
pub(super) fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, String> {
    if answer.is_cut {
        return Err(format!("answered {} and more than is read", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| format!("{}, which is not what RT answers", answer.detail()))
}

/// Whether RT itself says that it has no such thing; a web server in its place would say it in its own words.
pub(super) fn is_gone(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    answer.status.as_u16() == 404 && json::<Said>(answer).is_ok_and(|said| said.message == "Not Found")
}

/// One page of a collection.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    /// Its items.
    pub(super) items: Vec<T>,
}

/// A ticket, as a search shows it or as it is read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ticket {
    /// Its number.
    #[serde(rename = "id", deserialize_with = "number")]
    pub(super) id: u64,
    /// Its number, or that of the ticket into which it was merged.
    #[serde(deserialize_with = "number")]
    pub(super) effective_id: u64,
    /// Its subject.
    #[serde(default)]
    pub(super) subject: String,
    /// Its status.
    pub(super) status: String,
    /// When the visit starts; 1970 for never.
    #[serde(default)]
    starts: Option<DateTime<Utc>>,
    /// When it ends.
    #[serde(default)]
    due: Option<DateTime<Utc>>,
    /// Who made it.
    #[serde(default)]
    pub(super) creator: Option<Named>,
    /// Who changed it last.
    #[serde(default)]
    pub(super) last_updated_by: Option<Named>,
    #[serde(default, deserialize_with = "fields")]
    custom_fields: Vec<Field>,
}

/// A reference, such as that to a user.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Named {
    /// Its name or number.
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
}

/// A custom field of a ticket.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Field {
    name: String,
    /// What stands in it; files and pictures are no text.
    values: Vec<serde_json::Value>,
}

/// A number, which RT writes as one or as a text, or a reference to what has it.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = text(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom("expected a number"))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
        Reference { id: Box<Written> },
    }
    let mut written = Written::deserialize(deserializer)?;
    loop {
        match written {
            Written::Number(number) => return Ok(number.to_string()),
            Written::Text(text) => return Ok(text),
            Written::Reference { id } => written = *id,
        }
    }
}

/// The custom fields; a ticket without any has an empty text in their place.
fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Field>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Fields(Vec<Field>),
        Nothing(#[allow(dead_code, reason = "its shape is what counts")] String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Fields(fields) => fields,
        Written::Nothing(_) => Vec::new(),
    })
}

impl Ticket {
    /// What stands in a custom field of one value.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.custom_fields.iter().find(|field| field.name == name)?.values.first()?.as_str()
    }

    /// Whether a custom field of it holds exactly this.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        let of_name = self.custom_fields.iter().filter(|field| field.name == name);
        of_name.flat_map(|field| &field.values).any(|found| found.as_str() == Some(value))
    }

    /// Whether a custom field of this name belongs to it, filled or not.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.custom_fields.iter().any(|field| field.name == name)
    }

    /// Whether its subject is one of ours with this key.
    pub(super) fn is_titled(&self, key: &str) -> bool {
        self.subject.trim_end().ends_with(&ending(key))
    }

    /// Whether somebody deleted it.
    pub(super) fn is_deleted(&self) -> bool {
        self.status == "deleted"
    }

    /// Where the booking stands by its status.
    pub(super) fn standing(&self, config: &Config) -> Standing {
        let among = |statuses: &[String]| statuses.contains(&self.status);
        match self {
            _ if self.is_deleted() => Standing::Missing,
            _ if among(&config.confirmed) => Standing::Confirmed,
            _ if among(&config.done) => Standing::Reported,
            _ if among(&config.refused) => Standing::Refused,
            _ => Standing::Requested,
        }
    }

    /// Its appointment, if it has both ends of one.
    pub(super) fn window(&self) -> Option<Window> {
        let is_set = |at: &DateTime<Utc>| at.timestamp() > 0;
        let (start, end) = (self.starts.filter(is_set)?, self.due.filter(is_set)?);
        (start < end).then_some(Window { start, end })
    }
}

/// A file or a text of a ticket.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Part {
    /// Its number.
    #[serde(rename = "id", deserialize_with = "number")]
    pub(super) id: u64,
    /// Its name, if it is a file.
    #[serde(default)]
    pub(super) filename: Option<String>,
    /// What kind it is.
    #[serde(default)]
    pub(super) content_type: Option<String>,
    /// What it says: in base64, if the part itself was asked for.
    #[serde(default)]
    pub(super) content: Option<String>,
}

/// An entry of a ticket's history.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// Its number.
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    /// Its kind: `Correspond` is what somebody wrote to the requestor.
    #[serde(rename = "Type")]
    pub(super) kind: String,
}

/// A new ticket.
#[derive(Debug, Deserialize)]
pub(super) struct Created {
    /// Its number.
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};
    use serde_json::json;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time written here")
    }

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).expect("a status");
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec(), is_cut: false }
    }

    #[test]
    fn answers_mean_what_the_table_says() {
        let meant = |status| match refused(&answer(status, "{}"), now()) {
            Outcome::NotDelivered { .. } => "not delivered",
            Outcome::LockedOut { .. } => "locked out",
            Outcome::Ambiguous { .. } => "ambiguous",
            Outcome::Rejected { .. } => "rejected",
            other => unreachable!("{other:?}"),
        };
        let table: [(&str, &[u16]); 4] = [
            ("not delivered", &[301, 302, 307, 404, 405, 407, 412, 429]),
            ("locked out", &[401, 403]),
            ("ambiguous", &[200, 201, 204, 408, 409, 500, 502, 503, 504, 600]),
            ("rejected", &[400, 410, 413, 415, 422]),
        ];
        for (expected, statuses) in table {
            for status in statuses {
                assert_eq!(meant(*status), expected, "{status}");
            }
        }
    }

    #[test]
    fn rt_itself_says_that_a_ticket_is_gone() {
        assert!(is_gone(&answer(404, r#"{"message":"Not Found"}"#)));
        assert!(!is_gone(&answer(404, "<html>Not Found</html>")));
        assert!(!is_gone(&answer(200, r#"{"message":"Not Found"}"#)));
    }

    fn ticket(change: serde_json::Value) -> Ticket {
        let mut ticket = json!({
            "id": "7", "EffectiveId": "7", "Subject": "x [bw1-k]", "Status": "new",
            "Starts": "2026-11-25T09:00:00Z", "Due": "2026-11-25T10:00:00Z",
            "Creator": { "id": "bellwether", "type": "user", "_url": "" },
            "CustomFields": [{ "name": "BW.Room", "values": ["r1"] }, { "name": "BW.Key", "values": ["bw1-k"] }],
        });
        for (key, value) in change.as_object().expect("an object") {
            ticket[key] = value.clone();
        }
        serde_json::from_value(ticket).expect("a ticket")
    }

    #[test]
    fn a_ticket_is_read_as_a_search_and_as_a_page_show_it() {
        let of_search = ticket(json!({}));
        let of_page = ticket(json!({ "id": 7, "EffectiveId": { "id": "7", "type": "ticket" } }));
        assert_eq!(of_search, of_page);
        assert!(
            of_search.has("BW.Key", "bw1-k") && !of_search.has("BW.Key", "bw1-") && !of_search.has("BW.Room", "R1")
        );
        assert!(of_search.is_titled("bw1-k") && !of_search.is_titled("w1-k"));
        let bare = ticket(json!({ "CustomFields": "" }));
        assert_eq!(bare.field("BW.Key"), None);
        assert!(serde_json::from_value::<Ticket>(json!({ "id": "x", "EffectiveId": "7", "Status": "new" })).is_err());
    }

    #[test]
    fn an_appointment_has_both_ends() {
        assert!(ticket(json!({})).window().is_some());
        for unset in ["1970-01-01T00:00:00Z", "2026-11-25T11:00:00Z"] {
            assert_eq!(ticket(json!({ "Starts": unset })).window(), None, "{unset}");
        }
        assert_eq!(ticket(json!({ "Due": null })).window(), None);
    }

    #[test]
    fn a_status_stands_for_what_the_config_says() {
        let mut config: Config =
            serde_json::from_value(json!({ "url": "https://v.example", "token_file": "/t", "queue": "AV" }))
                .expect("a config written here");
        config.confirmed.push("scheduled".into());
        let table = [
            ("new", Standing::Requested),
            ("stalled", Standing::Requested),
            ("open", Standing::Confirmed),
            ("scheduled", Standing::Confirmed),
            ("resolved", Standing::Reported),
            ("rejected", Standing::Refused),
            ("deleted", Standing::Missing),
        ];
        for (status, expected) in table {
            assert_eq!(ticket(json!({ "Status": status })).standing(&config), expected, "{status}");
        }
    }
}
