//! From what was found to what is said: readings, what is absent and why, and what changed since the state
//! that was accepted.
//!
//! - **A bound.** Where the echo of a call is below what could be heard of it, its loss is at least so much.
//!   Such a value is of low confidence, and its interval goes from there up to [`INAUDIBLE`]: no run is bad by
//!   it, whatever the limit, and a run is good as soon as the bound itself is. So an echo that is gone clears
//!   what it had opened: no third of an octave can then lose less than the bound less [`LEAST_BELOW`], and
//!   impairment, which falls as loss rises, is at most so much, in the same way.
//! - **Changes** are told only against a state that was accepted of the same devices in the same form. Volumes
//!   that the server tells to be others than then are taken out: somebody has turned a knob, and nothing broke.
//! - **Gain.** What the server tells is sure. Beside it, only one thing is: where the loss from loudspeaker to
//!   microphone and the noise floor have moved by the same amount, the microphone takes all louder or softer.
//!   A loss that moved alone may be the loudspeaker, a door, or a person: nothing is said of gain.

use chrono::{DateTime, Utc};

use super::{
    Accepted, Config, DeviceMark, Findings, LOUDSPEAKER, MICROPHONE, State,
    rating::echo_impairment,
    take::{Device, Devices},
};
use crate::{Failure, Label, Metric, ProbeRun, Reading, Reason, Validity};

/// Decibels from the threshold of pain down to that of hearing: an echo that far down is heard by nobody.
const INAUDIBLE: f64 = 120.0;
/// The latest echo that is looked for, in seconds: one that is not heard is as late as that, at worst.
const LONGEST_DELAY: f64 = 1.5;
/// By how many decibels the loss of one third of an octave can be below that of all 13 of 300 to 6700 Hz, each of
/// which counts alike: as if all of the echo were in it, 10·log10 13.
const LEAST_BELOW: f64 = 11.2;
/// Half of a skew's interval, as a ratio, beyond which limits are compared with the whole of the interval:
/// 2 ppm, to which a minute measures it.
const CERTAIN_SKEW: f64 = 2e-6;
/// Volumes that differ by less, in decibels, are the same: servers keep them in steps.
const SAME_VOLUME: f64 = 0.1;
/// Loss and noise that differ by less, in decibels, moved by the same amount. Four sweeps measure loss to
/// some tenths; the floor of a quiet room moves by about one.
const SAME_MOVE: f64 = 1.5;
/// A gain that moved by less, in decibels, is not told from the room.
const LEAST_GAIN: f64 = 3.0;

/// Fills a run with what was found.
///
/// A run without a number of the echo is inconclusive as a whole; what is sure of it all the same, such as a
/// dead microphone, is a valid reading, and is judged.
pub(crate) fn fill(
    run: &mut ProbeRun,
    findings: &Findings,
    devices: Option<&Devices>,
    accepted: Option<&Accepted>,
    config: &Config,
    ts: DateTime<Utc>,
) {
    let accepted = accepted.filter(|accepted| accepted.form == config.form);
    let mut report = Report { run, findings, config, ts };
    report.numbers();
    report.liveness();
    if let Some(devices) = devices.filter(|_| config.listens()) {
        report.muted(devices);
        if let Some(accepted) = accepted {
            report.changes(devices, accepted);
        }
        report.run.acceptable = report.acceptable(devices);
    }
    report.absent();
    report.run.inconclusive = report.run.inconclusive.or(findings.reason);
}

struct Report<'a> {
    run: &'a mut ProbeRun,
    findings: &'a Findings,
    config: &'a Config,
    ts: DateTime<Utc>,
}

