//! The life of a booking as a state machine. Pure.
//!
//! ```text
//! suspected ─ release ─► holding ─ taken ─► requested ◄─────────────── move ────────┐
//!     │                    │                  │  │  └─ counter ─► countered ─ confirm │
//!     └──── recovered, ────┴──── cancel ──────┤  │                    │         ▼     │
//!           cancel                            │  └──── confirm ───────┴──► confirmed ─┘
//!                                             ▼                              │
//!                         cancelled, refused, needs_human                  start
//!                                                                            ▼
//! archived ◄─ accepted ─ evaluated ◄─ observed ─ observing ◄─ examined ─ reported ◄─ report ─ in_maintenance
//!                            └──────────── rework, relapsed: requested again ────────────┘
//! ```
//!
//! A recovery ends a booking only before somebody is on the road; later it is a comment. The vendor's report
//! is not the end: the numbers and the school are.

use chrono::{DateTime, Utc};

use super::{
    Booking, State, Window,
    life::{By, Effect, Entry, Note, Rating},
};

/// What may happen to a booking.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Somebody lets a proposed booking go out.
    Release,
    /// A channel has taken the request.
    Taken,
    /// No channel can carry it.
    Strand,
    /// The time is agreed: this one, or the one that the vendor wants.
    Confirm(Option<Window>),
    /// The vendor wants another time.
    Counter(Window),
    /// The school wants another time.
    Move(Window),
    /// The vendor does not come.
    Refuse(String),
    /// It is not wanted any more.
    Cancel(String),
    /// The work begins.
    Start,
    /// The work is done, or its window is over.
    Report(String),
    /// Everything was looked at after the work.
    Examined,
    /// The numbers have judged.
    Observed(Effect),
    /// What it was for came back while it was observed.
    Relapsed,
    /// The school is content.
    Accept,
    /// The school is not.
    Rework(String),
    /// The school rates the visit.
    Rate(Rating),
    /// Somebody says something.
    Note(String),
    /// A point of the checklist was seen to: its number from 0.
    Checked(usize),
}

impl Act {
    /// The word in the audit trail.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Taken => "taken",
            Self::Strand => "strand",
            Self::Confirm(_) => "confirm",
            Self::Counter(_) => "counter",
            Self::Move(_) => "move",
            Self::Refuse(_) => "refuse",
            Self::Cancel(_) => "cancel",
            Self::Start => "start",
            Self::Report(_) => "report",
            Self::Examined => "examined",
            Self::Observed(_) => "observed",
            Self::Relapsed => "relapsed",
            Self::Accept => "accept",
            Self::Rework(_) => "rework",
            Self::Rate(_) => "rate",
            Self::Note(_) => "note",
            Self::Checked(_) => "checked",
        }
    }

    fn detail(&self) -> String {
        let window = |window: &Window| format!("{}/{}", window.start.to_rfc3339(), window.end.to_rfc3339());
        match self {
            Self::Confirm(Some(at)) | Self::Counter(at) | Self::Move(at) => window(at),
            Self::Refuse(text) | Self::Cancel(text) | Self::Report(text) | Self::Rework(text) | Self::Note(text) => {
                text.clone()
            }
            Self::Rate(rating) => format!("{} {}", rating.stars, rating.words),
            Self::Observed(effect) => effect.verdict.name().to_owned(),
            Self::Checked(number) => format!("{}", number + 1),
            _ => String::new(),
        }
    }
}

/// Why an act is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// The booking does not stand where this leads on.
    #[error("the booking is {}: {act} is possible when it is {}", .state.name(), list(.from))]
    State {
        /// Where it stands.
        state: State,
        /// The act.
        act: &'static str,
        /// Where it would have to stand.
        from: &'static [State],
    },
    /// There is no time to agree to.
    #[error("the booking names no time to confirm: name one")]
    NoTime,
    /// The window is none.
    #[error("found a time that ends before it begins, or is over: expected a window to come")]
    Window,
    /// There is no such point.
    #[error("found point {found}, expected one of the {of} of the checklist")]
    Point {
        /// Counted from 1.
        found: usize,
        /// How many there are.
        of: usize,
    },
    /// The rating is none.
    #[error("found {0} stars, expected 1 to 5")]
    Stars(u8),
}

fn list(states: &[State]) -> String {
    states.iter().map(|state| state.name()).collect::<Vec<_>>().join(", ")
}

impl State {
    /// Whether a visit is agreed, under way, or being looked at: what recovers now is a comment.
    pub fn is_under_way(self) -> bool {
        use State::{Confirmed, Evaluated, InMaintenance, Observing, Reported};
        matches!(self, Confirmed | InMaintenance | Reported | Observing | Evaluated)
    }
}

