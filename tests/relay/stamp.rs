//! Datagrams with the time at which the kernel took them in (`SO_TIMESTAMPNS`, socket(7)). Written anew
//! rather than shared with the call, whose own stamps are judged by these.

use std::{
    io,
    mem::{size_of, zeroed},
    net::UdpSocket,
    os::fd::AsRawFd,
};

use crate::plan::Nanos;

/// One datagram that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) length: usize,
    /// Wall clock, nanoseconds since 1970; the kernel may miss the very first ones.
    pub(crate) at: Option<Nanos>,
    /// Datagrams dropped at this socket so far, where the kernel says so.
    pub(crate) dropped: u32,
}

/// Room for what the kernel says beside a datagram, aligned as it wants it.
#[repr(align(8))]
struct Room([u8; 128]);

/// Has the kernel stamp what arrives, and count what it drops.
#[expect(unsafe_code, reason = "setsockopt has no safe form in the standard library")]
pub(crate) fn enable(socket: &UdpSocket) -> io::Result<()> {
    let on: i32 = 1;
    for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
        let size = size_of::<i32>() as libc::socklen_t;
        // SAFETY: `on` outlives the call, and its size is given as it is.
        let result =
            unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const on).cast(), size) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Waits for a datagram, for as long as the socket's read timeout says.
#[expect(unsafe_code, reason = "recvmsg with control data has no safe form in the standard library")]
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Arrival> {
    let mut control = Room([0; 128]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain numbers and pointers, for which zero is a valid value.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: both buffers are valid for their lengths and outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let told = control.0.get(..header.msg_controllen as usize).unwrap_or_default();
    Ok(read(told, length))
}

/// Walks the control messages (cmsg(3)).
fn read(mut told: &[u8], length: usize) -> Arrival {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    let mut arrival = Arrival { length, at: None, dropped: 0 };
    while let Some((header, _)) = told.split_first_chunk::<HEADER>() {
        let word =
            |from: usize| i32::from_ne_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
        let size = usize::from_ne_bytes(std::array::from_fn(|i| header[i]));
        let Some(data) = told.get(HEADER..size) else { break };
        match (word(8), word(12)) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                let number = |from: usize| Some(i64::from_ne_bytes(*data.get(from..)?.first_chunk()?));
                arrival.at = number(0).zip(number(8)).map(|(seconds, rest)| seconds * 1_000_000_000 + rest);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                arrival.dropped = data.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            }
            _ => {}
        }
        told = told.get(size.next_multiple_of(8)..).unwrap_or_default();
    }
    arrival
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_datagram_is_stamped_when_it_comes() {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as Nanos;
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        enable(&socket).expect("an option");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let mut buffer = [0; 100];
        // The kernel takes a while to begin stamping after the first socket asked for it.
        for _ in 0..200 {
            let before = now();
            sender.send_to(b"here", socket.local_addr().expect("bound")).expect("sent");
            let after = now();
            std::thread::sleep(Duration::from_millis(5));
            let arrival = receive(&socket, &mut buffer).expect("a datagram");
            assert_eq!(&buffer[..arrival.length], b"here");
            if arrival.at.is_some_and(|at| (before..=after).contains(&at)) {
                return;
            }
        }
        unreachable!("no datagram was stamped on arrival");
    }
}
