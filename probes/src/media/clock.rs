//! The clock of one call: monotonic, counted from the call's start, with its relation to the wall
//! clock in which the kernel stamps datagrams.

#![expect(clippy::disallowed_methods, reason = "a shell: it measures on the clock")]

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::capture::Nanos;

/// How often the two clocks are read to find the pair that was read closest together.
const READS: usize = 8;

/// Monotonic time since the start of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Wall clock minus this clock, in nanoseconds, at the start.
    offset: Nanos,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let origin = Instant::now();
        Self { origin, offset: wall_offset(origin) }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Nanos {
        nanos(self.origin.elapsed())
    }

    /// Time since the start, as it was a `duration` ago.
    pub(crate) fn before(&self, duration: Duration) -> Nanos {
        self.now() - nanos(duration)
    }

    /// The instant `at` nanoseconds after the start, for sleeping until it.
    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.origin + Duration::from_nanos(u64::try_from(at).unwrap_or(0))
    }

    /// A time of the wall clock, in nanoseconds since 1970, on this clock. Exact unless the wall
    /// clock was stepped since the start, which [`Self::drift`] shows. (Slewing is no step: it
    /// moves both clocks of Linux alike.)
    pub(crate) fn at_wall(&self, unix: i64) -> Nanos {
        unix - self.offset
    }

    /// The wall clock `at` nanoseconds after the start, as the middle 32 bits of NTP time (RFC 3550 §4):
    /// 16 bits of seconds, 16 of their parts.
    pub(crate) fn short_ntp(&self, at: Nanos) -> u32 {
        // 1900 to 1970 is a whole number of seconds.
        const EPOCH: i128 = 2_208_988_800 << 16;
        let parts = (i128::from(at) + i128::from(self.offset)) * 65_536 / 1_000_000_000;
        (parts + EPOCH) as u32
    }

    /// Wall clock minus this clock now, less the same at the start.
    pub(crate) fn drift(&self) -> Nanos {
        wall_offset(self.origin) - self.offset
    }
}

/// Sleeps until `due`; returns at once if it has passed. The kernel's high-resolution timer wakes
/// us, some 0.1 ms late at most on an idle box.
pub(crate) fn sleep_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

/// Processor time that this thread has taken so far, if the system says.
#[expect(unsafe_code, reason = "clock_gettime has no safe form in the standard library")]
pub(crate) fn processor_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to a value that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (result == 0).then(|| Duration::new(seconds, nanoseconds))
}

/// Wall clock minus monotonic time since `origin`, from the closest of a few double readings.
fn wall_offset(origin: Instant) -> Nanos {
    let read = |_| {
        let before = nanos(origin.elapsed());
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos);
        let after = nanos(origin.elapsed());
        (after - before, wall - (before + after) / 2)
    };
    (0..READS).map(read).min().map_or(0, |(_, offset)| offset)
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ntp_is_the_middle_of_ntp_time() {
        let clock = Clock::start();
        let at = clock.at_wall(1_500_000_000_250_000_000);
        let whole = ((1_500_000_000_u64 + 2_208_988_800) << 16) as u32;
        assert_eq!(clock.short_ntp(at), whole | 0x4000);
    }
}
