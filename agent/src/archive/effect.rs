//! Before and after a maintenance: what the fault was worth, and whether the repair took it away.
//!
//! ```text
//!        H 14 days        D          1 h   P 7 days, 14 when 7 are inconclusive
//! ──────────────────┤──────────────┤──┤──────────────────────────────►
//!                 onset       completed
//! ```
//!
//! A level of each phase is the median of its days' medians, load-adjusted. A shift between two phases is held
//! against the shifts of the sister rooms between the same dates; with fewer than eight of them, against at
//! least twelve earlier shifts of the same room between dates as far apart; else there is no verdict. Days
//! are whole days from the onset and from the completion, so that no hour of the day weighs more before
//! than after.

use serde::{Deserialize, Serialize};

use super::{
    Interval,
    months::SISTERS,
    statistics::{against, median},
};

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;
/// A day, in milliseconds.
const DAY: i64 = 24 * HOUR;
/// Days before the onset.
const BEFORE: i64 = 14;
/// Days after the completion, at first and at most.
const AFTER: [i64; 2] = [7, 14];
/// What happens just after the work is left out.
const SETTLING: i64 = HOUR;
/// Days with a level that before and after need each.
const LEAST_DAYS: usize = 5;
/// Half-hours that the level of a day needs.
const LEAST_HALF_HOURS: usize = 5;
/// The least number of earlier pairs of dates of the same room.
const PAIRS: usize = 12;
/// So many weeks back earlier pairs are looked for.
const WEEKS: i64 = 104;
/// What may be left of a fault that is solved, in units of what is material.
const SOLVED: f64 = 0.5;
/// The least improvement that counts, in the same.
const IMPROVED: f64 = 0.25;

/// A load-adjusted half-hour of one room: what it reads beyond what the model of a healthy room expects at
/// this load and hour. In transformed units, more is worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfHour {
    /// Its start, in milliseconds.
    pub at: i64,
    /// The value; what is no number is left out.
    pub value: f64,
}

/// What is known of one room, half-hours ordered by time.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// Its half-hours, from at least fourteen days before the onset.
    pub half_hours: &'a [HalfHour],
    /// The level that it was held against at the onset, by the model of the healthy room; `None` for the
    /// level of the fourteen days before. What came slowly is only seen against the first. Used if all rooms
    /// compared have one.
    pub anchor: Option<f64>,
}

/// A maintenance and what was measured around it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// When the fault began, in milliseconds.
    pub onset: i64,
    /// When the work was done.
    pub completed: i64,
    /// Until when there are values.
    pub now: i64,
    /// Whether the booking was opened again in its follow-up.
    pub reopened: bool,
    /// What is material, in transformed units, above 0.
    pub material: f64,
    /// The room that was repaired.
    pub room: Room<'a>,
    /// Rooms of the same service at which nothing was done meanwhile.
    pub sisters: &'a [Room<'a>],
}

/// Whether a maintenance has solved what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Less than half of what is material is left, for sure, and it did not come back.
    Solved,
    /// More than that is left, for sure, or it came back.
    NotSolved,
    /// Neither is sure.
    Inconclusive,
    /// There is no metric to tell by, as of cleaning.
    NotMeasurable,
}

impl Verdict {
    /// The word in JSON and in the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Solved => "solved",
            Self::NotSolved => "not_solved",
            Self::Inconclusive => "inconclusive",
            Self::NotMeasurable => "not_measurable",
        }
    }
}

/// Why a verdict is inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The days after it are not over.
    TooEarly,
    /// Too few days with values before or after.
    FewDays,
    /// Neither eight sister rooms nor twelve earlier pairs of dates.
    NothingToCompare,
    /// The interval reaches to both sides.
    Wide,
}

/// What shifts were held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placebo {
    /// So many sister rooms, between the same dates.
    Sisters(usize),
    /// So many earlier pairs of dates of the same room.
    Earlier(usize),
}

/// A shift between two phases; above 0 is worse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shift {
    /// In units of what is material.
    pub material: Interval,
    /// In transformed units of the metric.
    pub units: Interval,
}

/// What a maintenance has brought, for its record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The verdict.
    pub verdict: Verdict,
    /// Why there is none.
    pub reason: Option<Reason>,
    /// Whether it is better than during the fault, solved or not; `None` if that is not known.
    pub improved: Option<bool>,
    /// What the fault was worth: during less before.
    pub fault: Option<Shift>,
    /// What the repair was worth: after less during.
    pub repair: Option<Shift>,
    /// What is left: after less before.
    pub left: Option<Shift>,
    /// What the shifts were held against.
    pub placebo: Option<Placebo>,
    /// Days after the completion that were looked at.
    pub days: i64,
}

impl Effect {
    /// Of a maintenance without a metric.
    pub const NOT_MEASURABLE: Self = Self {
        verdict: Verdict::NotMeasurable,
        reason: None,
        improved: None,
        fault: None,
        repair: None,
        left: None,
        placebo: None,
        days: 0,
    };
}

/// Dates of the three phases, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Phases {
    onset: i64,
    completed: i64,
    days: i64,
}

impl Phases {
    fn end(&self) -> i64 {
        self.completed + SETTLING + self.days * DAY
    }

    /// The same dates, so many days before.
    fn earlier(&self, days: i64) -> Self {
        Self { onset: self.onset - days * DAY, completed: self.completed - days * DAY, ..*self }
    }
}

/// Levels of a room in the three phases, so far as they are known.
#[derive(Clone, Copy, Debug)]
struct Levels {
    before: Option<f64>,
    during: Option<f64>,
    after: Option<f64>,
}

