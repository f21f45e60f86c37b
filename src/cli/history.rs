//! The commands of the history.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Subcommand;

/// What to do with what was measured.
#[derive(Debug, Subcommand)]
pub enum History {
    /// Write what was measured as JSON lines, as replay reads them
    ///
    /// The samples of the last 14 days and, of the days before, one line for each half-hour and series; lessons
    /// and version changes. Sorted by time. Reads the ledger, also beside a running daemon.
    Export {
        /// Nothing before this instant
        #[arg(long, value_name = "TIME")]
        from: Option<DateTime<Utc>>,
        /// Nothing from this instant on
        #[arg(long, value_name = "TIME")]
        to: Option<DateTime<Utc>>,
        /// The file, compressed if its name ends with .gz; `-` is the output
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// Take in what another box, or this one before, has exported
    ///
    /// For a box that has learned nothing of its room yet. The daemon must not run meanwhile. Books nothing; doing it
    /// again changes nothing. Ends with 2 at a line that cannot be read, 3 if nothing of the room was found.
    Import {
        /// The file, plain or .gz; `-` is the input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The room in the file [default: this box's own]
        #[arg(long, value_name = "ID")]
        room: Option<String>,
        /// Even if this box has learned: it forgets that, and learns anew from everything at the next start
        #[arg(long)]
        force: bool,
        /// Count lines that cannot be read, and go on
        #[arg(long)]
        skip_bad: bool,
    },
    /// Copy the whole ledger, as it is now, also beside a running daemon
    ///
    /// Bookings, what was learned and what was measured. Overwrites nothing. To go back to it, stop the daemon and put
    /// the copy in the place of bellwether.db.
    Backup {
        /// The file to be made
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
