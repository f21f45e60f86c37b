//! Config layers → checked rules.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_probes::{Metric, Mistake, Scale, Unit, Worse};

use super::{
    Band, Book, Counts, Judged, Limit, LimitConfig, LimitTable, MetricConfig, Override, Rule, Rules, ValueConfig,
};

/// `of` cannot be more: a series keeps so many marks.
const MAX_RUNS: u32 = 60;

impl Rules {
    /// Lays `site` over `defaults`, key by key, and checks the result. All mistakes are found at once;
    /// their keys start with the metric's name. With a mistake the rules are not to be used.
    ///
    /// What a layer does not say of a limit stays as the layer below has it, and at the bottom:
    /// `clear` equals `enter`; a limit takes 3 of 4 runs, a critical limit or a hard fault
    /// (`media_success`, `page_success`, `process_present`) 2 of 2, and both recover after 2.
    ///
    /// A new `enter` that passes the `clear` of the layer below takes it along by the same factor: with
    /// 100 ms / 80 ms below, `limit = "50 ms"` clears at 40 ms. For a share of which more is better the
    /// factor is that of the missing part, so that 97 % over 90 % / 95 % clears at 98.5 %.
    pub fn build(
        defaults: &BTreeMap<Metric, MetricConfig>,
        site: &BTreeMap<Metric, MetricConfig>,
    ) -> (Self, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let configured: BTreeSet<Metric> = defaults.keys().chain(site.keys()).copied().collect();
        let metrics = configured
            .into_iter()
            .map(|metric| {
                let layers: Vec<&MetricConfig> =
                    [defaults.get(&metric), site.get(&metric)].into_iter().flatten().collect();
                (metric, Judged::build(metric, &layers, &mut mistakes))
            })
            .collect();
        (Self { metrics }, mistakes)
    }
}

impl Judged {
    fn build(metric: Metric, layers: &[&MetricConfig], mistakes: &mut Vec<Mistake>) -> Self {
        let name = metric.name();
        let mut rule = Rule { metric, limit: None, critical: None, scale: metric.spec().scale, book: Book::default() };
        for layer in layers {
            rule.patch(name, layer.limit.as_ref(), layer.critical_limit.as_ref(), layer.book, mistakes);
            if let Some(material) = &layer.material {
                match scale(metric, material) {
                    Ok(scale) => rule.scale = scale,
                    Err(message) => mistakes.push(Mistake::new(format!("{name}.material"), message)),
                }
            }
        }
        rule.check(name, mistakes);
        let names: BTreeSet<&String> = layers.iter().flat_map(|layer| layer.probe.keys()).collect();
        let probes = names.into_iter().map(|probe| {
            let key = format!("{name}.probe.{probe}");
            let mut special = rule;
            for Override { limit, critical_limit, book } in layers.iter().filter_map(|layer| layer.probe.get(probe)) {
                special.patch(&key, limit.as_ref(), critical_limit.as_ref(), *book, mistakes);
            }
            if special.limit != rule.limit || special.critical != rule.critical {
                special.check(&key, mistakes);
            }
            (probe.clone(), special)
        });
        let probes = probes.collect();
        Self { rule, probes }
    }
}

impl Rule {
    fn patch(
        &mut self,
        key: &str,
        limit: Option<&LimitConfig>,
        critical: Option<&LimitConfig>,
        book: Option<Book>,
        mistakes: &mut Vec<Mistake>,
    ) {
        let patches = [("limit", limit, &mut self.limit), ("critical_limit", critical, &mut self.critical)];
        for (word, patch, target) in patches {
            let Some(patch) = patch else { continue };
            let layer = Layer { metric: self.metric, critical: word == "critical_limit", below: *target };
            match layer.limit(patch) {
                Ok(limit) => *target = limit,
                Err(found) => mistakes.extend(found.into_iter().map(|mistake| mistake.below(word).below(key))),
            }
        }
        self.book = book.unwrap_or(self.book);
    }

    /// A mistake that only both limits together show.
    fn check(&self, key: &str, mistakes: &mut Vec<Mistake>) {
        let (Some(limit), Some(critical)) = (&self.limit, &self.critical) else { return };
        if !critical.enter.contains_band(limit.enter) {
            let spec = self.metric.spec();
            let message = format!(
                "found {}, which is less severe than limit = {}; expected a critical limit that is not reached first, or \
                 critical_limit = false",
                critical.enter.show(spec.unit),
                limit.enter.show(spec.unit)
            );
            mistakes.push(Mistake::new(format!("{key}.critical_limit.enter"), message));
        }
    }
}

