//! When maintenance can take place: up to three offers, or what would have to give. Pure.
//!
//! A visit fits if the whole of it lies
//! - within the opening hours of the building and the working hours of the vendor,
//! - at least `buffer` away from every lesson, before and after,
//! - outside of every window that is taken, and of dates on which the vendor has no appointment left,
//! - on dates from `earliest` to `latest` that the calendar has looked at,
//! - and starts no sooner than `notice` from now, at a full quarter of an hour of the wall clock; of a
//!   quarter that comes twice, because clocks are set back, at the first.
//!
//! Of the visits that fit the cheapest of each date (of its start) is kept, and of those the three
//! cheapest are offered, the earlier first of two that cost the same. The cost is in minutes of
//! waiting, see [`find`]. If nothing fits, [`relax`] looks for what would.

mod free;
mod relax;
mod search;
pub mod text;

use std::collections::BTreeMap;

use bellwether_probes::Span;
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{ChangeKind, Window};
use crate::{
    calendar::{Calendar, Certainty, Place, zone},
    site::Vendor,
};

/// How many windows are offered, each on a date of its own.
pub const OFFERS: usize = 3;
/// How far from lessons a visit keeps, before and after (own: a class leaves, and the next one comes).
pub const BUFFER: TimeDelta = TimeDelta::minutes(15);
/// How many days are looked at, today included, if no latest date is named.
pub const DAYS: u64 = 90;
/// How many days a booking looks at, today included: three weeks of one working day, and one to spare.
pub const BOOKING_DAYS: u64 = 29;
/// What waiting is worth avoiding the risk that a visit which takes longer runs into a lesson of the
/// same date, in minutes (own: a day).
pub const BEFORE_LESSON_COST: i64 = 24 * 60;
/// What waiting is worth a date that is known, in minutes (own: a week).
pub const PROVISIONAL_COST: i64 = 7 * 24 * 60;
/// What waiting is worth one percent less of load in the visit's busiest hour, in minutes (own: so that
/// a full hour costs about as much as a day).
pub const LOAD_COST: i64 = 15;

/// How far a change reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A repair, or a change of the third number.
    #[default]
    Patch,
    /// A change of the second number.
    Minor,
    /// A change of the first number.
    Major,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Patch, Self::Minor, Self::Major];

    /// How long a visit takes that takes `duration` for a patch, in whole minutes, at least one: 1, 1.5
    /// and 2 times as long (own).
    pub fn visit(self, duration: TimeDelta) -> TimeDelta {
        let halves = match self {
            Self::Patch => 2,
            Self::Minor => 3,
            Self::Major => 4,
        };
        // A year is no visit, and stays within what times can say.
        let seconds = duration.num_seconds().clamp(0, 366 * 86_400) * halves;
        TimeDelta::minutes(((seconds + 119) / 120).max(1))
    }

    /// How long the room is watched after the visit (own); it need not be free for that.
    pub fn observation(self) -> TimeDelta {
        match self {
            Self::Patch => TimeDelta::minutes(30),
            Self::Minor => TimeDelta::hours(2),
            Self::Major => TimeDelta::hours(24),
        }
    }
}

impl From<ChangeKind> for Class {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Major => Self::Major,
            ChangeKind::Minor => Self::Minor,
            ChangeKind::Patch | ChangeKind::Other => Self::Patch,
        }
    }
}

/// How many appointments the vendor has on a date.
#[derive(Clone, Copy, Debug)]
pub struct Capacity<'r> {
    /// How many it can have.
    pub per_day: u32,
    /// How many it has already; none on dates that are not named.
    pub booked: &'r BTreeMap<NaiveDate, u32>,
}

/// How busy the room's systems usually are in each hour of the day, on the school's clock, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load(pub [u8; 24]);

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The time of day.
    pub now: DateTime<Utc>,
    /// How long a visit takes for a patch.
    pub duration: TimeDelta,
    /// How far the change reaches.
    pub class: Class,
    /// How long before the visit the vendor must know.
    pub notice: TimeDelta,
    /// The first date; `None` for today.
    pub earliest: Option<NaiveDate>,
    /// The last date; `None` for [`DAYS`] with today.
    pub latest: Option<NaiveDate>,
    /// How far it keeps from lessons, before and after; usually [`BUFFER`].
    pub buffer: TimeDelta,
    /// Windows of the room's other bookings.
    pub taken: &'r [Window],
    /// What the vendor can take; `None` if that is unknown, and then every date will do.
    pub capacity: Option<Capacity<'r>>,
    /// Load by hour; `None` if that is unknown, and then every hour is as good.
    pub load: Option<Load>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// At most [`OFFERS`], best first.
    pub offers: Vec<Offer>,
    /// If there is no offer: the smallest exceptions that would do, each by itself.
    pub relaxations: Vec<Relaxation>,
    /// What was not known, in the order of [`Unknown`].
    pub unknown: Vec<Unknown>,
    /// How long the visit takes, in minutes.
    pub visit_minutes: i64,
    /// How long the room is watched after it, in minutes.
    pub observation_minutes: i64,
}

