//! Finds a device, opens it and agrees with it on a format.

use std::{ffi::CString, fmt, fs, io};

use alsa::{
    Direction, PCM, ValueOr,
    device_name::HintIter,
    pcm::{Access, Format, HwParams},
};

use super::{
    super::choose::{Candidate, Role, choose},
    frames::Layout,
};
use crate::{Failure, Reason, echo::RATE};

/// Frames that a device moves on by at once: 10 ms, where it can.
const PERIOD: alsa::pcm::Frames = 480;
/// Frames that a loudspeaker holds: a quarter of a second, where it can, as the box may be busy.
const HELD: alsa::pcm::Frames = 12_000;
/// The same of what takes sound.
const HELD_TAKEN: alsa::pcm::Frames = 48_000;
/// Most channels of a device.
const CHANNELS: u32 = 32;

/// A device that is ours until it is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    role: Role,
    direction: Direction,
    /// As ALSA was asked for it.
    pub(super) name: String,
    pub(super) pcm: PCM,
    pub(super) layout: Layout,
}

impl Opened {
    pub(super) fn is_capture(&self) -> bool {
        self.direction == Direction::Capture
    }
}

impl fmt::Display for Opened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the {} {}", word(self.role), self.name)
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Loudspeaker => "loudspeaker",
        Role::Microphone => "microphone",
        Role::Reference => "reference",
    }
}

/// Opens a device; it does not run yet.
pub(super) fn open(role: Role, name: &str, direction: Direction) -> Result<Opened, Failure> {
    let what = format!("the {} {name}", word(role));
    let Ok(c_name) = CString::new(name) else {
        return Err(Failure::new(Reason::NoDevice, format!("found a zero byte in {what}, expected a name")));
    };
    // Without blocking: otherwise a device that is taken would be waited for.
    let pcm = PCM::open(&c_name, direction, true).map_err(|error| refused(&what, error))?;
    let layout = agree(&pcm, &what, direction)?;
    Ok(Opened { role, direction, name: name.to_owned(), pcm, layout })
}

/// The name of what is wanted. A pattern is looked for among the names that ALSA lists, as `aplay -L` does;
/// anything else is taken as it stands, for ALSA knows more names than it lists.
pub(super) fn find(role: Role, wanted: &str, direction: Direction) -> Result<String, Failure> {
    if !wanted.contains('*') {
        return Ok(wanted.to_owned());
    }
    let hints = HintIter::new(None, c"pcm").map_err(|error| refused(&format!("the {} {wanted}", word(role)), error))?;
    let candidates: Vec<Candidate> = hints
        .filter(|hint| hint.direction.is_none_or(|has| has == direction))
        .filter_map(|hint| Some(Candidate { name: hint.name?, ..Candidate::default() }))
        .collect();
    choose(role, wanted, None, &candidates).map(|place| candidates[place].name.clone())
}

/// Agrees on 48 kHz, on 16 bit or else 32, and on as few channels as there can be.
fn agree(pcm: &PCM, what: &str, direction: Direction) -> Result<Layout, Failure> {
    let wrong = |error| format_refused(pcm, what, error);
    let hardware = HwParams::any(pcm).map_err(|error| refused(what, error))?;
    // No resampling on the way: that of ALSA itself is a straight line between samples.
    let _ = hardware.set_rate_resample(false);
    hardware.set_access(Access::RWInterleaved).map_err(wrong)?;
    hardware.set_rate(RATE, ValueOr::Nearest).map_err(wrong)?;
    let format = [Format::s16(), Format::s32()].into_iter().find(|format| hardware.test_format(*format).is_ok());
    let format = format.unwrap_or(Format::s16());
    hardware.set_format(format).map_err(wrong)?;
    let channels = hardware.set_channels_near(1).map_err(wrong)?;
    if channels > CHANNELS {
        return Err(wrong(alsa::Error::unsupported("snd_pcm_hw_params_set_channels_near")));
    }
    hardware.set_period_size_near(PERIOD, ValueOr::Nearest).map_err(wrong)?;
    let held = if direction == Direction::Capture { HELD_TAKEN } else { HELD };
    hardware.set_buffer_size_near(held).map_err(wrong)?;
    pcm.hw_params(&hardware).map_err(|error| match error.errno() {
        libc::EBUSY | libc::ENODEV => refused(what, error),
        _ => wrong(error),
    })?;

    let software = pcm.sw_params_current().map_err(wrong)?;
    // It starts when it is told to.
    let never = software.get_boundary().map_err(wrong)?;
    software.set_start_threshold(never).map_err(wrong)?;
    pcm.sw_params(&software).map_err(wrong)?;
    Ok(Layout { channels: channels as usize, is_wide: format == Format::s32() })
}

/// Why a device cannot be opened.
fn refused(what: &str, error: alsa::Error) -> Failure {
    let (reason, detail) = match error.errno().abs() {
        libc::EBUSY => {
            let hint = "if that is a sound server, it is reached by `system = \"pulse\"`";
            (Reason::DeviceBusy, format!("{what} is taken by another program; {hint}"))
        }
        libc::EACCES | libc::EPERM => (Reason::NotPermitted, not_permitted(what)),
        // ALSA finds no card where it may not look.
        libc::ENOENT | libc::ENODEV | libc::ENXIO if cards_are_closed() => (Reason::NotPermitted, not_permitted(what)),
        libc::ENOENT | libc::ENODEV | libc::ENXIO => {
            (Reason::NoDevice, format!("there is no device for {what}; `aplay -L` and `arecord -L` list what there is"))
        }
        _ => (Reason::NoDevice, format!("{what} cannot be opened: {error}")),
    };
    Failure::new(reason, detail)
}

fn not_permitted(what: &str) -> String {
    format!(
        "{what} may not be opened by this user; members of the group `audio` may: SupplementaryGroups=audio in the unit"
    )
}

/// Whether there are sound cards that this process may not open.
fn cards_are_closed() -> bool {
    let Ok(entries) = fs::read_dir("/dev/snd") else { return false };
    let mut cards = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("controlC"));
    cards.any(|card| fs::File::open(card.path()).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied))
}

/// Why no format could be agreed on: what the device can do, and what is needed.
fn format_refused(pcm: &PCM, what: &str, error: alsa::Error) -> Failure {
    if error.errno() == libc::ENODEV {
        return refused(what, error);
    }
    let can = HwParams::any(pcm).and_then(|all| {
        let _ = all.set_rate_resample(false);
        let formats = [Format::s16(), Format::s32()].iter().any(|format| all.test_format(*format).is_ok());
        let formats = if formats { "" } else { ", neither in 16 bit nor in 32" };
        let (least, most) = (all.get_rate_min()?, all.get_rate_max()?);
        let (fewest, channels) = (all.get_channels_min()?, all.get_channels_max()?);
        Ok(format!("{least} to {most} Hz and {fewest} to {channels} channels{formats}"))
    });
    let can = can.unwrap_or_else(|error| error.to_string());
    let detail = format!(
        "{what} does {can}; expected {RATE} Hz, 1 to {CHANNELS} channels, 16 or 32 bit. A device of another rate \
         cannot be measured; of another format it can by its name with `plughw:` in place of `hw:`"
    );
    Failure::new(Reason::Format, detail)
}

/// Why a device that was open can be used no longer.
pub(super) fn failed_in_use(opened: &Opened, error: alsa::Error) -> Failure {
    let detail = match error.errno().abs() {
        libc::ENODEV => format!("{opened} went away while it was used"),
        _ => format!("{opened} failed while it was used: {error}"),
    };
    Failure::new(Reason::DeviceLost, detail)
}
