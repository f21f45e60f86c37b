//! The silent form: what the room plays anyway is looked for at its microphone. From the pure data of one
//! take; only numbers leave.
//!
//! The delay is where both agree ([`super::lag`]); the loss is the power of H1 = Sxy / Sxx (cross-spectrum over
//! the spectrum of what was played) over the first quarter of a second after it, less what noise has in it,
//! weighted as G.122 Annex B.4 weights it.

use std::f64::consts::TAU;

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    bands::{NARROW, WIDE, parts, weighted_loss},
    findings::{Findings, State},
    lag::{Course, Peak, Sums, hann},
    scratch::Scratch,
    spectrum::{Transform, raised_cosine},
    take::{Line, Take},
};
use crate::Reason;

/// Lags looked for: from 10 ms before (the sound server's timing is not exact) to half a second after.
const LAGS: (i64, usize) = (-480, 24_480);
/// How far a peak must stand above all others, in decibels: in 242 takes without any echo it was at most 1.5.
pub(crate) const GATE: f64 = 3.5;
/// The same for some seconds alone, of which slips are told.
const GROUP_GATE: f64 = 3.0;
/// Least of what must be played, in seconds.
const LEAST_PLAYED: f64 = 10.0;
/// Root mean square of what counts as played: −50 dBFS.
const PLAYED: f64 = 3.2e-3;
/// Samples of a passage that is played or not: 0.4 s. Speech without its pauses between sentences.
const PASSAGE: usize = 19_200;
/// Samples of one block of H1: 0.7 s.
const BLOCK: usize = 1 << 15;
/// Bins that are a neighbourhood: 190 Hz.
const NEIGHBOURS: usize = 128;
/// Samples of the response: from 3 ms before the echo until 250 ms after, of which 20 ms fade.
const RESPONSE: (i64, i64, usize) = (144, 12_000, 960);
/// Samples before the response from where on the same window holds noise alone: 12 ms earlier than the echo's.
const NOISE: i64 = 12_720;
/// Beyond this correction by the noise, in decibels, the loss is not sure.
const MOST_CORRECTION: f64 = 3.0;
/// Equal samples after which a microphone is dead: half a second.
const DEAD: usize = RATE as usize / 2;
/// Root mean square below which a microphone hears nothing: −90 dBFS.
const DEAF: f64 = 3.2e-5;

/// What a take of the silent form says.
pub(crate) fn analyse(take: &Take<'_>) -> Findings {
    let mut findings = Findings { microphone: liveness(take), ..Findings::default() };
    if let Err(reason) = find(take, &mut findings) {
        // A microphone that gives silence between sounds, but hears what is played, is a gate or an exact copy.
        let is_dead = findings.microphone == State::Dead && reason != Reason::Muted;
        findings.reason = Some(if is_dead { Reason::Dead } else { reason });
    }
    findings
}

fn find(take: &Take<'_>, findings: &mut Findings) -> Result<(), Reason> {
    if take.devices.loudspeaker.muted || take.devices.microphone.muted {
        return Err(Reason::Muted);
    }
    if take.slips > 0 {
        return Err(Reason::Slip);
    }
    let reference = take.reference.ok_or(Reason::NoDevice)?;
    if played_seconds(reference.samples) < LEAST_PLAYED {
        return Err(Reason::NothingPlayed);
    }
    // The line of the analysis is the reference itself.
    let heard = Line { samples: take.microphone.samples, start: take.microphone.start - reference.start };
    if !heard.start.is_finite() {
        return Err(Reason::Slip);
    }
    let (peak, slipped) = search(reference.samples, &heard);
    // Of two lags in one take neither need stand above the other: so this is asked first.
    if slipped {
        return Err(Reason::Slip);
    }
    let peak = peak.filter(|peak| peak.clearness >= GATE).ok_or(Reason::Noise)?;
    let response = Response::new(reference.samples, &heard, &peak).ok_or(Reason::Noise)?;
    findings.samples = response.even.count as u64;
    findings.delay_seconds = Some(response.delay() / f64::from(RATE));
    findings.coherence = response.coherence();
    // Through a canceller or a gain control it is no return loss.
    if !take.devices.microphone.is_processed {
        findings.return_loss = response.loss(NARROW);
        findings.return_loss_wideband = response.loss(WIDE);
        if findings.return_loss.is_none() {
            findings.reason = Some(Reason::Noise);
        }
    }
    (findings.loudspeaker, findings.microphone) = (State::Working, State::Working);
    Ok(())
}

