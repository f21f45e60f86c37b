//! What this program keeps and tells of the room's sound, beside measuring it: the state that was accepted,
//! one file for each probe in `accepted/` of the state folder; and who listened to the microphone.

use std::{
    io,
    path::{Path, PathBuf},
};

use bellwether_probes::echo::Accepted;

use crate::{
    config::Config,
    files::{self, Readers},
};

/// The largest file that is read: a state is some hundred bytes.
const MOST_BYTES: u64 = 16 << 10;

fn path(state: &Path, probe: &str) -> PathBuf {
    state.join("accepted").join(format!("{probe}.json"))
}

/// The state that was accepted of a probe. One that cannot be used is said, and is none: changes are then not
/// told, and all else is measured as ever.
pub(crate) fn accepted(state: &Path, probe: &str) -> Option<Accepted> {
    let path = path(state, probe);
    let refused = |error: &dyn std::fmt::Display| {
        tracing::warn!(
            file = %path.display(),
            "the accepted state of the room's sound cannot be used: {error}; `bellwether baseline echo` makes it anew"
        );
    };
    let text = match files::read_text(&path, MOST_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            refused(&error);
            return None;
        }
    };
    match serde_json::from_str::<Accepted>(&text) {
        Ok(accepted) if accepted.is_plausible() => Some(accepted),
        Ok(_) => {
            refused(&"found numbers that no room has");
            None
        }
        Err(error) => {
            refused(&error);
            None
        }
    }
}

/// Keeps a state, whole or not at all. Everybody who may enter the state folder may read it: it is numbers and
/// the names of two devices, and root may have accepted it for the daemon.
pub(crate) fn accept(state: &Path, probe: &str, accepted: &Accepted) -> io::Result<PathBuf> {
    let path = path(state, probe);
    let mut bytes = serde_json::to_vec_pretty(accepted)?;
    bytes.push(b'\n');
    files::replace(&path, &bytes, Readers::All)?;
    Ok(path)
}

/// Each use of the microphone is said.
pub(crate) fn listened(probe: &str, seconds: f64) {
    tracing::info!(probe, seconds, "the microphone of the room was listened to");
}

/// Says which probes do not run by themselves, and what to do about it.
pub(crate) fn say_what_is_off(config: &Config) {
    if config.timetable.configured() {
        return;
    }
    for (probe, _) in config.probes.iter().filter(|(_, entry)| entry.config.is_heard()) {
        tracing::info!(
            probe,
            "is heard in the room, and does not run by itself until a [timetable] says when the room is free; \
             `bellwether inspect {probe}` runs it by hand, `enabled = false` in [probe.{probe}] does without"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{fs, os::unix::fs::PermissionsExt};

    use bellwether_probes::echo::{DeviceMark, Form};
    use chrono::DateTime;

    use super::*;

    fn state() -> Accepted {
        let mark = |name: &str| DeviceMark { name: name.to_owned(), volume_decibels: Some(-3.5) };
        Accepted {
            at: DateTime::UNIX_EPOCH,
            form: Form::Active,
            loudspeaker: mark("扬声器"),
            microphone: mark("alsa_input.usb"),
            delay_seconds: 0.04,
            return_loss_decibels: 12.25,
            noise_floor_decibels: -62.5,
        }
    }

    #[test]
    fn a_state_is_kept_and_read_again_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(accepted(folder.path(), "echo"), None);
        let path = accept(folder.path(), "echo", &state()).unwrap();
        assert_eq!(accepted(folder.path(), "echo"), Some(state()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let louder = Accepted { return_loss_decibels: 6.0, ..state() };
        accept(folder.path(), "echo", &louder).unwrap();
        assert_eq!(accepted(folder.path(), "echo"), Some(louder));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(accepted(folder.path(), "other"), None);
    }

    #[test]
    fn a_damaged_state_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = accept(folder.path(), "echo", &state()).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replacen("\"at\"", "\"spectrum\": [], \"at\"", 1),
            good.replace("12.25", "1225"),
            good.replace("12.25", "\"12 dB\""),
            " ".repeat(20_000) + &good,
        ] {
            fs::write(&path, &bad).unwrap();
            assert_eq!(accepted(folder.path(), "echo"), None, "{bad}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(accepted(folder.path(), "echo"), Some(state()));
    }
}
