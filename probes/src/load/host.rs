//! Processor, memory and network of the server's own box, as Prometheus' `node_exporter` (1.0 and newer) counts them.

use std::collections::BTreeMap;

use super::exposition::Sample;
use crate::{Failure, Metric, Reason};

/// Beginnings of the names of network cards whose traffic runs over a real one as well, or over none.
const VIRTUAL: [&str; 11] = ["lo", "veth", "docker", "br-", "virbr", "cni", "flannel", "cali", "ifb", "dummy", "vxlan"];

/// Rates over less than this, in seconds, say more of the clocks than of the load.
const LEAST_SECONDS: f64 = 1.0;

/// What one scrape says of the box.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Host {
    pub(super) counters: Counters,
    /// Bytes.
    memory_total: Option<f64>,
    /// Bytes.
    memory_available: Option<f64>,
}

/// What only counts up, until the box starts anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counters {
    processors: Processors,
    /// Bytes received, by network card.
    received: BTreeMap<Box<str>, f64>,
    /// Bytes transmitted, by network card.
    transmitted: BTreeMap<Box<str>, f64>,
}

/// Seconds of all processors together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Processors {
    count: u32,
    /// Idle, or waiting for disks: the same as in `cpu_utilization`.
    idle: f64,
    busy: f64,
}

impl Host {
    /// Takes a sample, if it is one of those that matter. `devices`: the network cards that count; empty: all
    /// that seem to be real.
    pub(super) fn take(&mut self, sample: &Sample<'_>, devices: &[String]) {
        let Sample { series, value } = sample;
        let counters = &mut self.counters;
        match &*series.name {
            "node_cpu_seconds_total" => match series.label("mode") {
                "idle" => {
                    counters.processors.count += 1;
                    counters.processors.idle += value;
                }
                "iowait" => counters.processors.idle += value,
                _ => counters.processors.busy += value,
            },
            "node_memory_MemTotal_bytes" => self.memory_total = Some(*value),
            "node_memory_MemAvailable_bytes" => self.memory_available = Some(*value),
            name @ ("node_network_receive_bytes_total" | "node_network_transmit_bytes_total") => {
                let device = series.label("device");
                if counts(device, devices) {
                    let received = name == "node_network_receive_bytes_total";
                    let bytes = if received { &mut counters.received } else { &mut counters.transmitted };
                    bytes.insert(device.into(), *value);
                }
            }
            _ => {}
        }
    }

    /// What follows, with the counters `before` and the seconds since.
    pub(super) fn values(&self, before: Option<(&Counters, Result<f64, Failure>)>) -> [(Metric, Measured); 4] {
        let (cpu, receive, transmit) = match before {
            Some((before, Ok(seconds))) if seconds >= LEAST_SECONDS => (
                self.counters.processors.since(before.processors),
                rate("node_network_receive_bytes_total", &before.received, &self.counters.received, seconds),
                rate("node_network_transmit_bytes_total", &before.transmitted, &self.counters.transmitted, seconds),
            ),
            Some((_, Err(failure))) => (Err(failure.clone()), Err(failure.clone()), Err(failure)),
            Some(_) | None => {
                let failure = Failure::new(Reason::FewSamples, "a rate needs two scrapes, a second apart or more");
                (Err(failure.clone()), Err(failure.clone()), Err(failure))
            }
        };
        [
            (Metric::ServiceCpuUtilization, cpu),
            (Metric::ServiceMemoryUtilization, self.memory()),
            (Metric::ServiceNetworkReceive, receive),
            (Metric::ServiceNetworkTransmit, transmit),
        ]
    }

    fn memory(&self) -> Measured {
        match (self.memory_available, self.memory_total) {
            (Some(available), Some(total)) if total > 0.0 => Ok(1.0 - available / total),
            (None, _) => Err(missing("node_memory_MemAvailable_bytes")),
            _ => Err(missing("node_memory_MemTotal_bytes")),
        }
    }
}

/// A value in base units, or why there is none.
pub(super) type Measured = Result<f64, Failure>;

