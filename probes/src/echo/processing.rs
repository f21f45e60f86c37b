//! WebRTC's canceller of echo, suppressor of noise and gain control, as a client of a call has them. For
//! tests.

use sonora::{
    AudioProcessing, Config, StreamConfig,
    config::{AdaptiveDigital, EchoCanceller, GainController2, NoiseSuppression, NoiseSuppressionLevel},
};

use super::RATE;

/// What is switched on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Processing {
    /// The canceller, which needs what is played.
    pub(crate) canceller: bool,
    /// The suppressor.
    pub(crate) suppressor: Option<NoiseSuppressionLevel>,
    /// The adaptive gain control.
    pub(crate) gain_control: bool,
}

/// What becomes of `near`, the microphone's sound, while `far` is played. Both begin at once; a rest shorter
/// than 10 ms is left out.
pub(crate) fn processed(near: &[i16], far: Option<&[i16]>, processing: Processing) -> Vec<i16> {
    let stream = StreamConfig::new(RATE, 1);
    let config = Config {
        echo_canceller: processing.canceller.then(EchoCanceller::default),
        noise_suppression: processing
            .suppressor
            .map(|level| NoiseSuppression { level, analyze_linear_aec_output_when_available: false }),
        gain_controller2: processing.gain_control.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital::default()),
            ..GainController2::default()
        }),
        ..Config::default()
    };
    let mut chain = AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
    let frame = RATE as usize / 100;
    let (mut out, mut played) = (vec![0; near.len() / frame * frame], vec![0; frame]);
    for (number, (near, out)) in near.chunks_exact(frame).zip(out.chunks_exact_mut(frame)).enumerate() {
        if let Some(far) = far.and_then(|far| far.get(number * frame..(number + 1) * frame)) {
            chain.process_render_i16(far, &mut played).expect("10 ms of one channel");
        }
        chain.process_capture_i16(near, out).expect("10 ms of one channel");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{
        super::room::{converted, pink, rms, with},
        *,
    };

    /// Level in decibels gained by a sweep of a second at −26 dBFS in faint noise, 3 s after the begin.
    fn gained(processing: Processing) -> f64 {
        let second = RATE as usize;
        let mut clean = vec![0.0; 5 * second];
        for (n, sample) in clean[3 * second..4 * second].iter_mut().enumerate() {
            let (t, low, high) = (n as f64 / f64::from(RATE), 200.0_f64, 7000.0_f64);
            let rate = 1.0 / (high / low).ln();
            *sample = 0.0709 * (std::f64::consts::TAU * low * rate * ((t / rate).exp() - 1.0)).sin();
        }
        let near = converted(&with(&clean, &pink(clean.len(), 1), -55.0));
        let out = processed(&near, None, processing);
        let level = |samples: &[i16]| {
            let part = &samples[3 * second..4 * second + second / 50];
            20.0 * rms(&part.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()).log10()
        };
        level(&out) - level(&near)
    }

    #[test]
    fn a_sweep_keeps_its_level_through_noise_suppression_and_is_raised_by_gain_control() {
        let off = gained(Processing::default());
        assert!(off.abs() < 0.1, "{off}");
        let suppressed = gained(Processing { suppressor: Some(NoiseSuppressionLevel::High), ..Processing::default() });
        assert!((-1.0..0.2).contains(&suppressed), "{suppressed}");
        let raised = gained(Processing { gain_control: true, ..Processing::default() });
        assert!((3.0..18.0).contains(&raised), "{raised}");
    }
}
