//! Where a call goes, and how offer and answer get there and back.

use rtc::shared::error::Result;
use serde::{Deserialize, Serialize};

use super::reflector::{Reflecting, Reflector};

/// What is at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FarEnd {
    /// The embedded reflector: a self-test of this box, without any network.
    #[default]
    Reflector,
}

impl FarEnd {
    /// The word in config and captures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
        }
    }

    /// The address to bind the socket of the call to.
    pub(crate) fn local_address(self) -> &'static str {
        match self {
            Self::Reflector => "127.0.0.1:0",
        }
    }
}

/// A far end that answered.
pub(crate) enum Rendezvous {
    Reflector(Reflecting),
}

impl Rendezvous {
    /// Brings `offer` to the far end, and its answer back.
    pub(crate) async fn exchange(far_end: FarEnd, offer: String, random: &mut fastrand::Rng) -> Result<(String, Self)> {
        match far_end {
            FarEnd::Reflector => {
                let (answer, reflecting) = Reflector::new(&["127.0.0.1:0"], random).await?.answer(offer).await?;
                Ok((answer, Self::Reflector(reflecting)))
            }
        }
    }

    /// Frees what the far end keeps for the call.
    pub(crate) async fn teardown(self) {
        match self {
            Self::Reflector(reflecting) => reflecting.close().await,
        }
    }
}