impl Processors {
    /// The share of the time since `before` that was not idle.
    fn since(self, before: Self) -> Measured {
        if self.count == 0 {
            return Err(missing("node_cpu_seconds_total"));
        }
        if self.count != before.count {
            let detail = format!("{} processors, before {}: nothing to compare with", self.count, before.count);
            return Err(Failure::new(Reason::FewSamples, detail));
        }
        let (idle, busy) = (self.idle - before.idle, self.busy - before.busy);
        if idle < 0.0 || busy < 0.0 {
            return Err(went_back("node_cpu_seconds_total"));
        }
        if idle + busy > 0.0 {
            Ok(busy / (idle + busy))
        } else {
            Err(Failure::new(Reason::FewSamples, "node_cpu_seconds_total stands still"))
        }
    }
}

/// Bytes per second over the cards that were there both times.
fn rate(name: &str, before: &BTreeMap<Box<str>, f64>, after: &BTreeMap<Box<str>, f64>, seconds: f64) -> Measured {
    if after.is_empty() {
        return Err(missing(name));
    }
    let mut common = after.iter().filter_map(|(device, after)| Some(after - before.get(device)?)).peekable();
    if common.peek().is_none() {
        return Err(Failure::new(Reason::FewSamples, format!("{name}: no network card of before is there")));
    }
    let mut sum = 0.0;
    for growth in common {
        if growth < 0.0 {
            return Err(went_back(name));
        }
        sum += growth;
    }
    Ok(sum / seconds)
}

/// Whether the traffic of a network card counts. That of a VLAN is that of its card.
fn counts(device: &str, devices: &[String]) -> bool {
    if devices.is_empty() {
        !device.contains('.') && !VIRTUAL.iter().any(|beginning| device.starts_with(beginning))
    } else {
        devices.iter().any(|named| named == device)
    }
}

fn missing(name: &str) -> Failure {
    Failure::new(Reason::Parse, format!("found no {name}"))
}

fn went_back(name: &str) -> Failure {
    Failure::new(Reason::FewSamples, format!("{name} went back: the server, or its exporter, has started anew"))
}

#[cfg(test)]
mod tests {
    use super::{super::exposition::samples, *};

    fn host(text: &str, devices: &[&str]) -> Host {
        let devices: Vec<String> = devices.iter().map(|name| (*name).to_owned()).collect();
        let mut host = Host::default();
        samples(text).for_each(|sample| host.take(&sample.expect("a sample"), &devices));
        host
    }

    /// As the exporter writes it: idle, waiting and busy seconds of two processors; bytes of three cards.
    fn page(idle: f64, waiting: f64, busy: f64, bytes: f64) -> String {
        format!(
            "node_cpu_seconds_total{{cpu=\"0\",mode=\"idle\"}} {idle}\n\
             node_cpu_seconds_total{{cpu=\"0\",mode=\"iowait\"}} {waiting}\n\
             node_cpu_seconds_total{{cpu=\"0\",mode=\"user\"}} {busy}\n\
             node_cpu_seconds_total{{cpu=\"1\",mode=\"idle\"}} {idle}\n\
             node_cpu_seconds_total{{cpu=\"1\",mode=\"iowait\"}} 0\n\
             node_cpu_seconds_total{{cpu=\"1\",mode=\"system\"}} {busy}\n\
             node_cpu_guest_seconds_total{{cpu=\"1\",mode=\"user\"}} 77\n\
             node_memory_MemTotal_bytes 8e9\n\
             node_memory_MemAvailable_bytes 6e9\n\
             node_network_receive_bytes_total{{device=\"lo\"}} {bytes}\n\
             node_network_receive_bytes_total{{device=\"eth0\"}} {bytes}\n\
             node_network_receive_bytes_total{{device=\"eth0.7\"}} {bytes}\n\
             node_network_receive_bytes_total{{device=\"veth7a\"}} {bytes}\n\
             node_network_transmit_bytes_total{{device=\"eth0\"}} {}\n",
            bytes * 2.0
        )
    }

