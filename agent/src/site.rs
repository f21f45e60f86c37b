//! Who and where: what a booking must say of the school, the room and the vendor.

use bellwether_probes::{Mistake, Span};
use chrono::{NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Language of texts for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Simplified Chinese.
    #[default]
    #[serde(rename = "zh-CN")]
    Chinese,
    /// English.
    #[serde(rename = "en")]
    English,
}

/// `[school]`: the school and the person to call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct School {
    /// Name of the school; a booking without it is incomplete.
    pub name: String,
    /// Campus, where a school has several.
    pub campus: String,
    /// The person the vendor calls.
    pub contact: Contact,
}

/// `[school.contact]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contact {
    /// Name or office; a booking without it is incomplete.
    pub name: String,
    /// Telephone; a booking needs this or an address.
    pub phone: String,
    /// Mail address.
    pub email: String,
}

/// `[room]`: the room this box serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Room {
    /// Short identifier, unique in the school: the scope of the room's bookings.
    pub id: String,
    /// Name as people call the room.
    pub name: String,
    /// Building.
    pub building: String,
    /// The shared media service the room uses.
    pub service: String,
    /// Model of the classroom box.
    pub hardware: String,
    /// How the classroom software is deployed: `on_premises`, `cloud`, `hybrid`.
    pub deployment: String,
    /// How many people use it at once, as the vendor asks.
    pub users: u32,
    /// What the room is used for.
    pub usage: String,
}

/// `[site]`: what all times and texts refer to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Locale {
    /// Named time zone of the school.
    #[serde(deserialize_with = "zone")]
    pub timezone: Tz,
    /// Language of texts for people.
    pub language: Language,
}

fn zone<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    let expected = "expected the name of a time zone, such as \"Asia/Shanghai\"";
    name.parse().map_err(|_| serde::de::Error::custom(format!("found {name:?}, {expected}")))
}

impl Default for Locale {
    fn default() -> Self {
        Self { timezone: Tz::Asia__Shanghai, language: Language::default() }
    }
}

/// `[vendor]`: who maintains the room, and when they work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vendor {
    /// Name of the vendor; part of every booking key.
    pub name: String,
    /// Working days, such as `["Mon", "Tue"]`.
    pub days: Vec<Weekday>,
    /// Start of the working day in the school's zone.
    #[serde(with = "clock_time")]
    pub from: NaiveTime,
    /// End of the working day.
    #[serde(with = "clock_time")]
    pub to: NaiveTime,
    /// How long before the visit the vendor must know.
    pub notice: Span,
    /// How long a visit takes.
    pub duration: Span,
}

impl Default for Vendor {
    fn default() -> Self {
        use Weekday::{Fri, Mon, Thu, Tue, Wed};
        let at = |hour, minute| NaiveTime::from_hms_opt(hour, minute, 0).expect("a time of day written here");
        let minutes = |count: u64| Span(std::time::Duration::from_secs(60 * count));
        Self {
            name: "vendor".to_owned(),
            days: vec![Mon, Tue, Wed, Thu, Fri],
            from: at(9, 0),
            to: at(17, 30),
            notice: minutes(120),
            duration: minutes(60),
        }
    }
}

impl Vendor {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.days.is_empty() {
            mistakes.push(Mistake::new("days", "found no day, expected at least one working day, such as [\"Mon\"]"));
        }
        let open = (self.to - self.from).num_seconds();
        if open <= 0 {
            let found = format!(
                "found {}, expected a time after from = {}",
                self.to.format("%H:%M"),
                self.from.format("%H:%M")
            );
            mistakes.push(Mistake::new("to", found));
        } else if self.duration.0.as_secs() as i64 > open {
            mistakes.push(Mistake::new(
                "duration",
                "found more than a working day, expected a visit that fits between from and to",
            ));
        }
        if self.name.trim().is_empty() {
            mistakes.push(Mistake::new("name", "found an empty name, expected the vendor's name"));
        }
        mistakes
    }
}

/// Reads and writes `09:00`.
mod clock_time {
    use chrono::NaiveTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.format("%H:%M"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        NaiveTime::parse_from_str(&text, "%H:%M")
            .map_err(|_| D::Error::custom(format!("found {text:?}, expected a time of day such as \"09:00\"")))
    }
}

/// Everything a booking says of who and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The school.
    pub school: School,
    /// The room.
    pub room: Room,
    /// Zone and language.
    pub locale: Locale,
    /// The vendor.
    pub vendor: Vendor,
}
