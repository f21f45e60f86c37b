//! The one place in which sound of the room is held: locked memory that reaches no disk, no core dump and
//! no child, and is wiped when it goes.

use std::{
    io,
    ptr::{self, NonNull},
    slice,
};

use crate::{Failure, Reason};

/// The most of the microphone that is ever held, in samples: 60 s.
pub(crate) const MOST: usize = 60 * super::RATE as usize;
/// Bytes in which sound lands that is not kept: what comes before a run, and after it.
const WASTE: usize = 16 << 10;

/// Samples of the microphone, those of the reference beside them, and a place for what is not kept. All in
/// one mapping.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Locked,
    microphone: usize,
    reference: usize,
}

impl Buffer {
    /// Room for so many samples of each, [`MOST`] at most. Fails with [`Reason::NotPermitted`] if the
    /// memory cannot be locked.
    pub(crate) fn new(microphone: usize, reference: usize) -> Result<Self, Failure> {
        let (microphone, reference) = (microphone.min(MOST), reference.min(MOST));
        let memory =
            Locked::new(2 * (microphone + reference) + WASTE).map_err(|(doing, error)| refused(doing, &error))?;
        Ok(Self { memory, microphone, reference })
    }

    /// The bytes of the microphone, of the reference, and of what is not kept.
    pub(crate) fn parts(&mut self) -> [&mut [u8]; 3] {
        let (microphone, rest) = self.memory.bytes_mut().split_at_mut(2 * self.microphone);
        let (reference, waste) = rest.split_at_mut(2 * self.reference);
        [microphone, reference, waste]
    }

    /// All samples of the microphone, the part that was not filled as zeros.
    pub(crate) fn microphone(&self) -> &[i16] {
        &self.memory.samples()[..self.microphone]
    }

    /// All samples of the reference, likewise.
    pub(crate) fn reference(&self) -> &[i16] {
        &self.memory.samples()[self.microphone..][..self.reference]
    }
}

fn refused(doing: &str, error: &io::Error) -> Failure {
    let detail = format!(
        "the memory for what the microphone takes could not be {doing} ({error}), so nothing is listened to; \
         LimitMEMLOCK=16M in the unit, or `ulimit -l 16384`, lets it"
    );
    Failure::new(Reason::NotPermitted, detail)
}

/// Pages of our own, zeroed at first.
#[derive(Debug)]
struct Locked {
    start: NonNull<u8>,
    length: usize,
}

#[expect(unsafe_code, reason = "the mapping is known by its address alone")]
// SAFETY: the mapping belongs to this value alone, whichever thread has it.
unsafe impl Send for Locked {}

/// What was tried when it failed.
type Refusal = (&'static str, io::Error);

impl Locked {
    #[expect(unsafe_code, reason = "memory is mapped and locked by the system")]
    fn new(length: usize) -> Result<Self, Refusal> {
        raise_limit();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at a place the system chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
        let mapped = if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast::<u8>()) };
        // From here on it is unmapped again whatever fails.
        let locked = Self { start: mapped.ok_or_else(|| ("mapped", io::Error::last_os_error()))?, length };
        let done =
            |result: libc::c_int, doing| if result == 0 { Ok(()) } else { Err((doing, io::Error::last_os_error())) };
        // SAFETY: exactly the mapping above, here and below.
        done(unsafe { libc::madvise(start, length, libc::MADV_DONTDUMP) }, "kept out of core dumps")?;
        // SAFETY: as above.
        done(unsafe { libc::madvise(start, length, libc::MADV_DONTFORK) }, "kept from children")?;
        // SAFETY: as above.
        done(unsafe { libc::mlock(start, length) }, "locked")?;
        Ok(locked)
    }

    #[expect(unsafe_code, reason = "the mapping is reached by its address")]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is ours alone, of this length, and lives as long as `self`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    #[expect(unsafe_code, reason = "the mapping is reached by its address")]
    fn samples(&self) -> &[i16] {
        // SAFETY: as above; a page is aligned for every integer, and every pair of bytes is one.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<i16>(), self.length / 2) }
    }

    fn wipe(&mut self) {
        super::scratch::wipe(self.bytes_mut());
    }
}

