//! The control socket: what people ask of the running daemon, as HTTP and JSON over a socket that the
//! rights of its file guard.
//!
//! ```text
//! command → client → socket → server → Event::Asked → the loop → Reply → server → client → text
//! ```
//!
//! The daemon serves it in `$RUNTIME_DIRECTORY`, or else beside its state; commands look there.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::bookings::Asked;

mod client;
mod server;

pub use client::{delete, get, post};
pub use server::{ServeError, Server};

/// Name of the socket in its folder.
const NAME: &str = "control.sock";
/// Where the socket of the system's own service lies: systemd/bellwether.service says so.
const OF_THE_SERVICE: &str = "/run/bellwether/control.sock";
/// The longest body of a request, in bytes.
const MOST_ASKED: usize = 4 << 10;
/// The longest body of an answer, in bytes.
const MOST_ANSWERED: usize = 256 << 10;
/// How long the loop may take for an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);
/// How long a connection may last, at its server; beyond the loop's own time.
const LONGEST_CONNECTION: Duration = Duration::from_secs(12);
/// How long a command waits; beyond the server's time.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Where the daemon takes commands, and who may give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The file.
    pub path: PathBuf,
    /// Its rights.
    pub mode: u32,
}

/// The daemon's own socket: open to the group in a service's folder, which has a group of its own, and to
/// nobody else beside the state.
pub fn socket(variable: impl Fn(&str) -> Option<PathBuf>, state: &Path) -> Socket {
    match of_service(variable) {
        Some(path) => Socket { path, mode: 0o660 },
        None => Socket { path: state.join(NAME), mode: 0o600 },
    }
}

/// Where a command looks for the daemon, in this order. A state that was `named` is that of one daemon
/// only: no other is to be spoken to.
pub fn sockets(variable: impl Fn(&str) -> Option<PathBuf>, state: &Path, named: bool) -> Vec<PathBuf> {
    if let Some(path) = of_service(variable) {
        return vec![path];
    }
    let beside = std::iter::once(state.join(NAME));
    beside.chain((!named).then(|| OF_THE_SERVICE.into())).collect()
}

fn of_service(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let folders = variable("RUNTIME_DIRECTORY")?;
    // systemd names all folders of a service here, with colons between.
    let first = folders.to_str()?.split(':').next().filter(|first| !first.is_empty())?;
    Some(Path::new(first).join(NAME))
}

/// What somebody asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whether quiet was asked for.
    ShowQuiet,
    /// Quiet until then, or none at all.
    Quiet(Option<DateTime<Utc>>),
    /// Something is to happen to a booking.
    Book(Box<Asked>),
}

/// The answer as JSON, or why there is none, in one line.
pub type Reply = Result<Value, String>;

/// A question on its way to the loop.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// The user who asks, as the kernel knows it.
    pub user: Option<u32>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens at any of the sockets.
    #[error("no daemon runs here: nobody listens at {}; start it with `bellwether`, or `systemctl start bellwether`", list(.0))]
    NoDaemon(Vec<PathBuf>),
    /// The socket is not open to this user.
    #[error("this user may not command the daemon: {}: its group may, and so may root", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon does not do it.
    #[error("the daemon refuses: {0}")]
    Refused(String),
    /// It is busy, or about to end.
    #[error("the daemon cannot answer now: {0}")]
    NotNow(String),
    /// It did not answer in time.
    #[error("the daemon at {} did not answer within {} s", .0.display(), LONGEST_WAIT.as_secs())]
    Late(PathBuf),
    /// What answers is no daemon of this version.
    #[error("the answer of the daemon is not understood; is it of another version?")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControlError {
    /// The exit code, as sysexits.h names them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoDaemon(_) => 69,               // EX_UNAVAILABLE
            Self::NotPermitted { .. } => 77,       // EX_NOPERM
            Self::Refused(_) => 64,                // EX_USAGE
            Self::Late(_) | Self::NotNow(_) => 75, // EX_TEMPFAIL
            Self::Broken(_) => 76,                 // EX_PROTOCOL
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
