//! The active and the quiet form: sweeps are played, and the response of loudspeaker, room and microphone is
//! read off what comes back.

use rustfft::num_complex::Complex64;

use super::{
    RATE,
    bands::{NARROW, WIDE, parts, weighted_loss},
    distortion::distortion,
    findings::Findings,
    floor,
    liveness::{Signs, liveness},
    response::{Peak, Plan, Responses, arrival, fine, fine_bins, power, residuals, windowed},
    reverberation::reverberation,
    scratch::Scratch,
    signal::{BAND, PERIOD, SWEEP, Sweeps},
    skew::{Course, Slope, course, fit},
    spacing::is_torn,
    spectrum::{decibels, raised_cosine},
    take::{Line, Take},
};
use crate::Reason;

/// What the highest place of a response must stand above its noise, in decibels. Of 900 rooms without an
/// echo none reaches 3.3 dB.
const MARGIN: f64 = 6.0;
/// Sweeps below which nothing is told.
const FEWEST: usize = 3;
/// A sweep that departs from the average by so much more than half of them do is left out, in decibels.
const OUTLIER: f64 = 6.0;
/// Samples before the arrival at which periods are cut.
const BEFORE: f64 = 0.1 * RATE as f64;
/// Samples of the response from its arrival on, and before it: 250 and 3 ms; and its end, a cosine of 20 ms.
const AFTER: usize = RATE as usize / 4;
const AHEAD: usize = 3 * RATE as usize / 1000;
const END: usize = RATE as usize / 50;
/// Samples after the arrival between which there is noise alone: no response any more, and no harmonic below
/// the eleventh, which come up to 0.7 s before the arrival of the next period.
const NOISE: std::ops::Range<usize> = 32 * RATE as usize / 100..80 * RATE as usize / 100;
/// Noise that takes more than so much of a loss away leaves no loss, in decibels.
const GREATEST_CORRECTION: f64 = 3.0;
/// Samples at full scale that are no chance.
const CLIPPED: usize = 3;
/// A skew that is less sure than this is none.
const WIDEST_INTERVAL: f64 = 15e-6;
/// The reference may be off by what a server does not know of its own buffers: 0.25 s, in samples.
const REFERENCE_WITHIN: f64 = 0.25 * RATE as f64;
/// How far below the room's noise the quiet form's echo is to be, in decibels.
const BELOW_NOISE: f64 = 15.0;
/// Loss that is assumed where none was accepted: that of a loudspeaker close to the microphone.
const LEAST_LOSS: f64 = 10.0;
/// Levels between which the quiet form plays, in decibels below full scale: below, a converter of 16 bit
/// has too few steps left.
const QUIET: (f64, f64) = (-70.0, -20.0);

/// Reads everything off a take. Numbers of the echo are there only if nothing speaks against them; else
/// there is the reason.
///
/// The delay is counted from the loudspeaker's own monitor where sweeps are found in it: what the sound
/// server does not know of its output is in both, and drops out. Else it is counted by the server's timing.
pub(crate) fn analyse(take: &Take<'_>, sweeps: &Sweeps) -> Findings {
    let mut findings = Findings::default();
    let samples = take.microphone.samples;
    let (loudspeaker_muted, microphone_muted) = (take.devices.loudspeaker.muted, take.devices.microphone.muted);
    if !microphone_muted {
        findings.noise_floor = floor::noise_floor(samples);
        findings.hum = floor::hum(samples);
        findings.offset = floor::offset(samples);
        findings.clipping = clipping(&take.microphone, sweeps);
    }
    let mut plan = Plan::new(sweeps);
    let reference = take.reference.map(|line| search(&line, sweeps, &mut plan));
    let played = reference.as_ref().and_then(Search::is_heard);
    let (reference_slipped, reference_at) = match reference {
        Some(Search::Heard(heard)) => (heard.slipped, Some(heard.delay)),
        Some(Search::Torn) => (true, None),
        _ => (false, None),
    };
    let found = search(&take.microphone, sweeps, &mut plan);
    let too_short = matches!(found, Search::Short);
    let lost = take.slips > 0 || reference_slipped;
    let is_processed = take.devices.microphone.is_processed;
    let live = liveness(&Signs {
        heard: found.is_heard() == Some(true),
        played,
        lost,
        reach: found.reach(&plan),
        loudspeaker_muted,
        microphone_muted,
        is_processed,
        stuck: if is_processed { floor::is_still(samples) } else { floor::is_stuck(samples) },
        noise_floor: findings.noise_floor,
        hum: findings.hum,
    });
    let muted = loudspeaker_muted || microphone_muted;
    // A canceller that learns makes sweeps as unlike each other as lost sound does: then neither is claimed.
    let unlike = if is_processed { Reason::FewSamples } else { Reason::Slip };
    if too_short && !muted {
        // What was lost is missing in the end.
        findings.reason = Some(if lost { Reason::Slip } else { Reason::FewSamples });
        return findings;
    }
    findings.loudspeaker = live.loudspeaker;
    findings.microphone = live.microphone;
    findings.reason = live.reason;
    if findings.reason == Some(Reason::Noise) && findings.clipping.is_some_and(|share| share > 0.001) {
        findings.reason = Some(Reason::Clipped);
    }
    if !muted && lost {
        findings.reason = Some(Reason::Slip);
    } else if !muted && matches!(found, Search::Torn) {
        findings.reason = Some(unlike);
    }
    let Search::Heard(heard) = found else { return findings };
    if muted {
        return findings;
    }
    findings.samples = heard.kept.len() as u64;
    // What a canceller has left of one sweep may come from elsewhere in the room than what it left of another.
    let is_whole = !is_processed || heard.kept.len() == sweeps.count as usize;
    if findings.reason.is_none() && (heard.slipped || !is_whole) {
        findings.reason = Some(unlike);
    }
    if findings.reason.is_none() && heard.is_clipped(samples) {
        findings.reason = Some(Reason::Clipped);
    }
    if findings.reason.is_some() {
        return findings;
    }
    // Through a canceller, a suppressor or a gain control the rest would not be the room's.
    if !is_processed {
        let Some(narrow) = heard.loss(NARROW, &plan) else {
            findings.reason = Some(Reason::Noise);
            return findings;
        };
        findings.return_loss = Some(narrow);
        findings.return_loss_wideband = heard.loss(WIDE, &plan);
        findings.distortion = distortion(&heard.response, heard.arrival, heard.noise());
    }
    let known = reference_at.filter(|at| at.abs() <= REFERENCE_WITHIN).unwrap_or(0.0);
    findings.delay_seconds = Some((heard.delay - known) / f64::from(RATE));
    if let Some(slope) = heard.slope.filter(|slope| slope.within <= WIDEST_INTERVAL) {
        findings.clock_skew = Some(slope.slope);
        findings.clock_skew_within = slope.within;
    }
    if sweeps.reverberation && !is_processed {
        let (delay, skew) = (heard.delay, heard.skew);
        drop(heard);
        findings.reverberation_seconds = reverberation(&take.microphone, sweeps, delay, skew);
    }
    findings
}

