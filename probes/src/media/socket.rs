//! Our UDP socket, put under `webrtc` by its runtime hook: the kernel stamps arrivals, we stamp
//! departures right before the system call. So delays are those of the path, even where this box
//! is late to look (`SO_TIMESTAMPNS`, socket(7)).

#![expect(clippy::disallowed_methods, reason = "a shell: it measures on the clock")]

use std::{
    fmt,
    future::{self, Future},
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{io::Interest, net::UdpSocket};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

use super::Dscp;
use control::ancillary;
use datagram::{Datagram, classify, is_media};

mod checks;
mod control;
pub(crate) mod datagram;
pub(crate) mod log;
pub(crate) mod rehearsal;
mod rounds;
mod system;

pub(crate) use checks::Checks;
pub(crate) use log::Log;
pub(crate) use rehearsal::Impairment;
pub(crate) use rounds::Rounds;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime we hand to `webrtc`: tokio, with our socket.
#[derive(Debug, Default)]
pub(crate) struct StampingRuntime {
    /// Where stamps go; the far end of a self-test has none.
    pub(crate) log: Option<Arc<Log>>,
    /// The checks of this connection.
    pub(crate) checks: Arc<Checks>,
    /// What is to be done to our outgoing media.
    pub(crate) impairment: Option<Arc<Impairment>>,
    /// How our datagrams are marked.
    pub(crate) marks: Marks,
    /// The network interface that all sockets are bound to.
    pub(crate) interface: Option<String>,
    /// Where a TURN server may be on the way.
    pub(crate) rounds: Option<Arc<Rounds>>,
}

impl Runtime for StampingRuntime {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        system::enable_stamps(socket.as_raw_fd())?;
        if let Some(interface) = &self.interface {
            system::bind_to_interface(socket.as_raw_fd(), interface)?;
        }
        if let Some(rounds) = &self.rounds {
            rounds.run_here();
        }
        Ok(Arc::new(Socket {
            io: Arc::new(UdpSocket::from_std(socket)?),
            log: self.log.clone(),
            checks: Arc::clone(&self.checks),
            impairment: self.impairment.clone(),
            marks: self.marks,
            rounds: self.rounds.clone(),
        }))
    }

    // All else is tokio's, but for the timer: the trait's own defaults would drop some of it.

    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(&'a self, remote: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let Some(rounds) = self.rounds.as_ref().filter(|rounds| rounds.is_here()) else {
            return TokioRuntime.sleep(duration);
        };
        if rounds.take() {
            return Box::pin(future::ready(()));
        }
        let (rounds, timer) = (Arc::clone(rounds), TokioRuntime.sleep(duration));
        Box::pin(async move {
            timer.await;
            rounds.timed_out();
        })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "tokio with stamps"
    }
}

/// Whether a call can go by the network interface of that name.
///
/// # Errors
/// The kernel's, where there is no such interface, or none that we may use.
pub(crate) fn check_interface(interface: &str) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    system::bind_to_interface(socket.as_raw_fd(), interface)
}

/// Which code point each datagram of a call gets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// Those of sound and picture.
    pub(crate) dscp: Dscp,
    /// The SSRC of our picture.
    pub(crate) picture: Option<u32>,
}

impl Marks {
    /// The picture has its own; connectivity checks, the handshake and reports go with the sound.
    fn of(&self, bytes: &[u8]) -> u8 {
        match classify(bytes) {
            Datagram::Rtp(id) if Some(id.ssrc) == self.picture => self.dscp.video,
            _ => self.dscp.audio,
        }
    }
}

/// Every system call goes through `try_io`, or tokio would never learn that the socket is no
/// longer ready. One datagram per call: segmentation offload would share one stamp among several.
struct Socket {
    io: Arc<UdpSocket>,
    log: Option<Arc<Log>>,
    checks: Arc<Checks>,
    impairment: Option<Arc<Impairment>>,
    marks: Marks,
    rounds: Option<Arc<Rounds>>,
}

impl Socket {
    /// Whether the rehearsal loses the datagram. Reports, connectivity checks and the handshake always
    /// pass.
    fn loses(&self, transmit: &Transmit<'_>) -> bool {
        matches!(classify(transmit.contents), Datagram::Rtp(_)) && self.impairment.as_ref().is_some_and(|it| it.loses())
    }

    /// Whether the rehearsal keeps the datagram for a while, to stamp and send it then.
    fn holds(&self, transmit: &Transmit<'_>) -> bool {
        let Some(impairment) = self.impairment.as_ref().filter(|_| is_media(transmit.contents)) else {
            return false;
        };
        let &Transmit { destination, contents, .. } = transmit;
        impairment.hold(&self.io, destination, contents, self.marks.of(contents), self.log.as_ref(), Instant::now())
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("io", &self.io).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_send_ready(cx))?;
            let lost = self.loses(transmit);
            if !lost && self.holds(transmit) {
                return Poll::Ready(Ok(transmit.contents.len()));
            }
            if let Some(log) = &self.log {
                let now = log.clock().now();
                log.sending(transmit.contents, now);
                self.checks.sending(transmit.contents, now);
            }
            if lost {
                return Poll::Ready(Ok(transmit.contents.len()));
            }
            let dscp = self.marks.of(transmit.contents);
            match system::send(&self.io, transmit.destination, transmit.contents, dscp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.io.try_io(Interest::READABLE, || system::receive(self.io.as_raw_fd(), buffer, ancillary)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok((length, from, told)) => {
                    if let (Some(log), Some(bytes)) = (&self.log, buffer.get(..length)) {
                        let clock = log.clock();
                        // The kernel may miss the very first ones.
                        let at = told.arrived.map_or_else(|| clock.now(), |unix| clock.at_wall(unix));
                        log.arrived(bytes, at);
                        self.checks.arrived(bytes, at);
                        if let Some(count) = told.overflow {
                            log.overflowed(count);
                        }
                    }
                    // Media is not answered by the loop, and would have it go round more often.
                    if let (Some(rounds), Some(bytes)) = (&self.rounds, buffer.get(..length))
                        && !matches!(classify(bytes), Datagram::Rtp(_))
                    {
                        rounds.arrived();
                    }
                    meta.addr = from;
                    meta.len = length;
                    meta.stride = length.max(1);
                    return Poll::Ready(Ok(1));
                }
            }
        }
    }
}

/// For the fuzz target `datagrams`.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(data: &[u8]) {
    let _ = (classify(data), is_media(data), ancillary(data), control::address(data));
}

#[cfg(test)]
mod tests;
