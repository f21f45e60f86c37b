//! Connecting: signalling, ICE and DTLS of each connection of a call, each timed.

use std::sync::Arc;

use rtc::shared::error::Error as RtcError;
use tokio::time::{Instant, timeout_at};

use super::{Call, Inlet, failed, serve};
use crate::{
    Failure, Reason, Unit,
    media::{
        capture::{Phase, Stream},
        peer::{Event, Peer, Setup, on_interface},
        rendezvous::{Described, Leg},
        socket::{self, Marks, StampingRuntime},
    },
};

/// What happens next to any of the connections, and to which of them.
pub(super) async fn next(peers: &mut [Peer]) -> (usize, Option<Event>) {
    match peers {
        [] => std::future::pending().await,
        [only] => (0, only.events.recv().await),
        [first, second, ..] => tokio::select! {
            event = first.events.recv() => (0, event),
            event = second.events.recv() => (1, event),
        },
    }
}

/// Whether media can go by the network interface of that name.
pub(super) fn check_interface(interface: &str) -> Result<(), Failure> {
    let what = format!("the network interface {interface}");
    socket::check_interface(interface).map_err(|error| failed(Reason::Ice, &what, &error))?;
    if on_interface(interface).is_empty() {
        return Err(Failure::new(Reason::Ice, format!("{what} has no address")));
    }
    Ok(())
}

