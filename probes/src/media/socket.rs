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
    /// Whether the rehearsal keeps the datagram. Connectivity checks and the handshake always pass.
    fn impaired(&self, transmit: &Transmit<'_>) -> bool {
        let Some(impairment) = self.impairment.as_ref().filter(|_| is_media(transmit.contents)) else {
            return false;
        };
        let lost = matches!(classify(transmit.contents), Datagram::Rtp(_)) && impairment.loses();
        lost || impairment.hold(&self.io, transmit.destination, transmit.contents, Instant::now())
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
            // The intended instant: what the rehearsal adds is path, not lateness of ours.
            if let Some(log) = &self.log {
                log.sending(transmit.contents, log.clock().now());
            }
            if self.impaired(transmit) {
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
