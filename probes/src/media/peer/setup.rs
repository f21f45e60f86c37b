//! How one end of a call is to be.

use std::net::{IpAddr, SocketAddr};

use rtc::shared::ifaces::ifaces;

use crate::media::{capture::Stream, ice::Server};

/// Which way media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Both ways.
    Both,
    /// From us.
    Send,
    /// To us.
    Receive,
}

/// One end of a call.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) direction: Direction,
    /// Addresses to bind sockets to; a wildcard stands for every interface.
    pub(crate) addresses: Vec<String>,
    pub(crate) servers: Vec<Server>,
    /// Whether only relays of these servers are used.
    pub(crate) relay_only: bool,
    /// Payload types of sound and picture.
    pub(crate) payload_types: [u8; 2],
    /// Whether it waits for the other side to begin the handshake, if it answers (RFC 8842 §5.3).
    pub(crate) passive: bool,
    /// Whether there are pictures beside the sound.
    pub(crate) pictures: bool,
}

impl Setup {
    /// The payload types of our offers.
    pub(crate) const PAYLOAD_TYPES: [u8; 2] = [111, 102];

    /// Both ways, at one address.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            direction: Direction::Both,
            addresses: vec![address.to_owned()],
            servers: Vec::new(),
            relay_only: false,
            payload_types: Self::PAYLOAD_TYPES,
            passive: false,
            pictures: true,
        }
    }

    /// The same for an offer with or without pictures.
    pub(crate) fn for_offer(self, offer: &str) -> Self {
        Self { pictures: has_pictures(offer), ..self }
    }

    /// The streams of the connection.
    pub(crate) fn streams(&self) -> &'static [Stream] {
        if self.pictures { &Stream::ALL } else { &[Stream::Audio] }
    }

    /// Both ways, on all interfaces; on the loopback only if the far end may be there (`near`).
    pub(crate) fn on_interfaces(near: bool) -> Self {
        let found = ifaces().unwrap_or_default().into_iter().filter_map(|interface| interface.addr);
        Self { addresses: addresses(found.map(|address| address.ip()), near), ..Self::at("") }
    }
}

/// Whether a description has pictures beside the sound.
pub(crate) fn has_pictures(description: &str) -> bool {
    description.lines().any(|line| line.starts_with("m=video "))
}

/// What to bind to so as to go by one interface: the addresses of others would become candidates
/// that cannot work.
pub(crate) fn on_interface(interface: &str) -> Vec<String> {
    let found = ifaces().unwrap_or_default().into_iter().filter(|found| found.name == interface);
    let ips = found.filter_map(|found| found.addr).map(|address| address.ip());
    ips.filter(has_no_zone).map(|ip| SocketAddr::new(ip, 0).to_string()).collect()
}

/// A link-local address means nothing without the zone, which a candidate does not carry.
fn has_no_zone(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    }
}

/// What to bind to on a box with the addresses `found`. A family without an address that others can
/// reach is left out: its wildcard would become a candidate that nobody can use.
fn addresses(found: impl Iterator<Item = IpAddr>, near: bool) -> Vec<String> {
    let found: Vec<IpAddr> = found.collect();
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    };
    let mut addresses = Vec::new();
    for wildcard in ["0.0.0.0:0", "[::]:0"] {
        let v4 = wildcard.starts_with('0');
        if found.iter().any(|ip| ip.is_ipv4() == v4 && reachable(ip)) {
            addresses.push(wildcard.to_owned());
        }
    }
    if near {
        let loopback = found.iter().filter(|ip| ip.is_loopback());
        addresses.extend(loopback.map(|ip| SocketAddr::new(*ip, 0).to_string()));
    }
    // Without any, connecting fails in its own words.
    if addresses.is_empty() {
        addresses.push("0.0.0.0:0".to_owned());
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_used_where_others_can_reach_it_and_the_loopback_only_when_near() {
        for (found, near, expected) in [
            (&["127.0.0.1", "192.0.2.7", "::1", "fe80::1"][..], false, &["0.0.0.0:0"][..]),
            (&["127.0.0.1", "192.0.2.7", "2001:db8::7"], false, &["0.0.0.0:0", "[::]:0"]),
            (&["127.0.0.1", "::1", "192.0.2.7"], true, &["0.0.0.0:0", "127.0.0.1:0", "[::1]:0"]),
            (&["127.0.0.1"], true, &["127.0.0.1:0"]),
            (&["::1", "2001:db8::7"], false, &["[::]:0"]),
            (&["127.0.0.1", "169.254.3.4"], false, &["0.0.0.0:0"]),
            (&[], true, &["0.0.0.0:0"]),
        ] {
            let ips = found.iter().map(|ip| ip.parse().expect("an address"));
            assert_eq!(addresses(ips, near), expected, "{found:?} {near}");
        }
    }

    #[test]
    fn an_interface_has_its_own_addresses_alone() {
        let addresses = on_interface("lo");
        assert!(addresses.contains(&"127.0.0.1:0".to_owned()), "{addresses:?}");
        let loopback = |address: &String| address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
        assert!(addresses.iter().all(loopback), "{addresses:?}");
        assert!(on_interface("no-such-card").is_empty());
    }
}
