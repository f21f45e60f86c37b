//! What is remembered of it, in memory and in `hold.json` beside the ledger.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::when;
use crate::files::{self, Readers};

/// Name of the file in the state folder.
const NAME: &str = "hold.json";
/// A larger file is none of ours.
const MOST_BYTES: u64 = 4 << 10;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    quiet_until: DateTime<Utc>,
    asked_at: DateTime<Utc>,
}

/// Whether somebody asked for quiet.
#[derive(Debug)]
pub(crate) struct Quiet {
    file: PathBuf,
    hold: Option<Hold>,
    /// Why a restart would forget it, if it would.
    not_durable: Option<String>,
}

impl Quiet {
    /// Reads what an earlier daemon left in the state folder. What has ended is removed; what cannot be
    /// read is set aside, and it is not quiet.
    pub(crate) fn read(state: &Path, now: DateTime<Utc>) -> Self {
        let file = state.join(NAME);
        let mut quiet = Self { file, hold: None, not_durable: None };
        match load(&quiet.file) {
            Ok(None) => {}
            Ok(Some(hold)) if hold.quiet_until > now => {
                tracing::info!(until = %hold.quiet_until, "quiet, as somebody asked before this start");
                quiet.hold = Some(hold);
            }
            Ok(Some(_)) => quiet.forget(),
            Err(error) => {
                let aside = quiet.file.with_extension(format!("json.damaged-{}", now.format("%Y%m%dT%H%M%SZ")));
                let moved = fs::rename(&quiet.file, &aside);
                let aside = aside.display();
                tracing::warn!(%error, %aside, moved = moved.is_ok(), "what somebody asked for cannot be read: no quiet");
            }
        }
        quiet
    }

    /// Until when it is quiet, if it is.
    pub(crate) fn until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.hold.map(|hold| hold.quiet_until).filter(|until| *until > now)
    }

    /// Why a restart would forget what was asked for last, if it would.
    pub(crate) fn not_durable(&self) -> Option<&str> {
        self.not_durable.as_deref()
    }

    /// Quiet until then, or no more. It holds from now on even if it cannot be written: who asks for quiet
    /// needs it now, and is told that a restart would forget it.
    pub(crate) async fn ask(&mut self, until: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        self.hold = until.map(|quiet_until| Hold { quiet_until, asked_at: now });
        let (file, hold) = (self.file.clone(), self.hold);
        let written = tokio::task::spawn_blocking(move || store(&file, hold.as_ref())).await;
        let failed = written.map_err(io::Error::other).and_then(|written| written).err();
        self.not_durable = failed.map(|error| format!("{}: {error}", self.file.display()));
        if let Some(error) = &self.not_durable {
            tracing::error!(error, "what somebody asked for could not be written: a restart forgets it");
        }
    }

    /// Whether it has ended since it was last asked.
    pub(crate) fn lapse(&mut self, now: DateTime<Utc>) -> bool {
        let ended = self.hold.is_some() && self.until(now).is_none();
        if ended {
            self.hold = None;
            self.forget();
        }
        ended
    }

    /// Removes the file; one that stays is removed by a later start.
    fn forget(&mut self) {
        self.not_durable = None;
        if let Err(error) = store(&self.file, None) {
            tracing::warn!(%error, file = %self.file.display(), "what has ended could not be removed");
        }
    }
}

/// Until when somebody has asked a daemon with this state to be quiet, as far as it could be written down.
/// Changes nothing: a broken file is the daemon's business.
pub fn held(state: &Path) -> Option<DateTime<Utc>> {
    load(&state.join(NAME)).ok()?.map(|hold| hold.quiet_until)
}

fn load(file: &Path) -> io::Result<Option<Hold>> {
    let opened = match fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = Vec::new();
    opened.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("found more, expected at most {MOST_BYTES} bytes")));
    }
    let hold: Hold = serde_json::from_slice(&text)?;
    // By the clock under which it was asked for; another may have come since.
    when::check(hold.quiet_until, hold.asked_at).map_err(io::Error::other)?;
    Ok(Some(hold))
}

