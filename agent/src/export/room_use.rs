//! What the page says of the room's use beside its timetable.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::family::Families;

/// What was seen is shown for this long: longer than between two full calls in free time.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// What a look at the room's use has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomUse {
    /// When it looked.
    pub at: DateTime<Utc>,
    /// By what was looked at, such as `sound`: whether it is in use, or why that was not to be seen.
    pub components: BTreeMap<&'static str, Result<bool, &'static str>>,
}

pub(super) fn write(families: &mut Families, seen: Option<&RoomUse>, now: DateTime<Utc>) {
    let Some(seen) = seen.filter(|seen| (now - seen.at).abs() <= FRESH) else { return };
    for (component, found) in &seen.components {
        let label = ("component", *component);
        match found {
            Ok(occupied) => {
                let help = "Whether the room was in use when last looked at, just before a heavy probe.";
                families.gauge("bellwether_occupied", help, &[label], f64::from(u8::from(*occupied)));
            }
            Err(reason) => {
                let help = "What of the room's use was not to be seen; it holds nothing back.";
                families.gauge("bellwether_occupied_unseen", help, &[label, ("reason", reason)], 1.0);
            }
        }
    }
    let seconds = seen.at.timestamp_millis() as f64 / 1e3;
    let name = "bellwether_occupied_last_look_timestamp_seconds";
    families.gauge(name, "When the room's use was last looked at.", &[], seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seen: Option<&RoomUse>, now: DateTime<Utc>) -> Vec<String> {
        let mut families = Families::default();
        write(&mut families, seen, now);
        families.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn what_was_seen_is_shown_while_it_is_new_and_what_was_not_is_no_zero() {
        let at = DateTime::from_timestamp(1_795_000_000, 0).expect("an instant written here");
        let components = [("process", Ok(false)), ("sound", Err("not_permitted")), ("unit", Ok(true))].into();
        let seen = RoomUse { at, components };
        let expected = [
            "bellwether_occupied{component=\"process\"} 0",
            "bellwether_occupied{component=\"unit\"} 1",
            "bellwether_occupied_unseen{component=\"sound\",reason=\"not_permitted\"} 1",
            "bellwether_occupied_last_look_timestamp_seconds 1795000000",
        ];
        for now in [at, at + FRESH, at - FRESH] {
            assert_eq!(page(Some(&seen), now), expected);
        }
        let none = Vec::<String>::new();
        assert_eq!(page(Some(&seen), at + FRESH + TimeDelta::seconds(1)), none);
        assert_eq!(page(None, at), none);
    }
}
