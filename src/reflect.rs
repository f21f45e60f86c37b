//! `reflect`: another room's far end. Takes offers by HTTP as WHIP does (RFC 9725) and sends back, to
//! whoever made the offer and to nobody else, what it sends. It decodes nothing and keeps no media: when
//! packets came and left again is handed out once, with the answer that ends the call.
//!
//! Callers are not trusted, though those from elsewhere show a token: an offer is bounded and reduced before
//! the library sees it, media is authenticated (SRTP). All calls share this process. Should one make the
//! library panic, it ends (release builds abort) with the others, of which there are at most three: they
//! fail at their callers as broken connections, which is a limit's business only if it happens again, and a
//! service manager with `Restart=always` has it back within seconds. A child for each call would spare the
//! others, for the memory of a whole program each.

use std::{
    collections::HashMap,
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bellwether_probes::media::reflector::{self, Ended, Notes, Reflecting};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep, timeout},
};

mod guard;
mod http;

pub use guard::GuardError;
use guard::Token;

/// Calls at once. Each takes a few per cent of a core.
const MOST_CALLS: usize = 4;
/// How long a call may last, whatever it says.
const LONGEST_CALL: Duration = Duration::from_secs(120);
/// How long the calls under way may take to end when the program does.
const GRACE: Duration = Duration::from_secs(3);

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// A file that holds the token callers must show.
    pub token_file: Option<PathBuf>,
    /// Files of the certificate chain and its key, in PEM; without them HTTP is plain.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Why nothing is reflected.
#[derive(Debug, thiserror::Error)]
pub enum ReflectError {
    /// Anybody could have this box send packets.
    #[error("listening on {0}, which others can reach, needs --token-file; without it only loopback is served")]
    Open(SocketAddr),
    /// The token, or the certificate, cannot be used.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gives no signals or no randomness.
    #[error("this system lacks what every program needs")]
    System(#[source] io::Error),
}

impl ReflectError {
    /// Codes of sysexits.h: 64 usage, 66 a file, 69 an address that is taken, 71 the system.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open(_) => 64,
            Self::Guard(_) => 66,
            Self::Listen { .. } => 69,
            Self::System(_) => 71,
        }
    }
}

/// Reflects until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting. Once it listens it does not fail.
pub async fn run(options: Options) -> Result<(), ReflectError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ReflectError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ReflectError::System)?;
    let address = options.listen;
    if options.token_file.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(ReflectError::Open(address));
    }
    let token = options.token_file.as_deref().map(Token::read).transpose()?;
    let tls = options.tls.as_ref().map(|(chain, key)| guard::acceptor(chain, key)).transpose()?;
    let listen = |source| ReflectError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    reflector::take_short_turns();
    let room = Arc::new(Room::new(token));
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!("reflecting calls, listening on {scheme}://{address}");
    tokio::select! {
        () = http::serve(&listener, tls.as_ref(), &room) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    room.close().await;
    Ok(())
}

/// The calls by their ids; `None` when there are to be no more.
type Calls = Option<HashMap<String, Handle>>;

/// What is held of a call under way.
#[derive(Debug)]
struct Handle {
    /// Ends the call when it is dropped.
    _end: oneshot::Sender<()>,
    notes: Option<Notes>,
}

/// The calls under way, and what a new one needs.
#[derive(Debug)]
struct Room {
    token: Option<Token>,
    places: Arc<Semaphore>,
    calls: Mutex<Calls>,
}

/// Why an offer was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{MOST_CALLS} calls are being reflected already")]
    Full,
    #[error(transparent)]
    Reflector(#[from] reflector::ReflectError),
    #[error("no id can be drawn")]
    Random(#[from] io::Error),
}

impl Room {
    fn new(token: Option<Token>) -> Self {
        Self { token, places: Arc::new(Semaphore::new(MOST_CALLS)), calls: Mutex::new(Some(HashMap::new())) }
    }

    /// Takes an offer; the id of the call, and the answer.
    async fn take(self: &Arc<Self>, offer: String, caller: IpAddr) -> Result<(String, String), Refused> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refused::Full)?;
        let drawn = draw()?;
        let mut random = fastrand::Rng::with_seed(u64::from_ne_bytes(drawn.seed));
        let id = data_encoding::HEXLOWER.encode(&drawn.id);
        let (answer, reflecting) = reflector::answer(offer, caller, &mut random).await?;
        let (end, ended) = oneshot::channel();
        if let Some(calls) = &mut *self.calls() {
            calls.insert(id.clone(), Handle { _end: end, notes: reflecting.notes() });
        }
        let call = Call { id: id.clone(), caller, reflecting, place };
        tokio::spawn(call.attend(Arc::clone(self), ended));
        Ok((id, answer))
    }

    /// Ends a call, if there is one; what was noted of it.
    fn end(&self, id: &str) -> Option<Option<Notes>> {
        self.calls().as_mut()?.remove(id).map(|call| call.notes)
    }

    /// Ends all calls and waits for their ends.
    async fn close(&self) {
        *self.calls() = None;
        let all = self.places.acquire_many(MOST_CALLS as u32);
        if timeout(GRACE, all).await.is_err() {
            tracing::warn!("a call did not end in time and is left behind");
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way.
struct Call {
    id: String,
    caller: IpAddr,
    reflecting: Reflecting,
    /// Given back when it is over.
    place: OwnedSemaphorePermit,
}

impl Call {
    /// Waits for its end, and says how it went.
    async fn attend(mut self, room: Arc<Room>, told: oneshot::Receiver<()>) {
        let began = Instant::now();
        let why = tokio::select! {
            ended = self.reflecting.ended() => match ended {
                Ended::Silent => "no media for 10 s",
                Ended::Gone | Ended::Told => "the connection ended",
            },
            _ = told => "told to",
            () = sleep(LONGEST_CALL) => "at most 120 s",
        };
        let (caller, packets, lasted) = (self.caller, self.reflecting.packets(), began.elapsed().as_secs_f64());
        self.reflecting.close().await;
        room.end(&self.id);
        tracing::info!("reflected {packets} packets of {caller} in {lasted:.1} s; ended: {why}");
        drop(self.place);
    }
}

/// Randomness of one call.
struct Drawn {
    /// Of the id, which nobody else may guess.
    id: [u8; 16],
    /// Of everything else.
    seed: [u8; 8],
}

/// Sixteen and eight bytes of the system's own randomness, which does not wait once the system is up.
fn draw() -> io::Result<Drawn> {
    let mut source = std::fs::File::open("/dev/urandom")?;
    let mut drawn = Drawn { id: [0; 16], seed: [0; 8] };
    source.read_exact(&mut drawn.id)?;
    source.read_exact(&mut drawn.seed)?;
    Ok(drawn)
}
