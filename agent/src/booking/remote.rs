//! What the vendor's side of a booking means for ours, as it was read back. Pure.

use crate::{
    booking::{Booking, State, Window, lifecycle::Act, slot},
    calendar::Calendar,
    channel::{Remote, Standing},
};

/// What happened at the vendor's that our booking has not taken in yet; `None` if nothing did.
///
/// `remote` must be newer than all that was sent there. What was taken in once is not taken in again: a report that
/// stands there still is none of a fault that came back since. A time that the vendor set and that the school can
/// have, by its calendar, is agreed once the vendor confirms it, and so is another of those that were asked for;
/// any other is a counter-offer, which the school decides.
pub fn act_of(booking: &Booking, remote: &Remote, calendar: &Calendar) -> Option<Act> {
    if booking.life.heard.as_ref() == Some(remote) {
        return None;
    }
    use State::{Confirmed, Countered, InMaintenance, NeedsHuman, Refused, Requested};
    let state = booking.state;
    let said = || remote.note.clone().unwrap_or_default();
    match remote.standing {
        Standing::Confirmed => match remote.window {
            Some(window) if state == Confirmed && booking.life.appointment == Some(window) => None,
            Some(window) if matches!(state, Requested | Countered | NeedsHuman | Refused) => {
                let fits = booking.wanted.contains(&window) || slot::possible(calendar, window);
                if fits { Some(Act::Confirm(Some(window))) } else { counter(booking, window) }
            }
            Some(window) if state == Confirmed => counter(booking, window),
            None if matches!(state, Requested | Countered | NeedsHuman) && !booking.wanted.is_empty() => {
                Some(Act::Confirm(None))
            }
            _ => None,
        },
        Standing::Requested => match (remote.window, state) {
            // One of the times that were asked for, other than the one it was put down for.
            (Some(window), Requested) if booking.wanted.iter().skip(1).any(|asked| *asked == window) => {
                Some(Act::Confirm(Some(window)))
            }
            (Some(window), Requested | Countered | Confirmed) => counter(booking, window),
            _ => None,
        },
        Standing::Reported => {
            matches!(state, Requested | Countered | Confirmed | InMaintenance | NeedsHuman).then(|| Act::Report(said()))
        }
        Standing::Refused | Standing::Withdrawn => {
            matches!(state, Requested | Countered | Confirmed).then(|| Act::Refuse(said()))
        }
        Standing::Missing => matches!(state, Requested | Countered | Confirmed)
            .then(|| Act::Refuse("somebody deleted it at the vendor's".to_owned())),
    }
}

/// Another time than those that were asked for, agreed or offered already.
fn counter(booking: &Booking, window: Window) -> Option<Act> {
    let known = match booking.life.appointment {
        Some(appointment) => appointment == window,
        None => booking.wanted.contains(&window),
    };
    // What is asked for says "whenever" if it names no time, and a time is an answer to that.
    (!known).then_some(Act::Counter(window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::examples;

    fn window(hour: u32) -> Window {
        let at = |hour: u32| format!("2026-11-27T{hour:02}:00:00Z").parse().expect("a time written here");
        Window { start: at(hour), end: at(hour + 1) }
    }

    fn remote(standing: Standing, window: Option<Window>) -> Remote {
        Remote { remote_id: None, standing, window, note: Some("word".to_owned()) }
    }

    #[test]
    fn what_the_vendor_did_is_taken_in_once() {
        let requested = Booking { state: State::Requested, ..examples::full() };
        let calendar = examples::calendar(&requested.vendor, requested.opened_at, 40);
        let asked = requested.wanted[0];
        // Working hours in Shanghai are 01:00 to 09:30 UTC.
        let (free, closed) = (window(6), window(18));
        let with = |state, appointment| {
            let mut booking = Booking { state, ..requested.clone() };
            booking.life.appointment = appointment;
            booking
        };
        let table = vec![
            ("as asked", with(State::Requested, None), remote(Standing::Requested, Some(asked)), None),
            ("moved", with(State::Requested, None), remote(Standing::Requested, Some(free)), Some(Act::Counter(free))),
            (
                "moved to another of those that were asked for",
                with(State::Requested, None),
                remote(Standing::Requested, Some(requested.wanted[1])),
                Some(Act::Confirm(Some(requested.wanted[1]))),
            ),
            ("moved, known", with(State::Countered, Some(free)), remote(Standing::Requested, Some(free)), None),
            (
                "confirmed",
                with(State::Requested, None),
                remote(Standing::Confirmed, Some(asked)),
                Some(Act::Confirm(Some(asked))),
            ),
            (
                "confirmed at another time that is free",
                with(State::Requested, None),
                remote(Standing::Confirmed, Some(free)),
                Some(Act::Confirm(Some(free))),
            ),
            (
                "confirmed at a time that is not",
                with(State::Requested, None),
                remote(Standing::Confirmed, Some(closed)),
                Some(Act::Counter(closed)),
            ),
            ("confirmed, known", with(State::Confirmed, Some(asked)), remote(Standing::Confirmed, Some(asked)), None),
            (
                "moved once it was agreed",
                with(State::Confirmed, Some(asked)),
                remote(Standing::Confirmed, Some(free)),
                Some(Act::Counter(free)),
            ),
            (
                "confirmed without a time",
                with(State::Requested, None),
                remote(Standing::Confirmed, None),
                Some(Act::Confirm(None)),
            ),
            (
                "done",
                with(State::InMaintenance, Some(asked)),
                remote(Standing::Reported, None),
                Some(Act::Report("word".to_owned())),
            ),
            ("done, known", with(State::Observing, Some(asked)), remote(Standing::Reported, None), None),
            (
                "declined",
                with(State::Requested, None),
                remote(Standing::Refused, None),
                Some(Act::Refuse("word".to_owned())),
            ),
            ("declined, known", with(State::Refused, None), remote(Standing::Refused, None), None),
            (
                "deleted",
                with(State::Confirmed, Some(asked)),
                remote(Standing::Missing, None),
                Some(Act::Refuse("somebody deleted it at the vendor's".to_owned())),
            ),
            (
                "nothing is read into a booking that is over",
                with(State::Archived, None),
                remote(Standing::Missing, None),
                None,
            ),
        ];
        for (name, mut booking, remote, expected) in table {
            assert_eq!(act_of(&booking, &remote, &calendar), expected, "{name}");
            booking.life.heard = Some(remote.clone());
            assert_eq!(act_of(&booking, &remote, &calendar), None, "{name}: taken in already");
        }
    }
}
