//! One call: connect, send the test signal, listen for it, hang up, hand back what happened.

#![expect(clippy::disallowed_methods, reason = "a shell: it measures on the clock")]

use std::{
    collections::HashMap,
    error::Error as StdError,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use rtc::shared::error::Error as RtcError;
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::{interval, sleep_until, timeout},
};

use super::{
    Config,
    capture::{
        Capture, Nanos, Phase, ReceivedPacket, ReceptionReport, Repairs, Repeat, SenderReport, SentPacket, Stream,
    },
    clock::Clock,
    file,
    peer::{Event, Peer},
    rendezvous::Rendezvous,
    slice,
    socket::{
        Impairment, Log, StampingRuntime,
        datagram::PacketId,
        log::{Report, Says},
    },
};
use crate::{Failure, Reason};
use listen::{Heard, Inlet, Listener};
use pace::{Pace, Sent, Sources};

mod h264;
mod listen;
mod pace;
mod reorder;
mod sound;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the first packet may take once media is sent.
const FIRST_PACKET: Duration = Duration::from_secs(3);
/// Media before the steady part, in which encoders, paths and buffers settle.
const WARM_UP: Nanos = 1_000_000_000;
/// How long the call listens after the last packet was sent.
const TAIL: Duration = Duration::from_millis(600);
/// Period of the timer whose lateness tells how busy this box is.
const TICK: Nanos = 5_000_000;

/// What a call is told from outside.
pub(crate) struct Order<'a> {
    pub(crate) config: &'a Config,
    pub(crate) seed: u64,
    pub(crate) started_at: DateTime<Utc>,
    /// Told each phase as it begins, with the share of the call that is done.
    pub(crate) progress: &'a (dyn Fn(&str, f64) + Sync),
}

/// Makes the call; ends it early with the failure that `end` gives.
pub(crate) async fn call(order: &Order<'_>, end: impl Future<Output = Failure>) -> Result<Capture, Failure> {
    // Before the clock starts: what it takes is no part of connecting.
    let mut random = fastrand::Rng::with_seed(order.seed);
    let sources = Sources::new(order.config, &mut random).map_err(|error| failed(Reason::Worker, "codecs", &error))?;
    let mut call = Call::new(order, random);
    let result = tokio::select! {
        result = call.run(sources) => result,
        failure = end => Err(failure),
    };
    call.close().await;
    result
}

/// A call under way. It owns both ends, so that they are closed however it goes.
struct Call<'a> {
    order: &'a Order<'a>,
    clock: Clock,
    log: Arc<Log>,
    random: fastrand::Rng,
    peer: Option<Peer>,
    rendezvous: Option<Rendezvous>,
    phases: Vec<Phase>,
    phase_began: Nanos,
    ssrcs: [u32; 2],
    stop: Arc<AtomicBool>,
    key_wanted: Arc<AtomicBool>,
}

impl<'a> Call<'a> {
    fn new(order: &'a Order<'a>, random: fastrand::Rng) -> Self {
        let clock = Clock::start();
        Self {
            order,
            clock,
            log: Arc::new(Log::new(clock)),
            random,
            peer: None,
            rendezvous: None,
            phases: Vec::new(),
            phase_began: 0,
            ssrcs: [0; 2],
            stop: Arc::default(),
            key_wanted: Arc::default(),
        }
    }

    async fn run(&mut self, sources: Sources) -> Result<Capture, Failure> {
        let connecting = timeout(CONNECT, self.connect()).await;
        connecting.unwrap_or_else(|_| {
            // Each phase is noted when it is over: the one that is not is the one that hung.
            let (reason, what) = match self.phases.len() {
                0 => (Reason::Signalling, "no answer to the offer"),
                1 => (Reason::Ice, "no candidate pair worked"),
                _ => (Reason::Dtls, "the handshake did not end"),
            };
            Err(Failure::new(reason, format!("{what} within {} s", CONNECT.as_secs())))
        })?;
        let connected = self.clock.now();
        let media = self.media(connected, sources).await?;
        Ok(self.capture(connected, media))
    }

    /// Signalling, ICE and DTLS, each timed.
    async fn connect(&mut self) -> Result<(), Failure> {
        self.tell("signalling", 0.0);
        let far_end = self.order.config.far_end;
        let signalling = |error: RtcError| failed(Reason::Signalling, "offer and answer", &error);
        let runtime = StampingRuntime { log: Some(Arc::clone(&self.log)), impairment: self.impairment()? };
        let peer = Peer::new(runtime, far_end.local_address(), &mut self.random).await.map_err(signalling)?;
        self.ssrcs = Stream::ALL.map(|stream| peer.track(stream).ssrc);
        let peer = self.peer.insert(peer);
        let offer = peer.offer().await.map_err(signalling)?;
        let (answer, rendezvous) = Rendezvous::exchange(far_end, offer, &mut self.random).await.map_err(signalling)?;
        self.rendezvous = Some(rendezvous);
        peer.accept(answer).await.map_err(signalling)?;
        self.phase_done("signalling");

        self.tell("ice", 0.01);
        let mut ice_done = false;
        loop {
            match self.next_event().await {
                Some(Event::IceConnected) if !ice_done => {
                    ice_done = true;
                    self.phase_done("ice");
                    self.tell("dtls", 0.02);
                }
                Some(Event::Connected) => {
                    if !ice_done {
                        self.phase_done("ice");
                    }
                    self.phase_done("dtls");
                    return Ok(());
                }
                None | Some(Event::IceFailed | Event::Failed) => {
                    let reason = if ice_done { Reason::Dtls } else { Reason::Ice };
                    return Err(Failure::new(reason, "the connection failed while it was set up"));
                }
                Some(_) => {}
            }
        }
    }

