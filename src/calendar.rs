//! `calendar`, `slots` and `explain`: what bellwether believes of a room's hours, and what follows.

pub mod explain;
mod list;
pub mod slots;
pub(crate) mod words;

use std::{ops::Range, path::Path};

use bellwether_agent::calendar::{Certainty, zone};
use chrono::{DateTime, Days, NaiveDate, Utc};

use crate::{
    config::Config,
    timetable::{self, Timetables},
    when,
};

/// Exit code of an answer that could not be told for sure.
const UNSURE: u8 = 3;
/// More days than this are not shown at once.
const MAX_DAYS: i64 = 800;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// An argument says nothing.
    #[error("{argument}: {message}")]
    Argument {
        /// Its name.
        argument: &'static str,
        /// What was found, and what would be right.
        message: String,
    },
}

/// What `calendar` was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// First date; today if there is none.
    pub from: Option<String>,
    /// Last date; six days after the first if there is none.
    pub to: Option<String>,
    /// Whether a program asks.
    pub json: bool,
}

/// What bellwether believes of some days, lesson by lesson; with the exit code, 3 if a source of the
/// timetable cannot be used.
///
/// # Errors
/// An argument that says nothing.
pub async fn list(
    config: &Config,
    state: &Path,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<(String, u8), CalendarError> {
    let dates = dates(config, asked.from.as_deref(), asked.to.as_deref(), 6, now)?;
    let known = timetable::read(config, state, dates, false, now).await;
    let text = if asked.json {
        format!("{:#}\n", list::json(&known))
    } else {
        list::text(&known, config.site.locale.language)
    };
    Ok((text, code(&known)))
}

fn code(known: &Timetables) -> u8 {
    if known.calendar.timetable() == Certainty::Unreadable { UNSURE } else { 0 }
}

/// From one date to another, which is included; `usual` days after it if that is left out.
fn dates(
    config: &Config,
    from: Option<&str>,
    to: Option<&str>,
    usual: u64,
    now: DateTime<Utc>,
) -> Result<Range<NaiveDate>, CalendarError> {
    let zone = config.site.locale.timezone;
    let date = |argument, text: &str| {
        when::date(text, zone, now).map_err(|message| CalendarError::Argument { argument, message })
    };
    let first = from.map_or(Ok(zone::date(zone, now)), |text| date("--from", text))?;
    let last = match to {
        Some(text) => date("--to", text)?,
        None => first.checked_add_days(Days::new(usual)).unwrap_or(first),
    };
    let end = last.succ_opt().filter(|end| *end > first && (*end - first).num_days() <= MAX_DAYS);
    let end = end.ok_or_else(|| {
        let message = format!("found {last}, expected a date from {first} on, and no more than {MAX_DAYS} days");
        CalendarError::Argument { argument: "--to", message }
    })?;
    Ok(first..end)
}
