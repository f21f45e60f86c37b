//! Channels: ways to reach the vendor.
//!
//! A channel renders an order's exact bytes when the order is planned ([`Channels::render`], pure) and
//! sends exactly those bytes later ([`Channels::send`], the shell). Sending never retries: what an
//! [`Outcome`] means for the order is decided by `booking::outbox`, by what the channel says of its
//! [`Doubt`].
//!
//! | channel | class | an order that may have arrived | read back |
//! |---|---|---|---|
//! | `folder` | keyed | is written again, the same files | `reply.json` beside the booking |
//! | `webhook` | keyed, if the receiver honours keys | is posted again, the same bytes and key | `GET url/KEY` |
//! | `caldav` | keyed | is put again, under the key as its name | the event |
//! | `rt` | searchable | is looked for by its key first | the ticket |

pub mod caldav;
pub mod folder;
mod http;
pub mod rt;
pub mod silence;
pub mod webhook;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bellwether_probes::Mistake;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::booking::{Booking, Operation, Order, Window, text::Texts};

/// The kinds of channel, as `kind = "…"` in a `[channel.NAME]` table names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Files in a folder.
    Folder,
    /// A signed CloudEvent posted to a web address.
    Webhook,
    /// A ticket in Request Tracker 5.
    Rt,
    /// An entry in a calendar.
    Caldav,
}

impl Kind {
    /// All kinds.
    pub const ALL: &[Self] = &[Self::Folder, Self::Webhook, Self::Rt, Self::Caldav];

    /// The word in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Webhook => "webhook",
            Self::Rt => "rt",
            Self::Caldav => "caldav",
        }
    }
}

/// Config of one channel, without its name and kind.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelConfig {
    /// See [`folder`].
    Folder(folder::Config),
    /// See [`webhook`].
    Webhook(webhook::Config),
    /// See [`rt`].
    Rt(rt::Config),
    /// See [`caldav`].
    Caldav(caldav::Config),
}

impl ChannelConfig {
    /// The kind it configures.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Folder(_) => Kind::Folder,
            Self::Webhook(_) => Kind::Webhook,
            Self::Rt(_) => Kind::Rt,
            Self::Caldav(_) => Kind::Caldav,
        }
    }

    /// Mistakes that the shape of the table does not show. Looks at the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        match self {
            Self::Folder(config) => config.check(),
            Self::Webhook(config) => config.check(),
            Self::Rt(config) => config.check(),
            Self::Caldav(config) => config.check(),
        }
    }
}

/// What is said of a channel that cannot be read back.
const NOT_READ: &str = "nothing can be read back on this channel";

/// Why a channel does not take a booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The booking lacks what this channel insists on.
    Incomplete,
    /// No channel has this name.
    Unknown,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The vendor has it.
    Done {
        /// The vendor's own name for it, where the channel gives one.
        remote_id: Option<String>,
        /// How many more there were of it than one, all made one again.
        repeats: u32,
    },
    /// It certainly did not arrive: try again.
    NotDelivered {
        /// One line for logs and people.
        detail: String,
        /// How long the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
    /// It certainly did not arrive, and nothing will on this channel until a person mends it: a credential
    /// is wrong, or a right was taken away.
    LockedOut {
        /// One line for logs and people.
        detail: String,
    },
    /// It may have arrived: what is done next is the channel's [`Doubt`].
    Ambiguous {
        /// One line for logs and people.
        detail: String,
        /// How long the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
    /// It was looked for and is not there, with a search that finds what is there.
    Missing {
        /// One line for logs and people.
        detail: String,
    },
    /// The vendor certainly refuses it: a person must act.
    Rejected {
        /// One line for logs and people.
        detail: String,
    },
}

impl Outcome {
    /// The vendor has it, under this name there, and once.
    pub fn done(remote_id: Option<String>) -> Self {
        Self::Done { remote_id, repeats: 0 }
    }

    pub(crate) fn not_delivered(detail: impl Into<String>) -> Self {
        Self::NotDelivered { detail: detail.into(), retry_after: None }
    }

    pub(crate) fn ambiguous(detail: impl Into<String>) -> Self {
        Self::Ambiguous { detail: detail.into(), retry_after: None }
    }

    /// The same with the place in its detail.
    fn at(mut self, place: &str) -> Self {
        if let Self::NotDelivered { detail, .. }
        | Self::LockedOut { detail }
        | Self::Ambiguous { detail, .. }
        | Self::Missing { detail }
        | Self::Rejected { detail } = &mut self
        {
            *detail = format!("{place}: {detail}");
        }
        self
    }

    /// Its line for people; none if it is done.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Done { .. } => None,
            Self::NotDelivered { detail, .. }
            | Self::LockedOut { detail }
            | Self::Ambiguous { detail, .. }
            | Self::Missing { detail }
            | Self::Rejected { detail } => Some(detail),
        }
    }
}

