//! Snapshot → Prometheus families. Rendering reads one immutable snapshot and measures nothing.
//!
//! What a failed or too old run measured is not shown: nothing stale is exposed. Counters and states
//! that can exist are there from the start, so that absence means "not configured".

mod family;
mod hours;
mod room_use;

use std::{collections::BTreeMap, time::Duration};

use bellwether_probes::{Kind, Metric, ProbeRun, Reading, Reason, Validity};
use chrono::{DateTime, Utc};

use self::family::Families;
pub use self::{hours::Hours, room_use::RoomUse};
use crate::{booking::State, inspection::KnownVersion, schedule::Skip, site::Site};

/// Values of a run are shown for this many intervals after it.
const FRESH_INTERVALS: u32 = 3;
/// A page has at most this many series; further ones are dropped and counted.
const MAX_SERIES: usize = 500;
/// Runs of these metrics are also counted in histograms, with an edge at every configured limit.
const DISTRIBUTIONS: &[Metric] = &[
    Metric::MediaRoundTrip,
    Metric::MediaAudioDelay,
    Metric::MediaVideoDelay,
    Metric::MediaLoss,
    Metric::PageResponse,
];

/// Cumulative counts of values up to each edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    edges: Vec<f64>,
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    /// An empty histogram with these upper edges; they are sorted, repeats are dropped.
    pub fn new(edges: impl IntoIterator<Item = f64>) -> Self {
        let mut edges: Vec<f64> = edges.into_iter().filter(|edge| edge.is_finite()).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        Self { counts: vec![0; edges.len()], edges, sum: 0.0, count: 0 }
    }

    /// Counts one value.
    pub fn observe(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
        for (edge, count) in self.edges.iter().zip(&mut self.counts) {
            *count += u64::from(value <= *edge);
        }
    }
}

/// What is known of one probe.
#[derive(Clone, Debug)]
pub struct ProbeStatus {
    /// Its kind.
    pub kind: Kind,
    /// Smallest time between two runs.
    pub interval: Duration,
    /// Deadline of one run.
    pub timeout: Duration,
    /// Runs that ended, whatever they gave.
    pub runs: u64,
    /// Runs that failed, by reason.
    pub failures: BTreeMap<Reason, u64>,
    /// Runs that were due and did not happen, by reason.
    pub skipped: BTreeMap<Skip, u64>,
    /// Whether it waits for free time in vain: see [`crate::schedule::starved`].
    pub starved: bool,
    /// Runs that measured, and are not to be judged as a whole.
    pub inconclusive: u64,
    /// How long runs took.
    pub durations: Histogram,
    /// Values of runs, for the metrics that are counted so.
    pub distributions: BTreeMap<Metric, Histogram>,
    /// How long the newest run waited for its turn.
    pub queued: Duration,
    /// Runs that listened to the microphone of the room, or may have; `None` of a probe that never does.
    pub microphone_uses: Option<u64>,
    /// The newest run.
    pub last: Option<ProbeRun>,
    /// End of the newest run that succeeded.
    pub last_success: Option<DateTime<Utc>>,
}

impl ProbeStatus {
    /// A probe that has not run. `edges` gives the limits of a metric.
    pub fn new(kind: Kind, interval: Duration, timeout: Duration, edges: impl Fn(Metric) -> Vec<f64>) -> Self {
        let family = match kind {
            Kind::Media => "media_",
            Kind::Page => "page_",
            Kind::Resources | Kind::Versions | Kind::Echo | Kind::Load => "",
        };
        let counted =
            DISTRIBUTIONS.iter().copied().filter(|metric| !family.is_empty() && metric.name().starts_with(family));
        let spread = |limits: Vec<f64>| limits.into_iter().flat_map(|limit| [limit / 4.0, limit / 2.0, limit]);
        Self {
            kind,
            interval,
            timeout,
            runs: 0,
            failures: kind.failure_reasons().iter().map(|reason| (*reason, 0)).collect(),
            skipped: Skip::ALL.iter().filter(|skip| **skip != Skip::Off).map(|skip| (*skip, 0)).collect(),
            starved: false,
            inconclusive: 0,
            durations: Histogram::new([0.1, 1.0, 10.0, timeout.as_secs_f64()]),
            distributions: counted.map(|metric| (metric, Histogram::new(spread(edges(metric))))).collect(),
            queued: Duration::ZERO,
            microphone_uses: None,
            last: None,
            last_success: None,
        }
    }

