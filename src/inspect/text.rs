//! A result as people read it: a table, and below it what else there is to say.

use std::{
    collections::BTreeSet,
    fmt::{Arguments, Write},
};

use bellwether_agent::{
    judge::{Level, Stage},
    rule::Rule,
    site::Language,
};
use bellwether_probes::{
    ComponentVersion, Failure, Label, Metric, ProbeConfig, ProbeRun, Reading, Reason, Unit, Validity, media::FarEnd,
};

use super::{level, stage, words};
use crate::{config::Config, table};

/// The table and the remarks. What has no limit comes first and the worst last, as that is what is still
/// on a terminal when all is printed.
pub(crate) fn as_table(config: &Config, runs: &[ProbeRun]) -> String {
    let language = config.site.locale.language;
    let mut head = ["PROBE", "METRIC", "VALUE", "LIMIT", "VERDICT"].map(str::to_owned).to_vec();
    if language == Language::Chinese {
        head.push("含义".to_owned());
    }
    let (mut plain, mut judged) = (Vec::new(), Vec::new());
    for run in runs {
        for reading in &run.readings {
            let row = row(config, run, reading);
            match config.rules.for_series(reading.metric, &run.probe, &reading.labels) {
                Some(_) => judged.push((level(&config.rules, run, reading).unwrap_or_default(), row)),
                None => plain.push(row),
            }
        }
        let version = |known: &ComponentVersion| {
            vec![run.probe.clone(), format!("version {}", known.component), known.version.clone()]
        };
        plain.extend(run.versions.iter().map(version));
    }
    judged.sort_by_key(|(level, _)| *level);
    let mut rows = vec![head];
    rows.append(&mut plain);
    if rows.len() > 1 && !judged.is_empty() {
        rows.push(Vec::new());
    }
    rows.extend(judged.into_iter().map(|(_, row)| row));
    let mut text = table::lay_out(&rows);
    if runs.iter().flat_map(|run| &run.readings).any(|reading| reading.labels.get(Label::Stat).is_some()) {
        text.push_str(&format!("{}\n", words::statistics(language)));
    }
    text + &remarks(config, runs)
}

fn row(config: &Config, run: &ProbeRun, reading: &Reading) -> Vec<String> {
    let unit = reading.unit;
    let labels = reading.labels.values();
    let name: Vec<&str> = std::iter::once(reading.metric.name()).chain(labels).collect();
    let rule = config.rules.for_series(reading.metric, &run.probe, &reading.labels);
    // What is true of the whole run is said once, below the table.
    let doubt = reading.reason.filter(|reason| run.inconclusive != Some(*reason));
    let doubt = doubt.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let level = level(&config.rules, run, reading);
    let verdict = match (reading.validity, level) {
        (Validity::Inconclusive, _) => format!("inconclusive{doubt}"),
        // Judged all the same, as the daemon does.
        (_, Some(level)) => format!("{}{doubt}", level.name()),
        (_, None) => doubt.trim_start().to_owned(),
    };
    let limit = rule.map(|rule| limit(rule, level, unit)).unwrap_or_default();
    // The echo was below what could be heard of it: its loss is only known to be no less.
    let bound = matches!(reading.metric, Metric::EchoLoss | Metric::EchoLeastLoss | Metric::EchoInitialLoss)
        && reading.validity == Validity::LowConfidence
        && reading.low == Some(reading.value);
    let value = format!("{}{}", if bound { "≥ " } else { "" }, unit.show(reading.value));
    let mut row = vec![run.probe.clone(), name.join(" "), value, limit, verdict];
    if config.site.locale.language == Language::Chinese {
        row.push(reading.metric.spec().title_zh.to_owned());
    }
    row
}

/// The limit, the critical one of what is beyond it, and on which side of it values are good.
fn limit(rule: &Rule, level: Option<Level>, unit: Unit) -> String {
    let critical = rule.critical.filter(|_| level == Some(Level::Critical));
    let Some(limit) = critical.or(rule.limit).or(rule.critical) else { return String::new() };
    let (low, high) = (limit.enter.low, limit.enter.high);
    match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("{} … {}", unit.show(low), unit.show(high)),
        (true, false) => format!("at least {}", unit.show(low)),
        (false, true) => format!("at most {}", unit.show(high)),
        (false, false) => String::new(),
    }
}