/// What exactly-once can rest on, when it is not known whether an order arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The vendor's system takes an order of one key once (A): it is sent again.
    Keyed,
    /// What arrived can be found by its key (B; C, if its index lags): it is looked for, and only sent again
    /// once it was missed twice, after the time that the vendor's system may need.
    Searchable,
    /// Nothing can be found out (D): a person must look.
    Blind,
}

/// How a channel's doubts are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// By what.
    pub class: Class,
    /// How long after it was sent an order may still be at work in the vendor's system, or not yet be found.
    pub settles_within: Duration,
}

/// What the ledger knows of a booking on a channel, beside the order that is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The vendor's own name for the booking, once it gave one.
    pub remote_id: Option<String>,
}

/// Where a channel's copy of a booking stands, as it was read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The vendor's own name for it.
    pub remote_id: Option<String>,
    /// Where it stands there.
    pub standing: Standing,
    /// The appointment as it stands there. Another than those that we asked for is a counter-offer, or,
    /// with [`Standing::Confirmed`], the appointment.
    pub window: Option<Window>,
    /// What somebody there said of it, one line.
    pub note: Option<String>,
}

/// Where a booking stands at the vendor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody has decided yet.
    Requested,
    /// Somebody comes.
    Confirmed,
    /// The vendor says that the work is done.
    Reported,
    /// The vendor does not come.
    Refused,
    /// It was taken away there, or by us.
    Withdrawn,
    /// It is not there any more: somebody deleted it.
    Missing,
}

/// A booking that a channel still has open, as a new ledger finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub remote: Remote,
    /// The booking as it was sent last, if the channel keeps that.
    pub booking: Option<Booking>,
}

/// One line of `channel check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, for people.
    pub what: String,
    /// Why it will not do; `None` if it will.
    pub wrong: Option<String>,
}

impl Finding {
    /// It will do.
    pub(crate) fn fine(what: impl Into<String>) -> Self {
        Self { what: what.into(), wrong: None }
    }

    /// It will not do, and why.
    pub(crate) fn wrong(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), wrong: Some(why.into()) }
    }
}

/// The channels of a config, by name.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    by_name: BTreeMap<String, ChannelConfig>,
    record: Option<String>,
    held: BTreeMap<String, String>,
    default_folder: PathBuf,
    texts: Texts,
}

impl Channels {
    /// The channels `configs`, of which `record` is the one of record. A folder channel without a `path` writes to
    /// `default_folder`; texts for people are written as `texts` says: a language alone, or a template too.
    pub fn new(
        configs: BTreeMap<String, ChannelConfig>,
        record: Option<String>,
        default_folder: PathBuf,
        texts: impl Into<Texts>,
    ) -> Self {
        let (held, texts) = (BTreeMap::new(), texts.into());
        Self { by_name: configs, record, held, default_folder, texts }
    }

    /// The channel of record: what is read back there counts, and a booking that it refuses is stranded. The
    /// others are informed.
    pub fn record(&self) -> Option<&str> {
        self.record.as_deref()
    }

    /// The same, but for the channels `held`, with the reason for each: nothing is sent there.
    #[must_use]
    pub fn holding(mut self, held: BTreeMap<String, String>) -> Self {
        self.held = held;
        self
    }

    /// Why nothing is sent on a channel for now.
    pub fn held(&self, channel: &str) -> Option<&str> {
        self.held.get(channel).map(String::as_str)
    }

    /// Whether a channel has to pass its self-test before anything is sent there. A folder says at once what is
    /// wrong with it.
    pub fn needs_check(&self, channel: &str) -> bool {
        !matches!(self.by_name.get(channel), Some(ChannelConfig::Folder(_)) | None)
    }

    /// Names of the channels, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Whether the channel takes this booking. A folder takes an incomplete one, for a person to
    /// complete it; a machine at the vendor's does not.
    pub fn accepts(&self, channel: &str, booking: &Booking) -> Result<(), Refusal> {
        match self.by_name.get(channel).ok_or(Refusal::Unknown)? {
            ChannelConfig::Folder(_) => Ok(()),
            _ if booking.complete() => Ok(()),
            ChannelConfig::Webhook(_) | ChannelConfig::Rt(_) | ChannelConfig::Caldav(_) => Err(Refusal::Incomplete),
        }
    }

    /// The exact bytes of an order on this channel; empty for a channel that does not exist. Times in
    /// them that mean "when the order was planned" are the booking's `updated_at`, since planning an
    /// order changes its booking.
    pub fn render(&self, channel: &str, booking: &Booking, operation: Operation, op_key: &str) -> String {
        match self.by_name.get(channel) {
            Some(ChannelConfig::Folder(_)) => folder::body(booking, &self.texts),
            Some(ChannelConfig::Webhook(_)) => webhook::body(booking, operation, op_key),
            Some(ChannelConfig::Rt(_)) => rt::body(booking, operation, op_key, &self.texts),
            Some(ChannelConfig::Caldav(config)) => caldav::body(config, booking, operation, op_key, &self.texts),
            None => String::new(),
        }
    }

