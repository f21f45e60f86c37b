//! Verdicts on rooms whose truth is known: simulated rooms that wander as real ones do.
#![allow(clippy::float_cmp, reason = "the same sums of the same numbers")]

use super::*;

const MATERIAL: f64 = 0.182_321_556_793_954_6; // ln 1.2, of a response time
const HALF_HOUR: i64 = 1_800_000;
/// The simulated rooms have every sixth half-hour, which is enough for the level of a day.
const STEP: i64 = 6 * HALF_HOUR;
/// Of them, a day has so many.
const STEPS: usize = (DAY / STEP) as usize;

/// Noise of a load-adjusted half-hour of the response time, as of `tests/detection/version_bench.py`.
struct Wander {
    rng: fastrand::Rng,
}

impl Wander {
    fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// Normally distributed (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * self.rng.f64()).cos()
    }

    /// First-order autoregressive noise of `n` steps that forgets in so many hours.
    fn lasting(&mut self, n: usize, hours: f64, spread: f64) -> Vec<f64> {
        let keep = (-(STEP / HOUR) as f64 / hours).exp();
        let mut now = spread * self.normal();
        let fresh = spread * (1.0 - keep * keep).sqrt();
        (0..n)
            .map(|_| {
                now = keep * now + fresh * self.normal();
                now
            })
            .collect()
    }

    fn room(&mut self, n: usize, common: &[f64]) -> Vec<HalfHour> {
        let parts = [
            self.lasting(n, 0.33, 0.07),
            self.lasting(n, 5.0, 0.05),
            self.lasting(n, 72.0, 0.03),
            self.lasting(n, 480.0, 0.03),
        ];
        let value = |at: usize| common[at] + parts.iter().map(|part| part[at]).sum::<f64>();
        (0..n).map(|at| HalfHour { at: at as i64 * STEP, value: value(at) }).collect()
    }

    /// A room and its sisters over so many days.
    fn rooms(&mut self, rooms: usize, days: usize) -> Vec<Vec<HalfHour>> {
        let common = self.lasting(days * STEPS, 6.0, 0.025);
        (0..rooms).map(|_| self.room(days * STEPS, &common)).collect()
    }
}

/// A fault of 2 material from `onset` to `completed`, of which `left` stays.
fn fault(room: &mut [HalfHour], onset: i64, completed: i64, left: f64) {
    for half_hour in room {
        half_hour.value += MATERIAL
            * match half_hour.at {
                at if at < onset => 0.0,
                at if at < completed => 2.0,
                _ => left,
            };
    }
}

fn asked<'a>(rooms: &'a [Room<'a>], onset: i64, completed: i64, now: i64) -> Question<'a> {
    Question { onset, completed, now, reopened: false, material: MATERIAL, room: rooms[0], sisters: &rooms[1..] }
}

fn of(rooms: &[Vec<HalfHour>]) -> Vec<Room<'_>> {
    rooms.iter().map(|half_hours| Room { half_hours, anchor: None }).collect()
}

#[derive(Debug, Default)]
struct Tally {
    trials: u32,
    covered: [u32; 3],
    solved: u32,
    not_solved: u32,
    improved: u32,
    width: f64,
}

/// So many repairs, of which `left` material is left; onset after `first` days.
fn tally(seed: u64, trials: u32, rooms: usize, first: i64, left: f64) -> Tally {
    let (onset, completed) = (first * DAY, first * DAY + 4 * DAY);
    let mut tally = Tally { trials, ..Tally::default() };
    for trial in 0..trials {
        let mut all = Wander::new(seed + u64::from(trial)).rooms(rooms, first as usize + 4 + 15);
        fault(&mut all[0], onset, completed, left);
        let effect = judge(&asked(&of(&all), onset, completed, completed + 15 * DAY));
        let shifts = [(effect.fault, 2.0), (effect.repair, left - 2.0), (effect.left, left)];
        for ((shift, truth), covered) in shifts.iter().zip(&mut tally.covered) {
            let Interval { low, high, .. } = shift.expect("enough to compare").material;
            *covered += u32::from((low..=high).contains(truth));
        }
        let left = effect.left.expect("enough to compare").material;
        tally.width += (left.high - left.low) / f64::from(trials);
        tally.solved += u32::from(effect.verdict == Verdict::Solved);
        tally.not_solved += u32::from(effect.verdict == Verdict::NotSolved);
        tally.improved += u32::from(effect.improved == Some(true));
    }
    tally
}

