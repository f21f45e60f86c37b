//! When a device stood where: pure.
//!
//! A device that is asked where it stands tells where it stood a little before: its counter moves in steps,
//! and the answer takes its time. Such an answer lags, and never runs ahead. So where it stood is the line
//! that lies above all answers and as near to them as a line can: of their upper convex hull the edge above
//! their mean time. (The same as for packets that are only ever late: S. Moon, P. Skelly, D. Towsley,
//! Estimation and removal of clock skew, INFOCOM 1999.)
//!
//! On a busy box steps themselves are late, and few answers come right after one: such a line is some tenths
//! of a millisecond off. Two counters that are moved by the same timer or interrupt, as those of one card may be,
//! are late together, and their difference is not off at all.
//!
//! A box that stands still for longer than a device's buffer lasts loses sound, and need not be told: a counter
//! that goes round and round is then behind by whole rounds, and nobody ran out of anything. But the device is
//! from there on behind its pace.

/// An answer: frames that had passed, at a time in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) frames: f64,
}

/// Fewest answers of a line.
const FEWEST: usize = 10;
/// How long a device may take to move evenly after its start, in seconds.
const SETTLING: f64 = 0.2;
/// Least time from first to last answer, in seconds, from which a device's own rate is told.
const LONG: f64 = 2.0;
/// No clock of a sound device is further off than this, as a ratio; what is, is no even line.
const FURTHEST: f64 = 500e-6;
/// Counters move in step if they differ by the same number of frames, within one, in so great a share of looks.
/// In the others a step came between the two answers. Steps that are apart by a tenth of a step pass for such.
const IN_STEP: f64 = 0.9;
/// The most by which their distance may depart from what the lines say, in frames: 0.5 ms.
const DEPARTURE: f64 = 0.0005 * RATE;
/// Answers before a place, and after it, by which the pace of the one side is held against that of the other:
/// half a second.
const AROUND: usize = 50;
/// By how much they may differ, in frames: 20 ms. A buffer holds more; a counter that moves in large steps, a clock
/// that is far off, and answers that are late differ by less. The sweeps themselves tell if less was lost.
const LOST: f64 = 0.02 * RATE;
/// Nominal frames a second.
const RATE: f64 = crate::echo::RATE as f64;

/// An even pace.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pace {
    at: f64,
    frames: f64,
    rate: f64,
}

impl Pace {
    /// The pace of a device that gave these answers, in the order of time. `None` if they are too few.
    fn of(points: &[Point]) -> Option<Self> {
        let first = points.first()?.at;
        let settled = points.iter().position(|point| point.at >= first + SETTLING)?;
        let points = &points[settled..];
        if points.len() < FEWEST {
            return None;
        }
        let hull = upper_hull(points);
        let mean = points.iter().map(|point| point.at).sum::<f64>() / points.len() as f64;
        let edge = hull.windows(2).find(|edge| edge[1].at >= mean)?;
        let rate = (edge[1].frames - edge[0].frames) / (edge[1].at - edge[0].at);
        let is_even = (rate / RATE - 1.0).abs() <= FURTHEST;
        if is_even && points[points.len() - 1].at - points[0].at >= LONG {
            return Some(Self { at: edge[0].at, frames: edge[0].frames, rate });
        }
        // The line of the nominal rate that is above all.
        let ahead = |point: &Point| point.frames - RATE * point.at;
        let top = points.iter().max_by(|one, other| ahead(one).total_cmp(&ahead(other)))?;
        Some(Self { at: top.at, frames: top.frames, rate: RATE })
    }

    /// Frames that have passed at a time in seconds, fractions included.
    fn frames_at(&self, at: f64) -> f64 {
        self.frames + self.rate * (at - self.at)
    }

    /// When so many frames had passed, in seconds.
    fn time_of(&self, frames: f64) -> f64 {
        self.at + (frames - self.frames) / self.rate
    }
}

