//! The system calls that the standard library has no safe form for.

use std::{
    io,
    mem::zeroed,
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
};

use tokio::{io::Interest, net::UdpSocket};

use super::control::{MARK, address, mark, name};

/// Room for what goes to and from the kernel beside a datagram, aligned as it wants it.
#[repr(align(8))]
struct Room([u8; 128]);

impl Room {
    fn new(content: &[u8]) -> Self {
        let mut room = [0; 128];
        room.iter_mut().zip(content).for_each(|(place, byte)| *place = *byte);
        Self(room)
    }
}

/// Asks for receive stamps and for the count of dropped datagrams.
pub(super) fn enable_stamps(socket: RawFd) -> io::Result<()> {
    for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
        set(socket, libc::SOL_SOCKET, option, &1i32.to_ne_bytes())?;
    }
    Ok(())
}

/// Lets the socket send and receive by the network interface of that name alone (socket(7)).
pub(super) fn bind_to_interface(socket: RawFd, interface: &str) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, interface.as_bytes())
}

#[expect(unsafe_code, reason = "setsockopt has no safe form in the standard library")]
pub(super) fn set(socket: RawFd, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let (at, length) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
    // SAFETY: `value` is valid for its length and outlives the call.
    let result = unsafe { libc::setsockopt(socket, level, option, at, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends one datagram, marked with a code point unless that is 0. Never waits.
pub(super) fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], dscp: u8) -> io::Result<usize> {
    if dscp == 0 {
        return socket.try_send_to(bytes, to);
    }
    socket.try_io(Interest::WRITABLE, || send_marked(socket.as_raw_fd(), to, bytes, dscp))
}

#[expect(unsafe_code, reason = "sendmsg with control data has no safe form in the standard library")]
fn send_marked(socket: RawFd, to: SocketAddr, bytes: &[u8], dscp: u8) -> io::Result<usize> {
    let to_name = name(to);
    let (mut name, mut control) = (Room::new(&to_name), Room::new(&mark(to, dscp)));
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain numbers and pointers, for which zero is a valid value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = name.0.as_mut_ptr().cast();
    header.msg_namelen = to_name.len() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = MARK as _;
    // SAFETY: all three buffers are valid for their lengths and outlive the call, which only reads them.
    let sent = unsafe { libc::sendmsg(socket, &raw const header, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives one datagram: its length, where it came from, and what `read` makes of the control data
/// beside it. Never waits.
#[expect(unsafe_code, reason = "recvmsg with control data has no safe form in the standard library")]
pub(super) fn receive<T>(
    socket: RawFd,
    buffer: &mut [u8],
    read: impl FnOnce(&[u8]) -> T,
) -> io::Result<(usize, SocketAddr, T)> {
    let (mut name, mut control) = (Room::new(&[]), Room::new(&[]));
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
    Ok((length, from, read(control.0.get(..header.msg_controllen as usize).unwrap_or_default())))
}