fn assert_covers(tally: &Tally) {
    for covered in tally.covered {
        let share = f64::from(covered) / f64::from(tally.trials);
        assert!((0.92..=0.98).contains(&share), "{tally:?}");
    }
}

#[test]
fn intervals_cover_the_truth_against_sister_rooms() {
    let tally = tally(1000, 400, 21, 15, 0.0);
    assert_covers(&tally);
    // What is solved is mostly seen to be.
    assert!(tally.solved * 10 > tally.trials * 4 && tally.improved == tally.trials, "{tally:?}");
}

#[test]
fn intervals_cover_the_truth_against_eight_rooms() {
    assert_covers(&tally(2000, 400, 9, 15, 0.0));
}

#[test]
fn intervals_cover_the_truth_against_earlier_dates() {
    assert_covers(&tally(3000, 400, 1, 130, 0.0));
}

#[test]
fn what_is_not_solved_is_hardly_ever_called_so() {
    // Unsolved repairs, from just so to hardly touched.
    for (seed, rooms, first) in [(4000, 21, 15), (5000, 9, 15), (6000, 1, 130)] {
        let (mut solved, mut trials, mut improved) = (0, 0, 0);
        for (left, seed) in [0.5, 0.7, 0.9, 1.2, 1.6].into_iter().zip((seed..).step_by(200)) {
            let tally = tally(seed, 120, rooms, first, left);
            (solved, trials, improved) = (solved + tally.solved, trials + tally.trials, improved + tally.improved);
        }
        assert!(solved * 1000 <= trials * 25, "{solved} of {trials} with {rooms} rooms");
        assert!(improved > trials / 2, "{improved} of {trials}");
    }
}

/// Rooms without any noise but a small spread of the sisters' shifts, for exact verdicts.
fn still(sisters: usize, days: i64, left: f64, onset: i64, completed: i64) -> Vec<Vec<HalfHour>> {
    let room = |shift: f64| -> Vec<HalfHour> {
        let value = |at: i64| if at >= completed { shift * MATERIAL } else { 0.0 };
        (0..days * 48).map(|block| HalfHour { at: block * HALF_HOUR, value: value(block * HALF_HOUR) }).collect()
    };
    let mut all: Vec<Vec<HalfHour>> = (0..=sisters).map(|sister| room(0.02 * (sister as f64 - 5.0))).collect();
    all[0] = room(0.0);
    fault(&mut all[0], onset, completed, left);
    all
}

