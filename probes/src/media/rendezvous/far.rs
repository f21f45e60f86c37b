//! Far ends for tests: small real servers on the loopback that note what is asked of them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{delete, patch, post},
};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::net::TcpListener;

use crate::media::{
    capture::Stream,
    codec::{SOUND_FRAME, SoundDecoder, browser::BrowserEncoder},
    peer::{Direction, Event, Incoming, KeyFrameRequests, LocalTrack, Peer, RemoteTrack, Setup},
    reflector::{Notes, Reflecting, Reflector},
    socket::StampingRuntime,
};

/// Changes a description on its way.
pub(crate) type Edit = Box<dyn Fn(String) -> String + Send + Sync>;

/// What a server says when a call is ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Farewell {
    #[default]
    Nothing,
    /// What it noted of the call.
    Notes,
    /// Ones without end.
    Endless,
}

/// A body of ones without end.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'1'; 4096])))))
    }
}

/// How a server behaves.
#[derive(Default)]
pub(crate) struct Manner {
    /// The token it wants.
    pub(crate) token: Option<&'static str>,
    /// Where it redirects the first request to.
    pub(crate) redirect: Option<String>,
    /// How often it has nothing to subscribe to yet.
    pub(crate) not_yet: usize,
    /// Whether subscribers have to answer its own offer.
    pub(crate) offers: bool,
    /// Payload types that it gives our codecs; those of the offer unless given.
    pub(crate) payload_types: Option<[u8; 2]>,
    /// What is done to the offer before it is looked at, and to what it answers or offers itself.
    pub(crate) edit_offer: Option<Edit>,
    pub(crate) edit_answer: Option<Edit>,
    /// Whether it takes media and gives none.
    pub(crate) mute: bool,
    /// The room it stands in.
    pub(crate) room: Option<Room>,
    /// Links to name.
    pub(crate) link: Option<String>,
    /// What it says when a call is ended.
    pub(crate) farewell: Farewell,
    /// Where to bind; the loopback of IPv4 unless given.
    pub(crate) at: Option<&'static str>,
}

/// From the loudspeaker of a room to its microphone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// In samples.
    pub(crate) delay: usize,
    /// A factor.
    pub(crate) gain: f32,
}

impl Room {
    /// Plays what comes, and sends what the microphone takes meanwhile, coded as a browser does.
    async fn play(self, track: RemoteTrack, out: LocalTrack) {
        let (mut decoder, mut encoder) = (SoundDecoder::new().unwrap(), BrowserEncoder::new(32_000));
        let mut air: VecDeque<f32> = vec![0.0; self.delay].into();
        while let Some(incoming) = track.next().await {
            let Incoming::Packet(mut packet) = incoming else { continue };
            air.extend(decoder.decode(&packet.payload).unwrap());
            let mut taken = [0.0; SOUND_FRAME];
            taken.fill_with(|| self.gain * air.pop_front().unwrap());
            packet.payload = encoder.encode(&taken).into();
            (packet.header.ssrc, packet.header.payload_type) = (out.ssrc, out.payload_type);
            let _ = out.send(packet).await;
        }
    }
}

/// A server that reflects (`/reflect`) and forwards (`/whip`, `/whep`).
pub(crate) struct Far {
    /// Its address, without a path.
    pub(crate) url: String,
    at: Arc<At>,
}

struct At {
    manner: Manner,
    address: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    asked: Vec<String>,
    reflecting: HashMap<String, Reflecting>,
    /// Tracks of the subscriber.
    out: Option<[LocalTrack; 2]>,
    /// A subscriber that has not answered yet.
    waiting: Option<Peer>,
    /// What one answered last.
    answer: String,
    source: Option<KeyFrameRequests>,
    /// Payload types of what was published.
    came: BTreeSet<u8>,
}

impl Far {
    pub(crate) async fn new(manner: Manner) -> Self {
        let bind = manner.at.unwrap_or("127.0.0.1:0");
        let listener = TcpListener::bind(bind).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let address = if bind.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        let at = Arc::new(At { manner, address, inner: Mutex::default() });
        let router = Router::new()
            .route("/reflect", post(reflect))
            .route("/whip", post(whip))
            .route("/whep", post(whep))
            .route("/session/{id}", delete(end).merge(patch(answered)))
            .with_state(Arc::clone(&at));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, at }
    }

    /// The payload types of what was published.
    pub(crate) fn came(&self) -> BTreeSet<u8> {
        self.at.inner.lock().unwrap().came.clone()
    }

    /// What a subscriber answered to an offer.
    pub(crate) fn answer(&self) -> String {
        self.at.inner.lock().unwrap().answer.clone()
    }

    /// What was asked: method, path, and whether the token was there.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.at.inner.lock().unwrap().asked.clone()
    }
}

