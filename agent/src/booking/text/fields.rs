//! The parts of a text, by the names that a school's template places them with.

use super::{Writer, judged, one_line};
use crate::booking::slot;

/// A part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Subject,
    Body,
    Standing,
    School,
    Place,
    Versions,
    Contact,
    Wanted,
    Duration,
    Access,
    Prepare,
    Checklist,
    Observation,
    Kind,
    Severity,
    Request,
    Deployment,
    Users,
    Usage,
    Evidence,
    Not,
    Again,
    Clears,
    Changes,
    Recent,
    Report,
    Effect,
    Notes,
    Metrics,
    Hardware,
    Vendor,
    Timezone,
    Key,
}

/// All of them in the order of the form, with their names.
const FIELDS: [(&str, Field); 33] = [
    ("subject", Field::Subject),
    ("body", Field::Body),
    ("standing", Field::Standing),
    ("school", Field::School),
    ("place", Field::Place),
    ("versions", Field::Versions),
    ("contact", Field::Contact),
    ("wanted", Field::Wanted),
    ("duration", Field::Duration),
    ("access", Field::Access),
    ("prepare", Field::Prepare),
    ("checklist", Field::Checklist),
    ("observation", Field::Observation),
    ("kind", Field::Kind),
    ("severity", Field::Severity),
    ("request", Field::Request),
    ("deployment", Field::Deployment),
    ("users", Field::Users),
    ("usage", Field::Usage),
    ("evidence", Field::Evidence),
    ("not", Field::Not),
    ("again", Field::Again),
    ("clears", Field::Clears),
    ("changes", Field::Changes),
    ("recent", Field::Recent),
    ("report", Field::Report),
    ("effect", Field::Effect),
    ("notes", Field::Notes),
    ("metrics", Field::Metrics),
    ("hardware", Field::Hardware),
    ("vendor", Field::Vendor),
    ("timezone", Field::Timezone),
    ("key", Field::Key),
];

impl Field {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        FIELDS.into_iter().map(|(_, field)| field)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    pub(super) fn name(self) -> &'static str {
        FIELDS.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// The names, for messages.
    pub(super) fn names() -> String {
        FIELDS.map(|(name, _)| name).join(", ")
    }

    /// Whether it may have several lines.
    pub(super) fn is_list(self) -> bool {
        use Field::{Body, Changes, Checklist, Evidence, Not, Notes, Prepare, Recent, Standing, Versions, Wanted};
        matches!(
            self,
            Body | Standing | Versions | Wanted | Prepare | Checklist | Evidence | Not | Changes | Recent | Notes
        )
    }
}

/// What a part says: nothing, a line, or lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// What follows its label on the same line.
    pub(super) line: String,
    /// Whole lines below that.
    pub(super) more: Vec<String>,
}

impl Value {
    pub(super) fn of(line: impl AsRef<str>) -> Self {
        Self { line: one_line(line.as_ref()), more: Vec::new() }
    }

    pub(super) fn list(items: impl IntoIterator<Item = String>) -> Self {
        let more = items.into_iter().map(|item| one_line(&format!("  - {item}"))).collect();
        Self { line: String::new(), more }
    }

    fn block(lines: impl IntoIterator<Item = String>) -> Self {
        let mut lines = lines.into_iter().map(|line| one_line(&line));
        Self { line: lines.next().unwrap_or_default(), more: lines.collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.trim().is_empty() && self.more.is_empty()
    }

    /// Its lines, without an empty first one.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.line).filter(|line| !line.is_empty()).chain(&self.more).map(String::as_str)
    }
}