impl Call<'_> {
    /// Makes the next connection of the call. A failure says which one it was, where there are two.
    pub(super) async fn connect(&mut self, leg: Leg, inlet: &Inlet, deadline: Instant) -> Result<(), Failure> {
        self.phases(leg, inlet, deadline).await.map_err(|failure| match leg {
            Leg::Both => failure,
            Leg::Publish => Failure::new(failure.reason, format!("publish: {}", failure.detail)),
            Leg::Subscribe => Failure::new(failure.reason, format!("subscribe: {}", failure.detail)),
        })
    }

    /// The phases of one connection.
    async fn phases(&mut self, leg: Leg, inlet: &Inlet, deadline: Instant) -> Result<(), Failure> {
        let done = 0.01 * self.peers.len() as f64;
        self.tell("signalling", done);
        self.signal(leg, inlet, deadline).await?;
        self.signalling_done();

        self.tell("ice", done + 0.003);
        let index = self.peers.len().saturating_sub(1);
        let mut ice_done = false;
        loop {
            let Ok((from, event)) = timeout_at(deadline, next(&mut self.peers)).await else {
                let (reason, what) = match ice_done {
                    false => (Reason::Ice, "no candidate pair worked"),
                    true => (Reason::Dtls, "the handshake did not end"),
                };
                return Err(Failure::new(
                    reason,
                    format!("{what} within {}", Unit::Seconds.show(self.order.connect.as_secs_f64())),
                ));
            };
            match event {
                Some(Event::IceConnected) if from == index && !ice_done => {
                    ice_done = true;
                    self.phase_done("ice");
                    self.tell("dtls", done + 0.006);
                }
                Some(Event::Connected) if from == index => {
                    if !ice_done {
                        self.phase_done("ice");
                    }
                    self.phase_done("dtls");
                    return Ok(());
                }
                None | Some(Event::IceFailed | Event::Failed) if from == index => {
                    let reason = if ice_done { Reason::Dtls } else { Reason::Ice };
                    return Err(Failure::new(reason, "the connection failed while it was set up"));
                }
                event => serve(event, inlet)?,
            }
        }
    }

    /// Offer and answer; the other way round where the server wants it so.
    async fn signal(&mut self, leg: Leg, inlet: &Inlet, deadline: Instant) -> Result<(), Failure> {
        let signalling = |error: RtcError| failed(Reason::Signalling, "offer and answer", &error);
        loop {
            let setup = self.rendezvous.setup(leg);
            let peer = self.peer(leg, setup.clone()).await.map_err(signalling)?;
            // Among the call's from the start, so that it is closed if the call ends meanwhile.
            let offer = self.peers.push_mut(peer).offer().await.map_err(signalling)?;
            if setup.relay_only && !offer.contains("a=candidate:") {
                return Err(self.rendezvous.no_relay());
            }
            let described = self.exchange(leg, offer, inlet, deadline).await?;
            let Some(peer) = self.peers.last_mut() else { return Ok(()) };
            let named = setup.servers.is_empty() && self.rendezvous.adopt(described.servers).await?;
            self.rendezvous.need_relay()?;
            if !described.is_offer && !named {
                return peer.accept(described.sdp, described.payload_types).await.map_err(signalling);
            }
            // Our own offer stands, or was made without the servers that we now know of: what comes
            // instead takes a connection of its own.
            peer.close().await;
            self.peers.pop();
            if !described.is_offer {
                self.rendezvous.end(leg, deadline).await;
                continue;
            }
            // Some servers are not ready for a handshake at once, and the library asks again only after a
            // second: they are to begin it when they are, unless they want us to.
            let passive = !described.sdp.contains("a=setup:passive");
            let setup = Setup { payload_types: described.payload_types, passive, ..self.rendezvous.setup(leg) };
            let peer = self.peer(leg, setup).await.map_err(signalling)?;
            let answer = self.peers.push_mut(peer).answer(described.sdp).await.map_err(signalling)?;
            return self.rendezvous.answer(leg, answer, deadline).await;
        }
    }

    /// Brings an offer to the far end, and serves the connections that work meanwhile.
    async fn exchange(
        &mut self,
        leg: Leg,
        offer: String,
        inlet: &Inlet,
        deadline: Instant,
    ) -> Result<Described, Failure> {
        let exchange = self.rendezvous.exchange(leg, offer, deadline);
        tokio::pin!(exchange);
        loop {
            tokio::select! {
                described = &mut exchange => return described,
                (_, event) = next(&mut self.peers) => serve(event, inlet)?,
            }
        }
    }

    /// Our end of a connection.
    async fn peer(&mut self, leg: Leg, mut setup: Setup) -> Result<Peer, RtcError> {
        let config = self.order.config;
        setup.pictures = self.plan.picture.is_some();
        if let Some(interface) = &config.interface {
            setup.addresses = on_interface(interface);
        }
        let runtime = StampingRuntime {
            log: Some(Arc::clone(&self.log)),
            checks: Arc::clone(&self.checks[usize::from(leg == Leg::Subscribe)]),
            impairment: if leg == Leg::Subscribe { None } else { self.impairment.clone() },
            marks: Marks { dscp: config.dscp, picture: None },
            interface: config.interface.clone(),
            rounds: None,
        };
        let peer = Peer::new(setup, runtime, &mut self.random).await?;
        if leg != Leg::Subscribe {
            self.ssrcs = Stream::ALL.map(|stream| peer.track(stream).ssrc);
        }
        Ok(peer)
    }

    /// Notes how long signalling took, the ways to servers apart.
    fn signalling_done(&mut self) {
        if let Some(timing) = self.rendezvous.timing() {
            let before = std::mem::replace(&mut self.timing, timing);
            let ways =
                [("dns", timing.dns, before.dns), ("tcp", timing.tcp, before.tcp), ("tls", timing.tls, before.tls)];
            for (name, now, before) in ways.into_iter().filter(|(_, now, _)| !now.is_zero()) {
                let seconds = (now - before).as_secs_f64();
                self.add(name, seconds);
                self.phase_began += (seconds * 1e9) as i64;
            }
        }
        self.phase_done("signalling");
    }

    fn phase_done(&mut self, name: &str) {
        let now = self.clock.now();
        self.add(name, (now - self.phase_began) as f64 / 1e9);
        self.phase_began = now;
    }

    /// Adds to a phase: each connection goes through all of them.
    fn add(&mut self, name: &str, seconds: f64) {
        match self.phases.iter_mut().find(|phase| phase.name == name) {
            Some(phase) => phase.seconds += seconds,
            None => self.phases.push(Phase { name: name.to_owned(), seconds }),
        }
    }
}
