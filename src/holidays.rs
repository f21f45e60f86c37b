//! Days off from where they stand: in this build, imported into the state folder, and in the school's own
//! iCalendar files; and `holidays import`.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use bellwether_agent::{
    calendar::{
        config::Dates,
        holidays::{self, Change, Holidays, ImportError, MAX_BYTES},
        ical,
    },
    site::Language,
};
use chrono::NaiveDate;

use crate::{
    calendar::words,
    config::Config,
    files::{self, Readers},
    timetable::{self, Note},
};

/// More files than this are not looked at.
const MAX_FILES: usize = 200;

/// Days off of the school, and of the vendor.
pub(crate) struct Known {
    pub(crate) school: Holidays,
    pub(crate) vendor: Holidays,
}

/// Reads what is known of the dates. What cannot be read is said in `notes`, and the rest is used.
pub(crate) fn read(config: &Config, state: &Path, dates: &Range<NaiveDate>, notes: &mut Vec<Note>) -> Known {
    let imported = imported(state, notes);
    let country = config.holidays.country(config.site.locale.timezone);
    let mut load = |country: &str| {
        let (holidays, mistakes) = Holidays::load(country, &imported);
        let folder = folder(state);
        notes.extend(mistakes.into_iter().map(|mistake| Note {
            source: folder.join(&mistake.key).display().to_string(),
            line: None,
            message: mistake.message,
        }));
        holidays
    };
    let school = load(country);
    let own = config.site.vendor.country(country);
    let vendor = if own == country { school.clone() } else { load(own) };
    let further = further(config, dates, notes);
    Known { school: school.with_days_off(further), vendor }
}

fn folder(state: &Path) -> PathBuf {
    state.join("holidays")
}

/// Names and texts of the files that were imported, by name.
fn imported(state: &Path, notes: &mut Vec<Note>) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder(state)).into_iter().flatten().map_while(Result::ok).take(MAX_FILES);
    let mut files = BTreeMap::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        match files::read_text(&entry.path(), MAX_BYTES as u64) {
            Ok(text) => drop(files.insert(name, text)),
            Err(error) => notes.push(Note {
                source: entry.path().display().to_string(),
                line: None,
                message: format!("cannot be read: {error}"),
            }),
        }
    }
    files
}

/// The school's further days off.
fn further(
    config: &Config,
    dates: &Range<NaiveDate>,
    notes: &mut Vec<Note>,
) -> BTreeMap<NaiveDate, std::sync::Arc<str>> {
    let zone = config.site.locale.timezone;
    let within = Dates { from: dates.start, to: dates.end.pred_opt().unwrap_or(dates.start) };
    let mut days = BTreeMap::new();
    for file in &config.holidays.files {
        let source = || file.display().to_string();
        let text = match files::read_bytes(file, ical::MAX_BYTES as u64) {
            Ok(text) => text,
            Err(error) => {
                notes.push(Note { source: source(), line: None, message: format!("cannot be read: {error}") });
                continue;
            }
        };
        match ical::expand(&text, zone, timetable::span(zone, dates)) {
            Ok(expanded) => {
                days.extend(holidays::touched(&expanded.events, zone, within));
                let note = |note: ical::Note| Note { source: source(), line: Some(note.line), message: note.message };
                notes.extend(expanded.notes.into_iter().map(note));
            }
            Err(error) => notes.push(Note { source: source(), line: Some(error.line), message: error.message }),
        }
    }
    days
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportCommandError {
    /// No country is named.
    #[error("found no country, expected --country, or [holidays] country in the config")]
    NoCountry,
    /// It is no country.
    #[error("--country: found {0:?}, expected a country of two letters such as \"CN\"")]
    Country(String),
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not used.
    #[error("{} is not used, and nothing was changed", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImportError,
    },
    /// It cannot be kept.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Takes a file of days off into the state folder, and says what that changes.
///
/// # Errors
/// What is wrong with the file; nothing is changed then.
pub fn import(
    config: &Config,
    state: &Path,
    path: &Path,
    country: Option<String>,
) -> Result<String, ImportCommandError> {
    let zone = config.site.locale.timezone;
    let country = country.unwrap_or_else(|| config.holidays.country(zone).to_owned());
    if country.is_empty() {
        return Err(ImportCommandError::NoCountry);
    }
    if !holidays::is_country(&country) {
        return Err(ImportCommandError::Country(country));
    }
    let text = files::read_text(path, MAX_BYTES as u64)
        .map_err(|source| ImportCommandError::Read { path: path.to_owned(), source })?;
    let import = holidays::parse(&text, &country, zone)
        .map_err(|source| ImportCommandError::File { path: path.to_owned(), source })?;
    let (known, _) = Holidays::load(&country, imported(state, &mut Vec::new()));
    let changes = import.difference(&known);
    for year in &import.years {
        let path = folder(state).join(holidays::file_name(&country, year.year));
        let text = holidays::to_json(&country, std::slice::from_ref(year));
        files::replace(&path, text.as_bytes(), Readers::All)
            .map_err(|source| ImportCommandError::Write { path, source })?;
    }
    let language = config.site.locale.language;
    let mut out = String::new();
    for year in &import.years {
        out.push_str(&match language {
            Language::English => format!(
                "{country} {}: {} days off, {} make-up days, from {} to {}\n",
                year.year,
                year.off(),
                year.make_up(),
                year.covered.from,
                year.covered.to
            ),
            Language::Chinese => format!(
                "{country} {} 年：放假 {} 天，调休上班 {} 天，覆盖 {} 至 {}\n",
                year.year,
                year.off(),
                year.make_up(),
                year.covered.from,
                year.covered.to
            ),
        });
    }
    for Change { date, before, after } in &changes {
        let (before, after) = (words::national(before, language), words::national(after, language));
        out.push_str(&format!("  {}  {before} → {after}\n", words::date(*date, language)));
    }
    for note in &import.notes {
        out.push_str(&format!("! {}:{}: {}\n", path.display(), note.line, note.message));
    }
    Ok(out)
}