/// Medians of whole days from `from`; the last may be cut short.
fn days(half_hours: &[HalfHour], from: i64, to: i64) -> Vec<f64> {
    let place = |at: i64| half_hours.partition_point(|half_hour| half_hour.at < at);
    let mut levels = Vec::new();
    let mut start = from;
    while start < to {
        let end = to.min(start + DAY);
        let day = half_hours.get(place(start)..place(end)).unwrap_or_default();
        let values: Vec<f64> = day.iter().map(|half_hour| half_hour.value).filter(|value| value.is_finite()).collect();
        if values.len() >= LEAST_HALF_HOURS {
            levels.extend(median(&values));
        }
        start = end;
    }
    levels
}

fn levels(room: &Room<'_>, phases: Phases, by_anchor: bool) -> Levels {
    let level = |from: i64, to: i64, least: usize| {
        let days = days(room.half_hours, from, to);
        (days.len() >= least).then(|| median(&days)).flatten()
    };
    let Phases { onset, completed, .. } = phases;
    let before = level(onset - BEFORE * DAY, onset, LEAST_DAYS);
    Levels {
        before: if by_anchor { room.anchor.filter(|anchor| anchor.is_finite()) } else { before },
        during: level(onset, completed, 1),
        after: level(completed + SETTLING, phases.end(), LEAST_DAYS),
    }
}

/// What a maintenance has brought.
pub fn judge(question: &Question<'_>) -> Effect {
    let early = question.now < question.completed + SETTLING + AFTER[0] * DAY;
    let mut effect = by_days(question, AFTER[0]);
    if early {
        effect.reason = effect.reason.map(|_| Reason::TooEarly);
        if effect.verdict != Verdict::Inconclusive {
            (effect.verdict, effect.reason) = (Verdict::Inconclusive, Some(Reason::TooEarly));
        }
    } else if effect.verdict == Verdict::Inconclusive && question.now >= question.completed + SETTLING + AFTER[1] * DAY
    {
        effect = by_days(question, AFTER[1]);
    }
    if question.reopened {
        (effect.verdict, effect.reason) = (Verdict::NotSolved, None);
    }
    effect
}

fn by_days(question: &Question<'_>, days: i64) -> Effect {
    let phases = Phases { onset: question.onset, completed: question.completed.max(question.onset), days };
    let none = Effect { verdict: Verdict::Inconclusive, reason: Some(Reason::FewDays), days, ..Effect::NOT_MEASURABLE };
    let anchored = |room: &&Room<'_>| room.anchor.is_some();
    let by_anchor = anchored(&&question.room) && question.sisters.iter().filter(anchored).count() >= SISTERS;
    let own = levels(&question.room, phases, by_anchor);
    let sisters: Vec<Levels> =
        question.sisters.iter().map(|sister| levels(sister, phases, by_anchor)).filter(Levels::is_whole).collect();
    let (own, others, placebo) = if sisters.len() >= SISTERS {
        let placebo = Placebo::Sisters(sisters.len());
        (own, sisters, placebo)
    } else {
        let others = earlier(&question.room, phases);
        let placebo = Placebo::Earlier(others.len());
        (levels(&question.room, phases, false), others, placebo)
    };
    if own.left().is_none() {
        return none;
    }
    if others.len() < SISTERS || matches!(placebo, Placebo::Earlier(pairs) if pairs < PAIRS) {
        return Effect { reason: Some(Reason::NothingToCompare), ..none };
    }
    let shift = |of: fn(&Levels) -> Option<f64>| {
        let units = against(of(&own)?, &others.iter().filter_map(of).collect::<Vec<f64>>())?;
        Some(Shift { material: units.scaled(1.0 / question.material), units })
    };
    // The shifts during a fault of some hours are known of fewer others; they need as many.
    let during = others.iter().filter(|other| other.during.is_some()).count();
    let enough = during >= if sisters_only(placebo) { SISTERS } else { PAIRS };
    let (fault, repair) = if enough { (shift(Levels::fault), shift(Levels::repair)) } else { (None, None) };
    let left = shift(Levels::left);
    let improved = repair.map(|repair| repair.material.high < -IMPROVED);
    let found = Effect { improved, fault, repair, left, placebo: Some(placebo), ..none };
    let Some(Interval { low, high, .. }) = left.map(|left| left.material) else {
        return Effect { reason: Some(Reason::NothingToCompare), ..found };
    };
    match () {
        () if high < SOLVED => Effect { verdict: Verdict::Solved, reason: None, ..found },
        () if low > SOLVED => Effect { verdict: Verdict::NotSolved, reason: None, ..found },
        () => Effect { reason: Some(Reason::Wide), ..found },
    }
}

fn sisters_only(placebo: Placebo) -> bool {
    matches!(placebo, Placebo::Sisters(_))
}

impl Levels {
    /// Whether a shift from before to after is known.
    fn is_whole(&self) -> bool {
        self.left().is_some()
    }

    fn fault(&self) -> Option<f64> {
        Some(self.during? - self.before?)
    }

    fn repair(&self) -> Option<f64> {
        Some(self.after? - self.during?)
    }

    fn left(&self) -> Option<f64> {
        Some(self.after? - self.before?)
    }
}

/// Levels of the same room between dates as far apart, by whole weeks before the onset, the newest first.
fn earlier(room: &Room<'_>, phases: Phases) -> Vec<Levels> {
    let first = (phases.end() - phases.onset + 7 * DAY - 1) / (7 * DAY);
    (first..first + WEEKS)
        .map(|weeks| levels(room, phases.earlier(7 * weeks), false))
        .filter(Levels::is_whole)
        .collect()
}

#[cfg(test)]
mod tests;
