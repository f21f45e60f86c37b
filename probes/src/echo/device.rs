//! The devices of a room, by whatever system reaches them. Each system does two things: it finds the
//! devices, and it makes one take of them. All else is the same for all, and stands in [`super`].

use super::{
    buffer::Buffer,
    config::{Config, System},
    take::{Devices, Line, Take},
};
use crate::Failure;

#[cfg(feature = "alsa")]
pub(crate) mod alsa;
pub(crate) mod choose;
mod pulse;
pub(crate) mod timing;

/// Sound to be played: fills a piece of it, from a place on, in samples from its first.
pub(crate) type Sound = Box<dyn Fn(usize, &mut [i16])>;

/// Makes the sound once the silence before it was heard.
pub(crate) type Maker<'a> = dyn FnMut(&[i16]) -> Sound + 'a;

/// What one take is to be.
pub(crate) struct Plan<'a> {
    /// How much is heard before anything is played, in samples; part of what is kept.
    pub(crate) silence: usize,
    /// How much is played after that, or is heard if nothing is, in samples.
    pub(crate) length: usize,
    /// Gives the sound, of that length, once the silence was heard; `None` if nothing is played.
    pub(crate) sound: Option<&'a mut Maker<'a>>,
    /// Told before the microphone is opened.
    pub(crate) microphone: &'a dyn Fn(),
    /// Told how far the take is: how much was kept, of how much, in samples.
    pub(crate) progress: &'a dyn Fn(usize, usize),
}

/// Silence that is heard before a take is kept, in samples: 1 s, in which devices wake up.
pub(crate) const LEAD: usize = super::RATE as usize;
/// How much more is kept than is played, in samples: 1.5 s, for the buffers on the way.
const SLACK: usize = 3 * super::RATE as usize / 2;

impl Plan<'_> {
    /// How many samples of each device are kept at most.
    pub(crate) fn room_for(silence: usize, length: usize, plays: bool) -> usize {
        silence + length + if plays { SLACK } else { 0 }
    }
}

/// What is in the buffer after a take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Course {
    /// Samples of the microphone.
    pub(crate) microphone: usize,
    /// See [`Line::start`], of the microphone.
    pub(crate) microphone_start: f64,
    /// Samples of the reference, and where they start.
    pub(crate) reference: Option<(usize, f64)>,
    /// See [`Take::slips`].
    pub(crate) slips: u32,
}

impl Course {
    /// The take, as the analyses want it.
    pub(crate) fn take<'a>(&self, buffer: &'a Buffer, devices: &'a Devices) -> Take<'a> {
        let line = |samples: &'a [i16], length: usize, start| Line { samples: &samples[..length], start };
        Take {
            microphone: line(buffer.microphone(), self.microphone, self.microphone_start),
            reference: self.reference.map(|(length, start)| line(buffer.reference(), length, start)),
            slips: self.slips,
            devices,
        }
    }
}

/// The devices of a room, found but not yet used.
pub(crate) enum Session {
    /// By a sound server.
    Pulse(Box<pulse::Session>),
    /// The devices themselves.
    #[cfg(feature = "alsa")]
    Alsa(Box<alsa::Session>),
}

impl Session {
    /// Finds the devices that the config names.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        match config.system {
            System::Pulse => pulse::Session::open(config).await.map(|session| Self::Pulse(Box::new(session))),
            #[cfg(feature = "alsa")]
            System::Alsa => alsa::Session::open(config).await.map(|session| Self::Alsa(Box::new(session))),
            #[cfg(not(feature = "alsa"))]
            System::Alsa => Err(Failure::new(
                crate::Reason::NoServer,
                "this build reaches no ALSA devices; `system = \"pulse\"`, or a build with the feature alsa, does",
            )),
        }
    }

    /// What was found.
    pub(crate) fn devices(&self) -> &Devices {
        match self {
            Self::Pulse(session) => session.devices(),
            #[cfg(feature = "alsa")]
            Self::Alsa(session) => session.devices(),
        }
    }

    /// Whether the loudspeaker's sound is heard beside the microphone.
    pub(crate) fn has_reference(&self) -> bool {
        match self {
            Self::Pulse(session) => session.has_reference(),
            #[cfg(feature = "alsa")]
            Self::Alsa(session) => session.has_reference(),
        }
    }

    /// Makes one take into `buffer`, which has [`Plan::room_for`] it. The devices are free again when this returns,
    /// or is dropped.
    pub(crate) async fn take(self, plan: Plan<'_>, buffer: Buffer) -> Result<(Course, Buffer), Failure> {
        match self {
            Self::Pulse(session) => session.take(plan, buffer).await,
            #[cfg(feature = "alsa")]
            Self::Alsa(session) => session.take(plan, buffer).await,
        }
    }
}