fn scale(metric: Metric, material: &ValueConfig) -> Result<Scale, String> {
    let spec = metric.spec();
    match spec.scale {
        Scale::Log(usual) => match number(Unit::One, material)? {
            factor if factor > 1.0 => Ok(Scale::Log(factor)),
            _ => Err(format!("found {material}, expected a factor above 1, such as {usual}")),
        },
        Scale::Linear(usual) => match number(spec.unit, material)? {
            amount if amount > 0.0 => Ok(Scale::Linear(amount)),
            _ => Err(format!("found {material}, expected an amount above 0, such as {usual}")),
        },
    }
}

fn number(unit: Unit, value: &ValueConfig) -> Result<f64, String> {
    match value {
        ValueConfig::Number(number) if number.is_finite() => Ok(*number),
        ValueConfig::Number(number) => Err(format!("found {number}, expected a finite number")),
        ValueConfig::Text(text) => unit.parse(text).map_err(|error| error.to_string()),
        ValueConfig::Pair(_) => Err(format!("found {value}, expected one value")),
    }
}

/// One limit over the one of the layer below.
struct Layer {
    metric: Metric,
    critical: bool,
    below: Option<Limit>,
}

impl Layer {
    fn limit(&self, patch: &LimitConfig) -> Result<Option<Limit>, Vec<Mistake>> {
        let bare;
        let (table, enter_key) = match patch {
            LimitConfig::Table(table) => (table, "enter"),
            LimitConfig::Enter(value) => {
                bare = LimitTable { enter: Some(value.clone()), ..LimitTable::default() };
                (&bare, "")
            }
            LimitConfig::Off => return Ok(None),
        };
        if self.metric.spec().worse == Worse::Neither {
            let message = format!("found a limit, but {} is neither better nor worse when it changes", self.metric);
            return Err(vec![Mistake::new("", message)]);
        }
        let mut mistakes = Vec::new();
        let mut read = |key: &str, value: &Option<ValueConfig>| {
            let band = value.as_ref().map(|value| self.band(value)).transpose();
            band.unwrap_or_else(|message| {
                mistakes.push(Mistake::new(key, message));
                None
            })
        };
        let (own_enter, own_clear) = (read(enter_key, &table.enter), read("clear", &table.clear));
        let counts = self.counts(table, &mut mistakes);
        let enter = own_enter.or(self.below.map(|below| below.enter));
        if enter.is_none() && table.enter.is_none() {
            let message =
                format!("found no enter, and {} has no default; expected one, such as enter = 0.1", self.metric);
            mistakes.push(Mistake::new("", message));
        }
        let Some(enter) = enter.filter(|_| mistakes.is_empty()) else { return Err(mistakes) };
        let clear = own_clear.unwrap_or_else(|| self.below.map_or(enter, |below| self.taken_along(below, enter)));
        if enter.contains_band(clear) {
            Ok(Some(Limit { enter, clear, counts }))
        } else {
            let unit = self.metric.spec().unit;
            let side = match self.metric.spec().worse {
                Worse::Up => "at most that",
                Worse::Down => "at least that",
                _ => "both sides within it",
            };
            let message =
                format!("found {}, which is beyond enter = {}; expected {side}", clear.show(unit), enter.show(unit));
            Err(vec![Mistake::new("clear", message)])
        }
    }

    /// The values within, of a limit as the config writes it.
    fn band(&self, value: &ValueConfig) -> Result<Band, String> {
        let spec = self.metric.spec();
        match (spec.worse, value) {
            (Worse::AwayFromZero, ValueConfig::Pair(pair)) if pair.len() == 2 => {
                let (low, high) = (number(spec.unit, &pair[0])?, number(spec.unit, &pair[1])?);
                if low < high {
                    Ok(Band { low, high })
                } else {
                    Err(format!("found {value}, expected the lower value first"))
                }
            }
            (Worse::AwayFromZero, _) => {
                Err(format!("found {value}, but {} is judged on both sides; expected [low, high]", self.metric))
            }
            (_, ValueConfig::Pair(_)) => {
                Err(format!("found {value}, but {} is judged on one side; expected one value", self.metric))
            }
            (Worse::Down, _) => Ok(Band { low: number(spec.unit, value)?, high: f64::INFINITY }),
            (_, _) => Ok(Band { low: f64::NEG_INFINITY, high: number(spec.unit, value)? }),
        }
    }

