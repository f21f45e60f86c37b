//! What a call may take of this box and its link. A call stands in for a lesson, and must not get in the
//! way of one: what would go beyond a share is lowered, and left out where that does not do.

use super::Config;
use crate::{Failure, Reason, Unit};

/// Fewest bits per second of a picture: below it the time code is no longer read in every picture.
const LEAST_PICTURE: f64 = 60_000.0;
/// Frame rates that are tried where the configured one costs too much, in pictures per second.
const FRAME_RATES: [u32; 4] = [30, 15, 10, 5];
/// Headers of one packet in bits, at most: IPv6 40, UDP 8, channel data of TURN 4, RTP 12, SRTP 16 bytes.
const HEADERS: f64 = 80.0 * 8.0;
/// How much more than its bit rate the test sound takes at most, at a variable rate.
const SOUND_EXCESS: f64 = 1.6;
/// Packets of sound per second.
const SOUND_RATE: f64 = 50.0;
/// Payload of a picture's full packet in bits.
const PAYLOAD: f64 = 1200.0 * 8.0;
/// Connectivity checks and RTCP, in bits per second.
const CONTROL: f64 = 6_000.0;

/// What a picture is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureFormat {
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
    /// Pictures per second.
    pub(crate) frame_rate: u32,
    pub(crate) bits_per_second: u32,
}

impl PictureFormat {
    /// Bits per second on the wire: full packets, and one of each picture that is not.
    fn on_wire(self) -> f64 {
        f64::from(self.bits_per_second) * (1.0 + HEADERS / PAYLOAD) + f64::from(self.frame_rate) * HEADERS
    }

    /// The same on the wire of `bits` per second.
    fn within(self, bits: f64) -> f64 {
        (bits - f64::from(self.frame_rate) * HEADERS) / (1.0 + HEADERS / PAYLOAD)
    }
}

/// What a call sends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) sound_bits_per_second: u32,
    /// Whether the sound is that of a light call.
    pub(crate) light: bool,
    /// `None` of a call with sound alone.
    pub(crate) picture: Option<PictureFormat>,
    /// What was lowered or left out, and why.
    pub(crate) bounds: Vec<Failure>,
}

/// What a call sends, given the speed of its link in bits per second and what coding one picture costs in
/// seconds of one core, as far as they are known.
pub(crate) fn bounded(config: &Config, link: Option<f64>, cost: Option<f64>) -> Plan {
    let mut plan = config.wanted();
    if let Some((picture, cost)) = plan.picture.zip(cost) {
        (plan.picture, plan.bounds) = by_cost(picture, cost, config.cpu_share());
    }
    if let Some((picture, link)) = plan.picture.zip(link) {
        let sound = f64::from(plan.sound_bits_per_second) * SOUND_EXCESS + SOUND_RATE * HEADERS + CONTROL;
        let (picture, bound) = by_link(picture, sound, link, config.link_share);
        plan.picture = picture;
        plan.bounds.extend(bound);
    }
    plan
}

fn bound(detail: String) -> Failure {
    Failure::new(Reason::Bounded, detail)
}

/// The highest frame rate at which coding stays within its share.
fn by_cost(picture: PictureFormat, cost: f64, share: f64) -> (Option<PictureFormat>, Vec<Failure>) {
    let lower = FRAME_RATES.into_iter().filter(|rate| *rate < picture.frame_rate);
    let fits = |rate: &u32| cost * f64::from(*rate) <= share;
    let why = format!("coding one takes {}, and cpu_share is {} of a core", Unit::Seconds.show(cost), percent(share));
    match std::iter::once(picture.frame_rate).chain(lower).find(fits) {
        Some(frame_rate) if frame_rate == picture.frame_rate => (Some(picture), Vec::new()),
        Some(frame_rate) => {
            let wanted = picture.frame_rate;
            let detail = format!("{frame_rate} pictures a second instead of {wanted}: {why}");
            (Some(PictureFormat { frame_rate, ..picture }), vec![bound(detail)])
        }
        None => (None, vec![bound(format!("no picture, not even 5 a second: {why}"))]),
    }
}

/// The highest bit rate with which the call, `sound` and all beside it included, stays within its share.
fn by_link(picture: PictureFormat, sound: f64, link: f64, share: f64) -> (Option<PictureFormat>, Option<Failure>) {
    let allowed = link * share - sound;
    if picture.on_wire() <= allowed {
        return (Some(picture), None);
    }
    let why = format!("link_share is {} of a link of {} Mbit/s", percent(share), link / 1e6);
    let bits = picture.within(allowed);
    if bits < LEAST_PICTURE {
        return (None, Some(bound(format!("no picture, not even one of 60 kbit/s: {why}"))));
    }
    let bits_per_second = bits as u32;
    let (less, wanted) = (bits_per_second / 1000, picture.bits_per_second / 1000);
    let detail = format!("{less} kbit/s of picture instead of {wanted}: {why}");
    (Some(PictureFormat { bits_per_second, ..picture }), Some(bound(detail)))
}