/// Frames that one device had played when `frames` had passed on another one, by the answers of both in the order of
/// time. `None` if they are too few.
pub(super) fn played_at(frames: f64, taken: &[Point], played: &[Point]) -> Option<f64> {
    let by_time = Pace::of(played)?.frames_at(Pace::of(taken)?.time_of(frames));
    let in_step = ahead_in_step(taken, played).map(|ahead| frames + ahead);
    Some(in_step.filter(|place| (place - by_time).abs() <= DEPARTURE).unwrap_or(by_time))
}

/// Whether a device that gave these answers, in the order of time, has fallen behind its pace, or leapt ahead, and
/// stayed there: sound was lost, and nobody said so.
pub(super) fn has_leapt(points: &[Point]) -> bool {
    let Some(first) = points.first() else { return false };
    let settled = points.partition_point(|point| point.at < first.at + SETTLING);
    let ahead: Vec<f64> = points[settled..].iter().map(|point| point.frames - RATE * point.at).collect();
    (FEWEST..=ahead.len().saturating_sub(FEWEST)).any(|place| {
        let before = &ahead[place.saturating_sub(AROUND)..place];
        let after = &ahead[place..ahead.len().min(place + AROUND)];
        (upper(after) - upper(before)).abs() > LOST
    })
}

/// What a quarter of the values is above of, as most answers may be late; of one value at the least.
fn upper(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[3 * sorted.len() / 4]
}

/// Frames by which what is played is ahead of what is taken, if both counters move in step.
fn ahead_in_step(taken: &[Point], played: &[Point]) -> Option<f64> {
    let settled = played.first()?.at + SETTLING;
    let mut rest = taken;
    let mut ahead: Vec<f64> = Vec::new();
    // A look asks for what is played first, and then for what was taken.
    for (place, point) in played.iter().enumerate().filter(|(_, point)| point.at >= settled) {
        let next = played.get(place + 1).map_or(f64::INFINITY, |next| next.at);
        rest = &rest[rest.partition_point(|other| other.at < point.at)..];
        ahead.extend(rest.first().filter(|other| other.at < next).map(|other| point.frames - other.frames));
    }
    if ahead.len() < FEWEST {
        return None;
    }
    ahead.sort_unstable_by(f64::total_cmp);
    let middle = ahead[ahead.len() / 2];
    let same = ahead.iter().filter(|one| (*one - middle).abs() <= 1.0).count();
    (same as f64 >= IN_STEP * ahead.len() as f64).then_some(middle)
}

