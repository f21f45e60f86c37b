//! What can be tested without a sound card. With cards that the kernel makes up: `tests/alsa.py`.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::{super::Maker, *};

fn config(device: &str) -> Config {
    Config { loudspeaker: device.to_owned(), microphone: device.to_owned(), ..Config::default() }
}

async fn take(device: &str) -> Result<(Course, Buffer), Failure> {
    let mut sound = |_: &[i16]| -> Sound { Box::new(|_, piece: &mut [i16]| piece.fill(1)) };
    let sound: &mut Maker<'_> = &mut sound;
    let plan = Plan { silence: 0, length: 480, sound: Some(sound), microphone: &|| {}, progress: &|_, _| {} };
    let buffer = Buffer::new(Plan::room_for(0, 480, true), 0).unwrap();
    Session::open(&config(device)).await.unwrap().take(plan, buffer).await
}

#[tokio::test]
async fn a_device_that_is_not_there_is_named() {
    let failure = take("hw:30,0").await.unwrap_err();
    assert_eq!(failure.reason, Reason::NoDevice, "{}", failure.detail);
    assert!(failure.detail.contains("no device for the microphone hw:30,0"), "{}", failure.detail);
}

#[tokio::test]
async fn a_name_with_a_zero_byte_is_no_device() {
    let failure = take("hw\0:0").await.unwrap_err();
    assert_eq!(failure.reason, Reason::NoDevice);
    assert!(failure.detail.contains("zero byte"), "{}", failure.detail);
}

#[tokio::test]
async fn a_pattern_that_nothing_fits_is_no_device() {
    let failure = Session::open(&config("*nothing like it*")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::NoDevice);
}

#[tokio::test]
async fn a_silent_run_without_reference_opens_nothing() {
    let config = Config { form: Form::Silent, ..config("null") };
    let failure = Session::open(&config).await.unwrap_err();
    assert_eq!(failure.reason, Reason::NoDevice);
    assert!(failure.detail.contains("`reference`"), "{}", failure.detail);
}

/// ALSA's own device `null` takes all at once and gives zeros at once: no clock could be told from it.
#[tokio::test]
async fn a_device_without_a_clock_gives_no_number() {
    let failure = take("null").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Stalled, "{}", failure.detail);
}

#[test]
fn a_device_that_stands_still_is_told_after_a_while() {
    let opened = open::open(Role::Microphone, "null", Direction::Capture).unwrap();
    let mut stream = Stream::new(opened);
    // Before its start it owes nothing.
    assert_eq!(stream.check_moves(Duration::ZERO), Ok(()));
    stream.start().unwrap();
    assert_eq!(stream.check_moves(Duration::from_secs(3600)), Ok(()));
    std::thread::sleep(Duration::from_millis(1));
    let failure = stream.check_moves(Duration::ZERO).unwrap_err();
    assert_eq!(failure.reason, Reason::Stalled, "{}", failure.detail);
    assert!(failure.detail.starts_with("the microphone null gave no sound"), "{}", failure.detail);
}
