//! What one run of the devices has yielded: the plain data between the shell that touches them and the
//! pure analyses.

use serde::{Deserialize, Serialize};

/// Samples of one device, and where they stand on the line of what was played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// One channel of 16 bit, [`super::RATE`] samples a second, without a gap.
    pub(crate) samples: &'a [i16],
    /// What was played when the first sample was taken, at the devices themselves: a place in the played
    /// sound in samples, fractions included; negative before its begin. By the timing that the sound server
    /// tells, so all buffers but those of the devices are taken out.
    pub(crate) start: f64,
}

/// A loudspeaker or a microphone as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    /// Its name, as the sound server gives it.
    pub(crate) name: String,
    /// Whether it is muted.
    pub(crate) muted: bool,
    /// Its volume in decibels, 0 being no change, where the server tells it.
    pub(crate) volume_decibels: Option<f64>,
    /// Whether its sound has been through a canceller or another process before we get it.
    pub(crate) is_processed: bool,
}

/// Both devices of the room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Devices {
    pub(crate) loudspeaker: Device,
    pub(crate) microphone: Device,
}

/// One run of the devices. It borrows from memory that is locked and wiped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Take<'a> {
    /// What the microphone took.
    pub(crate) microphone: Line<'a>,
    /// What the loudspeaker was given, by its monitor.
    pub(crate) reference: Option<Line<'a>>,
    /// How often the server says that sound was missing or came too late.
    pub(crate) slips: u32,
    /// What was played on and listened to.
    pub(crate) devices: &'a Devices,
}
