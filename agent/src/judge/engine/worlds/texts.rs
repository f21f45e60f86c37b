//! Every text of a booking can be taken apart: what, before, now, since, evidence, changed before, what it
//! is not, what would end it. The worlds do so with each text that they see.

use super::*;

/// A text, taken apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub(super) about: String,
    /// Name, before, now.
    pub(super) what: Vec<(String, f64, Option<f64>)>,
    pub(super) since: String,
    pub(super) evidence: String,
    pub(super) changed_before: String,
    /// Causes that were tested, and why they are not it.
    pub(super) not: Vec<(String, String)>,
    pub(super) not_examined: Vec<String>,
    pub(super) not_ruled_out: Option<String>,
    pub(super) ends: String,
}

/// What a sentence after the first one begins with.
const BEGINNINGS: [&str; 9] = [
    "Changed before: ",
    "Not the ",
    "Not examined: ",
    "Peers: none; not examined: ",
    "Version not ruled out: ",
    "Hold the rollout",
    "Clears ",
    "Before the next lesson",
    "A ",
];

/// Where one sentence ends: a full stop before something that begins a sentence, so that neither a
/// decimal point nor that of a version is one.
fn sentences(text: &str) -> Vec<&str> {
    let begins = |rest: &str| {
        BEGINNINGS.iter().any(|known| rest.starts_with(known))
            || rest.starts_with("Evidence")
            || rest.split_once(" of the last ").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    let mut found = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(". ") {
        if begins(&text[at + 2..]) {
            found.push(&text[from..at]);
            from = at + 2;
        }
    }
    found.push(text[from..].strip_suffix('.').unwrap_or(&text[from..]));
    found
}

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let mut parts = Parts::default();
    let mut sentences = sentences(text).into_iter();
    let first = sentences.next().ok_or("empty")?;
    let (about, rest) = first.split_once(": ").ok_or("nothing that it is about")?;
    let (kind, id) = about.split_once(' ').ok_or("no name")?;
    if !["Room", "Building", "Service", "Version"].contains(&kind) || id.is_empty() {
        return Err(format!("about {about:?}"));
    }
    parts.about = about.to_owned();
    let (what, since) = rest.rsplit_once(" since ").ok_or("since when?")?;
    for size in what.split(" and ") {
        let (name, size) = size.split_once(' ').ok_or("no metric")?;
        let (before, now) = size.split_once(" -> ").ok_or_else(|| format!("no before and now in {size:?}"))?;
        let now = now.split(' ').next().unwrap_or_default();
        let before = before.parse().map_err(|_| format!("before: {before:?}"))?;
        let now = if now == "none" { None } else { Some(now.parse().map_err(|_| format!("now: {now:?}"))?) };
        parts.what.push((name.to_owned(), before, now));
    }
    // Tue 14 Oct 09:30
    let [_, day, _, time] = since.split(' ').collect::<Vec<&str>>()[..] else { return Err(format!("since {since:?}")) };
    let hours = time.split_once(':').and_then(|(hours, minutes)| Some((hours.parse().ok()?, minutes.parse().ok()?)));
    if day.parse::<u32>().is_err() || hours.is_none_or(|(hours, minutes): (u32, u32)| hours > 23 || minutes > 59) {
        return Err(format!("since {since:?}"));
    }
    parts.since = since.to_owned();
    for sentence in sentences {
        let cut = |beginning: &str| sentence.strip_prefix(beginning);
        if sentence.contains(" of the last ") || sentence.starts_with("Evidence") {
            parts.evidence = sentence.to_owned();
        } else if let Some(changed) = cut("Changed before: ") {
            parts.changed_before = changed.to_owned();
        } else if let Some(not) = cut("Not the ") {
            let (cause, because) = not.split_once(": ").ok_or("not, but why?")?;
            if !["room", "building", "service", "version", "load"].contains(&cause) || because.is_empty() {
                return Err(format!("not {cause:?}"));
            }
            parts.not.push((cause.to_owned(), because.to_owned()));
        } else if let Some(not) = cut("Not examined: ").or(cut("Peers: none; not examined: ")) {
            parts.not_examined.extend(not.split(", ").map(str::to_owned));
        } else if let Some(versions) = cut("Version not ruled out: ") {
            parts.not_ruled_out = Some(versions.to_owned());
        } else if let Some(ends) = cut("Clears ") {
            parts.ends = ends.to_owned();
        } else if !["Hold the rollout", "Before the next lesson"].contains(&sentence)
            && !sentence.starts_with("A larger size is advised")
            && !sentence.starts_with("A smaller size is advised")
        {
            return Err(format!("unknown: {sentence:?}"));
        }
    }
    for (part, is_there) in [
        ("evidence", !parts.evidence.is_empty()),
        ("what changed before", !parts.changed_before.is_empty()),
        ("what it is not", !parts.not.is_empty() || !parts.not_examined.is_empty()),
        ("what ends it", !parts.ends.is_empty()),
    ] {
        if !is_there {
            return Err(format!("without {part}"));
        }
    }
    Ok(parts)
}

/// Takes the text of an action apart, and compares it with the action.
pub(super) fn check(action: &Action) {
    let Some(text) = &action.text else {
        assert_eq!(action.verb, Verb::Check, "{action:?}");
        return;
    };
    let parts = parse(text);
    assert!(parts.is_ok(), "{parts:?}: {text}");
    let parts = parts.expect("all parts");
    assert!(parts.about.ends_with(&action.scope.1), "{text}");
    assert_eq!(parts.not.len(), action.ruled_out.len(), "{text}");
    for (size, (name, before, now)) in action.evidence.iter().zip(&parts.what) {
        assert_eq!((&size.metric, size.before.to_bits(), Some(size.now)), (name, before.to_bits(), *now), "{text}");
    }
    let cause = action.cause.expect("a cause").name();
    let denied = parts.not.iter().any(|(not, _)| not == cause) && action.severity != Some(Severity::Low);
    assert!(!denied, "its own cause is ruled out: {text}");
    assert!(!parts.not_examined.iter().any(|not| not == cause), "{text}");
}

