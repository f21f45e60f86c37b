//! Units of systemd that are active.

use super::{
    Answer,
    child::{self, Trouble},
};

/// Asks once for all of them.
pub(super) async fn look(units: &[String]) -> Answer {
    const PROGRAM: &str = "systemctl";
    let mut arguments = vec!["is-active", "--"];
    arguments.extend(units.iter().map(String::as_str));
    match child::run(PROGRAM, &arguments).await {
        // It ends badly if none of them is active.
        Ok(ended) => read(units, &String::from_utf8_lossy(&ended.stdout)).unwrap_or_else(|| ended.failure(PROGRAM)),
        Err(Trouble::Missing) => Answer::Unavailable(format!("{PROGRAM} is not installed")),
        Err(Trouble::Silent(answer)) => answer,
    }
}

/// Reads the states, one line each; `None` if they are not.
fn read(units: &[String], states: &str) -> Option<Answer> {
    let states: Vec<&str> = states.lines().map(str::trim).collect();
    if states.len() != units.len() {
        return None;
    }
    let active = |state: &str| match state {
        "active" | "reloading" | "refreshing" | "activating" | "deactivating" => Some(true),
        "inactive" | "failed" | "maintenance" | "unknown" => Some(false),
        _ => None,
    };
    let states: Vec<bool> = states.into_iter().map(active).collect::<Option<_>>()?;
    let first = units.iter().zip(states).find_map(|(unit, active)| active.then(|| unit.clone()));
    Some(first.map_or(Answer::Free, Answer::Occupied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_active_unit_is_named_and_other_text_is_no_answer() {
        let units = ["a.service".to_owned(), "b.service".to_owned()];
        for (states, expected) in [
            ("inactive\nactive\n", Some(Answer::Occupied("b.service".to_owned()))),
            ("activating\nactive\n", Some(Answer::Occupied("a.service".to_owned()))),
            ("inactive\nfailed\n", Some(Answer::Free)),
            ("unknown\ninactive\n", Some(Answer::Free)),
            ("", None),
            ("inactive\n", None),
            ("inactive\nsplendid\n", None),
            ("inactive\ninactive\nactive\n", None),
        ] {
            assert_eq!(read(&units, states), expected, "{states:?}");
        }
    }

    #[tokio::test]
    async fn on_this_system_the_answer_is_one_of_those_that_can_be() {
        let answer = look(&["bellwether-no-such-unit.service".to_owned()]).await;
        assert!(!matches!(answer, Answer::Occupied(_)), "{answer:?}");
    }
}