impl Writer<'_> {
    /// What a part says of the booking.
    pub(super) fn value(&self, field: Field) -> Value {
        let (booking, words) = (self.booking, self.words);
        match field {
            Field::Subject => Value::of(self.subject()),
            Field::Body => Value::block(self.body().lines().map(str::to_owned)),
            Field::Standing => Value::block(self.standing()),
            Field::School => Value::of(&booking.school.name),
            Field::Place => Value::of(self.place()),
            Field::Versions => {
                Value::list(booking.versions.iter().map(|known| format!("{} {}", known.component, known.version)))
            }
            Field::Contact => Value::of(self.contact()),
            Field::Wanted => self.wanted(),
            Field::Duration => {
                let visit = booking.class().visit(slot::span(booking.vendor.duration));
                Value::of(words.minutes(visit.num_minutes()))
            }
            Field::Access => Value::of(self.access()),
            Field::Prepare => Value::list(booking.visit.prepare.iter().cloned()),
            Field::Checklist => Value::list(self.checklist()),
            Field::Observation => Value::of(self.observation()),
            Field::Kind => Value::of(self.kind()),
            Field::Severity => Value::of(self.severity()),
            Field::Request => Value::of(self.request()),
            Field::Deployment => Value::of(words.deployment(&booking.room.deployment)),
            Field::Users if booking.room.users == 0 => Value::default(),
            Field::Users => Value::of(booking.room.users.to_string()),
            Field::Usage => Value::of(&booking.room.usage),
            Field::Evidence => Value::list(booking.evidence.iter().map(|evidence| self.evidence(evidence))),
            Field::Not => Value::list(booking.judgement.iter().flat_map(|judgement| judged::not(judgement, words))),
            Field::Again => {
                Value::of(booking.judgement.as_ref().map_or_else(String::new, |found| judged::again(found, words)))
            }
            Field::Clears => {
                let is_off =
                    booking.evidence.iter().any(|evidence| evidence.shift.as_ref().is_some_and(|shift| shift.on));
                if is_off && booking.judgement.is_some() { Value::of(judged::clears(words)) } else { Value::default() }
            }
            Field::Changes => Value::list(booking.changes.iter().map(|change| self.change(change))),
            Field::Recent => Value::list(self.recent()),
            Field::Report => Value::of(booking.life.report.as_deref().unwrap_or_default()),
            Field::Effect => Value::of(self.effect()),
            Field::Notes => Value::list(self.notes()),
            Field::Metrics => Value::of(self.metrics()),
            Field::Hardware => Value::of(&booking.room.hardware),
            Field::Vendor => Value::of(&booking.vendor.name),
            Field::Timezone => Value::of(&booking.timezone),
            Field::Key => Value::of(&booking.key),
        }
    }

    /// What stands before a part on the form; `None` if it has no line of its own there.
    pub(super) fn label(&self, field: Field) -> Option<&'static str> {
        let words = self.words;
        Some(match field {
            Field::Subject | Field::Body | Field::Standing | Field::Severity => return None,
            Field::School => words.school,
            Field::Place => words.place,
            Field::Versions => words.versions,
            Field::Contact => words.contact,
            Field::Wanted => words.wanted,
            Field::Duration => words.duration,
            Field::Access => words.pick("维护方式", "Access"),
            Field::Prepare => words.pick("学校需准备", "The school prepares"),
            Field::Checklist => words.pick("检查清单", "Checklist"),
            Field::Observation => words.pick("观察期", "Observation"),
            Field::Kind => words.kind,
            Field::Request => words.request,
            Field::Deployment => words.deployment,
            Field::Users => words.users,
            Field::Usage => words.usage,
            Field::Evidence => words.evidence,
            Field::Not => words.not,
            Field::Again => words.again,
            Field::Clears => words.clears,
            Field::Changes => words.changes,
            Field::Recent => words.pick("近期预约", "Bookings before"),
            Field::Report => words.pick("维护报告", "Report"),
            Field::Effect => words.pick("维护前后对比", "Before and after"),
            Field::Notes => words.pick("备注", "Notes"),
            Field::Metrics => words.metrics,
            Field::Hardware => words.hardware,
            Field::Vendor => words.vendor,
            Field::Timezone => words.zone,
            Field::Key => words.key,
        })
    }
}
