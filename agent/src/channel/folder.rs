//! Channel `folder`: bookings as files, for people and for programs that watch a folder.
//!
//! ```text
//! PATH/KEY/booking.json    the newest state of the booking
//! PATH/KEY/booking.txt     the same for people
//! PATH/KEY/booking.ics     the wanted appointment
//! PATH/KEY/orders/N.json   every order as it was planned
//! ```
//!
//! All files of an order are staged and synced before the first is renamed, and the order's own file
//! comes last: it marks the order as done. A full disk therefore changes nothing.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use bellwether_probes::Mistake;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    booking::{Booking, Order, ical, text},
    site::Language,
};

/// A network file system that hangs must not hold up the other channels.
const DEADLINE: Duration = Duration::from_secs(30);

/// `[channel.NAME]` with `kind = "folder"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder; without it `bookings` below the state.
    pub path: Option<PathBuf>,
}

impl Config {
    /// Mistakes that the shape of the table does not show.
    pub fn check(&self) -> Vec<Mistake> {
        match &self.path {
            Some(path) if !path.is_absolute() => {
                vec![Mistake::new("path", format!("found {path:?}, expected an absolute path"))]
            }
            Some(path) if path.exists() && !path.is_dir() => {
                vec![Mistake::new("path", format!("found {path:?}, which is no folder"))]
            }
            _ => Vec::new(),
        }
    }
}

/// An order's bytes: one document that holds all files.
#[derive(Serialize)]
struct Body<'a> {
    booking: &'a Booking,
    text: String,
    ics: Option<String>,
}

/// The same, read back.
#[derive(Deserialize)]
struct Stored {
    booking: serde_json::Value,
    text: String,
    ics: Option<String>,
}

/// The bytes of an order.
pub(super) fn body(booking: &Booking, language: Language) -> String {
    let text = text::write(booking, language);
    let ics = ical::event(booking, &text, booking.updated_at);
    let body = Body { booking, text: text.letter(), ics };
    serde_json::to_string(&body).expect("a booking has string keys and no failing serializer")
}

/// Writes the files of an order.
pub(super) async fn send(root: &Path, order: &Order) -> Outcome {
    let root = root.to_owned();
    let order = order.clone();
    let shown = root.display().to_string();
    let write = tokio::task::spawn_blocking(move || write_order(&root, &order));
    match tokio::time::timeout(DEADLINE, write).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::not_delivered(format!("writing to {shown} was interrupted")),
        Err(_) => Outcome::Ambiguous {
            detail: format!("{shown} did not take the files within {} s", DEADLINE.as_secs()),
            retry_after: None,
        },
    }
}

fn write_order(root: &Path, order: &Order) -> Outcome {
    let stored: Stored = match serde_json::from_str(&order.body) {
        Ok(stored) => stored,
        Err(_) => return Outcome::Rejected { detail: "the order's body is not that of a folder".to_owned() },
    };
    // The key becomes a path: it comes from a database that somebody may have edited.
    if order.booking_key.is_empty()
        || !order.booking_key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Outcome::Rejected { detail: "the booking's key is no name for a folder".to_owned() };
    }
    let folder = root.join(&order.booking_key);
    match write_files(&folder, order, &stored) {
        Ok(Written::Yes) => Outcome::Done { remote_id: Some(folder.display().to_string()) },
        Ok(Written::OtherBytes) => Outcome::Rejected {
            detail: format!("{} already holds order {} with other bytes", folder.display(), order.op_seq),
        },
        Err(error) => Outcome::not_delivered(format!("cannot write below {}: {error}", folder.display())),
    }
}

enum Written {
    Yes,
    OtherBytes,
}

fn write_files(folder: &Path, order: &Order, stored: &Stored) -> io::Result<Written> {
    let orders = folder.join("orders");
    let record = orders.join(format!("{}.json", order.op_seq));
    match fs::read(&record) {
        Ok(bytes) if bytes == order.body.as_bytes() => return Ok(Written::Yes),
        Ok(_) => return Ok(Written::OtherBytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    make_folder(&orders)?;
    let mut staged = Staged::default();
    if newest(&orders)?.is_none_or(|newest| newest < order.op_seq) {
        let pretty = serde_json::to_string_pretty(&stored.booking)? + "\n";
        staged.write(folder.join("booking.json"), &pretty)?;
        staged.write(folder.join("booking.txt"), &stored.text)?;
        if let Some(ics) = &stored.ics {
            staged.write(folder.join("booking.ics"), ics)?;
        }
    }
    staged.write(record, &order.body)?;
    staged.publish()?;
    sync_folder(folder)?;
    sync_folder(&orders)?;
    Ok(Written::Yes)
}

/// Number of the newest order that is recorded.
fn newest(orders: &Path) -> io::Result<Option<u32>> {
    let mut newest = None;
    for entry in fs::read_dir(orders)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if path.extension().is_some_and(|extension| extension == "json") {
            newest = newest.max(number);
        }
    }
    Ok(newest)
}

/// Files that are written beside their place and not yet in it.
#[derive(Default)]
struct Staged(Vec<(PathBuf, PathBuf)>);

impl Staged {
    fn write(&mut self, place: PathBuf, text: &str) -> io::Result<()> {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = place.with_file_name(format!(".{name}.part"));
        self.0.push((beside.clone(), place));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&beside)?;
        // Whatever the umask: the group of the folder may read, nobody else.
        file.set_permissions(Permissions::from_mode(0o640))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn publish(&mut self) -> io::Result<()> {
        for (beside, place) in self.0.drain(..) {
            fs::rename(beside, place)?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (beside, _) in &self.0 {
            // Best effort: a remnant is overwritten by the next attempt.
            let _ = fs::remove_file(beside);
        }
    }
}

/// Makes a folder and those above it, and makes their entries durable.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(0o750).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
