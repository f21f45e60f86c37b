//! Where what was recorded stands on the line of what was played, by the clocks the devices give: pure.

/// A change of the place, in samples, that no clock makes in half a second: 0.5 ms.
const JUMP: f64 = 0.0005 * super::super::RATE as f64;
/// The most by which two clocks of sound devices differ, as a ratio.
const MOST_SKEW: f64 = 1e-3;
/// How many times the scatter of the readings a change must be.
const SCATTERS: f64 = 4.0;
/// Fewest readings before a change, and after it: fewer were only late.
const FEWEST: usize = 3;
/// The least course over which a skew is told from the unsteadiness of the readings, in samples: 5 s.
const COURSE: f64 = 5.0 * super::super::RATE as f64;

/// One reading of two clocks at one instant: the place that is recorded, and the place that is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    /// Samples from the first that is kept, fractions included.
    pub(crate) recorded: f64,
    /// Samples from the first of the played sound.
    pub(crate) played: f64,
}

impl Moment {
    fn ahead(self) -> f64 {
        self.played - self.recorded
    }
}

/// What was played when the first kept sample was taken; `None` without a reading. A straight line through
/// all readings by Theil and Sen, so that single readings which came late do not move it.
pub(crate) fn start(moments: &[Moment]) -> Option<f64> {
    let slope = slope(&[moments]);
    median(moments.iter().map(|moment| moment.ahead() - slope * moment.recorded).collect())
}

/// Whether the place has changed by more than half a millisecond and stayed there: sound was lost, or something
/// was put in. Readings of some devices scatter by milliseconds on a busy box; a change has to stand out of that.
pub(crate) fn has_slipped(moments: &[Moment]) -> bool {
    let differs = |place: usize| {
        let (before, after) = moments.split_at(place);
        // What the clocks drift apart, without the change that is looked for.
        let slope = slope(&[before, after]);
        let flat = |part: &[Moment]| part.iter().map(|moment| moment.ahead() - slope * moment.recorded).collect();
        let (before, after): (Vec<f64>, Vec<f64>) = (flat(before), flat(after));
        let (Some(first), Some(second)) = (median(before.clone()), median(after.clone())) else { return false };
        let away = before.iter().map(|one| (one - first).abs()).chain(after.iter().map(|one| (one - second).abs()));
        let scatter = median(away.collect()).unwrap_or(0.0);
        (second - first).abs() > JUMP.max(SCATTERS * scatter)
    };
    (FEWEST..=moments.len().saturating_sub(FEWEST)).any(differs)
}

/// By how much more is played than recorded, as a ratio: the median over pairs of the same part.
fn slope(parts: &[&[Moment]]) -> f64 {
    let course = |part: &[Moment]| part.first().zip(part.last()).map_or(0.0, |(a, b)| b.recorded - a.recorded);
    if parts.iter().map(|part| course(part)).fold(0.0, f64::max) < COURSE {
        return 0.0;
    }
    let mut slopes = Vec::new();
    for part in parts {
        for (place, one) in part.iter().enumerate() {
            let others = part[place + 1..].iter();
            slopes.extend(others.filter_map(|other| {
                let course = other.recorded - one.recorded;
                (course >= COURSE / 2.0).then(|| (other.ahead() - one.ahead()) / course)
            }));
        }
    }
    median(slopes).filter(|slope| slope.abs() <= MOST_SKEW).unwrap_or(0.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Readings every half second, `ahead` of samples.
    fn moments(count: u32, ahead: impl Fn(f64) -> f64) -> Vec<Moment> {
        (0..count)
            .map(|n| {
                let recorded = 24_000.0 * f64::from(n) + 1000.0;
                Moment { recorded, played: recorded + ahead(recorded) }
            })
            .collect()
    }

    #[test]
    fn a_constant_distance_is_found_exactly() {
        assert!((start(&moments(1, |_| -96.25)).unwrap() + 96.25).abs() < 1e-9);
        assert!((start(&moments(20, |_| -96.25)).unwrap() + 96.25).abs() < 1e-9);
        assert_eq!(start(&[]), None);
    }

    #[test]
    fn clocks_that_drift_apart_are_read_at_the_first_sample_and_do_not_slip() {
        let drifting = moments(60, |recorded| 500.0 + 200e-6 * recorded);
        assert!((start(&drifting).unwrap() - 500.0).abs() < 1e-6);
        assert!(!has_slipped(&drifting));
    }

    #[test]
    fn readings_that_came_late_move_nothing() {
        let mut late = moments(20, |_| 500.0);
        for place in [3, 9, 15] {
            late[place].played += 900.0;
        }
        assert!((start(&late).unwrap() - 500.0).abs() < 1e-6);
        assert!(!has_slipped(&late));
    }

    #[test]
    fn a_step_that_stays_is_a_slip() {
        for step in [30.0, -30.0, 1024.0] {
            let slipped = moments(20, |recorded| if recorded < 240_000.0 { 0.0 } else { step });
            assert!(has_slipped(&slipped), "{step}");
        }
        assert!(!has_slipped(&moments(20, |recorded| if recorded < 240_000.0 { 0.0 } else { 10.0 })));
    }

    #[test]
    fn readings_that_scatter_are_no_slip_but_a_change_beyond_their_scatter_is() {
        // As a busy server's null sink gave them.
        const SEEN: [f64; 16] = [
            -386.0, -651.3, -823.3, -517.1, -797.7, -961.0, -505.5, -981.8, -843.6, -370.3, -445.2, -1041.1, -880.8,
            -836.4, -602.8, -1039.5,
        ];
        let seen = |step: f64| {
            moments(16, move |recorded| {
                SEEN[(recorded / 24_000.0) as usize] + if recorded < 192_000.0 { 0.0 } else { step }
            })
        };
        assert!(!has_slipped(&seen(0.0)));
        assert!(has_slipped(&seen(2000.0)) && has_slipped(&seen(-2000.0)));
    }

    #[test]
    fn nonsense_is_no_place() {
        assert_eq!(start(&[Moment { recorded: f64::NAN, played: 1.0 }]), None);
    }
}