/// The corners of the upper convex hull, from left to right (Andrew's monotone chain).
fn upper_hull(points: &[Point]) -> Vec<Point> {
    let mut hull: Vec<Point> = Vec::new();
    for point in points {
        while let [.., before, last] = hull.as_slice() {
            let (x, y) = (last.at - before.at, last.frames - before.frames);
            let below = x * (point.frames - before.frames) - y * (point.at - before.at);
            if below < 0.0 {
                break;
            }
            hull.pop();
        }
        // Of two answers at one time only the further one can be a corner.
        match hull.last_mut() {
            Some(last) if last.at >= point.at => last.frames = last.frames.max(point.frames),
            _ => hull.push(*point),
        }
    }
    hull
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Answers of a device of so many frames a second that began at 0.3217 s, every 10 ms or so. Its counter
    /// moves every `step` seconds; the answer takes up to `late` seconds more.
    fn answers(rate: f64, seconds: f64, step: f64, late: f64) -> Vec<Point> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut at = 0.33;
        let mut points = Vec::new();
        while at < seconds {
            let moved = ((at - 0.3217) / step).floor() * step;
            points.push(Point { at: at + late * random.f64().powi(2), frames: rate * moved });
            at += 0.007 + 0.006 * random.f64();
        }
        points
    }

    #[test]
    fn the_start_is_found_between_steps_of_four_milliseconds() {
        for rate in [48_000.0, 48_000.0 * (1.0 + 80e-6), 48_000.0 * (1.0 - 80e-6)] {
            let pace = Pace::of(&answers(rate, 8.0, 0.004, 0.002)).unwrap();
            let error = pace.time_of(0.0) - 0.3217;
            assert!(error.abs() < 0.000_05, "{error} s at {rate}");
            let error = pace.frames_at(5.3217) - 5.0 * rate;
            assert!(error.abs() < 4.0, "{error} frames at {rate}");
        }
    }

    #[test]
    fn a_short_run_is_taken_at_the_nominal_rate() {
        let pace = Pace::of(&answers(48_000.0, 1.5, 0.004, 0.002)).unwrap();
        assert!((pace.rate - RATE).abs() < 1e-9);
        let error = pace.time_of(0.0) - 0.3217;
        assert!(error.abs() < 0.000_1, "{error} s");
    }

    #[test]
    fn a_rate_that_no_clock_has_is_not_believed() {
        let pace = Pace::of(&answers(47_000.0, 8.0, 0.004, 0.002)).unwrap();
        assert!((pace.rate - RATE).abs() < 1e-9);
    }

    #[test]
    fn what_a_device_does_at_its_start_does_not_count() {
        let mut points = answers(48_000.0, 8.0, 0.004, 0.002);
        // It swallows 64 frames at once and waits until they are due.
        points.insert(0, Point { at: 0.3217, frames: 640.0 });
        let pace = Pace::of(&points).unwrap();
        let error = pace.time_of(0.0) - 0.3217;
        assert!(error.abs() < 0.000_1, "{error} s");
    }

    /// Answers of two devices that move by 192 frames at one timer's ticks, which a busy box lets come late, by up
    /// to 8 ms: what is played, and what is taken. The other answer comes 0.2 ms after the one. Where a clock
    /// differs by `skew`, and steps come `apart` seconds after those of the one, they are devices of their own.
    fn answers_of_two(skew: f64, apart: f64) -> (Vec<Point>, Vec<Point>) {
        let mut random = fastrand::Rng::with_seed(11);
        let ticks: Vec<f64> = (0..2500).map(|n| f64::from(n) * 0.004 + 0.008 * random.f64().powi(3)).collect();
        let moved = |at: f64| 192.0 * ticks.partition_point(|tick| *tick <= at) as f64;
        let mut at = 0.01;
        let (mut played, mut taken) = (Vec::new(), Vec::new());
        while at < 9.9 {
            let late = 0.0001 + 0.002 * random.f64().powi(4);
            played.push(Point { at: at + late, frames: 1000.0 + moved(at) });
            taken.push(Point { at: at + late + 0.0002, frames: (1.0 + skew) * moved(at + 0.0002 - apart) });
            at += 0.007 + 0.006 * random.f64() + late;
        }
        (played, taken)
    }

    #[test]
    fn counters_that_move_in_step_tell_their_distance_exactly_however_late_the_steps_are() {
        let (played, taken) = answers_of_two(0.0, 0.0);
        let by_lines = Pace::of(&played).unwrap().frames_at(Pace::of(&taken).unwrap().time_of(48_000.0));
        assert!((by_lines - 49_000.0).abs() > 1.0, "{by_lines}: no box that would need it");
        assert_eq!(played_at(48_000.0, &taken, &played), Some(49_000.0));
        // An answer that is missing on one side shifts no others.
        let fewer = [&taken[..100], &taken[101..]].concat();
        assert_eq!(played_at(48_000.0, &fewer, &played), Some(49_000.0));
    }

    #[test]
    fn counters_that_do_not_move_in_step_are_told_by_their_lines() {
        for (skew, apart) in [(80e-6, 0.0), (0.0, 0.0015)] {
            let (played, taken) = answers_of_two(skew, apart);
            assert_eq!(ahead_in_step(&taken, &played), None, "{skew} {apart}");
            let by_lines = Pace::of(&played).unwrap().frames_at(Pace::of(&taken).unwrap().time_of(48_000.0));
            assert_eq!(played_at(48_000.0, &taken, &played), Some(by_lines));
        }
        // Nor is their distance believed where the lines are far from it.
        let (played, mut taken) = answers_of_two(0.0, 0.0);
        taken.iter_mut().for_each(|point| point.at += 0.002);
        let place = played_at(48_000.0, &taken, &played).unwrap();
        assert!((place - 49_096.0).abs() < DEPARTURE, "{place}");
    }

    /// The answers after a stay of the box at 4 s, in which a counter of `buffer` frames went round unseen.
    fn answers_after_a_stay(buffer: f64, seconds: f64) -> Vec<Point> {
        let mut points = answers(48_000.0, 8.0, 0.004, 0.002);
        points.retain(|point| !(4.0..4.0 + seconds).contains(&point.at));
        let lost = (seconds * RATE / buffer).floor() * buffer;
        points.iter_mut().filter(|point| point.at >= 4.0).for_each(|point| point.frames -= lost);
        points
    }

    #[test]
    fn a_counter_that_went_round_unseen_has_lost_sound() {
        // As the kernel's loopback card answers after a box stood still: 0.3 s, a buffer of 0.25 s.
        assert!(has_leapt(&answers_after_a_stay(12_000.0, 0.3)));
        assert!(has_leapt(&answers_after_a_stay(48_000.0, 1.1)));
        // Also close to the begin, and close to the end.
        for place in [40, 600] {
            let mut points = answers(48_000.0, 8.0, 0.004, 0.002);
            points[place..].iter_mut().for_each(|point| point.frames -= 12_000.0);
            assert!(has_leapt(&points), "{place}");
            points[place..].iter_mut().for_each(|point| point.frames += 24_000.0);
            assert!(has_leapt(&points), "{place}");
        }
        // Stays that follow one another.
        let mut points = answers(48_000.0, 8.0, 0.004, 0.002);
        points.iter_mut().for_each(|point| point.frames -= 12_000.0 * (point.at / 0.3).floor());
        assert!(has_leapt(&points));
    }

    #[test]
    fn a_stay_that_the_buffer_outlasts_a_poor_clock_and_coarse_steps_lose_nothing() {
        assert!(!has_leapt(&answers_after_a_stay(12_000.0, 0.24)));
        for rate in [48_000.0 * (1.0 + FURTHEST), 48_000.0 * (1.0 - FURTHEST)] {
            assert!(!has_leapt(&answers(rate, 60.0, 0.004, 0.002)), "{rate}");
        }
        // A counter that moves by 1024 frames, and answers that come up to 100 ms late.
        assert!(!has_leapt(&answers(48_000.0, 60.0, 1024.0 / RATE, 0.002)));
        let mut late = answers(48_000.0, 60.0, 0.004, 0.1);
        late.sort_by(|one, other| one.at.total_cmp(&other.at));
        assert!(!has_leapt(&late));
        // What it does at its start, and single answers.
        let mut points = answers(48_000.0, 8.0, 0.004, 0.002);
        points[..10].iter_mut().for_each(|point| point.frames += 12_000.0);
        points[300..304].iter_mut().for_each(|point| point.frames -= 12_000.0);
        assert!(!has_leapt(&points));
        assert!(!has_leapt(&[]) && !has_leapt(&points[..30]));
    }

    #[test]
    fn few_answers_are_no_line() {
        assert_eq!(Pace::of(&[]), None);
        let points = answers(48_000.0, 8.0, 0.004, 0.002);
        let settled = points.iter().position(|point| point.at >= points[0].at + SETTLING).unwrap();
        assert_eq!(Pace::of(&points[..settled + FEWEST - 1]), None);
        assert!(Pace::of(&points[..settled + FEWEST]).is_some());
        let still = [Point { at: 1.0, frames: 5.0 }; 100];
        assert_eq!(Pace::of(&still), None);
    }
}
