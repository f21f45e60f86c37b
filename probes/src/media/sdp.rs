//! What the other side describes (RFC 8866), reduced to what we asked for: one codec a section,
//! one source a section, names of our own. So its oddities end here.

use std::{fmt::Write as _, net::IpAddr};

use super::{
    capture::Stream,
    peer::{PLACEHOLDERS, Setup},
};

/// The longest description that is read.
const MOST_BYTES: usize = 64 << 10;
/// Most candidates that are taken: each is an address that we will send checks to.
const MOST_CANDIDATES: usize = 64;

/// What is wrong with a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SdpError {
    #[error("the description is longer than 64 KiB")]
    TooLong,
    #[error("what came is no session description")]
    NoSdp,
    #[error("the description has no section for {}", .0.name())]
    Missing(Stream),
    #[error("{} was refused", codec(*.0))]
    Refused(Stream),
    #[error("sound and picture are not bundled on one transport")]
    NotBundled,
}

/// The one codec of a stream, by its common name.
fn codec(stream: Stream) -> &'static str {
    match stream {
        Stream::Audio => "Opus",
        Stream::Video => "H.264",
    }
}

/// A description that our connection understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// The description.
    pub(super) sdp: String,
    /// Payload types of sound and picture, as the other side numbers them.
    pub(super) payload_types: [u8; 2],
}

/// Attributes that are kept as they are, beside those of the chosen codec.
const KEPT: &[&str] = &[
    "group",
    "mid",
    "setup",
    "fingerprint",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "candidate",
    "end-of-candidates",
    "rtcp-mux",
    "rtcp-rsize",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
];

/// Reduces a description. `receives` tells whether we are to receive media: then each section names a
/// source, if only one that stands for it until its first packet comes. Without `pictures` a section of them
/// is none of ours.
pub(super) fn plain(text: &str, receives: bool, pictures: bool) -> Result<Plain, SdpError> {
    let streams = if pictures { &Stream::ALL[..] } else { &[Stream::Audio] };
    if text.len() > MOST_BYTES {
        return Err(SdpError::TooLong);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let mut parts = sections(&lines).into_iter();
    let session = parts.next().filter(|session| session.first() == Some(&"v=0")).ok_or(SdpError::NoSdp)?;
    let mut sdp = String::new();
    let mut candidates = 0;
    for line in session.iter().filter(|line| attribute(line).is_none_or(|(name, _)| KEPT.contains(&name))) {
        push(&mut sdp, line);
    }
    let mut payload_types = [None; 2];
    let mut mids = Vec::new();
    for section in parts {
        let found = streams.iter().copied().find(|stream| section[0].starts_with(&format!("m={} ", stream.name())));
        let Some(stream) = found.filter(|stream| payload_types[*stream as usize].is_none()) else {
            // Not ours: what becomes of it is for the connection to say.
            section.iter().for_each(|line| push(&mut sdp, line));
            continue;
        };
        let payload_type = choose(section, stream).ok_or(SdpError::Refused(stream))?;
        payload_types[stream as usize] = Some(payload_type);
        mids.extend(value(section, "mid"));
        reduced(section, stream, payload_type, receives, &mut candidates, &mut sdp);
    }
    if let Some(missing) = streams.iter().find(|stream| payload_types[**stream as usize].is_none()) {
        return Err(SdpError::Missing(*missing));
    }
    let [audio, video] = Setup::PAYLOAD_TYPES;
    let payload_types = [payload_types[0].unwrap_or(audio), payload_types[1].unwrap_or(video)];
    let bundles = session.iter().filter_map(|line| attribute(line)).filter(|(name, _)| *name == "group");
    let bundled = bundles.filter_map(|(_, value)| value.strip_prefix("BUNDLE ")).any(|group| {
        let group: Vec<&str> = group.split_ascii_whitespace().collect();
        mids.len() == streams.len() && mids.iter().all(|mid| group.contains(mid))
    });
    // One section alone has nothing to share its transport with.
    if bundled || !pictures { Ok(Plain { sdp, payload_types }) } else { Err(SdpError::NotBundled) }
}

/// An answer without the pictures that nobody asked for: Janus's streams answer with all they have.
pub(super) fn without_pictures(answer: &str) -> String {
    let lines: Vec<&str> = answer.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let (dropped, kept): (Vec<&[&str]>, Vec<&[&str]>) = sections(&lines)
        .into_iter()
        .partition(|section| section.first().is_some_and(|head| head.starts_with("m=video ")));
    let mids: Vec<&str> = dropped.into_iter().filter_map(|section| value(section, "mid")).collect();
    let mut sdp = String::new();
    for line in kept.into_iter().flatten() {
        match line.strip_prefix("a=group:BUNDLE ") {
            Some(group) => {
                let group: Vec<&str> = group.split_ascii_whitespace().filter(|mid| !mids.contains(mid)).collect();
                push(&mut sdp, &format!("a=group:BUNDLE {}", group.join(" ")));
            }
            None => push(&mut sdp, line),
        }
    }
    sdp
}

/// The session's lines, then those of each media section.
fn sections<'a, 'b>(lines: &'b [&'a str]) -> Vec<&'b [&'a str]> {
    let starts = lines.iter().enumerate().filter(|(_, line)| line.starts_with("m=")).map(|(i, _)| i);
    let mut bounds: Vec<usize> = std::iter::once(0).chain(starts).collect();
    bounds.push(lines.len());
    bounds.windows(2).filter_map(|pair| lines.get(pair[0]..pair[1])).collect()
}

