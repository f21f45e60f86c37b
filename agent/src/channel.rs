//! Channels: ways to reach the vendor.
//!
//! A channel renders an order's exact bytes when the order is planned ([`Channels::render`], pure) and
//! sends exactly those bytes later ([`Channels::send`], the shell). Sending never retries: what an
//! [`Outcome`] means for the order is decided by `booking::dispatch`.

pub mod folder;
pub mod webhook;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bellwether_probes::Mistake;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    booking::{Booking, Operation, Order},
    site::Language,
};

/// The kinds of channel, as `kind = "…"` in a `[channel.NAME]` table names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Files in a folder.
    Folder,
    /// A signed CloudEvent posted to a web address.
    Webhook,
}

impl Kind {
    /// All kinds.
    pub const ALL: &[Self] = &[Self::Folder, Self::Webhook];

    /// The word in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Webhook => "webhook",
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
}

impl ChannelConfig {
    /// The kind it configures.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Folder(_) => Kind::Folder,
            Self::Webhook(_) => Kind::Webhook,
        }
    }

    /// Mistakes that the shape of the table does not show. Looks at the files that it names.
    pub fn check(&self) -> Vec<Mistake> {
        match self {
            Self::Folder(config) => config.check(),
            Self::Webhook(config) => config.check(),
        }
    }
}

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
    },
    /// It certainly did not arrive: try again.
    NotDelivered {
        /// One line for logs and people.
        detail: String,
        /// How long the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
    /// It may have arrived: repeat it with the same key and the same bytes.
    Ambiguous {
        /// One line for logs and people.
        detail: String,
        /// How long the vendor asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The vendor certainly refuses it: a person must act.
    Rejected {
        /// One line for logs and people.
        detail: String,
    },
}

impl Outcome {
    fn not_delivered(detail: impl Into<String>) -> Self {
        Self::NotDelivered { detail: detail.into(), retry_after: None }
    }
}

/// The channels of a config, by name.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    by_name: BTreeMap<String, ChannelConfig>,
    default_folder: PathBuf,
    language: Language,
}

impl Channels {
    /// The channels `configs`. A folder channel without a `path` writes to `default_folder`; texts
    /// for people are in `language`.
    pub fn new(configs: BTreeMap<String, ChannelConfig>, default_folder: PathBuf, language: Language) -> Self {
        Self { by_name: configs, default_folder, language }
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
            ChannelConfig::Webhook(_) if booking.complete() => Ok(()),
            ChannelConfig::Webhook(_) => Err(Refusal::Incomplete),
        }
    }

    /// The exact bytes of an order on this channel; empty for a channel that does not exist. Times in
    /// them that mean "when the order was planned" are the booking's `updated_at`, since planning an
    /// order changes its booking.
    pub fn render(&self, channel: &str, booking: &Booking, operation: Operation, op_key: &str) -> String {
        match self.by_name.get(channel) {
            Some(ChannelConfig::Folder(_)) => folder::body(booking, self.language),
            Some(ChannelConfig::Webhook(_)) => webhook::body(booking, operation, op_key),
            None => String::new(),
        }
    }

    /// Sends an order at `now`, which is the time of a signature: that of the attempt, not of the order.
    /// Has a deadline of its own; never retries. Webhooks need the process-wide TLS provider of
    /// `rustls` to be installed before.
    pub async fn send(&self, order: &Order, now: DateTime<Utc>) -> Outcome {
        match self.by_name.get(&order.channel) {
            Some(ChannelConfig::Folder(config)) => {
                folder::send(config.path.as_deref().unwrap_or(&self.default_folder), order).await
            }
            Some(ChannelConfig::Webhook(config)) => webhook::send(config, order, now).await,
            None => Outcome::not_delivered(format!(
                "channel {:?} is not in the config any more; put it back, or cancel the booking",
                order.channel
            )),
        }
    }
}