impl Answer {
    /// Why there is no offer; `None` if there is one.
    pub fn nothing(&self) -> Option<Nothing> {
        let unreadable = self.unknown.contains(&Unknown::Unreadable);
        let why = if unreadable { Nothing::Unreadable } else { Nothing::NoneFits };
        self.offers.is_empty().then_some(why)
    }
}

/// Why there is no offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nothing {
    /// The timetable cannot be read: nobody knows when the room is free.
    Unreadable,
    /// No window fits without an exception.
    NoneFits,
}

/// Something that was not known, and how the search took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// The timetable cannot be read: nothing is offered.
    Unreadable,
    /// No timetable is configured: lessons were not looked at.
    NoTimetable,
    /// The timetable is old: all offers are provisional.
    Stale,
    /// Some dates up to the latest lie beyond the calendar: they were left out.
    Beyond,
    /// How many appointments the vendor has: every date will do.
    Capacity,
    /// How busy the room's systems are by hour: every hour is as good.
    Load,
}

/// A window that fits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// From when to when.
    pub window: Window,
    /// Until when the room is watched after it.
    pub observed_until: DateTime<Utc>,
    /// Whether it may turn out to be impossible: see [`Reason::UnknownYear`] and [`Reason::Stale`].
    pub provisional: bool,
    /// What it costs, in minutes of waiting: see [`find`].
    pub cost: i64,
    /// Why it is offered, and what to know of it.
    pub reasons: Vec<Reason>,
}

/// A lesson, as a reason names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// When it starts.
    pub start: DateTime<Utc>,
    /// When it ends.
    pub end: DateTime<Utc>,
    /// What is taught; may be empty.
    pub title: String,
    /// Where it stands in the table.
    pub place: Option<Place>,
}

/// Why a window is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// The building is open, and the vendor is at work.
    WithinHours,
    /// No timetable is configured: whether the room is taught in is not known.
    NoTimetable,
    /// The room has no lesson on this date.
    NoLessons,
    /// The last lesson before it on the same date.
    After {
        /// That lesson.
        lesson: Mark,
    },
    /// The next lesson after it on the same date.
    Before {
        /// That lesson.
        lesson: Mark,
    },
    /// The date has no teaching: a break or a day off.
    DayOff {
        /// Its name; may be empty.
        name: String,
    },
    /// It is a Saturday or a Sunday.
    Weekend,
    /// The date is a working day in exchange for a day off.
    MakeUp,
    /// It keeps clear of this many windows of the room's other bookings.
    ClearOfBookings {
        /// How many.
        count: usize,
    },
    /// The vendor can take this many more appointments on the date.
    Capacity {
        /// How many.
        left: u32,
    },
    /// The load of the busiest hour.
    Load {
        /// In percent.
        percent: u8,
    },
    /// There is no data of holidays and make-up days for the date yet.
    UnknownYear,
    /// The timetable is old.
    Stale,
}

/// An exception that would make a visit possible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relaxation {
    /// What has to give; one thing, or two if no single one does.
    pub needs: Vec<Need>,
    /// The visit, or its parts, that it makes possible.
    pub windows: Vec<Window>,
    /// Whether they may turn out to be impossible all the same.
    pub provisional: bool,
}

