//! How long a thread of the call may run before the scheduler looks for another.
//!
//! Linux takes turns by deadline, and a thread that asks for shorter turns gets them sooner: no more
//! processor time, only less waiting. Without this a packet that falls due, or arrives at the embedded
//! far end, while a picture is being encoded waits for it, 2 to 3 ms on two idle cores, and because
//! pictures and sound markers keep step, it is the same packet of each second. Linux 6.12 and later
//! (sched(7), `sched_runtime` of `SCHED_OTHER`); earlier ones keep their own turns.

use std::io;

/// The shortest that Linux grants, in nanoseconds.
const SHORT: u64 = 100_000;

/// For threads that move packets. Threads started from this one inherit it.
pub(crate) fn short() {
    ask(SHORT);
}

/// For threads that compute for milliseconds.
pub(crate) fn usual() {
    ask(0);
}

/// A refusal costs exactness only, and the host's own lateness is measured in any case.
fn ask(nanoseconds: u64) {
    if let Err(error) = attributes().and_then(|found| set(&libc::sched_attr { sched_runtime: nanoseconds, ..found })) {
        tracing::debug!(%error, "this thread keeps the turns it has");
    }
}

/// Those of this thread: the policy and the niceness that a site chose are kept.
#[expect(unsafe_code, reason = "sched_getattr has no safe form, and none in most C libraries")]
fn attributes() -> io::Result<libc::sched_attr> {
    let mut found = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `size` bytes to a value of that size.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, found.size, 0) };
    if result == 0 { Ok(found) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "sched_setattr has no safe form, and none in most C libraries")]
fn set(wanted: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the value says it has.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(wanted), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::thread;

    use super::*;

    #[test]
    fn only_the_turn_changes_and_threads_inherit_it() {
        let (before, short, inherited, usual) = thread::spawn(|| {
            let before = attributes().unwrap();
            short();
            let short = attributes().unwrap();
            let inherited = thread::spawn(|| attributes().unwrap()).join().unwrap();
            usual();
            (before, short, inherited, attributes().unwrap())
        })
        .join()
        .unwrap();
        let chosen = |of: &libc::sched_attr| (of.sched_policy, of.sched_flags, of.sched_nice, of.sched_priority);
        assert_eq!(chosen(&short), chosen(&before));
        assert_eq!(usual.sched_runtime, before.sched_runtime);
        // A kernel without turns of choice says nothing of them.
        let expected = if before.sched_runtime == 0 { 0 } else { SHORT };
        assert_eq!((short.sched_runtime, inherited.sched_runtime), (expected, expected));
    }
}