impl Report<'_> {
    fn reading(&self, metric: Metric, value: f64) -> Reading {
        Reading::new(self.ts, metric, value, self.findings.samples)
    }

    fn push(&mut self, reading: Reading) {
        if self.config.measures(reading.metric) && reading.value.is_finite() {
            self.run.readings.push(reading);
        }
    }

    /// Whoever says why there is no number of the echo gives none; if there is one, it is not to be believed.
    fn of_echo(&self, reading: Reading) -> Reading {
        match self.findings.reason {
            Some(reason) => reading.inconclusive(reason),
            None => reading,
        }
    }

    /// What is known of the microphone's sound, as far as it came through whole.
    fn of_microphone(&self, reading: Reading) -> Reading {
        match self.findings.reason {
            None
            | Some(
                Reason::Dead
                | Reason::Muted
                | Reason::Noise
                | Reason::NothingPlayed
                | Reason::Clipped
                | Reason::FewSamples,
            ) => reading,
            Some(reason) => reading.inconclusive(reason),
        }
    }

    fn numbers(&mut self) {
        let found = self.findings;
        let at_most = || {
            let loss = found.echo_loss.filter(|_| found.echo_loss_is_bound)?;
            Some(echo_impairment(loss, found.delay_seconds.unwrap_or(LONGEST_DELAY) / 2.0))
        };
        let impairment = found.impairment.or_else(at_most);
        let of_echo = [
            (Metric::EchoDelay, found.delay_seconds),
            (Metric::EchoReturnLoss, found.return_loss),
            (Metric::EchoReturnLossWideband, found.return_loss_wideband),
            (Metric::EchoLoss, found.echo_loss),
            (Metric::EchoInitialLoss, found.initial_loss),
            (Metric::EchoImpairment, impairment.map(|points| points.max(0.0))),
            (Metric::EchoDistortion, found.distortion),
            (Metric::EchoClockSkew, found.clock_skew),
            (Metric::EchoReverberation, found.reverberation_seconds),
            (Metric::EchoCoherence, found.coherence),
        ];
        for (metric, value) in of_echo {
            let Some(value) = value else { continue };
            let reading = self.reading(metric, value);
            let reading = match metric {
                Metric::EchoClockSkew => skew(reading, found.clock_skew_within),
                Metric::EchoLoss if found.echo_loss_is_bound => at_least(reading),
                Metric::EchoImpairment if found.echo_loss_is_bound => {
                    low_confidence(reading.between(0.0, value.max(0.0)))
                }
                _ => reading,
            };
            let reading = if metric == Metric::EchoCoherence { reading } else { self.of_echo(reading) };
            self.push(reading);
        }
        let least = found.least_loss.filter(|_| !found.echo_loss_is_bound);
        let least = least.map(|loss| self.reading(Metric::EchoLeastLoss, loss)).or_else(|| {
            let loss = found.echo_loss? - LEAST_BELOW;
            Some(at_least(self.reading(Metric::EchoLeastLoss, loss)))
        });
        if let Some(reading) = least {
            self.push(self.of_echo(reading));
        }
        let of_microphone = [
            (Metric::EchoNoiseFloor, found.noise_floor),
            (Metric::EchoHum, found.hum),
            (Metric::EchoClipping, found.clipping),
            (Metric::EchoOffset, found.offset),
        ];
        for (metric, value) in of_microphone {
            if let Some(value) = value {
                let reading = self.of_microphone(self.reading(metric, value));
                self.push(reading);
            }
        }
    }

    fn liveness(&mut self) {
        let states = [
            (Metric::MicrophoneWorking, self.findings.microphone),
            (Metric::LoudspeakerWorking, self.findings.loudspeaker),
        ];
        for (metric, state) in states {
            let value = match state {
                State::Working => 1.0,
                State::Dead => 0.0,
                State::Unsure => continue,
            };
            self.push(self.reading(metric, value));
        }
    }

    fn muted(&mut self, devices: &Devices) {
        for (component, device) in parts(devices) {
            let muted = self.once(Metric::SoundMuted, f64::from(u8::from(device.muted)));
            self.push(muted.with(Label::Component, component));
        }
    }

    /// What a server tells, which is no mean of anything.
    fn once(&self, metric: Metric, value: f64) -> Reading {
        Reading::new(self.ts, metric, value, 1)
    }

    fn changes(&mut self, devices: &Devices, accepted: &Accepted) {
        let marks = [&accepted.loudspeaker, &accepted.microphone];
        let parts = parts(devices);
        let mut same = true;
        for ((component, device), mark) in parts.iter().zip(marks) {
            let changed = device.name != mark.name;
            same &= !changed;
            let reading = self.once(Metric::SoundDeviceChanged, f64::from(u8::from(changed)));
            self.push(reading.with(Label::Component, component));
        }
        if !same {
            return;
        }
        let [loudspeaker, microphone] = [0, 1].map(|at| turned(parts[at].1, marks[at]));
        let up = |turned: Option<f64>| turned.unwrap_or(0.0);
        let sure = self.findings.reason.is_none();
        let loss = self.findings.return_loss.filter(|_| sure).map(|loss| {
            // Louder is less loss.
            loss - accepted.return_loss_decibels + up(loudspeaker) + up(microphone)
        });
        let heard = !devices.microphone.muted && self.findings.microphone != State::Dead;
        let floor = self.findings.noise_floor.filter(|_| heard);
        let rise = floor.map(|floor| floor - accepted.noise_floor_decibels - up(microphone));
        if let Some(loss) = loss {
            self.push(self.reading(Metric::EchoReturnLossChange, loss));
        }
        if let Some(delay) = self.findings.delay_seconds.filter(|_| sure) {
            self.push(self.reading(Metric::EchoDelayChange, delay - accepted.delay_seconds));
        }
        if let Some(rise) = rise {
            let reading = self.of_microphone(self.reading(Metric::EchoNoiseFloorRise, rise));
            self.push(reading);
        }
        for (component, change) in gains(loudspeaker, microphone, loss, rise) {
            let reading = self.once(Metric::SoundGainChange, change);
            self.push(reading.with(Label::Component, component));
        }
    }

    /// The state that a person may accept: none of it is in doubt, and nothing is muted or dead.
    fn acceptable(&self, devices: &Devices) -> Option<Accepted> {
        let found = self.findings;
        let muted = devices.loudspeaker.muted || devices.microphone.muted;
        let dead = found.loudspeaker == State::Dead || found.microphone == State::Dead;
        if found.reason.or(self.run.inconclusive).is_some() || self.run.failure.is_some() || muted || dead {
            return None;
        }
        let mark = |device: &Device| DeviceMark { name: device.name.clone(), volume_decibels: device.volume_decibels };
        let accepted = Accepted {
            at: self.ts,
            form: self.config.form,
            loudspeaker: mark(&devices.loudspeaker),
            microphone: mark(&devices.microphone),
            delay_seconds: found.delay_seconds?,
            return_loss_decibels: found.return_loss?,
            noise_floor_decibels: found.noise_floor?,
        };
        accepted.is_plausible().then_some(accepted)
    }

    /// Says what a run that counts does not tell, though it was asked for.
    fn absent(&mut self) {
        let found = self.findings;
        if found.reason.is_some() {
            // It says all of it.
            return;
        }
        let mut absent = |reason, detail: &str| self.run.absent.push(Failure::new(reason, detail));
        let measures = |metric| self.config.measures(metric);
        let is_processed = measures(Metric::EchoReturnLoss) && found.return_loss.is_none();
        if measures(Metric::EchoReverberation) && found.reverberation_seconds.is_none() {
            if is_processed {
                absent(Reason::Source, "reverberation: the microphone's sound is processed before it gets here");
            } else {
                absent(Reason::Noise, "reverberation: the decay is not seen far enough above the noise");
            }
        }
        if measures(Metric::EchoDistortion) && found.distortion.is_none() {
            if is_processed {
                absent(Reason::Source, "distortion: the microphone's sound is processed before it gets here");
            } else {
                absent(Reason::Noise, "distortion: harmonics cannot be told from the noise");
            }
        }
        if measures(Metric::EchoClockSkew) && found.clock_skew.is_none() {
            absent(Reason::FewSamples, "clock skew: the run is too short for a sure value");
        }
        if is_processed {
            absent(Reason::Source, "return loss: the microphone's sound is processed before it gets here");
        }
        if measures(Metric::EchoImpairment) && found.impairment.is_none() && !found.echo_loss_is_bound {
            absent(Reason::FewSamples, "impairment: needs both loss and delay");
        }
    }
}