/// Where what was played agrees best with what was heard, clear or not; and whether sound slipped in between.
/// `heard` stands on the line of what was played.
pub(crate) fn search(played: &[i16], heard: &Line<'_>) -> (Option<Peak>, bool) {
    let fill = |place: u64, out: &mut [f64]| copy(played, place as usize, out);
    let course = Course::new(fill, played.len() as u64, heard, LAGS.0, LAGS.1);
    (course.peak(course.groups()), course.slips(GROUP_GATE))
}

/// Whether the microphone gives anything. Equal samples for half a second are no sound; of a processed
/// source they may be a gate's silence, so there all must be equal.
fn liveness(take: &Take<'_>) -> State {
    let samples = take.microphone.samples;
    let (mut run, mut longest) = (1, 0);
    for pair in samples.windows(2) {
        run = if pair[0] == pair[1] { run + 1 } else { 1 };
        longest = longest.max(run);
    }
    let dead = if take.devices.microphone.is_processed { samples.len().max(DEAD) } else { DEAD };
    let mean = samples.iter().map(|x| f64::from(*x)).sum::<f64>() / samples.len().max(1) as f64;
    let power = samples.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / samples.len().max(1) as f64;
    if longest >= dead {
        State::Dead
    } else if samples.len() >= DEAD && power.sqrt() / 32_768.0 > DEAF {
        State::Working
    } else {
        State::Unsure
    }
}

/// Seconds of passages in which something was played.
fn played_seconds(samples: &[i16]) -> f64 {
    let loud = |passage: &&[i16]| {
        let power = passage.iter().map(|x| (f64::from(*x) / 32_768.0).powi(2)).sum::<f64>() / PASSAGE as f64;
        power.sqrt() >= PLAYED
    };
    samples.chunks_exact(PASSAGE).filter(loud).count() as f64 * PASSAGE as f64 / f64::from(RATE)
}

/// Samples from a place on, full scale ±1; silence beyond their end.
fn copy(samples: &[i16], place: usize, out: &mut [f64]) {
    out.fill(0.0);
    for (out, sample) in out.iter_mut().zip(samples.get(place..).unwrap_or_default()) {
        *out = f64::from(*sample) / 32_768.0;
    }
}

/// H1 along the line of a peak.
struct Response {
    /// Of blocks that all count the same.
    even: Sums,
    transform: Transform,
    /// The lag of its first sample, in samples.
    lag: f64,
    /// From the lag on; what lies before it is at its end.
    samples: Scratch<Complex64>,
    /// The same, each frequency weighted by its coherence: sharper, but without a level.
    sharp: Scratch<Complex64>,
}

impl Response {
    /// From blocks of both, aligned by the peak's line.
    fn new(played: &[i16], heard: &Line<'_>, peak: &Peak) -> Option<Self> {
        let transform = Transform::new(BLOCK);
        let (mut sums, mut even) = (Sums::new(BLOCK / 2 + 1), Sums::new(BLOCK / 2 + 1));
        spectra(played, heard, peak, &transform, |both, middle| even.add(both, middle));
        let echo = expected(&even);
        spectra(played, heard, peak, &transform, |both, middle| {
            weigh(both, &echo);
            sums.add(both, middle);
        });
        if sums.count < 2 {
            return None;
        }
        let bin = |hertz: f64| (hertz / f64::from(RATE) * BLOCK as f64) as usize;
        let (mut samples, mut sharp) = (Scratch::<Complex64>::new(BLOCK), Scratch::<Complex64>::new(BLOCK));
        let loudest = sums.played.iter().copied().fold(0.0, f64::max);
        for bin in bin(100.0)..bin(7500.0) {
            let (cross, both) = (sums.cross[bin], sums.played[bin] * sums.heard[bin]);
            samples[bin] = cross / (sums.played[bin] + 1e-9 * loudest);
            sharp[bin] = cross * (cross.norm() / (both + 1e-30));
        }
        transform.inverse(&mut samples);
        transform.inverse(&mut sharp);
        let lag = peak.lag_at(sums.place / sums.count as f64);
        Some(Self { even, transform, lag, samples, sharp })
    }

