//! Bookings: maintenance appointments opened for incidents, and the orders that carry them to the
//! vendor.
//!
//! A booking is planned purely ([`plan`]), written with its orders in one transaction, and only then
//! sent ([`dispatch`]). An order's key and bytes never change after that.

pub mod dispatch;
pub mod ical;
pub mod life;
pub mod lifecycle;
pub mod outbox;
pub mod plan;
pub mod remote;
pub mod slot;
pub mod text;

use bellwether_probes::Family;
use chrono::{DateTime, Utc};
use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    incident::{Cause, Evidence, Judgement},
    site::{Room, School, Vendor, Visit},
};

/// What a booking is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something is beyond its limit, or far from what the room would read in health.
    Fault,
    /// A component changed its version; the vendor checks that the room still works.
    UpgradeCheck,
    /// What there is does not bear the number of users, or bears far more.
    Capacity,
    /// A visit that is made from time to time; opened by hand.
    Routine,
    /// Something that endangers more than this room's picture and sound; opened by hand.
    Security,
    /// Somebody or something says that it is not right, and not what it is: also what everything joins when
    /// too many bookings were opened within an hour.
    Unsure,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Fault, Self::UpgradeCheck, Self::Capacity, Self::Routine, Self::Security, Self::Unsure];

    /// The word used in JSON and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::UpgradeCheck => "upgrade_check",
            Self::Capacity => "capacity",
            Self::Routine => "routine",
            Self::Security => "security",
            Self::Unsure => "unsure",
        }
    }
}

/// Where a booking stands; [`lifecycle`] says what leads where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Planned, and held back until somebody releases it.
    Suspected,
    /// Planned and durable; no channel has taken it yet.
    Holding,
    /// A channel has taken the request.
    Requested,
    /// The vendor wants another time: the school decides.
    Countered,
    /// The time is agreed.
    Confirmed,
    /// The work is under way.
    InMaintenance,
    /// The work is done, the vendor says, or its window is over.
    Reported,
    /// The numbers are watched.
    Observing,
    /// The numbers have judged; the school has yet to accept.
    Evaluated,
    /// Accepted by both, and over.
    Archived,
    /// The vendor does not come: a person must act.
    Refused,
    /// Withdrawn, because what it was for went away, or somebody said so.
    Cancelled,
    /// No channel can carry it: a person must act.
    NeedsHuman,
}

impl State {
    /// All states, in the order of a booking's life.
    pub const ALL: [Self; 13] = [
        Self::Suspected,
        Self::Holding,
        Self::Requested,
        Self::Countered,
        Self::Confirmed,
        Self::InMaintenance,
        Self::Reported,
        Self::Observing,
        Self::Evaluated,
        Self::Archived,
        Self::Refused,
        Self::Cancelled,
        Self::NeedsHuman,
    ];

    /// The word used in JSON, labels and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspected => "suspected",
            Self::Holding => "holding",
            Self::Requested => "requested",
            Self::Countered => "countered",
            Self::Confirmed => "confirmed",
            Self::InMaintenance => "in_maintenance",
            Self::Reported => "reported",
            Self::Observing => "observing",
            Self::Evaluated => "evaluated",
            Self::Archived => "archived",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::NeedsHuman => "needs_human",
        }
    }

    /// Whether the booking is over: a new fault of the same scope, family and cause opens another.
    pub fn ended(self) -> bool {
        matches!(self, Self::Cancelled | Self::Archived)
    }
}

/// How soon somebody should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// At the next regular visit.
    Low,
    /// Within five working days.
    Normal,
    /// Within one working day.
    High,
    /// Before the next lesson.
    Critical,
}

impl Severity {
    /// All, from the least on.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The word used in JSON and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How far two versions are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The first number differs.
    Major,
    /// The second number differs.
    Minor,
    /// The third number differs.
    Patch,
    /// Anything else: a build number, a package revision, a name.
    Other,
}

/// A component that changed its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionChange {
    /// The component.
    pub component: String,
    /// The version before.
    pub old: String,
    /// The version after.
    pub new: String,
    /// How far they are apart.
    pub kind: ChangeKind,
    /// When the new version was first seen.
    pub at: DateTime<Utc>,
}

/// A component and the version that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentState {
    /// The component.
    pub component: String,
    /// Its version.
    pub version: String,
}

/// A span of time that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its start.
    pub start: DateTime<Utc>,
    /// Its end.
    pub end: DateTime<Utc>,
}

/// A booking of the room that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its key.
    pub key: String,
    /// What it was for.
    pub kind: Kind,
    /// The family of its metrics.
    pub family: Family,
    /// How it ended.
    pub state: State,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
}

