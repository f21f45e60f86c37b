//! Another clock against ours, told from packets there and back.

/// Greatest difference of the rates of two clocks: kernels slew theirs by at most 500 parts in a million.
const MOST_SKEW: f64 = 1e-3;
/// Halvings until the skew is exact: of 2000 parts in a million fewer than 1e-12 are left.
const STEPS: usize = 60;
/// Room, in seconds, that a skew nearer to none may cost at least: no packet shows so little.
const NO_ROOM: f64 = 1e-9;
/// How many of the least delays each way show how far these lie apart by chance.
const LEAST: usize = 7;
/// Share of the call at each end from which the other clock is not bounded: too few packets lie outside of
/// them.
const EDGE: f64 = 0.1;

/// A packet: when, by our clock, and how long it seemed to take by both clocks, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: f64,
    pub(super) excess: f64,
}

/// By how much the other clock is ahead of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    middle: f64,
    offset: f64,
    skew: f64,
    /// How far at most [`Self::ahead`] is from the truth, in seconds, if both clocks go at constant rates.
    pub(super) uncertainty: f64,
    /// How far the least delays lie apart, both ways together, in seconds: by so much may a skew that is wrong
    /// have changed the variation of a way.
    pub(super) scatter: f64,
}

impl Clocks {
    /// From packets there, whose times contain by how much the other clock is ahead, and packets back, whose
    /// times lack it. `None` if they contradict each other, or there are none.
    pub(super) fn of(there: &[Point], back: &[Point]) -> Option<Self> {
        let points = [there, back];
        let (there, back) = (lower_hull(there), lower_hull(back));
        let (firsts, lasts) = ([there.first()?.at, back.first()?.at], [there.last()?.at, back.last()?.at]);
        let (begin, end) = (firsts[0].min(firsts[1]), lasts[0].max(lasts[1]));
        let middle = f64::midpoint(begin, end);
        let least = |hull: &[Point], skew: f64| {
            hull.iter().map(|point| point.excess - skew * (point.at - middle)).fold(f64::INFINITY, f64::min)
        };
        // The room between the lines of this skew below all packets there, and above all packets back. It
        // is concave: the least of straight lines.
        let room = |skew: f64| least(&there, skew) + least(&back, -skew);
        let (mut low, mut high) = (-MOST_SKEW, MOST_SKEW);
        for _ in 0..2 * STEPS {
            let third = (high - low) / 3.0;
            if room(low + third) < room(high - third) { low += third } else { high -= third }
        }
        let best = room(low);
        // Two single packets quicker than all others tilt a line at will. So of all skews whose lack of room
        // is no more than chance, the least.
        let scatter = scatter(points[0], low, middle) + scatter(points[1], -low, middle);
        let enough = best - NO_ROOM.max(scatter.min(best / 2.0));
        let (mut skew, mut near) = (low, 0.0);
        if room(near) >= enough {
            skew = near;
        }
        for _ in 0..STEPS {
            let half = f64::midpoint(near, skew);
            if room(half) >= enough { skew = half } else { near = half }
        }
        let offset = (least(&there, skew) - least(&back, -skew)) / 2.0;
        let ahead = |at: f64| offset + skew * (at - middle);
        let edge = EDGE * (end - begin);
        let inner = [(begin + edge).max(firsts[0]).max(firsts[1]), (end - edge).min(lasts[0]).min(lasts[1])];
        let off = inner.map(|at| (on(&there, at) - ahead(at)).max(on(&back, at) + ahead(at)));
        // Of two straight lines that are at most 1 apart at two instants, this far apart elsewhere.
        let beyond = 1.0 + 2.0 * (inner[0] - begin).max(end - inner[1]) / (inner[1] - inner[0]);
        let uncertainty = beyond * off[0].max(off[1]);
        let sound = inner[1] > inner[0] && best >= 0.0 && uncertainty.is_finite();
        sound.then_some(Self { middle, offset, skew, uncertainty, scatter })
    }

    /// By how much the other clock is ahead at an instant of ours.
    pub(super) fn ahead(&self, at: f64) -> f64 {
        self.offset + self.skew * (at - self.middle)
    }
}