    /// The delay in samples: of the first envelope maximum that is at least half as high as the highest, within
    /// 10 ms before it.
    fn delay(&self) -> f64 {
        let envelope = |lag: i64| self.sharp[wrap(lag)].norm();
        let main = (-240..240).max_by(|a, b| envelope(*a).total_cmp(&envelope(*b))).unwrap_or(0);
        let is_first = |lag: &i64| {
            let now = envelope(*lag);
            now >= envelope(lag - 1) && now > envelope(lag + 1) && now > 0.5 * envelope(main)
        };
        let first = (main - 480..=main).find(is_first).unwrap_or(main);
        let (before, now, after) = (envelope(first - 1), envelope(first), envelope(first + 1));
        let curve = before - 2.0 * now + after;
        let part = if curve < 0.0 { (0.5 * (before - after) / curve).clamp(-0.5, 0.5) } else { 0.0 };
        self.lag + first as f64 + part
    }

    /// Mean coherence in the telephone band, weighted by what was played; without the part that finitely many
    /// blocks of unlike sounds have in common.
    fn coherence(&self) -> Option<f64> {
        let bin = |hertz: f64| (hertz / f64::from(RATE) * BLOCK as f64) as usize;
        let (mut sum, mut weight) = (0.0, 0.0);
        for bin in bin(NARROW.0)..bin(NARROW.1) {
            let both = self.even.played[bin] * self.even.heard[bin];
            sum += self.even.played[bin] * self.even.cross[bin].norm_sqr() / (both + 1e-30);
            weight += self.even.played[bin];
        }
        // Blocks that overlap by half count for less.
        let count = 0.95 * self.even.count as f64;
        (weight > 0.0 && count > 1.0).then(|| ((sum / weight * count - 1.0) / (count - 1.0)).clamp(0.0, 1.0))
    }

    /// The weighted loss in a band, if it is sure.
    fn loss(&self, band: (f64, f64)) -> Option<f64> {
        let raw = self.gains(band, 0);
        // What the same window holds before anything can have come.
        let noise = self.gains(band, -NOISE);
        let corrected: Vec<f64> = raw.iter().zip(&noise).map(|(raw, noise)| raw - noise).collect();
        let loss = weighted_loss(&corrected);
        (loss - weighted_loss(&raw) <= MOST_CORRECTION).then_some(loss)
    }

    /// Power gains over the parts of a band, of the response as if the echo came `shift` samples later.
    fn gains(&self, band: (f64, f64), shift: i64) -> Vec<f64> {
        let mut windowed = Scratch::<Complex64>::new(BLOCK);
        let (before, after, fade) = RESPONSE;
        for n in -before..after {
            let weight = raised_cosine((after - n) as usize, fade) / overlap(n.unsigned_abs() as f64 / BLOCK as f64);
            windowed[wrap(n)] = self.samples[wrap(n + shift)] * weight;
        }
        self.transform.forward(&mut windowed);
        let bin = |hertz: f64| (hertz / f64::from(RATE) * BLOCK as f64).ceil() as usize;
        parts(band)
            .map(|(low, high)| {
                let bins = &windowed[bin(low)..bin(high)];
                bins.iter().map(Complex64::norm_sqr).sum::<f64>() / bins.len() as f64
            })
            .collect()
    }
}

/// The place of a lag, from −[`BLOCK`] on, in a block.
fn wrap(lag: i64) -> usize {
    lag.rem_euclid(BLOCK as i64) as usize
}

/// What is left of a response after `lag`, as a share of the block, since both windows overlap no longer
/// wholly: the correlation of a Hann window with itself.
fn overlap(lag: f64) -> f64 {
    (1.0 - lag) * (2.0 + (TAU * lag).cos()) / 3.0 + (TAU * lag).sin() / (2.0 * TAU) * 2.0
}

