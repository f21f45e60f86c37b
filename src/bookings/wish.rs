//! What people ask of a booking: from the command line over the socket to the loop.

use bellwether_agent::booking::{
    Kind, Severity, Window,
    life::{By, Rating},
    lifecycle::Act,
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::when;

/// The body of `POST /bookings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What is asked.
    pub wish: Wish,
    /// Whether it is only to be said what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// Open one by hand.
    Open {
        /// What it is for.
        kind: Kind,
        /// How soon somebody should come.
        severity: Severity,
        /// What is asked of the vendor.
        text: String,
    },
    /// Do something to one.
    Act {
        /// Its key, or how that begins.
        key: String,
        /// What.
        act: Word,
        /// When, as it was written; the daemon reads it by the school's clock.
        #[serde(default)]
        at: Option<String>,
        /// How long, in minutes.
        #[serde(default)]
        minutes: Option<u32>,
        /// Words.
        #[serde(default)]
        text: String,
        /// Stars, or the number of a point of the checklist.
        #[serde(default)]
        number: Option<u8>,
        /// Whether it is the vendor's word that is handed on.
        #[serde(default)]
        vendor: bool,
    },
}

/// What is done to a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the command line, see `cli`")]
pub enum Word {
    Release,
    Confirm,
    Move,
    Cancel,
    Start,
    Report,
    Accept,
    Rework,
    Rate,
    Note,
    Check,
}

/// Where a vendor's word came from that somebody at the school hands on.
const TOLD: &str = "told to the school";

impl Wish {
    /// The act, and whose it is.
    ///
    /// # Errors
    /// What was found and what would be right.
    pub(crate) fn act(
        &self,
        usual: TimeDelta,
        zone: Tz,
        user: Option<u32>,
        now: DateTime<Utc>,
    ) -> Result<(Act, By), String> {
        let Self::Act { act, at, minutes, text, number, vendor, .. } = self else {
            return Err("found no act".to_owned());
        };
        let window = || -> Result<Option<Window>, String> {
            let Some(at) = at else { return Ok(None) };
            let start = when::instant(at, zone, now)?;
            let length = minutes.map_or(usual, |minutes| TimeDelta::minutes(minutes.into()));
            Ok(Some(Window { start, end: start.checked_add_signed(length).unwrap_or(start) }))
        };
        let act = match act {
            Word::Release => Act::Release,
            Word::Confirm => Act::Confirm(window()?),
            Word::Move => Act::Move(window()?.ok_or("found no time, expected --at \"2026-11-30 15:00\"")?),
            Word::Cancel => Act::Cancel(text.clone()),
            Word::Start => Act::Start,
            Word::Report => Act::Report(text.clone()),
            Word::Accept => Act::Accept,
            Word::Rework => Act::Rework(text.clone()),
            Word::Rate => Act::Rate(Rating { stars: number.unwrap_or(0), words: text.clone() }),
            Word::Note => Act::Note(text.clone()),
            Word::Check => Act::Checked(usize::from(number.unwrap_or(0)).checked_sub(1).ok_or("points count from 1")?),
        };
        let by = if *vendor { By::Vendor(TOLD.to_owned()) } else { By::School(user) };
        Ok((act, by))
    }
}
