//! Where a call goes, and how offer and answer get there and back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::header::HeaderValue;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use url::Url;

use super::{
    far_end::{FarEnd, Remote, RemoteKind},
    ice::{self, Server},
    peer::{Direction, Setup},
    reflector::{Reflecting, Reflector},
};
use crate::{Failure, Reason, dial::failed, secret::Secret};
use http::Client;
pub(crate) use http::{Timing, on_loopback};

#[cfg(test)]
pub(crate) mod far;
mod http;
mod janus;
mod link;
mod sdp;
mod whip;

/// Pause before a server is asked again for what is not there yet.
const AGAIN: Duration = Duration::from_millis(250);
/// How long freeing what servers keep for us may take. Less than a child has to end in.
const TEARDOWN: Duration = Duration::from_millis(900);
/// Share of it in which an answer under way may still come, and say what it made.
const LAST_ANSWER: Duration = Duration::from_millis(400);

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

/// What a server keeps for us until we say that we are done.
#[derive(Clone, Debug)]
enum Session {
    /// A WHIP or WHEP resource.
    Resource { leg: Leg, url: Url, home: Url, tag: Option<HeaderValue> },
    /// A session of a Janus server.
    Janus { url: Url },
}

impl Session {
    fn is_of(&self, leg: Leg) -> bool {
        match self {
            Self::Resource { leg: of, .. } => *of == leg,
            Self::Janus { .. } => leg == Leg::Both,
        }
    }
}

/// The sessions of a call. Each is noted the moment it is known, so that it is ended whatever
/// happens next.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Session>>);

impl Kept {
    fn add(&self, session: Session) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    fn of(&self, leg: Leg) -> Option<Session> {
        self.all().into_iter().rfind(|session| session.is_of(leg))
    }

    fn all(&self) -> Vec<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self) -> Vec<Session> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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

/// A far end elsewhere.
struct Elsewhere {
    kind: RemoteKind,
    /// The address of each connection, in the order in which they are made.
    legs: Vec<(Leg, Url)>,
    client: Arc<Client>,
    servers: Vec<Server>,
    relay_only: bool,
    kept: Arc<Kept>,
    /// A request under way. It is a task of its own, so that its answer is not lost with the call.
    pending: Option<JoinHandle<Result<Reply, Refusal>>>,
    /// Signs of life, for as long as the call lasts.
    signs: JoinSet<()>,
}

impl Rendezvous {
    /// Makes ready for a call to `far_end`: reads secrets and roots, and speaks to nobody yet.
    pub(crate) async fn new(far_end: &FarEnd, random: &mut fastrand::Rng) -> Result<Self, Failure> {
        match far_end {
            FarEnd::Reflector => Ok(Self(Way::Reflector { random: random.fork(), reflecting: None })),
            FarEnd::Remote(remote) => Ok(Self(Way::Remote(Box::new(Elsewhere::new(remote).await?)))),
        }
    }

