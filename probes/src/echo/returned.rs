//! What comes back of a talk ([`mod@super::talk`]) from the far end of a call.
//!
//! The delay is found by coherence ([`super::lag`]), over seconds each, as codecs and cancellers leave no more
//! of it; the first seconds count alone, too, as a canceller has not learnt yet then. The level is found by
//! energy, which codecs keep: in each third of an octave the power heard over time is a share of the power
//! spoken, later and smeared by the room, above a noise that does not follow it. After 3GPP TS 26.132 §8.7 the
//! first 17 s are discarded, and 300 to 6700 Hz weighted as G.122 Annex B.4 says.
//!
//! What does not follow the talk, such as a voice in the room, makes the share unsure, not larger: how unsure,
//! the seconds left out one by one tell (jackknife).

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    bands::{WIDE, parts, weighted_loss},
    findings::{Findings, State},
    lag::{Course, Peak, hann},
    rating::echo_impairment,
    scratch::Scratch,
    spectrum::Transform,
    take::Line,
    talk::{LEAD, Talk},
};
use crate::Reason;

/// Lags looked for: 1.5 s.
const LAGS: usize = 72_000;
/// How far the delay's peak must stand above all others, in decibels: in 209 calls without any echo it was at
/// most 1.9.
pub(crate) const GATE: f64 = 3.5;
/// Samples of talk in which cancellers learn: 17 s (3GPP TS 26.132 §8.7).
const LEARNING: f64 = 17.0 * RATE as f64;
/// Samples of talk that a canceller meets unprepared: 2 s.
const INITIAL: f64 = 2.0 * RATE as f64;
/// Samples of a frame whose power is taken, 43 ms, and from one to the next.
const FRAME: usize = 2048;
const HOP: usize = 1024;
/// Fewest frames: 5 s.
const FEWEST: usize = 5 * RATE as usize / HOP;
/// Parts of which one is left out at a time.
const LEFT_OUT: usize = 12;
/// Relative standard error beyond which a loss is only bounded: 1 dB.
const UNSURE: f64 = 0.23;
/// The same of the initial loss and of a single third of an octave: 1.5 dB.
const UNSURE_PART: f64 = 0.35;
/// Reverberation times tried, in seconds.
const TAILS: [f64; 6] = [0.02, 0.15, 0.3, 0.5, 0.8, 1.3];
/// The greatest loss that is told, in decibels: 16 bit say no more.
const GREATEST: f64 = 75.0;
/// The longest talk, in seconds.
const LONGEST: f64 = 120.0;

/// What comes back, of a talk that lasted `spoken_seconds` with its lead. `heard` stands on the line of the
/// talk by our own clock.
///
/// What the far end's encoder takes off is put back; the talk itself must have been sent so that its power is
/// kept ([`crate::media::codec::SoundEncoder::light`]).
pub(crate) fn analyse(heard: &Line<'_>, spoken_seconds: f64) -> Findings {
    compared(heard, spoken_seconds, coding)
}

/// What the encoder at the far end takes off sound like noise, as the talk is by two thirds and its echo
/// wholly, in decibels, where a loss is told without that. Measured with libopus at 32 and 64 kbit/s, in voice
/// and in sound mode, in rooms of 0.35 to 0.7 s: −0.2 to 0.3 of 6, 10, 20 and 30 dB, 2.1 to 2.3 of 35, 1.7 to 2.1 of 40, 2.7
/// to 2.8 of 60. (`opus-rs` takes off 1.8 of 10 dB, too, which is not put back: no browser encodes with it.)
fn coding(told: f64) -> f64 {
    2.1 * ((told - 30.5) / 5.0).clamp(0.0, 1.0) + 0.6 * ((told - 42.0) / 20.7).clamp(0.0, 1.0)
}

/// The same, if the far end's encoder loses so many decibels as `coding` says of a loss.
fn compared(heard: &Line<'_>, spoken_seconds: f64, coding: impl Fn(f64) -> f64) -> Findings {
    let mut findings = Findings::default();
    if let Err(reason) = find(heard, spoken_seconds, &mut findings) {
        findings.reason = Some(reason);
    }
    for loss in [&mut findings.echo_loss, &mut findings.initial_loss, &mut findings.least_loss].into_iter().flatten() {
        *loss -= coding(*loss);
    }
    if let (Some(loss), Some(delay)) = (findings.echo_loss, findings.delay_seconds) {
        findings.impairment = Some(echo_impairment(loss, delay / 2.0));
    }
    findings
}

