//! How often something broke and how long until it was well again, from the bookings of a span of time.

use serde::Serialize;

use super::{
    Interval,
    statistics::{poisson, share_exact},
};

/// Lesson hours that a frequency is told for.
const PER: f64 = 1000.0;
/// Events that lie within the 95 % bound when none was seen: −ln 5 %, rounded as the rule of three has it.
const NONE_SEEN: f64 = 3.0;

/// How a booking counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something broke.
    Fault,
    /// It went away before anybody confirmed it.
    Withdrawn,
    /// Another booking took its place.
    Superseded,
    /// Advice on the size of something, no fault.
    Capacity,
}

/// One booking. All instants in one unit, such as hours; what has not happened is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Booking {
    /// How it counts.
    pub kind: Kind,
    /// When it began to be bad.
    pub onset: f64,
    /// When it was booked.
    pub opened: f64,
    /// When a person confirmed it.
    pub confirmed: Option<f64>,
    /// When the work was done.
    pub completed: Option<f64>,
    /// When it was well again.
    pub recovered: Option<f64>,
    /// How often it was opened again.
    pub reopened: u32,
}

/// How many incidents some bookings are: a reopened one counts once more each time.
pub fn count(bookings: &[Booking]) -> u64 {
    faults(bookings).map(|booking| 1 + u64::from(booking.reopened)).sum()
}

fn faults(bookings: &[Booking]) -> impl Iterator<Item = &Booking> {
    bookings.iter().filter(|booking| booking.kind == Kind::Fault)
}

/// Incidents in 1000 lesson hours, with the exact Poisson interval. `None` without hours.
pub fn frequency(incidents: u64, hours: f64) -> Option<Interval> {
    (hours > 0.0 && hours.is_finite()).then(|| poisson(incidents).scaled(PER / hours))
}

/// Mean lesson hours between incidents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Between {
    /// This many.
    Hours(Interval),
    /// None happened: at least so many, with 95 % confidence.
    AtLeast(f64),
}

/// MTBF in lesson hours. `None` without hours.
pub fn mean_between(incidents: u64, hours: f64) -> Option<Between> {
    if !(hours > 0.0 && hours.is_finite()) {
        return None;
    }
    if incidents == 0 {
        return Some(Between::AtLeast(hours / NONE_SEEN));
    }
    let Interval { estimate, low, high } = poisson(incidents);
    Some(Between::Hours(Interval { estimate: hours / estimate, low: hours / high, high: hours / low }))
}

/// By what factor incidents became more frequent, from one span of lesson hours to another: of all that
/// happened, the share in the second is binomial (Przyborowski and Wilenski 1940), with the exact interval
/// of Clopper and Pearson. Above 1 is worse; the change is [`Interval::change`] of its logarithm, [`ratio_change`].
/// `None` without hours, or if nothing happened at all.
pub fn rate_ratio(before: (u64, f64), after: (u64, f64)) -> Option<Interval> {
    let ((first, hours_before), (second, hours_after)) = (before, after);
    let hours = hours_before / hours_after;
    if !(hours > 0.0 && hours.is_finite()) || first + second == 0 {
        return None;
    }
    let share = share_exact(second, first + second);
    let ratio = |share: f64| hours * share / (1.0 - share);
    Some(Interval { estimate: ratio(share.estimate), low: ratio(share.low), high: ratio(share.high) })
}

/// What a rate ratio says: worse or better only if the whole interval lies beyond 1.
pub fn ratio_change(ratio: Interval) -> super::Change {
    let ratio = Interval { estimate: ratio.estimate.ln(), low: ratio.low.ln(), high: ratio.high.ln() };
    ratio.change(0.0)
}

/// How long something took: the middle and nine of ten, by Kaplan and Meier (1958), so that what is not over
/// yet counts as at least as long as it has taken. `None` is longer than anything that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Took {
    /// Half of them took no longer.
    pub median: Option<f64>,
    /// Nine of ten took no longer.
    pub p90: Option<f64>,
    /// How many are over.
    pub over: usize,
    /// How many are not.
    pub open: usize,
}

/// Of times that each took, and whether it is over. What is no number, or below 0, is left out.
pub fn took(times: &[(f64, bool)]) -> Took {
    let mut times: Vec<(f64, bool)> =
        times.iter().copied().filter(|(time, _)| time.is_finite() && *time >= 0.0).collect();
    times.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let over = times.iter().filter(|(_, over)| *over).count();
    let mut took = Took { over, open: times.len() - over, ..Took::default() };
    let (mut left, mut at) = (1.0, 0);
    while let Some((time, _)) = times.get(at).copied() {
        // What goes on at the time of an end was still there then.
        let same = times[at..].iter().take_while(|(other, _)| other.total_cmp(&time).is_eq());
        let (there, ended) = (times.len() - at, same.clone().filter(|(_, over)| *over).count());
        at += same.count();
        left *= 1.0 - ended as f64 / there as f64;
        // A share of exactly a half comes out a little beside it.
        if took.median.is_none() && left <= 0.5 + 1e-9 {
            took.median = Some(time);
        }
        if took.p90.is_none() && left <= 0.1 + 1e-9 {
            took.p90 = Some(time);
        }
    }
    took
}

/// MTTR and its parts, in the unit of the bookings' instants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Repair {
    /// From onset to recovery.
    pub whole: Took,
    /// From onset to booking.
    pub to_booking: Took,
    /// From booking to confirmation.
    pub to_confirmation: Took,
    /// From confirmation to completion.
    pub to_completion: Took,
}

