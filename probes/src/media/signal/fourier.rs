//! A discrete Fourier transform of power-of-two length: radix 2, in place.

use std::f64::consts::TAU;

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Complex {
    pub(super) re: f32,
    pub(super) im: f32,
}

impl Complex {
    pub(super) fn times(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    pub(super) fn magnitude(self) -> f32 {
        self.re.hypot(self.im)
    }
}

/// The tables of one length.
#[derive(Debug)]
pub(super) struct Fourier {
    twiddles: Vec<Complex>,
}

impl Fourier {
    /// For data of `1 << bits` values.
    pub(super) fn new(bits: u32) -> Self {
        let length = 1_usize << bits;
        let twiddle = |k: usize| {
            let angle = -TAU * k as f64 / length as f64;
            Complex { re: angle.cos() as f32, im: angle.sin() as f32 }
        };
        Self { twiddles: (0..length / 2).map(twiddle).collect() }
    }

    fn length(&self) -> usize {
        self.twiddles.len() * 2
    }

    /// Replaces `data`, of the length this was made for, by its spectrum.
    pub(super) fn forward(&self, data: &mut [Complex]) {
        let length = self.length();
        debug_assert_eq!(data.len(), length);
        let shift = usize::BITS - length.trailing_zeros();
        for i in 0..length {
            let j = i.reverse_bits() >> shift;
            if i < j {
                data.swap(i, j);
            }
        }
        let mut half = 1;
        while half < length {
            let step = length / (2 * half);
            for pair in data.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                let twiddles = self.twiddles.iter().step_by(step);
                for ((a, b), &twiddle) in low.iter_mut().zip(high).zip(twiddles) {
                    let turned = b.times(twiddle);
                    *b = Complex { re: a.re - turned.re, im: a.im - turned.im };
                    *a = Complex { re: a.re + turned.re, im: a.im + turned.im };
                }
            }
            half *= 2;
        }
    }

    /// Replaces a spectrum by its data times the length: real and imaginary part exchange roles
    /// before and after a forward transform.
    pub(super) fn inverse(&self, data: &mut [Complex]) {
        let swap = |data: &mut [Complex]| data.iter_mut().for_each(|x| std::mem::swap(&mut x.re, &mut x.im));
        swap(data);
        self.forward(data);
        swap(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<Complex> {
        let mut rng = fastrand::Rng::with_seed(1);
        (0..length).map(|_| Complex { re: rng.f32() - 0.5, im: rng.f32() - 0.5 }).collect()
    }

    #[test]
    fn agrees_with_the_definition() {
        let input = noise(64);
        let mut got = input.clone();
        Fourier::new(6).forward(&mut got);
        for (k, got) in got.iter().enumerate() {
            let mut sum = (0.0, 0.0);
            for (n, x) in input.iter().enumerate() {
                let (sin, cos) = (-TAU * (k * n) as f64 / 64.0).sin_cos();
                sum.0 += f64::from(x.re) * cos - f64::from(x.im) * sin;
                sum.1 += f64::from(x.re) * sin + f64::from(x.im) * cos;
            }
            assert!((f64::from(got.re) - sum.0).abs() < 1e-4 && (f64::from(got.im) - sum.1).abs() < 1e-4, "bin {k}");
        }
    }

    #[test]
    fn inverse_undoes_forward() {
        let input = noise(1024);
        let mut data = input.clone();
        let fourier = Fourier::new(10);
        fourier.forward(&mut data);
        fourier.inverse(&mut data);
        for (got, want) in data.iter().zip(&input) {
            assert!((got.re / 1024.0 - want.re).abs() < 1e-5 && (got.im / 1024.0 - want.im).abs() < 1e-5);
        }
    }
}
