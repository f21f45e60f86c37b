//! A device that runs.

#![expect(clippy::disallowed_methods, reason = "a shell: it sees whether the device moves")]

use std::time::{Duration, Instant};

use alsa::pcm::State;

use super::{
    super::LEAD,
    open::{Opened, failed_in_use},
    pace::Point,
};
use crate::{Failure, Reason};

/// Frames that are given to a loudspeaker at once: 10 ms.
const PIECE: usize = 480;

/// A device that plays or takes sound, and how far it has come.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) opened: Opened,
    /// Frames that were written or read.
    pub(super) frames: usize,
    /// Frames that were played or taken, at the last look.
    place: f64,
    /// Where it stood when, until it first slipped.
    pub(super) points: Vec<Point>,
    /// How often it ran out of sound, or of room for it.
    pub(super) slips: u32,
    /// When it last took or gave something; `None` before its start.
    moved: Option<Instant>,
    /// Whether it ran out of sound and is to be started again once it has some.
    is_to_go_on: bool,
    bytes: Vec<u8>,
}

impl Stream {
    pub(super) fn new(opened: Opened) -> Self {
        Self {
            opened,
            frames: 0,
            place: 0.0,
            points: Vec::new(),
            slips: 0,
            moved: None,
            is_to_go_on: false,
            bytes: Vec::new(),
        }
    }

    pub(super) fn start(&mut self) -> Result<(), Failure> {
        self.moved = Some(Instant::now());
        self.opened.pcm.start().map_err(|error| failed_in_use(&self.opened, error))
    }

    /// Frames that were played or taken, at the last look.
    pub(super) fn place(&self) -> f64 {
        self.place
    }

    /// Samples that were kept.
    pub(super) fn kept(&self) -> usize {
        self.frames.saturating_sub(LEAD)
    }

    /// Notes where the device stands: what was written and is not yet heard, or what was taken and is not
    /// yet read, is its delay.
    pub(super) fn look(&mut self, origin: Instant) -> Result<(), Failure> {
        let status = match self.opened.pcm.status() {
            Ok(status) => status,
            Err(error) => return self.slipped(error),
        };
        // By our own clock, as that of a plug-in may be any. After the answer, not before: the later it is
        // stamped, the more it lags, which is allowed for.
        let at = origin.elapsed().as_secs_f64();
        let delay = status.get_delay() as f64;
        if self.opened.pcm.state_raw() != State::Running as libc::c_int {
            // What it says then is of no use; writing or reading tells why.
            return Ok(());
        }
        self.place = self.frames as f64 + if self.opened.is_capture() { delay } else { -delay };
        if self.slips == 0 {
            self.points.push(Point { at, frames: self.place });
        }
        Ok(())
    }

    /// Gives the loudspeaker what it takes of what `fill` makes of silence, from a frame on; up to `most`
    /// frames in all, as there are devices that take without end.
    pub(super) fn play(&mut self, most: usize, fill: impl Fn(usize, &mut [i16])) -> Result<(), Failure> {
        while self.frames < most {
            let mut piece = [0; PIECE];
            fill(self.frames, &mut piece);
            self.bytes.clear();
            self.opened.layout.spread(&piece, &mut self.bytes);
            let written = self.opened.pcm.io_bytes().writei(&self.bytes);
            match written {
                Ok(0) => break,
                Ok(frames) => {
                    self.frames += frames;
                    self.moved = self.moved.map(|_| Instant::now());
                }
                Err(error) if error.errno() == libc::EAGAIN => break,
                Err(error) => return self.slipped(error),
            }
        }
        if self.is_to_go_on {
            self.is_to_go_on = false;
            return self.opened.pcm.start().map_err(|error| failed_in_use(&self.opened, error));
        }
        Ok(())
    }

    /// Takes what there is: what comes before the take into `waste`, and then into `samples`, by way of
    /// `waste` where it is not one channel of 16 bit. True once they are full.
    pub(super) fn take(&mut self, origin: Instant, samples: &mut [u8], waste: &mut [u8]) -> Result<bool, Failure> {
        let (layout, most) = (self.opened.layout, samples.len() / 2);
        if self.kept() >= most {
            return Ok(true);
        }
        self.look(origin)?;
        while self.kept() < most {
            let is_kept = self.frames >= LEAD;
            let rest = &mut samples[2 * self.kept()..];
            let wanted = if is_kept { rest.len() / 2 } else { LEAD - self.frames };
            let is_straight = is_kept && layout.is_plain();
            let into = if is_straight { &mut *rest } else { &mut *waste };
            let room = wanted.min(into.len() / layout.bytes());
            let read = self.opened.pcm.io_bytes().readi(&mut into[..room * layout.bytes()]);
            match read {
                Ok(0) => return Ok(false),
                Ok(frames) => {
                    if is_kept && !is_straight {
                        layout.mix(&waste[..frames * layout.bytes()], rest);
                    }
                    self.frames += frames;
                    self.moved = Some(Instant::now());
                }
                Err(error) if error.errno() == libc::EAGAIN => return Ok(false),
                Err(error) => return self.slipped(error).map(|()| false),
            }
        }
        // What would come now would only overrun.
        let _ = self.opened.pcm.drop();
        self.moved = None;
        Ok(true)
    }

    /// Fails if it has taken or given nothing for so long.
    pub(super) fn check_moves(&self, patience: Duration) -> Result<(), Failure> {
        match self.moved {
            Some(moved) if moved.elapsed() > patience => {
                let does = if self.opened.is_capture() { "gave" } else { "took" };
                let detail = format!("{} {does} no sound for {:.0} s", self.opened, patience.as_secs_f64());
                Err(Failure::new(Reason::Stalled, detail))
            }
            _ => Ok(()),
        }
    }

    /// Goes on after it ran out of sound or of room, or slept with the box; anything else is a failure.
    fn slipped(&mut self, error: alsa::Error) -> Result<(), Failure> {
        if !matches!(error.errno(), libc::EPIPE | libc::ESTRPIPE) {
            return Err(failed_in_use(&self.opened, error));
        }
        self.slips += 1;
        let pcm = &self.opened.pcm;
        self.is_to_go_on = !self.opened.is_capture();
        let again = pcm.prepare().and_then(|()| if self.is_to_go_on { Ok(()) } else { pcm.start() });
        again.map_err(|error| failed_in_use(&self.opened, error))
    }
}
