//! Finds markers in sound that came back.

use std::{
    f64::consts::{PI, TAU},
    sync::Arc,
};

use rustfft::{Fft, FftPlanner, num_complex::Complex32};

use super::sound::{MARKER, RATE, chirp};

/// A marker that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Position of its first sample, in samples of the numbering given to [`Finder::push`].
    pub position: f64,
    /// Up-chirp (`true`) or its reverse.
    pub up: bool,
    /// Peak over second peak of the matched filter, in decibels; the second peak is sought within
    /// 0.4 s on either side, outside of the main lobe, and over both chirps.
    pub margin_db: f64,
}

/// Least margin of an accepted marker. Noise, babble, speech and music reach 3.2 dB.
const MARGIN_DB: f64 = 6.0;

/// The coarse grid: every fourth sample, 12 kHz.
const STEP: usize = 4;
/// Values on the coarse grid handled at once: 2.73 s.
const WINDOW: usize = 1 << 15;
/// Places where a marker may begin and lie wholly in the window.
const LAGS: usize = WINDOW - MARKER / STEP;
/// Radius on the coarse grid in which a marker must be the highest peak, 0.4 s.
const RADIUS: usize = 4800;
/// Radius of the main lobe on the coarse grid, 2 ms.
const LOBE: usize = 24;
/// Radius of the search at 48 kHz round a coarse peak, in samples.
const FINE: i64 = 8;
/// The longest gap that is filled with silence, in samples; a longer one starts afresh.
const LONGEST_GAP: u64 = 48_000;
/// Half the taps of the low-pass filter before decimation.
const HALF_TAPS: usize = 24;

/// Finds markers in sound that arrives block by block. A marker is reported within 3 s of sound
/// after it, or by [`Finder::finish`]. The work is done in lumps of some milliseconds, one for each
/// 1.8 s of sound, in all below half a per cent of a core: not on a thread that stamps times.
pub struct Finder {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    low_pass: Vec<f32>,
    chirp: Vec<Complex32>,
    /// Conjugate spectra of the up-chirp and its reverse on the coarse grid, for positive
    /// frequencies only: the filter's output is the analytic signal, its magnitude the envelope.
    spectra: [Vec<Complex32>; 2],
    /// Sound not yet done with; `samples[0]` stands at `start`.
    samples: Vec<f32>,
    start: u64,
    /// First place on the coarse grid of `samples` that was not yet searched.
    searched: usize,
}

impl Default for Finder {
    fn default() -> Self {
        Self::new()
    }
}