/// Name and value of an attribute line.
fn attribute(line: &str) -> Option<(&str, &str)> {
    let attribute = line.strip_prefix("a=")?;
    Some(attribute.split_once(':').unwrap_or((attribute, "")))
}

fn value<'a>(section: &[&'a str], name: &str) -> Option<&'a str> {
    section.iter().filter_map(|line| attribute(line)).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The payload type of our codec in a section, the most fitting one first; `None` if it was refused.
fn choose(section: &[&str], stream: Stream) -> Option<u8> {
    let mut head = section.first()?.split(' ').skip(1);
    let port = head.next()?;
    // With `bundle-only`, port 0 is no refusal (RFC 9143 §6).
    if (port == "0" && value(section, "bundle-only").is_none()) || value(section, "inactive").is_some() {
        return None;
    }
    let formats: Vec<&str> = head.skip(1).collect();
    let of = |name: &str, format: &str| {
        let values = section.iter().filter_map(|line| attribute(line)).filter(|(found, _)| *found == name);
        let mut values = values.filter_map(|(_, value)| value.split_once(' '));
        values.find(|(number, _)| *number == format).map(|(_, value)| value.to_ascii_lowercase())
    };
    let fit = |format: &&str| {
        let map = of("rtpmap", format)?;
        let parameters = of("fmtp", format).unwrap_or_default();
        match stream {
            Stream::Audio => map.starts_with("opus/48000").then_some(0),
            Stream::Video if !map.starts_with("h264/90000") => None,
            // Our pictures do not fit into single packets (RFC 6184 §6.2).
            Stream::Video if parameters.contains("packetization-mode=0") => None,
            // Constrained baseline is what we send.
            Stream::Video => Some(if parameters.contains("profile-level-id=42e0") {
                0
            } else if parameters.contains("profile-level-id=42") {
                1
            } else {
                2
            }),
        }
    };
    // Written in another way, a number's other lines would not be found by it.
    let number = |format: &str| format.parse().ok().filter(|n: &u8| *n < 128 && n.to_string() == format);
    let fitting = formats.iter().filter_map(|format| Some((fit(format)?, number(format)?)));
    fitting.min_by_key(|(fit, _)| *fit).map(|(_, number)| number)
}

/// Writes a section with one codec, one source and our names.
fn reduced(
    section: &[&str],
    stream: Stream,
    payload_type: u8,
    receives: bool,
    candidates: &mut usize,
    sdp: &mut String,
) {
    let number = payload_type.to_string();
    let head: Vec<&str> = section.first().map(|line| line.split(' ').take(3).collect()).unwrap_or_default();
    push(sdp, &format!("{} {number}", head.join(" ")));
    let mut source = None;
    for line in section.iter().skip(1) {
        let Some((name, value)) = attribute(line) else {
            push(sdp, line);
            continue;
        };
        let keeps = match name {
            // Names are not looked up: what hides behind one of multicast DNS is not for us.
            "candidate" if value.split(' ').nth(4).is_none_or(|at| at.parse::<IpAddr>().is_err()) => false,
            "candidate" => {
                *candidates += 1;
                *candidates <= MOST_CANDIDATES
            }
            "rtpmap" | "fmtp" => value.split(' ').next() == Some(number.as_str()),
            "rtcp-fb" => matches!(value.split(' ').next(), Some(of) if of == number || of == "*"),
            // A repair stream has its number second; the first is media.
            "ssrc" => {
                let ssrc = value.split(' ').next().and_then(|ssrc| ssrc.parse::<u32>().ok());
                source = source.or(ssrc);
                false
            }
            _ => KEPT.contains(&name),
        };
        if keeps {
            push(sdp, line);
        }
    }
    push(sdp, &format!("a=msid:far far-{}", stream.name()));
    if let Some(ssrc) = source.or(receives.then_some(PLACEHOLDERS[stream as usize])) {
        push(sdp, &format!("a=ssrc:{ssrc} cname:far"));
    }
}