fn find(heard: &Line<'_>, spoken_seconds: f64, findings: &mut Findings) -> Result<(), Reason> {
    let is_sane = heard.start.is_finite() && heard.start.abs() < 1e9 && spoken_seconds.is_finite();
    if !is_sane {
        return Err(Reason::FewSamples);
    }
    let end = spoken_seconds.clamp(0.0, LONGEST) * f64::from(RATE);
    let steady = (LEAD as f64 + LEARNING, end);
    let frames = Frames::of(heard);
    // The last echo needs its time, too.
    if frames.within(steady, 0.0).len() < FEWEST {
        return Err(Reason::FewSamples);
    }
    if heard.samples.iter().all(|sample| *sample == heard.samples[0]) {
        return Err(Reason::Dead);
    }
    let Some(peak) = search(heard, end as u64).filter(|peak| peak.clearness >= GATE) else {
        let spoken = Frames::spoken(&frames, |_| 0.0);
        findings.samples = frames.within(steady, 0.0).len() as u64;
        findings.echo_loss = bound(&frames, &spoken, steady);
        findings.echo_loss_is_bound = findings.echo_loss.is_some();
        return Ok(());
    };
    let spoken = Frames::spoken(&frames, |place| peak.lag_at(place));
    let range = frames.within(steady, peak.lag);
    findings.samples = range.len() as u64;
    findings.initial_loss = initial(&frames, &spoken, &peak);
    (findings.loudspeaker, findings.microphone) = (State::Working, State::Working);
    let Some(share) = Share::best(&frames, &spoken, range, &TAILS) else { return Err(Reason::FewSamples) };
    if share.error > UNSURE * share.gain {
        findings.echo_loss = Some(share.at_least());
        findings.echo_loss_is_bound = true;
        return Ok(());
    }
    let loss = weighted_loss(&share.gains);
    findings.delay_seconds = Some(peak.lag / f64::from(RATE));
    findings.echo_loss = Some(loss);
    let sure = share.gains.iter().zip(&share.errors).filter(|(gain, error)| **error <= UNSURE_PART * **gain);
    let most = sure.map(|(gain, _)| *gain).fold(0.0, f64::max);
    findings.least_loss = (most > 0.0).then(|| weighted_loss(&[most]));
    Ok(())
}

/// Where the talk, of which `length` samples were spoken, agrees best with what was heard, clear or not.
pub(crate) fn search(heard: &Line<'_>, length: u64) -> Option<Peak> {
    let mut talk = Talk::new();
    let fill = |place: u64, out: &mut [f64]| {
        (place..).zip(out).for_each(|(place, sample)| *sample = f64::from(talk.at(place)));
    };
    let course = Course::new(fill, length, heard, 0, LAGS);
    let peaks = [1, 2, course.groups()].into_iter().filter_map(|count| course.peak(count));
    peaks.max_by(|a, b| a.clearness.total_cmp(&b.clearness))
}

/// The loss of the first two seconds of speech, of which the lead tells the noise.
fn initial(frames: &Frames, spoken: &Frames, peak: &Peak) -> Option<f64> {
    let range = frames.within((0.0, LEAD as f64 + INITIAL), peak.lag);
    let share = Share::best(frames, spoken, range, &TAILS)?;
    (share.error <= UNSURE_PART * share.gain).then(|| weighted_loss(&share.gains))
}

/// The least loss that an echo of any delay can have had.
fn bound(frames: &Frames, spoken: &Frames, steady: (f64, f64)) -> Option<f64> {
    let lags = (0..LAGS / HOP).step_by(2);
    lags.filter_map(|shift| {
        let range = frames.within(steady, (shift * HOP) as f64);
        let later = Frames { start: 0.0, powers: spoken.earlier(shift) };
        Some(Share::best(frames, &later, range, &TAILS[2..3])?.at_least())
    })
    .reduce(f64::min)
}

/// Powers of frames, each over the thirds of an octave.
struct Frames {
    /// The place of the middle of the first, on the line of the talk.
    start: f64,
    powers: Vec<Scratch<f64>>,
}

