//! Files of the state folder: read within bounds, replaced whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Whether a folder is there and belongs to whoever runs this program.
pub fn is_ours(folder: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|found| found.uid()).ok();
    owner(folder).is_some_and(|user| owner(Path::new("/proc/self")) == Some(user))
}

/// Reads no more than `limit` bytes.
///
/// # Errors
/// What the system says, or that there is more.
pub fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if read as u64 > limit {
        return Err(io::Error::other(format!("found more than {limit} bytes, which is no such file")));
    }
    Ok(bytes)
}

/// Reads a text of no more than `limit` bytes.
///
/// # Errors
/// What the system says, that there is more, or that it is no UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_bytes(path, limit)?).map_err(io::Error::other)
}

/// Who may read a file that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Whoever made it: there may be an address in it that is as good as a password.
    Owner,
    /// Everybody: root may have made it for the daemon.
    All,
}

/// Replaces a file, or makes it with its folder: after a power cut the old one is there, or the new one.
///
/// # Errors
/// What the system says; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let fresh_folder = !folder.exists();
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("new");
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    if fresh_folder && readers == Readers::All {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    // Whatever the umask says.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_folder(path)
}

/// Removes a file for good, if it is there.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    sync_folder(path)
}

/// A name as well must be on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