    /// Sends and listens until the call is over.
    async fn media(&mut self, connected: Nanos, sources: Sources) -> Result<Media, Failure> {
        let config = self.order.config;
        let runtime = Handle::current();
        let start = connected + WARM_UP;
        let end = start + nanos(config.duration.0);
        let pace = Pace {
            clock: self.clock,
            start: self.clock.now(),
            end,
            runtime: runtime.clone(),
            stop: Arc::clone(&self.stop),
            key_wanted: Arc::clone(&self.key_wanted),
        };
        let own = |error: &dyn StdError| failed(Reason::Worker, "media", error);
        let (inlet, outlet) = Inlet::new(Arc::clone(&self.log), Arc::clone(&self.key_wanted));
        let listener = Listener::new(self.clock, runtime, sources.stream_number).map_err(|error| own(&error))?;
        let listener = spawn_blocking(move || {
            slice::usual();
            listener.run(&outlet)
        });
        let Some(peer) = &self.peer else { return Err(Failure::new(Reason::Worker, "no connection")) };
        let sound = {
            let (track, pace) = (peer.track(Stream::Audio).clone(), pace.clone());
            spawn_blocking(move || sources.sound.send(&track, &pace))
        };
        let pictures = {
            let (track, pace) = (peer.track(Stream::Video).clone(), pace.clone());
            spawn_blocking(move || {
                slice::usual();
                sources.pictures.send(&track, &pace)
            })
        };
        let timer = spawn_blocking(move || overshoots(&pace));

        let over = self.clock.instant(end) + TAIL + config.rehearsal.delay.0;
        self.attend(&inlet, connected, over).await?;
        let end = end.min(self.clock.now());
        self.stop.store(true, Ordering::Relaxed);
        let sent = [joined(sound).await?, joined(pictures).await?].map(|sent| sent.map_err(|error| own(&error)));
        let [sound, pictures] = sent;
        let (sound, pictures, overshoots) = (sound?, pictures?, joined(timer).await?);
        // Closing ends the tracks, they end their tasks, and these the listener.
        self.close().await;
        let dropped = Arc::clone(&inlet.dropped);
        drop(inlet);
        let heard = joined(listener).await?;
        let dropped = dropped.load(Ordering::Relaxed);
        Ok(Media { start, end, sound, pictures, overshoots, heard, dropped })
    }