    /// Takes a run that has just ended.
    pub fn ran(&mut self, run: &ProbeRun) {
        self.runs += 1;
        self.durations.observe(run.duration_seconds);
        match &run.failure {
            Some(failure) => *self.failures.entry(failure.reason).or_default() += 1,
            None => self.last_success = Some(ended(run)),
        }
        self.inconclusive += u64::from(run.inconclusive.is_some());
        for (metric, histogram) in &mut self.distributions {
            let judged = |reading: &&Reading| reading.metric == *metric && shown(reading) && is_judged_stat(reading);
            run.readings.iter().filter(judged).for_each(|reading| histogram.observe(reading.value));
        }
        self.last = Some(run.clone());
    }

    /// Takes what the config says of sound: whether the probe is heard, and whether it listens.
    pub fn sound(&mut self, heard: bool, listens: bool) {
        if heard {
            self.skipped.entry(Skip::Off).or_default();
        }
        self.microphone_uses = listens.then(|| self.microphone_uses.unwrap_or_default());
    }

    /// Counts a run that has listened to the microphone, whatever became of it.
    pub fn listened(&mut self) {
        *self.microphone_uses.get_or_insert_default() += 1;
    }

    /// Counts a run that did not happen.
    pub fn skip(&mut self, reason: Skip, count: u64) {
        *self.skipped.entry(reason).or_default() += count;
    }

    fn fresh(&self, now: DateTime<Utc>) -> Option<&ProbeRun> {
        let run = self.last.as_ref()?;
        let age = (now - ended(run)).to_std().unwrap_or_default();
        (age <= self.interval * FRESH_INTERVALS + self.timeout).then_some(run)
    }
}

fn ended(run: &ProbeRun) -> DateTime<Utc> {
    run.started_at + chrono::TimeDelta::milliseconds((run.duration_seconds * 1e3) as i64)
}

fn shown(reading: &Reading) -> bool {
    reading.validity != Validity::Inconclusive && reading.value.is_finite()
}

fn is_judged_stat(reading: &Reading) -> bool {
    let stat = reading.labels.get(bellwether_probes::Label::Stat);
    stat == reading.metric.spec().judged_stat
}

/// Orders of one channel, by the state of their row.
pub type OrderCounts = BTreeMap<(String, &'static str), u64>;

/// Everything that is exported, at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Version of this build.
    pub version: &'static str,
    /// Source revision of this build.
    pub revision: &'static str,
    /// When the daemon started.
    pub started_at: DateTime<Utc>,
    /// Who and where.
    pub site: Site,
    /// The probes, by name.
    pub probes: BTreeMap<String, ProbeStatus>,
    /// Components and their versions.
    pub versions: BTreeMap<String, KnownVersion>,
    /// Open bookings, by state.
    pub bookings: BTreeMap<State, u64>,
    /// Open faults, by family.
    pub incidents: BTreeMap<&'static str, u64>,
    /// Orders, by channel and state of their row.
    pub orders: OrderCounts,
    /// When the oldest order was planned that still waits.
    pub oldest_order: Option<DateTime<Utc>>,
    /// Whether each channel has passed its self-test.
    pub ready: BTreeMap<String, bool>,
    /// Pairs of booking and channel that were refused as incomplete, by channel.
    pub refused: BTreeMap<String, u64>,
    /// Repeats of bookings that were found at the vendor's and made one again, by channel.
    pub repeats: BTreeMap<String, u64>,
    /// Conclusions that could not be written.
    pub commit_failures: u64,
    /// Whether the newest config was taken, and when one was.
    pub reload: Reload,
    /// When the room is taught in.
    pub hours: Hours,
    /// What the newest look at the room's use has found; `None` if there was none.
    pub room_use: Option<RoomUse>,
}

/// How the newest reading of the config, or of the web config file, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Whether the newest one was taken.
    pub successful: bool,
    /// When one was taken last.
    pub succeeded_at: DateTime<Utc>,
}

/// Writes the page, in the text format, as it stands at `now`. `web` is of the web config file, if there is one.
pub fn render(snapshot: &Snapshot, web: Option<Reload>, now: DateTime<Utc>) -> String {
    let mut families = Families::default();
    about(&mut families, snapshot);
    if let Some(reload) = web {
        web_config(&mut families, reload);
    }
    hours::write(&mut families, &snapshot.hours, now);
    runs(&mut families, snapshot);
    work(&mut families, snapshot, now);
    room_use::write(&mut families, snapshot.room_use.as_ref(), now);
    readings(&mut families, snapshot, now);
    families.text()
}

