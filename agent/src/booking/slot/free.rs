//! Sets of time: stretches in whole seconds since 1970, in order, neither touching nor overlapping.

use std::ops::Range;

/// A set of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretches(Vec<Range<i64>>);

impl Stretches {
    /// What any of them holds.
    pub(super) fn new(stretches: impl IntoIterator<Item = Range<i64>>) -> Self {
        let mut given: Vec<_> = stretches.into_iter().filter(|stretch| stretch.start < stretch.end).collect();
        given.sort_unstable_by_key(|stretch| stretch.start);
        let mut merged: Vec<Range<i64>> = Vec::with_capacity(given.len());
        for stretch in given {
            match merged.last_mut() {
                Some(last) if stretch.start <= last.end => last.end = last.end.max(stretch.end),
                _ => merged.push(stretch),
            }
        }
        Self(merged)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<i64>> {
        self.0.iter()
    }

    /// What either holds.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self::new(self.iter().chain(other.iter()).cloned())
    }

    /// What both hold.
    pub(super) fn and(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
            let (start, end) = (a.start.max(b.start), a.end.min(b.end));
            if start < end {
                both.push(start..end);
            }
            if a.end < b.end {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(both)
    }

    /// What the other does not hold.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut edges = vec![i64::MIN];
        edges.extend(other.iter().flat_map(|stretch| [stretch.start, stretch.end]));
        edges.push(i64::MAX);
        let gaps = edges.chunks_exact(2).filter_map(|gap| match gap {
            [start, end] if start < end => Some(*start..*end),
            _ => None,
        });
        self.and(&Self(gaps.collect()))
    }

    /// The stretch that holds all of the span.
    pub(super) fn holding(&self, span: &Range<i64>) -> Option<&Range<i64>> {
        let after = self.0.partition_point(|stretch| stretch.start <= span.start);
        self.0.get(after.checked_sub(1)?).filter(|stretch| span.end <= stretch.end)
    }

    /// Whether it holds any of the span.
    pub(super) fn touches(&self, span: &Range<i64>) -> bool {
        let first = self.0.partition_point(|stretch| stretch.end <= span.start);
        self.0.get(first).is_some_and(|stretch| stretch.start < span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_agree_with_their_bits() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut some = || {
            let stretches: Vec<_> = (0..random.usize(..6))
                .map(|_| {
                    let start = random.i64(0..40);
                    start..start + random.i64(-2..12)
                })
                .collect();
            let bits: Vec<bool> = (0..60).map(|at| stretches.iter().any(|stretch| stretch.contains(&at))).collect();
            (Stretches::new(stretches), bits)
        };
        let bits = |set: &Stretches| -> Vec<bool> { (0..60).map(|at| set.iter().any(|s| s.contains(&at))).collect() };
        for _ in 0..2000 {
            let ((a, a_bits), (b, b_bits)) = (some(), some());
            let pairs = || a_bits.iter().zip(&b_bits);
            assert_eq!(bits(&a), a_bits);
            assert_eq!(bits(&a.or(&b)), pairs().map(|(a, b)| *a || *b).collect::<Vec<_>>());
            assert_eq!(bits(&a.and(&b)), pairs().map(|(a, b)| *a && *b).collect::<Vec<_>>());
            assert_eq!(bits(&a.without(&b)), pairs().map(|(a, b)| *a && !*b).collect::<Vec<_>>());
            for set in [a.or(&b), a.and(&b), a.without(&b)] {
                assert!(set.0.is_sorted_by(|a, b| a.end < b.start), "apart: {set:?}");
            }
            let span = 10..17;
            assert_eq!(a.touches(&span), a_bits[10..17].contains(&true));
            assert_eq!(a.holding(&span).is_some(), !a_bits[10..17].contains(&false));
        }
    }
}