    /// Serves the connection's events until the call is `over`.
    async fn attend(&mut self, inlet: &Inlet, connected: Nanos, over: Instant) -> Result<(), Failure> {
        let first_packet = self.clock.instant(connected) + FIRST_PACKET;
        let began = Instant::now();
        let mut beat = interval(Duration::from_millis(500));
        loop {
            let Some(peer) = &mut self.peer else { return Ok(()) };
            let event = tokio::select! {
                event = peer.events.recv() => event,
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
            match event {
                Some(Event::Track(track)) => {
                    tokio::spawn(inlet.clone().serve(track));
                }
                Some(Event::KeyFrameWanted) => self.key_wanted.store(true, Ordering::Relaxed),
                None | Some(Event::IceFailed | Event::Failed) => {
                    return Err(Failure::new(Reason::Ice, "the connection broke during the call"));
                }
                Some(Event::Gathered | Event::IceConnected | Event::Connected) => {}
            }
        }
    }

    /// Puts together what the call yielded.
    fn capture(&self, connected: Nanos, media: Media) -> Capture {
        let Media { start, end, sound, pictures, overshoots, heard, dropped } = media;
        let left = self.log.leftovers();
        let known: HashMap<PacketId, &ReceivedPacket> =
            heard.packets.iter().map(|(id, packet)| (*id, packet)).collect();
        let repeats = left.repeats.iter().filter_map(|(id, at)| {
            let packet = known.get(id)?;
            Some(ReceivedPacket { at: *at, seen: *at, ..(*packet).clone() })
        });
        let mut received: Vec<ReceivedPacket> = repeats.collect();
        received.extend(heard.packets.iter().map(|(_, packet)| packet.clone()));
        received.sort_by_key(|packet| packet.at);
        let ours = |ssrc| Stream::ALL.into_iter().find(|stream| self.ssrcs[*stream as usize] == ssrc);
        let theirs: HashMap<u32, Stream> = heard.packets.iter().map(|(id, packet)| (id.ssrc, packet.stream)).collect();
        let reports = self.log.reports();
        let sender_reports = reports.iter().filter_map(|report| sender_report(report, &theirs)).collect();
        let reception_reports =
            reports.iter().filter_map(|report| reception_report(report, ours(report.ssrc)?, self.clock)).collect();
        let mut sent = sound.packets;
        sent.extend(pictures.packets);
        for packet in &mut sent {
            packet.at =
                self.log.sent(PacketId { ssrc: self.ssrcs[packet.stream as usize], sequence: packet.sequence as u16 });
        }
        let repairs = self.repairs(&sent, &heard);
        Capture {
            format: file::FORMAT,
            started_at: self.order.started_at,
            ended_at: self.order.started_at + TimeDelta::nanoseconds(self.clock.now()),
            target: self.order.config.far_end.name().to_owned(),
            phases: self.phases.clone(),
            connect_seconds: connected as f64 / 1e9,
            first_sound: heard.first_sound,
            first_frame: heard.frames.first().map(|frame| frame.at),
            media_start: start,
            media_end: end,
            frame_rate: f64::from(self.order.config.frame_rate),
            sent,
            received,
            frames_sent: pictures.frames,
            frames_received: heard.pictures,
            video_profile: heard.profile,
            frames_decoded: heard.frames,
            markers_sent: sound.markers,
            markers_heard: heard.markers,
            repairs: Some(repairs),
            sender_reports,
            reception_reports,
            round_trips: self.log.round_trips(),
            overshoots,
            clock_drift: self.clock.drift(),
            dropped: left.dropped + dropped,
        }
    }

    /// Which packets were repeated, and which asked for.
    fn repairs(&self, sent: &[SentPacket], heard: &Heard) -> Repairs {
        let resent = sent.iter().filter_map(|packet| {
            let SentPacket { stream, sequence, .. } = *packet;
            let id = PacketId { ssrc: self.ssrcs[stream as usize], sequence: sequence as u16 };
            Some(Repeat { stream, sequence, at: self.log.sent_again(id)? })
        });
        let requested = heard.packets.iter().filter_map(|(id, packet)| {
            let ReceivedPacket { stream, sequence, .. } = *packet;
            Some(Repeat { stream, sequence, at: self.log.requested(*id)? })
        });
        Repairs { resent: resent.collect(), requested: requested.collect() }
    }

    /// Ends sending, then both ends of the call.
    async fn close(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(peer) = self.peer.take() {
            peer.close().await;
        }
        if let Some(rendezvous) = self.rendezvous.take() {
            rendezvous.teardown().await;
        }
    }

    async fn next_event(&mut self) -> Option<Event> {
        self.peer.as_mut()?.events.recv().await
    }

    fn impairment(&mut self) -> Result<Option<Arc<Impairment>>, Failure> {
        let rehearsal = &self.order.config.rehearsal;
        if rehearsal.is_none() {
            return Ok(None);
        }
        let impairment = Impairment::new(rehearsal.delay.0, rehearsal.loss, self.random.u64(..));
        impairment
            .map(|impairment| Some(Arc::new(impairment)))
            .map_err(|error| failed(Reason::Worker, "rehearsal", &error))
    }

    fn phase_done(&mut self, name: &str) {
        let now = self.clock.now();
        self.phases.push(Phase { name: name.to_owned(), seconds: (now - self.phase_began) as f64 / 1e9 });
        self.phase_began = now;
    }

    fn tell(&self, phase: &str, done: f64) {
        (self.order.progress)(phase, done);
    }
}

/// What sending and listening yielded.
struct Media {
    start: Nanos,
    end: Nanos,
    sound: Sent,
    pictures: Sent,
    overshoots: Vec<Nanos>,
    heard: Heard,
    dropped: u64,
}

/// What a report on a stream that comes back says.
fn sender_report(report: &Report, theirs: &HashMap<u32, Stream>) -> Option<SenderReport> {
    let Says::Sent { ntp, rtp_time } = report.says else { return None };
    Some(SenderReport { stream: *theirs.get(&report.ssrc)?, at: report.at, ntp, rtp_time })
}

/// What a report on our `stream` says.
fn reception_report(report: &Report, stream: Stream, clock: Clock) -> Option<ReceptionReport> {
    let Says::Received { highest_sequence, total_lost, last_sender_report, delay } = report.says else { return None };
    let (at, ntp) = (report.at, clock.short_ntp(report.at));
    Some(ReceptionReport { stream, at, ntp, highest_sequence, total_lost, last_sender_report, delay })
}

/// How late a periodic timer fires, until sending is over.
fn overshoots(pace: &Pace) -> Vec<Nanos> {
    let due = (1..).map(|tick| pace.start + tick * TICK);
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
