//! Samples sorted by time, as far as 15 minutes apart; what comes later than that is dropped.

use std::collections::VecDeque;

/// How far out of order a line may be, in milliseconds.
pub(super) const TOLERANCE: i64 = 900_000;
/// A line so much ahead of all before is believed only when another agrees, in milliseconds.
const LEAP: i64 = 86_400_000;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is in its place.
    Taken,
    /// It is too late.
    Late,
    /// It is so far ahead that the next one decides.
    Ahead,
}

/// Entries of the last 15 minutes, sorted by time, in the order of arrival where times are equal.
#[derive(Debug)]
pub(super) struct Ordered<T> {
    entries: VecDeque<(i64, T)>,
    newest: Option<i64>,
    ahead: Vec<(i64, T)>,
    /// Entries dropped because they were ahead and no other agreed.
    pub leaps: u64,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), newest: None, ahead: Vec::new(), leaps: 0 }
    }
}

impl<T> Ordered<T> {
    /// Goes on after `newest`, in milliseconds: what is older than 15 minutes before it is late.
    pub(super) fn after(newest: Option<i64>) -> Self {
        Self { newest, ..Self::default() }
    }

    /// Decides on a line at `at`. To be asked before its entries are put.
    pub(super) fn place(&mut self, at: i64) -> Place {
        if let Some(ahead) = self.ahead.last().map(|(at, _)| *at) {
            let agreed = at >= ahead - TOLERANCE;
            if agreed {
                self.accept();
            } else {
                self.leaps += self.ahead.len() as u64;
                self.ahead.clear();
            }
        }
        match self.newest {
            Some(newest) if at < newest - TOLERANCE => Place::Late,
            Some(newest) if at > newest + LEAP => Place::Ahead,
            _ => Place::Taken,
        }
    }

    /// Puts an entry of a line for which there is a place.
    pub(super) fn put(&mut self, at: i64, place: Place, entry: T) {
        match place {
            Place::Late => {}
            Place::Ahead => self.ahead.push((at, entry)),
            Place::Taken => self.insert(at, entry),
        }
    }

    fn insert(&mut self, at: i64, entry: T) {
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        if self.entries.back().is_none_or(|(last, _)| *last <= at) {
            self.entries.push_back((at, entry));
        } else {
            let place = self.entries.partition_point(|(earlier, _)| *earlier <= at);
            self.entries.insert(place, (at, entry));
        }
    }

    fn accept(&mut self) {
        for (at, entry) in std::mem::take(&mut self.ahead) {
            self.insert(at, entry);
        }
    }

    /// The next entry of which no earlier one can come any more.
    pub(super) fn next(&mut self) -> Option<(i64, T)> {
        let newest = self.newest?;
        self.entries.pop_front_if(|(at, _)| *at < newest - TOLERANCE)
    }

    /// The next entry at the end of the input.
    pub(super) fn rest(&mut self) -> Option<(i64, T)> {
        self.accept();
        self.entries.pop_front()
    }
}