fn parts(devices: &Devices) -> [(&'static str, &Device); 2] {
    [(LOUDSPEAKER, &devices.loudspeaker), (MICROPHONE, &devices.microphone)]
}

/// By how much the volume is above that of the accepted state, if the server tells both.
fn turned(device: &Device, mark: &DeviceMark) -> Option<f64> {
    let change = device.volume_decibels? - mark.volume_decibels?;
    Some(if change.abs() < SAME_VOLUME { 0.0 } else { change })
}

/// The changes of gain that are sure, by component: volumes as the server tells them, and what of loss and
/// noise floor is left when those are taken out.
fn gains(
    loudspeaker: Option<f64>,
    microphone: Option<f64>,
    loss: Option<f64>,
    rise: Option<f64>,
) -> Vec<(&'static str, f64)> {
    let together = loss.zip(rise).filter(|(loss, rise)| (loss + rise).abs() <= SAME_MOVE);
    let by_ear = together.map(|(loss, rise)| (rise - loss) / 2.0).filter(|gain| gain.abs() >= LEAST_GAIN);
    if let Some(gain) = by_ear {
        let loudspeaker = loudspeaker.map(|change| (LOUDSPEAKER, change));
        return loudspeaker.into_iter().chain([(MICROPHONE, gain + microphone.unwrap_or(0.0))]).collect();
    }
    let explained = loss.is_some_and(|loss| loss.abs() <= SAME_MOVE);
    let sure = |change: &f64| *change != 0.0 || explained;
    let told = [(LOUDSPEAKER, loudspeaker), (MICROPHONE, microphone)];
    told.into_iter().filter_map(|(component, change)| Some((component, change.filter(sure)?))).collect()
}

/// A loss that is at least so much.
fn at_least(reading: Reading) -> Reading {
    let value = reading.value;
    low_confidence(reading.between(value, value.max(INAUDIBLE)))
}

fn low_confidence(reading: Reading) -> Reading {
    Reading { validity: Validity::LowConfidence, reason: Some(Reason::Noise), ..reading }
}

fn skew(reading: Reading, within: f64) -> Reading {
    let within = within.abs();
    if !within.is_finite() {
        return reading.inconclusive(Reason::FewSamples);
    }
    let value = reading.value;
    let reading = reading.between(value - within, value + within);
    if within <= CERTAIN_SKEW {
        return reading;
    }
    Reading { validity: Validity::LowConfidence, reason: Some(Reason::FewSamples), ..reading }
}

#[cfg(test)]
mod tests;