/// Spectra of blocks in which enough was played, and of what was heard of each by a peak's line; with the
/// middle of each.
fn spectra(
    played: &[i16],
    heard: &Line<'_>,
    peak: &Peak,
    transform: &Transform,
    mut each: impl FnMut(&mut [Complex64], f64),
) {
    let window = hann(BLOCK);
    let mut buffer = Scratch::<Complex64>::new(BLOCK);
    let (mut one, mut other) = (Scratch::<f64>::new(BLOCK), Scratch::<f64>::new(BLOCK));
    let mut turned = Scratch::<Complex64>::new(BLOCK);
    for place in (0..(played.len() + 1).saturating_sub(BLOCK)).step_by(BLOCK / 2) {
        let middle = place as f64 + BLOCK as f64 / 2.0;
        copy(played, place, &mut one);
        if one.iter().map(|x| x * x).sum::<f64>() / (BLOCK as f64) < PLAYED * PLAYED {
            continue;
        }
        let from = place as f64 + peak.lag_at(middle) - heard.start;
        let whole = from.floor();
        if whole < 0.0 || whole + BLOCK as f64 > heard.samples.len() as f64 {
            continue;
        }
        copy(heard.samples, whole as usize, &mut other);
        // A microphone that has not begun yet, or has ended, does not hear: that is no loss.
        let is_deaf = |half: std::ops::Range<usize>| {
            let power = one[half.clone()].iter().map(|x| x * x).sum::<f64>();
            power >= PLAYED * PLAYED * half.len() as f64 && other[half].iter().all(|x| x.abs() < f64::MIN_POSITIVE)
        };
        if is_deaf(0..BLOCK / 2) || is_deaf(BLOCK / 2..BLOCK) {
            continue;
        }
        for (((value, one), other), weight) in buffer.iter_mut().zip(one.iter()).zip(other.iter()).zip(&window) {
            *value = Complex64::new(one * weight, other * weight);
        }
        transform.forward(&mut buffer);
        turn(&buffer, &mut turned, from - whole);
        each(&mut turned, middle);
    }
}

/// The bins of each neighbourhood.
fn neighbourhoods() -> impl Iterator<Item = std::ops::Range<usize>> {
    (1..BLOCK / 2).step_by(NEIGHBOURS).map(|first| first..(first + NEIGHBOURS).min(BLOCK / 2))
}

/// In each neighbourhood, the least share of what was played that its echo must be: a quarter, −6 dB, of what
/// all blocks together say.
fn expected(sums: &Sums) -> Vec<f64> {
    let gain = |bin: usize| (sums.cross[bin] / (sums.played[bin] + 1e-30)).norm_sqr();
    neighbourhoods().map(|bins| 0.25 * bins.clone().map(gain).sum::<f64>() / bins.len() as f64).collect()
}

/// Weighs a spectrum of two sounds by what is heard in its neighbourhood: a block in which somebody speaks
/// there counts for less than his pauses do. One in which less is heard than the echo alone must be, as the
/// silence before a stream has begun, counts for no more.
fn weigh(packed: &mut [Complex64], echo: &[f64]) {
    let length = packed.len();
    for (bins, echo) in neighbourhoods().zip(echo) {
        let (mut played, mut heard) = (0.0, 0.0);
        for bin in bins.clone() {
            let (one, other) = (packed[bin], packed[length - bin].conj());
            played += (one + other).norm_sqr() / 4.0;
            heard += (one - other).norm_sqr() / 4.0;
        }
        let weight = 1.0 / (heard.max(echo * played) / bins.len() as f64 + 1e-12).sqrt();
        for bin in bins {
            packed[bin] *= weight;
            packed[length - bin] *= weight;
        }
    }
}

/// A spectrum of two sounds packed as real and imaginary parts, the second earlier by a part of a sample.
fn turn(packed: &[Complex64], turned: &mut [Complex64], part: f64) {
    let length = packed.len();
    for bin in 0..length {
        let (one, other) = (packed[bin], packed[(length - bin) % length].conj());
        let (first, second) = (0.5 * (one + other), Complex64::new(0.0, -0.5) * (one - other));
        let signed = if bin <= length / 2 { bin as f64 } else { bin as f64 - length as f64 };
        let angle = Complex64::from_polar(1.0, TAU * signed * part / length as f64);
        turned[bin] = first + Complex64::i() * second * angle;
    }
}

#[cfg(test)]
mod tests;