impl Finder {
    /// A finder that has heard nothing.
    pub fn new() -> Self {
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(WINDOW), planner.plan_fft_inverse(WINDOW));
        let spectrum = |samples: &mut dyn Iterator<Item = f32>| {
            let mut data: Vec<Complex32> = samples.map(|re| Complex32 { re, im: 0.0 }).collect();
            data.resize(WINDOW, Complex32::default());
            forward.process(&mut data);
            data.truncate(WINDOW / 2);
            data.iter_mut().for_each(|x| x.im = -x.im);
            data
        };
        // The same samples that are sent, thinned out: its first sample stays its first, and the
        // reverse is the reverse of the full-rate chirp, so it begins one step less one later.
        let chirp = chirp(f64::from(RATE));
        let up = spectrum(&mut chirp.iter().step_by(STEP).map(|x| x.re));
        let down = spectrum(&mut chirp.iter().rev().step_by(STEP).map(|x| x.re));
        Self {
            low_pass: low_pass(),
            chirp,
            spectra: [up, down],
            forward,
            inverse,
            samples: Vec::with_capacity(WINDOW * STEP),
            start: 0,
            searched: 0,
        }
    }

    /// Takes decoded mono sound at 48 kHz, full scale ±1, whose first sample stands at `position`.
    /// Gaps are heard as silence; what was already heard is passed over. Gives the markers that
    /// are now certain.
    pub fn push(&mut self, position: u64, samples: &[f32]) -> Vec<Found> {
        let mut found = Vec::new();
        let end = self.start + self.samples.len() as u64;
        if self.samples.is_empty() {
            self.start = position;
        } else if position > end.saturating_add(LONGEST_GAP) || position.saturating_add(LONGEST_GAP) < end {
            found = self.finish();
            self.start = position;
        }
        let end = self.start + self.samples.len() as u64;
        let known = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
        let silence = std::iter::repeat_n(0.0, position.saturating_sub(end) as usize);
        let fresh = samples.iter().skip(known).map(|x| if x.is_finite() { x.clamp(-2.0, 2.0) } else { 0.0 });
        for sample in silence.chain(fresh) {
            self.samples.push(sample);
            if self.samples.len() == WINDOW * STEP {
                found.extend(self.search(LAGS - RADIUS));
                // Keep what the next peak needs round it.
                let done = LAGS - 2 * RADIUS;
                self.samples.drain(..done * STEP);
                self.start += (done * STEP) as u64;
                self.searched = RADIUS;
            }
        }
        found
    }

    /// Gives the markers of which too little was heard after them to be certain before, and
    /// forgets everything heard.
    pub fn finish(&mut self) -> Vec<Found> {
        let found = self.search(LAGS.min(self.samples.len() / STEP));
        self.samples.clear();
        self.searched = 0;
        found
    }

    /// Markers that begin on the coarse grid from `searched` to before `until`.
    fn search(&self, until: usize) -> Vec<Found> {
        if until <= self.searched {
            return Vec::new();
        }
        let [up, down] = self.envelopes();
        let envelope: Vec<f32> = up.iter().zip(&down).map(|(a, b)| a.max(*b)).collect();
        let mut found = Vec::new();
        let mut open = vec![(self.searched, until)];
        while let Some((from, to)) = open.pop() {
            let Some(peak) = (from..to).max_by(|&a, &b| envelope[a].total_cmp(&envelope[b])) else { continue };
            if envelope[peak] <= 0.0 {
                continue;
            }
            // Within the radius of this peak no other can be the highest of its surroundings.
            open.push((from, peak.saturating_sub(RADIUS).max(from)));
            open.push(((peak + RADIUS).min(to), to));
            let is_up = up[peak] >= down[peak];
            let other = if is_up { &down } else { &up };
            let second = (peak.saturating_sub(RADIUS)..(peak + RADIUS).min(LAGS))
                .map(|i| if i.abs_diff(peak) <= LOBE { other[i] } else { envelope[i] })
                .fold(f32::MIN_POSITIVE, f32::max);
            let margin_db = 20.0 * f64::from(envelope[peak] / second).log10();
            if margin_db >= MARGIN_DB {
                let position = self.start as f64 + self.refine((peak * STEP) as i64, is_up);
                found.push(Found { position, up: is_up, margin_db });
            }
        }
        found.sort_by(|a, b| a.position.total_cmp(&b.position));
        found
    }

    /// Envelopes of both matched filters on the coarse grid, by place of the marker's first sample.
    fn envelopes(&self) -> [Vec<f32>; 2] {
        let mut heard: Vec<Complex32> =
            (0..WINDOW).map(|i| Complex32 { re: self.decimated(i * STEP), im: 0.0 }).collect();
        self.forward.process(&mut heard);
        [0, 1].map(|which| {
            let mut output: Vec<Complex32> =
                heard.iter().zip(&self.spectra[which]).map(|(heard, chirp)| heard * chirp).collect();
            output.resize(WINDOW, Complex32::default());
            self.inverse.process(&mut output);
            output[..LAGS].iter().map(|x| x.norm()).collect()
        })
    }

    /// The low-passed sound at sample `at`.
    fn decimated(&self, at: usize) -> f32 {
        let first = at.saturating_sub(HALF_TAPS);
        let last = (at + HALF_TAPS + 1).min(self.samples.len());
        let Some(samples) = self.samples.get(first..last) else { return 0.0 };
        samples.iter().zip(&self.low_pass[first + HALF_TAPS - at..]).map(|(sample, tap)| sample * tap).sum()
    }

    /// The place of the envelope's peak near sample `near`, by parabolic interpolation.
    fn refine(&self, near: i64, up: bool) -> f64 {
        let envelope: Vec<f64> = (near - FINE..=near + FINE).map(|lag| self.envelope_at(lag, up)).collect();
        let top = (0..envelope.len()).max_by(|&a, &b| envelope[a].total_cmp(&envelope[b])).unwrap_or(0);
        let shift = match (top.checked_sub(1).and_then(|i| envelope.get(i)), envelope.get(top + 1)) {
            (Some(before), Some(after)) => {
                let bend = before - 2.0 * envelope[top] + after;
                if bend < 0.0 { 0.5 * (before - after) / bend } else { 0.0 }
            }
            _ => 0.0,
        };
        (near - FINE) as f64 + top as f64 + shift
    }

    /// Envelope of one matched filter at 48 kHz for a marker beginning at sample `lag`.
    fn envelope_at(&self, lag: i64, up: bool) -> f64 {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, chirp) in self.chirp.iter().enumerate() {
            let place = if up { n } else { MARKER - 1 - n };
            let at = usize::try_from(lag + place as i64).ok();
            let Some(sample) = at.and_then(|at| self.samples.get(at)) else { continue };
            sine += f64::from(sample * chirp.re);
            cosine += f64::from(sample * chirp.im);
        }
        f64::hypot(sine, cosine)
    }
}