    fn counts(&self, table: &LimitTable, mistakes: &mut Vec<Mistake>) -> Counts {
        let usual = self.below.map_or_else(|| default_counts(self.metric, self.critical), |below| below.counts);
        let mut read = |key: &str, own: Option<u32>, usual: u32| {
            let count = own.unwrap_or(usual);
            if !(1..=MAX_RUNS).contains(&count) {
                mistakes.push(Mistake::new(key, format!("found {count}, expected 1 to {MAX_RUNS} runs")));
            }
            count
        };
        let bad = read("bad", table.bad, usual.bad);
        let of = read("of", table.of, usual.of);
        let recover = read("recover", table.recover, usual.recover);
        if bad > of && mistakes.is_empty() {
            mistakes.push(Mistake::new("bad", format!("found {bad} of {of} runs, expected no more than of = {of}")));
        }
        Counts { bad, of, recover }
    }

    /// The `clear` of the layer below for a new `enter`: see [`Rules::build`].
    fn taken_along(&self, below: Limit, enter: Band) -> Band {
        let spec = self.metric.spec();
        let scaled = |below_enter: f64, below_clear: f64, enter: f64| {
            if spec.worse == Worse::Down && spec.unit == Unit::Ratio {
                1.0 - (1.0 - enter) * ((1.0 - below_clear) / (1.0 - below_enter))
            } else {
                enter * (below_clear / below_enter)
            }
        };
        let side = |below_enter: f64, below_clear: f64, enter: f64, healthy: fn(&f64, &f64) -> bool| {
            let candidates = [below_clear, scaled(below_enter, below_clear, enter)];
            candidates.into_iter().find(|clear| clear.is_finite() && healthy(clear, &enter)).unwrap_or(enter)
        };
        Band {
            low: side(below.enter.low, below.clear.low, enter.low, f64::ge),
            high: side(below.enter.high, below.clear.high, enter.high, f64::le),
        }
    }
}

fn default_counts(metric: Metric, critical: bool) -> Counts {
    // Somebody stands before a dead room: two runs must do.
    let hard = matches!(metric, Metric::MediaSuccess | Metric::PageSuccess | Metric::ProcessPresent);
    if critical || hard { Counts { bad: 2, of: 2, recover: 2 } } else { Counts { bad: 3, of: 4, recover: 2 } }
}

impl Band {
    fn contains_band(self, other: Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }

    fn show(self, unit: Unit) -> String {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => format!("[{}, {}]", unit.show(self.low), unit.show(self.high)),
            (true, false) => unit.show(self.low),
            _ => unit.show(self.high),
        }
    }
}

#[cfg(test)]
mod tests {
    use bellwether_probes::{Label, Labels};
    use serde_json::{Value, json};

    use super::*;

    fn layer(metrics: &Value) -> BTreeMap<Metric, MetricConfig> {
        serde_json::from_value(metrics.clone()).expect("a layer of the right shape")
    }

    fn defaults() -> Value {
        json!({
            "media_round_trip": { "limit": { "enter": 0.1, "clear": "80 ms" }, "critical_limit": { "enter": 0.25, "clear": 0.2 } },
            "media_skew": {
                "limit": { "enter": [-0.125, 0.045], "clear": [-0.09, 0.03] },
                "critical_limit": { "enter": [-0.185, 0.09], "clear": [-0.15, 0.07] }
            },
            "media_frame_ratio": { "limit": { "enter": 0.9, "clear": 0.95 } },
            "media_success": { "limit": 0.5 },
        })
    }

    fn build(site: &Value) -> (Rules, Vec<(String, String)>) {
        let (rules, mistakes) = Rules::build(&layer(&defaults()), &layer(site));
        (rules, mistakes.into_iter().map(|mistake| (mistake.key, mistake.message)).collect())
    }

    fn judged(metric: Metric) -> Labels {
        metric.spec().judged_stat.map(|stat| (Label::Stat, stat.to_owned())).into_iter().collect()
    }

    fn rule(site: &Value, metric: Metric, probe: &str) -> Rule {
        let (rules, mistakes) = build(site);
        assert_eq!(mistakes, []);
        *rules.for_series(metric, probe, &judged(metric)).expect("a rule")
    }

    /// `(enter, clear)` of the plain limit of a metric that is worse upwards.
    fn upper(site: &Value) -> (f64, f64) {
        let limit = rule(site, Metric::MediaRoundTrip, "call").limit.expect("a limit");
        (limit.enter.high, limit.clear.high)
    }

    #[track_caller]
    fn near(got: (f64, f64), expected: (f64, f64)) {
        assert!(
            (got.0 - expected.0).abs() < 1e-12 && (got.1 - expected.1).abs() < 1e-12,
            "{got:?} is not {expected:?}"
        );
    }

