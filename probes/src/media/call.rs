//! One call: connect, send the test signal, listen for it, hang up, hand back what happened.

#![expect(clippy::disallowed_methods, reason = "a shell: it measures on the clock")]

use std::{
    error::Error as StdError,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::{interval, sleep_until},
};

use super::{
    Config, Rehearsal,
    bounds::Plan,
    capture::{Capture, FarSide, Nanos, Phase, Stream},
    clock::Clock,
    link,
    peer::{Event, Peer},
    rendezvous::{Rendezvous, Timing},
    slice,
    socket::{Checks, Impairment, Log},
};
use crate::{Failure, Reason};
use connect::{check_interface, next};
use listen::{Heard, Inlet, Listener, Outlet, Senses};
pub(crate) use own::{Hear, HeardPacket, Own, Voice};
use pace::{Pace, PaceError, Sent, Sources};
pub(crate) use reorder::{Extender, Next, Reorder};

mod connect;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod h264;
mod listen;
mod own;
mod pace;
mod record;
mod reorder;
mod sound;

/// How long connecting usually may take, of all connections together.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// How long the first packet may take once media is sent.
const FIRST_PACKET: Duration = Duration::from_secs(3);
/// Media before the steady part, in which encoders, paths and buffers settle.
const WARM_UP: Nanos = 1_000_000_000;
/// How long the call listens after the last packet was sent.
const TAIL: Duration = Duration::from_millis(600);
/// How long a box that reflected the call may take to say what it noted of it.
const NOTES: Duration = Duration::from_secs(2);
/// Period of the timer whose lateness tells how busy this box is.
const TICK: Nanos = 5_000_000;
/// The same in a call of sound alone, of whose turns on the processor it would be the greater part.
const LIGHT_TICK: Nanos = 10_000_000;

/// What a call is told from outside.
pub(crate) struct Order<'a> {
    pub(crate) config: &'a Config,
    pub(crate) seed: u64,
    pub(crate) started_at: DateTime<Utc>,
    /// How long connecting may take.
    pub(crate) connect: Duration,
    /// Told each phase as it begins, with the share of the call that is done.
    pub(crate) progress: &'a (dyn Fn(&str, f64) + Sync),
}

/// Makes the call; ends it early with the failure that `end` gives.
pub(crate) async fn call(order: &Order<'_>, end: impl Future<Output = Failure>) -> Result<Capture, Failure> {
    call_with(order, None, end).await
}

/// The same with another sound than the test signal, and an ear of its own for what comes back.
pub(crate) async fn call_with(
    order: &Order<'_>,
    own: Option<Own>,
    end: impl Future<Output = Failure>,
) -> Result<Capture, Failure> {
    if let Some(interface) = &order.config.interface {
        check_interface(interface)?;
    }
    // Before the clock starts: what it takes is no part of connecting.
    let mut random = fastrand::Rng::with_seed(order.seed);
    let codecs = |error| failed(Reason::Worker, "codecs", &error);
    let link = link::bits_per_second(order.config).await;
    let (voice, ear) = own.map(|own| (own.voice, own.ear)).unzip();
    let (sources, plan) = Sources::new(order.config, link, voice, &mut random).map_err(codecs)?;
    let senses = Senses::new(plan.picture.is_some(), ear).map_err(codecs)?;
    let interface = order.config.interface.as_deref();
    let rendezvous = Rendezvous::new(&order.config.far_end, interface, &mut random).await?;
    let impairment = impairment(&order.config.rehearsal, random.u64(..))?;
    let mut call = Call::new(order, plan, random, rendezvous, impairment);
    let result = tokio::select! {
        result = call.run(sources, senses) => result,
        failure = end => Err(failure),
    };
    call.close().await;
    result
}

/// A call under way. It owns both ends, so that they are closed however it goes.
struct Call<'a> {
    order: &'a Order<'a>,
    /// What is sent.
    plan: Plan,
    clock: Clock,
    log: Arc<Log>,
    /// Of the connection we send on, and of the one that subscribes where that is another.
    checks: [Arc<Checks>; 2],
    random: fastrand::Rng,
    rendezvous: Rendezvous,
    /// What is to be done to our outgoing media.
    impairment: Option<Arc<Impairment>>,
    /// Our end of each connection, in the order in which they were made.
    peers: Vec<Peer>,
    phases: Vec<Phase>,
    phase_began: Nanos,
    /// How long ways to servers had taken when the phase began.
    timing: Timing,
    ssrcs: [u32; 2],
    stop: Arc<AtomicBool>,
    key_wanted: Arc<AtomicBool>,
}

