//! Losses by frequency, weighted as ITU-T G.122 Annex B.4 weights them.

use super::spectrum::decibels;

/// The telephone band, in hertz.
pub(crate) const NARROW: (f64, f64) = (300.0, 3400.0);
/// The band of 3GPP TS 26.132 §8.7, in hertz.
pub(crate) const WIDE: (f64, f64) = (300.0, 6700.0);

/// Parts of equal width on a logarithmic scale, each near a third of an octave.
pub(crate) fn parts(band: (f64, f64)) -> impl Iterator<Item = (f64, f64)> {
    let (low, high) = band;
    let count = (3.0 * (high / low).log2()).round().max(1.0);
    let edge = move |index: f64| low * (high / low).powf(index / count);
    (0..count as usize).map(move |index| (edge(index as f64), edge(index as f64 + 1.0)))
}

/// The weighted loss in decibels of a path whose power gains over [`parts`] of equal width these are: the
/// trapezoid of G.122 B.4 over a logarithmic frequency scale. A path of gain 1 reads 0.
pub(crate) fn weighted_loss(gains: &[f64]) -> f64 {
    -decibels(gains.iter().map(|gain| gain.max(0.0)).sum::<f64>() / gains.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_near_a_third_of_an_octave_and_cover_the_band() {
        for (band, count) in [(NARROW, 11), (WIDE, 13)] {
            let parts: Vec<_> = parts(band).collect();
            assert_eq!(parts.len(), count);
            assert!((parts[0].0 - band.0).abs() < 1e-9 && (parts[count - 1].1 - band.1).abs() < 1e-9);
            assert!(parts.iter().all(|(low, high)| ((high / low).log2() - 1.0 / 3.0).abs() < 0.02));
        }
    }

    #[test]
    fn a_path_of_gain_one_reads_nothing_and_a_tenth_ten_decibels() {
        assert!(weighted_loss(&[1.0; 11]).abs() < 1e-9);
        assert!((weighted_loss(&[0.1; 11]) - 10.0).abs() < 1e-9);
    }
}