/// How long faults took until they were well again; what is open `now` has taken until now at least. A step
/// that was passed over because the fault went away by itself ended with that, unfinished.
pub fn repair(bookings: &[Booking], now: f64) -> Repair {
    let step = |from: &dyn Fn(&Booking) -> Option<f64>, to: &dyn Fn(&Booking) -> Option<f64>| {
        let time = |booking: &Booking| {
            let from = from(booking)?;
            let end = to(booking).filter(|end| *end <= now);
            Some((end.unwrap_or_else(|| booking.recovered.unwrap_or(now).min(now)) - from, end.is_some()))
        };
        took(&faults(bookings).filter_map(time).collect::<Vec<_>>())
    };
    Repair {
        whole: step(&|booking| Some(booking.onset), &|booking| booking.recovered),
        to_booking: step(&|booking| Some(booking.onset), &|booking| Some(booking.opened)),
        to_confirmation: step(&|booking| Some(booking.opened), &|booking| booking.confirmed),
        to_completion: step(&|booking| booking.confirmed, &|booking| booking.completed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Change;

    fn fault(onset: f64, recovered: Option<f64>) -> Booking {
        let opened = onset + 1.0;
        let (confirmed, completed) = (Some(onset + 2.0), recovered);
        Booking { kind: Kind::Fault, onset, opened, confirmed, completed, recovered, reopened: 0 }
    }

    #[test]
    fn what_counts() {
        let one = fault(0.0, Some(9.0));
        let others = [Kind::Withdrawn, Kind::Superseded, Kind::Capacity].map(|kind| Booking { kind, ..one });
        assert_eq!(count(&others), 0);
        assert_eq!(count(&[one, Booking { reopened: 2, ..one }]), 4);
        assert_eq!(repair(&others, 99.0).whole, Took::default());
    }

    #[test]
    fn frequencies() {
        let per = frequency(3, 250.0).expect("hours");
        assert!(
            (per.estimate - 12.0).abs() < 1e-12
                && (per.low - 2.474_688).abs() < 1e-5
                && (per.high - 35.069_092).abs() < 1e-5,
            "{per:?}"
        );
        assert_eq!(frequency(3, 0.0), None);
        assert_eq!(mean_between(0, 600.0), Some(Between::AtLeast(200.0)));
        let Some(Between::Hours(hours)) = mean_between(3, 250.0) else { panic!("hours") };
        assert!(
            (hours.estimate - 250.0 / 3.0).abs() < 1e-12
                && (hours.low - 28.515_137).abs() < 1e-5
                && (hours.high - 404.091_5).abs() < 1e-3,
            "{hours:?}"
        );
        assert_eq!(mean_between(3, f64::NAN), None);
    }

    /// python3 -c "from scipy.stats import binomtest as b; i = b(12, 16).proportion_ci(); print([.5*p/(1-p) for p in (i.low, .75, i.high)])"
    #[test]
    fn rates_are_compared() {
        let ratio = rate_ratio((4, 100.0), (12, 200.0)).expect("hours");
        assert!(
            (ratio.estimate - 1.5).abs() < 1e-12
                && (ratio.low - 0.454_616).abs() < 1e-5
                && (ratio.high - 6.381_17).abs() < 1e-4,
            "{ratio:?}"
        );
        assert_eq!(ratio_change(ratio), Change::Unclear);
        assert_eq!(ratio_change(rate_ratio((0, 100.0), (8, 100.0)).expect("hours")), Change::Worse);
        assert_eq!(ratio_change(rate_ratio((8, 100.0), (0, 100.0)).expect("hours")), Change::Better);
        assert_eq!(rate_ratio((0, 100.0), (0, 100.0)), None);
        assert_eq!(rate_ratio((1, 0.0), (1, 100.0)), None);
    }

    /// The remission times of Freireich et al. (1963), as in every book on survival: median 23 weeks with
    /// the drug, 8 without.
    #[test]
    fn the_middle_of_what_is_not_over() {
        let drug = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|week| (f64::from(week), true));
        let going_on = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|week| (f64::from(week), false));
        let found = took(&[&drug[..], &going_on[..]].concat());
        assert_eq!(found, Took { median: Some(23.0), p90: None, over: 9, open: 12 });
        let none =
            [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23].map(|week| (f64::from(week), true));
        assert_eq!(took(&none), Took { median: Some(8.0), p90: Some(17.0), over: 21, open: 0 });
        assert_eq!(took(&[(4.0, true), (8.0, true)]).median, Some(4.0));
        assert_eq!(took(&[(f64::NAN, true), (-1.0, true)]), Took::default());
    }

    #[test]
    fn repairs_and_their_parts() {
        let open = Booking { completed: None, confirmed: None, ..fault(90.0, None) };
        let bookings = [fault(0.0, Some(10.0)), fault(0.0, Some(20.0)), open];
        let found = repair(&bookings, 100.0);
        assert_eq!(found.whole, Took { median: Some(20.0), p90: Some(20.0), over: 2, open: 1 });
        assert_eq!(found.to_booking, Took { median: Some(1.0), p90: Some(1.0), over: 3, open: 0 });
        assert_eq!(found.to_confirmation, Took { median: Some(1.0), p90: None, over: 2, open: 1 });
        assert_eq!(found.to_completion, Took { median: Some(8.0), p90: Some(18.0), over: 2, open: 0 });
        // What is known only later is not known now.
        assert_eq!(repair(&bookings, 15.0).whole, Took { median: Some(10.0), p90: None, over: 1, open: 1 });
    }
}
