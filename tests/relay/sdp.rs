//! Offer and answer on their way: candidates replaced, all else untouched.

use std::net::SocketAddr;

use crate::plan::Stream;

const CANDIDATE: &str = "a=candidate:";

/// The description with this one candidate in place of all it has, so that the other side knows of no
/// other way. With one left in, ICE would find the direct pair and pass by the relay.
pub(crate) fn rewrite(description: &str, candidate: SocketAddr) -> String {
    let (address, port) = (candidate.ip(), candidate.port());
    let ours = format!("{CANDIDATE}1 1 udp 2130706431 {address} {port} typ host\r\n");
    let mut rewritten = String::with_capacity(description.len() + ours.len());
    let mut in_this_section = false;
    for line in description.split_inclusive('\n') {
        if line.starts_with("m=") {
            in_this_section = false;
        }
        if !line.starts_with(CANDIDATE) {
            rewritten.push_str(line);
        } else if !in_this_section {
            rewritten.push_str(&ours);
            in_this_section = true;
        }
    }
    rewritten
}

/// Where the side that wrote the description can be reached by UDP: on loopback if it says so, else at the
/// first address of our family that it names.
pub(crate) fn address(description: &str) -> Option<SocketAddr> {
    let candidates = description.lines().filter_map(|line| {
        let mut fields = line.strip_prefix(CANDIDATE)?.split(' ');
        let (component, transport) = (fields.nth(1)?, fields.next()?);
        let (address, port) = (fields.nth(1)?, fields.next()?);
        let rtp_by_udp = component == "1" && transport.eq_ignore_ascii_case("udp");
        let address = SocketAddr::new(address.parse().ok()?, port.parse().ok()?);
        (rtp_by_udp && address.is_ipv4()).then_some(address)
    });
    let mut candidates: Vec<SocketAddr> = candidates.collect();
    candidates.sort_by_key(|candidate| !candidate.ip().is_loopback());
    candidates.first().copied()
}

/// The stream of each payload type that a description names.
pub(crate) fn streams(description: &str) -> Vec<(u8, Stream)> {
    let sections = description.lines().filter_map(|line| line.strip_prefix("m="));
    sections
        .flat_map(|section| {
            let mut fields = section.split(' ');
            let stream = match fields.next() {
                Some("audio") => Some(Stream::Audio),
                Some("video") => Some(Stream::Video),
                _ => None,
            };
            let types = fields.skip(2).filter_map(|kind| kind.trim().parse().ok());
            types.filter_map(move |kind| Some((kind, stream?)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=rtpmap:111 opus/48000/2\r\n\
        a=candidate:1 1 tcp 1 127.0.0.1 9 typ host tcptype active\r\n\
        a=candidate:2 1 udp 2130706431 192.0.2.7 40001 typ host\r\n\
        a=candidate:3 1 udp 2130706430 2001:db8::7 40002 typ host\r\n\
        a=candidate:4 2 udp 2130706429 127.0.0.1 40003 typ host\r\n\
        a=candidate:5 1 UDP 2130706428 127.0.0.1 40004 typ host\r\na=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\na=mid:1\r\n\
        a=candidate:5 1 UDP 2130706428 127.0.0.1 40004 typ host\r\nm=application 9 UDP/DTLS/SCTP 5000\r\n";

    #[test]
    fn one_candidate_stands_for_all_and_nothing_else_changes() {
        let rewritten = rewrite(OFFER, "127.0.0.1:5000".parse().expect("an address"));
        let candidates: Vec<&str> = rewritten.lines().filter(|line| line.contains("candidate:")).collect();
        assert_eq!(candidates, ["a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host"; 2]);
        let rest = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with(CANDIDATE)).map(str::to_owned).collect()
        };
        assert_eq!(rest(&rewritten), rest(OFFER));
        assert_eq!(rewritten.lines().last(), Some("m=application 9 UDP/DTLS/SCTP 5000"));
    }

    #[test]
    fn a_side_is_reached_on_loopback_if_it_can_be() {
        assert_eq!(address(OFFER), Some("127.0.0.1:40004".parse().expect("an address")));
        let elsewhere = OFFER.replace("127.0.0.1", "::1");
        assert_eq!(address(&elsewhere), Some("192.0.2.7:40001".parse().expect("an address")));
        assert_eq!(address("v=0\r\na=candidate:1 1 udp\r\na=candidate:\r\n"), None);
    }

    #[test]
    fn payload_types_tell_the_stream() {
        assert_eq!(streams(OFFER), [(111, Stream::Audio), (102, Stream::Video), (103, Stream::Video)]);
    }
}
