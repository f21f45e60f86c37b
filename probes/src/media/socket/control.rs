//! What the kernel says beside a datagram: its address, when it arrived, how many were dropped; and
//! what it is told beside one: where to, and how the network shall treat it.

use std::{
    mem::{offset_of, size_of},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

/// What control data can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// Wall clock at arrival, in nanoseconds since 1970 (`SO_TIMESTAMPNS`).
    pub(super) arrived: Option<i64>,
    /// Datagrams that the kernel dropped at this socket so far (`SO_RXQ_OVFL`). The kernel says
    /// nothing while there are none.
    pub(super) overflow: Option<u32>,
}

/// Reads the control messages of one `recvmsg` call.
pub(super) fn ancillary(mut control: &[u8]) -> Ancillary {
    let mut found = Ancillary::default();
    while let Some((level, kind, data, rest)) = next(control) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => found.arrived = timespec(data),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                found.overflow = data.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
            }
            _ => {}
        }
        control = rest;
    }
    found
}

pub(super) type Message<'a> = (i32, i32, &'a [u8], &'a [u8]);

const WORD: usize = size_of::<usize>();
const HEADER: usize = size_of::<libc::cmsghdr>().next_multiple_of(WORD);

/// The first control message of `control`, and what follows it. See cmsg(3): each starts on a
/// boundary of the machine's word, and its length counts the header.
pub(super) fn next(control: &[u8]) -> Option<Message<'_>> {
    let int = |at: usize| control.get(at..)?.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
    let length = usize::from_ne_bytes(*control.first_chunk()?);
    let level = int(offset_of!(libc::cmsghdr, cmsg_level))?;
    let kind = int(offset_of!(libc::cmsghdr, cmsg_type))?;
    let data = control.get(HEADER..length)?;
    let rest = control.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, data, rest))
}

fn timespec(data: &[u8]) -> Option<i64> {
    let (seconds, rest) = data.split_first_chunk::<8>()?;
    let seconds = i64::from_ne_bytes(*seconds);
    let nanoseconds = i64::from_ne_bytes(*rest.first_chunk()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

/// Length of one control message that holds an integer.
pub(super) const MARK: usize = HEADER + size_of::<i32>().next_multiple_of(WORD);

/// The control message that gives one datagram a code point in its header (RFC 2474 §3): the upper
/// six bits of the type of service in IPv4 (ip(7)), of the traffic class in IPv6 (RFC 3542 §6.5).
pub(super) fn mark(to: SocketAddr, dscp: u8) -> [u8; MARK] {
    let (level, kind) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    };
    let mut message = [0; MARK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &(HEADER + size_of::<i32>()).to_ne_bytes());
    put(offset_of!(libc::cmsghdr, cmsg_level), &level.to_ne_bytes());
    put(offset_of!(libc::cmsghdr, cmsg_type), &kind.to_ne_bytes());
    put(HEADER, &i32::from(dscp << 2).to_ne_bytes());
    message
}

/// Writes a socket address as the kernel lays it out.
pub(super) fn name(address: SocketAddr) -> Vec<u8> {
    let family = |family: i32| (family as u16).to_ne_bytes();
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [&family(libc::AF_INET)[..], &port, &v4.ip().octets(), &[0; 8]].concat(),
        SocketAddr::V6(v6) => {
            let (flow, scope) = (v6.flowinfo().to_be_bytes(), v6.scope_id().to_ne_bytes());
            [&family(libc::AF_INET6)[..], &port, &flow, &v6.ip().octets(), &scope].concat()
        }
    }
}

/// Reads a socket address as the kernel lays it out (ip(7), ipv6(7)).
pub(super) fn address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*name.first_chunk()?);
    let port = u16::from_be_bytes(*name.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = *name.get(4..)?.first_chunk()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port))
        }
        libc::AF_INET6 => {
            let flow = u32::from_be_bytes(*name.get(4..)?.first_chunk()?);
            let ip: [u8; 16] = *name.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*name.get(24..)?.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<libc::cmsghdr>()];
        let length = bytes.len() + data.len();
        bytes[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
        let at = offset_of!(libc::cmsghdr, cmsg_level);
        bytes[at..at + 4].copy_from_slice(&level.to_ne_bytes());
        let at = offset_of!(libc::cmsghdr, cmsg_type);
        bytes[at..at + 4].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    fn stamp(seconds: i64, nanoseconds: i64) -> Vec<u8> {
        let data = [seconds.to_ne_bytes(), nanoseconds.to_ne_bytes()].concat();
        message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &data)
    }

    #[test]
    fn stamps_and_drops_are_found_among_other_messages() {
        let overflow = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7u32.to_ne_bytes());
        let other = message(libc::IPPROTO_IP, libc::IP_TOS, &[184]);
        let control = [other, overflow, stamp(1_700_000_000, 123)].concat();
        let expected = Ancillary { arrived: Some(1_700_000_000_000_000_123), overflow: Some(7) };
        assert_eq!(ancillary(&control), expected);
        assert_eq!(ancillary(&[]), Ancillary::default());
    }

    #[test]
    fn broken_control_data_ends_the_walk() {
        let whole = stamp(1, 2);
        for end in 0..whole.len() {
            assert_eq!(ancillary(&whole[..end]), Ancillary::default(), "cut at {end}");
        }
        let mut endless = whole.clone();
        endless[..size_of::<usize>()].copy_from_slice(&0usize.to_ne_bytes());
        assert_eq!(ancillary(&endless), Ancillary::default());
        endless[..size_of::<usize>()].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(ancillary(&endless), Ancillary::default());
    }

    #[test]
    fn a_mark_is_read_back_as_type_of_service_or_traffic_class() {
        for (to, level, kind) in [
            ("192.0.2.1:1", libc::IPPROTO_IP, libc::IP_TOS),
            ("[2001:db8::1]:1", libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        ] {
            let written = mark(to.parse().unwrap(), 46);
            let expected = message(level, kind, &184i32.to_ne_bytes());
            assert_eq!(written[..], expected, "{to}");
        }
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 65_535, 0x0001_2345, 3);
        for address in ["192.0.2.1:5004".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap(), scoped.into()] {
            assert_eq!(super::address(&name(address)), Some(address));
        }
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let mut v4 = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes().to_vec();
        v4.extend([0x1F, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(address(&v4), Some("127.0.0.1:8080".parse().unwrap()));
        let mut v6 = u16::try_from(libc::AF_INET6).unwrap().to_ne_bytes().to_vec();
        v6.extend([0x1F, 0x90, 0, 0, 0, 0]);
        v6.extend(Ipv6Addr::LOCALHOST.octets());
        v6.extend([0; 4]);
        assert_eq!(address(&v6), Some("[::1]:8080".parse().unwrap()));
        assert_eq!(address(&v6[..20]), None);
        assert_eq!(address(&[]), None);
    }
}
