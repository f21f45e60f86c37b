//! Channels: ways to reach the vendor.

use std::time::Duration;

use crate::booking::{Booking, Operation, Order};

/// Why a channel does not take a booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The booking lacks what this channel insists on.
    Incomplete,
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

/// The channels of a config, by name.
#[derive(Clone, Debug, Default)]
pub struct Channels {}

impl Channels {
    /// Names of the channels, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// Whether the channel takes this booking.
    pub fn accepts(&self, _channel: &str, _booking: &Booking) -> Result<(), Refusal> {
        Err(Refusal::Incomplete)
    }

    /// The exact bytes of an order on this channel.
    pub fn render(&self, _channel: &str, _booking: &Booking, _operation: Operation, _op_key: &str) -> String {
        String::new()
    }

    /// Sends an order. Has a deadline of its own; never retries.
    pub async fn send(&self, _order: &Order) -> Outcome {
        Outcome::Rejected { detail: String::new() }
    }
}
