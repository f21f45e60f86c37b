//! A thin layer over the Prometheus library: families in order of first mention.

use std::collections::BTreeMap;

use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily, MetricType},
};

use super::Histogram;

/// Families under construction.
#[derive(Default)]
pub(super) struct Families {
    order: Vec<MetricFamily>,
    by_name: BTreeMap<String, usize>,
    series: usize,
}

impl Families {
    /// Lines of samples so far.
    pub(super) fn series(&self) -> usize {
        self.series
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.push(name, help, MetricType::GAUGE, metric, 1);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.push(name, help, MetricType::COUNTER, metric, 1);
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut proto = HistogramProto::default();
        proto.set_sample_count(histogram.count);
        proto.set_sample_sum(histogram.sum);
        let buckets = histogram.edges.iter().zip(&histogram.counts).map(|(edge, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*edge);
            bucket.set_cumulative_count(*count);
            bucket
        });
        proto.set_bucket(buckets.collect());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(proto);
        self.push(name, help, MetricType::HISTOGRAM, metric, histogram.edges.len() + 3);
    }

    fn push(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric, series: usize) {
        self.series += series;
        let place = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            self.order.push(family);
            self.order.len() - 1
        });
        self.order[place].mut_metric().push(metric);
    }

    /// The page.
    pub(super) fn text(&self) -> String {
        let mut text = String::default();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.order, &mut text) {
            // Only an empty family can fail, and each is made with its first series.
            tracing::error!(%error, "a family could not be written");
        }
        text
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
