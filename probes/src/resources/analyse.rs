//! Two looks → readings. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    Config,
    snapshot::{Cpu, Look, Process, Snapshot, Ticks, Traffic},
};
use crate::{Failure, Label, Metric, Reading, Reason, Validity};

/// Rates over less than this, in seconds, are marked as of low confidence.
const CONFIDENT: f64 = 1.0;

/// Turns the look `after`, and what changed since `before`, into readings stamped `ts`, and into
/// the list of what could not be measured.
pub(super) fn analyse(
    config: &Config,
    before: Option<&Snapshot>,
    after: &Snapshot,
    ts: DateTime<Utc>,
) -> (Vec<Reading>, Vec<Failure>) {
    let mut analysis = Analysis { ts, readings: Vec::new(), absent: Vec::new() };
    analysis.levels(after);
    let since = before.map(|before| (before, after.at.saturating_duration_since(before.at).as_secs_f64()));
    let since = since.filter(|(_, seconds)| *seconds > 0.0);
    let levels = analysis.readings.len();
    analysis.rates(since, after);
    let rates = levels..analysis.readings.len();
    analysis.processes(config, since, after);
    if since.is_some_and(|(_, seconds)| seconds < CONFIDENT) {
        for (index, reading) in analysis.readings.iter_mut().enumerate() {
            if rates.contains(&index) || reading.metric == Metric::ProcessCpu {
                (reading.validity, reading.reason) = (Validity::LowConfidence, Some(Reason::FewSamples));
            }
        }
    }
    for device in &config.devices {
        let known = |found: bool| found.then_some(());
        let disk = after.disks.as_ref().ok().and_then(|disks| known(disks.contains_key(device)));
        let card = after.cards.as_ref().ok().and_then(|cards| known(cards.contains_key(device)));
        if disk.or(card).is_none() {
            analysis.missing(format!("device {device:?}: no such disk or network card"));
        }
    }
    if let Ok(mounts) = &after.mounts {
        for point in config.mounts.iter().filter(|point| !mounts.contains_key(*point)) {
            analysis.missing(format!("mount {point:?}: nothing is mounted there"));
        }
    }
    (analysis.readings, analysis.absent)
}

/// An earlier look and the seconds since.
type Since<'a> = Option<(&'a Snapshot, f64)>;

struct Analysis {
    ts: DateTime<Utc>,
    readings: Vec<Reading>,
    absent: Vec<Failure>,
}

impl Analysis {
    fn reading(&self, metric: Metric, value: f64) -> Reading {
        Reading::new(self.ts, metric, value, 1)
    }

    fn push(&mut self, metric: Metric, value: f64) {
        self.readings.push(self.reading(metric, value));
    }

    fn missing(&mut self, detail: String) {
        self.absent.push(Failure::new(Reason::Source, detail));
    }