impl Drop for Locked {
    #[expect(unsafe_code, reason = "memory is unmapped by the system")]
    fn drop(&mut self) {
        self.wipe();
        // SAFETY: the mapping of `new`, which nobody borrows any more. It also ends the lock.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Lets this process lock as much as it may at all; what fails here shows when the memory is locked.
#[expect(unsafe_code, reason = "limits have no safe form in the standard library")]
fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a value that outlives the calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
        }
    }
}

/// Keeps other processes of the same user out of this one's memory, and its memory out of core dumps
/// however they are made.
#[expect(unsafe_code, reason = "prctl has no safe form in the standard library")]
pub(crate) fn hide_process() -> Result<(), Failure> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(refused("hidden from other processes", &io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use super::*;

    #[test]
    fn parts_do_not_overlap_and_are_read_as_samples() {
        let mut buffer = Buffer::new(3, 2).unwrap();
        let [microphone, reference, waste] = buffer.parts();
        assert_eq!((microphone.len(), reference.len(), waste.len()), (6, 4, WASTE));
        microphone.copy_from_slice(&[1, 0, 2, 0, 0xff, 0xff].map(|byte: u8| byte));
        reference.copy_from_slice(&7i16.to_ne_bytes().repeat(2));
        waste.fill(9);
        assert_eq!(buffer.microphone(), [1i16.to_le(), 2i16.to_le(), -1]);
        assert_eq!(buffer.reference(), [7, 7]);
    }

    #[test]
    fn no_more_than_a_minute_is_held() {
        assert_eq!(Buffer::new(usize::MAX, 0).unwrap().microphone().len(), MOST);
    }

    #[test]
    fn it_is_zero_once_wiped() {
        let mut memory = Locked::new(100_000).unwrap();
        memory.bytes_mut().fill(0x5a);
        memory.wipe();
        assert!(memory.samples().iter().all(|sample| *sample == 0));
    }

    #[test]
    #[expect(unsafe_code, reason = "what is left of the memory is to be seen")]
    fn nothing_is_left_of_it_when_it_is_dropped() {
        const LENGTH: usize = 4096;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // Pages that are mapped twice, so that the second mapping shows what the first has left.
        // SAFETY: new mappings of a file of our own, of its length.
        let [first, second] = unsafe {
            let file = libc::memfd_create(c"wiped".as_ptr(), 0);
            assert_eq!(libc::ftruncate(file, LENGTH as libc::off_t), 0);
            [(); 2].map(|()| libc::mmap(ptr::null_mut(), LENGTH, access, libc::MAP_SHARED, file, 0))
        };
        // SAFETY: the second mapping is never unmapped.
        let left = || unsafe { slice::from_raw_parts(second.cast::<u8>(), LENGTH).to_vec() };
        let mut memory = Locked { start: NonNull::new(first.cast()).unwrap(), length: LENGTH };
        memory.bytes_mut().fill(0x5a);
        assert_eq!(left(), [0x5a; LENGTH]);
        drop(memory);
        assert_eq!(left(), [0; LENGTH]);
    }

    #[test]
    fn the_system_says_that_it_is_locked_and_in_no_dump_and_no_child() {
        let buffer = Buffer::new(48_000, 48_000).unwrap();
        let start = format!("{:x}-", buffer.memory.start.as_ptr() as usize);
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = maps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = ours.clone().find(|line| line.starts_with("VmFlags:")).unwrap();
        for flag in ["lo", "dd", "dc"] {
            assert!(flags.split_whitespace().any(|word| word == flag), "{flag} is not among {flags}");
        }
        let locked = ours.clone().find(|line| line.starts_with("Locked:")).unwrap();
        let locked: usize = locked.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(locked * 1024 >= 4 * 48_000, "{locked} kB are locked");
    }
}