/// Level of the quiet form's sweeps, in decibels below full scale, so that their echo stands 15 dB below the
/// noise that was heard in `silence`, 250 ms at the least.
///
/// `return_loss` is the one that people have accepted, in decibels. Without it little is assumed, so that
/// the sweeps are rather too quiet than heard. −70 to −20; −70 where there is no silence to go by.
pub(crate) fn quiet_level(silence: &[i16], return_loss: Option<f64>) -> f64 {
    let loss = return_loss.filter(|loss| loss.is_finite()).unwrap_or(LEAST_LOSS);
    let noise = floor::level(silence, BAND).unwrap_or(f64::NEG_INFINITY);
    (noise + loss - BELOW_NOISE).clamp(QUIET.0, QUIET.1)
}

/// Share of samples at full scale while the sweeps are played.
fn clipping(line: &Line<'_>, sweeps: &Sweeps) -> Option<f64> {
    let first = sweeps.begins().next()?;
    let place = |at: usize| (at as f64 - line.start).clamp(0.0, line.samples.len() as f64) as usize;
    let heard = line.samples.get(place(first)..place(sweeps.length()))?;
    (!heard.is_empty()).then(|| floor::clipped(heard) as f64 / heard.len() as f64)
}

/// What looking for the sweeps in a line has come to.
enum Search {
    /// It holds too few of them.
    Short,
    /// They are not in it, or not louder than the noise.
    Missed(Peak),
    /// They come at two places of the period: sound was lost or repeated between them.
    Torn,
    Heard(Box<Heard>),
}

impl Search {
    fn is_heard(&self) -> Option<bool> {
        match self {
            Self::Short => None,
            Self::Missed(_) => Some(false),
            Self::Torn | Self::Heard(_) => Some(true),
        }
    }

    /// The greatest loss, in decibels, at which the sweeps would have been found; a room takes 6 dB from the
    /// height of its response.
    fn reach(&self, plan: &Plan) -> Option<f64> {
        match self {
            Self::Missed(peak) => Some(2.0 * decibels(plan.unity()) - 2.0 * decibels(peak.height) - MARGIN - 6.0),
            Self::Short | Self::Torn | Self::Heard(_) => None,
        }
    }
}

/// Sweeps that were found.
struct Heard {
    /// Samples of the line, by its own clock, from the begin of a sweep's period to its arrival.
    arrival: f64,
    /// Samples, by the clock of the loudspeaker, from being played to being heard.
    delay: f64,
    /// Of the line's clock, as near as it can be told.
    skew: f64,
    /// The same with its interval; none of few sweeps.
    slope: Option<Slope>,
    slipped: bool,
    /// First samples of the sweeps that are averaged.
    kept: Vec<f64>,
    /// The average.
    response: Scratch<Complex64>,
}