    #[test]
    fn the_site_is_laid_over_the_defaults_key_by_key() {
        near(upper(&json!({})), (0.1, 0.08));
        near(upper(&json!({ "media_round_trip": { "limit": "120 ms" } })), (0.12, 0.08));
        near(upper(&json!({ "media_round_trip": { "limit": { "clear": 0.07 } } })), (0.1, 0.07));
        let only_counts = json!({ "media_round_trip": { "limit": { "bad": 5, "of": 6 } } });
        near(upper(&only_counts), (0.1, 0.08));
        let counts = rule(&only_counts, Metric::MediaRoundTrip, "call").limit.expect("a limit").counts;
        assert_eq!(counts, Counts { bad: 5, of: 6, recover: 2 });
    }

    #[test]
    fn a_new_enter_takes_the_clear_along_only_when_it_would_be_on_the_wrong_side() {
        near(upper(&json!({ "media_round_trip": { "limit": 0.05 } })), (0.05, 0.04));
        near(upper(&json!({ "media_round_trip": { "limit": 0.2 } })), (0.2, 0.08));
        let site = json!({ "media_frame_ratio": { "limit": "97 %" }, "media_skew": { "limit": [-0.05, 0.045] } });
        let share = rule(&site, Metric::MediaFrameRatio, "call").limit.expect("a limit");
        near((share.enter.low, share.clear.low), (0.97, 0.985));
        let skew = rule(&site, Metric::MediaSkew, "call").limit.expect("a limit");
        near((skew.clear.low, skew.clear.high), (-0.036, 0.03));
    }

    #[test]
    fn without_a_default_the_clear_is_the_enter() {
        let site = json!({ "temperature": { "limit": "80 °C" }, "media_success": { "limit": 0.3 } });
        let limit = rule(&site, Metric::Temperature, "box").limit.expect("a limit");
        near((limit.enter.high, limit.clear.high), (80.0, 80.0));
        let limit = rule(&site, Metric::MediaSuccess, "call").limit.expect("a limit");
        assert!(limit.clear.low >= limit.enter.low);
    }

    #[test]
    fn counts_depend_on_how_hard_the_fault_is() {
        let of = |metric| rule(&json!({}), metric, "call");
        assert_eq!(of(Metric::MediaRoundTrip).limit.expect("a limit").counts, Counts { bad: 3, of: 4, recover: 2 });
        assert_eq!(of(Metric::MediaRoundTrip).critical.expect("a limit").counts, Counts { bad: 2, of: 2, recover: 2 });
        assert_eq!(of(Metric::MediaSuccess).limit.expect("a limit").counts, Counts { bad: 2, of: 2, recover: 2 });
    }

    #[test]
    fn a_limit_can_be_switched_off() {
        let (rules, mistakes) =
            build(&json!({ "media_frame_ratio": { "limit": "none" }, "media_success": { "limit": false } }));
        assert_eq!(mistakes, []);
        for metric in [Metric::MediaFrameRatio, Metric::MediaSuccess] {
            assert_eq!(rules.for_series(metric, "call", &Labels::new()), None, "{metric}");
            assert_eq!(rules.edges(metric), [0.0; 0]);
        }
    }

    #[test]
    fn an_override_is_laid_over_the_metric_and_changes_nothing_elsewhere() {
        let site = json!({ "media_round_trip": {
            "material": 2.0,
            "probe": { "lab-sfu": { "limit": { "enter": "60 ms", "clear": "45 ms" }, "book": "none" } },
        } });
        let special = rule(&site, Metric::MediaRoundTrip, "lab-sfu");
        near((special.limit.expect("a limit").enter.high, special.critical.expect("a limit").enter.high), (0.06, 0.25));
        assert_eq!((special.book, special.scale), (Book::None, Scale::Log(2.0)));
        near(upper(&site), (0.1, 0.08));
        assert_eq!(rule(&site, Metric::MediaRoundTrip, "call").book, Book::Maintenance);
        let edges = build(&site).0.edges(Metric::MediaRoundTrip);
        assert_eq!(edges, [0.06, 0.1, 0.25]);
    }

    #[test]
    fn only_the_judged_statistic_has_a_rule() {
        let rules = build(&json!({})).0;
        let stat = |stat: &str| Labels::from([(Label::Stat, stat.to_owned())]);
        assert!(rules.for_series(Metric::MediaRoundTrip, "call", &stat("p95")).is_some());
        assert!(rules.for_series(Metric::MediaRoundTrip, "call", &stat("p50")).is_none());
        assert!(rules.for_series(Metric::MediaRoundTrip, "call", &Labels::new()).is_none());
    }