fn web_config(families: &mut Families, reload: Reload) {
    let help = "Whether the web config file, as it was read last, was taken.";
    families.gauge("bellwether_web_config_last_reload_successful", help, &[], f64::from(u8::from(reload.successful)));
    let name = "bellwether_web_config_last_reload_success_timestamp_seconds";
    families.gauge(name, "When a web config file was taken last.", &[], instant(reload.succeeded_at));
}

fn about(families: &mut Families, snapshot: &Snapshot) {
    let build = [("version", snapshot.version), ("revision", snapshot.revision)];
    families.gauge("bellwether_build_info", "The build that is running.", &build, 1.0);
    let (school, room) = (&snapshot.site.school, &snapshot.site.room);
    let labels = [
        ("school", &*school.name),
        ("campus", &*school.campus),
        ("room", &*room.id),
        ("name", &*room.name),
        ("building", &*room.building),
        ("service", &*room.service),
        ("hardware", &*room.hardware),
    ];
    families.gauge("bellwether_room_info", "The room this box serves.", &labels, 1.0);
    families.gauge("bellwether_start_timestamp_seconds", "When the daemon started.", &[], instant(snapshot.started_at));
    let reload = snapshot.reload;
    let help = "Whether the newest config was taken.";
    families.gauge("bellwether_config_last_reload_successful", help, &[], f64::from(u8::from(reload.successful)));
    let name = "bellwether_config_last_reload_success_timestamp_seconds";
    families.gauge(name, "When a config was taken last.", &[], instant(reload.succeeded_at));
    for (component, known) in &snapshot.versions {
        let labels = [("component", &**component), ("version", &*known.version)];
        families.gauge("bellwether_component_info", "A component of the room and its version.", &labels, 1.0);
        let name = "bellwether_version_since_timestamp_seconds";
        families.gauge(name, "When the component's version was first seen.", &labels[..1], instant(known.since));
    }
}

fn runs(families: &mut Families, snapshot: &Snapshot) {
    for (name, probe) in &snapshot.probes {
        let label = [("probe", &**name)];
        families.counter("bellwether_probe_runs_total", "Runs of the probe that ended.", &label, probe.runs);
        for (reason, count) in &probe.failures {
            let labels = [label[0], ("reason", reason.name())];
            families.counter("bellwether_probe_failures_total", "Runs that failed.", &labels, *count);
        }
        for (reason, count) in &probe.skipped {
            let labels = [label[0], ("reason", reason.name())];
            families.counter(
                "bellwether_probe_skipped_total",
                "Runs that were due and did not happen.",
                &labels,
                *count,
            );
        }
        let help =
            "Whether the probe finds no free time: no run for a day and eight intervals, while it was held back.";
        families.gauge("bellwether_probe_starved", help, &label, f64::from(u8::from(probe.starved)));
        if let Some(uses) = probe.microphone_uses {
            let help = "Runs that listened to the microphone of the room, or may have.";
            families.counter("bellwether_microphone_uses_total", help, &label, uses);
        }
        let help = "Runs that measured and are not to be judged as a whole, as when this box was too busy.";
        families.counter("bellwether_probe_inconclusive_total", help, &label, probe.inconclusive);
        families.histogram("bellwether_probe_duration_seconds", "How long runs took.", &label, &probe.durations);
        let seconds = |duration: Duration| duration.as_secs_f64();
        families.gauge(
            "bellwether_probe_interval_seconds",
            "Smallest time between two runs.",
            &label,
            seconds(probe.interval),
        );
        families.gauge("bellwether_probe_timeout_seconds", "Deadline of one run.", &label, seconds(probe.timeout));
        families.gauge(
            "bellwether_probe_queue_seconds",
            "How long the newest run waited for its turn.",
            &label,
            seconds(probe.queued),
        );
        if let Some(run) = &probe.last {
            let success = f64::from(u8::from(run.failure.is_none()));
            families.gauge("bellwether_probe_success", "Whether the newest run succeeded.", &label, success);
            families.gauge(
                "bellwether_probe_last_duration_seconds",
                "How long the newest run took.",
                &label,
                run.duration_seconds,
            );
            families.gauge(
                "bellwether_probe_last_run_timestamp_seconds",
                "When the newest run ended.",
                &label,
                instant(ended(run)),
            );
        }
        if let Some(at) = probe.last_success {
            let name = "bellwether_probe_last_success_timestamp_seconds";
            families.gauge(name, "When a run last succeeded.", &label, instant(at));
        }
        for (metric, histogram) in &probe.distributions {
            let unit = metric.spec().unit.name();
            let name = format!("bellwether_{}_runs_{unit}", metric.name());
            let help = format!("Runs by their value: {}", metric.spec().help);
            families.histogram(&name, &help, &label, histogram);
        }
    }
}

