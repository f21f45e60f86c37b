//! Rules: how one metric is judged.
//!
//! The shape in the config is a patch, [`MetricConfig`]: every key may be absent. Two layers, the
//! built-in defaults and the site's file over them, key by key, make the checked [`Rules`].
//!
//! ```toml
//! [metrics.media_round_trip]
//! limit          = { enter = "100 ms", clear = "80 ms", bad = 3, of = 4, recover = 2 }
//! critical_limit = { enter = "250 ms", clear = "200 ms", bad = 2, of = 2, recover = 2 }
//! material       = 1.4
//! book           = "maintenance"
//!
//! [metrics.media_round_trip.probe.lab-sfu]
//! limit          = "60 ms"
//! ```
//!
//! A value is *beyond* a limit when it is on the worse side of `enter`, and *back within* when it is
//! not on the worse side of `clear`; `enter` itself is not beyond. Between the two, nothing is decided.

mod build;
mod config;

use std::collections::BTreeMap;

use bellwether_probes::{Label, Labels, Metric, Scale};
pub use config::{Book, LimitConfig, LimitTable, MetricConfig, Override, ValueConfig};

/// The values that are within a limit. A side without a limit is infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The least value within.
    pub low: f64,
    /// The largest value within.
    pub high: f64,
}

impl Band {
    /// Whether the value is within.
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Whether every value of the interval is within.
    pub fn contains_all(self, low: f64, high: f64) -> bool {
        self.contains(low) && self.contains(high)
    }

    /// Whether no value of the interval is within.
    pub fn excludes_all(self, low: f64, high: f64) -> bool {
        high < self.low || low > self.high
    }

    /// The edge that `value` is beyond, or the nearer one if it is within.
    pub fn edge(self, value: f64) -> f64 {
        if value - self.low < self.high - value { self.low } else { self.high }
    }

    /// The edges that are limits at all.
    pub fn edges(self) -> impl Iterator<Item = f64> {
        [self.low, self.high].into_iter().filter(|edge| edge.is_finite())
    }
}

/// How many runs it takes to change one's mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// So many of the last `of` runs must be beyond, from 1 to `of`.
    pub bad: u32,
    /// See `bad`; from 1 to 60.
    pub of: u32,
    /// So many runs in a row must be back within, from 1 to 60.
    pub recover: u32,
}

impl Counts {
    /// Whether so few runs decide that what they say is yes or no: there is no call, no sound, no page.
    pub fn are_hard(self) -> bool {
        self.bad == self.of && self.of <= 2
    }
}

/// A limit with hysteresis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Outside of it a run counts as bad.
    pub enter: Band,
    /// Inside of it a run counts as good; never wider than `enter`.
    pub clear: Band,
    /// How many runs it takes.
    pub counts: Counts,
}

/// How one metric of one probe is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The metric.
    pub metric: Metric,
    /// Beyond it the series is degraded.
    pub limit: Option<Limit>,
    /// Beyond it the series is critical; never narrower than `limit`.
    pub critical: Option<Limit>,
    /// Scale and size of a material change.
    pub scale: Scale,
    /// What follows from a series that is beyond its limit.
    pub book: Book,
}

impl Rule {
    fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.limit.iter().chain(&self.critical)
    }
}

/// The rule of a metric and the probes for which it differs.
#[derive(Clone, Debug, PartialEq)]
struct Judged {
    rule: Rule,
    probes: BTreeMap<String, Rule>,
}

/// All rules of a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    metrics: BTreeMap<Metric, Judged>,
}

impl Rules {
    /// The rule of a series, if it has a limit. Of a metric with several statistics only the judged
    /// one has.
    pub fn for_series(&self, metric: Metric, probe: &str, labels: &Labels) -> Option<&Rule> {
        if let Some(judged) = metric.spec().judged_stat
            && labels.get(Label::Stat) != Some(judged)
        {
            return None;
        }
        let of_metric = self.metrics.get(&metric)?;
        let rule = of_metric.probes.get(probe).unwrap_or(&of_metric.rule);
        rule.limits().next().is_some().then_some(rule)
    }

    /// The rule of a metric, whatever the probe.
    pub fn of(&self, metric: Metric) -> Option<&Rule> {
        self.metrics.get(&metric).map(|judged| &judged.rule)
    }

    /// All values at which some limit of the metric is entered, ascending: the buckets of a histogram
    /// need an edge at each, so that a query can count the runs beyond a limit.
    pub fn edges(&self, metric: Metric) -> Vec<f64> {
        let of_metric = self.metrics.get(&metric);
        let rules = of_metric.iter().flat_map(|judged| std::iter::once(&judged.rule).chain(judged.probes.values()));
        let mut edges: Vec<f64> = rules.flat_map(Rule::limits).flat_map(|limit| limit.enter.edges()).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        edges
    }
}
