//! What one run has found, as plain numbers.

use serde::{Deserialize, Serialize};

use crate::Reason;

/// What is known of a loudspeaker or a microphone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It works.
    Working,
    /// It gives, or plays, nothing.
    Dead,
    /// Nothing can be said of it.
    #[default]
    Unsure,
}

/// What one run has found. What is absent was not measured, or is not sure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Periods, blocks or seconds that the numbers rest on.
    pub samples: u64,
    /// From being played to being heard, in seconds.
    pub delay_seconds: Option<f64>,
    /// Echo return loss, 300 to 3400 Hz, in decibels.
    pub return_loss: Option<f64>,
    /// Echo return loss, 300 to 6700 Hz, in decibels.
    pub return_loss_wideband: Option<f64>,
    /// Loss of echo of a call, 300 to 6700 Hz, in decibels.
    pub echo_loss: Option<f64>,
    /// True if the echo is below what could be heard of it: the loss is then at least this.
    pub echo_loss_is_bound: bool,
    /// The same in the first two seconds.
    pub initial_loss: Option<f64>,
    /// The least loss of any third of an octave.
    pub least_loss: Option<f64>,
    /// Idte of ITU-T G.107.
    pub impairment: Option<f64>,
    /// Harmonics against the linear response, in decibels.
    pub distortion: Option<f64>,
    /// Rate of the microphone's clock above that of the loudspeaker's, as a ratio.
    pub clock_skew: Option<f64>,
    /// Half of the 95 % interval of the skew.
    pub clock_skew_within: f64,
    /// Reverberation time in seconds.
    pub reverberation_seconds: Option<f64>,
    /// Coherence of what is heard with what is played, 0 to 1.
    pub coherence: Option<f64>,
    /// Noise floor, A-weighted, in decibels below full scale (negative).
    pub noise_floor: Option<f64>,
    /// Hum above its neighbours, in decibels.
    pub hum: Option<f64>,
    /// Share of samples at full scale.
    pub clipping: Option<f64>,
    /// Mean, as a share of full scale.
    pub offset: Option<f64>,
    /// Of the loudspeaker.
    pub loudspeaker: State,
    /// Of the microphone.
    pub microphone: State,
    /// Why there is no number of the echo.
    pub reason: Option<Reason>,
}
