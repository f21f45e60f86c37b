//! What an import would change, for people to read before it counts.

use std::{collections::BTreeSet, fmt};

use chrono::NaiveDate;

use super::{Holidays, Import, National};

/// One date that an import changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The date.
    pub date: NaiveDate,
    /// What was known of it.
    pub before: National,
    /// What will be.
    pub after: National,
}

impl Import {
    /// The dates that are listed before or after, and are something else after: added, removed or
    /// changed. Dates that turn from unknown to plain are not among them.
    pub fn difference(&self, known: &Holidays) -> Vec<Change> {
        let after = self.years.iter().cloned().fold(known.clone(), Holidays::with);
        let dates: BTreeSet<NaiveDate> = known.listed.keys().chain(after.listed.keys()).copied().collect();
        let changes =
            dates.into_iter().map(|date| Change { date, before: known.national(date), after: after.national(date) });
        changes.filter(|change| change.before != change.after).collect()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} (was {})", self.date.format("%F %a"), self.after, self.before)
    }
}

impl fmt::Display for National {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off(name) => write!(f, "off: {name}"),
            Self::MakeUp(name) => write!(f, "make-up working day: {name}"),
            Self::Plain => f.write_str("a usual day"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