    /// The value of a part of the look; a part that is missing is listed as absent.
    fn part<'a, T>(&mut self, look: &'a Look<T>) -> Option<&'a T> {
        look.as_ref().map_err(|failure| self.absent.push(failure.clone())).ok()
    }

    /// What a counter grew by; one that went back was reset, and says nothing of this interval.
    fn growth(&mut self, what: &str, before: u64, after: u64) -> Option<u64> {
        let growth = after.checked_sub(before);
        if growth.is_none() {
            self.missing(format!("{what}: the counter went back"));
        }
        growth
    }

    /// Values of the moment.
    fn levels(&mut self, after: &Snapshot) {
        if let Some(load) = self.part(&after.load) {
            self.push(Metric::LoadAverage, *load);
        }
        if let Some(memory) = self.part(&after.memory) {
            self.push(Metric::MemoryUtilization, 1.0 - share(memory.available, memory.total));
            if memory.swap_total > 0 {
                self.push(Metric::SwapUtilization, share(memory.swap_used, memory.swap_total));
            }
        }
        if let Some(mounts) = self.part(&after.mounts) {
            for (point, space) in mounts {
                if let Some(space) = self.part(space)
                    && space.used + space.available > 0
                {
                    let used = share(space.used, space.used + space.available);
                    self.readings.push(self.reading(Metric::DiskUtilization, used).with(Label::Mount, point));
                }
            }
        }
        if let Some(sensors) = self.part(&after.sensors) {
            for sensor in sensors {
                let reading = self.reading(Metric::Temperature, sensor.temperature);
                self.readings.push(reading.with(Label::Device, &sensor.label));
            }
        }
        if let Some(uptime) = self.part(&after.uptime) {
            self.push(Metric::Uptime, *uptime);
        }
    }

    /// Values of the time since the earlier look.
    fn rates(&mut self, since: Since<'_>, after: &Snapshot) {
        if let Some(cpu) = self.part(&after.cpu)
            && let Some((Snapshot { cpu: Ok(before), .. }, _)) = since
        {
            self.cpu(before, cpu);
        }
        let earlier = since.map(|(before, _)| before);
        for (metric, before, total) in [
            (Metric::CpuPressure, earlier.map(|look| &look.cpu_pressure), &after.cpu_pressure),
            (Metric::MemoryPressure, earlier.map(|look| &look.memory_pressure), &after.memory_pressure),
            (Metric::IoPressure, earlier.map(|look| &look.io_pressure), &after.io_pressure),
        ] {
            if let Some(total) = self.part(total)
                && let Some((_, seconds)) = since
                && let Some(Ok(before)) = before
                && let Some(stalled) = self.growth(metric.name(), *before, *total)
            {
                // Microseconds of stall; the two clocks differ a little, hence the bound.
                self.push(metric, (stalled as f64 / 1e6 / seconds).min(1.0));
            }
        }
        if let Some(disks) = self.part(&after.disks)
            && let Some((Snapshot { disks: Ok(before), .. }, seconds)) = since
        {
            for (name, disk, before) in both(disks, before) {
                for (direction, before, after) in
                    [("read", before.read, disk.read), ("write", before.written, disk.written)]
                {
                    self.throughput(Metric::DiskThroughput, (name, direction), (before, after), seconds);
                }
            }
        }
        if let Some(cards) = self.part(&after.cards)
            && let Some((Snapshot { cards: Ok(before), .. }, seconds)) = since
        {
            for (name, card, before) in both(cards, before) {
                for (direction, before, after) in
                    [("receive", before.received, card.received), ("transmit", before.transmitted, card.transmitted)]
                {
                    let series = (name, direction);
                    self.throughput(Metric::NetworkThroughput, series, (before.bytes, after.bytes), seconds);
                    self.network_errors(series, before, after);
                }
            }
        }
    }

    fn cpu(&mut self, before: &Cpu, after: &Cpu) {
        let growth = |before: &Ticks, after: &Ticks| {
            Some(Ticks {
                busy: after.busy.checked_sub(before.busy)?,
                steal: after.steal.checked_sub(before.steal)?,
                total: after.total.checked_sub(before.total)?,
            })
        };
        let Some(whole) = growth(&before.whole, &after.whole) else {
            return self.missing("processor time: the counter went back".to_owned());
        };
        if whole.total == 0 {
            return;
        }
        // The kernel's waiting time can shrink by a tick, hence the bound inside `share`.
        self.push(Metric::CpuUtilization, share(whole.busy, whole.total));
        self.push(Metric::CpuSteal, share(whole.steal, whole.total));
        let cores = both(&after.cores, &before.cores).filter_map(|(_, after, before)| growth(before, after));
        let busiest =
            cores.filter(|core| core.total > 0).map(|core| share(core.busy, core.total)).max_by(f64::total_cmp);
        if let Some(busiest) = busiest {
            self.push(Metric::CpuBusiestCoreUtilization, busiest);
        }
    }

    fn throughput(&mut self, metric: Metric, series: (&String, &str), counter: (u64, u64), seconds: f64) {
        let (device, direction) = series;
        if let Some(bytes) = self.growth(&format!("{metric} of {device}, {direction}"), counter.0, counter.1) {
            let reading = self.reading(metric, bytes as f64 / seconds);
            self.readings.push(reading.with(Label::Device, device).with(Label::Direction, direction));
        }
    }

    /// Packets with errors of all packets; the kernel counts them apart. A card without traffic
    /// has no share.
    fn network_errors(&mut self, (device, direction): (&String, &str), before: Traffic, after: Traffic) {
        let what = format!("packets of {device}, {direction}");
        let Some(packets) = self.growth(&what, before.packets, after.packets) else { return };
        let Some(errors) = self.growth(&what, before.errors, after.errors) else { return };
        let all = packets + errors;
        if all > 0 {
            let mut reading = self.reading(Metric::NetworkErrors, share(errors, all));
            reading.n = all;
            self.readings.push(reading.with(Label::Device, device).with(Label::Direction, direction));
        }
    }

    fn processes(&mut self, config: &Config, since: Since<'_>, after: &Snapshot) {
        let Some(processes) = self.part(&after.processes) else { return };
        let earlier = since.and_then(|(before, seconds)| Some((before.processes.as_ref().ok()?, seconds)));
        for (index, (wanted, found)) in config.process.iter().zip(processes).enumerate() {
            let component = wanted.component();
            let mut push = |metric, value| {
                self.readings.push(Reading::new(self.ts, metric, value, 1).with(Label::Component, component));
            };
            push(Metric::ProcessPresent, if found.is_empty() { 0.0 } else { 1.0 });
            if !found.is_empty() {
                push(Metric::ProcessMemory, found.iter().map(|process| process.memory).sum::<u64>() as f64);
            }
            let Some((before, seconds)) = earlier.and_then(|(all, seconds)| Some((all.get(index)?, seconds))) else {
                continue;
            };
            if !found.is_empty() {
                push(Metric::ProcessCpu, cpu_ms(before, found) as f64 / 1e3 / seconds);
            }
            push(Metric::ProcessRestarts, starts(before, found) as f64);
        }
    }
}