impl Frames {
    /// Of what was heard.
    fn of(heard: &Line<'_>) -> Self {
        let count = (heard.samples.len() + HOP).saturating_sub(FRAME) / HOP;
        let count = count.min((2.0 * LONGEST) as usize * RATE as usize / HOP);
        let mut meter = Meter::new();
        let powers = (0..count).map(|frame| {
            let samples = &heard.samples[frame * HOP..frame * HOP + FRAME];
            meter.powers(samples.iter().map(|x| f64::from(*x) / 32_768.0))
        });
        Self { powers: powers.collect(), start: heard.start + FRAME as f64 / 2.0 }
    }

    /// Of the talk, one frame to each of `frames`: earlier by the lag at its place.
    fn spoken(frames: &Self, lag: impl Fn(f64) -> f64) -> Self {
        let mut meter = Meter::new();
        let mut talk = Talk::new();
        let powers = (0..frames.powers.len()).map(|frame| {
            let place = frames.start + (frame * HOP) as f64;
            let first = (place - lag(place) - FRAME as f64 / 2.0).round() as i64;
            let sample = |n: i64| u64::try_from(n).map_or(0.0, |n| f64::from(talk.at(n)));
            meter.powers((first..first + FRAME as i64).map(sample))
        });
        Self { powers: powers.collect(), start: frames.start }
    }

    /// The frames, `shift` further on.
    fn earlier(&self, shift: usize) -> Vec<Scratch<f64>> {
        let silent =
            (0..shift.min(self.powers.len())).map(|_| Scratch::new(self.powers.first().map_or(0, |p| p.len())));
        let moved = self.powers.iter().take(self.powers.len().saturating_sub(shift)).map(|powers| {
            let mut copy = Scratch::new(powers.len());
            copy.copy_from_slice(powers);
            copy
        });
        silent.chain(moved).collect()
    }

    /// The frames that lie between two places of the talk, heard `lag` samples later.
    fn within(&self, (from, to): (f64, f64), lag: f64) -> std::ops::Range<usize> {
        let frame =
            |place: f64| (((place + lag - self.start) / HOP as f64).ceil().max(0.0) as usize).min(self.powers.len());
        frame(from)..frame(to).max(frame(from))
    }
}

/// Takes powers over the thirds of an octave.
struct Meter {
    transform: Transform,
    window: Vec<f64>,
    buffer: Scratch<Complex64>,
    bins: Vec<std::ops::Range<usize>>,
}

impl Meter {
    fn new() -> Self {
        let bin = |hertz: f64| (hertz / f64::from(RATE) * FRAME as f64).round() as usize;
        let bins = parts(WIDE).map(|(low, high)| bin(low)..bin(high)).collect();
        Self { transform: Transform::new(FRAME), window: hann(FRAME), buffer: Scratch::new(FRAME), bins }
    }

    fn powers(&mut self, samples: impl Iterator<Item = f64>) -> Scratch<f64> {
        for ((value, sample), weight) in self.buffer.iter_mut().zip(samples).zip(&self.window) {
            *value = Complex64::new(sample * weight, 0.0);
        }
        self.transform.forward(&mut self.buffer);
        let mut powers = Scratch::new(self.bins.len());
        for (power, bins) in powers.iter_mut().zip(&self.bins) {
            *power = self.buffer[bins.clone()].iter().map(Complex64::norm_sqr).sum();
        }
        powers
    }
}

/// What share of the power spoken comes back.
struct Share {
    /// Per third of an octave, and what their standard errors are.
    gains: Vec<f64>,
    errors: Vec<f64>,
    /// Their mean, and its standard error.
    gain: f64,
    error: f64,
}

