//! What a datagram of a call is, told from its first bytes without any key (RFC 7983), and from
//! those inside where a TURN server relays it.

/// Identity of an RTP packet on one connection: SSRC and sequence number. Both are in the clear
/// header of SRTP (RFC 3711 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PacketId {
    /// Synchronisation source.
    pub(crate) ssrc: u32,
    /// Sequence number.
    pub(crate) sequence: u16,
}

/// Transaction id of a STUN message (RFC 8489 §5).
pub(crate) type Transaction = [u8; 12];

/// A datagram, as far as we need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    /// Media.
    Rtp(PacketId),
    /// Reports and feedback about media.
    Rtcp,
    /// A connectivity check.
    BindingRequest(Transaction),
    /// Its positive answer.
    BindingSuccess(Transaction),
    /// DTLS, requests to a TURN server, anything else.
    Other,
}

const STUN_HEADER: usize = 20;
const STUN_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const RTP_HEADER: usize = 12;

/// First bytes of RTP and RTCP: version 2 (RFC 7983 §7).
const MEDIA: std::ops::RangeInclusive<u8> = 128..=191;
/// Second bytes of RTCP where it shares a port with RTP (RFC 5761 §4).
const RTCP: std::ops::RangeInclusive<u8> = 192..=223;

/// First bytes of what travels in a TURN channel (RFC 8656 §12).
const CHANNEL: std::ops::RangeInclusive<u8> = 64..=79;
const CHANNEL_HEADER: usize = 4;
/// Message types and the attribute of relayed datagrams without a channel (RFC 8656 §17, §18).
const SEND_INDICATION: u16 = 0x0016;
const DATA_INDICATION: u16 = 0x0017;
const DATA: u16 = 0x0013;
const ATTRIBUTE_HEADER: usize = 4;

/// Whether `bytes` is RTP or RTCP, encrypted or not, relayed or not.
pub(crate) fn is_media(bytes: &[u8]) -> bool {
    starts_as_media(unwrapped(bytes))
}

/// Tells what `bytes` is, or what a TURN server relays in it.
pub(crate) fn classify(bytes: &[u8]) -> Datagram {
    let bytes = unwrapped(bytes);
    if starts_as_media(bytes) {
        return match bytes.get(1) {
            Some(second) if !RTCP.contains(second) => rtp(bytes).map_or(Datagram::Other, Datagram::Rtp),
            _ => Datagram::Rtcp,
        };
    }
    stun(bytes).unwrap_or(Datagram::Other)
}

fn starts_as_media(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| MEDIA.contains(first))
}

/// What a TURN server relays in `bytes`, on the way to it or from it; else `bytes`.
fn unwrapped(bytes: &[u8]) -> &[u8] {
    match bytes.first() {
        Some(first) if CHANNEL.contains(first) => channel_data(bytes),
        Some(0) => indication(bytes),
        _ => None,
    }
    .unwrap_or(bytes)
}

/// Channel number, length, data, perhaps padding (RFC 8656 §12.4).
fn channel_data(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<CHANNEL_HEADER>()?;
    let [_, _, a, b] = *header;
    rest.get(..usize::from(u16::from_be_bytes([a, b])))
}

