//! What a box speaks into a call: sound that a canceller of echo learns from as from a voice (after the idea
//! of ITU-T P.501), at the level of a voice. It says nothing, and no part of it returns.

use super::RATE;
use crate::media::signal::speech::Speech;

/// Samples of silence at its begin, 1 s: what is heard in it is the noise of the far end.
pub(crate) const LEAD: u64 = RATE as u64;
/// Root mean square of its active parts: −26 dBFS (ITU-T P.56).
const LEVEL: f32 = 0.050_118_723;
/// The first composite source, far from those of the test signal.
const FIRST: u64 = 1 << 32;

/// The talk, the same at each call. It keeps one composite source.
#[derive(Debug, Default)]
pub(crate) struct Talk(Speech);

impl Talk {
    /// The talk.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sample `n`, full scale ±1.
    pub(crate) fn at(&mut self, n: u64) -> f32 {
        match n.checked_sub(LEAD).and_then(|n| usize::try_from(n).ok()) {
            Some(n) => LEVEL * self.0.at(FIRST, n, usize::MAX),
            None => 0.0,
        }
    }

    /// Fills `out` with the samples from `first` on.
    pub(crate) fn fill(&mut self, first: u64, out: &mut [f32]) {
        out.iter_mut().zip(0..).for_each(|(sample, n)| *sample = self.at(first.saturating_add(n)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_talk_begins_after_a_second_and_has_the_level_of_a_voice() {
        let mut block = vec![0.0; 10 * RATE as usize];
        Talk::new().fill(0, &mut block);
        let (lead, talk) = block.split_at(LEAD as usize);
        assert!(lead.iter().all(|x| x.abs() < f32::MIN_POSITIVE));
        let active: Vec<f32> = talk.iter().copied().filter(|x| x.abs() > f32::MIN_POSITIVE).collect();
        let power = active.iter().map(|x| x * x).sum::<f32>() / active.len() as f32;
        assert!((10.0 * power.log10() + 26.0).abs() < 0.1, "{}", 10.0 * power.log10());
        assert!(block.iter().all(|x| x.abs() < 0.7), "it is not driven beyond full scale");
    }

    #[test]
    fn blocks_in_any_order_join_to_the_same_talk() {
        let mut whole = vec![0.0; 200 * 960];
        Talk::new().fill(0, &mut whole);
        let mut talk = Talk::new();
        for block in [199, 55, 51, 120, 54] {
            let mut out = [0.0; 960];
            talk.fill(block * 960, &mut out);
            let at = block as usize * 960;
            assert!(out.iter().zip(&whole[at..]).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        let mut far = [1.0; 4];
        talk.fill(u64::MAX - 3, &mut far);
    }

    #[test]
    fn no_part_of_the_talk_comes_again() {
        let mut talk = Talk::new();
        let mut part = |first: u64| {
            let mut out = vec![0.0; 16_800];
            talk.fill(LEAD + 16_800 * first, &mut out);
            out
        };
        let first = part(1);
        for other in 2..100 {
            let alike = first.iter().zip(part(other)).map(|(a, b)| a * b).sum::<f32>();
            let power = first.iter().map(|a| a * a).sum::<f32>();
            assert!(alike.abs() < 0.3 * power, "{other}: {}", alike / power);
        }
    }
}
