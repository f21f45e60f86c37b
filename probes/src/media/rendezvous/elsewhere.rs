//! The way to a far end elsewhere.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use url::Url;

use super::{
    Described, Leg, Refusal, Reply, bridge,
    http::{Client, Timing, on_loopback},
    janus,
    kept::{Kept, Session},
    whip,
};
use crate::{
    Failure, Reason,
    dial::failed,
    media::{
        capture::FarSide,
        far_end::{Remote, RemoteKind},
        far_log,
        ice::{self, Server, Transport},
        peer::{Direction, Setup, has_pictures},
        sdp,
    },
    secret::Secret,
};

/// Pause before a server is asked again for what is not there yet.
const AGAIN: Duration = Duration::from_millis(250);
/// How long freeing what servers keep for us may take: less than the worker has to end in.
const TEARDOWN: Duration = Duration::from_millis(900);
/// Share of it in which an answer under way may still come, and say what it made.
const LAST_ANSWER: Duration = Duration::from_millis(400);

/// A far end elsewhere.
pub(super) struct Elsewhere {
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
    /// Ways to TURN servers over streams.
    bridges: JoinSet<()>,
    /// What went wrong on these ways.
    trouble: bridge::Trouble,
}

impl Elsewhere {
    pub(super) async fn new(remote: &Remote, interface: Option<&str>) -> Result<Self, Failure> {
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
        let client = Client::new(remote.ca_file.as_deref(), token, interface);
        if legs.iter().any(|(_, url)| url.scheme() == "https") {
            client.tls().await?;
        }
        let mut elsewhere = Self {
            kind,
            legs,
            client: Arc::new(client),
            servers: Vec::new(),
            relay_only: remote.relay_only,
            kept: Arc::default(),
            pending: None,
            signs: JoinSet::new(),
            bridges: JoinSet::new(),
            trouble: bridge::Trouble::default(),
        };
        elsewhere.servers = elsewhere.bridged(ice::read(&remote.ice_servers)?).await?;
        Ok(elsewhere)
    }

    /// The servers with ways over UDP to those that are spoken to over a stream. Sockets that are bound to
    /// an interface do not reach the loopback on which these ways begin, and go without.
    async fn bridged(&mut self, mut servers: Vec<Server>) -> Result<Vec<Server>, Failure> {
        if self.client.interface().is_some_and(|interface| interface != "lo") {
            let reachable = |url: &String| ice::parse(url).is_ok_and(|address| !address.transport.is_stream());
            servers.iter_mut().for_each(|server| server.urls.retain(reachable));
            servers.retain(|server| !server.urls.is_empty());
        }
        for url in servers.iter_mut().flat_map(|server| &mut server.urls) {
            let Ok(address) = ice::parse(url) else { continue };
            let tls = match address.transport {
                Transport::StunUdp | Transport::TurnUdp => continue,
                Transport::TurnTcp => None,
                Transport::TurnTls => Some(self.client.tls().await?),
            };
            let way = bridge::Way { address, interface: self.client.interface().map(str::to_owned), tls };
            let bridge = bridge::open(way, Arc::clone(&self.trouble), &mut self.bridges).await;
            *url = format!("turn:{}?transport=udp", bridge.map_err(|error| failed(Reason::Ice, &error))?);
        }
        Ok(servers)
    }

    /// The connections to make.
    pub(super) fn legs(&self) -> Vec<Leg> {
        self.legs.iter().map(|(leg, _)| *leg).collect()
    }

    pub(super) fn timing(&self) -> Timing {
        self.client.timing()
    }

    fn has_relay(&self) -> bool {
        let mut urls = self.servers.iter().flat_map(|server| &server.urls);
        urls.any(|url| ice::parse(url).is_ok_and(|address| address.is_turn()))
    }

    /// Whether a relay has to be used and none is known.
    pub(super) fn lacks_relay(&self) -> bool {
        self.relay_only && !self.has_relay()
    }