/// Looks for the sweeps, and when each came.
fn search(line: &Line<'_>, sweeps: &Sweeps, plan: &mut Plan) -> Search {
    plan.tune(0.0);
    let Some(responses) = Responses::new(line, sweeps, -BEFORE, plan).filter(|found| found.len() >= FEWEST) else {
        return Search::Short;
    };
    let peak = responses.sharpest(plan);
    if peak.height <= 0.0 || peak.margin() < MARGIN {
        return if peak.second_margin() >= MARGIN { Search::Torn } else { Search::Missed(peak) };
    }
    drop(responses);
    let offset = peak.at - 2.0 * BEFORE;
    let mut skew = peak.skew;
    let mut round = 0;
    let mut torn = None;
    loop {
        plan.tune(skew);
        let Some(responses) = Responses::new(line, sweeps, offset, plan).filter(|found| found.len() >= FEWEST) else {
            return Search::Short;
        };
        let kept = alike(&responses, plan);
        let Course { arrivals, slipped } = course(&responses, &kept, skew, plan);
        // What clocks differ by is no matter to it: once is enough.
        let slipped = slipped || *torn.get_or_insert_with(|| is_torn(&responses, BEFORE, plan));
        let slope = fit(&arrivals).map(|fit| {
            let per_sweep = 1.0 / PERIOD as f64;
            Slope { slope: skew + fit.slope * per_sweep, within: fit.within * per_sweep }
        });
        let better = slope.map_or(skew, |slope| slope.slope);
        round += 1;
        // A sweep by a wrong clock arrives early or late: 1 part in a million is 1 µs.
        if round < 3 && !slipped && (better - skew).abs() > 1e-6 {
            skew = better;
            continue;
        }
        let middle = responses.middle(&kept);
        let response = fine(&responses.average(&kept, skew, middle), plan);
        let arrival = arrival(&response);
        let heard = line.start + (responses.begin(middle) + arrival) / (1.0 + skew);
        let played = sweeps.begins().next().unwrap_or(0) as f64 + middle * PERIOD as f64;
        let kept = kept.iter().map(|index| responses.begin(responses.number(*index)) + arrival).collect();
        return Search::Heard(Box::new(Heard { arrival, delay: heard - played, skew, slope, slipped, kept, response }));
    }
}

/// The sweeps that are like the others.
fn alike(responses: &Responses, plan: &Plan) -> Vec<usize> {
    let all: Vec<usize> = (0..responses.len()).collect();
    let average = responses.average(&all, plan.skew(), responses.middle(&all));
    let left = residuals(responses, &all, plan.skew(), &average, plan);
    let mut sorted = left.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let median = sorted.get((sorted.len() - 1) / 2).copied().unwrap_or(0.0);
    let most = median * 10f64.powf(OUTLIER / 10.0);
    let kept: Vec<usize> = all.iter().copied().filter(|index| left[*index] <= most).collect();
    if kept.len() >= FEWEST { kept } else { all }
}

impl Heard {
    /// Mean power of a sample of the response where there is noise alone.
    fn noise(&self) -> f64 {
        let noise = windowed(&self.response, self.arrival + NOISE.start as f64, NOISE.len(), |_| 1.0);
        noise.iter().map(Complex64::norm_sqr).sum::<f64>() / NOISE.len() as f64
    }

    /// The weighted loss over a band in decibels; nothing if too much of it is noise.
    fn loss(&self, band: (f64, f64), plan: &Plan) -> Option<f64> {
        let length = AHEAD + AFTER;
        let end = |n: usize| raised_cosine(length - 1 - n, END);
        let heard = fine_bins(windowed(&self.response, self.arrival - AHEAD as f64, length, end), plan);
        let from = self.arrival + NOISE.start as f64;
        let noise = fine_bins(windowed(&self.response, from, NOISE.len(), |_| 1.0), plan);
        let share = (0..length).map(|n| end(n).powi(2)).sum::<f64>() / NOISE.len() as f64;
        let (mut raw, mut net, mut count) = (0.0, 0.0, 0.0);
        for (low, high) in parts(band) {
            let heard = power(&heard, low, high);
            raw += heard;
            net += heard - share * power(&noise, low, high);
            count += 1.0;
        }
        let correction = decibels(raw) - decibels(net.max(0.0));
        (net > 0.0 && correction <= GREATEST_CORRECTION).then(|| weighted_loss(&[net / count]))
    }

    /// Whether sweeps that are averaged reach full scale.
    fn is_clipped(&self, samples: &[i16]) -> bool {
        let clipped = self.kept.iter().map(|begin| {
            let from = (begin.max(0.0) as usize).min(samples.len());
            floor::clipped(&samples[from..(from + SWEEP + AFTER).min(samples.len())])
        });
        clipped.sum::<usize>() >= CLIPPED
    }
}

#[cfg(test)]
mod slips;
#[cfg(test)]
pub(super) mod tests;