fn push(sdp: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = write!(sdp, "{line}\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The shape of a media server's answer, with all that we do not need.
    fn answer() -> String {
        let session = "v=0\no=- 1 1 IN IP4 10.0.0.9\ns=VideoRoom 1234\nt=0 0\na=group:BUNDLE 0 1\na=ice-options:trickle\n\
            a=fingerprint:sha-256 AA\na=extmap-allow-mixed\na=msid-semantic: WMS *\n";
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\nc=IN IP4 10.0.0.9\na=sendrecv\na=mid:0\na=rtcp-mux\na=ice-ufrag:u\n\
            a=ice-pwd:p\na=setup:active\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\na=rtpmap:0 PCMU/8000\n\
            a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\na=msid:janus janus0\na=ssrc:11 cname:janus\na=ssrc:11 msid:janus janus0\n\
            a=candidate:1 1 udp 2015363327 10.0.0.9 20000 typ host\n\
            a=candidate:2 1 udp 2015363326 4f1a.local 20000 typ host\na=end-of-candidates\n";
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 97 98 99\nc=IN IP4 10.0.0.9\na=sendrecv\na=mid:1\na=rtcp-mux\n\
            a=rtpmap:97 VP8/90000\na=rtpmap:98 H264/90000\na=fmtp:98 packetization-mode=1;profile-level-id=42001f\n\
            a=rtpmap:99 H264/90000\na=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42E01F\n\
            a=rtcp-fb:99 nack pli\na=rtcp-fb:97 goog-remb\na=rtcp-fb:* nack\na=simulcast:recv h;l\na=rid:h recv\na=rid:l recv\n\
            a=ssrc-group:FID 22 23\na=ssrc:22 cname:janus\na=ssrc:23 cname:janus\n";
        format!("{session}{audio}{video}")
    }

    #[test]
    fn an_answer_is_reduced_to_one_codec_and_one_source_a_section() {
        let plain = plain(&answer(), true, true).unwrap();
        assert_eq!(plain.payload_types, [111, 99]);
        let expected = "v=0\no=- 1 1 IN IP4 10.0.0.9\ns=VideoRoom 1234\nt=0 0\na=group:BUNDLE 0 1\na=ice-options:trickle\n\
            a=fingerprint:sha-256 AA\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 10.0.0.9\na=sendrecv\na=mid:0\na=rtcp-mux\na=ice-ufrag:u\n\
            a=ice-pwd:p\na=setup:active\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\n\
            a=candidate:1 1 udp 2015363327 10.0.0.9 20000 typ host\na=end-of-candidates\na=msid:far far-audio\na=ssrc:11 cname:far\n\
            m=video 9 UDP/TLS/RTP/SAVPF 99\nc=IN IP4 10.0.0.9\na=sendrecv\na=mid:1\na=rtcp-mux\n\
            a=rtpmap:99 H264/90000\na=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42E01F\n\
            a=rtcp-fb:99 nack pli\na=rtcp-fb:* nack\na=msid:far far-video\na=ssrc:22 cname:far\n";
        assert_eq!(plain.sdp, expected.replace('\n', "\r\n"));
        // What is plain already stays as it is, whatever ends its lines.
        assert_eq!(super::plain(&plain.sdp, true, true).unwrap().payload_types, [111, 99]);
    }

    #[test]
    fn every_answer_that_will_not_do_is_named() {
        let video_only = |from: &str, to: &str| answer().replace(from, to);
        for (what, text, receives, expected) in [
            ("nothing", String::new(), true, Err(SdpError::NoSdp)),
            ("a page", "<html></html>".to_owned(), true, Err(SdpError::NoSdp)),
            ("JSON", "{\"v\":0}".to_owned(), true, Err(SdpError::NoSdp)),
            ("a session alone", "v=0\r\ns=-\r\n".to_owned(), true, Err(SdpError::Missing(Stream::Audio))),
            ("too much", format!("{}{}", answer(), "a=x\n".repeat(20_000)), true, Err(SdpError::TooLong)),
            ("port 0", video_only("m=video 9", "m=video 0"), true, Err(SdpError::Refused(Stream::Video))),
            (
                "port 0, bundled",
                video_only("m=video 9", "m=video 0").replace("a=mid:1", "a=mid:1\na=bundle-only"),
                true,
                Ok(99),
            ),
            ("inactive", video_only("a=mid:1", "a=mid:1\na=inactive"), true, Err(SdpError::Refused(Stream::Video))),
            ("VP8", video_only("H264/90000", "VP9/90000"), true, Err(SdpError::Refused(Stream::Video))),
            ("single packets", video_only("mode=1", "mode=0"), true, Err(SdpError::Refused(Stream::Video))),
            ("only another profile", video_only("42E01F", "640c1f").replace("42001f", "4d001f"), true, Ok(98)),
            ("no parameters", video_only("a=fmtp:9", "a=x:9"), true, Ok(98)),
            ("no Opus", answer().replace("opus", "speex"), true, Err(SdpError::Refused(Stream::Audio))),
            (
                "number too large",
                answer().replace("99", "199").replace(" 98", " 97"),
                true,
                Err(SdpError::Refused(Stream::Video)),
            ),
            ("a number with a zero before it", answer().replace("99", "099"), true, Ok(98)),
            ("no bundle", answer().replace("a=group:BUNDLE 0 1\n", ""), true, Err(SdpError::NotBundled)),
            ("half a bundle", answer().replace("BUNDLE 0 1", "BUNDLE 0"), true, Err(SdpError::NotBundled)),
            ("no source", answer().replace("a=ssrc:", "a=x:"), true, Ok(99)),
            ("no source of what we send", answer().replace("a=ssrc:", "a=x:"), false, Ok(99)),
            ("no names", answer().replace("msid", "x"), true, Ok(99)),
            ("one name for both", answer().replace("a=mid:1", "a=mid:1\na=msid:janus janus0"), true, Ok(99)),
        ] {
            let found = plain(&text, receives, true).map(|plain| plain.payload_types[1]);
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_source_that_is_not_named_has_its_place_kept_where_we_receive() {
        let without = answer().replace("a=ssrc:", "a=x:");
        let sources = |receives| -> Vec<String> {
            let sdp = plain(&without, receives, true).unwrap().sdp;
            sdp.lines().filter(|line| line.starts_with("a=ssrc")).map(str::to_owned).collect()
        };
        assert_eq!(sources(true), PLACEHOLDERS.map(|ssrc| format!("a=ssrc:{ssrc} cname:far")));
        assert!(sources(false).is_empty());
    }

    #[test]
    fn of_a_call_without_pictures_the_sound_alone_is_ours() {
        let session = answer().replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
        let (sound, video) = session.split_at(session.find("m=video").unwrap());
        let found = plain(sound, true, false).unwrap();
        assert_eq!(found.payload_types, [111, Setup::PAYLOAD_TYPES[1]]);
        assert!(!found.sdp.contains("m=video") && found.sdp.contains("a=ssrc:11 cname:far"), "{}", found.sdp);
        assert!(plain(&sound.replace("a=group:BUNDLE 0\n", ""), true, false).is_ok(), "nothing to bundle");
        assert_eq!(plain(sound, true, true), Err(SdpError::Missing(Stream::Video)));
        // Pictures that a server answers with all the same are taken out, and the rest is left alone.
        let mut expected: String = sound.lines().map(|line| format!("{line}\r\n")).collect();
        assert_eq!(without_pictures(&answer()), expected);
        assert_eq!(without_pictures(sound), expected);
        expected = expected.replace("BUNDLE 0", "BUNDLE 0 data");
        assert_eq!(without_pictures(&answer().replace("BUNDLE 0 1", "BUNDLE 0 1 data")), expected);
        assert_eq!(without_pictures(""), "");
        // Those that it offers are for the connection to refuse.
        let found = plain(&session, true, false).unwrap();
        assert!(found.sdp.ends_with(&video.replace('\n', "\r\n")), "{}", found.sdp);
        assert_eq!(plain(video, true, false), Err(SdpError::NoSdp));
        let refused = sound.replace("m=audio 9", "m=audio 0");
        assert_eq!(plain(&refused, true, false), Err(SdpError::Refused(Stream::Audio)));
    }

    #[test]
    fn a_flood_of_candidates_is_cut_and_other_sections_are_left_alone() {
        let candidate = "a=candidate:1 1 udp 1 10.0.0.9 20000 typ host\n";
        let flood = answer()
            .replace(candidate.trim_end(), "a=x")
            .replace("a=mid:1", &format!("a=mid:1\n{}", candidate.repeat(500)));
        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:2\na=sctp-port:5000\n";
        let plain = plain(&(flood + data), true, true).unwrap();
        assert_eq!(plain.sdp.matches("a=candidate").count(), MOST_CANDIDATES);
        assert!(plain.sdp.ends_with(&data.replace('\n', "\r\n")));
    }

    #[test]
    fn garbage_never_panics() {
        let mut random = fastrand::Rng::with_seed(3);
        let text = answer();
        let alphabet: Vec<char> = "amv=: \r\n0919xé\u{0}".chars().collect();
        for _ in 0..2000 {
            let mut characters: Vec<char> = text.chars().collect();
            for _ in 0..random.usize(1..40) {
                let at = random.usize(..characters.len());
                characters[at] = alphabet[random.usize(..alphabet.len())];
            }
            let _ = plain(&characters.into_iter().collect::<String>(), random.bool(), random.bool());
        }
    }
}
