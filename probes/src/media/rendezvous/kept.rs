//! What servers keep for us.

use std::sync::{Mutex, PoisonError};

use hyper::header::HeaderValue;
use url::Url;

use super::Leg;

/// What a server keeps for us until we say that we are done.
#[derive(Clone, Debug)]
pub(super) enum Session {
    /// A WHIP or WHEP resource.
    Resource { leg: Leg, url: Url, home: Url, tag: Option<HeaderValue> },
    /// A session of a Janus server.
    Janus { url: Url },
}

impl Session {
    pub(super) fn is_of(&self, leg: Leg) -> bool {
        match self {
            Self::Resource { leg: of, .. } => *of == leg,
            Self::Janus { .. } => leg == Leg::Both,
        }
    }
}

/// The sessions of a call. Each is noted the moment it is known, so that it is ended whatever
/// happens next.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Vec<Session>>);

impl Kept {
    pub(super) fn add(&self, session: Session) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    pub(super) fn of(&self, leg: Leg) -> Option<Session> {
        self.all().into_iter().rfind(|session| session.is_of(leg))
    }

    pub(super) fn all(&self) -> Vec<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn forget(&self, leg: Leg) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|session| !session.is_of(leg));
    }

    pub(super) fn take(&self) -> Vec<Session> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