    /// How the channel's doubts are resolved.
    pub fn doubt(&self, channel: &str) -> Doubt {
        let keyed = Doubt { class: Class::Keyed, settles_within: Duration::ZERO };
        match self.by_name.get(channel) {
            Some(ChannelConfig::Webhook(config)) => config.doubt(),
            Some(ChannelConfig::Rt(config)) => config.doubt(),
            Some(ChannelConfig::Caldav(config)) => config.doubt(),
            Some(ChannelConfig::Folder(_)) | None => keyed,
        }
    }

    /// Sends an order at `now`, which is the time of a signature: that of the attempt, not of the order.
    /// Has a deadline of its own; never retries. Webhooks and tickets need the process-wide TLS provider of
    /// `rustls` to be installed before.
    pub async fn send(&self, order: &Order, link: &Link, now: DateTime<Utc>) -> Outcome {
        match self.by_name.get(&order.channel) {
            Some(ChannelConfig::Folder(config)) => folder::send(self.folder(config), order).await,
            Some(ChannelConfig::Webhook(config)) => webhook::send(config, order, now).await,
            Some(ChannelConfig::Rt(config)) => rt::send(config, order, link, now).await,
            Some(ChannelConfig::Caldav(config)) => caldav::send(config, order, link, now).await,
            None => Self::gone(&order.channel),
        }
    }

    /// Looks for an order that may have arrived, on a channel that is [`Class::Searchable`]: done, missing,
    /// or as little known as before.
    pub async fn probe(&self, order: &Order, link: &Link, now: DateTime<Utc>) -> Outcome {
        match self.by_name.get(&order.channel) {
            Some(ChannelConfig::Folder(_) | ChannelConfig::Webhook(_) | ChannelConfig::Caldav(_)) => {
                Outcome::ambiguous("nothing can be looked for on this channel")
            }
            Some(ChannelConfig::Rt(config)) => rt::probe(config, order, link, now).await,
            None => Self::gone(&order.channel),
        }
    }

    /// Whether bookings can be read back and listed there.
    pub fn reads(&self, channel: &str) -> bool {
        match self.by_name.get(channel) {
            Some(ChannelConfig::Folder(_) | ChannelConfig::Rt(_) | ChannelConfig::Caldav(_)) => true,
            Some(ChannelConfig::Webhook(config)) => config.read_back,
            None => false,
        }
    }

    /// Reads back where a booking stands at the vendor's.
    ///
    /// # Errors
    /// It cannot be read: one line for people.
    pub async fn read(
        &self,
        channel: &str,
        booking_key: &str,
        link: &Link,
        now: DateTime<Utc>,
    ) -> Result<Remote, String> {
        match self.by_name.get(channel) {
            Some(ChannelConfig::Folder(config)) => folder::read(self.folder(config), booking_key).await,
            Some(ChannelConfig::Webhook(config)) => webhook::read(config, booking_key, now).await,
            Some(ChannelConfig::Rt(config)) => rt::read(config, booking_key, link, now).await,
            Some(ChannelConfig::Caldav(config)) => caldav::read(config, booking_key, link, now).await,
            None => Err(NOT_READ.to_owned()),
        }
    }

    /// The bookings of a room that the vendor still has open, for a ledger that knows of none.
    ///
    /// # Errors
    /// They cannot be read: one line for people.
    pub async fn list(&self, channel: &str, room: &str, now: DateTime<Utc>) -> Result<Vec<Listed>, String> {
        match self.by_name.get(channel) {
            Some(ChannelConfig::Folder(config)) => folder::list(self.folder(config), room).await,
            Some(ChannelConfig::Webhook(config)) => webhook::list(config, room, now).await,
            Some(ChannelConfig::Rt(config)) => rt::list(config, room, now).await,
            Some(ChannelConfig::Caldav(config)) => caldav::list(config, room, now).await,
            None => Err(NOT_READ.to_owned()),
        }
    }

    /// Whether the channel can do what bookings need: the self-test of `channel check`, which also `tries` what leaves
    /// something behind if it is broken off, and that of a start, which does not.
    pub async fn check(&self, channel: &str, tries: bool, now: DateTime<Utc>) -> Vec<Finding> {
        match self.by_name.get(channel) {
            Some(ChannelConfig::Folder(config)) => folder::check(self.folder(config)).await,
            Some(ChannelConfig::Webhook(config)) => webhook::check(config, now).await,
            Some(ChannelConfig::Rt(config)) => rt::check(config, now).await,
            Some(ChannelConfig::Caldav(config)) => caldav::check(config, tries, now).await,
            None => vec![Finding::wrong("the config", format!("found no channel {channel:?}"))],
        }
    }

    fn folder<'a>(&'a self, config: &'a folder::Config) -> &'a Path {
        config.path.as_deref().unwrap_or(&self.default_folder)
    }

    fn gone(channel: &str) -> Outcome {
        Outcome::not_delivered(format!(
            "channel {channel:?} is not in the config any more; put it back, or cancel the booking"
        ))
    }
}