/// Something that has to give, and how far at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Need {
    /// The visit is on a later date than the latest: the first that does.
    Later {
        /// That date.
        date: NaiveDate,
    },
    /// The vendor works outside of its hours, on a day on which it works, while the building is open.
    AfterHours {
        /// At most so long before or after its hours: the least that does, on a grid of quarters.
        minutes: i64,
    },
    /// The vendor is told later before the visit than it asks for.
    LessNotice {
        /// So long before the visit, at most.
        minutes: i64,
    },
    /// Somebody comes on a day off, at the hours of the last working day before it, or else of the
    /// first after it.
    Weekend {
        /// The vendor, who would not be at work.
        vendor: bool,
        /// Whoever opens the building, which would be closed.
        building: bool,
    },
    /// The visit is shorter, yet at least half as long: the longest that does, on a grid of quarters.
    Shorter {
        /// So long.
        minutes: i64,
    },
    /// The visit is split into two parts, or else three.
    Split {
        /// How many.
        parts: u32,
        /// How long each is: its share, on a grid of quarters.
        minutes: i64,
    },
}

/// Looks for windows. The cost of a window is the sum, in minutes, of
/// - the whole minutes from now to its start,
/// - [`BEFORE_LESSON_COST`] if a lesson begins after it on the date of its start: breaks, free days and
///   free afternoons are better than gaps between lessons,
/// - [`PROVISIONAL_COST`] if it is provisional,
/// - [`LOAD_COST`] for each percent of load in the busiest hour that it touches.
pub fn find(calendar: &Calendar, request: Request<'_>) -> Answer {
    let mut answer = Answer {
        offers: Vec::new(),
        relaxations: Vec::new(),
        unknown: unknown(calendar, &request),
        visit_minutes: request.class.visit(request.duration).num_minutes(),
        observation_minutes: request.class.observation().num_minutes(),
    };
    if calendar.timetable() == Certainty::Unreadable {
        return answer;
    }
    let ground = search::Ground::new(calendar, request);
    let bounds = ground.bounds();
    answer.offers = ground.offers(&bounds);
    if answer.offers.is_empty() {
        answer.relaxations = relax::relaxations(&ground, bounds);
    }
    answer
}

/// What a booking asks for: the offers of [`BOOKING_DAYS`] days, by the vendor's duration and notice.
pub fn wanted(calendar: &Calendar, vendor: &Vendor, class: Class, taken: &[Window], now: DateTime<Utc>) -> Answer {
    let latest = zone::date(calendar.zone(), now).checked_add_days(Days::new(BOOKING_DAYS - 1));
    let request = Request {
        now,
        duration: span(vendor.duration),
        class,
        notice: span(vendor.notice),
        earliest: None,
        latest,
        buffer: BUFFER,
        taken,
        capacity: None,
        load: None,
    };
    find(calendar, request)
}

/// What is too long for a time delta never fits, as is right.
pub(super) fn span(span: Span) -> TimeDelta {
    TimeDelta::from_std(span.0).unwrap_or(TimeDelta::MAX)
}

/// Whether a window that was offered is still possible by hours and lessons. What the calendar does
/// not know is no reason against it.
pub fn possible(calendar: &Calendar, window: Window) -> bool {
    !looked_at(calendar, window) || search::possible(calendar, window)
}

/// Whether a window may turn out to be impossible.
pub fn provisional(calendar: &Calendar, window: Window) -> bool {
    !looked_at(calendar, window)
        || calendar.timetable() == Certainty::Stale
        || !dates(calendar, window).all(|date| calendar.day(date).is_some_and(|day| day.known))
}

fn looked_at(calendar: &Calendar, window: Window) -> bool {
    let looked_at = dates(calendar, window).all(|date| calendar.dates().contains(&date));
    looked_at && calendar.timetable() != Certainty::Unreadable
}

/// The dates on which it begins and ends.
fn dates(calendar: &Calendar, window: Window) -> impl Iterator<Item = NaiveDate> {
    let zone = calendar.zone();
    [window.start, window.end - TimeDelta::seconds(1)].into_iter().map(move |at| zone::date(zone, at))
}

fn unknown(calendar: &Calendar, request: &Request<'_>) -> Vec<Unknown> {
    let timetable = match calendar.timetable() {
        Certainty::Unreadable => Some(Unknown::Unreadable),
        Certainty::NoTimetable => Some(Unknown::NoTimetable),
        Certainty::Stale => Some(Unknown::Stale),
        Certainty::Known | Certainty::UnknownYear => None,
    };
    let beyond = search::latest(calendar, request) >= calendar.dates().end;
    let others = [
        (beyond, Unknown::Beyond),
        (request.capacity.is_none(), Unknown::Capacity),
        (request.load.is_none(), Unknown::Load),
    ];
    timetable.into_iter().chain(others.into_iter().filter_map(|(is, unknown)| is.then_some(unknown))).collect()
}

#[cfg(test)]
mod tests;