/// Replaces the file whole, so that a power cut leaves the old one or the new one.
fn store(file: &Path, hold: Option<&Hold>) -> io::Result<()> {
    match hold {
        None => files::remove(file),
        Some(hold) => files::replace(file, &serde_json::to_vec(hold)?, Readers::Owner),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-29T06:30:00Z".parse().expect("an instant written here")
    }

    fn hour() -> Option<DateTime<Utc>> {
        Some(now() + TimeDelta::hours(1))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_was_asked_for_holds_after_a_restart_until_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut quiet = Quiet::read(folder.path(), now());
        assert_eq!((quiet.until(now()), quiet.lapse(now())), (None, false));
        quiet.ask(hour(), now()).await;
        assert_eq!((quiet.until(now()), quiet.not_durable(), held(folder.path())), (hour(), None, hour()));
        assert_eq!(names(folder.path()), [NAME], "nothing else is left");

        let later = now() + TimeDelta::minutes(59);
        let mut again = Quiet::read(folder.path(), later);
        assert_eq!((again.until(later), again.lapse(later)), (hour(), false));
        let end = now() + TimeDelta::hours(1);
        assert_eq!(again.until(end), None, "its end is no longer quiet");
        assert_eq!((again.lapse(end), again.lapse(end)), (true, false), "it ends once");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_new_wish_replaces_the_old_one_and_none_removes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut quiet = Quiet::read(folder.path(), now());
        quiet.ask(hour(), now()).await;
        let longer = Some(now() + TimeDelta::days(2));
        quiet.ask(longer, now()).await;
        assert_eq!(Quiet::read(folder.path(), now()).until(now()), longer);
        quiet.ask(None, now()).await;
        assert_eq!((quiet.until(now()), Quiet::read(folder.path(), now()).until(now())), (None, None));
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_has_ended_meanwhile_is_removed_at_the_next_start() {
        let folder = tempfile::tempdir().expect("a folder");
        Quiet::read(folder.path(), now()).ask(hour(), now()).await;
        assert_eq!(Quiet::read(folder.path(), now() + TimeDelta::days(1)).hold, None);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_set_aside() {
        let year = r#"{"quiet_until":"2027-11-29T06:30:00Z","asked_at":"2026-11-29T06:30:00Z"}"#;
        let more = r#"{"quiet_until":"2026-11-29T07:30:00Z","asked_at":"2026-11-29T06:30:00Z","by":"me"}"#;
        let large = format!("{{\"quiet_until\":\"{}\"}}", "2".repeat(5000));
        for text in ["", "{", "[]", "{}", year, more, &large] {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join(NAME), text).expect("a file");
            let mut quiet = Quiet::read(folder.path(), now());
            assert_eq!(quiet.until(now()), None, "{text}");
            let aside = "hold.json.damaged-20261129T063000Z";
            assert_eq!(names(folder.path()), [aside]);
            assert_eq!(fs::read_to_string(folder.path().join(aside)).expect("a file"), text, "kept as it was");
            quiet.ask(hour(), now()).await;
            assert_eq!(Quiet::read(folder.path(), now()).until(now()), hour());
        }
    }

    #[tokio::test]
    async fn quiet_that_cannot_be_written_holds_until_a_restart_and_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let mut quiet = Quiet::read(&state, now());
        // No folder can be made where a file is.
        fs::write(&state, "").expect("a file");
        quiet.ask(hour(), now()).await;
        assert_eq!(quiet.until(now()), hour());
        assert!(quiet.not_durable().is_some_and(|why| why.contains(NAME)), "{quiet:?}");
        assert_eq!(Quiet::read(&state, now()).until(now()), None);
        // The disk is back.
        fs::remove_file(&state).expect("our own file");
        quiet.ask(hour(), now()).await;
        assert_eq!((quiet.not_durable(), Quiet::read(&state, now()).until(now())), (None, hour()));
    }
}