fn percent(share: f64) -> String {
    Unit::Ratio.show(share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Profile;

    const MBIT: f64 = 1e6;

    /// Frame rate and bit rate of the picture, and what is said.
    fn found(config: &Config, link: Option<f64>, cost: Option<f64>) -> (Option<(u32, u32)>, Vec<String>) {
        let plan = bounded(config, link, cost);
        assert!(plan.bounds.iter().all(|bound| bound.reason == Reason::Bounded));
        assert_eq!(plan.sound_bits_per_second, config.wanted().sound_bits_per_second);
        let picture = plan.picture.map(|picture| (picture.frame_rate, picture.bits_per_second));
        (picture, plan.bounds.into_iter().map(|bound| bound.detail).collect())
    }

    #[test]
    fn the_frame_rate_is_what_coding_leaves_room_for() {
        let config = Config::default();
        let fast = Config { frame_rate: Some(60), ..Config::default() };
        let odd = Config { frame_rate: Some(12), ..Config::default() };
        let generous = Config { cpu_share: Some(1.0), ..Config::default() };
        let say = |rate: u32, wanted: u32, cost: &str, share: &str| {
            vec![format!(
                "{rate} pictures a second instead of {wanted}: coding one takes {cost}, and cpu_share is {share} of a core"
            )]
        };
        for (config, cost, rate, said) in [
            (&config, None, Some(30), Vec::new()),
            (&config, Some(0.0083), Some(30), Vec::new()),
            (&config, Some(0.0085), Some(15), say(15, 30, "8.5 ms", "25 %")),
            (&config, Some(0.0166), Some(15), say(15, 30, "16.6 ms", "25 %")),
            (&config, Some(0.02), Some(10), say(10, 30, "20 ms", "25 %")),
            (&config, Some(0.05), Some(5), say(5, 30, "50 ms", "25 %")),
            (
                &config,
                Some(0.051),
                None,
                vec![
                    "no picture, not even 5 a second: coding one takes 51 ms, and cpu_share is 25 % of a core"
                        .to_owned(),
                ],
            ),
            (&fast, Some(0.004), Some(60), Vec::new()),
            (&fast, Some(0.005), Some(30), say(30, 60, "5 ms", "25 %")),
            (&odd, Some(0.02), Some(12), Vec::new()),
            (&odd, Some(0.022), Some(10), say(10, 12, "22 ms", "25 %")),
            (&generous, Some(0.033), Some(30), Vec::new()),
            (&generous, Some(0.034), Some(15), say(15, 30, "34 ms", "100 %")),
        ] {
            let expected = (rate.map(|rate| (rate, 500_000)), said);
            assert_eq!(found(config, None, cost), expected, "{cost:?}");
        }
    }

    #[test]
    fn the_bit_rate_is_what_the_link_leaves_room_for_with_all_that_goes_with_it() {
        let config = Config::default();
        let whole = Config { link_share: 1.0, ..Config::default() };
        let large = Config { video_bits_per_second: Some(8_000_000), ..Config::default() };
        // Sound takes 51.2 + 32 + 6 = 89.2 kbit/s; a picture 30 × 640 bit/s and a fifteenth more than its own.
        let full = (500_000.0 * (1.0 + 1.0 / 15.0) + 19_200.0 + 89_200.0) / MBIT;
        let least = (60_000.0 * (1.0 + 1.0 / 15.0) + 19_200.0 + 89_200.0) / MBIT;
        for (config, link, bits) in [
            (&config, None, Some(500_000)),
            (&config, Some(1000.0), Some(500_000)),
            (&config, Some(10.0 * full + 0.001), Some(500_000)),
            (&config, Some(10.0 * full - 0.001), Some(499_906)),
            (&config, Some(10.0 * least + 0.001), Some(60_093)),
            (&config, Some(10.0 * least - 0.001), None),
            (&whole, Some(full + 0.001), Some(500_000)),
            (&large, Some(100.0), Some(8_000_000)),
            (&large, Some(10.0), Some(835_875)),
        ] {
            let (picture, said) = found(config, link.map(|link| link * MBIT), None);
            assert_eq!(picture, bits.map(|bits| (30, bits)), "{link:?}");
            assert_eq!(said.is_empty(), picture == found(config, None, None).0, "{said:?}");
        }
        let (_, said) = found(&large, Some(10.0 * MBIT), None);
        assert_eq!(said, ["835 kbit/s of picture instead of 8000: link_share is 10 % of a link of 10 Mbit/s"]);
        let (_, said) = found(&config, Some(MBIT), None);
        assert_eq!(said, ["no picture, not even one of 60 kbit/s: link_share is 10 % of a link of 1 Mbit/s"]);
    }

    #[test]
    fn both_bounds_are_kept_and_both_are_said() {
        let config = Config { video_bits_per_second: Some(8_000_000), ..Config::default() };
        let (picture, said) = found(&config, Some(10.0 * MBIT), Some(0.02));
        // A picture less often leaves its headers to the rest.
        assert_eq!(picture, Some((10, 847_875)));
        assert_eq!(said.len(), 2, "{said:?}");
        let (picture, said) = found(&config, Some(10.0 * MBIT), Some(1.0));
        assert_eq!((picture, said.len()), (None, 1), "what is left out is not lowered as well");
    }

    #[test]
    fn a_light_call_has_no_picture_to_bound() {
        let light = Config { profile: Profile::Light, ..Config::default() };
        assert_eq!(found(&light, Some(MBIT), Some(1.0)), (None, Vec::new()));
    }
}
