//! The times that a booking asks for: whether they stay, and which others are asked for instead.

use super::Planner;
use crate::booking::{Booking, Window, slot};

/// What is to become of the times that a booking asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// They stay.
    Keep,
    /// Others are asked for when there is something to say anyway.
    Refresh,
    /// Some are certain now that were not: people must know.
    Settle,
    /// One has become impossible, or there is one at last: people must know.
    Replace,
}

impl Planner<'_> {
    /// What is to become of the times that a booking asks for.
    pub(super) fn times(&mut self, booking: &Booking) -> Times {
        let now = self.now;
        let to_come = |window: &&Window| window.start > now;
        let passed = |window: &Window| window.start <= now;
        if booking.wanted.is_empty() {
            if !self.answer(booking).offers.is_empty() {
                return Times::Replace;
            }
            let mut asked = booking.asks.iter().flat_map(|ask| &ask.windows);
            return if booking.asks.is_empty() || asked.any(passed) { Times::Refresh } else { Times::Keep };
        }
        let visit = booking.class().visit(slot::span(self.site.vendor.duration));
        if !booking.wanted.iter().filter(to_come).all(|window| slot::possible(self.calendar, *window)) {
            Times::Replace
        } else if booking.wanted.iter().any(|window| passed(window) || window.end - window.start != visit) {
            Times::Refresh
        } else if booking.provisional.iter().any(|window| !slot::provisional(self.calendar, *window)) {
            Times::Settle
        } else {
            Times::Keep
        }
    }

    pub(super) fn ask_for_times(&mut self, booking: &mut Booking) {
        let answer = self.answer(booking);
        booking.no_window = answer.nothing();
        booking.provisional =
            answer.offers.iter().filter(|offer| offer.provisional).map(|offer| offer.window).collect();
        booking.wanted = answer.offers.iter().map(|offer| offer.window).collect();
        booking.asks = answer.relaxations;
    }

    /// Times that are free beside those that the room's other bookings ask for.
    fn answer(&mut self, booking: &Booking) -> slot::Answer {
        let others = self.memory.bookings.values().filter(|other| other.key != booking.key);
        let taken: Vec<Window> =
            others.flat_map(|other| other.wanted.iter().chain(&other.life.appointment)).copied().collect();
        let class = booking.class();
        if let Some((of, beside, answer)) = &self.answered
            && (*of, beside) == (class, &taken)
        {
            return answer.clone();
        }
        let answer = slot::wanted(self.calendar, &self.site.vendor, class, &taken, self.now);
        self.answered = Some((class, taken, answer.clone()));
        answer
    }
}
