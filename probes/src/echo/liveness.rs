//! Which of loudspeaker and microphone works. Nothing is claimed that is not sure.

use super::findings::State;
use crate::Reason;

/// A noise floor that no microphone in a room has, in decibels below full scale.
const DEAD: f64 = -90.0;
/// Below, a noise floor may be that of a converter with nothing before it.
const NORMAL: f64 = -75.0;
/// Above, what is heard may be the hum of a broken cable alone, in decibels.
const HUMMING: f64 = 30.0;
/// A room that loses more between a loudspeaker and a microphone that work is not believed, in decibels: an
/// echo that is not found, though one with this loss would have been, was not played.
const GREATEST_LOSS: f64 = 45.0;

/// What is known before an echo is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs {
    /// Whether the sweeps were found in what the microphone took.
    pub(crate) heard: bool,
    /// Whether they were found in what the loudspeaker was given; nothing where that was not listened to.
    pub(crate) played: Option<bool>,
    /// Whether sound was lost on the way: sweeps that are torn apart by that need not be found.
    pub(crate) lost: bool,
    /// The greatest loss, in decibels, at which the sweeps would have been found.
    pub(crate) reach: Option<f64>,
    pub(crate) loudspeaker_muted: bool,
    pub(crate) microphone_muted: bool,
    /// Whether the microphone's sound has been through a canceller or another process.
    pub(crate) is_processed: bool,
    /// Whether the microphone's samples stood still; all of them, if it is processed, as that may hold a gate.
    pub(crate) stuck: bool,
    /// See [`super::floor::noise_floor`].
    pub(crate) noise_floor: Option<f64>,
    /// See [`super::floor::hum`].
    pub(crate) hum: Option<f64>,
}

/// The states that follow, and why there is no echo to be measured, if so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Liveness {
    pub(crate) loudspeaker: State,
    pub(crate) microphone: State,
    pub(crate) reason: Option<Reason>,
}

impl Signs {
    /// Whether the microphone gives nothing that comes from a room.
    fn is_silent(&self) -> bool {
        // A suppressor leaves less of a quiet room than a converter has by itself.
        self.stuck || (!self.is_processed && self.noise_floor.is_some_and(|floor| floor < DEAD))
    }

    /// Whether the microphone takes what sounds like a room.
    fn is_normal(&self) -> bool {
        !self.is_silent()
            && self.noise_floor.is_some_and(|floor| floor >= NORMAL)
            && self.hum.is_none_or(|hum| hum < HUMMING)
    }
}

/// Tells which device works.
///
/// The server's word that a device is muted comes first: a muted microphone shows neither device, a muted
/// loudspeaker only the microphone. Sweeps that are heard prove both, however silent it is in between (a gate
/// may close). Sweeps that are not heard prove nothing where sound was lost; else they prove a dead microphone
/// where that gives nothing, and a dead loudspeaker where the microphone sounds like a room, the noise would
/// have let them through, and the loudspeaker was given them, as far as that was listened to. A canceller that
/// has learnt lets none through.
pub(crate) fn liveness(signs: &Signs) -> Liveness {
    use State::{Dead, Unsure, Working};
    let normal = if signs.is_normal() { Working } else { Unsure };
    let (loudspeaker, microphone, reason) = if signs.microphone_muted {
        (Unsure, Unsure, Some(Reason::Muted))
    } else if signs.loudspeaker_muted {
        let microphone = if signs.is_silent() { Dead } else { normal };
        (Unsure, microphone, Some(Reason::Muted))
    } else if signs.heard {
        (Working, Working, None)
    } else if signs.lost {
        (Unsure, Unsure, Some(Reason::Slip))
    } else if signs.is_silent() {
        (Unsure, Dead, Some(Reason::Dead))
    } else if signs.played == Some(false) {
        (Unsure, normal, Some(Reason::NothingPlayed))
    } else if signs.is_processed || signs.reach.is_none_or(|reach| reach < GREATEST_LOSS) {
        (Unsure, Unsure, Some(Reason::Noise))
    } else if signs.is_normal() {
        (Dead, Working, Some(Reason::Dead))
    } else {
        // One of both is dead.
        (Unsure, Unsure, Some(Reason::Dead))
    };
    Liveness { loudspeaker, microphone, reason }
}