/// Processor time spent by `after` since `before`; a process that was not there spent all of its
/// time since. What one that ended spent is lost.
fn cpu_ms(before: &[Process], after: &[Process]) -> u64 {
    let spent = |process: &Process| {
        let earlier = before.iter().find(|earlier| same(earlier, process));
        process.cpu_ms.saturating_sub(earlier.map_or(0, |earlier| earlier.cpu_ms))
    };
    after.iter().map(spent).sum()
}

/// How many of `after` started since `before`. Workers that a matching process starts for itself
/// are its own affair.
fn starts(before: &[Process], after: &[Process]) -> usize {
    let worker = |process: &&Process| after.iter().any(|other| Some(other.pid) == process.parent);
    let new = |process: &&Process| !before.iter().any(|earlier| same(earlier, process));
    after.iter().filter(|process| !worker(process)).filter(new).count()
}

fn same(a: &Process, b: &Process) -> bool {
    (a.pid, a.started) == (b.pid, b.started)
}

/// `part` of `whole`, from 0 to 1.
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64).min(1.0)
}

/// Entries that stand in both maps: key, value of the first, value of the second.
fn both<'a, K: Ord, V>(
    first: &'a BTreeMap<K, V>,
    second: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V, &'a V)> {
    first.iter().filter_map(|(key, value)| Some((key, value, second.get(key)?)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an instant can only be had from the clock")]
    use std::time::{Duration, Instant};

    use super::{
        super::{
            ProcessConfig,
            snapshot::{Card, Disk, Memory, Sensor, Space},
        },
        *,
    };

    /// A healthy box.
    fn snapshot(at: Instant) -> Snapshot {
        let core = Ticks { busy: 100, steal: 10, total: 500 };
        Snapshot {
            at,
            cpu: Ok(Cpu {
                whole: Ticks { busy: 200, steal: 20, total: 1000 },
                cores: BTreeMap::from([(0, core), (1, core)]),
            }),
            load: Ok(0.5),
            cpu_pressure: Ok(1_000_000),
            memory_pressure: Ok(0),
            io_pressure: Ok(500),
            memory: Ok(Memory { total: 1000, available: 250, swap_total: 0, swap_used: 0 }),
            mounts: Ok(BTreeMap::from([("/".to_owned(), Ok(Space { used: 60, available: 20 }))])),
            disks: Ok(BTreeMap::from([("sda".to_owned(), Disk { read: 1000, written: 5000 })])),
            cards: Ok(BTreeMap::from([("eth0".to_owned(), Card::default())])),
            sensors: Ok(vec![Sensor {
                label: "cpu".to_owned(),
                id: "0".to_owned(),
                temperature: 48.5,
                critical: None,
            }]),
            uptime: Ok(77.0),
            processes: Ok(Vec::new()),
        }
    }

    fn later(seconds: u64) -> (Snapshot, Snapshot) {
        let before = snapshot(Instant::now());
        let after = Snapshot { at: before.at + Duration::from_secs(seconds), ..before.clone() };
        (before, after)
    }

    fn run(config: &Config, before: Option<&Snapshot>, after: &Snapshot) -> (Vec<Reading>, Vec<Failure>) {
        analyse(config, before, after, DateTime::UNIX_EPOCH)
    }

    /// Values of one metric, in order of their labels.
    fn values(readings: &[Reading], metric: Metric) -> Vec<f64> {
        readings.iter().filter(|reading| reading.metric == metric).map(|reading| reading.value).collect()
    }

    fn close(found: &[f64], expected: &[f64]) -> bool {
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn levels_need_one_look_and_rates_two() {
        let (before, after) = later(10);
        let (readings, absent) = run(&Config::default(), None, &after);
        assert_eq!(absent, []);
        for (metric, expected) in [
            (Metric::LoadAverage, 0.5),
            (Metric::MemoryUtilization, 0.75),
            (Metric::DiskUtilization, 0.75),
            (Metric::Temperature, 48.5),
            (Metric::Uptime, 77.0),
        ] {
            assert!(close(&values(&readings, metric), &[expected]), "{metric}");
        }
        assert_eq!(readings.len(), 5, "no swap and no rates: {readings:?}");
        let (readings, _) = run(&Config::default(), Some(&before), &after);
        assert!(close(&values(&readings, Metric::CpuPressure), &[0.0]));
    }

    #[test]
    fn processor_shares_are_growth_of_busy_over_growth_of_total() {
        let (before, mut after) = later(10);
        let grown =
            |busy: u64, steal: u64, total: u64| Ticks { busy: 100 + busy, steal: 10 + steal, total: 500 + total };
        after.cpu = Ok(Cpu {
            whole: Ticks { busy: 200 + 500, steal: 20 + 40, total: 1000 + 2000 },
            cores: BTreeMap::from([(0, grown(450, 40, 1000)), (1, grown(50, 0, 1000)), (2, grown(999, 0, 1000))]),
        });
        let (readings, _) = run(&Config::default(), Some(&before), &after);
        assert!(close(&values(&readings, Metric::CpuUtilization), &[0.25]));
        assert!(close(&values(&readings, Metric::CpuSteal), &[0.02]));
        // The third processor came up meanwhile: its time since boot says nothing of the interval.
        assert!(close(&values(&readings, Metric::CpuBusiestCoreUtilization), &[0.45]));
    }

    #[test]
    fn pressure_is_stalled_time_over_elapsed_time() {
        let (before, mut after) = later(10);
        (after.cpu_pressure, after.io_pressure) = (Ok(1_000_000 + 2_500_000), Ok(500 + 11_000_000));
        let (readings, _) = run(&Config::default(), Some(&before), &after);
        assert!(close(&values(&readings, Metric::CpuPressure), &[0.25]));
        assert!(close(&values(&readings, Metric::MemoryPressure), &[0.0]));
        assert!(close(&values(&readings, Metric::IoPressure), &[1.0]), "never above one");
    }

    #[test]
    fn throughput_and_errors_are_by_device_and_direction() {
        let (before, mut after) = later(10);
        let received = Traffic { bytes: 50_000, packets: 98, errors: 2 };
        after.cards = Ok(BTreeMap::from([("eth0".to_owned(), Card { received, ..Card::default() })]));
        after.disks = Ok(BTreeMap::from([("sda".to_owned(), Disk { read: 2000, written: 5000 })]));
        let (readings, absent) = run(&Config::default(), Some(&before), &after);
        assert_eq!(absent, []);
        assert!(close(&values(&readings, Metric::NetworkThroughput), &[5000.0, 0.0]));
        assert!(close(&values(&readings, Metric::DiskThroughput), &[100.0, 0.0]));
        let errors: Vec<_> = readings.iter().filter(|reading| reading.metric == Metric::NetworkErrors).collect();
        assert_eq!(errors.len(), 1, "nothing was transmitted, so there is no share");
        assert!(close(&[errors[0].value], &[0.02]));
        assert_eq!((errors[0].n, errors[0].labels.get(Label::Direction)), (100, Some("receive")));
    }

    #[test]
    fn a_missing_source_is_absent_and_never_zero() {
        let (before, mut after) = later(10);
        let none = |path: &str| Failure::new(Reason::Source, format!("{path}: not found"));
        after.cpu_pressure = Err(none("/proc/pressure/cpu"));
        after.sensors = Err(none("temperature sensors"));
        after.mounts = Ok(BTreeMap::from([("/x".to_owned(), Err(Failure::new(Reason::NotPermitted, "/x")))]));
        let (readings, absent) = run(&Config::default(), Some(&before), &after);
        for metric in [Metric::CpuPressure, Metric::Temperature, Metric::DiskUtilization] {
            assert!(values(&readings, metric).is_empty(), "{metric}");
        }
        assert_eq!(absent.len(), 3);
        assert_eq!(values(&readings, Metric::IoPressure).len(), 1, "the rest is still measured");
        // Missing before and there now: one more look is needed, and nothing is wrong.
        let (readings, absent) = run(&Config::default(), Some(&after), &before);
        assert_eq!((values(&readings, Metric::CpuPressure), absent), (vec![], vec![]));
    }

    #[test]
    fn a_counter_that_went_back_gives_no_rate() {
        let (mut before, after) = later(10);
        before.cpu = Ok(Cpu { whole: Ticks { busy: 900, steal: 20, total: 1000 }, cores: BTreeMap::new() });
        before.io_pressure = Ok(u64::MAX);
        before.disks = Ok(BTreeMap::from([("sda".to_owned(), Disk { read: 0, written: u64::MAX })]));
        let (readings, absent) = run(&Config::default(), Some(&before), &after);
        assert!(values(&readings, Metric::CpuUtilization).is_empty());
        assert!(values(&readings, Metric::IoPressure).is_empty());
        assert!(close(&values(&readings, Metric::DiskThroughput), &[100.0]), "only the other direction");
        assert_eq!(absent.len(), 3);
        assert!(absent.iter().all(|failure| failure.detail.contains("went back")), "{absent:?}");
    }

    #[test]
    fn a_short_interval_marks_its_rates_and_not_the_levels() {
        let before = snapshot(Instant::now());
        let after = Snapshot { at: before.at + Duration::from_millis(250), ..before.clone() };
        let (readings, _) = run(&Config::default(), Some(&before), &after);
        let of = |metric| readings.iter().find(|reading| reading.metric == metric).expect("is measured").validity;
        assert_eq!(of(Metric::CpuPressure), Validity::LowConfidence);
        assert_eq!(of(Metric::MemoryUtilization), Validity::Ok);
    }

    #[test]
    fn swap_has_a_reading_only_where_there_is_swap() {
        let (_, mut after) = later(0);
        after.memory = Ok(Memory { total: 1000, available: 250, swap_total: 400, swap_used: 100 });
        let (readings, _) = run(&Config::default(), None, &after);
        assert!(close(&values(&readings, Metric::SwapUtilization), &[0.25]));
    }

    fn process(pid: u32, parent: u32, started: u64, cpu_ms: u64) -> Process {
        Process { pid, parent: Some(parent), started, cpu_ms, memory: 1000 }
    }

    #[test]
    fn processes_are_summed_and_new_ones_are_starts() {
        let config = Config {
            process: ["janus", "nginx", "gone"]
                .map(|name| ProcessConfig { name: name.to_owned(), argument: None, component: None })
                .to_vec(),
            ..Config::default()
        };
        let (mut before, mut after) = later(10);
        before.processes =
            Ok(vec![vec![process(7, 1, 100, 5000)], vec![process(20, 1, 100, 0), process(21, 20, 100, 0)], vec![]]);
        after.processes = Ok(vec![
            // The same id, started later: another process.
            vec![process(7, 1, 900, 2000)],
            // The old master with a new worker.
            vec![process(20, 1, 100, 1000), process(22, 20, 950, 500)],
            vec![],
        ]);
        let (readings, absent) = run(&config, Some(&before), &after);
        assert_eq!(absent, []);
        assert!(close(&values(&readings, Metric::ProcessPresent), &[1.0, 1.0, 0.0]));
        assert!(close(&values(&readings, Metric::ProcessRestarts), &[1.0, 0.0, 0.0]));
        assert!(close(&values(&readings, Metric::ProcessCpu), &[0.2, 0.15]));
        assert!(close(&values(&readings, Metric::ProcessMemory), &[1000.0, 2000.0]));
        after.processes = Err(Failure::new(Reason::NotPermitted, "hidden"));
        let (readings, absent) = run(&config, Some(&before), &after);
        assert!(values(&readings, Metric::ProcessPresent).is_empty(), "hidden is not gone");
        assert_eq!(absent.len(), 1);
    }

    #[test]
    fn a_configured_device_or_mount_that_is_not_there_is_named() {
        let config = Config {
            devices: vec!["eth0".to_owned(), "sda".to_owned(), "eth9".to_owned()],
            mounts: vec!["/".to_owned(), "/films".to_owned()],
            ..Config::default()
        };
        let (_, after) = later(0);
        let details: Vec<String> = run(&config, None, &after).1.into_iter().map(|failure| failure.detail).collect();
        assert_eq!(
            details,
            ["device \"eth9\": no such disk or network card", "mount \"/films\": nothing is mounted there"]
        );
    }
}