/// What the runs say beside their readings, and what their words mean.
fn remarks(config: &Config, runs: &[ProbeRun]) -> String {
    let language = config.site.locale.language;
    let mut text = String::new();
    // Writing into a String cannot fail.
    let mut line = |line: Arguments<'_>| _ = writeln!(text, "{line}");
    for run in runs {
        let probe = &run.probe;
        for path in &run.paths {
            let profile = path.profile.as_deref().map(|profile| format!(" {profile}")).unwrap_or_default();
            let (stream, codec, class) = (path.stream.name(), &path.codec, path.class);
            line(format_args!(
                "{probe}: {stream}: {codec}{profile}, {}: {}",
                class.name(),
                words::class(class, language)
            ));
        }
        for failure in &run.absent {
            line(format_args!("{probe}: {}: {}", failure.reason, failure.detail));
        }
        // A failure names its phase, and a busy box is named as such.
        let stage = stage(&config.rules, run).filter(|stage| *stage != Stage::HostLimited && run.failure.is_none());
        if let Some(stage) = stage {
            line(format_args!("{probe}: stage at fault: {}: {}", stage.name(), words::stage(stage, language)));
        }
        if let Some(Failure { reason, detail }) = &run.failure {
            line(format_args!("{probe}: {reason}: {}: {detail}", words::reason(*reason, language)));
        }
        if let Some(reason) = run.inconclusive {
            line(format_args!("{probe}: {reason}: {}", words::reason(reason, language)));
        }
        let detail = run.failure.as_ref().map_or("", |failure| &failure.detail);
        for advice in of_run(run).filter_map(|reason| words::advice(reason, detail, language)) {
            line(format_args!("  → {advice}"));
        }
    }
    let said: BTreeSet<_> = runs.iter().flat_map(of_run).collect();
    let doubts: BTreeSet<_> = runs.iter().flat_map(|run| &run.readings).filter_map(|reading| reading.reason).collect();
    for reason in doubts.difference(&said) {
        line(format_args!("({reason}): {}", words::reason(*reason, language)));
    }
    text
}

/// Why a run failed, or must not be judged.
fn of_run(run: &ProbeRun) -> impl Iterator<Item = Reason> {
    run.failure.iter().map(|failure| failure.reason).chain(run.inconclusive)
}

/// A line for each call that went no farther than this box.
pub(super) fn self_tests(config: &Config, runs: &[ProbeRun]) -> String {
    let to_itself = |run: &&ProbeRun| {
        let entry = config.probes.get(&run.probe).map(|entry| &entry.config);
        matches!(entry, Some(ProbeConfig::Media(media)) if media.far_end == FarEnd::Reflector)
    };
    let line = |run: &ProbeRun| format!("{}: {}\n", run.probe, words::self_test(config.site.locale.language));
    runs.iter().filter(to_itself).map(line).collect()
}

