//! Order statistics and shares, with their 95 % intervals, as readings.

use chrono::{DateTime, Utc};

use super::capture::{Nanos, Stream};
use crate::{
    Reading, Reason, Validity,
    metric::{Label, Metric},
};

/// Normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_964;
/// Fewest samples of a percentile.
const FEWEST_SAMPLES: usize = 5;
/// Fewest events of a share.
const FEWEST_EVENTS: u64 = 100;

/// One order statistic; the `stat` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stat {
    Min,
    P50,
    P95,
    P99,
}

impl Stat {
    fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    fn share(self) -> f64 {
        match self {
            Self::Min => 0.0,
            Self::P50 => 0.50,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }

    /// Samples below which the value is of low confidence: at least one must lie in the tail.
    fn fewest(self) -> usize {
        match self {
            Self::Min | Self::P50 => FEWEST_SAMPLES,
            Self::P95 => 20,
            Self::P99 => 100,
        }
    }
}

/// Samples in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    /// Values that are no numbers are left out.
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }
}

impl Sample {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// By how much each is above the least.
    pub(super) fn above_least(&self) -> Self {
        let least = self.0.first().copied().unwrap_or_default();
        Self(self.0.iter().map(|value| value - least).collect())
    }

    pub(super) fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// The sample of nearest rank ⌈share × n⌉: always one that occurred.
    pub(super) fn quantile(&self, stat: Stat) -> Option<f64> {
        let rank = (stat.share() * self.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied()
    }

    /// 95 % interval of the quantile by order statistics: the ranks that the binomial distribution
    /// (in its normal approximation) puts round it, whatever the distribution of the samples.
    /// `None` where a rank would lie outside of the samples, and for the minimum.
    pub(super) fn interval(&self, stat: Stat) -> Option<(f64, f64)> {
        let (n, share) = (self.len() as f64, stat.share());
        let spread = Z * (n * share * (1.0 - share)).sqrt();
        let (low, high) = ((n * share - spread).floor(), (n * share + spread).ceil() + 1.0);
        if stat == Stat::Min || low < 1.0 || high > n {
            return None;
        }
        Some((*self.0.get(low as usize - 1)?, *self.0.get(high as usize - 1)?))
    }

    pub(super) fn enough(&self, stat: Stat) -> bool {
        self.len() >= stat.fewest()
    }

    /// One reading for each of `stats`; none at all without samples.
    pub(super) fn readings(
        &self,
        ts: DateTime<Utc>,
        metric: Metric,
        stream: Option<Stream>,
        stats: &[Stat],
    ) -> Vec<Reading> {
        let reading = |&stat: &Stat| {
            let mut reading =
                Reading::new(ts, metric, self.quantile(stat)?, self.len() as u64).with(Label::Stat, stat.name());
            if let Some((low, high)) = self.interval(stat) {
                reading = reading.between(low, high);
            }
            if !self.enough(stat) {
                reading = low_confidence(reading);
            }
            Some(labelled(reading, stream))
        };
        stats.iter().filter_map(reading).collect()
    }
}

/// The share `hits` of `n` with its Wilson interval; `None` of nothing.
pub(super) fn ratio(ts: DateTime<Utc>, metric: Metric, stream: Option<Stream>, hits: u64, n: u64) -> Option<Reading> {
    let (low, high) = wilson(hits, n)?;
    let mut reading = Reading::new(ts, metric, hits as f64 / n as f64, n).between(low, high);
    if n < FEWEST_EVENTS {
        reading = low_confidence(reading);
    }
    Some(labelled(reading, stream))
}

/// 95 % interval of a share after Wilson (1927); `None` for `n` = 0.
fn wilson(hits: u64, n: u64) -> Option<(f64, f64)> {
    if n == 0 {
        return None;
    }
    let (n, share) = (n as f64, hits as f64 / n as f64);
    let centre = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // At the ends the interval is known exactly; rounding would leave a trace.
    let low = if hits == 0 { 0.0 } else { (centre - spread) / scale };
    Some((low, if share < 1.0 { (centre + spread) / scale } else { 1.0 }))
}

/// The reading, marked as resting on too few samples.
pub(super) fn low_confidence(mut reading: Reading) -> Reading {
    (reading.validity, reading.reason) = (Validity::LowConfidence, Some(Reason::FewSamples));
    reading
}

fn labelled(reading: Reading, stream: Option<Stream>) -> Reading {
    match stream {
        Some(stream) => reading.with(Label::Stream, stream.name()),
        None => reading,
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-4, "{got}, not {want}");
    }

    #[test]
    fn quantiles_are_samples_of_nearest_rank() {
        let sample: Sample = (1..=100).rev().map(f64::from).chain([f64::NAN]).collect();
        for (stat, want) in [(Stat::Min, 1.0), (Stat::P50, 50.0), (Stat::P95, 95.0), (Stat::P99, 99.0)] {
            near(sample.quantile(stat).expect("samples"), want);
        }
        assert_eq!(Sample::default().quantile(Stat::P50), None);
        near([7.0].into_iter().collect::<Sample>().quantile(Stat::P99).expect("one"), 7.0);
    }

    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        let mut rng = fastrand::Rng::with_seed(5);
        for (stat, truth) in [(Stat::P50, 0.5), (Stat::P95, 0.95)] {
            let covers = |_: &i32| {
                let sample: Sample = (0..400).map(|_| rng.f64()).collect();
                let (low, high) = sample.interval(stat).expect("400 samples");
                low <= truth && truth <= high
            };
            let hits = (0..1000).filter(covers).count();
            assert!((940..=985).contains(&hits), "{stat:?}: {hits} of 1000");
        }
        let few: Sample = (0..20).map(f64::from).collect();
        assert_eq!(few.interval(Stat::P95), None, "no rank above the largest sample");
        assert!(few.interval(Stat::P50).is_some());
    }

    #[test]
    fn wilson_gives_published_values() {
        // Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29 by method 3.
        for (hits, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let (got_low, got_high) = wilson(hits, n).expect("n > 0");
            near(got_low, low);
            near(got_high, high);
        }
        assert_eq!(wilson(0, 500).map(|(low, _)| low), Some(0.0));
        assert_eq!(wilson(500, 500).map(|(_, high)| high), Some(1.0));
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn few_samples_are_said_to_be_few() {
        let ts = DateTime::<Utc>::UNIX_EPOCH;
        let sample: Sample = (0..30).map(f64::from).collect();
        let readings = sample.readings(ts, Metric::MediaVideoDelay, None, &[Stat::P50, Stat::P95, Stat::P99]);
        let validity: Vec<Validity> = readings.iter().map(|reading| reading.validity).collect();
        assert_eq!(validity, [Validity::Ok, Validity::Ok, Validity::LowConfidence]);
        assert_eq!(readings[2].reason, Some(Reason::FewSamples));
        assert_eq!(Sample::default().readings(ts, Metric::MediaVideoDelay, None, &[Stat::P50]), []);
        let share = |n| ratio(ts, Metric::MediaLoss, Some(Stream::Audio), 1, n);
        assert_eq!(share(0), None);
        assert_eq!(share(99).map(|reading| reading.validity), Some(Validity::LowConfidence));
        assert_eq!(share(100).map(|reading| reading.validity), Some(Validity::Ok));
    }
}
