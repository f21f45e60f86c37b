//! Better, worse, or no clear change from one month to the next: a room's shift less that of its sister
//! rooms, which had the same weather, holidays, versions and media server.

use serde::Serialize;

use super::{
    Change, Interval,
    statistics::{against, median},
};

/// Days with a level that a month needs.
pub const LEAST_DAYS: usize = 5;
/// The least number of sister rooms to compare with.
pub const SISTERS: usize = 8;
/// The least change that counts, in units of what is material.
const LEAST: f64 = 0.25;

/// Daily levels of a room in two months: load-adjusted, in transformed units, more is worse.
#[derive(Clone, Copy, Debug)]
pub struct Months<'a> {
    /// Of the first month.
    pub before: &'a [f64],
    /// Of the second.
    pub after: &'a [f64],
}

impl Months<'_> {
    /// Shift of the middle level. `None` of fewer than five days on either side.
    fn shift(&self) -> Option<f64> {
        let level = |days: &[f64]| {
            let known: Vec<f64> = days.iter().copied().filter(|level| level.is_finite()).collect();
            (known.len() >= LEAST_DAYS).then(|| median(&known)).flatten()
        };
        Some(level(self.after)? - level(self.before)?)
    }
}

/// What a metric of a room did from one month to the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Shift against the sister rooms, in units of what is material; above 0 is worse.
    pub shift: Interval,
    /// Sister rooms that there were to compare with.
    pub sisters: usize,
    /// The word for it.
    pub change: Change,
}

/// Compares two months of a room with those of its sister rooms. `material`: what is material, in transformed
/// units. `None` if the room has too few days, or fewer than eight sisters have enough.
pub fn compare(room: Months<'_>, sisters: &[Months<'_>], material: f64) -> Option<Compared> {
    let shifts: Vec<f64> = sisters.iter().filter_map(Months::shift).collect();
    if shifts.len() < SISTERS || material.is_nan() || material <= 0.0 {
        return None;
    }
    let shift = against(room.shift()?, &shifts)?.scaled(1.0 / material);
    Some(Compared { shift, sisters: shifts.len(), change: shift.change(LEAST) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A month at the level that the room has.
    const FLAT: [f64; 20] = [7.0; 20];

    fn levels(shift: f64) -> Vec<f64> {
        (0..20).map(|day| 7.0 + shift + 0.01 * f64::from(day % 5) - 0.02).collect()
    }

    fn compared(own: f64, common: f64, material: f64) -> Compared {
        let after: Vec<Vec<f64>> = (0..9).map(|sister| levels(common + 0.02 * f64::from(sister - 4))).collect();
        let sisters: Vec<Months<'_>> = after.iter().map(|after| Months { before: &FLAT, after }).collect();
        compare(Months { before: &FLAT, after: &levels(own) }, &sisters, material).expect("enough")
    }

    #[test]
    fn three_words() {
        // The sisters' shifts have sd 0.0548: ± t(8) 2.306 · 0.0548 · √(10/9) = ± 0.1331.
        let worse = compared(0.5, 0.0, 1.0);
        assert!((worse.shift.estimate - 0.5).abs() < 1e-12 && (worse.shift.high - 0.633_137).abs() < 1e-5, "{worse:?}");
        assert_eq!((worse.change, worse.sisters), (Change::Worse, 9));
        assert_eq!(compared(-0.5, 0.0, 1.0).change, Change::Better);
        // Beyond 0 but not beyond a quarter of what is material.
        assert_eq!(compared(0.35, 0.0, 1.0).change, Change::Unclear);
        assert_eq!(compared(0.35, 0.0, 0.5).change, Change::Worse);
    }

    #[test]
    fn what_all_have_is_no_change_of_the_room() {
        assert_eq!(compared(3.0, 3.0, 1.0).change, Change::Unclear);
        assert_eq!(compared(0.0, 3.0, 1.0).change, Change::Better);
    }

    #[test]
    fn too_little_to_compare() {
        let few = [Months { before: &FLAT, after: &FLAT }; 7];
        let room = Months { before: &FLAT, after: &FLAT };
        assert_eq!(compare(room, &few, 1.0), None);
        let eight = [Months { before: &FLAT, after: &FLAT }; 8];
        assert!(compare(room, &eight, 1.0).is_some());
        assert_eq!(compare(Months { before: &FLAT[..4], ..room }, &eight, 1.0), None);
        assert_eq!(compare(Months { after: &[f64::NAN; 20], ..room }, &eight, 1.0), None);
        assert_eq!(compare(room, &eight, 0.0), None);
        let silent = [&eight[..7], &[Months { before: &FLAT, after: &[] }]].concat();
        assert_eq!(compare(room, &silent, 1.0), None);
    }
}