#[test]
fn a_text_without_a_part_is_no_text() {
    let whole = "Room r012: jitter_ms 6.2 -> 13.1 (x2.1, 1.8 times material) and loss_pct 0 -> 2.4 (2.4 times material) \
                 since Tue 14 Oct 09:30. 23 of the last 26 half-hours; evidence 4.3 of 4 material-hours. \
                 Changed before: app 2.4.0 216 h before. Not the load: at 900-1050 users it had jitter_ms 6.1 over 28 \
                 days. Not the version: 38 other rooms on app 2.4.0 at +2 %. Clears when jitter_ms stays under 7.6 \
                 for 18 h. Before the next lesson.";
    let parts = parse(whole).expect("all parts");
    assert_eq!((parts.about.as_str(), parts.since.as_str()), ("Room r012", "Tue 14 Oct 09:30"));
    assert_eq!(parts.what[1], ("loss_pct".to_owned(), 0.0, Some(2.4)));
    assert_eq!(parts.not[1].1, "38 other rooms on app 2.4.0 at +2 %");
    let without = [
        (" since Tue 14 Oct 09:30", ""),
        (" -> 13.1", ""),
        ("6.2 ->", "->"),
        (" 23 of the last 26 half-hours; evidence 4.3 of 4 material-hours.", ""),
        (" Changed before: app 2.4.0 216 h before.", ""),
        (" Clears when jitter_ms stays under 7.6 for 18 h.", ""),
        ("Room r012: ", ""),
        ("09:30", "24:30"),
        ("Not the load", "Not the weather"),
        ("Before the next lesson", "Before the next. A lesson"),
    ];
    for (part, instead) in without {
        let torn = whole.replacen(part, instead, 1);
        assert!(torn != whole && parse(&torn).is_err(), "{torn}");
    }
    let not = whole.find(" Not the load").expect("there")..whole.find(" Clears").expect("there");
    let mut denied = whole.to_owned();
    denied.replace_range(not, "");
    assert_eq!(parse(&denied), Err("without what it is not".to_owned()));
}

/// What is booked without a model, or at once.
#[test]
fn texts_of_failures_and_limits() {
    const SPAN: Range<i64> = 2 * DAY + 8 * HOUR..2 * DAY + 14 * HOUR;
    let campus = || World { probes: true, step: 300, ..World::new(9, 3, &["loss_pct", "rtt_ms"], 4) };
    let opened = |world: World| -> (String, Parts) {
        let (_, actions) = world.play();
        let text = actions[0].text.clone().expect("a text");
        (told(&actions[..1]).remove(0), parse(&text).expect("checked before"))
    };
    let dead = ["loss_pct", "rtt_ms", "probe_ok"]
        .into_iter()
        .fold(campus(), |world, metric| world.with(2..3, metric, SPAN, How::Silent));
    let (line, parts) = opened(dead);
    assert_eq!(line, "2 09:00 open b0001 r02 probe_ok room");
    assert_eq!(parts.what, [("probe_ok".to_owned(), 1.0, None)]);
    assert_eq!(parts.evidence, "Evidence: nothing heard for 65 min");
    assert_eq!(parts.not[1], ("service".to_owned(), "8 of 8 other rooms on sfu answer".to_owned()));

    let (line, parts) = opened(campus().with(2..3, "probe_ok", SPAN, How::Is(-9.0)));
    assert_eq!(line, "2 08:10 open b0001 r02 probe_ok room");
    assert_eq!(parts.what, [("probe_ok".to_owned(), 1.0, Some(0.0))]);
    assert_eq!(parts.evidence, "Evidence: 1 of 1 rooms fail, 3 times in a row");

    let (line, parts) = opened(campus().with(3..9, "probe_ok", SPAN, How::Is(-9.0)));
    assert_eq!(line, "2 08:05 open b0001 sfu probe_ok service");
    assert_eq!(parts.evidence, "Evidence: 6 of 9 rooms fail, 2 times in a row");
    assert_eq!(parts.not, [("version".to_owned(), "none changed for 48 h before".to_owned())]);

    let mut limited = campus().with(4..5, "rtt_ms", SPAN, How::Times(20.0));
    limited.settings.metrics[1].limit = Some(200.0);
    let (line, parts) = opened(limited);
    assert_eq!(line, "2 12:30 open b0001 r04 rtt_ms room");
    assert_eq!((parts.what[0].1, parts.what[0].2.is_some_and(|now| now > 400.0)), (200.0, true));
    assert!(parts.evidence.ends_with("; evidence 9.0 of 9 half-hours beyond the limit"), "{}", parts.evidence);

    let mut critical = campus().with(4..5, "loss_pct", SPAN, How::Plus(30.0));
    critical.settings.metrics[0].critical_limit = Some(20.0);
    let (line, parts) = opened(critical);
    assert_eq!(line, "2 08:10 open b0001 r04 loss_pct room");
    assert_eq!((parts.what[0].1, parts.what[0].2.is_some_and(|now| now >= 30.0)), (20.0, true));
    assert!(parts.evidence.ends_with("evidence 3.0 of 3 samples beyond the critical limit"), "{}", parts.evidence);
}