/// Lets something happen to a booking at `now`; says what the audit trail keeps of it.
///
/// # Errors
/// It is not possible as the booking stands; then nothing changed.
pub fn act(booking: &mut Booking, act: &Act, by: &By, now: DateTime<Utc>) -> Result<Entry, NotNow> {
    use State::{
        Cancelled, Confirmed, Countered, Evaluated, Holding, InMaintenance, NeedsHuman, Observing, Refused, Reported,
        Requested, Suspected,
    };
    let before = booking.state;
    let from = |states: &'static [State]| {
        if states.contains(&before) {
            return Ok(());
        }
        Err(NotNow::State { state: before, act: act.name(), from: states })
    };
    match act {
        Act::Release => {
            from(&[Suspected])?;
            booking.state = Holding;
        }
        Act::Taken => {
            // What has gone on meanwhile goes on.
            if matches!(before, Suspected | Holding | NeedsHuman) {
                booking.state = Requested;
            }
            booking.life.requested_at.get_or_insert(now);
        }
        Act::Strand => {
            from(&[Suspected, Holding, Requested, NeedsHuman])?;
            booking.state = NeedsHuman;
        }
        Act::Confirm(window) => {
            from(&[Holding, Requested, Countered, Confirmed, NeedsHuman, Refused])?;
            let asked = booking.life.appointment.or_else(|| booking.wanted.first().copied());
            let agreed = window.or(asked).ok_or(NotNow::NoTime)?;
            to_come(agreed, now)?;
            booking.life.appointment = Some(agreed);
            booking.life.confirmed_at.get_or_insert(now);
            booking.life.examined_at = None;
            booking.state = Confirmed;
        }
        Act::Counter(window) => {
            from(&[Requested, Countered, Confirmed, NeedsHuman])?;
            to_come(*window, now)?;
            booking.life.appointment = Some(*window);
            booking.state = Countered;
        }
        Act::Move(window) => {
            from(&[Suspected, Holding, Requested, Countered, Confirmed, NeedsHuman, Refused])?;
            to_come(*window, now)?;
            booking.wanted = vec![*window];
            booking.provisional.clear();
            (booking.no_window, booking.asks) = (None, Vec::new());
            (booking.life.appointment, booking.life.examined_at) = (None, None);
            if matches!(before, Countered | Confirmed | Refused) {
                booking.state = Requested;
            }
        }
        Act::Refuse(_) => {
            from(&[Requested, Countered, Confirmed])?;
            booking.life.appointment = None;
            booking.state = Refused;
        }
        Act::Cancel(_) => {
            from(&[Suspected, Holding, Requested, Countered, Confirmed, Refused, NeedsHuman])?;
            booking.state = Cancelled;
        }
        Act::Start => {
            from(&[Requested, Countered, Confirmed, NeedsHuman])?;
            booking.life.started_at = Some(now);
            booking.state = InMaintenance;
        }
        Act::Report(text) => {
            // A vendor may come and go without a word before.
            from(&[Requested, Countered, Confirmed, InMaintenance, Reported, NeedsHuman])?;
            if before != Reported {
                booking.life.reported_at = Some(now);
            }
            if !text.is_empty() {
                booking.life.report = Some(text.clone());
            }
            booking.state = Reported;
        }
        Act::Examined => {
            from(&[Reported])?;
            booking.life.observed_from = Some(now);
            booking.state = Observing;
        }
        Act::Observed(effect) => {
            from(&[Observing])?;
            booking.life.effect = Some(effect.clone());
            booking.life.evaluated_at = Some(now);
            booking.state = Evaluated;
            put_away(booking, now);
        }
        Act::Relapsed => {
            from(&[Reported, Observing, Evaluated])?;
            reopen(booking);
        }
        Act::Rework(_) => {
            from(&[Reported, Observing, Evaluated])?;
            reopen(booking);
        }
        Act::Accept => {
            from(&[Reported, Observing, Evaluated])?;
            booking.life.accepted_at.get_or_insert(now);
            put_away(booking, now);
        }
        Act::Rate(rating) => {
            from(&[Reported, Observing, Evaluated, State::Archived])?;
            if !(1..=5).contains(&rating.stars) {
                return Err(NotNow::Stars(rating.stars));
            }
            booking.life.rating = Some(rating.clone());
        }
        Act::Note(_) => {}
        Act::Checked(number) => {
            let of = booking.life.checklist.len();
            let point = booking.life.checklist.get_mut(*number).ok_or(NotNow::Point { found: number + 1, of })?;
            match by {
                By::Vendor(_) => point.vendor = true,
                By::School(_) | By::Bellwether => point.school = true,
            }
        }
    }
    let is_vendor = matches!(by, By::Vendor(_));
    if is_vendor {
        booking.life.acknowledged_at.get_or_insert(now);
    }
    if matches!(act, Act::Move(_) | Act::Relapsed | Act::Rework(_)) || matches!(act, Act::Confirm(_)) && !is_vendor {
        booking.life.decisions += 1;
    }
    let detail = act.detail();
    if !detail.is_empty() && matches!(act, Act::Refuse(_) | Act::Cancel(_) | Act::Rework(_) | Act::Note(_)) {
        booking.life.notes.push(Note { at: now, by: by.clone(), text: detail.clone() });
    }
    booking.updated_at = now;
    Ok(Entry {
        booking: booking.key.clone(),
        at: now,
        by: by.clone(),
        act: act.name().to_owned(),
        from: before,
        to: booking.state,
        detail,
    })
}

fn to_come(window: Window, now: DateTime<Utc>) -> Result<(), NotNow> {
    if window.start < window.end && now < window.end { Ok(()) } else { Err(NotNow::Window) }
}

/// The same booking, from the request on.
fn reopen(booking: &mut Booking) {
    let life = &mut booking.life;
    life.reopened += 1;
    (life.appointment, life.confirmed_at, life.examined_at, life.started_at) = (None, None, None, None);
    (life.reported_at, life.observed_from, life.evaluated_at, life.accepted_at) = (None, None, None, None);
    life.effect = None;
    booking.wanted.clear();
    booking.state = State::Requested;
}

/// A booking that the numbers have judged and the school has accepted is over.
fn put_away(booking: &mut Booking, now: DateTime<Utc>) {
    if booking.state == State::Evaluated && booking.life.accepted_at.is_some() {
        booking.life.archived_at = Some(now);
        booking.state = State::Archived;
    }
}

#[cfg(test)]
mod tests;
