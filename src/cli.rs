//! The commands and their texts.

mod history;

use std::{net::SocketAddr, path::PathBuf};

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use history::History;

/// Version, revision and profile of this build.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BELLWETHER_REVISION"), ")");

/// Inspects a smart classroom by itself, and books its maintenance.
///
/// Without a command the daemon runs: it places a test call, reads the box's resources and versions,
/// serves the results at http://127.0.0.1:9642/metrics, judges them, and opens a booking when something
/// is wrong. No config is needed to try it.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version = BUILD, arg_required_else_help = false, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// The command; the daemon if there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Config file; files in conf.d/ beside it are read too [default: /etc/bellwether/bellwether.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the ledger and of booking files [default: $STATE_DIRECTORY, or below ~/.local/state]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Least level of log lines: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    pub log: tracing::Level,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (the default)
    Run,
    /// Measure once, now, and show what was found
    ///
    /// Judges by plain limits. Ends with 0 if all is well, 1 if something is degraded, 2 if critical, 3 if
    /// it could not be told. Books nothing and writes nothing.
    Inspect {
        /// Names of probes [default: all but those that are heard in the room]
        #[arg(value_name = "PROBE")]
        probes: Vec<String>,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Write what was measured of each call into this folder, to be analysed again
        #[arg(long, value_name = "DIR")]
        capture: Option<PathBuf>,
    },
    /// Read captures again and show what they say
    ///
    /// Prints what inspect printed when it wrote them, and ends as it did. Needs no daemon and no network.
    Analyse {
        /// Folder, or one capture
        #[arg(value_name = "DIR|FILE")]
        path: PathBuf,
        /// Print JSON instead of tables
        #[arg(long)]
        json: bool,
    },
    /// Be the far end of another room's calls: send back what it sends
    ///
    /// Takes offers by HTTP as WHIP does: POST /reflect. At most four calls at once, each for at most two
    /// minutes. Decodes nothing and keeps nothing. The other room's probe has far_end = { kind = "reflect" }.
    Reflect {
        /// Address and port; any other than loopback needs --token-file
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9643")]
        listen: SocketAddr,
        /// File with the token that callers must show
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// File with the certificate chain, in PEM: HTTPS instead of HTTP
        #[arg(long, value_name = "FILE", requires = "tls_key")]
        tls_cert: Option<PathBuf>,
        /// File with its key, in PEM
        #[arg(long, value_name = "FILE", requires = "tls_cert")]
        tls_key: Option<PathBuf>,
    },
    /// Accept the state of the room as it is now, for changes to be told
    Baseline {
        /// Of what.
        #[command(subcommand)]
        command: Baseline,
    },
    /// List every mistake of a config; ends with 78 if there is one
    CheckConfig {
        /// The file [default: as --config]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// What is known of the room's hours.
    #[command(flatten)]
    Hours(Hours),
    /// The ways to the vendor
    Channel {
        /// What to do.
        #[command(subcommand)]
        command: Channel,
    },
    /// Show the maintenance that was booked, and say what becomes of it
    ///
    /// What changes something is asked of the running daemon, and is on disk before it is answered.
    Bookings {
        /// What to do.
        #[command(subcommand)]
        command: Bookings,
    },
    /// Say what is known of a metric, or of the series of a booking
    ///
    /// What it reads, what it would be in health, the evidence, and what it takes to alarm or to clear; where it
    /// stands to its limits. Reads the ledger: where the unit runs, say --state /var/lib/bellwether.
    Why {
        /// Name of a metric, such as media_loss, or a booking's key, or how that begins
        #[arg(value_name = "METRIC|BOOKING")]
        asked: String,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Say what would have been booked of a recorded history
    ///
    /// Runs the decision engine over JSON lines with the data's own clock: the same input and config print the
    /// same bytes. One JSON object a line comes out for each booking, and for what became of it. Ends with 2 if a
    /// line cannot be read, 78 if the config has mistakes.
    Replay(Replay),
    /// What was measured: write it out, take it in, copy it
    History {
        /// What to do.
        #[command(subcommand)]
        command: History,
    },
    /// Hold heavy probes back for a while; alone, show whether they are
    ///
    /// Probes that may disturb wait until then; light ones go on. It holds after a restart, for seven days at
    /// most.
    Quiet {
        /// What is asked for.
        #[command(subcommand)]
        command: Option<Quiet>,
    },
    /// One call, for the daemon: reads a job from its input
    #[command(hide = true)]
    ProbeWorker,
}

/// How a history is replayed. `--config` names the site file: `[site]`, `[[rooms]]`, `[metrics.NAME]`, `[engine]`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Recorded history as JSON lines, plain or .gz, one file after the other; `-` is the input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Nothing before this instant
    #[arg(long, value_name = "TIME")]
    pub from: Option<DateTime<Utc>>,
    /// Nothing from this instant on
    #[arg(long, value_name = "TIME")]
    pub to: Option<DateTime<Utc>>,
    /// Go on from a state that another replay has left
    #[arg(long, value_name = "FILE")]
    pub state_in: Option<PathBuf>,
    /// Leave the state for the next replay
    #[arg(long, value_name = "FILE")]
    pub state_out: Option<PathBuf>,
    /// Print only how the bookings of another config differ
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state_in", "state_out", "explain"])]
    pub compare: Option<PathBuf>,
    /// After each new booking, a line with what is known of its series
    #[arg(long)]
    pub explain: bool,
    /// Count lines that cannot be read, and go on
    #[arg(long)]
    pub skip_bad: bool,
}