impl<'a> Call<'a> {
    fn new(
        order: &'a Order<'a>,
        plan: Plan,
        random: fastrand::Rng,
        rendezvous: Rendezvous,
        impairment: Option<Arc<Impairment>>,
    ) -> Self {
        let clock = Clock::start();
        Self {
            order,
            plan,
            clock,
            log: Arc::new(Log::new(clock)),
            checks: Default::default(),
            random,
            rendezvous,
            impairment,
            peers: Vec::new(),
            phases: Vec::new(),
            phase_began: 0,
            timing: Timing::default(),
            ssrcs: [0; 2],
            stop: Arc::default(),
            key_wanted: Arc::default(),
        }
    }

    /// Connects, and sends from the first connection on: some servers have nothing to subscribe to
    /// before media flows.
    async fn run(&mut self, sources: Sources, senses: Senses) -> Result<Capture, Failure> {
        let deadline = tokio::time::Instant::now() + self.order.connect;
        let (inlet, outlet) = Inlet::new(Arc::clone(&self.log), Arc::clone(&self.key_wanted));
        let listener = Listener::new(self.clock, Handle::current(), sources.stream_number, senses);
        let mut media = Some((sources, listener, outlet));
        let mut sending = None;
        let mut connected = 0;
        for leg in self.rendezvous.legs() {
            self.connect(leg, &inlet, deadline).await?;
            connected = self.clock.now();
            if let Some((sources, listener, outlet)) = media.take() {
                sending = self.send(sources, listener, outlet);
            }
        }
        let Some(sending) = sending else { return Err(Failure::new(Reason::Worker, "no connection")) };
        let media = self.media(connected, sending, inlet).await?;
        Ok(self.capture(connected, media))
    }

    /// Starts to send on the first connection, and to listen.
    fn send(&self, sources: Sources, listener: Listener, outlet: Outlet) -> Option<Sending> {
        let peer = self.peers.first()?;
        let pace = Pace {
            clock: self.clock,
            start: self.clock.now(),
            end: Arc::new(AtomicI64::new(Nanos::MAX)),
            runtime: Handle::current(),
            stop: Arc::clone(&self.stop),
            key_wanted: Arc::clone(&self.key_wanted),
        };
        let listener = spawn_blocking(move || {
            slice::usual();
            listener.run(&outlet)
        });
        let sound = {
            let (track, pace) = (peer.track(Stream::Audio).clone(), pace.clone());
            spawn_blocking(move || sources.sound.send(&track, &pace))
        };
        let pictures = sources.pictures.map(|pictures| {
            let (track, pace) = (peer.track(Stream::Video).clone(), pace.clone());
            spawn_blocking(move || {
                slice::usual();
                pictures.send(&track, &pace)
            })
        });
        let end = Arc::clone(&pace.end);
        let tick = if pictures.is_some() { TICK } else { LIGHT_TICK };
        let timer = spawn_blocking(move || overshoots(&pace, tick));
        Some(Sending { end, sound, pictures, timer, listener })
    }

    /// Goes on until the call is over.
    async fn media(&mut self, connected: Nanos, sending: Sending, inlet: Inlet) -> Result<Media, Failure> {
        let config = self.order.config;
        let start = connected + WARM_UP;
        let end = start + nanos(config.duration.0);
        sending.end.store(end, Ordering::Relaxed);
        let over = self.clock.instant(end) + TAIL + config.rehearsal.delay.0;
        self.attend(&inlet, connected, over).await?;
        let end = end.min(self.clock.now());
        self.stop.store(true, Ordering::Relaxed);
        let own = |error: PaceError| failed(Reason::Worker, "media", &error);
        let sound = joined(sending.sound).await?.map_err(own)?;
        let pictures = match sending.pictures {
            Some(pictures) => joined(pictures).await?.map_err(own)?,
            None => Sent::default(),
        };
        let overshoots = joined(sending.timer).await?;
        let far_side = self.rendezvous.far_side(tokio::time::Instant::now() + NOTES).await;
        // Closing ends the tracks, they end their tasks, and these the listener.
        self.close().await;
        let dropped = Arc::clone(&inlet.dropped);
        drop(inlet);
        let heard = joined(sending.listener).await?;
        let dropped = dropped.load(Ordering::Relaxed);
        Ok(Media { start, end, sound, pictures, overshoots, heard, far_side, dropped })
    }

