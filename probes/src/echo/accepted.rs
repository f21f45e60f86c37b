//! The state of a room's sound that people have accepted: what changes are told against. Numbers and the
//! names of devices; nothing of what was heard.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Form;

/// A device as it was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceMark {
    /// Its name, as the sound server gives it.
    pub name: String,
    /// Its volume in decibels, 0 being no change, where the server tells it.
    pub volume_decibels: Option<f64>,
}

/// What `bellwether baseline echo` has recorded of one probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// When it was measured.
    pub at: DateTime<Utc>,
    /// How it was measured: other forms hear another part of the room.
    pub form: Form,
    /// What was played on.
    pub loudspeaker: DeviceMark,
    /// What was listened to.
    pub microphone: DeviceMark,
    /// From loudspeaker to microphone, devices included, in seconds.
    pub delay_seconds: f64,
    /// See [`crate::Metric::EchoReturnLoss`], in decibels.
    pub return_loss_decibels: f64,
    /// See [`crate::Metric::EchoNoiseFloor`], in decibels below full scale (negative).
    pub noise_floor_decibels: f64,
}

impl Accepted {
    /// Whether its numbers can be those of a room: what nothing measures was damaged, or written by hand.
    pub fn is_plausible(&self) -> bool {
        let volume = |mark: &DeviceMark| mark.volume_decibels.is_none_or(|volume| (-200.0..=60.0).contains(&volume));
        !self.loudspeaker.name.is_empty()
            && !self.microphone.name.is_empty()
            && volume(&self.loudspeaker)
            && volume(&self.microphone)
            && (-0.1..=10.0).contains(&self.delay_seconds)
            && (-60.0..=200.0).contains(&self.return_loss_decibels)
            && (-200.0..=10.0).contains(&self.noise_floor_decibels)
    }
}
