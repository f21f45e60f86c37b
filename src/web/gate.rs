//! Whether whoever asks is one of the users. A comparison with a bcrypt hash is made to be slow, so that
//! passwords cannot be guessed fast; here it must harm neither a lesson nor a scrape:
//!
//! - a password that was right once is known again without it,
//! - one comparison runs at a time, on a thread of its own, and a wrong password is followed by a rest,
//! - who waits is counted: in all, and from one address.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::HeaderValue;
use data_encoding::BASE64;
use rustls::crypto::ring;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{file::LONGEST_USER, hash::Hash, peers::Peer};

/// Passwords that are known to be right; each user has few.
const MOST_KNOWN: usize = 64;
/// Requests that wait for a comparison.
const MOST_WAITING: usize = 32;
/// Of them, those from one address: others come soon after.
const MOST_WAITING_OF_ONE: usize = 4;
/// After a wrong password comes a rest of so many times what the comparison took: guessing takes a fifth of a processor.
const REST: u32 = 4;
/// The longest `Authorization` header, in bytes.
const LONGEST_HEADER: usize = 1024;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is a user's.
    Admitted,
    /// It is nobody's.
    Refused,
    /// Too many wait; it may come again.
    Busy,
}

/// Keeps what is known of passwords.
pub(super) struct Gate {
    /// Makes digests that nobody outside can foresee.
    secret: [u8; 32],
    /// Digests of what was right, the oldest first.
    known: Mutex<VecDeque<[u8; 32]>>,
    /// One comparison at a time.
    turn: Arc<Semaphore>,
    waiting: Mutex<HashMap<Peer, usize>>,
}

impl Gate {
    /// Knows nobody yet.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new() -> io::Result<Self> {
        let mut secret = [0; 32];
        let random = ring::default_provider().secure_random;
        random.fill(&mut secret).map_err(|_| io::Error::other("the system gives no randomness"))?;
        Ok(Self { secret, known: Mutex::default(), turn: Arc::new(Semaphore::new(1)), waiting: Mutex::default() })
    }

    /// Whether the header of a request from `peer` shows one of `users` and the password.
    pub(super) async fn admit(
        &self,
        users: &BTreeMap<String, Hash>,
        header: Option<&HeaderValue>,
        peer: Peer,
    ) -> Verdict {
        let Some((user, password)) = header.and_then(shown) else { return Verdict::Refused };
        let user = String::from_utf8(user).ok().and_then(|user| users.get_key_value(&user));
        // A name that is none takes as long as the slowest that is.
        let slowest = || users.values().max_by_key(|hash| hash.cost());
        let Some(hash) = user.map(|(_, hash)| hash).or_else(slowest) else { return Verdict::Refused };
        let digest = user.map(|(name, hash)| self.digest(name, hash, &password));
        if digest.is_some_and(|digest| lock(&self.known).contains(&digest)) {
            return Verdict::Admitted;
        }
        let Some(_place) = self.wait(peer) else { return Verdict::Busy };
        match (self.compare(hash.clone(), password).await, digest) {
            (true, Some(digest)) => {
                let mut known = lock(&self.known);
                if known.len() >= MOST_KNOWN {
                    known.pop_front();
                }
                known.push_back(digest);
                Verdict::Admitted
            }
            _ => Verdict::Refused,
        }
    }

    /// Of a user's name, hash and password: another hash makes another.
    fn digest(&self, user: &str, hash: &Hash, password: &[u8]) -> [u8; 32] {
        let mut sum = Sha256::new_with_prefix(self.secret);
        for part in [user.as_bytes(), hash.bytes(), password] {
            sum.update(part.len().to_le_bytes());
            sum.update(part);
        }
        sum.finalize().into()
    }

    /// A comparison, when its turn comes. The turn lasts until it is over, whoever still waits for it.
    async fn compare(&self, hash: Hash, password: Vec<u8>) -> bool {
        // It is never closed.
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let began = Instant::now();
            let right = spawn_blocking(move || hash.is_of(&password)).await.unwrap_or(false);
            // Whoever asked may be gone.
            let _gone = tell.send(right);
            if !right {
                sleep(began.elapsed() * REST).await;
            }
            drop(turn);
        });
        told.await.unwrap_or(false)
    }

    /// A place to wait in, unless too many have one.
    fn wait(&self, peer: Peer) -> Option<Place<'_>> {
        let mut waiting = lock(&self.waiting);
        let all: usize = waiting.values().sum();
        let of_one = waiting.get(&peer).copied().unwrap_or_default();
        if all >= MOST_WAITING || of_one >= MOST_WAITING_OF_ONE {
            return None;
        }
        waiting.insert(peer, of_one + 1);
        Some(Place { gate: self, peer })
    }
}

