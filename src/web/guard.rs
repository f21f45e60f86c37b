//! What is in force: who may come in now. The web config file is read again when somebody comes, at most once a
//! second; a bad one changes nothing.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bellwether_agent::export::Reload;
use chrono::{DateTime, Utc};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{
    access::{self, Access, Reading},
    file::Rate,
    gate::{Gate, Verdict},
    peers::Peer,
};

/// The file is looked at no more often.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Nobody waits longer for a look: a disk may hang.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How whoever asks without a password is told to ask with one.
const CHALLENGE: &str = "Basic realm=\"bellwether\", charset=\"UTF-8\"";

/// Where the time of day comes from.
type Clock = Box<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What is in force.
pub(super) struct Guard {
    state: Mutex<Inner>,
    gate: Gate,
    clock: Clock,
    /// Counts what came into force; connections look at it.
    changes: watch::Sender<u64>,
}

struct Inner {
    file: Option<PathBuf>,
    address: SocketAddr,
    access: Arc<Access>,
    /// The file as it was found last, good or bad.
    found: [u8; 32],
    reload: Reload,
    bucket: Option<Bucket>,
    looked_at: Instant,
    is_looking: bool,
    /// What was said already.
    warned: Vec<String>,
}

impl Guard {
    /// `access` is in force at `address` until `file`, from which it is, changes.
    pub(super) fn new(
        file: Option<PathBuf>,
        access: Arc<Access>,
        address: SocketAddr,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let now = clock();
        let inner = Inner {
            file,
            address,
            found: access.digest,
            reload: Reload { successful: true, succeeded_at: now },
            bucket: access.rate.map(Bucket::new),
            access,
            looked_at: Instant::now(),
            is_looking: false,
            warned: Vec::new(),
        };
        Ok(Self { state: Mutex::new(inner), gate: Gate::new()?, clock, changes: watch::Sender::new(0) })
    }

    /// Puts another file in force, or the same one again, whatever it no longer asks for.
    pub(super) fn take(&self, file: Option<PathBuf>, access: Arc<Access>) {
        let mut state = self.state();
        state.file = file;
        let changed = state.found != access.digest || state.access.digest != access.digest;
        state.found = access.digest;
        state.reload = Reload { successful: true, succeeded_at: (self.clock)() };
        if changed {
            self.put(&mut state, access);
        }
        state.warn();
    }

    /// Says where it listens, and what a person should know of it.
    pub(super) fn introduce(&self) {
        let mut state = self.state();
        tracing::info!("listening on {}", state.access.url(state.address));
        state.warn();
    }

    /// Where it listens, as a URL.
    pub(super) fn url(&self) -> String {
        let state = self.state();
        state.access.url(state.address)
    }

    /// How the newest reading of the file ended, if there is a file.
    pub(super) fn reload(&self) -> Option<Reload> {
        let state = self.state();
        state.file.as_ref().map(|_| state.reload)
    }

    /// Tells of each change of what is in force.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is in force now. Looks whether the files have changed, unless that was done a moment ago.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<Access> {
        let file = {
            let mut state = self.state();
            let is_fresh = state.is_looking || state.looked_at.elapsed() < BETWEEN_LOOKS;
            let file = state.file.clone().filter(|_| !is_fresh);
            state.is_looking |= file.is_some();
            file
        };
        if let Some(file) = file {
            let guard = Arc::clone(self);
            let look = spawn_blocking(move || {
                let before = *guard.changes.borrow();
                let reading = access::read(&file);
                guard.found(&file, reading, before);
            });
            // One that takes longer ends later, and there is no other meanwhile.
            let _slow = timeout(LONGEST_LOOK, look).await;
        }
        Arc::clone(&self.state().access)
    }

    /// Takes what a look has found, unless it is bad or asks for less than before. A reload may have come between:
    /// `before` counts the changes when the look began.
    fn found(&self, file: &Path, Reading { digest, access }: Reading, before: u64) {
        let mut state = self.state();
        state.is_looking = false;
        state.looked_at = Instant::now();
        let is_late = *self.changes.borrow() != before || state.file.as_deref() != Some(file);
        if is_late || state.found == digest {
            return;
        }
        state.found = digest;
        let access = access.and_then(|new| match new.gives_up(&state.access) {
            None => Ok(new),
            Some(what) => Err(vec![format!(
                "{}: found {what} no longer asked for, expected a reload or a restart to say so",
                file.display()
            )]),
        });
        state.reload.successful = access.is_ok();
        match access {
            Ok(access) => {
                state.reload.succeeded_at = (self.clock)();
                self.put(&mut state, Arc::new(access));
                tracing::info!("{} was read again, listening on {}", file.display(), state.access.url(state.address));
                state.warn();
            }
            Err(mistakes) => tracing::error!(
                "{} was read again and not taken, what was in force stays so: {}",
                file.display(),
                mistakes.join("; ")
            ),
        }
    }

    fn put(&self, state: &mut Inner, access: Arc<Access>) {
        if state.access.rate != access.rate {
            state.bucket = access.rate.map(Bucket::new);
        }
        state.access = access;
        self.changes.send_modify(|count| *count += 1);
    }

    /// Whether one more request may come now.
    fn has_room(&self) -> bool {
        self.state().bucket.as_mut().is_none_or(|bucket| bucket.take(Instant::now()))
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn warn(&mut self) {
        for warning in self.news() {
            tracing::warn!("{warning}");
        }
    }

    /// What a person should know, and was not told last.
    fn news(&mut self) -> Vec<String> {
        let mut warnings = self.access.warnings.clone();
        warnings.extend(self.access.exposure(self.address, self.file.as_deref()));
        let told = std::mem::replace(&mut self.warned, warnings.clone());
        warnings.retain(|warning| !told.contains(warning));
        warnings
    }
}

/// Lets requests pass that may: nothing behind it is reached by others.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let access = guard.current().await;
    let mut response = if guard.has_room() {
        let peer = request.extensions().get::<Peer>().copied();
        let shown = request.headers().get(header::AUTHORIZATION);
        let verdict = match peer {
            _ if access.users.is_empty() => Verdict::Admitted,
            Some(peer) => guard.gate.admit(&access.users, shown, peer).await,
            None => Verdict::Refused,
        };
        match verdict {
            Verdict::Admitted => next.run(request).await,
            Verdict::Refused => {
                let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
                (StatusCode::UNAUTHORIZED, challenge, "expected a user and the password\n").into_response()
            }
            Verdict::Busy => later(StatusCode::SERVICE_UNAVAILABLE, "too many passwords wait to be checked\n"),
        }
    } else {
        later(StatusCode::TOO_MANY_REQUESTS, "too many requests\n")
    };
    for (name, value) in &access.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn later(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::RETRY_AFTER, HeaderValue::from_static("1"))], text).into_response()
}

/// A bucket of requests: `rate_limit`.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// How much of it is there, in time: full at `interval` times `burst`.
    full: Duration,
    since: Instant,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self { rate, full: rate.interval.saturating_mul(rate.burst), since: Instant::now() }
    }

    /// Takes one request out, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let Rate { interval, burst } = self.rate;
        let most = interval.saturating_mul(burst);
        self.full = self.full.saturating_add(now.saturating_duration_since(self.since)).min(most);
        self.since = now;
        match self.full.checked_sub(interval) {
            Some(left) => {
                self.full = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