fn work(families: &mut Families, snapshot: &Snapshot, now: DateTime<Utc>) {
    for (family, count) in &snapshot.incidents {
        families.gauge("bellwether_incidents", "Faults that are open.", &[("family", family)], *count as f64);
    }
    for state in State::ALL.into_iter().filter(|state| !state.ended()) {
        let count = snapshot.bookings.get(&state).copied().unwrap_or_default();
        families.gauge("bellwether_bookings", "Open bookings by state.", &[("state", state.name())], count as f64);
    }
    let under_way = snapshot.bookings.get(&State::InMaintenance).copied().unwrap_or_default() > 0;
    let help = "1 while somebody works on the room: what is measured then is held against nobody.";
    families.gauge("bellwether_in_maintenance", help, &[], f64::from(u8::from(under_way)));
    for ((channel, state), count) in &snapshot.orders {
        let labels = [("channel", &**channel), ("state", *state)];
        families.gauge("bellwether_orders", "Orders to the vendor by state.", &labels, *count as f64);
    }
    let oldest = snapshot.oldest_order.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
    let help = "How long the oldest order waits that the vendor has not got; 0 if none waits.";
    families.gauge("bellwether_outbox_oldest_seconds", help, &[], oldest);
    for (channel, is_ready) in &snapshot.ready {
        let help = "Whether the channel has passed its self-test; orders wait until it has.";
        families.gauge("bellwether_selftest_passed", help, &[("channel", channel)], f64::from(u8::from(*is_ready)));
    }
    for (channel, count) in &snapshot.refused {
        let help = "Open bookings that the channel refuses because they are incomplete.";
        families.gauge("bellwether_bookings_refused", help, &[("channel", channel)], *count as f64);
    }
    for (channel, count) in &snapshot.repeats {
        let help = "Repeats of a booking that were found at the vendor's, and made one with it again.";
        families.counter("bellwether_booking_duplicates_total", help, &[("channel", channel)], *count);
    }
    let help = "Conclusions that could not be written; what they booked is booked by a later one.";
    families.counter("bellwether_commit_failures_total", help, &[], snapshot.commit_failures);
}

fn readings(families: &mut Families, snapshot: &Snapshot, now: DateTime<Utc>) {
    let runs: Vec<(&String, &ProbeRun)> =
        snapshot.probes.iter().filter_map(|(name, probe)| Some((name, probe.fresh(now)?))).collect();
    let mut dropped = 0_u32;
    let mut gauge = |name: &str, help: &str, labels: &[(&str, &str)], value: f64| {
        if families.series() < MAX_SERIES - 1 {
            families.gauge(name, help, labels, value);
        } else {
            dropped += 1;
        }
    };
    for (probe, run) in &runs {
        for path in &run.paths {
            let profile = path.profile.as_deref().unwrap_or_default();
            let labels = [
                ("probe", &***probe),
                ("stream", path.stream.name()),
                ("class", path.class.name()),
                ("codec", &*path.codec),
                ("profile", profile),
            ];
            gauge("bellwether_media_path_info", "What the far end does to a stream of the call.", &labels, 1.0);
        }
    }
    // By metric first: the text format wants a family in one piece.
    for metric in Metric::ALL {
        let name = metric.exported_name();
        for (probe, run) in &runs {
            for reading in run.readings.iter().filter(|reading| reading.metric == *metric && shown(reading)) {
                let mut labels = vec![("probe", &***probe)];
                labels.extend(reading.labels.iter().map(|(label, value)| (label.name(), value)));
                gauge(&name, metric.spec().help, &labels, reading.value);
            }
        }
    }
    let help = "Series left out of this page because it has as many as it may have.";
    families.gauge("bellwether_series_dropped", help, &[], f64::from(dropped));
}

fn instant(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1e3
}
