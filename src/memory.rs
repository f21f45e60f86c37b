//! Hands back what only starting needed.
//!
//! Most of a daemon's resident memory is code that ran once: parsing the command line and the config,
//! opening the ledger, building tables. The kernel keeps such pages mapped for as long as the process
//! lives. Unmapping them costs nothing: they are clean copies of files, and what is needed again comes
//! back from the page cache.

use std::{fs, ops::Range};

/// Unmaps the resident pages of all code, and gives free heap back to the system. To be called when
/// starting, or taking a new config, is over.
pub fn hand_back() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for code in maps.lines().filter_map(code_range) {
        #[expect(unsafe_code, reason = "there is no safe way to advise on code")]
        // SAFETY: the range is a private mapping of a file that can be executed and not written, so none
        // of its pages was changed and dropping them loses nothing: the next use maps the file again.
        unsafe {
            libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED);
        }
    }
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator is C's")]
    // SAFETY: malloc_trim may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The addresses of a line of `/proc/self/maps`, if it is code of a file that cannot be written.
fn code_range(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let file = fields.nth(3)?;
    if permissions != "r-xp" || !file.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_handed_back() {
        let line = |permissions: &str, file: &str| format!("1000-3000 {permissions} 00002000 fe:00 12345   {file}");
        assert_eq!(code_range(&line("r-xp", "/usr/bin/bellwether")), Some(0x1000..0x3000));
        for (permissions, file) in [
            ("r--p", "/usr/bin/bellwether"), // may be relocated data, which is not as in the file
            ("rw-p", "/usr/bin/bellwether"),
            ("rwxp", "/usr/bin/bellwether"),
            ("r-xp", "[vdso]"),
            ("r-xp", ""),
        ] {
            assert_eq!(code_range(&line(permissions, file)), None, "{permissions} {file}");
        }
    }

    #[test]
    fn the_program_goes_on_after_it() {
        hand_back();
        assert_eq!(format!("{}", [1, 2, 3].iter().sum::<i32>()), "6");
    }
}