impl At {
    /// Notes what is asked, and says no where the manner wants it.
    fn refuses(&self, what: &str, headers: &HeaderMap) -> Option<Response> {
        let given = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let mut inner = self.inner.lock().unwrap();
        inner.asked.push(format!("{what}{}", given.as_deref().map(|_| " with a token").unwrap_or_default()));
        if let (Some(url), true) = (&self.manner.redirect, inner.asked.len() == 1) {
            return Some((StatusCode::TEMPORARY_REDIRECT, [("location", url.clone())]).into_response());
        }
        match self.manner.token.map(|token| format!("Bearer {token}")) {
            Some(token) if given.as_deref() != Some(token.as_str()) => Some(StatusCode::UNAUTHORIZED.into_response()),
            _ => None,
        }
    }

    fn created(&self, status: StatusCode, id: &str, sdp: String) -> Response {
        let mut response = (status, [("content-type", "application/sdp"), ("etag", "\"e1\"")], sdp).into_response();
        response.headers_mut().insert("location", format!("/session/{id}").parse().unwrap());
        if let Some(link) = &self.manner.link {
            response.headers_mut().insert("link", link.parse().unwrap());
        }
        response
    }

    async fn peer(&self, direction: Direction, payload_types: [u8; 2]) -> Peer {
        let setup = Setup { direction, payload_types, ..Setup::at(self.address) };
        Peer::new(setup, StampingRuntime::default(), &mut fastrand::Rng::new()).await.unwrap()
    }
}

/// A description with another payload type.
fn renumbered(sdp: &str, from: u8, to: u8) -> String {
    let change = |line: &str| match line.strip_prefix("m=") {
        Some(_) => line.replace(&format!(" {from}"), &format!(" {to}")),
        None => line.replace(&format!(":{from} "), &format!(":{to} ")),
    };
    sdp.lines().map(|line| change(line) + "\r\n").collect()
}

fn edited(sdp: String, edit: &Option<Edit>) -> String {
    match edit {
        Some(edit) => edit(sdp),
        None => sdp,
    }
}

async fn reflect(State(at): State<Arc<At>>, headers: HeaderMap, offer: String) -> Response {
    if let Some(refused) = at.refuses("POST /reflect", &headers) {
        return refused;
    }
    let offer = edited(offer, &at.manner.edit_offer);
    if at.manner.mute {
        let mut peer = at.peer(Direction::Both, Setup::PAYLOAD_TYPES).await;
        let answer = peer.answer(offer).await.unwrap();
        tokio::spawn(async move { while peer.events.recv().await.is_some() {} });
        return at.created(StatusCode::CREATED, "reflect", answer);
    }
    if let Some(room) = at.manner.room {
        let setup = Setup::at(at.address).for_offer(&offer);
        let mut peer = Peer::new(setup, StampingRuntime::default(), &mut fastrand::Rng::new()).await.unwrap();
        let answer = peer.answer(offer).await.unwrap();
        tokio::spawn(async move {
            while let Some(event) = peer.events.recv().await {
                if let Event::Track(track) = event {
                    tokio::spawn(room.play(track, peer.track(Stream::Audio).clone()));
                }
            }
        });
        return at.created(StatusCode::CREATED, "reflect", answer);
    }
    let notes = (at.manner.farewell == Farewell::Notes).then(Notes::new);
    let reflector =
        Reflector::with(Setup::at("127.0.0.1:0").for_offer(&offer), notes, &mut fastrand::Rng::new()).await.unwrap();
    let (answer, reflecting) = reflector.answer(offer).await.unwrap();
    at.inner.lock().unwrap().reflecting.insert("reflect".to_owned(), reflecting);
    let answer = edited(answer, &at.manner.edit_answer);
    at.created(StatusCode::CREATED, "reflect", answer)
}

