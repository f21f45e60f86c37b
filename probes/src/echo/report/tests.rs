#![allow(clippy::unwrap_used, reason = "tests")]

use super::{super::Form, *};

fn device(name: &str, volume_decibels: Option<f64>) -> Device {
    Device { name: name.to_owned(), muted: false, volume_decibels, is_processed: false }
}

fn devices() -> Devices {
    Devices { loudspeaker: device("speaker", Some(-10.0)), microphone: device("mic", Some(0.0)) }
}

fn accepted() -> Accepted {
    let mark = |name: &str, volume| DeviceMark { name: name.to_owned(), volume_decibels: Some(volume) };
    Accepted {
        at: DateTime::UNIX_EPOCH,
        form: Form::Active,
        loudspeaker: mark("speaker", -10.0),
        microphone: mark("mic", 0.0),
        delay_seconds: 0.040,
        return_loss_decibels: 12.0,
        noise_floor_decibels: -62.0,
    }
}

fn findings() -> Findings {
    Findings {
        samples: 4,
        delay_seconds: Some(0.0401),
        return_loss: Some(12.2),
        return_loss_wideband: Some(11.0),
        distortion: Some(-45.0),
        clock_skew: Some(20e-6),
        clock_skew_within: 10e-6,
        noise_floor: Some(-61.5),
        hum: Some(3.0),
        clipping: Some(0.0),
        offset: Some(0.0001),
        loudspeaker: State::Working,
        microphone: State::Working,
        ..Findings::default()
    }
}

fn config(form: Form) -> Config {
    Config { form, ..Config::default() }
}

fn filled(findings: &Findings, devices: Option<&Devices>, accepted: Option<&Accepted>, form: Form) -> ProbeRun {
    let mut run = ProbeRun::new("echo", DateTime::UNIX_EPOCH);
    fill(&mut run, findings, devices, accepted, &config(form), DateTime::UNIX_EPOCH);
    run
}

fn active(findings: &Findings, devices: &Devices) -> ProbeRun {
    filled(findings, Some(devices), Some(&accepted()), Form::Active)
}

fn find<'r>(run: &'r ProbeRun, metric: Metric, component: &str) -> Option<&'r Reading> {
    let mine = |reading: &&Reading| reading.labels.get(Label::Component).unwrap_or_default() == component;
    run.readings.iter().filter(|reading| reading.metric == metric).find(mine)
}

fn value(run: &ProbeRun, metric: Metric, component: &str) -> Option<f64> {
    let valid = |reading: &&Reading| reading.validity != Validity::Inconclusive;
    find(run, metric, component).filter(valid).map(|reading| (reading.value * 1e6).round() / 1e6)
}

fn gain(run: &ProbeRun) -> [Option<f64>; 2] {
    [LOUDSPEAKER, MICROPHONE].map(|component| value(run, Metric::SoundGainChange, component))
}

#[test]
fn everything_that_was_found_is_a_reading_of_its_samples() {
    let run = active(&findings(), &devices());
    assert_eq!((run.inconclusive, run.failure.clone(), run.absent.len()), (None, None, 0));
    assert_eq!(value(&run, Metric::EchoReturnLoss, ""), Some(12.2));
    assert_eq!(value(&run, Metric::EchoDelayChange, ""), Some(0.0001));
    assert_eq!(value(&run, Metric::EchoReturnLossChange, ""), Some(0.2));
    assert_eq!(value(&run, Metric::EchoNoiseFloorRise, ""), Some(0.5));
    assert_eq!(value(&run, Metric::MicrophoneWorking, ""), Some(1.0));
    assert_eq!(value(&run, Metric::SoundMuted, MICROPHONE), Some(0.0));
    assert_eq!(value(&run, Metric::SoundDeviceChanged, LOUDSPEAKER), Some(0.0));
    assert_eq!(gain(&run), [Some(0.0), Some(0.0)]);
    assert!(run.readings.iter().all(|reading| reading.n == 4 || reading.n == 1));
    let state = run.acceptable.unwrap();
    assert_eq!((state.form, state.return_loss_decibels), (Form::Active, 12.2));
    // What the form cannot read is no reading, whoever says it.
    let quiet = filled(&findings(), Some(&devices()), None, Form::Quiet);
    assert_eq!(value(&quiet, Metric::EchoDistortion, ""), None);
}

#[test]
fn a_short_run_is_not_sure_of_the_skew_and_a_long_one_is() {
    let skew = |within| {
        let run = active(&Findings { clock_skew_within: within, ..findings() }, &devices());
        find(&run, Metric::EchoClockSkew, "").unwrap().clone()
    };
    let short = skew(10e-6);
    assert_eq!((short.validity, short.reason), (Validity::LowConfidence, Some(Reason::FewSamples)));
    assert!((short.low.unwrap() - 10e-6).abs() < 1e-12 && (short.high.unwrap() - 30e-6).abs() < 1e-12);
    assert_eq!(skew(1e-6).validity, Validity::Ok);
    assert_eq!(skew(f64::NAN).validity, Validity::Inconclusive);
    let run = active(&Findings { clock_skew: None, ..findings() }, &devices());
    assert_eq!(run.absent[0].reason, Reason::FewSamples);
}

