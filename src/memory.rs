//! Keeps the resident memory small: hands back what starting, and each inspection, needed for a moment.
//!
//! Most of a daemon's resident memory is code that ran once, or runs once a minute: parsing the config,
//! judging, writing the ledger. The kernel keeps such pages mapped for as long as the process lives.
//! Unmapping them costs nearly nothing: they are clean copies of files, and what is needed again comes
//! back from the page cache.

use std::{fs, ops::Range};

/// Makes all threads share one heap: a heap of its own for each would keep free what others need. To
/// be called before there are threads.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator is C's")]
    // SAFETY: a plain setting of the allocator, made before a second thread could allocate.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Unmaps the resident pages of all code and constants, and gives free heap back to the system. To be called when
/// starting, taking a new config, or an inspection is over.
pub fn hand_back() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for code in maps.lines().filter_map(code_range) {
        #[expect(unsafe_code, reason = "there is no safe way to advise on code")]
        // SAFETY: the range is a private mapping of a file that cannot be written and, as code or as the
        // head of the file, never could: no page differs from the file, and the next use maps it again.
        unsafe {
            libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED);
        }
    }
    trim();
}

/// Gives free heap back to the system.
fn trim() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator is C's")]
    // SAFETY: malloc_trim may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The addresses of a line of `/proc/self/maps`, if it is code of a file, or the head of one: its
/// relocation tables and constants. Other parts that can only be read may be relocated data, which is
/// not as in the file.
fn code_range(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let file = fields.nth(2)?;
    let head = permissions == "r--p" && usize::from_str_radix(offset, 16).ok()? == 0;
    if !(permissions == "r-xp" || head) || !file.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_its_file_is_handed_back() {
        let line = |permissions: &str, offset: &str, file: &str| {
            format!("1000-3000 {permissions} {offset} fe:00 12345   {file}")
        };
        let program = "/usr/bin/bellwether";
        for (permissions, offset, file, handed_back) in [
            ("r-xp", "00002000", program, true),
            ("r--p", "00000000", program, true),
            ("r--p", "00e08000", program, false), // relocated data
            ("rw-p", "00000000", program, false),
            ("rwxp", "00002000", program, false),
            ("r-xp", "00000000", "[vdso]", false),
            ("r-xp", "00000000", "", false),
        ] {
            let found = code_range(&line(permissions, offset, file));
            assert_eq!(found, handed_back.then_some(0x1000..0x3000), "{permissions} {offset} {file}");
        }
    }

    #[test]
    fn the_program_goes_on_after_it() {
        hand_back();
        assert_eq!(format!("{}", [1, 2, 3].iter().sum::<i32>()), "6");
    }
}
