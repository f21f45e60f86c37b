//! Which of a sound system's devices is meant: pure.

use crate::{Failure, Reason};

/// How many names an error lists.
const SHOWN: usize = 12;
/// The longest a name is shown, in characters.
const LONGEST: usize = 100;

/// A device there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Candidate {
    /// Its name, as the system gives it.
    pub(crate) name: String,
    /// Whether it gives what a loudspeaker plays, instead of what a microphone takes.
    pub(crate) is_monitor: bool,
    /// What the system says of it, as keys and words: PulseAudio's property list.
    pub(crate) properties: Vec<(String, String)>,
    /// What drives it, as the system says.
    pub(crate) driver: String,
}

impl Candidate {
    fn property(&self, key: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What plays.
    Loudspeaker,
    /// What takes the room's sound.
    Microphone,
    /// What gives the loudspeaker's sound.
    Reference,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Loudspeaker => "loudspeaker",
            Self::Microphone => "microphone",
            Self::Reference => "reference",
        }
    }
}

/// The place of the one that is meant by `wanted`: `"default"`, a name, or a pattern with `*`. A monitor is
/// a microphone only if it is named in full.
pub(crate) fn choose(
    role: Role,
    wanted: &str,
    default: Option<&str>,
    candidates: &[Candidate],
) -> Result<usize, Failure> {
    let none = |why: String| Err(Failure::new(Reason::NoDevice, why + &listed(role, candidates)));
    if wanted == "default" {
        let Some(default) = default.filter(|name| !name.is_empty()) else {
            return none(format!("the sound server names no default for the {}", role.name()));
        };
        // PulseAudio's and PipeWire's stand-in when there is no card at all.
        if default == "auto_null" || default == "auto_null.monitor" {
            return none(format!("the sound server has no {}, only a stand-in that plays nothing", role.name()));
        }
        return match candidates.iter().position(|candidate| candidate.name == default) {
            Some(place) if role == Role::Microphone && candidates[place].is_monitor => none(format!(
                "the default for the microphone, {}, is no microphone: it gives what a loudspeaker plays",
                shown(default)
            )),
            Some(place) => Ok(place),
            None => none(format!("the default for the {}, {}, is not there", role.name(), shown(default))),
        };
    }
    if let Some(place) = candidates.iter().position(|candidate| candidate.name == wanted) {
        return Ok(place);
    }
    let fits =
        |candidate: &Candidate| (role != Role::Microphone || !candidate.is_monitor) && matches(wanted, &candidate.name);
    let mut places = (0..candidates.len()).filter(|place| fits(&candidates[*place]));
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => none(format!("several devices fit the {} \"{}\"", role.name(), shown(wanted))),
        (None, _) => none(format!("no device fits the {} \"{}\"", role.name(), shown(wanted))),
    }
}

fn listed(role: Role, candidates: &[Candidate]) -> String {
    let fit = |candidate: &&Candidate| role != Role::Microphone || !candidate.is_monitor;
    let mut names: Vec<String> =
        candidates.iter().filter(fit).take(SHOWN).map(|candidate| shown(&candidate.name)).collect();
    let more = candidates.iter().filter(fit).count() - names.len();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    if names.is_empty() { "; there is none".to_owned() } else { format!("; there is: {}", names.join(", ")) }
}

