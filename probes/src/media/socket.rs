//! Our UDP socket, put under `webrtc` by its runtime hook: the kernel stamps arrivals, we stamp
//! departures right before the system call. So delays are those of the path, even where this box
//! is late to look (`SO_TIMESTAMPNS`, socket(7)).

#![expect(clippy::disallowed_methods, reason = "a shell: it measures on the clock")]

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    mem::{size_of, zeroed},
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
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

use control::{address, ancillary};
use datagram::{Datagram, classify, is_media};

mod control;
pub(crate) mod datagram;
pub(crate) mod log;
pub(crate) mod rehearsal;

pub(crate) use log::Log;
pub(crate) use rehearsal::Impairment;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime we hand to `webrtc`: tokio, with our socket.
#[derive(Debug)]
pub(crate) struct StampingRuntime {
    /// Where stamps go; the far end of a self-test has none.
    pub(crate) log: Option<Arc<Log>>,
    /// What is to be done to our outgoing media.
    pub(crate) impairment: Option<Arc<Impairment>>,
}

impl Runtime for StampingRuntime {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
            enable(socket.as_raw_fd(), option)?;
        }
        Ok(Arc::new(Socket {
            io: Arc::new(UdpSocket::from_std(socket)?),
            log: self.log.clone(),
            impairment: self.impairment.clone(),
        }))
    }

    // All else is tokio's: the trait's own defaults would drop some of it.

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
        TokioRuntime.sleep(duration)
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

/// Every system call goes through `try_io`, or tokio would never learn that the socket is no
/// longer ready. One datagram per call: segmentation offload would share one stamp among several.
struct Socket {
    io: Arc<UdpSocket>,
    log: Option<Arc<Log>>,
    impairment: Option<Arc<Impairment>>,
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
        impairment.hold(&self.io, transmit.destination, transmit.contents, self.log.as_ref(), Instant::now())
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
                log.sending(transmit.contents, log.clock().now());
            }
            if lost {
                return Poll::Ready(Ok(transmit.contents.len()));
            }
            match self.io.try_send_to(transmit.contents, transmit.destination) {
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
            match self.io.try_io(Interest::READABLE, || receive(self.io.as_raw_fd(), buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(arrival) => {
                    if let (Some(log), Some(bytes)) = (&self.log, buffer.get(..arrival.length)) {
                        let clock = log.clock();
                        log.arrived(bytes, arrival.at.map_or_else(|| clock.now(), |unix| clock.at_wall(unix)));
                        if let Some(count) = arrival.overflow {
                            log.overflowed(count);
                        }
                    }
                    meta.addr = arrival.from;
                    meta.len = arrival.length;
                    meta.stride = arrival.length.max(1);
                    return Poll::Ready(Ok(1));
                }
            }
        }
    }
}

/// For the fuzz target `datagrams`.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(data: &[u8]) {
    let _ = (classify(data), is_media(data), ancillary(data), address(data));
}

/// One datagram that arrived.
struct Arrival {
    length: usize,
    from: SocketAddr,
    /// Wall clock, nanoseconds since 1970. The kernel may miss the very first ones.
    at: Option<i64>,
    overflow: Option<u32>,
}

/// Room for what the kernel says beside a datagram, aligned as it wants it.
#[repr(align(8))]
struct Room([u8; 128]);

#[expect(unsafe_code, reason = "setsockopt has no safe form in the standard library")]
fn enable(socket: RawFd, option: i32) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: `on` outlives the call, and its size is given as it is.
    let result = unsafe {
        libc::setsockopt(socket, libc::SOL_SOCKET, option, (&raw const on).cast(), size_of::<i32>() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "recvmsg with control data has no safe form in the standard library")]
fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<Arrival> {
    let mut name = Room([0; 128]);
    let mut control = Room([0; 128]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain numbers and pointers, for which zero is a valid value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = name.0.as_mut_ptr().cast();
    header.msg_namelen = name.0.len() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: all three buffers are valid for their lengths and outlive the call.
    let length = unsafe { libc::recvmsg(socket, &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let from = name.0.get(..header.msg_namelen as usize).and_then(address);
    let from = from.ok_or_else(|| io::Error::from(io::ErrorKind::Interrupted))?;
    let told = ancillary(control.0.get(..header.msg_controllen as usize).unwrap_or_default());
    Ok(Arrival { length, from, at: told.arrived, overflow: told.overflow })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{future::poll_fn, thread};

    use super::{datagram::PacketId, *};
    use crate::media::clock::Clock;

    fn rtp(sequence: u16) -> Vec<u8> {
        let [a, b] = sequence.to_be_bytes();
        vec![0x80, 111, a, b, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3]
    }

    fn socket(log: Option<Arc<Log>>, impairment: Option<Arc<Impairment>>) -> (Arc<dyn AsyncUdpSocket>, SocketAddr) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (StampingRuntime { log, impairment }.wrap_udp_socket(socket).unwrap(), address)
    }

    async fn receive_one(socket: &Arc<dyn AsyncUdpSocket>) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 1500];
        let mut meta = [RecvMeta::default()];
        let count = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta)).await.unwrap();
        assert_eq!((count, meta[0].stride), (1, meta[0].len));
        (buffer[..meta[0].len].to_vec(), meta[0].addr)
    }

    #[tokio::test]
    async fn a_datagram_is_stamped_when_it_comes_not_when_it_is_read() {
        let log = Arc::new(Log::new(Clock::start()));
        let (socket, address) = socket(Some(Arc::clone(&log)), None);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let slept = 20_000_000;
        // The kernel takes a while to begin stamping after the first socket asked for it.
        for sequence in 0..100 {
            let before = log.clock().now();
            sender.send_to(&rtp(sequence), address).unwrap();
            thread::sleep(Duration::from_nanos(slept as u64));
            let (bytes, from) = receive_one(&socket).await;
            let read = log.clock().now();
            assert_eq!((bytes, from), (rtp(sequence), sender.local_addr().unwrap()));
            let at = log.take(PacketId { ssrc: 5, sequence }).unwrap();
            assert!(before <= at && at <= read, "{before} {at} {read}");
            if at <= read - slept {
                return;
            }
        }
        unreachable!("no datagram was stamped on arrival");
    }

    #[tokio::test]
    async fn what_the_rehearsal_holds_back_counts_as_sent_that_much_earlier() {
        let log = Arc::new(Log::new(Clock::start()));
        let delay = Duration::from_millis(30);
        let impairment = Arc::new(Impairment::new(delay, 0.0, 1).unwrap());
        let (sender, _) = socket(Some(Arc::clone(&log)), Some(impairment));
        let arrivals = Arc::new(Log::new(*log.clock()));
        let (receiver, to) = socket(Some(Arc::clone(&arrivals)), None);
        let check = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[3; 12]].concat();
        sender.send_to(&rtp(7), to).await.unwrap();
        sender.send_to(&check, to).await.unwrap();
        assert_eq!(receive_one(&receiver).await.0, check, "checks overtake held media");
        assert_eq!(receive_one(&receiver).await.0, rtp(7));
        let id = PacketId { ssrc: 5, sequence: 7 };
        let taken = arrivals.take(id).unwrap() - log.sent(id).unwrap();
        assert!(taken >= 30_000_000, "{taken} ns");
    }

    #[tokio::test]
    async fn what_leaves_the_rehearsal_too_late_was_sent_late() {
        let delay = Duration::from_millis(30);
        let impairment = Impairment::new(delay, 0.0, 1).unwrap();
        let log = Arc::new(Log::new(Clock::start()));
        let (receiver, to) = socket(None, None);
        let sender = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        sender.writable().await.unwrap();
        // Held since a second, so let go 970 ms too late.
        let meant = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let before = log.clock().before(delay);
        assert!(impairment.hold(&sender, to, &rtp(9), Some(&log), meant));
        assert_eq!(receive_one(&receiver).await.0, rtp(9));
        let sent = log.sent(PacketId { ssrc: 5, sequence: 9 }).unwrap();
        assert!(before <= sent && sent <= log.clock().before(delay), "{before} {sent}");
    }

    #[tokio::test]
    async fn what_the_rehearsal_loses_counts_as_sent_and_never_arrives() {
        let log = Arc::new(Log::new(Clock::start()));
        let impairment = Arc::new(Impairment::new(Duration::ZERO, 1.0, 1).unwrap());
        let (sender, _) = socket(Some(Arc::clone(&log)), Some(impairment));
        let (receiver, to) = socket(None, None);
        assert_eq!(sender.send_to(&rtp(8), to).await.unwrap(), rtp(8).len());
        let report = [0x80, 200, 0, 1, 0, 0, 0, 5];
        sender.send_to(&report, to).await.unwrap();
        assert_eq!(receive_one(&receiver).await.0, report, "reports are never lost");
        assert!(log.sent(PacketId { ssrc: 5, sequence: 8 }).is_some());
    }
}
