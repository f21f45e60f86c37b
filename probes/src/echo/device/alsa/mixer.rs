//! What a card's mixer says of a device. It is read, and never changed.

use std::ffi::CString;

use alsa::{
    Ctl, Direction, Mixer,
    mixer::{MilliBel, Selem, SelemChannelId},
};

use super::place::place;
use crate::echo::take::Device;

/// Elements through which all that a card plays goes, one after the other.
const PLAYBACK: &[&str] = &["Master", "PCM"];
/// The same of what it takes.
const CAPTURE: &[&str] = &["Capture"];
/// Elements of cards that have none of these, of which the first counts.
const OTHER_PLAYBACK: &[&str] = &["Speaker", "Headset", "Headphone", "Line Out"];
/// The same of what they take.
const OTHER_CAPTURE: &[&str] = &["Mic", "Headset", "Digital", "ADC"];
/// What stands for no sound at all, in millibels (`SND_CTL_TLV_DB_GAIN_MUTE`).
const SILENCE: i64 = -9_999_999;

/// What is known of a device.
pub(super) fn device(name: &str, direction: Direction) -> Device {
    let place = place(name);
    let control = place.map_or_else(|| name.to_owned(), |(card, _)| format!("hw:{card}"));
    let id = CString::new(control.as_str()).ok().and_then(|control| {
        let info = Ctl::open(&control, true).and_then(|control| control.card_info()).ok()?;
        info.get_id().ok().map(str::to_owned)
    });
    // By the card's word: the numbers of cards change.
    let name = match (id, place) {
        (Some(id), Some((_, Some(number)))) => format!("hw:CARD={id},DEV={number}"),
        (Some(id), _) => format!("hw:CARD={id}"),
        (None, _) => name.to_owned(),
    };
    let (is_muted, volume) = read(&control, direction).unwrap_or_default();
    Device { name, muted: is_muted, volume_decibels: volume, is_processed: false }
}

/// Whether it is muted, and its volume in decibels, of the elements it goes through.
fn read(control: &str, direction: Direction) -> Option<(bool, Option<f64>)> {
    let mut mixer = Mixer::open(true).ok()?;
    mixer.attach(&CString::new(control).ok()?).ok()?;
    Selem::register(&mut mixer).ok()?;
    mixer.load().ok()?;
    let elements: Vec<(String, Selem<'_>)> = mixer
        .iter()
        .filter_map(Selem::new)
        .filter(|element| match direction {
            Direction::Playback => element.can_playback(),
            Direction::Capture => element.can_capture(),
        })
        .filter_map(|element| {
            let id = element.get_id();
            Some((id.get_name().ok()?.to_owned(), element)).filter(|_| id.get_index() == 0)
        })
        .collect();
    let named = |names: &[&str]| -> Vec<&Selem<'_>> {
        names.iter().filter_map(|name| elements.iter().find(|(known, _)| known == name)).map(|(_, e)| e).collect()
    };
    let (chain, others) = match direction {
        Direction::Playback => (named(PLAYBACK), named(OTHER_PLAYBACK)),
        Direction::Capture => (named(CAPTURE), named(OTHER_CAPTURE)),
    };
    let chain = if chain.is_empty() { others.into_iter().take(1).collect() } else { chain };
    Some(state(chain.iter().map(|element| element_state(element, direction))))
}

/// Of elements one after the other: muted if one is; the volumes add up.
fn state(chain: impl Iterator<Item = (bool, Option<f64>)>) -> (bool, Option<f64>) {
    chain.fold((false, None), |(is_muted, volume), (mutes, decibels)| {
        let volume = match (volume, decibels) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        (is_muted || mutes, volume)
    })
}

/// Of one element: muted if all its channels are, by switch or by a volume that is no sound; the volume is
/// that of the loudest channel.
fn element_state(element: &Selem<'_>, direction: Direction) -> (bool, Option<f64>) {
    let (has_switch, has_volume) = match direction {
        Direction::Playback => (element.has_playback_switch(), element.has_playback_volume()),
        Direction::Capture => (element.has_capture_switch(), element.has_capture_volume()),
    };
    let channels = || {
        SelemChannelId::all().iter().copied().filter(|channel| match direction {
            Direction::Playback => element.has_playback_channel(*channel),
            Direction::Capture => element.has_capture_channel(*channel),
        })
    };
    let switch = |channel| match direction {
        Direction::Playback => element.get_playback_switch(channel),
        Direction::Capture => element.get_capture_switch(channel),
    };
    let volume = |channel| match direction {
        Direction::Playback => element.get_playback_vol_db(channel),
        Direction::Capture => element.get_capture_vol_db(channel),
    };
    let switches: Vec<i32> = channels().filter_map(|channel| switch(channel).ok()).collect();
    let is_off = has_switch && !switches.is_empty() && switches.iter().all(|switch| *switch == 0);
    let loudest = channels().filter_map(|channel| volume(channel).ok()).map(|MilliBel(volume)| volume).max();
    let loudest = loudest.filter(|_| has_volume);
    let is_silent = loudest.is_some_and(|volume| volume <= SILENCE);
    (is_off || is_silent, loudest.filter(|_| !is_silent).map(|volume| volume as f64 / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_one_after_the_other_add_up() {
        let chain = |chain: &[(bool, Option<f64>)]| state(chain.iter().copied());
        assert_eq!(chain(&[]), (false, None));
        assert_eq!(chain(&[(false, Some(-6.0)), (false, Some(-4.5))]), (false, Some(-10.5)));
        assert_eq!(chain(&[(false, None), (true, Some(-3.0))]), (true, Some(-3.0)));
        assert_eq!(chain(&[(true, None), (false, None)]), (true, None));
    }

    #[test]
    fn of_a_card_that_is_not_there_nothing_is_known() {
        super::super::silence_library();
        assert_eq!(read("hw:30", Direction::Playback), None);
        let name = "plughw:CARD=Nobody,DEV=0".to_owned();
        let unknown = Device { name: name.clone(), muted: false, volume_decibels: None, is_processed: false };
        assert_eq!(device(&name, Direction::Playback), unknown);
    }
}
