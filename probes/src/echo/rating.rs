//! What echo does to a conversation: the E-model of ITU-T G.107, narrowband, all but delay and echo at its
//! defaults.

/// Loss of the talker's own telephone at both ends, in decibels: sending loudness 8, receiving loudness 2. It
/// adds to the loss of the echo path between them (TELR of G.107).
const TELEPHONE: f64 = 10.0;
/// Room noise and circuit noise at the receiving end and the receiving loudness: −1.5·(No − RLR) of G.107.
const NOISELESS: f64 = 94.77;
/// The rating of a call without delay and without echo.
#[cfg(test)]
const PERFECT: f64 = 93.2;

/// Idte of G.107: how much echo of the talker's own voice impairs a call whose echo path loses
/// `echo_loss` decibels, and whose delay in one direction is `one_way_seconds`. 0 is no impairment; 100 no
/// conversation.
pub(crate) fn echo_impairment(echo_loss: f64, one_way_seconds: f64) -> f64 {
    let delay = (one_way_seconds * 1e3).max(0.0);
    let heard = echo_loss + TELEPHONE - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10()
        + 6.0 * (-0.3 * delay * delay).exp();
    let half = (NOISELESS - (80.0 + 2.5 * (heard - 14.0))) / 2.0;
    // (1 − e^−T): below some milliseconds the ear takes the echo for its own voice in the room.
    (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp())
}

/// Idd of G.107: how much delay alone, in one direction, impairs a call.
#[cfg(test)]
fn delay_impairment(one_way_seconds: f64) -> f64 {
    let doublings = (one_way_seconds * 10.0).log2();
    if doublings <= 0.0 {
        return 0.0;
    }
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(doublings) - 3.0 * root(doublings / 3.0) + 2.0)
}

/// R of G.107, without loss of packets. Above 80 most people are satisfied, above 70 many (G.109).
#[cfg(test)]
fn rating(echo_loss: f64, one_way_seconds: f64) -> f64 {
    PERFECT - delay_impairment(one_way_seconds) - echo_impairment(echo_loss, one_way_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first TELR, in steps of a tenth of a decibel, that gives at least `rating`.
    fn needed(wanted: f64, one_way_seconds: f64) -> Option<f64> {
        (0..900).map(|step| f64::from(step) / 10.0).find(|telr| rating(telr - TELEPHONE, one_way_seconds) >= wanted)
    }

    #[test]
    fn delay_and_echo_rate_a_call_as_the_reference_does() {
        // One way in milliseconds; needed TELR for 80 and for 70; R at echo losses of 30, 40, 46 and 55 dB.
        let table = [
            (50, Some(43.2), Some(38.1), [74, 88, 91, 92]),
            (100, Some(49.9), Some(44.7), [60, 80, 88, 91]),
            (150, Some(53.3), Some(48.1), [52, 74, 84, 90]),
            (200, Some(57.3), Some(51.6), [44, 67, 78, 87]),
            (300, None, Some(61.0), [26, 50, 62, 74]),
        ];
        for (milliseconds, good, fair, ratings) in table {
            let seconds = f64::from(milliseconds) / 1e3;
            assert_eq!(needed(80.0, seconds), good, "{milliseconds} ms");
            assert_eq!(needed(70.0, seconds), fair, "{milliseconds} ms");
            for (loss, wanted) in [30.0, 40.0, 46.0, 55.0].into_iter().zip(ratings) {
                assert_eq!(rating(loss, seconds).round() as i32, wanted, "{milliseconds} ms, {loss} dB");
            }
        }
    }

    #[test]
    fn an_echo_without_delay_is_no_echo() {
        assert!(echo_impairment(0.0, 0.0).abs() < 1e-9 && echo_impairment(20.0, -1.0).abs() < 1e-9);
        assert!(echo_impairment(80.0, 0.1) < 1.0);
        assert!(echo_impairment(20.0, 0.2) > echo_impairment(20.0, 0.1));
    }
}
