//! Where a call goes, and how offer and answer get there and back.

use tokio::time::Instant;

#[cfg(feature = "fuzz")]
use super::sdp;
use super::{
    capture::FarSide,
    far_end::FarEnd,
    ice::Server,
    peer::Setup,
    reflector::{Reflecting, Reflector},
};
use crate::{Failure, Reason, dial::failed};
use elsewhere::Elsewhere;
pub(crate) use http::{Timing, on_loopback};

mod bridge;
mod elsewhere;
#[cfg(test)]
pub(crate) mod far;
mod http;
mod janus;
mod kept;
mod link;
mod whip;

/// One connection of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// The only one, both ways.
    Both,
    /// To the server.
    Publish,
    /// Back from it.
    Subscribe,
}

impl Leg {
    /// Whether media comes back on it.
    fn receives(self) -> bool {
        self != Self::Publish
    }
}

/// What a server says to an offer.
#[derive(Debug)]
enum Reply {
    /// An answer, and servers it wants us to use.
    Answer { sdp: String, servers: Vec<Server> },
    /// It would rather offer itself.
    Offer { sdp: String, servers: Vec<Server> },
}

/// Why there is no reply.
#[derive(Debug)]
struct Refusal {
    failure: Failure,
    /// The server may give one later.
    not_yet: bool,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, not_yet: false }
    }
}

/// The other side's description, made plain, with the numbers it gives to our codecs.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) sdp: String,
    /// Payload types of sound and picture.
    pub(crate) payload_types: [u8; 2],
    /// The server's offer, to be answered; else its answer.
    pub(crate) is_offer: bool,
    /// Servers that it wants us to use.
    pub(crate) servers: Vec<Server>,
}

/// The way to a far end, and what it keeps for us.
pub(crate) struct Rendezvous(Way);

enum Way {
    Reflector { random: fastrand::Rng, reflecting: Option<Reflecting> },
    Remote(Box<Elsewhere>),
}

impl Rendezvous {
    /// Makes ready for a call to `far_end`: reads secrets and roots, and speaks to nobody yet. What is said
    /// to servers goes by `interface` alone, if one is given.
    pub(crate) async fn new(
        far_end: &FarEnd,
        interface: Option<&str>,
        random: &mut fastrand::Rng,
    ) -> Result<Self, Failure> {
        match far_end {
            FarEnd::Reflector => Ok(Self(Way::Reflector { random: random.fork(), reflecting: None })),
            FarEnd::Remote(remote) => Ok(Self(Way::Remote(Box::new(Elsewhere::new(remote, interface).await?)))),
        }
    }

    /// The connections to make, in this order.
    pub(crate) fn legs(&self) -> Vec<Leg> {
        match &self.0 {
            Way::Reflector { .. } => vec![Leg::Both],
            Way::Remote(remote) => remote.legs(),
        }
    }

    /// How our end of a connection is to be.
    pub(crate) fn setup(&self, leg: Leg) -> Setup {
        match &self.0 {
            Way::Reflector { .. } => Setup::at("127.0.0.1:0"),
            Way::Remote(remote) => remote.setup(leg),
        }
    }

    /// Brings `offer` to the far end, and back what it says to it.
    pub(crate) async fn exchange(&mut self, leg: Leg, offer: String, deadline: Instant) -> Result<Described, Failure> {
        match &mut self.0 {
            Way::Reflector { random, reflecting } => {
                let signalling = |error| failed(Reason::Signalling, &error);
                let reflector = Reflector::new(&offer, random).await.map_err(signalling)?;
                let (sdp, at_work) = reflector.answer(offer).await.map_err(signalling)?;
                *reflecting = Some(at_work);
                // Made by ourselves: nothing of it can be odd.
                Ok(Described { sdp, payload_types: Setup::PAYLOAD_TYPES, is_offer: false, servers: Vec::new() })
            }
            Way::Remote(remote) => remote.exchange(leg, offer, deadline).await,
        }
    }

    /// Answers the offer of a server that made one.
    pub(crate) async fn answer(&mut self, leg: Leg, answer: String, deadline: Instant) -> Result<(), Failure> {
        match &self.0 {
            Way::Reflector { .. } => Err(Failure::new(Reason::Signalling, "the reflector takes no answer")),
            Way::Remote(remote) => remote.answer(leg, answer, deadline).await,
        }
    }

    /// Uses `servers` from now on; `false` if none of them is of use.
    pub(crate) async fn adopt(&mut self, servers: Vec<Server>) -> Result<bool, Failure> {
        let Way::Remote(remote) = &mut self.0 else { return Ok(false) };
        remote.adopt(servers).await
    }

    /// The failure where only relays are to be used and none is known.
    pub(crate) fn need_relay(&self) -> Result<(), Failure> {
        match &self.0 {
            Way::Remote(remote) if remote.lacks_relay() => {
                let detail = "relay_only is set, and no TURN server is configured or named by the far end";
                Err(Failure::new(Reason::Ice, detail))
            }
            _ => Ok(()),
        }
    }

    /// The failure where only relays are to be used and no server gave one.
    pub(crate) fn no_relay(&self) -> Failure {
        let trouble = match &self.0 {
            Way::Reflector { .. } => None,
            Way::Remote(remote) => remote.trouble(),
        };
        let why = trouble.map_or_else(|| "no answer, or it refused".to_owned(), |failure| failure.detail);
        Failure::new(Reason::Ice, format!("no TURN server gave a relay: {why}"))
    }

    /// Ends what the far end keeps for one connection.
    pub(crate) async fn end(&mut self, leg: Leg, deadline: Instant) {
        if let Way::Remote(remote) = &self.0 {
            remote.end_leg(leg, deadline).await;
        }
    }

    /// How long the ways to servers took so far; nothing where there is none.
    pub(crate) fn timing(&self) -> Option<Timing> {
        match &self.0 {
            Way::Reflector { .. } => None,
            Way::Remote(remote) => Some(remote.timing()),
        }
    }

    /// Ends the call at a box that reflects, for its side of it; `None` of any other far end.
    pub(crate) async fn far_side(&mut self, deadline: Instant) -> Option<FarSide> {
        match &self.0 {
            Way::Reflector { .. } => None,
            Way::Remote(remote) => remote.far_side(deadline).await,
        }
    }

    /// Frees what the far end keeps for the call.
    pub(crate) async fn teardown(&mut self) {
        match &mut self.0 {
            Way::Reflector { reflecting, .. } => {
                if let Some(reflecting) = reflecting.take() {
                    reflecting.close().await;
                }
            }
            Way::Remote(remote) => remote.teardown().await,
        }
    }
}

/// For the fuzz target `descriptions`.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(text: &str) {
    let _ = sdp::without_pictures(text);
    for receives in [false, true] {
        for pictures in [false, true] {
            if let Ok(plain) = sdp::plain(text, receives, pictures) {
                assert!(plain.payload_types.iter().all(|number| *number < 128), "no payload type of RTP");
            }
        }
    }
    let _ = link::ice_servers(std::iter::once(text));
}

#[cfg(test)]
mod tests;