/// A line for each probe that did not run, because it is heard and was not asked for by its name.
pub(super) fn left_out(config: &Config, names: &[String]) -> String {
    let line = |name: &String| format!("{name}: {}\n", words::left_out(name, config.site.locale.language));
    names.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use bellwether_probes::{Class, MediaPath, media::capture::Stream};
    use chrono::DateTime;

    use super::*;
    use crate::config::Source;

    fn config(text: &str) -> Config {
        let source = Source { name: "test.toml".into(), text: text.to_owned() };
        Config::parse(&[source], DateTime::UNIX_EPOCH).expect("a good config")
    }

    fn reading(metric: Metric, value: f64) -> Reading {
        Reading::new(DateTime::UNIX_EPOCH, metric, value, 100)
    }

    fn run(readings: &[Reading]) -> ProbeRun {
        let mut run = ProbeRun::new("call", DateTime::UNIX_EPOCH);
        run.readings = readings.to_vec();
        run
    }

    const ENGLISH: &str = "[site]\nlanguage = \"en\"\n";

    #[test]
    fn what_has_a_limit_comes_last_and_the_worst_at_the_end() {
        let run = run(&[
            reading(Metric::MediaLoss, 0.02).with(Label::Stream, "video"),
            reading(Metric::MediaConnect, 0.05),
            reading(Metric::MediaFirstSound, 0.4),
            reading(Metric::MediaFrameRatio, 1.0),
            reading(Metric::MediaFirstFrame, 9.0),
            reading(Metric::MediaSkew, 0.01),
            reading(Metric::MediaRoundTrip, 0.01).with(Label::Stat, "p50"),
        ]);
        let expected = "\
PROBE  METRIC                VALUE   LIMIT            VERDICT
call   media_first_sound     400 ms
call   media_round_trip p50  10 ms

call   media_connect         50 ms   at most 2 s      pass
call   media_frame_ratio     100 %   at least 90 %    pass
call   media_skew            10 ms   -125 ms … 45 ms  pass
call   media_loss video      2 %     at most 1 %      degraded
call   media_first_frame     9 s     at most 8 s      critical
p50, p95, p99: so many percent of all that was measured are at or below this
call: stage at fault: unknown: no reading tells which
";
        assert_eq!(as_table(&config(ENGLISH), &[run]), expected);
    }

    #[test]
    fn a_reader_of_chinese_is_told_what_each_metric_means() {
        let run = run(&[reading(Metric::MediaConnect, 0.05)]);
        let expected = "\
PROBE  METRIC         VALUE  LIMIT        VERDICT  含义
call   media_connect  50 ms  at most 2 s  pass     通话接通时间
";
        assert_eq!(as_table(&config(""), &[run]), expected);
    }

    #[test]
    fn what_failed_or_is_in_doubt_is_explained_once_with_what_to_do() {
        let mut failed = run(&[reading(Metric::MediaSuccess, 0.0)]);
        failed.failure = Some(Failure::new(Reason::Connect, "POST http://a.example: refused"));
        let text = as_table(&config(ENGLISH), &[failed]);
        let told = "\ncall: connect: nobody answers at that address: POST http://a.example: refused\n  → check address";
        assert!(text.contains(told) && !text.contains("stage at fault"), "{text}");
        for (status, advice) in
            [("403 Forbidden", "token_file"), ("404 Not Found", "path"), ("502", "log"), ("", "kind")]
        {
            let mut refused = run(&[]);
            refused.failure = Some(Failure::new(Reason::Signalling, format!("POST: found status {status}")));
            let text = as_table(&config(ENGLISH), &[refused]);
            assert!(text.lines().any(|line| line.starts_with("  → ") && line.contains(advice)), "{text}");
        }

        let mut busy = run(&[reading(Metric::MediaConnect, 9.0), reading(Metric::MediaFirstSound, 0.4)]);
        busy.readings = busy.readings.into_iter().map(|one| one.inconclusive(Reason::HostLimited)).collect();
        let doubt = busy.clone();
        busy.inconclusive = Some(Reason::HostLimited);
        let text = as_table(&config(ENGLISH), &[busy]);
        assert_eq!(text.matches("too busy").count(), 1, "{text}");
        assert!(text.contains("  → repeat it when") && !text.contains("(host_limited)"), "{text}");
        let text = as_table(&config(ENGLISH), &[doubt]);
        assert!(text.ends_with("(host_limited): this box was too busy to measure exactly\n"), "{text}");
    }

    #[test]
    fn a_loss_that_is_only_a_bound_and_a_probe_that_was_left_out_are_shown_as_such() {
        let mut bound = reading(Metric::EchoLoss, 44.0).between(44.0, 120.0);
        (bound.validity, bound.reason) = (Validity::LowConfidence, Some(Reason::Noise));
        let text = as_table(&config(ENGLISH), &[run(&[bound])]);
        assert!(text.contains("call   echo_loss  ≥ 44 dB  at least 46 dB  pass (noise)"), "{text}");
        let told = left_out(&config(ENGLISH), &["echo".to_owned()]);
        assert_eq!(told, "echo: not run: it is heard in the room; `bellwether inspect echo` runs it\n");
        assert_eq!(left_out(&config(""), &["echo".to_owned()]).lines().count(), 1);
    }

    #[test]
    fn what_the_far_end_does_and_what_is_absent_is_named() {
        let mut run = run(&[]);
        run.paths = vec![MediaPath {
            stream: Stream::Video,
            class: Class::Transcode,
            codec: "H264".to_owned(),
            profile: Some("42c01f".to_owned()),
        }];
        run.absent = vec![Failure::new(Reason::Transcode, "video packets: none came back")];
        let text = as_table(&config(ENGLISH), &[run.clone()]);
        assert!(text.contains("\ncall: video: H264 42c01f, transcode: was coded anew by the far end\n"), "{text}");
        assert!(text.contains("\ncall: transcode: video packets: none came back\n"), "{text}");
        assert!(self_tests(&config(ENGLISH), &[run.clone()]).starts_with("call: to the embedded far end: a self-test"));
        let far = "[probe.call]\nfar_end = { kind = \"reflect\", url = \"http://a.example/reflect\" }\n";
        assert_eq!(self_tests(&config(far), &[run]), "");
    }
}