    #[test]
    fn each_mistake_says_where_and_what_is_right() {
        let rtt = |limit: Value| json!({ "media_round_trip": { "limit": limit } });
        let table = [
            (
                rtt(json!({ "clear": "120 ms" })),
                "media_round_trip.limit.clear",
                "found 120 ms, which is beyond enter = 100 ms; expected at most that",
            ),
            (
                json!({ "media_frame_ratio": { "limit": { "clear": 0.8 } } }),
                "media_frame_ratio.limit.clear",
                "found 80 %, which is beyond enter = 90 %; expected at least that",
            ),
            (rtt(json!({ "of": 2 })), "media_round_trip.limit.bad", "found 3 of 2 runs, expected no more than of = 2"),
            (rtt(json!({ "recover": 0 })), "media_round_trip.limit.recover", "found 0, expected 1 to 60 runs"),
            (rtt(json!({ "of": 61 })), "media_round_trip.limit.of", "found 61, expected 1 to 60 runs"),
            (
                rtt(json!("5 %")),
                "media_round_trip.limit",
                "found \"5 %\", expected a number in seconds, such as \"250 ms\"",
            ),
            (
                rtt(json!({ "enter": "fast" })),
                "media_round_trip.limit.enter",
                "found \"fast\", expected a number in seconds, such as \"250 ms\"",
            ),
            (
                rtt(json!([0.1, 0.2])),
                "media_round_trip.limit",
                "found [0.1, 0.2], but media_round_trip is judged on one side; expected one value",
            ),
            (
                json!({ "media_skew": { "limit": 0.05 } }),
                "media_skew.limit",
                "found 0.05, but media_skew is judged on both sides; expected [low, high]",
            ),
            (
                json!({ "media_skew": { "limit": { "clear": [-0.2, 0.02] } } }),
                "media_skew.limit.clear",
                "found [-200 ms, 20 ms], which is beyond enter = [-125 ms, 45 ms]; expected both sides within it",
            ),
            (
                json!({ "page_status": { "limit": 500 } }),
                "page_status.limit",
                "found a limit, but page_status is neither better nor worse when it changes",
            ),
            (
                rtt(json!({ "enter": 0.3 })),
                "media_round_trip.critical_limit.enter",
                "found 250 ms, which is less severe than limit = 300 ms; expected a critical limit that is not reached \
                 first, or critical_limit = false",
            ),
            (
                json!({ "temperature": { "limit": { "bad": 2 } } }),
                "temperature.limit",
                "found no enter, and temperature has no default; expected one, such as enter = 0.1",
            ),
            (
                json!({ "media_round_trip": { "material": 1 } }),
                "media_round_trip.material",
                "found 1, expected a factor above 1, such as 1.4",
            ),
            (
                json!({ "media_skew": { "material": 0 } }),
                "media_skew.material",
                "found 0, expected an amount above 0, such as 0.04",
            ),
            (
                json!({ "media_round_trip": { "probe": { "lab": { "limit": { "clear": 0.2 } } } } }),
                "media_round_trip.probe.lab.limit.clear",
                "found 200 ms, which is beyond enter = 100 ms; expected at most that",
            ),
        ];
        for (site, key, message) in table {
            assert_eq!(build(&site).1, [(key.to_owned(), message.to_owned())], "{site}");
        }
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        let site = json!({
            "media_round_trip": { "limit": { "enter": "x", "clear": "y", "bad": 0 }, "material": 0.5 },
            "media_skew": { "limit": 1 },
        });
        let keys: Vec<String> = build(&site).1.into_iter().map(|(key, _)| key).collect();
        let expected = [
            "media_round_trip.limit.enter",
            "media_round_trip.limit.clear",
            "media_round_trip.limit.bad",
            "media_round_trip.material",
            "media_skew.limit",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn the_shape_survives_writing_and_reading() {
        let site = json!({ "media_skew": { "limit": [-0.1, "40 ms"], "critical_limit": false, "book": "none",
            "probe": { "lab": { "limit": { "enter": [-0.2, 0.1], "recover": 3 } } } } });
        assert_eq!(serde_json::to_value(layer(&site)).expect("plain data"), site);
    }

    #[test]
    fn what_is_no_limit_is_refused_in_words() {
        let refused = |limit: Value| serde_json::from_value::<LimitConfig>(limit).expect_err("no limit").to_string();
        assert_eq!(refused(json!(true)), "found true, expected false for no limit, or a value");
        assert!(refused(json!({ "entre": 1 })).contains("unknown field `entre`, expected one of `enter`"));
    }
}