/// Of what a state is accepted.
#[derive(Debug, Subcommand)]
pub enum Baseline {
    /// Of the room's sound: measures it, shows it, and keeps it
    ///
    /// It is heard in the room. Keeps numbers and the names of the devices, nothing of what was heard. Ends with
    /// 3, and keeps nothing, if it could not be measured surely. Where the unit runs, say
    /// --state /var/lib/bellwether.
    Echo {
        /// Name of the probe [default: all that listen to the room]
        #[arg(value_name = "PROBE")]
        probe: Option<String>,
        /// Show what is accepted, and measure nothing
        #[arg(long)]
        show: bool,
    },
}

/// For how long.
#[derive(Debug, Subcommand)]
pub enum Quiet {
    /// Until a time, such as 15:00, "2026-11-30 15:00" or 2026-11-30T15:00:00+08:00
    Until {
        /// Time on the school's clock, or with its offset
        #[arg(value_name = "TIME", required = true, num_args = 1..=2)]
        time: Vec<String>,
    },
    /// For a length of time, such as 90min or 2h
    For {
        /// Length of time with its unit
        #[arg(value_name = "TIME", required = true, num_args = 1..=2)]
        time: Vec<String>,
    },
    /// No longer
    Off,
}

/// Commands that need the config and nothing else: they read the same sources as the daemon.
#[derive(Debug, Subcommand)]
pub enum Hours {
    /// Show what is known of the room's hours, lesson by lesson
    ///
    /// Lessons, days off and make-up days, when the building is open and the vendor works. Ends with 3 if a
    /// source of the timetable cannot be used.
    Calendar {
        /// First date [default: today]
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        /// Last date [default: six days later]
        #[arg(long, value_name = "DATE")]
        to: Option<String>,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Find hours in which maintenance can take place
    ///
    /// Up to three offers with their reasons, where room, building and vendor are free; or what would have to
    /// be relaxed. Books nothing. Ends with 1 if nothing fits, 3 if a source of the timetable cannot be used.
    Slots {
        /// How long the work takes, such as 2h [default: the vendor's `duration`]
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<String>,
        /// What changes; a larger change takes longer, and is watched for longer after it
        #[arg(long, value_name = "CLASS", value_enum, default_value_t = Change::Patch)]
        class: Change,
        /// Earliest date [default: as soon as the vendor's `notice` allows]
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        /// Latest date [default: four weeks later]
        #[arg(long, value_name = "DATE")]
        to: Option<String>,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Say why each probe may or may not run at an instant
    Explain {
        /// Such as "15:00", "2026-11-30 15:00", or "now"
        #[arg(value_name = "INSTANT", default_value = "now")]
        instant: String,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Days off and make-up days
    Holidays {
        /// What to do.
        #[command(subcommand)]
        command: Holidays,
    },
}

/// What to do with bookings.
#[derive(Debug, Subcommand)]
pub enum Bookings {
    /// All bookings, newest first
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// One booking with its orders, and what happened to it
    Show {
        /// Key of the booking, or how it begins
        #[arg(value_name = "ID")]
        key: String,
        /// Print JSON instead of the text
        #[arg(long)]
        json: bool,
    },
    /// Let a proposed booking go out, or open one by hand
    Open {
        /// Key of a proposed booking, or a kind: routine, security, unsure
        #[arg(value_name = "ID|KIND")]
        what: String,
        /// What is asked of the vendor, for one that is opened by hand
        #[arg(value_name = "WORDS", trailing_var_arg = true)]
        text: Vec<String>,
        /// How soon somebody should come: low, normal, high, critical
        #[arg(long, default_value = "normal")]
        severity: String,
        /// Say what would happen, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Agree to a time: the one that the vendor wants, or another
    Confirm(Timed),
    /// Ask for another time
    Move(Timed),
    /// Withdraw a booking
    Cancel(Said),
    /// The work begins
    Start(Said),
    /// The work is done
    Report(Said),
    /// The school is content with the work
    Accept(Said),
    /// The school is not: the same booking is opened again
    Rework(Said),
    /// Say how content the school is, from 1 to 5
    Rate {
        /// Key of the booking, or how it begins
        #[arg(value_name = "ID")]
        key: String,
        /// 1, bad, to 5, good
        #[arg(value_name = "STARS")]
        stars: u8,
        /// In words
        #[arg(value_name = "WORDS", trailing_var_arg = true)]
        text: Vec<String>,
    },
    /// Say something to the vendor
    Note(Said),
    /// Tick a point of the checklist
    Check {
        /// Key of the booking, or how it begins
        #[arg(value_name = "ID")]
        key: String,
        /// Number of the point, from 1
        #[arg(value_name = "POINT")]
        point: u8,
        /// It is the vendor who has seen to it
        #[arg(long)]
        vendor: bool,
    },
}

/// A booking and a time.
#[derive(Debug, Args)]
pub struct Timed {
    /// Key of the booking, or how it begins
    #[arg(value_name = "ID")]
    pub key: String,
    /// When, by the school's clock, such as "2026-11-30 15:00"
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// How long, in minutes [default: as the vendor's visits take]
    #[arg(long, value_name = "MINUTES")]
    pub minutes: Option<u32>,
    /// It is the vendor's word
    #[arg(long)]
    pub vendor: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A booking and words.
#[derive(Debug, Args)]
pub struct Said {
    /// Key of the booking, or how it begins
    #[arg(value_name = "ID")]
    pub key: String,
    /// Why, or what
    #[arg(value_name = "WORDS", trailing_var_arg = true)]
    pub text: Vec<String>,
    /// It is the vendor's word
    #[arg(long)]
    pub vendor: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// Whether a channel can do what bookings need; writes a thing of its own there, and takes it away again
    Check {
        /// Name of the channel in the config
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// How much changes in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Change {
    /// A repair, or the third number of a version.
    Patch,
    /// The second number of a version.
    Minor,
    /// The first number of a version, or new equipment.
    Major,
}

/// What to do with days off.
#[derive(Debug, Subcommand)]
pub enum Holidays {
    /// Take a year's days off and make-up days from a file
    ///
    /// Reads bellwether's own shape, that of holiday-cn, or iCalendar; shows what changes. A running daemon
    /// takes it within minutes, or at once by `systemctl reload`.
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Country, two letters [default: as the config says]
        #[arg(long, value_name = "COUNTRY")]
        country: Option<String>,
    },
}
