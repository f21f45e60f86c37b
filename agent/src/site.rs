//! Who and where: what a booking must say of the school, the room and the vendor.

use std::path::PathBuf;

use bellwether_probes::{Metric, Mistake, Span, load};
use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::{
    booking::{Kind, Severity},
    calendar::{config::Dates, holidays::is_country},
    channel::silence,
};

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

/// How the vendor gets at the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Somebody comes.
    #[default]
    OnSite,
    /// From afar.
    Remote,
    /// Either.
    Both,
}

/// `[visit]`: how a visit is to go. It is part of every booking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Visit {
    /// How the vendor gets at the room.
    pub access: Access,
    /// Who lets the vendor in, or hands over the remote session.
    pub escort: String,
    /// What the school prepares.
    pub prepare: Vec<String>,
    /// What both sides confirm before and after the work.
    pub checklist: Vec<String>,
    /// How long the room is observed after the work.
    pub observe: Span,
}

impl Default for Visit {
    fn default() -> Self {
        Self {
            access: Access::default(),
            escort: String::new(),
            prepare: Vec::new(),
            checklist: Vec::new(),
            observe: Span(std::time::Duration::from_secs(14 * 86_400)),
        }
    }
}

/// How many lines a list of `[visit]` may have.
const MOST_POINTS: usize = 30;

impl Visit {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let days = self.observe.0.as_secs_f64() / 86_400.0;
        if !(1.0..=90.0).contains(&days) {
            mistakes.push(Mistake::new("observe", format!("found {days} days, expected 1 to 90 days")));
        }
        for (key, list) in [("prepare", &self.prepare), ("checklist", &self.checklist)] {
            if list.len() > MOST_POINTS || list.iter().any(|line| line.trim().is_empty()) {
                let found = format!("found {} lines, expected at most {MOST_POINTS}, none of them empty", list.len());
                mistakes.push(Mistake::new(key, found));
            }
        }
        mistakes
    }
}

/// `[bookings]`: who decides, and how many there may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Bookings that wait until a person releases them: `KIND`, `KIND.SEVERITY`, or `all`.
    pub propose: Vec<String>,
    /// How many bookings may be opened within an hour; what comes beyond joins one booking.
    pub most_per_hour: u32,
    /// File of the school's own text: see [`template`](crate::booking::text::template).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    /// Where alerts are silenced while somebody works on the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<silence::Config>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { propose: Vec::new(), most_per_hour: 6, template: None, silence: None }
    }
}

impl Policy {
    /// Whether a booking waits for a person.
    pub fn proposes(&self, kind: Kind, severity: Severity) -> bool {
        self.propose.iter().any(|held| match held.split_once('.') {
            Some((of, severe)) => of == kind.name() && severe == severity.name(),
            None => held == "all" || held == kind.name(),
        })
    }

    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        let is_known = |held: &String| {
            let (kind, severity) = held.split_once('.').map_or((held.as_str(), None), |(a, b)| (a, Some(b)));
            let of_kind = Kind::ALL.iter().any(|known| known.name() == kind);
            let known_severity = |word: &str| Severity::ALL.iter().any(|known| known.name() == word);
            held == "all" || of_kind && severity.is_none_or(known_severity)
        };
        let mut mistakes: Vec<Mistake> = self
            .propose
            .iter()
            .filter(|held| !is_known(held))
            .map(|held| {
                let kinds = Kind::ALL.map(Kind::name).join(", ");
                let severities = Severity::ALL.map(Severity::name).join(", ");
                let found = format!(
                    "found {held:?}, expected \"all\", a kind ({kinds}), or a kind and a severity ({severities}) such as \
                     \"fault.low\""
                );
                Mistake::new("propose", found)
            })
            .collect();
        if self.most_per_hour == 0 {
            mistakes.push(Mistake::new("most_per_hour", "found 0, expected at least 1"));
        }
        let silence = self.silence.iter().flat_map(silence::Config::check);
        mistakes.extend(silence.map(|mistake| mistake.below("silence")));
        mistakes
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
    /// How a visit is to go.
    pub visit: Visit,
    /// Who decides.
    pub policy: Policy,
}

impl Site {
    /// What a booking needs, and this does not say, as key paths of the config.
    pub fn missing(&self) -> Vec<&'static str> {
        let (school, room, contact) = (&self.school, &self.room, &self.school.contact);
        let says = |text: &str| !text.trim().is_empty();
        let needed = [
            ("school.name", says(&school.name)),
            ("room.id", says(&room.id)),
            ("room.name", says(&room.name)),
            ("school.contact.name", says(&contact.name)),
            ("school.contact.phone", says(&contact.phone) || says(&contact.email)),
        ];
        needed.into_iter().filter(|(_, there)| !there).map(|(path, _)| path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vendor, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_a_booking_needs_is_missed_until_it_is_said() {
        let mut site = Site::default();
        let all = ["school.name", "room.id", "room.name", "school.contact.name", "school.contact.phone"];
        assert_eq!(site.missing(), all);
        site.school.name = " \t".into();
        site.room = Room { id: "r1".into(), name: "Room 1".into(), ..Room::default() };
        assert_eq!(
            site.missing(),
            ["school.name", "school.contact.name", "school.contact.phone"],
            "blanks say nothing"
        );
        site.school.name = "School".into();
        site.school.contact = Contact { name: "office".into(), ..Contact::default() };
        assert_eq!(site.missing(), ["school.contact.phone"]);
        for contact in ["phone", "email"] {
            let mut site = site.clone();
            *(if contact == "phone" { &mut site.school.contact.phone } else { &mut site.school.contact.email }) =
                "1".into();
            assert!(site.missing().is_empty(), "{contact} will do");
        }
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
