//! What would have to give if nothing fits: the least of each kind by itself, then of two together.
//!
//! A kind has sizes, from the least on, and more of it never makes less possible; only splitting into
//! three parts is not sure to do where two do not fit. So the least that does is found by halving. Of
//! two kinds, first the second is made as small as it can be at all, then the first as small as that
//! leaves it: neither can be smaller while the other stays.

use chrono::Days;

use super::{
    Need, Relaxation, Window,
    free::Stretches,
    search::{Bounds, Ground, QUARTER},
};

/// A visit is split into no more parts.
const PARTS: i64 = 3;
/// The vendor works no longer than this many quarters before or after its hours: its day ends there.
const EXTRA: i64 = 24 * 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Later,
    AfterHours,
    LessNotice,
    Weekend,
    Shorter,
    Split,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Later, Self::AfterHours, Self::LessNotice, Self::Weekend, Self::Shorter, Self::Split];

    /// Whether both together mean anything: two that change the length do not, and a visit is either
    /// sooner or later.
    fn goes_with(self, other: Self) -> bool {
        !matches!((self, other), (Self::Shorter, Self::Split) | (Self::Later, Self::LessNotice))
    }
}

/// The smallest exceptions that would do.
pub(super) fn relaxations(ground: &Ground<'_>, bounds: Bounds) -> Vec<Relaxation> {
    let search = Search { ground, asked: bounds };
    let single = Kind::ALL.iter().filter_map(|kind| {
        let size = search.least(*kind, bounds)?;
        search.relaxation(&[*kind], search.loosened(*kind, size, bounds)?)
    });
    let single: Vec<_> = single.collect();
    if !single.is_empty() {
        return single;
    }
    let pairs = Kind::ALL.iter().enumerate().flat_map(|(index, first)| {
        Kind::ALL.iter().skip(index + 1).filter(|second| first.goes_with(**second)).map(|second| (*first, *second))
    });
    pairs.filter_map(|(first, second)| search.pair(first, second)).collect()
}

struct Search<'s, 'r> {
    ground: &'s Ground<'r>,
    asked: Bounds,
}

impl Search<'_, '_> {
    fn pair(&self, first: Kind, second: Kind) -> Option<Relaxation> {
        let most = self.loosened(first, self.sizes(first), self.asked)?;
        let size = self.least(second, most)?;
        let second_only = self.loosened(second, size, self.asked)?;
        let size = self.least(first, second_only)?;
        self.relaxation(&[first, second], self.loosened(first, size, second_only)?)
    }

    /// The least size of a kind that does, on top of what has given way already.
    fn least(&self, kind: Kind, bounds: Bounds) -> Option<i64> {
        let fits = |size| self.loosened(kind, size, bounds).is_some_and(|bounds| self.ground.fits(&bounds));
        let sizes = self.sizes(kind);
        if kind == Kind::Split {
            return (1..=sizes).find(|size| fits(*size));
        }
        if sizes < 1 || !fits(sizes) {
            return None;
        }
        let (mut less, mut enough) = (0, sizes);
        while enough - less > 1 {
            let middle = less + (enough - less) / 2;
            if fits(middle) { enough = middle } else { less = middle }
        }
        Some(enough)
    }

    /// How many sizes a kind has.
    fn sizes(&self, kind: Kind) -> i64 {
        match kind {
            Kind::Later => self.ground.days.last().map_or(0, |(last, _)| (*last - self.asked.latest).num_days()),
            Kind::AfterHours => EXTRA,
            Kind::LessNotice => minutes_up(self.ground.notice()),
            Kind::Weekend => 1,
            Kind::Shorter => quarters_up(self.asked.part) - quarters_up(self.shortest()),
            Kind::Split => PARTS - 1,
        }
    }

    /// Half as long as was asked for, and no less than a quarter of an hour.
    fn shortest(&self) -> i64 {
        (self.asked.part / 2).max(QUARTER)
    }

    fn loosened(&self, kind: Kind, size: i64, mut bounds: Bounds) -> Option<Bounds> {
        match kind {
            Kind::Later => bounds.latest = self.asked.latest.checked_add_days(Days::new(size.try_into().ok()?))?,
            Kind::AfterHours => bounds.extra = size * QUARTER,
            Kind::LessNotice => {
                bounds.not_before = self.ground.now + 60 * (minutes_up(self.ground.notice()) - size);
            }
            Kind::Weekend => bounds.days_off = true,
            Kind::Shorter => bounds.part = (quarters_up(self.asked.part) - size) * QUARTER,
            Kind::Split => {
                let parts = size + 1;
                bounds.parts = parts.try_into().ok()?;
                bounds.part = quarters_up((self.asked.part + parts - 1) / parts) * QUARTER;
                if bounds.part >= self.asked.part {
                    return None;
                }
            }
        }
        Some(bounds)
    }

    fn relaxation(&self, kinds: &[Kind], bounds: Bounds) -> Option<Relaxation> {
        let windows = self.ground.best(&bounds);
        if windows.is_empty() {
            return None;
        }
        let needs = kinds.iter().map(|kind| self.need(*kind, bounds, &windows)).collect::<Option<_>>()?;
        let span = |window: &Window| window.start.timestamp()..window.end.timestamp();
        let provisional = windows.iter().any(|window| self.ground.provisional(&span(window)));
        Some(Relaxation { needs, windows, provisional })
    }

    fn need(&self, kind: Kind, bounds: Bounds, windows: &[Window]) -> Option<Need> {
        Some(match kind {
            Kind::Later => Need::Later { date: bounds.latest },
            Kind::AfterHours => Need::AfterHours { minutes: bounds.extra / 60 },
            Kind::LessNotice => Need::LessNotice { minutes: (bounds.not_before - self.ground.now) / 60 },
            Kind::Weekend => {
                let day = |window: &Window| self.ground.day(window.start.timestamp());
                let off = |hours: &Stretches| windows.iter().filter_map(day).any(|day| !hours.touches(day));
                Need::Weekend { vendor: off(&self.ground.vendor), building: off(&self.ground.open) }
            }
            Kind::Shorter => Need::Shorter { minutes: bounds.part / 60 },
            Kind::Split => Need::Split { parts: bounds.parts.try_into().ok()?, minutes: bounds.part / 60 },
        })
    }
}

/// Whole minutes, rounded up.
fn minutes_up(seconds: i64) -> i64 {
    seconds.saturating_add(59) / 60
}

/// Whole quarters of an hour, rounded up.
fn quarters_up(seconds: i64) -> i64 {
    (seconds + QUARTER - 1) / QUARTER
}