/// A maintenance appointment. This shape is the JSON of `folder`, of a webhook's `data` and of
/// `bookings show --json`; its schema is `tests/booking.schema.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    /// See [`booking_key`].
    pub key: String,
    /// What it is for.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// How soon somebody should come; rises with evidence, never falls.
    pub severity: Severity,
    /// The room or component concerned.
    pub scope: String,
    /// The family of its metrics.
    pub family: Family,
    /// What the fault is blamed on.
    pub cause: Cause,
    /// How many bookings of this scope, family and cause ended before.
    pub epoch: u32,
    /// When it was planned.
    pub opened_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When all of its series were back within their limits.
    pub recovered_at: Option<DateTime<Utc>>,
    /// Start of the lesson before which it was still beyond its limits; what makes it critical.
    #[serde(default)]
    pub lesson_at_risk: Option<DateTime<Utc>>,
    /// What the engine makes of it, once it has something to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// The school and the person to call.
    pub school: School,
    /// The room.
    pub room: Room,
    /// The vendor.
    pub vendor: Vendor,
    /// Name of the time zone in which people read the times.
    pub timezone: String,
    /// What runs in the room.
    pub versions: Vec<ComponentState>,
    /// Version changes of the last 30 days, newest first; for an `upgrade_check` the ones to check.
    pub changes: Vec<VersionChange>,
    /// What was measured.
    pub evidence: Vec<Evidence>,
    /// The times that are asked for, best first.
    pub wanted: Vec<Window>,
    /// Those of `wanted` that may turn out to be impossible: on dates without data of holidays, or by a
    /// timetable that is old.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provisional: Vec<Window>,
    /// Why no time is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_window: Option<slot::Nothing>,
    /// If no time is asked for: exceptions that would make a visit possible, and that are asked for
    /// instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<slot::Relaxation>,
    /// What was agreed, and what it has lived through.
    #[serde(default)]
    pub life: life::Life,
    /// How the visit is to go.
    #[serde(default)]
    pub visit: Visit,
    /// What was wrong in the room lately, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Trouble>,
    /// What a complete booking would have and this one has not, as key paths of the config.
    pub missing: Vec<String>,
    /// Number of the newest order.
    pub op_seq: u32,
}

impl Booking {
    /// Whether it says everything that a vendor needs.
    pub fn complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// The cause as it stands in the key: a check never shares the key of a fault.
    pub fn cause_word(&self) -> &'static str {
        match self.kind {
            Kind::Fault | Kind::Capacity => self.cause.name(),
            Kind::UpgradeCheck | Kind::Routine | Kind::Security | Kind::Unsure => self.kind.name(),
        }
    }

    /// How far the change reaches that is to be looked at; a fault is a repair.
    pub fn class(&self) -> slot::Class {
        match self.kind {
            Kind::Fault | Kind::Capacity | Kind::Routine | Kind::Security | Kind::Unsure => slot::Class::Patch,
            Kind::UpgradeCheck => self.changes.iter().map(|change| change.kind.into()).max().unwrap_or_default(),
        }
    }

    /// `scope|family|cause`: under this the ended bookings are counted, see `Memory::epochs`.
    pub fn identity(&self) -> String {
        format!("{}|{}|{}", self.scope, self.family, self.cause_word())
    }
}

/// What an order asks of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Open the booking at the vendor's.
    Open,
    /// Say what changed.
    Update,
    /// Withdraw it.
    Cancel,
}

impl Operation {
    /// The word used in JSON and in the type of an event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Cancel => "cancel",
        }
    }
}

/// One intended call to a channel, durable before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// `booking_key + "." + op_seq`: the idempotency key.
    pub op_key: String,
    /// The booking it belongs to.
    pub booking_key: String,
    /// Its number within the booking; orders of a booking are sent in this order per channel.
    pub op_seq: u32,
    /// Name of the channel in the config.
    pub channel: String,
    /// What it asks.
    pub operation: Operation,
    /// When it was planned.
    pub created_at: DateTime<Utc>,
    /// The exact bytes to send, as the channel's `request` rendered them.
    pub body: String,
}

