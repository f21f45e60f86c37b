//! Which card a name of ALSA stands for: pure.

/// The card, by number or word, and the device on it, of a name such as `plughw:0,0`, `hw:CARD=PCH,DEV=0` or
/// `plug:'hw:0'`. `None` of names that the site or the library has given a meaning, such as `default`.
pub(super) fn place(name: &str) -> Option<(&str, Option<u32>)> {
    let (_, arguments) = name.rsplit_once("hw:").or_else(|| name.rsplit_once(':'))?;
    let mut words = arguments.trim_end_matches(['\'', '"', '}']).split(',');
    let card = words.next()?.trim_start_matches("CARD=");
    let device = words.next().and_then(|word| word.trim_start_matches("DEV=").parse().ok());
    (!card.is_empty()).then_some((card, device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_and_devices_are_read_from_names() {
        assert_eq!(place("hw:0,3"), Some(("0", Some(3))));
        assert_eq!(place("plughw:1,0,2"), Some(("1", Some(0))));
        assert_eq!(place("hw:CARD=PCH,DEV=0"), Some(("PCH", Some(0))));
        assert_eq!(place("sysdefault:CARD=Jabra"), Some(("Jabra", None)));
        assert_eq!(place("plug:'hw:2,1'"), Some(("2", Some(1))));
        assert_eq!(place("plug:SLAVE='hw:PCH'"), Some(("PCH", None)));
    }

    #[test]
    fn names_of_something_else_are_no_place() {
        for name in ["default", "", "hw:", "room_loudspeaker"] {
            assert_eq!(place(name), None, "{name}");
        }
    }
}
