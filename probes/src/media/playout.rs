//! What a listener would wait for: estimates, as neither a receiver's jitter buffer nor a sound device
//! takes part in the call.

use super::{
    capture::{Capture, Stream},
    delay::sound,
    identity::packets,
    loss::reference_buffer,
    stats::{Stat, low_confidence},
    sync::own_sound,
};
use crate::{Metric, Reading};

/// Playout delay: the smallest loop delay of sound plus the reference jitter buffer. Mouth to ear, one
/// way: the same with half of the loop, of which packetisation is no part, as it happens once; sound
/// devices add to it, and are not known here.
pub fn readings(capture: &Capture) -> Vec<Reading> {
    let sound = sound(capture);
    let packets = packets(capture, Stream::Audio).unwrap_or_default();
    let known = sound.quantile(Stat::Min).zip(reference_buffer(&packets)).zip(own_sound(capture));
    let Some(((loop_delay, buffer), own)) = known else { return Vec::new() };
    let one_way = own + (loop_delay - own).max(0.0) / 2.0 + buffer;
    [(Metric::MediaPlayoutDelay, loop_delay + buffer), (Metric::MouthToEar, one_way)]
        .map(|(metric, value)| Reading::new(capture.ended_at, metric, value, sound.len() as u64))
        .map(|reading| if sound.enough(Stat::Min) { reading } else { low_confidence(reading) })
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Validity,
        media::fixture::{MS, call, value},
    };

    #[test]
    fn the_buffer_is_that_of_the_variation_and_one_way_is_half_of_the_loop() {
        // Of sound: variation in ms, and the buffer that covers 99 % of it, in tens of ms from 20 to 200.
        for (variation, buffer) in [(0, 0.020), (25, 0.030), (90, 0.090), (300, 0.200)] {
            let mut capture =
                call(10, |packet| Some(80 * MS + if packet.sequence.is_multiple_of(7) { variation * MS } else { 0 }));
            // So that none of it is taken for a repeat.
            capture.round_trips = vec![1.0; 20];
            let readings = readings(&capture);
            let near = |metric, want: f64| {
                let got = value(&readings, metric, &[]).expect("sound came back");
                assert!((got - want).abs() < 1e-9, "{variation} ms: {metric} {got}, not {want}");
            };
            // Packetisation 20 ms; the send stamp is 0.1 ms after due.
            near(Metric::MediaPlayoutDelay, 0.100 + buffer);
            near(Metric::MouthToEar, 0.0201 + 0.0799 / 2.0 + buffer);
        }
    }

    #[test]
    fn what_is_not_known_is_not_estimated() {
        assert_eq!(readings(&call(10, |_| None)), []);
        let mut mixed = call(10, |_| Some(80 * MS));
        mixed.received.iter_mut().for_each(|packet| packet.hash ^= 1 << 60);
        assert_eq!(readings(&mixed), [], "no packet shows the variation");
        assert_eq!(readings(&call(3, |_| Some(80 * MS)))[0].validity, Validity::LowConfidence);
    }
}
