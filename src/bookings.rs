//! `bookings …`: what the ledger knows, read beside a running daemon or without one; and what people ask of the
//! daemon.

use std::path::{Path, PathBuf};

use bellwether_agent::{
    Booking,
    booking::{Kind, Severity, life::By, text},
    site::Language,
    store::{OrderRecord, Store, StoreError},
};
use serde_json::json;

use crate::{
    cli,
    control::{self, ControlError},
    daemon, table,
};

mod wish;

pub use wish::{Asked, Wish, Word};

/// Why no booking is shown.
#[derive(Debug, thiserror::Error)]
pub enum BookingsError {
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Store(#[from] StoreError),
    /// No booking has this key.
    #[error("found no booking whose key begins with {0:?}; `bellwether bookings list` shows all")]
    Unknown(String),
    /// The daemon gives no answer, or refuses.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no such word.
    #[error("found {found:?}, expected one of {expected}")]
    Word {
        /// The word.
        found: String,
        /// What would be right.
        expected: String,
    },
}

impl BookingsError {
    /// The exit code, as sysexits.h names them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(_) | Self::Unknown(_) => 1,
            Self::Control(error) => error.exit_code(),
            Self::Word { .. } => 64, // EX_USAGE
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// The ledger cannot be read, or the daemon does not do it.
pub async fn run(
    state: &Path,
    sockets: &[PathBuf],
    language: Language,
    command: cli::Bookings,
) -> Result<String, BookingsError> {
    let asked = match command {
        cli::Bookings::List { json } => return list(state, language, json).await,
        cli::Bookings::Show { key, json } => return show(state, &key, language, json).await,
        command => asked(command)?,
    };
    let answer = control::post(sockets, "/bookings", &json!(asked)).await?;
    let booking: Booking =
        serde_json::from_value(answer["booking"].clone()).map_err(|error| ControlError::Broken(error.into()))?;
    let orders: Vec<String> =
        answer["orders"].as_array().into_iter().flatten().filter_map(|one| one.as_str()).map(str::to_owned).collect();
    let would = if asked.dry_run { "it would be" } else { "it is" };
    let told = if orders.is_empty() { "nobody is told".to_owned() } else { format!("told: {}", orders.join(", ")) };
    let shown = if asked.dry_run { text::write(&booking, language).letter() } else { String::new() };
    Ok(format!("{}: {would} {}; {told}\n{shown}", booking.key, booking.state.name()))
}

/// What the command asks of the daemon.
fn asked(command: cli::Bookings) -> Result<Asked, BookingsError> {
    let act = |key: String, act: Word| (key, act);
    let said = |said: cli::Said, word| {
        let (key, act) = act(said.key, word);
        let text = said.text.join(" ");
        (Wish::Act { key, act, at: None, minutes: None, text, number: None, vendor: said.vendor }, said.dry_run)
    };
    let timed = |timed: cli::Timed, act| {
        let cli::Timed { key, at, minutes, vendor, dry_run } = timed;
        (Wish::Act { key, act, at, minutes, text: String::new(), number: None, vendor }, dry_run)
    };
    let (wish, dry_run) = match command {
        cli::Bookings::Open { what, text, severity, dry_run } => {
            let kinds = [Kind::Routine, Kind::Security, Kind::Unsure];
            let wish = match kinds.into_iter().find(|kind| kind.name() == what) {
                Some(kind) => Wish::Open { kind, severity: severe(&severity)?, text: text.join(" ") },
                None if what.starts_with("bw") => Wish::Act {
                    key: what,
                    act: Word::Release,
                    at: None,
                    minutes: None,
                    text: String::new(),
                    number: None,
                    vendor: false,
                },
                None => {
                    let expected = format!("the key of a booking, {}", kinds.map(Kind::name).join(", "));
                    return Err(BookingsError::Word { found: what, expected });
                }
            };
            (wish, dry_run)
        }
        cli::Bookings::Confirm(one) => timed(one, Word::Confirm),
        cli::Bookings::Move(one) => timed(one, Word::Move),
        cli::Bookings::Cancel(one) => said(one, Word::Cancel),
        cli::Bookings::Start(one) => said(one, Word::Start),
        cli::Bookings::Report(one) => said(one, Word::Report),
        cli::Bookings::Accept(one) => said(one, Word::Accept),
        cli::Bookings::Rework(one) => said(one, Word::Rework),
        cli::Bookings::Note(one) => said(one, Word::Note),
        cli::Bookings::Rate { key, stars, text } => {
            let text = text.join(" ");
            let number = Some(stars);
            (Wish::Act { key, act: Word::Rate, at: None, minutes: None, text, number, vendor: false }, false)
        }
        cli::Bookings::Check { key, point, vendor } => {
            let (text, number) = (String::new(), Some(point));
            (Wish::Act { key, act: Word::Check, at: None, minutes: None, text, number, vendor }, false)
        }
        cli::Bookings::List { .. } | cli::Bookings::Show { .. } => {
            return Err(BookingsError::Word { found: "list".to_owned(), expected: "a change".to_owned() });
        }
    };
    Ok(Asked { wish, dry_run })
}

fn severe(word: &str) -> Result<Severity, BookingsError> {
    Severity::ALL.into_iter().find(|severity| severity.name() == word).ok_or_else(|| BookingsError::Word {
        found: word.to_owned(),
        expected: Severity::ALL.map(Severity::name).join(", "),
    })
}

/// All bookings, newest first.
pub async fn list(state: &Path, language: Language, as_json: bool) -> Result<String, BookingsError> {
    let bookings = all(state).await?;
    if as_json {
        return Ok(format!("{:#}\n", json!(bookings)));
    }
    if bookings.is_empty() {
        return Ok("no bookings\n".to_owned());
    }
    let mut rows = vec![["KEY", "OPENED", "STATE", "SEVERITY", "WHAT"].map(str::to_owned).to_vec()];
    rows.extend(bookings.iter().map(|booking| {
        let opened = booking.opened_at.format("%Y-%m-%d %H:%M UTC").to_string();
        let (state, severity) = (booking.state.name().to_owned(), booking.severity.name().to_owned());
        vec![booking.key.clone(), opened, state, severity, text::write(booking, language).subject]
    }));
    Ok(table::lay_out(&rows))
}

/// One booking with its orders.
pub async fn show(state: &Path, key: &str, language: Language, as_json: bool) -> Result<String, BookingsError> {
    let store = open(state).await?;
    let booking = store.bookings().await?.into_iter().find(|booking| booking.key.starts_with(key));
    let booking = booking.ok_or_else(|| BookingsError::Unknown(key.to_owned()))?;
    if as_json {
        return Ok(format!("{:#}\n", json!(booking)));
    }
    let mut shown = text::write(&booking, language).letter();
    let orders = store.orders_of(&booking.key).await?;
    let mut rows = vec![["ORDER", "CHANNEL", "ASKS", "STATE", "ATTEMPTS", ""].map(str::to_owned).to_vec()];
    rows.extend(orders.into_iter().map(|OrderRecord { order, state, attempt, detail, .. }| {
        let (operation, attempts) = (order.operation.name().to_owned(), attempt.to_string());
        vec![order.op_key, order.channel, operation, state.name().to_owned(), attempts, detail.unwrap_or_default()]
    }));
    shown.push('\n');
    shown.push_str(&table::lay_out(&rows));
    shown.push('\n');
    let trail = store.audit(Some(&booking.key)).await?;
    let mut rows = vec![["WHEN", "WHO", "WHAT", "STATE", ""].map(str::to_owned).to_vec()];
    rows.extend(trail.entries.into_iter().map(|entry| {
        let who = match entry.by {
            By::Bellwether => "bellwether".to_owned(),
            By::School(user) => user.map_or("school".to_owned(), |user| format!("school ({user})")),
            By::Vendor(channel) => format!("vendor ({channel})"),
        };
        let when = entry.at.format("%Y-%m-%d %H:%M UTC").to_string();
        vec![when, who, entry.act, entry.to.name().to_owned(), entry.detail.replace('\n', " ")]
    }));
    shown.push_str(&table::lay_out(&rows));
    if let Some(broken) = trail.broken {
        shown.push_str(&format!(
            "\nthe audit trail was changed: entry {} does not follow from the one before\n",
            broken.seq
        ));
    }
    Ok(shown)
}

async fn open(state: &Path) -> Result<Store, StoreError> {
    Store::read_only(&daemon::ledger(state)).await
}

async fn all(state: &Path) -> Result<Vec<Booking>, StoreError> {
    let mut bookings = open(state).await?.bookings().await?;
    bookings.sort_by_key(|booking| std::cmp::Reverse(booking.opened_at));
    Ok(bookings)
}