fn verdict(left: f64, change: impl Fn(&mut Question<'_>)) -> Effect {
    let (onset, completed) = (16 * DAY, 18 * DAY);
    let all = still(9, 33, left, onset, completed);
    let rooms = of(&all);
    let mut question = asked(&rooms, onset, completed, 33 * DAY);
    change(&mut question);
    judge(&question)
}

#[test]
fn verdicts() {
    // Shifts of the nine sisters: −0.08 to 0.08, sd 0.0548, ± 0.1331 around 0.
    let solved = verdict(0.3, |_| {});
    assert_eq!((solved.verdict, solved.reason, solved.days), (Verdict::Solved, None, 7));
    let left = solved.left.expect("nine sisters").material;
    assert!((left.estimate - 0.3).abs() < 1e-9 && (left.high - 0.433_137).abs() < 1e-5, "{left:?}");
    assert_eq!((solved.improved, solved.placebo), (Some(true), Some(Placebo::Sisters(9))));
    let units = solved.left.expect("nine sisters").units;
    assert!((units.high - left.high * MATERIAL).abs() < 1e-12);
    assert!((solved.fault.expect("nine sisters").material.estimate - 2.0).abs() < 1e-9);
    assert!((solved.repair.expect("nine sisters").material.estimate + 1.7).abs() < 1e-9);
    // Between: the week is extended, and stays so.
    let between = verdict(0.5, |_| {});
    assert_eq!((between.verdict, between.reason, between.days), (Verdict::Inconclusive, Some(Reason::Wide), 14));
    assert_eq!(verdict(0.7, |_| {}).verdict, Verdict::NotSolved);
    // Improved and not solved; neither.
    let better = verdict(1.6, |_| {});
    assert_eq!((better.verdict, better.improved), (Verdict::NotSolved, Some(true)));
    assert_eq!(verdict(1.7, |_| {}).improved, Some(false));
}

#[test]
fn what_came_back_is_not_solved() {
    let effect = verdict(0.0, |question| question.reopened = true);
    assert_eq!((effect.verdict, effect.reason), (Verdict::NotSolved, None));
    assert!(effect.left.is_some());
}

#[test]
fn no_verdict_without_enough() {
    let early = verdict(0.0, |question| question.now = 24 * DAY);
    assert_eq!((early.verdict, early.reason), (Verdict::Inconclusive, Some(Reason::TooEarly)));
    let lonely = verdict(0.0, |question| question.sisters = &question.sisters[..7]);
    assert_eq!((lonely.verdict, lonely.reason), (Verdict::Inconclusive, Some(Reason::NothingToCompare)));
    let silent = verdict(0.0, |question| question.room.half_hours = &question.room.half_hours[..20 * 48]);
    assert_eq!((silent.verdict, silent.reason), (Verdict::Inconclusive, Some(Reason::FewDays)));
    assert_eq!(Effect::NOT_MEASURABLE.verdict, Verdict::NotMeasurable);
}

#[test]
fn half_a_year_alone_is_enough_and_a_month_is_not() {
    let mut room = Wander::new(7).rooms(1, 150);
    let (onset, completed) = (130 * DAY, 134 * DAY);
    fault(&mut room[0], onset, completed, 0.0);
    let rooms = of(&room);
    let whole = asked(&rooms, onset, completed, 149 * DAY);
    assert!(matches!(judge(&whole).placebo, Some(Placebo::Earlier(12..))), "{:?}", judge(&whole));
    // A week less of it at a time, until one pair too few is left.
    let pairs: Vec<Option<Placebo>> = (0..6)
        .map(|weeks| {
            let short = Room { half_hours: &room[0][weeks * 7 * STEPS..], anchor: None };
            let effect = judge(&Question { room: short, ..whole });
            let nothing = (Verdict::Inconclusive, Some(Reason::NothingToCompare));
            assert!(effect.placebo.is_some() || (effect.verdict, effect.reason) == nothing, "{effect:?}");
            effect.placebo
        })
        .collect();
    let known: Vec<&Placebo> = pairs.iter().flatten().collect();
    assert!(known.len() < pairs.len() && known.last() == Some(&&Placebo::Earlier(12)), "{pairs:?}");
}

#[test]
fn the_first_hour_after_it_does_not_count() {
    let (onset, completed) = (16 * DAY, 18 * DAY);
    let all = still(9, 33, 0.0, onset, completed);
    // Five half-hours on each of five days after it, the first of them just after the work.
    let after = |late: i64| -> Vec<HalfHour> {
        let at_work = |at: i64| (late..late + 5).contains(&((at - completed) % DAY / HALF_HOUR));
        let kept = |at: i64| at < completed || at < completed + 5 * DAY && at_work(at);
        all[0].iter().copied().filter(|half_hour| kept(half_hour.at)).collect()
    };
    let ask = |half_hours: &[HalfHour]| {
        let rooms = of(&all);
        judge(&Question { room: Room { half_hours, anchor: None }, ..asked(&rooms, onset, completed, 33 * DAY) })
    };
    assert_eq!(ask(&after(1)).reason, Some(Reason::FewDays));
    assert_eq!(ask(&after(2)).verdict, Verdict::Solved);
}

#[test]
fn what_came_slowly_is_seen_against_the_anchor() {
    // Two material in twenty days, found late; the repair takes away half of it.
    let (onset, completed) = (28 * DAY, 30 * DAY);
    let mut all = Wander::new(11).rooms(15, 48);
    for half_hour in &mut all[0] {
        let day = half_hour.at as f64 / DAY as f64;
        half_hour.value += MATERIAL * if half_hour.at < completed { (day - 8.0).clamp(0.0, 20.0) / 10.0 } else { 1.0 };
    }
    let by_days = judge(&asked(&of(&all), onset, completed, 46 * DAY));
    assert_ne!(by_days.verdict, Verdict::NotSolved);
    let anchored: Vec<Room<'_>> = all.iter().map(|half_hours| Room { half_hours, anchor: Some(0.0) }).collect();
    let effect = judge(&asked(&anchored, onset, completed, 46 * DAY));
    let left = effect.left.expect("sisters").material;
    assert!(
        (left.estimate - 1.0).abs() < 0.6 && left.estimate > by_days.left.expect("sisters").material.estimate + 0.5,
        "{left:?}"
    );
}

#[test]
fn what_all_rooms_have_and_where_they_stand_changes_nothing() {
    let (onset, completed) = (16 * DAY, 20 * DAY);
    let mut all = Wander::new(12).rooms(13, 36);
    fault(&mut all[0], onset, completed, 0.4);
    let plain = judge(&asked(&of(&all), onset, completed, 35 * DAY));
    let same = |other: &Effect| {
        let close = |a: Option<Shift>, b: Option<Shift>| match (a, b) {
            (Some(a), Some(b)) => {
                (a.material.low - b.material.low).abs() < 1e-9 && (a.material.high - b.material.high).abs() < 1e-9
            }
            (a, b) => a.is_none() && b.is_none(),
        };
        assert!(other.verdict == plain.verdict && other.improved == plain.improved, "{other:?} {plain:?}");
        assert!(close(other.left, plain.left) && close(other.fault, plain.fault) && close(other.repair, plain.repair));
    };
    // A level of its own for each room.
    let mut moved = all.clone();
    for (room, level) in moved.iter_mut().zip([3.0, -1.0, 0.5].into_iter().cycle()) {
        room.iter_mut().for_each(|half_hour| half_hour.value += level);
    }
    same(&judge(&asked(&of(&moved), onset, completed, 35 * DAY)));
    // A service that gets slower for all on the day of the repair.
    let mut slower = all.clone();
    slower
        .iter_mut()
        .flatten()
        .filter(|half_hour| half_hour.at >= completed)
        .for_each(|half_hour| half_hour.value += 0.7);
    same(&judge(&asked(&of(&slower), onset, completed, 35 * DAY)));
    // Other sisters first; some weeks later; another unit.
    let mut turned = all.clone();
    turned[1..].reverse();
    same(&judge(&asked(&of(&turned), onset, completed, 35 * DAY)));
    let mut later = all.clone();
    later.iter_mut().flatten().for_each(|half_hour| half_hour.at += 21 * DAY);
    same(&judge(&asked(&of(&later), onset + 21 * DAY, completed + 21 * DAY, 56 * DAY)));
    let mut other = all.clone();
    other.iter_mut().flatten().for_each(|half_hour| half_hour.value *= 8.0);
    let rooms = of(&other);
    same(&judge(&Question { material: 8.0 * MATERIAL, ..asked(&rooms, onset, completed, 35 * DAY) }));
}

#[test]
fn any_input_is_borne() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..300 {
        let mut half_hours = |n: usize| -> Vec<HalfHour> {
            let values = [f64::NAN, f64::INFINITY, f64::MAX, -1e300, 0.0, 1.0, 2.0];
            (0..n).map(|at| HalfHour { at: at as i64 * HALF_HOUR, value: values[rng.usize(..values.len())] }).collect()
        };
        let all: Vec<Vec<HalfHour>> = (0..12).map(|_| half_hours(1600)).collect();
        let rooms = of(&all);
        let (onset, completed) = (rng.i64(-DAY..40 * DAY), rng.i64(-DAY..40 * DAY));
        let question = Question {
            material: [1.0, 0.0, -1.0, f64::NAN][rng.usize(..4)],
            ..asked(&rooms, onset, completed, 50 * DAY)
        };
        let effect = judge(&question);
        if effect.verdict == Verdict::Solved {
            assert!(effect.left.is_some_and(|left| left.material.high < SOLVED), "{effect:?}");
        }
    }
}