/// The data attribute of a send or data indication (RFC 8656 §11; attributes: RFC 8489 §14).
fn indication(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<STUN_HEADER>()?;
    let [k0, k1, l0, l1, cookie @ .., _, _, _, _, _, _, _, _, _, _, _, _] = header;
    let kind = u16::from_be_bytes([*k0, *k1]);
    if cookie != &STUN_COOKIE || ![SEND_INDICATION, DATA_INDICATION].contains(&kind) {
        return None;
    }
    let mut attributes = rest.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?;
    loop {
        let (header, rest) = attributes.split_first_chunk::<ATTRIBUTE_HEADER>()?;
        let [k0, k1, l0, l1] = *header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if u16::from_be_bytes([k0, k1]) == DATA {
            return rest.get(..length);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn rtp(bytes: &[u8]) -> Option<PacketId> {
    let header: &[u8; RTP_HEADER] = bytes.first_chunk()?;
    let [_, _, s0, s1, _, _, _, _, a, b, c, d] = *header;
    Some(PacketId { ssrc: u32::from_be_bytes([a, b, c, d]), sequence: u16::from_be_bytes([s0, s1]) })
}

fn stun(bytes: &[u8]) -> Option<Datagram> {
    let header: &[u8; STUN_HEADER] = bytes.first_chunk()?;
    let (kind, rest) = header.split_first_chunk::<2>()?;
    if rest.get(2..6)? != STUN_COOKIE {
        return None;
    }
    let transaction = *rest.last_chunk::<12>()?;
    match u16::from_be_bytes(*kind) {
        0x0001 => Some(Datagram::BindingRequest(transaction)),
        0x0101 => Some(Datagram::BindingSuccess(transaction)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(STUN_COOKIE);
        bytes.extend(1..=12);
        bytes.extend(body);
        bytes
    }

    fn stun_message(kind: u16) -> Vec<u8> {
        stun(kind, &[9; 8])
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The address of the peer, which stands beside the data of an indication.
    fn peer() -> Vec<u8> {
        attribute(0x0012, &[0, 1, 0x21, 0x12, 0xE1, 0xBA, 0xA5, 0x43])
    }

    fn channel(data: &[u8]) -> Vec<u8> {
        [&[0x40, 1][..], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn media(second: u8) -> Vec<u8> {
        let mut bytes = vec![0x90, second, 0xAB, 0xCD, 0, 0, 0, 1, 0x11, 0x22, 0x33, 0x44];
        bytes.extend([7; 31]);
        bytes
    }

    const TRANSACTION: Transaction = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const ID: PacketId = PacketId { ssrc: 0x1122_3344, sequence: 0xABCD };

    #[test]
    fn each_protocol_is_told_by_its_first_bytes() {
        let mut no_cookie = stun_message(1);
        no_cookie[4] ^= 1;
        for (what, bytes, expected) in [
            ("RTP", media(111), Datagram::Rtp(ID)),
            ("RTP with marker", media(0x80 | 102), Datagram::Rtp(ID)),
            ("sender report", media(200), Datagram::Rtcp),
            ("transport feedback", media(205), Datagram::Rtcp),
            ("request", stun_message(0x0001), Datagram::BindingRequest(TRANSACTION)),
            ("success", stun_message(0x0101), Datagram::BindingSuccess(TRANSACTION)),
            ("error", stun_message(0x0111), Datagram::Other),
            ("no STUN cookie", no_cookie, Datagram::Other),
            ("DTLS", vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Datagram::Other),
            ("short RTP", vec![0x80, 111, 0, 1], Datagram::Other),
            ("short STUN", stun_message(1)[..19].to_vec(), Datagram::Other),
            ("empty", vec![], Datagram::Other),
        ] {
            assert_eq!(classify(&bytes), expected, "{what}");
        }
    }
    #[test]
    fn what_a_turn_server_relays_is_told_as_if_it_came_by_itself() {
        let padded = |data: &[u8]| [channel(data), vec![0]].concat();
        let send = |data: &[u8]| stun(SEND_INDICATION, &[peer(), attribute(DATA, data)].concat());
        let data = |data: &[u8]| stun(DATA_INDICATION, &[attribute(DATA, data), peer()].concat());
        for (what, bytes, expected) in [
            ("RTP", media(111), Datagram::Rtp(ID)),
            ("report", media(200), Datagram::Rtcp),
            ("check", stun_message(0x0001), Datagram::BindingRequest(TRANSACTION)),
            ("answer", stun_message(0x0101), Datagram::BindingSuccess(TRANSACTION)),
            ("DTLS", vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Datagram::Other),
            ("nothing", vec![], Datagram::Other),
            ("a further channel", channel(&media(111)), Datagram::Other),
        ] {
            for (how, wrapped) in [
                ("channel", channel(&bytes)),
                ("padded channel", padded(&bytes)),
                ("send indication", send(&bytes)),
                ("data indication", data(&bytes)),
            ] {
                assert_eq!(classify(&wrapped), expected, "{what} by {how}");
                assert_eq!(is_media(&wrapped), is_media(&bytes) && what != "a further channel", "{what} by {how}");
            }
        }
    }

    #[test]
    fn broken_relay_framing_hides_nothing_and_ends() {
        let indication = stun(DATA_INDICATION, &[peer(), attribute(DATA, &media(111))].concat());
        for whole in [channel(&media(111)), indication.clone()] {
            assert_eq!(classify(&whole), Datagram::Rtp(ID));
            for end in 0..whole.len() {
                assert_eq!(classify(&whole[..end]), Datagram::Other, "cut at {end}");
            }
        }
        let longest = |at: usize| {
            let mut bytes = indication.clone();
            bytes[at..at + 2].copy_from_slice(&[0xFF; 2]);
            bytes
        };
        let cookie = || {
            let mut bytes = indication.clone();
            bytes[4] ^= 1;
            bytes
        };
        for (what, bytes) in [
            ("message longer than it is", longest(2)),
            ("attribute longer than the message", longest(STUN_HEADER + 2)),
            ("data longer than the message", longest(STUN_HEADER + peer().len() + 2)),
            ("no cookie", cookie()),
            ("no data", stun(SEND_INDICATION, &peer())),
            ("a request of that shape", stun(0x0006, &attribute(DATA, &media(111)))),
            ("empty attributes", stun(DATA_INDICATION, &vec![0; 65_532])),
        ] {
            assert_eq!(classify(&bytes), Datagram::Other, "{what}");
        }
    }
}
