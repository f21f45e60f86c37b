//! Channel `folder`: bookings as files, for people and for programs that watch a folder.
//!
//! ```text
//! PATH/KEY/booking.json    the newest state of the booking
//! PATH/KEY/booking.txt     the same for people
//! PATH/KEY/booking.ics     the wanted appointment
//! PATH/KEY/orders/N.json   every order as it was planned
//! PATH/KEY/reply.json      what the vendor, or whoever speaks for it, answers; never written by us
//! ```
//! An answer is `{"standing": "confirmed", "window": {"start": …, "end": …}, "note": "…"}`; window and note may
//! be left out, and what `standing` may be is [`Standing`].
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

use bellwether_probes::{Mistake, secret::read_bounded};
use serde::{Deserialize, Serialize};

use super::{Finding, Listed, Outcome, Remote, Standing};
use crate::booking::{Booking, Order, Window, ical, text::Texts};

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
pub(super) fn body(booking: &Booking, texts: &Texts) -> String {
    let text = texts.write(booking);
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
        Err(_) => Outcome::ambiguous(format!("{shown} did not take the files within {} s", DEADLINE.as_secs())),
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
        Ok(Written::Yes) => Outcome::done(Some(folder.display().to_string())),
        Ok(Written::OtherBytes) => Outcome::Rejected {
            detail: format!("{} already holds order {} with other bytes", folder.display(), order.op_seq),
        },
        Err(error) => {
            let detail = format!("cannot write below {}: {error}{}", folder.display(), remedy(error.kind()));
            Outcome::not_delivered(detail)
        }
    }
}

/// What a person can do about it.
fn remedy(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::PermissionDenied => ": give it to the user that runs bellwether",
        // The unit keeps all but its own folders from being written.
        io::ErrorKind::ReadOnlyFilesystem => ": the service may write there with ReadWritePaths= in a drop-in",
        _ => "",
    }
}

/// The answer to a booking.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    standing: Standing,
    #[serde(default)]
    window: Option<Window>,
    #[serde(default)]
    note: Option<String>,
}

/// Runs what touches the disk, and does not wait for it longer than [`DEADLINE`].
async fn within<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    match tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("reading was interrupted".to_owned()),
        Err(_) => Err(format!("nothing was read within {} s", DEADLINE.as_secs())),
    }
}

/// Reads the answer to a booking; without one it is requested.
pub(super) async fn read(root: &Path, booking_key: &str) -> Result<Remote, String> {
    let folder = root.join(booking_key);
    within(move || {
        let remote_id = Some(folder.display().to_string());
        let path = folder.join("reply.json");
        if !folder.is_dir() {
            return Ok(Remote { remote_id, standing: Standing::Missing, window: None, note: None });
        }
        if !path.exists() {
            return Ok(Remote { remote_id, standing: Standing::Requested, window: None, note: None });
        }
        let Reply { standing, window, note } =
            serde_json::from_slice(&read_bounded(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Remote { remote_id, standing, window, note })
    })
    .await
}

/// The bookings of a room that are not over, by their newest files.
pub(super) async fn list(root: &Path, room: &str) -> Result<Vec<Listed>, String> {
    let (root, room) = (root.to_owned(), room.to_owned());
    within(move || {
        let entries = match fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("cannot read {}: {error}", root.display())),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let folder = entry.map_err(|error| format!("cannot read {}: {error}", root.display()))?.path();
            // What is no booking of ours is none of our business.
            let Ok(bytes) = read_bounded(&folder.join("booking.json")) else { continue };
            let Ok(booking) = serde_json::from_slice::<Booking>(&bytes) else { continue };
            if booking.room.id == room && !booking.state.ended() {
                let remote_id = Some(folder.display().to_string());
                let remote = Remote { remote_id, standing: Standing::Requested, window: None, note: None };
                listed.push(Listed { key: booking.key.clone(), remote, booking: Some(booking) });
            }
        }
        Ok(listed)
    })
    .await
}