async fn whip(State(at): State<Arc<At>>, headers: HeaderMap, offer: String) -> Response {
    if let Some(refused) = at.refuses("POST /whip", &headers) {
        return refused;
    }
    let own = at.manner.payload_types.unwrap_or(Setup::PAYLOAD_TYPES);
    let mut peer = at.peer(Direction::Receive, own).await;
    // Asked in its own numbers, it answers in them.
    let [(audio, own_audio), (video, own_video)] = [0, 1].map(|i| (Setup::PAYLOAD_TYPES[i], own[i]));
    let offer = renumbered(&renumbered(&offer, audio, own_audio), video, own_video);
    let answer = peer.answer(offer).await.unwrap();
    let server = Arc::clone(&at);
    tokio::spawn(async move {
        while let Some(event) = peer.events.recv().await {
            let Event::Track(track) = event else { continue };
            if track.stream == Stream::Video {
                server.inner.lock().unwrap().source = Some(track.requests());
            }
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                while let Some(incoming) = track.next().await {
                    let Incoming::Packet(mut packet) = incoming else { continue };
                    let out = server.inner.lock().unwrap().out.as_ref().map(|out| out[track.stream as usize].clone());
                    let Some(out) = out else { continue };
                    server.inner.lock().unwrap().came.insert(packet.header.payload_type);
                    // As a forwarding server does: everything but the payload is its own.
                    packet.header.ssrc = out.ssrc;
                    packet.header.payload_type = out.payload_type;
                    packet.header.sequence_number = packet.header.sequence_number.wrapping_add(100);
                    let _ = out.send(packet).await;
                }
            });
        }
    });
    at.created(StatusCode::CREATED, "publish", answer)
}

async fn whep(State(at): State<Arc<At>>, headers: HeaderMap, offer: String) -> Response {
    if let Some(refused) = at.refuses("POST /whep", &headers) {
        return refused;
    }
    let asked = at.inner.lock().unwrap().asked.iter().filter(|asked| asked.starts_with("POST /whep")).count();
    if asked <= at.manner.not_yet {
        return StatusCode::CONFLICT.into_response();
    }
    let mut peer = at.peer(Direction::Send, at.manner.payload_types.unwrap_or(Setup::PAYLOAD_TYPES)).await;
    if at.manner.offers {
        let offer = edited(peer.offer().await.unwrap(), &at.manner.edit_answer);
        at.inner.lock().unwrap().waiting = Some(peer);
        return at.created(StatusCode::NOT_ACCEPTABLE, "subscribe", offer);
    }
    let answer = edited(peer.answer(offer).await.unwrap(), &at.manner.edit_answer);
    forward(&at, peer);
    at.created(StatusCode::CREATED, "subscribe", answer)
}

async fn answered(State(at): State<Arc<At>>, Path(id): Path<String>, headers: HeaderMap, answer: String) -> Response {
    let tag = headers.get("if-match").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    if let Some(refused) = at.refuses(&format!("PATCH /session/{id} {tag}"), &headers) {
        return refused;
    }
    let mut peer = at.inner.lock().unwrap().waiting.take().unwrap();
    at.inner.lock().unwrap().answer.clone_from(&answer);
    peer.accept(answer, at.manner.payload_types.unwrap_or(Setup::PAYLOAD_TYPES)).await.unwrap();
    forward(&at, peer);
    StatusCode::NO_CONTENT.into_response()
}

/// Hands to a subscriber what is published.
fn forward(at: &Arc<At>, mut peer: Peer) {
    let at = Arc::clone(at);
    tokio::spawn(async move {
        while let Some(event) = peer.events.recv().await {
            match event {
                Event::Connected => {
                    at.inner.lock().unwrap().out = Some(Stream::ALL.map(|stream| peer.track(stream).clone()));
                }
                Event::KeyFrameWanted => {
                    let source = at.inner.lock().unwrap().source.clone();
                    if let Some(source) = source {
                        source.send().await;
                    }
                }
                _ => {}
            }
        }
    });
}

async fn end(State(at): State<Arc<At>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refused) = at.refuses(&format!("DELETE /session/{id}"), &headers) {
        return refused;
    }
    let reflecting = at.inner.lock().unwrap().reflecting.remove(&id);
    let mut noted = None;
    if let Some(reflecting) = reflecting {
        noted = reflecting.notes();
        reflecting.close().await;
    }
    match (at.manner.farewell, noted) {
        (Farewell::Endless, _) => Body::new(Endless).into_response(),
        (_, Some(notes)) => notes.text().into_response(),
        (_, None) => StatusCode::OK.into_response(),
    }
}
