//! Who and where: what a booking must say of the school, the room and the vendor.

use bellwether_probes::{Metric, Mistake, Span, load};
use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::calendar::{config::Dates, holidays::is_country};

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
    /// Which metric of a `load` probe says how much the room's media service has to do: half-hours are compared
    /// with others of the same load.
    pub load_metric: Metric,
}

impl Locale {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        if load::METRICS.contains(&self.load_metric) {
            return Vec::new();
        }
        let known = load::METRICS.map(Metric::name).join(", ");
        vec![Mistake::new("load_metric", format!("found {:?}, expected one of {known}", self.load_metric.name()))]
    }
}

fn zone<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    let expected = "expected the name of a time zone, such as \"Asia/Shanghai\"";
    name.parse().map_err(|_| serde::de::Error::custom(format!("found {name:?}, {expected}")))
}

fn own_zone<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    zone(deserializer).map(Some)
}

impl Default for Locale {
    fn default() -> Self {
        Self { timezone: Tz::Asia__Shanghai, language: Language::default(), load_metric: Metric::ServiceUsers }
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
    /// Start of the working day, in the vendor's zone.
    #[serde(with = "clock_time")]
    pub from: NaiveTime,
    /// End of the working day.
    #[serde(with = "clock_time")]
    pub to: NaiveTime,
    /// How long before the visit the vendor must know.
    pub notice: Span,
    /// How long a visit takes.
    pub duration: Span,
    /// The vendor's own zone; the school's if it has none.
    #[serde(deserialize_with = "own_zone", skip_serializing_if = "Option::is_none")]
    pub timezone: Option<Tz>,
    /// Country whose days off and make-up days the vendor follows, `""` for none; the school's if left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Days that the vendor has off by itself.
    #[serde(serialize_with = "dates", skip_serializing_if = "Vec::is_empty")]
    pub days_off: Vec<Dates>,
    /// Days on which the vendor works, although they are off or no working days.
    #[serde(serialize_with = "dates", skip_serializing_if = "Vec::is_empty")]
    pub works: Vec<Dates>,
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
            timezone: None,
            country: None,
            days_off: Vec::new(),
            works: Vec::new(),
        }
    }
}

/// How many days off, and working days, a vendor may name.
const MAX_DATES: usize = 400;

impl Vendor {
    /// The zone of the vendor's hours, at a school in this one.
    pub fn zone(&self, school: Tz) -> Tz {
        self.timezone.unwrap_or(school)
    }

    /// Whose days off the vendor follows, with a school that follows this country's.
    pub fn country<'v>(&'v self, school: &'v str) -> &'v str {
        self.country.as_deref().unwrap_or(school)
    }

    /// What the vendor says of a date itself: `true` if it works, `false` if it has the day off.
    pub fn own(&self, date: NaiveDate) -> Option<bool> {
        let holds = |list: &[Dates]| list.iter().any(|dates| dates.from <= date && date <= dates.to);
        if holds(&self.works) { Some(true) } else { holds(&self.days_off).then_some(false) }
    }

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
        if let Some(country) = self.country.as_ref().filter(|country| !country.is_empty() && !is_country(country)) {
            let expected = "expected two letters such as \"CN\", or \"\" for none";
            mistakes.push(Mistake::new("country", format!("found {country:?}, {expected}")));
        }
        for (key, list) in [("days_off", &self.days_off), ("works", &self.works)] {
            if list.len() > MAX_DATES {
                let found = format!("found {} entries, expected at most {MAX_DATES}", list.len());
                mistakes.push(Mistake::new(key, found));
            }
        }
        mistakes.extend(self.contradiction());
        mistakes
    }

    /// A date that is said to be off and to be worked on.
    fn contradiction(&self) -> Option<Mistake> {
        let pairs = self.works.iter().flat_map(|works| self.days_off.iter().map(move |off| (works, off)));
        let mut both = pairs.filter(|(works, off)| works.from <= off.to && off.from <= works.to);
        let (works, off) = both.next()?;
        let date = works.from.max(off.from);
        let found = format!("found {works}, expected no date of {off} in days_off: {date} is in both");
        Some(Mistake::new("works", found))
    }
}