    fn values(before: Option<&str>, after: &str, seconds: f64) -> [Result<f64, Reason>; 4] {
        let before = before.map(|before| host(before, &[]).counters);
        let values = host(after, &[]).values(before.as_ref().map(|before| (before, Ok(seconds))));
        values.map(|(_, value)| value.map_err(|failure| failure.reason))
    }

    #[test]
    fn rates_are_over_the_time_between_two_scrapes() {
        let (before, after) = (page(100.0, 5.0, 50.0, 1e6), page(130.0, 15.0, 65.0, 7e6));
        // Of 70 + 30 seconds, 70 were idle or waiting; 6 MB and 12 MB in a minute, of one real card.
        assert_eq!(values(Some(&before), &after, 60.0), [Ok(0.3), Ok(0.25), Ok(1e5), Ok(2e5)]);
    }

    #[test]
    fn the_first_scrape_has_no_rate() {
        let few = Err(Reason::FewSamples);
        let page = page(100.0, 5.0, 50.0, 1e6);
        assert_eq!(values(None, &page, 60.0), [few, Ok(0.25), few, few]);
        assert_eq!(values(Some(&page), &page, 0.5), [few, Ok(0.25), few, few], "too near");
        assert_eq!(values(Some(&page), &page, 60.0), [few, Ok(0.25), Ok(0.0), Ok(0.0)], "a cached page");
    }

    #[test]
    fn a_counter_that_went_back_is_no_value() {
        let few = Err(Reason::FewSamples);
        let before = page(100.0, 5.0, 50.0, 1e6);
        assert_eq!(values(Some(&before), &page(10.0, 1.0, 60.0, 2e6), 60.0)[0], few, "idle");
        assert_eq!(values(Some(&before), &page(160.0, 5.0, 4.0, 2e6), 60.0)[0], few, "busy");
        assert_eq!(values(Some(&before), &page(160.0, 5.0, 60.0, 10.0), 60.0)[2..], [few, few], "bytes");
        // A processor more: what it counted before is not known.
        let more = page(160.0, 5.0, 60.0, 2e6) + "node_cpu_seconds_total{cpu=\"2\",mode=\"idle\"} 9\n";
        assert_eq!(values(Some(&before), &more, 60.0)[0], few);
    }

    #[test]
    fn what_the_exporter_does_not_show_is_said_to_be_missing() {
        let none = Err(Reason::Parse);
        assert_eq!(values(Some(""), "", 60.0), [none; 4]);
        let values = host("node_memory_MemAvailable_bytes 5\nnode_memory_MemTotal_bytes 0\n", &[]).values(None);
        assert_eq!(
            values[1].1.as_ref().map_err(|failure| &*failure.detail),
            Err("found no node_memory_MemTotal_bytes")
        );
    }

    #[test]
    fn a_card_that_comes_or_goes_changes_nothing() {
        let named =
            |device: &str, bytes: f64| format!("node_network_receive_bytes_total{{device=\"{device}\"}} {bytes}\n");
        let before = named("eth0", 1e6) + &named("eth1", 5e6);
        let after = named("eth0", 7e6) + &named("eth2", 9e9);
        assert_eq!(values(Some(&before), &after, 60.0)[2], Ok(1e5));
        assert_eq!(values(Some(&named("eth1", 0.0)), &after, 60.0)[2], Err(Reason::FewSamples));
    }

    #[test]
    fn cards_that_are_named_count_whatever_they_are() {
        let host = host(&page(1.0, 1.0, 1.0, 5.0), &["veth7a", "eth0.7"]);
        assert_eq!(host.counters.received.keys().map(|name| &**name).collect::<Vec<_>>(), ["eth0.7", "veth7a"]);
        assert!(host.counters.transmitted.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_gives_no_rate() {
        let page = host(&page(1.0, 1.0, 1.0, 5.0), &[]);
        let step = Failure::new(Reason::ClockStep, "set");
        let values = page.values(Some((&page.counters, Err(step.clone()))));
        assert_eq!(values[0].1, Err(step.clone()));
        assert_eq!((&values[1].1, &values[3].1), (&Ok(1.0 - 6e9 / 8e9), &Err(step)));
    }
}