/// A low-pass filter for decimation by four: flat to 4 kHz, and what would fold onto that, from
/// 8 kHz on, is at least 50 dB down. A sinc cut at 6 kHz under a Hamming window.
fn low_pass() -> Vec<f32> {
    let cut = 6000.0 / f64::from(RATE);
    let tap = |n: usize| {
        let t = n as f64 - HALF_TAPS as f64;
        let sinc = if n == HALF_TAPS { 2.0 * cut } else { (TAU * cut * t).sin() / (PI * t) };
        sinc * (0.54 + 0.46 * (PI * t / (HALF_TAPS as f64 + 1.0)).cos())
    };
    (0..=2 * HALF_TAPS).map(|n| tap(n) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::sound::{BLOCK, is_up, sound},
        *,
    };

    fn find(samples: &[f32], first: u64) -> Vec<Found> {
        let mut finder = Finder::new();
        let mut found = Vec::new();
        for (i, block) in samples.chunks(BLOCK).enumerate() {
            found.extend(finder.push(first + (i * BLOCK) as u64, block));
        }
        found.extend(finder.finish());
        found
    }

    #[test]
    fn every_marker_is_found_at_its_place_with_its_direction() {
        let found = find(&sound(33 * 50), 1_000);
        assert_eq!(found.len(), 33);
        for (index, marker) in found.iter().enumerate() {
            let truth = 1_000.0 + index as f64 * 48_000.0;
            assert!((marker.position - truth).abs() < 0.5, "marker {index}: {}", marker.position - truth);
            assert_eq!(marker.up, is_up(index as u64), "marker {index}");
            // The step's upper half is louder than the marker that follows it.
            assert!(marker.margin_db > 13.0, "marker {index}: {} dB", marker.margin_db);
        }
    }

    #[test]
    fn a_shift_by_part_of_a_sample_is_measured() {
        // Linear interpolation between neighbours is a delay of half a sample in this band.
        let samples = sound(120);
        let shifted: Vec<f32> = samples.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        for marker in find(&shifted, 0) {
            let error = marker.position - (marker.position / 48_000.0).round() * 48_000.0 + 0.5;
            assert!(error.abs() < 0.2, "{error}");
        }
    }

    #[test]
    fn markers_stand_out_of_noise_ten_decibels_below_them() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut samples = sound(20 * 50);
        samples.iter_mut().for_each(|x| *x += (rng.f32() * 2.0 - 1.0) * 0.055);
        let found = find(&samples, 0);
        assert_eq!(found.len(), 20);
        for (index, marker) in found.iter().enumerate() {
            assert!((marker.position - index as f64 * 48_000.0).abs() < 2.4, "marker {index}: {}", marker.position);
        }
    }

    #[test]
    fn nothing_is_found_where_no_marker_is() {
        let mut rng = fastrand::Rng::with_seed(4);
        let noise: Vec<f32> = (0..48_000 * 30).map(|_| rng.f32() - 0.5).collect();
        assert_eq!(find(&noise, 0), []);
        assert_eq!(find(&vec![0.0; 48_000 * 5], 0), []);
        let tone: Vec<f32> = (0..48_000 * 5).map(|n| (n as f32 * 0.13).sin() * 0.3).collect();
        assert_eq!(find(&tone, 0), []);
        let mut clicks = vec![0.0; 48_000 * 5];
        clicks.iter_mut().step_by(40_000).for_each(|x| *x = 1.0);
        assert_eq!(find(&clicks, 0), []);
        assert_eq!(find(&vec![f32::NAN; 96_000], 0), []);
    }

    #[test]
    fn positions_survive_gaps_repeats_and_restarts() {
        let samples = sound(6 * 50);
        let mut finder = Finder::new();
        let mut found = Vec::new();
        for (i, block) in samples.chunks(BLOCK).enumerate() {
            // Three blocks of each second are missing; one comes twice.
            if i % 50 < 47 {
                found.extend(finder.push((i * BLOCK) as u64, block));
            }
            if i % 50 == 20 {
                found.extend(finder.push((i * BLOCK) as u64, block));
            }
        }
        // Then a long silence of the far end, and a fresh numbering far behind.
        for (i, block) in samples.chunks(BLOCK).take(60).enumerate() {
            found.extend(finder.push(90_000_000 + (i * BLOCK) as u64, block));
        }
        for (i, block) in samples.chunks(BLOCK).take(60).enumerate() {
            found.extend(finder.push(u64::from(i as u32) * BLOCK as u64, block));
        }
        found.extend(finder.finish());
        let places: Vec<i64> = found.iter().map(|marker| marker.position.round() as i64).collect();
        assert_eq!(
            places,
            [0, 48_000, 96_000, 144_000, 192_000, 240_000, 90_000_000, 90_048_000, 0, 48_000],
            "in order of hearing"
        );
    }

    #[test]
    fn opus_moves_markers_by_its_look_ahead_alone() {
        use opus_rs::{Application, OpusDecoder, OpusEncoder};
        for bitrate in [24_000, 32_000, 64_000] {
            let mut encoder = OpusEncoder::new(48_000, 1, Application::Voip).expect("48 kHz mono");
            encoder.bitrate_bps = bitrate;
            let mut decoder = OpusDecoder::new(48_000, 1).expect("48 kHz mono");
            let mut decoded = Vec::new();
            for block in sound(8 * 50).chunks(BLOCK) {
                let mut packet = [0; 1500];
                let length = encoder.encode(block, BLOCK, &mut packet).expect("a whole frame");
                let mut out = [0.0; BLOCK];
                decoder.decode(&packet[..length], BLOCK, &mut out).expect("our own packet");
                decoded.extend_from_slice(&out);
            }
            let found = find(&decoded, 0);
            assert_eq!(found.len(), 8, "{bitrate} b/s");
            for (index, marker) in found.iter().enumerate() {
                let error = marker.position - 312.0 - index as f64 * 48_000.0;
                assert!(error.abs() < 2.4, "{bitrate} b/s, marker {index}: off by {error} samples");
                assert_eq!(marker.up, is_up(index as u64));
            }
        }
    }
}