/// Derives a booking's key: `bw1-` and 26 characters of base32 over the SHA-256 of its identity.
///
/// `ledger_id` is drawn once per database, so that two boxes never share a key; `epoch` counts ended
/// bookings, so that the same fault gets a new key after it was closed.
pub fn booking_key(ledger_id: &str, vendor: &str, scope: &str, family: &str, cause: &str, epoch: u32) -> String {
    let mut hash = Sha256::new();
    for part in [ledger_id, vendor, scope, family, cause, &epoch.to_string()] {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let text = BASE32_NOPAD.encode(&hash.finalize()).to_ascii_lowercase();
    format!("bw1-{}", &text[..26])
}

/// The key of a booking's order number `op_seq`.
pub fn op_key(booking_key: &str, op_seq: u32) -> String {
    format!("{booking_key}.{op_seq}")
}

#[cfg(test)]
pub(crate) mod examples;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn keys_are_stable_and_tell_every_part_apart() {
        let key = booking_key("ledger", "vendor", "r1", "net", "room", 0);
        // Computed apart, with Python's hashlib.
        assert_eq!(key, "bw1-qwhsuv5f3k3jxifrxuquv4nuzc");
        let others = [
            booking_key("ledges", "vendor", "r1", "net", "room", 0),
            booking_key("ledger", "vendos", "r1", "net", "room", 0),
            booking_key("ledger", "vendor", "r2", "net", "room", 0),
            booking_key("ledger", "vendor", "r1", "app", "room", 0),
            booking_key("ledger", "vendor", "r1", "net", "version", 0),
            booking_key("ledger", "vendor", "r1", "net", "room", 1),
            booking_key("ledgerv", "endor", "r1", "net", "room", 0),
        ];
        assert!(others.iter().all(|other| *other != key && other.len() == key.len()));
        assert_eq!(op_key(&key, 12), format!("{key}.12"));
    }

    #[test]
    fn a_booking_survives_its_json() {
        for booking in [examples::full(), examples::minimal(), examples::exceptional(), examples::lived()] {
            let json = serde_json::to_string(&booking).expect("a booking serializes");
            assert_eq!(serde_json::from_str::<Booking>(&json).expect("and reads back"), booking);
        }
    }

    #[test]
    fn bookings_keep_their_schema() {
        let schema: Value =
            serde_json::from_str(include_str!("../../tests/booking.schema.json")).expect("the schema is JSON");
        for booking in [examples::full(), examples::minimal(), examples::exceptional(), examples::lived()] {
            let json = serde_json::to_value(&booking).expect("a booking serializes");
            let mut mistakes = Vec::new();
            check(&schema, &schema, &json, "booking", &mut mistakes);
            assert_eq!(mistakes, Vec::<String>::new());
        }
    }

    #[test]
    fn the_schema_knows_every_word() {
        let schema: Value =
            serde_json::from_str(include_str!("../../tests/booking.schema.json")).expect("the schema is JSON");
        let words = |name: &str| schema["properties"][name]["enum"].clone();
        assert_eq!(words("state"), serde_json::json!(State::ALL.map(State::name)));
        assert_eq!(words("severity"), serde_json::json!(Severity::ALL.map(Severity::name)));
        assert_eq!(words("kind"), serde_json::json!(Kind::ALL));
        assert_eq!(words("cause"), serde_json::json!([Cause::Room, Cause::Version, Cause::Load, Cause::Service]));
        let families = [Family::Net, Family::Video, Family::Audio, Family::Sync, Family::App];
        assert_eq!(words("family"), serde_json::json!(families.map(Family::name)));
    }

    #[test]
    fn the_check_finds_what_is_wrong() {
        let schema: Value =
            serde_json::from_str(include_str!("../../tests/booking.schema.json")).expect("the schema is JSON");
        let good = serde_json::to_value(examples::full()).expect("a booking serializes");
        type Spoil = fn(&mut Value);
        let table: [(&str, Spoil); 5] = [
            ("a field is gone", |json| drop(json.as_object_mut().map(|map| map.remove("key")))),
            ("a field is new", |json| json["extra"] = 1.into()),
            ("an unknown word", |json| json["state"] = "lost".into()),
            ("another type", |json| json["epoch"] = "0".into()),
            ("deep inside", |json| json["evidence"][0]["level"] = "bad".into()),
        ];
        for (name, spoil) in table {
            let mut json = good.clone();
            spoil(&mut json);
            let mut mistakes = Vec::new();
            check(&schema, &schema, &json, "booking", &mut mistakes);
            assert_eq!(mistakes.len(), 1, "{name}: {mistakes:?}");
        }
    }

    /// The few words of JSON Schema that the booking's schema uses.
    fn check(root: &Value, schema: &Value, value: &Value, path: &str, mistakes: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.trim_start_matches("#/$defs/");
            return check(root, &root["$defs"][name], value, path, mistakes);
        }
        let is = |name: &str| match name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            _ => false,
        };
        let fits = match &schema["type"] {
            Value::String(name) => is(name),
            Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
            _ => true,
        };
        if !fits {
            return mistakes.push(format!("{path}: {value} is not {}", schema["type"]));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            mistakes.push(format!("{path}: {value} is none of {words:?}"));
        }
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            check(root, &schema["items"], item, &format!("{path}[{i}]"), mistakes);
        }
        let Some(fields) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                mistakes.push(format!("{path}: {name} is missing"));
            }
        }
        for (name, field) in fields {
            let path = format!("{path}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(schema), _) => check(root, schema, field, &path, mistakes),
                (None, Value::Bool(false)) => mistakes.push(format!("{path}: unknown field")),
                (None, schema) => check(root, schema, field, &path, mistakes),
            }
        }
    }
}
