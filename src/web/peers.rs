//! Connections: whose they are, what they are doing, and which of them has to go.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Connections at once. A new one takes the place of one that waits: the more there are, the longer has each to say what
/// it wants while many come.
pub(super) const MOST_CONNECTIONS: usize = 256;

/// How long a handshake of TLS may take.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, from its first byte; of the first request, from the handshake.
const LONGEST_HEAD: Duration = Duration::from_secs(10);
/// How long a request may be answered: a password takes its time.
const LONGEST_ASKING: Duration = Duration::from_secs(60);
/// How long the other end may take to read an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next request: longer than between two scrapes.
const LONGEST_IDLE: Duration = Duration::from_secs(180);

/// Whose connections are counted together: an address, or a network of IPv6, as one customer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    /// The one at an address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from(u128::from(address) >> 64 << 64).into()),
            v4 => Self(v4),
        }
    }
}

/// What a connection is doing, the most dispensable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// It makes TLS.
    Handshake,
    /// It sends the head of a request.
    Head,
    /// It waits for its next request.
    Idle,
    /// It is sent an answer.
    Answer,
    /// Its request is looked at: it does not go.
    Asking,
}

impl Phase {
    fn longest(self) -> Duration {
        match self {
            Self::Handshake => LONGEST_HANDSHAKE,
            Self::Head => LONGEST_HEAD,
            Self::Idle => LONGEST_IDLE,
            Self::Answer => LONGEST_ANSWER,
            Self::Asking => LONGEST_ASKING,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Whose it is.
    pub(super) peer: Peer,
    /// Told when it has to go.
    pub(super) leave: Notify,
    /// What it is doing, and since when.
    phase: Mutex<(Phase, Instant)>,
}

impl Connection {
    fn new(peer: Peer, now: Instant) -> Self {
        Self { peer, leave: Notify::new(), phase: Mutex::new((Phase::Handshake, now)) }
    }

    /// When it is over, if nothing happens until then.
    pub(super) fn deadline(&self) -> Instant {
        let (phase, since) = *self.phase();
        since + phase.longest()
    }

    /// TLS is made, or there is none.
    pub(super) fn is_open(&self, now: Instant) {
        self.enter(now, &[Phase::Handshake], Phase::Head);
    }

    /// Bytes came.
    pub(super) fn has_read(&self, now: Instant) {
        self.enter(now, &[Phase::Idle], Phase::Head);
    }

    /// A request is there.
    pub(super) fn asks(&self, now: Instant) {
        self.enter(now, &[Phase::Head, Phase::Idle, Phase::Answer], Phase::Asking);
    }

    /// The answer is there.
    pub(super) fn is_answered(&self, now: Instant) {
        self.enter(now, &[Phase::Asking], Phase::Answer);
    }

    /// All that was to be sent is sent.
    pub(super) fn has_sent(&self, now: Instant) {
        self.enter(now, &[Phase::Answer], Phase::Idle);
    }

    fn enter(&self, now: Instant, from: &[Phase], to: Phase) {
        let mut phase = self.phase();
        if from.contains(&phase.0) {
            *phase = (to, now);
        }
    }

    fn phase(&self) -> MutexGuard<'_, (Phase, Instant)> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All connections of a server.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Vec<Arc<Connection>>>);

impl Connections {
    /// Takes a new one in. If there are too many, one of the address that has the most goes for it: of those the most
    /// dispensable, and of them the oldest. `None` if none can go.
    pub(super) fn enter(&self, peer: Peer, now: Instant) -> Option<Arc<Connection>> {
        let mut all = self.all();
        if all.len() >= MOST_CONNECTIONS {
            let victim = victim(&all, peer)?;
            all.swap_remove(victim).leave.notify_one();
        }
        let new = Arc::new(Connection::new(peer, now));
        all.push(Arc::clone(&new));
        Some(new)
    }

    /// One has ended.
    pub(super) fn leave(&self, gone: &Arc<Connection>) {
        self.all().retain(|connection| !Arc::ptr_eq(connection, gone));
    }

    /// Has all go that are not being answered.
    pub(super) fn clear(&self) {
        self.all().retain(|connection| {
            let stays = connection.phase().0 >= Phase::Answer;
            if !stays {
                connection.leave.notify_one();
            }
            stays
        });
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of the one that goes for a new one of `new`.
fn victim(all: &[Arc<Connection>], new: Peer) -> Option<usize> {
    let mut counts: HashMap<Peer, usize> = HashMap::from([(new, 1)]);
    for connection in all {
        *counts.entry(connection.peer).or_default() += 1;
    }
    let rank = |connection: &Connection| {
        let (phase, since) = *connection.phase();
        let count = counts.get(&connection.peer).copied().unwrap_or_default();
        (phase != Phase::Asking).then_some((std::cmp::Reverse(count), phase, since))
    };
    let ranked = all.iter().enumerate().filter_map(|(place, connection)| Some((rank(connection)?, place)));
    ranked.min().map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of([192, 0, 2, last].into())
    }

    #[test]
    fn an_address_is_counted_with_its_network() {
        let of = |text: &str| Peer::of(text.parse().expect("an address"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }

    #[test]
    fn each_phase_has_a_deadline_of_its_own() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let connection = Connection::new(peer(1), start);
        let lasts = |from: u64| connection.deadline() - at(from);
        assert_eq!(lasts(0), LONGEST_HANDSHAKE);
        connection.has_read(at(1));
        assert_eq!(lasts(0), LONGEST_HANDSHAKE, "bytes of the handshake do not prolong it");
        connection.is_open(at(2));
        connection.has_read(at(5));
        assert_eq!(lasts(2), LONGEST_HEAD, "nor do those of a head");
        connection.asks(at(6));
        connection.has_sent(at(7));
        assert_eq!(lasts(6), LONGEST_ASKING, "there was nothing to send yet");
        connection.is_answered(at(8));
        connection.has_read(at(9));
        assert_eq!(lasts(8), LONGEST_ANSWER);
        connection.has_sent(at(10));
        assert_eq!(lasts(10), LONGEST_IDLE);
        connection.has_read(at(100));
        assert_eq!(lasts(100), LONGEST_HEAD);
        connection.asks(at(101));
        assert_eq!(lasts(101), LONGEST_ASKING);
    }

    #[tokio::test]
    async fn when_there_are_too_many_one_goes_of_the_address_that_has_the_most() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let connections = Connections::default();
        let scraper = connections.enter(peer(1), at(0)).expect("a place");
        let mut slow: Vec<_> =
            (1..MOST_CONNECTIONS).map(|_| connections.enter(peer(2), at(1)).expect("a place")).collect();
        slow[0].is_open(at(1));
        slow[0].asks(at(1));
        slow[1].is_open(at(1));
        let new = connections.enter(peer(3), at(2)).expect("a place");
        assert_eq!(told(&slow).await, [2], "the oldest that did nothing yet, of the address that has the most");
        assert_eq!(told(&[scraper, new]).await, [0; 0]);
        assert_eq!(connections.all().len(), MOST_CONNECTIONS);

        connections.clear();
        slow.remove(2);
        assert_eq!(told(&slow).await.len(), slow.len() - 1, "all but the one that asks");
        connections.leave(&slow[0]);
        assert!(connections.all().is_empty());
    }

    /// Places of those that have to go; each is told once.
    async fn told(connections: &[Arc<Connection>]) -> Vec<usize> {
        let mut told = Vec::new();
        for (place, connection) in connections.iter().enumerate() {
            if timeout(Duration::ZERO, connection.leave.notified()).await.is_ok() {
                told.push(place);
            }
        }
        told
    }

    #[test]
    fn those_that_are_asking_do_not_go() {
        let now = Instant::now();
        let connections = Connections::default();
        for _ in 0..MOST_CONNECTIONS {
            let connection = connections.enter(peer(1), now).expect("a place");
            connection.is_open(now);
            connection.asks(now);
        }
        assert!(connections.enter(peer(2), now).is_none());
    }
}
