//! bellwether's own metrics as the engine judges them: by the vocabulary, and by the rules of the config.

use bellwether_probes::{self as probes, Family, Metric, Unit};

use super::settings::{MetricSettings, Role, Scale, Worse};
use crate::rule::{Book, Limit, Rule, Rules};

/// All of them of which one side is worse, and of which something follows; sorted by name.
pub fn metrics(rules: &Rules) -> Vec<MetricSettings> {
    let mut metrics: Vec<MetricSettings> =
        Metric::ALL.iter().filter_map(|metric| settings_of(*metric, rules.of(*metric))).collect();
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    metrics
}

/// How the engine judges a metric of bellwether's own. `None` where no side is worse, or nothing is booked.
fn settings_of(metric: Metric, rule: Option<&Rule>) -> Option<MetricSettings> {
    let spec = metric.spec();
    if rule.is_some_and(|rule| rule.book == Book::None) {
        return None;
    }
    let worse = match spec.worse {
        probes::Worse::Up => Worse::Up,
        probes::Worse::Down => Worse::Down,
        probes::Worse::AwayFromZero => Worse::AwayFromZero,
        probes::Worse::Neither => return None,
    };
    let (scale, material) = match rule.map_or(spec.scale, |rule| rule.scale) {
        probes::Scale::Log(factor) => (Scale::Log, factor.ln()),
        probes::Scale::Linear(amount) => (Scale::Linear, amount),
    };
    // The wider side of a band that is not even: the engine knows only the distance from zero.
    let edge = |limit: &Limit| match worse {
        Worse::Up => limit.enter.high,
        Worse::Down => limit.enter.low,
        Worse::AwayFromZero => limit.enter.low.abs().max(limit.enter.high.abs()),
    };
    let limit = |limit: Option<&Limit>| limit.map(edge).filter(|edge| edge.is_finite());
    Some(MetricSettings {
        name: spec.name.to_owned(),
        worse,
        scale,
        material,
        floor: if spec.unit == Unit::Seconds { LEAST_SECONDS } else { LEAST },
        family: spec.family.name().to_owned(),
        // What only a full call or a look at the room's sound tells comes each half-hour at most.
        heavy: matches!(spec.family, Family::Video | Family::Audio | Family::Sync),
        share: scale == Scale::Linear && spec.family == Family::Net && spec.unit == Unit::Ratio,
        unit: Some(spec.unit),
        stat: spec.judged_stat,
        limit: limit(rule.and_then(|rule| rule.limit.as_ref())),
        // By runs, as the rule says, also out of lessons.
        critical_limit: None,
        role: Role::of(spec.name),
    })
}

/// Values below count as this on a log scale: a tenth of a millisecond, and a hundredth of anything else.
const LEAST_SECONDS: f64 = 1e-4;
const LEAST: f64 = 0.01;