    /// The connections to make, in this order.
    pub(crate) fn legs(&self) -> Vec<Leg> {
        match &self.0 {
            Way::Reflector { .. } => vec![Leg::Both],
            Way::Remote(remote) => remote.legs.iter().map(|(leg, _)| *leg).collect(),
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
                let reflector = Reflector::new(random).await.map_err(signalling)?;
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
        let nowhere = || Failure::new(Reason::Signalling, "the server made an offer, and no Location to answer it at");
        match &self.0 {
            Way::Reflector { .. } => Err(nowhere()),
            Way::Remote(remote) => {
                let session = remote.kept.of(leg).ok_or_else(nowhere)?;
                whip::patch(&remote.client, &session, answer, deadline).await
            }
        }
    }

    /// Uses `servers` from now on; `false` if none of them is of use.
    pub(crate) fn adopt(&mut self, servers: Vec<Server>) -> bool {
        let Way::Remote(remote) = &mut self.0 else { return false };
        remote.servers = servers.into_iter().filter(Server::is_usable).collect();
        !remote.servers.is_empty()
    }

    /// Ends what the far end keeps for one connection.
    pub(crate) async fn end(&mut self, leg: Leg, deadline: Instant) {
        if let Way::Remote(remote) = &mut self.0 {
            let (ended, kept) = remote.kept.take().into_iter().partition(|session| session.is_of(leg));
            *remote.kept.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            remote.end(ended, deadline).await;
        }
    }

    /// How long the ways to servers took so far; nothing where there is none.
    pub(crate) fn timing(&self) -> Option<Timing> {
        match &self.0 {
            Way::Reflector { .. } => None,
            Way::Remote(remote) => Some(remote.client.timing()),
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

impl Elsewhere {
    async fn new(remote: &Remote) -> Result<Self, Failure> {
        let source = |detail: String| Failure::new(Reason::Source, detail);
        let kind = remote.kind().ok_or_else(|| source(format!("no far end of kind {:?} is known", remote.kind)))?;
        let address = |url: &Option<String>| {
            Url::parse(url.as_deref().unwrap_or_default()).map_err(|error| source(format!("far end: {error}")))
        };
        let legs = match kind {
            RemoteKind::Reflect | RemoteKind::Janus => vec![(Leg::Both, address(&remote.url)?)],
            RemoteKind::WhipWhep => {
                vec![(Leg::Publish, address(&remote.publish)?), (Leg::Subscribe, address(&remote.subscribe)?)]
            }
        };
        let token = remote.token_file.as_deref().map(Secret::read).transpose().map_err(source)?;
        let client = Client::new(remote.ca_file.as_deref(), token);
        if legs.iter().any(|(_, url)| url.scheme() == "https") {
            client.tls().await?;
        }
        Ok(Self {
            kind,
            legs,
            client: Arc::new(client),
            servers: ice::read(&remote.ice_servers)?,
            relay_only: remote.relay_only,
            kept: Arc::default(),
            pending: None,
            signs: JoinSet::new(),
        })
    }

    fn setup(&self, leg: Leg) -> Setup {
        let near = self.legs.iter().any(|(of, url)| *of == leg && on_loopback(url));
        Setup {
            direction: match leg {
                Leg::Both => Direction::Both,
                Leg::Publish => Direction::Send,
                Leg::Subscribe => Direction::Receive,
            },
            servers: self.servers.clone(),
            relay_only: self.relay_only,
            ..Setup::on_interfaces(near)
        }
    }

    async fn exchange(&mut self, leg: Leg, offer: String, deadline: Instant) -> Result<Described, Failure> {
        let reply = loop {
            match self.ask(leg, offer.clone(), deadline).await {
                Ok(reply) => break reply,
                Err(Refusal { not_yet: true, .. }) if Instant::now() + AGAIN < deadline => sleep(AGAIN).await,
                Err(refusal) => return Err(refusal.failure),
            }
        };
        let (text, is_offer, servers) = match reply {
            Reply::Answer { sdp, servers } => (sdp, false, servers),
            Reply::Offer { sdp, servers } => (sdp, true, servers),
        };
        let plain = sdp::plain(&text, leg.receives()).map_err(|error| failed(Reason::Signalling, &error))?;
        Ok(Described { sdp: plain.sdp, payload_types: plain.payload_types, is_offer, servers })
    }

    /// Makes one request. If this future is dropped, the request goes on until [`Self::teardown`].
    async fn ask(&mut self, leg: Leg, offer: String, deadline: Instant) -> Result<Reply, Refusal> {
        let url = self.legs.iter().find(|(of, _)| *of == leg).map(|(_, url)| url.clone());
        let url = url.ok_or_else(|| Failure::new(Reason::Signalling, "no address for this connection"))?;
        let (client, kept) = (Arc::clone(&self.client), Arc::clone(&self.kept));
        let request = match self.kind {
            RemoteKind::Reflect | RemoteKind::WhipWhep => {
                tokio::spawn(async move { whip::post(&client, &url, leg, offer, &kept, deadline).await })
            }
            RemoteKind::Janus => {
                self.signs.spawn(janus::keep_alive(Arc::clone(&client), Arc::clone(&kept)));
                tokio::spawn(async move { janus::call(&client, &url, offer, &kept, deadline).await })
            }
        };
        let pending = self.pending.insert(request);
        let reply = pending.await;
        self.pending = None;
        reply.map_err(|error| failed(Reason::Worker, &error))?
    }

    async fn teardown(&mut self) {
        let deadline = Instant::now() + TEARDOWN;
        self.signs.abort_all();
        if let Some(mut pending) = self.pending.take()
            && timeout_at(Instant::now() + LAST_ANSWER, &mut pending).await.is_err()
        {
            pending.abort();
        }
        self.end(self.kept.take(), deadline).await;
    }

    async fn end(&self, sessions: Vec<Session>, deadline: Instant) {
        let mut ends = JoinSet::new();
        for session in sessions {
            let client = Arc::clone(&self.client);
            ends.spawn(async move {
                match session {
                    Session::Resource { url, home, .. } => whip::delete(&client, &url, &home, deadline).await,
                    Session::Janus { url } => janus::destroy(&client, &url, deadline).await,
                }
            });
        }
        while let Some(ended) = ends.join_next().await {
            if let Ok(Err(failure)) = ended {
                tracing::debug!(detail = failure.detail, "a session was not ended");
            }
        }
    }
}

#[cfg(test)]
mod tests;