/// Reads and writes `09:00`.
pub(crate) mod clock_time {
    use chrono::NaiveTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&time.format("%H:%M"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        NaiveTime::parse_from_str(&text, "%H:%M")
            .map_err(|_| D::Error::custom(format!("found {text:?}, expected a time of day such as \"09:00\"")))
    }
}

fn dates<S: serde::Serializer>(list: &[Dates], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(Dates::to_string))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vendor, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// As bookings have kept it since the first release.
    const STORED: &str = r#"{"name":"vendor","days":["Mon","Tue","Wed","Thu","Fri"],"from":"09:00","to":"17:30","notice":7200.0,"duration":3600.0}"#;

    #[test]
    fn a_vendor_that_says_no_more_is_stored_as_ever() {
        assert_eq!(serde_json::to_string(&Vendor::default()).expect("JSON"), STORED);
        assert_eq!(read(STORED).expect("a vendor"), Vendor::default());
    }

    #[test]
    fn a_vendor_with_a_calendar_of_its_own_reads_back() {
        let text = STORED.replace(
            '}',
            r#","timezone":"Europe/Berlin","country":"DE","days_off":["2026-12-24/2026-12-31"],"works":["2026-10-03"]}"#,
        );
        let vendor = read(&text).expect("a vendor");
        assert_eq!(vendor.timezone, Some(Tz::Europe__Berlin));
        assert_eq!((vendor.zone(Tz::Asia__Shanghai), vendor.country("CN")), (Tz::Europe__Berlin, "DE"));
        assert_eq!(serde_json::to_string(&vendor).expect("JSON"), text);
        assert!(vendor.check().is_empty());
        let none = Vendor::default();
        assert_eq!((none.zone(Tz::Asia__Shanghai), none.country("CN")), (Tz::Asia__Shanghai, "CN"));
        let own = ["2026-12-23", "2026-12-24", "2026-12-31", "2027-01-01", "2026-10-03"];
        let own = own.map(|date| vendor.own(date.parse().expect("a date written here")));
        assert_eq!(own, [None, Some(false), Some(false), None, Some(true)]);
    }

    #[test]
    fn mistakes_of_a_vendors_calendar_are_named() {
        let checked = |keys: &str| {
            let vendor = read(&STORED.replace('}', &format!(",{keys}}}"))).expect("a vendor");
            vendor
                .check()
                .into_iter()
                .map(|mistake| format!("{}: {}", mistake.key, mistake.message))
                .collect::<Vec<_>>()
        };
        let both = r#""days_off":["2026-12-01","2026-12-24/2026-12-31"],"works":["2026-12-20/2026-12-24"]"#;
        let found = "works: found 2026-12-20/2026-12-24, expected no date of 2026-12-24/2026-12-31 in days_off: 2026-12-24 is \
                     in both";
        assert_eq!(checked(both), [found]);
        assert_eq!(checked(&both.replace("/2026-12-24\"", "/2026-12-23\"")), Vec::<String>::new());
        let country = r#"country: found "China", expected two letters such as "CN", or "" for none"#;
        assert_eq!(checked(r#""country":"China""#), [country]);
        assert_eq!(checked(r#""country":"""#), Vec::<String>::new());
        let many = vec![r#""2026-12-01""#; 401].join(",");
        assert_eq!(checked(&format!(r#""days_off":[{many}]"#)), ["days_off: found 401 entries, expected at most 400"]);
        for bad in [r#""days_off":["2026-02-29"]"#, r#""timezone":"Mars""#, r#""works":["2026-12-31/2026-12-24"]"#] {
            let error = read(&STORED.replace('}', &format!(",{bad}}}"))).expect_err(bad).to_string();
            assert!(error.starts_with("found \""), "{error}");
        }
    }
}
