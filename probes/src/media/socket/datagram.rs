//! What a datagram of a call is, told from its first bytes without any key (RFC 7983).

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
    /// DTLS, TURN, anything else.
    Other,
}

const STUN_HEADER: usize = 20;
const STUN_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const RTP_HEADER: usize = 12;

/// First bytes of RTP and RTCP: version 2 (RFC 7983 §7).
const MEDIA: std::ops::RangeInclusive<u8> = 128..=191;
/// Second bytes of RTCP where it shares a port with RTP (RFC 5761 §4).
const RTCP: std::ops::RangeInclusive<u8> = 192..=223;

/// Whether `bytes` is RTP or RTCP, encrypted or not.
pub(crate) fn is_media(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| MEDIA.contains(first))
}

/// Tells what `bytes` is.
pub(crate) fn classify(bytes: &[u8]) -> Datagram {
    if is_media(bytes) {
        return match bytes.get(1) {
            Some(second) if !RTCP.contains(second) => rtp(bytes).map_or(Datagram::Other, Datagram::Rtp),
            _ => Datagram::Rtcp,
        };
    }
    stun(bytes).unwrap_or(Datagram::Other)
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

    fn stun_message(kind: u16) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 8]);
        bytes.extend(STUN_COOKIE);
        bytes.extend(1..=12);
        bytes.extend([9; 8]);
        bytes
    }

    const TRANSACTION: Transaction = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn each_protocol_is_told_by_its_first_bytes() {
        let media = |second: u8| {
            let mut bytes = vec![0x90, second, 0xAB, 0xCD, 0, 0, 0, 1, 0x11, 0x22, 0x33, 0x44];
            bytes.extend([7; 30]);
            bytes
        };
        let id = PacketId { ssrc: 0x1122_3344, sequence: 0xABCD };
        let mut no_cookie = stun_message(1);
        no_cookie[4] ^= 1;
        for (what, bytes, expected) in [
            ("RTP", media(111), Datagram::Rtp(id)),
            ("RTP with marker", media(0x80 | 102), Datagram::Rtp(id)),
            ("sender report", media(200), Datagram::Rtcp),
            ("transport feedback", media(205), Datagram::Rtcp),
            ("request", stun_message(0x0001), Datagram::BindingRequest(TRANSACTION)),
            ("success", stun_message(0x0101), Datagram::BindingSuccess(TRANSACTION)),
            ("error", stun_message(0x0111), Datagram::Other),
            ("no STUN cookie", no_cookie, Datagram::Other),
            ("DTLS", vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Datagram::Other),
            ("TURN channel data", vec![64, 0, 0, 4, 0x80, 111, 0, 0], Datagram::Other),
            ("short RTP", vec![0x80, 111, 0, 1], Datagram::Other),
            ("short STUN", stun_message(1)[..19].to_vec(), Datagram::Other),
            ("empty", vec![], Datagram::Other),
        ] {
            assert_eq!(classify(&bytes), expected, "{what}");
        }
    }
}