    /// Serves the connections' events until the call is `over`.
    async fn attend(&mut self, inlet: &Inlet, connected: Nanos, over: Instant) -> Result<(), Failure> {
        let first_packet = self.clock.instant(connected) + FIRST_PACKET;
        let began = Instant::now();
        let mut beat = interval(Duration::from_millis(500));
        loop {
            let event = tokio::select! {
                (_, event) = next(&mut self.peers) => event,
                _ = beat.tick() => {
                    let now = Instant::now();
                    let share = (now - began).as_secs_f64() / (over - began).as_secs_f64();
                    self.tell("media", 0.03 + 0.97 * share.min(1.0));
                    if now > first_packet && inlet.received.load(Ordering::Relaxed) == 0 {
                        // Nothing will come any more; what was sent shows it.
                        return Ok(());
                    }
                    continue;
                }
                () = sleep_until(over.into()) => return Ok(()),
            };
            serve(event, inlet)?;
        }
    }

    /// Ends sending, then both ends of the call. The far end is told first: it would take a connection
    /// that just ends for one that broke.
    async fn close(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.rendezvous.teardown().await;
        for peer in self.peers.drain(..) {
            peer.close().await;
        }
    }

    fn tell(&self, phase: &str, done: f64) {
        (self.order.progress)(phase, done);
    }
}

/// What is under way while media is sent.
struct Sending {
    /// When it is to end; known once all is connected.
    end: Arc<AtomicI64>,
    sound: JoinHandle<Result<Sent, PaceError>>,
    pictures: Option<JoinHandle<Result<Sent, PaceError>>>,
    timer: JoinHandle<Vec<Nanos>>,
    listener: JoinHandle<Heard>,
}

/// What sending and listening yielded.
struct Media {
    start: Nanos,
    end: Nanos,
    sound: Sent,
    pictures: Sent,
    overshoots: Vec<Nanos>,
    heard: Heard,
    far_side: Option<FarSide>,
    dropped: u64,
}

fn impairment(rehearsal: &Rehearsal, seed: u64) -> Result<Option<Arc<Impairment>>, Failure> {
    if rehearsal.is_none() {
        return Ok(None);
    }
    let impairment = Impairment::new(rehearsal.delay.0, rehearsal.loss, seed);
    impairment.map(|it| Some(Arc::new(it))).map_err(|error| failed(Reason::Worker, "rehearsal", &error))
}

/// Serves what happened to a connection that works.
fn serve(event: Option<Event>, inlet: &Inlet) -> Result<(), Failure> {
    match event {
        Some(Event::Track(track)) => drop(tokio::spawn(inlet.clone().serve(track))),
        Some(Event::KeyFrameWanted) => inlet.want_key_frame(),
        None | Some(Event::IceFailed | Event::Failed) => {
            return Err(Failure::new(Reason::Ice, "the connection broke during the call"));
        }
        Some(Event::Gathered | Event::IceConnected | Event::Connected) => {}
    }
    Ok(())
}

/// How late a timer of this period fires, until sending is over.
fn overshoots(pace: &Pace, tick: Nanos) -> Vec<Nanos> {
    let due = (1..).map(|count| pace.start + count * tick);
    due.take_while(|due| pace.wait(*due)).map(|due| pace.clock.now() - due).collect()
}

async fn joined<T>(task: JoinHandle<T>) -> Result<T, Failure> {
    task.await.map_err(|error| failed(Reason::Worker, "a thread of the call", &error))
}

/// A failure with the whole chain of causes in one line.
fn failed(reason: Reason, what: &str, error: &dyn StdError) -> Failure {
    let mut detail = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        detail.push_str(&format!(": {error}"));
        source = error.source();
    }
    Failure::new(reason, detail)
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests;