    /// What went wrong last on a way to a TURN server.
    pub(super) fn trouble(&self) -> Option<Failure> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses `servers` from now on; `false` if none of them is of use.
    pub(super) async fn adopt(&mut self, servers: Vec<Server>) -> Result<bool, Failure> {
        self.servers = self.bridged(servers.into_iter().filter(Server::is_usable).collect()).await?;
        Ok(!self.servers.is_empty())
    }

    /// Answers the offer of a server that made one.
    pub(super) async fn answer(&self, leg: Leg, answer: String, deadline: Instant) -> Result<(), Failure> {
        let nowhere = || Failure::new(Reason::Signalling, "the server made an offer, and no Location to answer it at");
        let session = self.kept.of(leg).ok_or_else(nowhere)?;
        whip::patch(&self.client, &session, answer, deadline).await
    }

    pub(super) fn setup(&self, leg: Leg) -> Setup {
        let near = self.legs.iter().any(|(of, url)| *of == leg && on_loopback(url));
        Setup {
            direction: match leg {
                Leg::Both => Direction::Both,
                Leg::Publish => Direction::Send,
                Leg::Subscribe => Direction::Receive,
            },
            servers: self.servers.clone(),
            // Without a relay the first offer only asks for the name of one.
            relay_only: self.relay_only && self.has_relay(),
            ..Setup::on_interfaces(near)
        }
    }

    pub(super) async fn exchange(&mut self, leg: Leg, offer: String, deadline: Instant) -> Result<Described, Failure> {
        let reply = loop {
            match self.ask(leg, offer.clone(), deadline).await {
                Ok(reply) => break reply,
                Err(Refusal { not_yet: true, .. }) if Instant::now() + AGAIN < deadline => sleep(AGAIN).await,
                Err(refusal) => return Err(refusal.failure),
            }
        };
        let pictures = has_pictures(&offer);
        let (text, is_offer, servers) = match reply {
            Reply::Answer { sdp, servers } if !pictures => (sdp::without_pictures(&sdp), false, servers),
            Reply::Answer { sdp, servers } => (sdp, false, servers),
            Reply::Offer { sdp, servers } => (sdp, true, servers),
        };
        let plain = sdp::plain(&text, leg.receives(), pictures).map_err(|error| failed(Reason::Signalling, &error))?;
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

    /// Ends the call at a box that reflects, for what it noted; `None` of any other far end. Where that
    /// fails, the teardown ends it once more.
    pub(super) async fn far_side(&self, deadline: Instant) -> Option<FarSide> {
        // Of all far ends only a box that reflects has one resource for both ways.
        let Some(Session::Resource { url, home, .. }) = self.kept.of(Leg::Both) else { return None };
        let text = match whip::notes(&self.client, &url, &home, deadline).await {
            Ok(text) => text,
            Err(failure) => return Some(FarSide::Unknown(failure)),
        };
        self.kept.forget(Leg::Both);
        if text.is_empty() {
            let detail = "the far end does not say which packets arrived there: it is of an older version, \
                          or the call was too long";
            return Some(FarSide::Unknown(Failure::new(Reason::Parse, detail)));
        }
        Some(match far_log::read(&text) {
            Ok(log) => FarSide::Noted(log),
            Err(error) => FarSide::Unknown(failed(Reason::Parse, &error)),
        })
    }

    pub(super) async fn teardown(&mut self) {
        let deadline = Instant::now() + TEARDOWN;
        self.signs.abort_all();
        if let Some(mut pending) = self.pending.take()
            && timeout_at(Instant::now() + LAST_ANSWER, &mut pending).await.is_err()
        {
            pending.abort();
        }
        self.end(self.kept.take(), deadline).await;
    }

    /// Ends what is kept for one connection. It is forgotten only then.
    pub(super) async fn end_leg(&self, leg: Leg, deadline: Instant) {
        let sessions = self.kept.all().into_iter().filter(|session| session.is_of(leg)).collect();
        self.end(sessions, deadline).await;
        self.kept.forget(leg);
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