/// A name from outside, as far as a person reads it.
fn shown(name: &str) -> String {
    name.chars().take(LONGEST).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// Whether `name` fits `pattern`, in which `*` is any text, none included. In time of both lengths' product.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Where the last star stands, and what it was last tried to stand for the text before.
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, place));
            at += 1;
        } else if pattern.get(at) == Some(&name[place]) {
            (at, place) = (at + 1, place + 1);
        } else if let Some((star_at, tried)) = star {
            star = Some((star_at, tried + 1));
            (at, place) = (star_at + 1, tried + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Names by which cancellers and noise suppressors are known that say nothing else of themselves.
const PROCESSES: &[&str] =
    &["echo-cancel", "echo_cancel", "echocancel", "rnnoise", "denoise", "noise_suppress", "easyeffects"];
/// How many devices may stand behind one another.
const DEEPEST: usize = 8;

/// Whether what a device gives, or is given, passes through a canceller or another process. A device that
/// only picks channels of another is what that other is.
pub(crate) fn is_processed(device: &Candidate, all: &[Candidate]) -> bool {
    let mut device = device;
    for _ in 0..DEEPEST {
        let name = device.name.to_ascii_lowercase();
        let known = PROCESSES.iter().any(|process| name.contains(process) || device.driver.contains(process));
        // PipeWire: modules that process name the group their halves form; a loopback, of which its remapped
        // devices are made, only passes on, and does not say what.
        let group = device.property("node.link-group");
        let grouped = group.is_some_and(|group| !group.starts_with("loopback"));
        // PipeWire: somebody else fills it.
        let filled = device.property("media.class").is_some_and(|class| class.contains("/Virtual"));
        if known || grouped || filled {
            return true;
        }
        if group.is_some() {
            return false;
        }
        let master = device.property("device.master_device");
        if master.is_none() && device.property("device.class") != Some("filter") {
            return false;
        }
        // PulseAudio: a filter, unless it is one that only picks channels.
        if !device.driver.contains("module-remap") {
            return true;
        }
        match all.iter().find(|other| Some(other.name.as_str()) == master) {
            Some(other) => device = other,
            None => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn named(name: &str) -> Candidate {
        Candidate { name: name.to_owned(), ..Candidate::default() }
    }

    fn with(name: &str, driver: &str, properties: &[(&str, &str)]) -> Candidate {
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Candidate { driver: driver.to_owned(), properties, ..named(name) }
    }

    fn monitor(name: &str) -> Candidate {
        Candidate { is_monitor: true, ..named(name) }
    }

    fn room() -> Vec<Candidate> {
        vec![monitor("alsa_output.usb.monitor"), named("alsa_input.usb-Jabra-00.mono"), named("alsa_input.pci.stereo")]
    }

    #[test]
    fn a_device_is_found_by_default_name_and_pattern() {
        let choose = |wanted, default| choose(Role::Microphone, wanted, default, &room());
        assert_eq!(choose("default", Some("alsa_input.pci.stereo")), Ok(2));
        assert_eq!(choose("alsa_input.usb-Jabra-00.mono", None), Ok(1));
        assert_eq!(choose("*Jabra*", None), Ok(1));
        assert_eq!(choose("alsa_input.p*o", None), Ok(2));
    }

    #[test]
    fn of_several_none_is_taken_and_all_are_named() {
        let failure = choose(Role::Microphone, "alsa_*", None, &room()).unwrap_err();
        assert_eq!(failure.reason, Reason::NoDevice);
        assert!(failure.detail.contains("several"), "{}", failure.detail);
        assert!(failure.detail.contains("Jabra") && failure.detail.contains("pci.stereo"), "{}", failure.detail);
    }

    #[test]
    fn a_monitor_is_a_microphone_only_by_its_full_name() {
        assert_eq!(choose(Role::Microphone, "alsa_output.usb.monitor", None, &room()), Ok(0));
        let failure = choose(Role::Microphone, "alsa_output*", None, &room()).unwrap_err();
        assert_eq!(failure.reason, Reason::NoDevice);
        let failure = choose(Role::Microphone, "default", Some("alsa_output.usb.monitor"), &room()).unwrap_err();
        assert!(failure.detail.contains("is no microphone"), "{}", failure.detail);
        assert_eq!(choose(Role::Reference, "alsa_output*", None, &room()), Ok(0));
    }

    #[test]
    fn a_server_without_cards_has_no_device() {
        let failure = choose(Role::Loudspeaker, "default", Some("auto_null"), &[named("auto_null")]).unwrap_err();
        assert_eq!(failure.reason, Reason::NoDevice);
        for default in [None, Some(""), Some("gone")] {
            assert_eq!(choose(Role::Loudspeaker, "default", default, &[]).unwrap_err().reason, Reason::NoDevice);
        }
    }

    #[test]
    fn an_error_is_bounded_whatever_the_server_says() {
        let many: Vec<_> = (0..10_000).map(|n| named(&format!("{n}{}", "x\n".repeat(5000)))).collect();
        let failure = choose(Role::Loudspeaker, "*", None, &many).unwrap_err();
        assert!(failure.detail.len() < 2000, "{} bytes", failure.detail.len());
        assert!(failure.detail.ends_with("and 9988 more"), "{}", failure.detail);
        assert!(!failure.detail.contains('\n'));
    }

    #[test]
    fn patterns_match_as_a_person_expects() {
        for (pattern, name) in
            [("*", ""), ("a*", "a"), ("*b*d", "abcd"), ("a*a*a", "aaaaa"), ("abc", "abc"), ("**", "x")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a*", "ba"), ("*b", "ba"), ("a*a", "a"), ("abc", "ab"), ("A*", "ab")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        // Exponential in a naive form.
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }

    #[test]
    fn a_processed_source_is_known_by_what_the_server_says_of_it() {
        let raw = with("air.monitor", "module-null-sink.c", &[("device.class", "monitor")]);
        let remapped = with(
            "mic",
            "module-remap-source.c",
            &[("device.master_device", "air.monitor"), ("device.class", "filter")],
        );
        let cancelled =
            with("clean", "module-echo-cancel.c", &[("device.master_device", "mic"), ("device.class", "filter")]);
        let behind =
            with("left", "module-remap-source.c", &[("device.master_device", "clean"), ("device.class", "filter")]);
        let orphan = with("orphan", "module-remap-source.c", &[("device.master_device", "gone")]);
        let equal = with("equal", "module-ladspa-source.c", &[("device.master_device", "air.monitor")]);
        let all = [raw, remapped, cancelled, behind, orphan, equal];
        let processed: Vec<bool> = all.iter().map(|device| is_processed(device, &all)).collect();
        assert_eq!(processed, [false, false, true, true, true, true]);

        let filled = with("effects", "", &[("media.class", "Audio/Source/Virtual")]);
        let loopback = with("mic", "PipeWire", &[("media.class", "Audio/Source"), ("node.link-group", "loopback-7-1")]);
        let suppressor = with("x", "PipeWire", &[("node.link-group", "filter-chain-7-1")]);
        let remapped = with("mic", "PipeWire", &[("node.link-group", "loopback-31279-12"), ("device.class", "filter")]);
        let card = with("alsa_input.pci", "alsa", &[("device.class", "sound"), ("media.class", "Audio/Source")]);
        let all = [filled, loopback, suppressor, remapped, card];
        let processed: Vec<bool> = all.iter().map(|device| is_processed(device, &all)).collect();
        assert_eq!(processed, [true, false, true, false, false]);
    }

    #[test]
    fn remaps_in_a_circle_end() {
        let ring = with("ring", "module-remap-source.c", &[("device.master_device", "ring")]);
        assert!(is_processed(&ring, std::slice::from_ref(&ring)));
    }
}