impl Share {
    /// With that of the reverberation times that explains most.
    fn best(heard: &Frames, spoken: &Frames, range: std::ops::Range<usize>, tails: &[f64]) -> Option<Self> {
        if range.len() < 2 * LEFT_OUT {
            return None;
        }
        let fits = tails.iter().map(|tail| Self::new(heard, spoken, range.clone(), *tail));
        fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, share)| share)
    }

    /// With a reverberation time; and how badly it explains what was heard.
    fn new(heard: &Frames, spoken: &Frames, range: std::ops::Range<usize>, tail: f64) -> (f64, Self) {
        let bands = parts(WIDE).count();
        let decay = 10f64.powf(-6.0 * HOP as f64 / f64::from(RATE) / tail);
        let mut misfit = 0.0;
        let mut left_out = vec![vec![0.0; bands]; LEFT_OUT];
        let mut gains = Vec::with_capacity(bands);
        let (mut one, mut other) = (Scratch::<f64>::new(range.len()), Scratch::<f64>::new(range.len()));
        for band in 0..bands {
            let mut smeared = 0.0;
            for frame in 0..range.end {
                smeared = decay * smeared + (1.0 - decay) * spoken.powers[frame][band];
                if let Some(at) = frame.checked_sub(range.start) {
                    (one[at], other[at]) = (smeared, heard.powers[frame][band]);
                }
            }
            let (gain, noise, how_badly) = fit(&one, &other, 0..0, None);
            misfit += how_badly;
            for (number, left_out) in left_out.iter_mut().enumerate() {
                let part = number * one.len() / LEFT_OUT..(number + 1) * one.len() / LEFT_OUT;
                left_out[band] = fit(&one, &other, part, Some((gain, noise))).0;
            }
            gains.push(gain);
        }
        let mean = |gains: &[f64]| gains.iter().sum::<f64>() / gains.len() as f64;
        let deviation = |values: &[f64]| {
            let middle = mean(values);
            let sum = values.iter().map(|value| (value - middle).powi(2)).sum::<f64>();
            (sum * (LEFT_OUT as f64 - 1.0) / LEFT_OUT as f64).sqrt()
        };
        let errors = (0..bands).map(|band| deviation(&left_out.iter().map(|gains| gains[band]).collect::<Vec<_>>()));
        let error = deviation(&left_out.iter().map(|gains| mean(gains)).collect::<Vec<_>>());
        let errors = errors.collect();
        (misfit, Self { gain: mean(&gains), error, errors, gains })
    }

    /// The loss in decibels that is surely there: by two standard errors.
    fn at_least(&self) -> f64 {
        weighted_loss(&[self.gain.max(0.0) + 2.0 * self.error]).min(GREATEST)
    }
}

/// The share of `spoken` in `heard`, what is heard beside, and the misfit, but for the frames of `without`.
///
/// Powers scatter by a part of themselves, so each counts by what is expected of it (gamma deviance, iterated);
/// `known` expects a share and a noise from the start. The share is then that of all energy above the noise.
fn fit(spoken: &[f64], heard: &[f64], without: std::ops::Range<usize>, known: Option<(f64, f64)>) -> (f64, f64, f64) {
    let pairs = || (0..spoken.len()).filter(|n| !without.contains(n)).map(|n| (spoken[n], heard[n]));
    let (count, all_spoken, all_heard) =
        pairs().fold((0.0, 0.0, 0.0), |sum, pair| (sum.0 + 1.0, sum.1 + pair.0, sum.2 + pair.1));
    // A sixteenth of a step of 16 bit is heard as nothing.
    let least = 1e-12;
    if all_spoken <= 0.0 || count < 2.0 {
        return (0.0, all_heard / f64::max(count, 1.0), f64::MAX);
    }
    let (mut gain, mut noise) = known.unwrap_or((0.5 * all_heard / all_spoken, 0.5 * all_heard / count));
    for _ in 0..if known.is_some() { 2 } else { 8 } {
        let mut sums = [0.0; 5];
        for (spoken, heard) in pairs() {
            let weight = (gain.max(0.0) * spoken + noise + least).powi(-2);
            sums[0] += weight * spoken * spoken;
            sums[1] += weight * spoken;
            sums[2] += weight;
            sums[3] += weight * spoken * heard;
            sums[4] += weight * heard;
        }
        let determinant = sums[0] * sums[2] - sums[1] * sums[1];
        if determinant <= 1e-9 * sums[0] * sums[2] {
            break;
        }
        noise = (sums[0] * sums[4] - sums[1] * sums[3]) / determinant;
        gain = (sums[2] * sums[3] - sums[1] * sums[4]) / determinant;
        if noise < 0.0 {
            (noise, gain) = (0.0, sums[3] / sums[0]);
        }
    }
    let misfit = pairs().map(|(spoken, heard)| {
        let expected = gain.max(0.0) * spoken + noise + least;
        expected.ln() + heard / expected
    });
    let misfit = misfit.sum();
    ((all_heard - noise * count) / all_spoken, noise, misfit)
}

#[cfg(test)]
mod tests;