#[test]
fn what_a_process_before_the_microphone_keeps_from_being_told_is_named() {
    let found = Findings { return_loss: None, return_loss_wideband: None, distortion: None, ..findings() };
    let run = active(&found, &devices());
    assert_eq!((run.inconclusive, run.absent.len(), run.acceptable.is_none()), (None, 2, true));
    assert!(run.absent.iter().all(|absent| absent.reason == Reason::Source), "{:?}", run.absent);
    assert_eq!(value(&run, Metric::EchoDelay, ""), Some(0.0401));
    // Noise takes the distortion alone.
    let run = active(&Findings { distortion: None, ..findings() }, &devices());
    assert_eq!((run.absent.len(), run.absent[0].reason), (1, Reason::Noise));
}

#[test]
fn a_bound_is_at_least_so_much_and_survives_the_way_from_the_worker() {
    let found = Findings {
        samples: 12,
        delay_seconds: None,
        echo_loss: Some(47.0),
        impairment: None,
        echo_loss_is_bound: true,
        ..Findings::default()
    };
    let run = filled(&found, None, None, Form::Call);
    let told: ProbeRun = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
    let loss = find(&told, Metric::EchoLoss, "").unwrap();
    assert_eq!((loss.validity, loss.low, loss.high), (Validity::LowConfidence, Some(47.0), Some(INAUDIBLE)));
    let least = find(&told, Metric::EchoLeastLoss, "").unwrap();
    assert_eq!((least.low, least.high), (Some(47.0 - LEAST_BELOW), Some(INAUDIBLE)), "no part loses less");
    let impairment = find(&told, Metric::EchoImpairment, "").unwrap();
    // 47 dB would be little for an echo of 1.5 s, if there is one.
    assert_eq!((impairment.low, impairment.high), (Some(0.0), Some(impairment.value)));
    assert!((15.0..30.0).contains(&impairment.value), "{}", impairment.value);
    let gone = filled(&Findings { echo_loss: Some(60.0), ..found.clone() }, None, None, Form::Call);
    assert!(value(&gone, Metric::EchoImpairment, "").unwrap() < 11.0, "it clears what an echo had opened");
    let sure = filled(&Findings { echo_loss_is_bound: false, ..found }, None, None, Form::Call);
    assert_eq!(find(&sure, Metric::EchoLoss, "").unwrap().validity, Validity::Ok);
}

#[test]
fn without_a_number_of_the_echo_only_what_is_sure_counts() {
    let dead = Findings {
        delay_seconds: None,
        return_loss: None,
        return_loss_wideband: None,
        distortion: None,
        clock_skew: None,
        noise_floor: Some(-96.0),
        microphone: State::Dead,
        loudspeaker: State::Unsure,
        reason: Some(Reason::Dead),
        ..findings()
    };
    let run = active(&dead, &devices());
    assert_eq!(run.inconclusive, Some(Reason::Dead));
    assert_eq!(value(&run, Metric::MicrophoneWorking, ""), Some(0.0));
    assert_eq!(value(&run, Metric::LoudspeakerWorking, ""), None);
    assert_eq!(value(&run, Metric::SoundMuted, MICROPHONE), Some(0.0));
    // The floor of a dead microphone is not that of the room.
    assert_eq!(value(&run, Metric::EchoNoiseFloorRise, ""), None);
    assert_eq!((run.acceptable, run.absent.len()), (None, 0));

    let slipped = active(&Findings { reason: Some(Reason::Slip), ..findings() }, &devices());
    assert_eq!(slipped.inconclusive, Some(Reason::Slip));
    for metric in [Metric::EchoReturnLoss, Metric::EchoNoiseFloor, Metric::EchoReturnLossChange] {
        assert_eq!(value(&slipped, metric, ""), None, "{metric}");
    }
    assert_eq!(value(&slipped, Metric::MicrophoneWorking, ""), Some(1.0));
    assert!(slipped.acceptable.is_none());
}

#[test]
fn what_is_muted_is_said_and_neither_dead_nor_acceptable() {
    let mut muted = devices();
    muted.microphone.muted = true;
    let found = Findings {
        return_loss: None,
        delay_seconds: None,
        microphone: State::Unsure,
        loudspeaker: State::Unsure,
        reason: Some(Reason::Muted),
        ..findings()
    };
    let run = active(&found, &muted);
    assert_eq!(value(&run, Metric::SoundMuted, MICROPHONE), Some(1.0));
    assert_eq!(value(&run, Metric::SoundMuted, LOUDSPEAKER), Some(0.0));
    assert_eq!(value(&run, Metric::MicrophoneWorking, ""), None);
    assert_eq!(value(&run, Metric::EchoNoiseFloorRise, ""), None);
    assert_eq!(gain(&run), [None, None]);
    assert!(run.acceptable.is_none());
    assert!(active(&findings(), &muted).acceptable.is_none(), "whatever was heard");
    let dead = Findings { loudspeaker: State::Dead, ..findings() };
    assert!(active(&dead, &devices()).acceptable.is_none());
}

