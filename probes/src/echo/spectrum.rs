//! Fourier transforms of sound, and what is read off a spectrum.

use std::f64::consts::PI;

use rustfft::{FftPlanner, num_complex::Complex64};

use super::scratch::Scratch;

/// Transforms of one length, forwards and back.
pub(crate) struct Transform {
    length: usize,
    /// Both directions, as one is the mirror of the other: their tables are as large as the sound.
    forward: std::sync::Arc<dyn rustfft::Fft<f64>>,
}

impl Transform {
    /// Of at least `length` samples; the next power of two is taken.
    pub(crate) fn new(length: usize) -> Self {
        Self::exactly(length.next_power_of_two())
    }

    /// Of `length` samples, at least one. Fast where that is a product of small primes.
    pub(crate) fn exactly(length: usize) -> Self {
        let length = length.max(1);
        Self { length, forward: FftPlanner::new().plan_fft_forward(length) }
    }

    /// Samples, and bins.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The spectrum in place.
    pub(crate) fn forward(&self, buffer: &mut [Complex64]) {
        // The library's own working memory would be given back as it is, with the sound still in it.
        let mut scratch = Scratch::new(self.forward.get_inplace_scratch_len());
        self.forward.process_with_scratch(buffer, &mut scratch);
    }

    /// The samples in place, scaled so that forward and back change nothing.
    pub(crate) fn inverse(&self, buffer: &mut [Complex64]) {
        buffer.iter_mut().for_each(|value| *value = value.conj());
        self.forward(buffer);
        let scale = 1.0 / self.length as f64;
        buffer.iter_mut().for_each(|value| *value = value.conj() * scale);
    }
}

/// A raised-cosine end of `length` samples at sample `n` from it: 0 at the end, 1 inside.
pub(crate) fn raised_cosine(n: usize, length: usize) -> f64 {
    if n >= length { 1.0 } else { 0.5 - 0.5 * (PI * n as f64 / length as f64).cos() }
}

/// 10·log10, of nothing a very small number.
pub(crate) fn decibels(power: f64) -> f64 {
    10.0 * (power + 1e-30).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_and_back_changes_nothing_whatever_the_length() {
        for transform in
            [Transform::new(1000), Transform::exactly(72_000), Transform::exactly(1), Transform::exactly(0)]
        {
            let value = |n: usize| Complex64::new((n % 17) as f64, (n % 5) as f64);
            let mut buffer: Vec<Complex64> = (0..transform.length()).map(value).collect();
            transform.forward(&mut buffer);
            transform.inverse(&mut buffer);
            assert!(buffer.iter().enumerate().all(|(n, x)| (x - value(n)).norm() < 1e-9));
        }
        assert_eq!(Transform::new(1000).length(), 1024);
    }
}