/// A place among those who wait; given back when it is dropped.
struct Place<'a> {
    gate: &'a Gate,
    peer: Peer,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.gate.waiting);
        match waiting.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(waiting.remove(&self.peer)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// User and password of a header (RFC 7617 §2).
fn shown(header: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, text) = header.as_bytes().split_at_checked(b"Basic ".len())?;
    if header.len() > LONGEST_HEADER || !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut user = BASE64.decode(text.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':').filter(|colon| *colon <= LONGEST_USER)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(of: &[(&str, &str)]) -> BTreeMap<String, Hash> {
        let hash = |password: &str| bcrypt::hash(password, 4).expect("a hash");
        let user =
            |(name, password): &(&str, &str)| ((*name).to_owned(), Hash::parse(&hash(password)).expect("our own hash"));
        of.iter().map(user).collect()
    }

    fn header(user: &str, password: &str) -> HeaderValue {
        let text = BASE64.encode(format!("{user}:{password}").as_bytes());
        HeaderValue::try_from(format!("Basic {text}")).expect("a header")
    }

    /// A verdict for which nothing is waited.
    async fn soon(verdict: impl Future<Output = Verdict>) -> Verdict {
        let soon = std::time::Duration::from_secs(5);
        tokio::time::timeout(soon, verdict).await.expect("a verdict at once")
    }

    fn peer(last: u8) -> Peer {
        Peer::of([192, 0, 2, last].into())
    }

    #[tokio::test]
    async fn only_a_user_with_the_own_password_is_admitted() {
        let gate = Gate::new().expect("randomness");
        let users = users(&[("alice", "one:two"), ("bob", ""), ("müller", "pässword")]);
        for (user, password, verdict) in [
            ("alice", "one:two", Verdict::Admitted),
            ("alice", "one:two", Verdict::Admitted),
            ("alice", "one", Verdict::Refused),
            ("Alice", "one:two", Verdict::Refused),
            ("bob", "one:two", Verdict::Refused),
            ("bob", "", Verdict::Admitted),
            ("carol", "", Verdict::Refused),
            ("carol", "one:two", Verdict::Refused),
            ("carol", "pässword", Verdict::Refused),
            ("", "", Verdict::Refused),
            ("müller", "pässword", Verdict::Admitted),
        ] {
            assert_eq!(gate.admit(&users, Some(&header(user, password)), peer(1)).await, verdict, "{user}:{password}");
        }
        let good = header("alice", "one:two");
        let good = good.to_str().expect("ASCII");
        let long = format!("Basic {}", BASE64.encode(format!("bob:{}", "x".repeat(1000)).as_bytes()));
        for (text, verdict) in [
            (good.replace("Basic", "bAsIc"), Verdict::Admitted),
            (good.replace("Basic", "Bearer"), Verdict::Refused),
            (good.replace("Basic ", ""), Verdict::Refused),
            (good.replace('=', ""), Verdict::Refused),
            ("Basic".to_owned(), Verdict::Refused),
            ("Basic !".to_owned(), Verdict::Refused),
            (format!("Basic {}", BASE64.encode(b"alice")), Verdict::Refused),
            (long, Verdict::Refused),
        ] {
            let header = HeaderValue::try_from(&*text).expect("a header");
            assert_eq!(gate.admit(&users, Some(&header), peer(1)).await, verdict, "{text:.40}");
        }
        assert_eq!(gate.admit(&users, None, peer(1)).await, Verdict::Refused);
        assert_eq!(lock(&gate.known).len(), 3, "what is wrong is not kept");
    }

    #[tokio::test]
    async fn what_was_right_is_known_again_until_the_hash_changes() {
        let gate = Gate::new().expect("randomness");
        let old = users(&[("alice", "old")]);
        assert_eq!(gate.admit(&old, Some(&header("alice", "old")), peer(1)).await, Verdict::Admitted);
        // Nobody gets a turn any more: what is admitted now was known.
        let _turn = gate.turn.acquire().await.expect("the turn");
        assert_eq!(gate.admit(&old, Some(&header("alice", "old")), peer(1)).await, Verdict::Admitted);
        let new = users(&[("alice", "new")]);
        let (header, of) = (header("alice", "old"), peer(1));
        let asked = gate.admit(&new, Some(&header), of);
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(50), asked).await.is_err(),
            "it was not compared"
        );
    }

    #[tokio::test]
    async fn those_who_wait_are_counted_by_address_and_in_all() {
        let gate = Gate::new().expect("randomness");
        let users = users(&[("alice", "right")]);
        let turn = gate.turn.acquire().await.expect("the turn");
        let (wrong, right) = (header("alice", "wrong"), header("alice", "right"));
        let mut waiting: Vec<_> = (0..8)
            .flat_map(|last| [last; MOST_WAITING_OF_ONE])
            .map(|last| Box::pin(gate.admit(&users, Some(&wrong), peer(last))))
            .collect();
        let mut poll = async |index: usize| {
            let first: &mut std::pin::Pin<Box<_>> = &mut waiting[index];
            tokio::time::timeout(std::time::Duration::from_millis(1), first).await
        };
        for index in 0..4 {
            assert!(poll(index).await.is_err());
        }
        assert_eq!(soon(gate.admit(&users, Some(&right), peer(0))).await, Verdict::Busy, "four of this address wait");
        for index in 4..32 {
            assert!(poll(index).await.is_err());
        }
        assert_eq!(soon(gate.admit(&users, Some(&right), peer(200))).await, Verdict::Busy, "32 wait in all");
        drop(waiting);
        drop(turn);
        assert_eq!(gate.admit(&users, Some(&right), peer(0)).await, Verdict::Admitted, "their places are free again");
        assert!(lock(&gate.waiting).is_empty());
    }
}