/// How far the least delays of a way lie apart, with a skew taken out, in seconds.
fn scatter(points: &[Point], skew: f64, middle: f64) -> f64 {
    let mut delays: Vec<f64> = points.iter().map(|point| point.excess - skew * (point.at - middle)).collect();
    let last = LEAST.min(delays.len()).saturating_sub(1);
    if delays.is_empty() {
        return 0.0;
    }
    let (before, last, _) = delays.select_nth_unstable_by(last, f64::total_cmp);
    *last - before.iter().copied().fold(*last, f64::min)
}

/// The lower convex hull (Andrew's monotone chain): a straight line is below all points if it is below
/// these.
fn lower_hull(points: &[Point]) -> Vec<Point> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.excess.total_cmp(&b.excess)));
    // Of points at one instant the lowest comes first.
    sorted.dedup_by(|later, first| later.at <= first.at);
    let mut hull: Vec<Point> = Vec::new();
    for point in sorted {
        while let [.., a, b] = hull[..]
            && (b.at - a.at) * (point.excess - a.excess) <= (b.excess - a.excess) * (point.at - a.at)
        {
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// The height of a hull at an instant within it.
fn on(hull: &[Point], at: f64) -> f64 {
    let next = hull.partition_point(|point| point.at < at).clamp(1, hull.len().saturating_sub(1).max(1));
    match (hull.get(next - 1), hull.get(next)) {
        (Some(a), Some(b)) => a.excess + (b.excess - a.excess) * (at - a.at) / (b.at - a.at),
        (Some(only), None) => only.excess,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is laid over a call, and how well it is to be told.
    struct Case {
        length: f64,
        offset: f64,
        /// In parts of one.
        skew: f64,
        /// The least there and back, and by how much delays are above it.
        least: [f64; 2],
        above: [f64; 2],
    }

    /// Packets of a call, and by how much the other clock is ahead.
    fn packets(case: &Case, random: &mut fastrand::Rng) -> (Vec<Point>, Vec<Point>, impl Fn(f64) -> f64) {
        let &Case { length, offset, skew, least, above } = case;
        let ahead = move |at: f64| offset + skew * (at - 3.0);
        let mut way = |which: usize| least[which] + above[which] * random.f64().powi(3);
        let (mut there, mut back) = (Vec::new(), Vec::new());
        for i in 0..(length / 0.01) as usize {
            let sent = 1.0 + 0.01 * i as f64;
            let arrived = sent + way(0);
            there.push(Point { at: sent, excess: arrived + ahead(arrived) - sent });
            let received = arrived + 1e-4 + way(1);
            back.push(Point { at: received, excess: received - (arrived + 1e-4 + ahead(arrived + 1e-4)) });
        }
        (there, back, ahead)
    }

    #[test]
    fn offset_and_skew_are_told_to_half_of_the_asymmetry_and_a_hair() {
        // Parts in a million that the skew may be off, and how far the uncertainty is above half the round
        // trip, in seconds.
        for (length, least, above, skew_off, more) in [
            (60.0, [0.001, 0.001], [0.0, 0.0], 0.1, 0.0004),
            (20.0, [0.010, 0.010], [0.020, 0.020], 1.5, 0.006),
            (8.0, [0.0002, 0.0002], [0.002, 0.002], 3.0, 0.0003),
            (20.0, [0.030, 0.005], [0.040, 0.001], 1.5, 0.006),
        ] {
            let mut random = fastrand::Rng::with_seed(4);
            let case = Case { length, offset: 10_800.0, skew: 40e-6, least, above };
            let (there, back, ahead) = packets(&case, &mut random);
            let clocks = Clocks::of(&there, &back).expect("packets enough");
            let skew = (clocks.skew - 40e-6) * 1e6;
            assert!(skew.abs() < skew_off, "{length} {least:?}: {skew} ppm off");
            let middle = 1.0 + length / 2.0;
            let off = clocks.ahead(middle) - ahead(middle) - (least[0] - least[1]) / 2.0;
            assert!(off.abs() < 5e-5 + 0.002 * (above[0] + above[1]), "{length} {least:?}: {off} off");
            let half = (least[0] + least[1]) / 2.0;
            assert!((half..half + more).contains(&clocks.uncertainty), "{length} {least:?}: {}", clocks.uncertainty);
        }
    }

    #[test]
    fn the_truth_is_never_farther_away_than_the_uncertainty() {
        let mut random = fastrand::Rng::with_seed(21);
        for round in 0..400 {
            let mut any = |least: f64, most: f64| least * (most / least).powf(random.f64());
            let case = Case {
                length: any(0.5, 60.0),
                least: [any(1e-5, 0.3), any(1e-5, 0.3)],
                above: [any(1e-6, 0.3), any(1e-6, 0.3)],
                offset: any(1e-3, 1e6) - any(1e-3, 1e6),
                skew: any(1e-7, 4e-4) - any(1e-7, 4e-4),
            };
            let (there, back, ahead) = packets(&case, &mut random);
            let clocks = Clocks::of(&there, &back).expect("packets enough");
            for at in there.iter().chain(&back).map(|point| point.at) {
                let off = (clocks.ahead(at) - ahead(at)).abs();
                // The clock that runs away meanwhile, and what numbers of this size can hold.
                let slack = 4e-4 * (case.least[0] + case.above[0]) + 1e-9;
                assert!(off <= clocks.uncertainty + slack, "round {round}: {off} beyond {}", clocks.uncertainty);
            }
        }
    }

    #[test]
    fn chance_is_not_taken_for_skew() {
        // Delays with no least one: of 1400 packets the quickest few lie a millisecond apart.
        let mut random = fastrand::Rng::with_seed(8);
        let mut normal = || 0.030 + 0.004 * ((0..12).map(|_| random.f64()).sum::<f64>() - 6.0);
        for skew in [0.0, 10e-6] {
            for _ in 0..50 {
                let mut way = |sign: f64| -> Vec<Point> {
                    let point = |i: u32| (f64::from(i) / 70.0, normal());
                    (0..1400).map(point).map(|(at, delay)| Point { at, excess: delay + sign * skew * at }).collect()
                };
                let clocks = Clocks::of(&way(1.0), &way(-1.0)).expect("packets enough");
                assert!((clocks.skew - skew).abs() <= 50e-6, "{} ppm", clocks.skew * 1e6);
                assert!((0.0005..0.02).contains(&clocks.scatter), "{} s apart", clocks.scatter);
            }
        }
    }

    #[test]
    fn clocks_that_contradict_each_other_and_single_instants_tell_nothing() {
        let points =
            |values: &[(f64, f64)]| -> Vec<Point> { values.iter().map(|&(at, excess)| Point { at, excess }).collect() };
        let flat = points(&[(0.0, 5.0), (1.0, 5.0), (2.0, 5.0)]);
        assert!(Clocks::of(&flat, &points(&[(0.0, -4.0), (1.0, -4.0), (2.0, -4.0)])).is_some());
        assert!(Clocks::of(&flat, &points(&[(0.0, -6.0), (1.0, -6.0), (2.0, -6.0)])).is_none(), "less than no time");
        assert!(Clocks::of(&flat, &points(&[(0.0, -4.0), (1.0, -6.0), (2.0, -4.0)])).is_none(), "set, and set back");
        assert!(Clocks::of(&flat, &[]).is_none());
        assert!(Clocks::of(&flat[..1], &points(&[(0.0, 1.0)])).is_none());
        assert!(Clocks::of(&flat, &points(&[(7.0, 1.0), (8.0, 1.0)])).is_none(), "not at the same time");
    }

    #[test]
    fn a_hull_is_below_all_points_and_touches_them() {
        let mut random = fastrand::Rng::with_seed(3);
        let points: Vec<Point> =
            (0..500).map(|_| Point { at: f64::from(random.u8(..)), excess: random.f64() }).collect();
        let hull = lower_hull(&points);
        assert!(points.iter().all(|point| on(&hull, point.at) <= point.excess + 1e-12));
        assert!(hull.iter().all(|corner| points.contains(corner)));
        assert!(hull.len() >= 3);
    }
}
