//! `quiet`: somebody asks that nothing heavy runs for a while.
//!
//! The times are read by the daemon's zone and clock, which it tells; what was asked for is on disk
//! before it is answered, and holds after a restart.

use std::path::PathBuf;

use bellwether_agent::site::Language;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::control::{self, ControlError};

mod hold;
mod when;
mod words;

pub(crate) use hold::Quiet;
pub use hold::held;
pub use when::TimeError;
pub(crate) use when::check;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To know.
    Show,
    /// Quiet until a time, as it was written.
    Until(String),
    /// Quiet for a time, as it was written.
    For(String),
    /// An end of it.
    Off,
}

/// What the daemon says of it: the answer of `/quiet`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The daemon's time.
    pub now: DateTime<Utc>,
    /// Until when it is quiet.
    pub quiet_until: Option<DateTime<Utc>>,
    /// Why a restart would forget this answer, if it would.
    pub not_durable: Option<String>,
    /// The school's zone.
    pub timezone: Tz,
    /// Language of texts for people.
    pub language: Language,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QuietError {
    /// The daemon gives none.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What was asked for is no time to be quiet until.
    #[error("{}", words::refusal(.0, *.1))]
    Time(TimeError, Language),
}

impl QuietError {
    /// The exit code, as sysexits.h names them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Control(error) => error.exit_code(),
            Self::Time(..) => 64, // EX_USAGE
        }
    }
}

/// Asks the daemon, and says what it answers.
///
/// # Errors
/// No daemon, or no time.
pub async fn run(sockets: &[PathBuf], wish: Wish) -> Result<String, QuietError> {
    const PATH: &str = "/quiet";
    let found = match &wish {
        Wish::Off => control::delete(sockets, PATH).await?,
        Wish::Show | Wish::Until(_) | Wish::For(_) => control::get(sockets, PATH).await?,
    };
    let mut answer = read(found)?;
    let until = match &wish {
        Wish::Show | Wish::Off => None,
        Wish::Until(text) => Some(when::until(text, answer.timezone, answer.now)),
        Wish::For(text) => Some(when::lasting(text, answer.now)),
    };
    if let Some(until) = until {
        let until = until.map_err(|error| QuietError::Time(error, answer.language))?;
        answer = read(control::post(sockets, PATH, &json!({ "until": until })).await?)?;
    }
    Ok(words::shown(&answer))
}

fn read(found: serde_json::Value) -> Result<Answer, ControlError> {
    serde_json::from_value(found).map_err(|error| ControlError::Broken(error.into()))
}
