//! Hours for maintenance: offers with their reasons, or what would have to be relaxed.

use std::path::Path;

use bellwether_agent::booking::slot::{self, Answer, Class, Request, text};
use bellwether_probes::Unit;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{CalendarError, code, dates, list};
use crate::{cli::Change, config::Config, timetable};

/// What `slots` was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How long the work takes; the vendor's `duration` if it is left out.
    pub duration: Option<String>,
    /// What changes.
    pub class: Change,
    /// Earliest date.
    pub from: Option<String>,
    /// Latest date.
    pub to: Option<String>,
    /// Whether a program asks.
    pub json: bool,
}

/// Exit code if nothing fits.
const NOTHING: u8 = 1;

/// Offers and their reasons; with the exit code, 1 if nothing fits, 3 if a source of the timetable cannot
/// be used.
///
/// # Errors
/// An argument that says nothing.
pub async fn find(
    config: &Config,
    state: &Path,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Result<(String, u8), CalendarError> {
    let vendor = &config.site.vendor;
    let duration = match &asked.duration {
        Some(text) => minutes(text)?,
        None => TimeDelta::from_std(vendor.duration.0).unwrap_or(TimeDelta::MAX),
    };
    let dates = dates(config, asked.from.as_deref(), asked.to.as_deref(), slot::BOOKING_DAYS - 1, now)?;
    // What would fit later is looked for too.
    let looked_at = timetable::usual_dates(config, now);
    let looked_at = looked_at.start.min(dates.start)..looked_at.end.max(dates.end);
    let known = timetable::read(config, state, looked_at, false, now).await;
    let request = Request {
        now,
        duration,
        class: class(asked.class),
        notice: TimeDelta::from_std(vendor.notice.0).unwrap_or(TimeDelta::MAX),
        earliest: Some(dates.start),
        latest: dates.end.pred_opt(),
        buffer: slot::BUFFER,
        taken: &[],
        capacity: None,
        load: None,
    };
    let found = slot::find(&known.calendar, request);
    let code = match code(&known) {
        0 if found.offers.is_empty() => NOTHING,
        code => code,
    };
    let shown = if asked.json {
        let Answer { offers, relaxations, unknown, visit_minutes, observation_minutes } = found;
        let answer = json!({
            "offers": offers, "relaxations": relaxations, "unknown": unknown, "visit_minutes": visit_minutes,
            "observation_minutes": observation_minutes, "notes": list::notes(&known),
        });
        format!("{answer:#}\n")
    } else {
        text::write(&found, &known.calendar, config.site.locale.language) + &list::notes_text(&known)
    };
    Ok((shown, code))
}

fn class(change: Change) -> Class {
    match change {
        Change::Patch => Class::Patch,
        Change::Minor => Class::Minor,
        Change::Major => Class::Major,
    }
}

/// A length of time as in the config, `2h` or `90 min`: whole minutes, at least one, at most a week.
fn minutes(text: &str) -> Result<TimeDelta, CalendarError> {
    let seconds = Unit::Seconds.parse(text).ok().filter(|seconds| (60.0..=7.0 * 86_400.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| CalendarError::Argument {
        argument: "--for",
        message: format!("found {text:?}, expected a time from 1 min to 7 d, such as \"2h\""),
    })?;
    Ok(TimeDelta::minutes((seconds / 60.0).ceil() as i64))
}