#[test]
fn another_device_is_named_and_nothing_is_compared_with_the_old_one() {
    let mut other = devices();
    other.microphone.name = "webcam".to_owned();
    let run = active(&findings(), &other);
    assert_eq!(value(&run, Metric::SoundDeviceChanged, MICROPHONE), Some(1.0));
    assert_eq!(value(&run, Metric::SoundDeviceChanged, LOUDSPEAKER), Some(0.0));
    for metric in [Metric::EchoReturnLossChange, Metric::EchoDelayChange, Metric::EchoNoiseFloorRise] {
        assert_eq!(value(&run, metric, ""), None, "{metric}");
    }
    assert_eq!(gain(&run), [None, None]);
    // Nor is anything compared with a state of another form.
    let quiet = filled(&findings(), Some(&devices()), Some(&accepted()), Form::Quiet);
    assert_eq!(value(&quiet, Metric::EchoReturnLossChange, ""), None);
    assert_eq!(find(&quiet, Metric::SoundDeviceChanged, LOUDSPEAKER), None);
}

#[test]
fn a_volume_that_was_turned_is_a_gain_and_no_change_of_the_room() {
    let mut turned = devices();
    turned.loudspeaker.volume_decibels = Some(-18.0);
    let run = active(&Findings { return_loss: Some(20.3), ..findings() }, &turned);
    assert_eq!(value(&run, Metric::EchoReturnLossChange, ""), Some(0.3));
    assert_eq!(gain(&run), [Some(-8.0), Some(0.0)]);

    let mut turned = devices();
    turned.microphone.volume_decibels = Some(6.0);
    let run = active(&Findings { return_loss: Some(6.0), noise_floor: Some(-56.0), ..findings() }, &turned);
    assert_eq!(value(&run, Metric::EchoNoiseFloorRise, ""), Some(0.0));
    assert_eq!(gain(&run), [Some(0.0), Some(6.0)]);
    // What the server tells is sure even if no echo was found.
    let run = active(&Findings { return_loss: None, reason: Some(Reason::Noise), ..findings() }, &turned);
    assert_eq!(gain(&run), [None, Some(6.0)]);
}

#[test]
fn a_gain_that_no_server_tells_is_the_microphones_only_if_the_noise_moved_as_well() {
    let run =
        |loss, floor| active(&Findings { return_loss: Some(loss), noise_floor: Some(floor), ..findings() }, &devices());
    assert_eq!(gain(&run(5.0, -55.0)), [Some(0.0), Some(7.0)]);
    assert_eq!(gain(&run(20.0, -70.5)), [Some(0.0), Some(-8.25)]);
    // The loss moved alone, or not by the same, or by too little: nobody knows why.
    assert_eq!(gain(&run(5.0, -62.0)), [None, None]);
    assert_eq!(gain(&run(5.0, -58.0)), [None, None]);
    assert_eq!(gain(&run(9.5, -59.5)), [None, None]);
    // The noise moved alone: that is the room's.
    assert_eq!(gain(&run(12.0, -55.0)), [Some(0.0), Some(0.0)]);
    // A server that tells no volume leaves all of it open but what is heard.
    let mut silent = devices();
    silent.loudspeaker.volume_decibels = None;
    silent.microphone.volume_decibels = None;
    let found = |loss, floor| Findings { return_loss: Some(loss), noise_floor: Some(floor), ..findings() };
    assert_eq!(gain(&active(&found(12.0, -62.0), &silent)), [None, None]);
    assert_eq!(gain(&active(&found(5.0, -55.0), &silent)), [None, Some(7.0)]);
}

#[test]
fn a_call_says_nothing_of_devices() {
    let found = Findings {
        samples: 12,
        delay_seconds: Some(0.32),
        echo_loss: Some(24.0),
        impairment: Some(60.0),
        loudspeaker: State::Working,
        ..Findings::default()
    };
    let run = filled(&found, Some(&devices()), Some(&accepted()), Form::Call);
    let metrics: Vec<_> = run.readings.iter().map(|reading| reading.metric).collect();
    assert_eq!(metrics, [Metric::EchoDelay, Metric::EchoLoss, Metric::EchoImpairment, Metric::EchoLeastLoss]);
    assert_eq!(find(&run, Metric::EchoLeastLoss, "").unwrap().validity, Validity::LowConfidence);
    let parted = Findings { least_loss: Some(18.0), impairment: Some(-0.9), ..found };
    let run = filled(&parted, None, None, Form::Call);
    assert_eq!(find(&run, Metric::EchoLeastLoss, "").unwrap().validity, Validity::Ok);
    assert_eq!(value(&run, Metric::EchoImpairment, ""), Some(0.0));
    assert!(run.acceptable.is_none());
}