/// Whether files can be written there, and read again. Leaves nothing behind: whoever asks may be another user than the
/// daemon, whose folder it is to be.
pub(super) async fn check(root: &Path) -> Vec<Finding> {
    let root = root.to_owned();
    let what = format!("{} takes files and gives them back", root.display());
    let tried = within(move || {
        let place = root.join(".check");
        let is_there = root.exists();
        let tried = make_folder(&root).and_then(|()| {
            let mut staged = Staged::default();
            staged.write(place.clone(), "bellwether\n")?;
            staged.publish()?;
            let same = fs::read(&place)? == b"bellwether\n";
            fs::remove_file(&place)?;
            if !is_there {
                fs::remove_dir(&root)?;
            }
            if same { Ok(()) } else { Err(io::Error::other("it gives back something else")) }
        });
        tried.map_err(|error| error.to_string())
    });
    vec![match tried.await {
        Ok(()) => Finding::fine(what),
        Err(why) => Finding::wrong(what, why),
    }]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        booking::{Operation, State, examples, op_key, text},
        site::Language,
    };

    fn order(op_seq: u32, change: impl FnOnce(&mut Booking)) -> Order {
        let mut booking = Booking { op_seq, ..examples::full() };
        change(&mut booking);
        Order {
            op_key: op_key(&booking.key, op_seq),
            booking_key: booking.key.clone(),
            op_seq,
            channel: "desk".into(),
            operation: Operation::Open,
            created_at: booking.updated_at,
            body: body(&booking, &Language::Chinese.into()),
        }
    }

    /// All files below a folder with their bytes.
    fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.clone(), fs::read(&path).expect("a file")));
                }
            }
        }
        found.sort();
        found
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn an_order_becomes_files_for_programs_and_people() {
        let root = tempfile::tempdir().expect("a folder");
        let below = root.path().join("state/bookings");
        let order = order(1, |_| {});
        let folder = below.join(&order.booking_key);
        let done = Outcome::done(Some(folder.display().to_string()));
        assert_eq!(send(&below, &order).await, done);

        let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
        assert_eq!(serde_json::from_str::<Booking>(&read("booking.json")).expect("a booking"), examples::full());
        assert_eq!(read("booking.txt"), text::write(&examples::full(), Language::Chinese).letter());
        assert!(read("booking.ics").starts_with("BEGIN:VCALENDAR\r\n"));
        assert_eq!(read("orders/1.json"), order.body);
        assert_eq!(files(root.path()).len(), 4, "nothing else is left behind");
        for (path, _) in files(root.path()) {
            assert_eq!(mode(&path), 0o640, "{path:?}");
        }
        assert_eq!(mode(&folder) & 0o007, 0);

        let before = files(root.path());
        assert_eq!(send(&below, &order).await, done, "a repeat");
        assert_eq!(files(root.path()), before);
    }

    #[tokio::test]
    async fn the_newest_order_decides_what_is_shown() {
        let root = tempfile::tempdir().expect("a folder");
        let first = order(2, |_| {});
        let second = order(10, |booking| booking.state = State::Cancelled);
        let shown =
            |name: &str| fs::read_to_string(root.path().join(&first.booking_key).join(name)).expect("it was written");
        for order in [&first, &second] {
            assert!(matches!(send(root.path(), order).await, Outcome::Done { .. }));
        }
        assert!(shown("booking.json").contains("cancelled") && shown("booking.ics").contains("STATUS:CANCELLED"));
        // An old order that comes late, and numbers are compared as numbers.
        let late = order(9, |_| {});
        assert!(matches!(send(root.path(), &late).await, Outcome::Done { .. }));
        assert!(shown("booking.json").contains("cancelled"));
        assert_eq!(shown("orders/9.json"), late.body);
    }

    #[tokio::test]
    async fn other_bytes_under_the_same_number_are_refused() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(matches!(send(root.path(), &order(1, |_| {})).await, Outcome::Done { .. }));
        let before = files(root.path());
        let other = order(1, |booking| booking.epoch = 9);
        assert!(matches!(send(root.path(), &other).await, Outcome::Rejected { .. }));
        assert_eq!(files(root.path()), before);
    }

    #[tokio::test]
    async fn what_cannot_be_written_changes_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let first = order(1, |_| {});
        assert!(matches!(send(root.path(), &first).await, Outcome::Done { .. }));
        let before = files(root.path());

        // The last of the files cannot be staged.
        let obstacle = root.path().join(&first.booking_key).join("orders/.2.json.part");
        fs::create_dir(&obstacle).expect("a folder in the way");
        let second = order(2, |booking| booking.state = State::Cancelled);
        let Outcome::NotDelivered { detail, .. } = send(root.path(), &second).await else {
            unreachable!("it cannot be written")
        };
        assert_eq!(detail.lines().count(), 1);
        assert_eq!(files(root.path()), before);

        fs::remove_dir(&obstacle).expect("out of the way");
        assert!(matches!(send(root.path(), &second).await, Outcome::Done { .. }), "and it works afterwards");

        let file = root.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(matches!(send(&file.join("below"), &first).await, Outcome::NotDelivered { .. }));
    }

    #[tokio::test]
    async fn remnants_of_a_crash_are_overwritten() {
        let root = tempfile::tempdir().expect("a folder");
        let first = order(1, |_| {});
        let folder = root.path().join(&first.booking_key);
        fs::create_dir_all(folder.join("orders")).expect("a folder");
        fs::write(folder.join(".booking.json.part"), "half of a longer file".repeat(10_000)).expect("a remnant");
        assert!(matches!(send(root.path(), &first).await, Outcome::Done { .. }));
        assert_eq!(files(root.path()).len(), 4);
        let json = fs::read_to_string(folder.join("booking.json")).expect("it was written");
        assert_eq!(serde_json::from_str::<Booking>(&json).expect("whole"), examples::full());
    }

    #[tokio::test]
    async fn a_key_never_leads_out_of_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        for key in ["", "..", "../x", "/etc", "a/b", "A"] {
            let order = Order { booking_key: key.into(), ..order(1, |_| {}) };
            assert!(matches!(send(root.path(), &order).await, Outcome::Rejected { .. }), "{key:?}");
        }
        let order = Order { body: "{}".into(), ..order(1, |_| {}) };
        assert!(matches!(send(root.path(), &order).await, Outcome::Rejected { .. }));
        assert_eq!(files(root.path()), []);
    }

    #[tokio::test]
    async fn an_answer_is_read_back_and_what_is_open_is_listed() {
        let root = tempfile::tempdir().expect("a folder");
        let order = order(1, |_| {});
        let folder = root.path().join(&order.booking_key);
        let standing = async || read(root.path(), &order.booking_key).await.map(|remote| remote.standing);
        assert_eq!(list(root.path(), "j3-302").await, Ok(vec![]));
        assert_eq!(standing().await, Ok(Standing::Missing));
        assert!(matches!(send(root.path(), &order).await, Outcome::Done { .. }));
        assert_eq!(standing().await, Ok(Standing::Requested));

        let answer =
            r#"{"standing":"confirmed","window":{"start":"2026-11-27T06:00:00Z","end":"2026-11-27T07:00:00Z"}}"#;
        fs::write(folder.join("reply.json"), answer).expect("an answer");
        let remote = read(root.path(), &order.booking_key).await.expect("an answer");
        assert_eq!((remote.standing, remote.window.is_some(), remote.note), (Standing::Confirmed, true, None));
        for bad in ["", "{}", r#"{"standing":"perhaps"}"#, r#"{"standing":"confirmed","more":1}"#] {
            fs::write(folder.join("reply.json"), bad).expect("an answer");
            let error = standing().await.expect_err(bad);
            assert!(error.contains("reply.json"), "{error}");
        }

        let listed = list(root.path(), "j3-302").await.expect("a list");
        let known = listed.iter().map(|one| (one.key.clone(), one.booking.clone())).collect::<Vec<_>>();
        assert_eq!(known, [(order.booking_key.clone(), Some(examples::full()))]);
        assert_eq!(list(root.path(), "another").await, Ok(vec![]));
        let over = self::order(2, |booking| booking.state = State::Cancelled);
        assert!(matches!(send(root.path(), &over).await, Outcome::Done { .. }));
        assert_eq!(list(root.path(), "j3-302").await, Ok(vec![]));
        assert_eq!(check(root.path()).await[0].wrong, None);
        assert!(check(Path::new("/proc/nowhere")).await[0].wrong.is_some());
        assert_eq!(check(&root.path().join("bookings")).await[0].wrong, None);
        assert!(!root.path().join("bookings").exists());
    }

    #[test]
    fn a_path_is_absolute_and_no_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let keys = |path: Option<PathBuf>| Config { path }.check().len();
        assert_eq!(keys(None), 0);
        assert_eq!(keys(Some("/nowhere/yet".into())), 0);
        assert_eq!(keys(Some("bookings".into())), 1);
        assert_eq!(keys(Some(file.path().to_owned())), 1);
    }
}
