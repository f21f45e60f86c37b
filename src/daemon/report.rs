//! What the loop tells people: log lines and the snapshot behind `/metrics`.

use std::{collections::BTreeMap, error::Error, io, net::SocketAddr, path::Path};

use bellwether_agent::{
    Conclusion,
    booking::dispatch::Settled,
    channel::{Channels, Outcome},
    export::{Hours, OrderCounts, Snapshot},
    judge::Level,
    store::{OrderCount, OrderState},
};
use bellwether_probes::{Family, ProbeRun};

use super::Known;
use crate::{
    config::{Config, SITE_FILE},
    occupied::Seen,
};

/// An error with all that caused it, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Says what a booking would lack, and where it would be said.
pub(super) fn lacking(config: &Config, file: Option<&Path>) {
    let missing = config.site.missing();
    if !missing.is_empty() {
        let file = file.unwrap_or(Path::new(SITE_FILE)).display();
        tracing::warn!(
            missing = missing.join(", "),
            "bookings are incomplete, and go nowhere but into folders: write what is missing into {file}, and reload"
        );
    }
}

/// Says why nothing is served, once: it is tried again until it is.
pub(super) fn no_listener(address: SocketAddr, error: &io::Error) {
    tracing::error!(
        %error,
        "cannot listen on {address}, and tries again each minute; `ss -ltnp` shows who has the port, and [web] listen \
         names another address; inspections and bookings go on"
    );
}

pub(super) fn run(run: &ProbeRun) {
    let (probe, seconds) = (&run.probe, run.duration_seconds);
    match (&run.failure, run.inconclusive) {
        (Some(failure), _) => {
            tracing::warn!(probe, reason = %failure.reason, detail = failure.detail, "the run failed")
        }
        (None, Some(reason)) => tracing::info!(probe, seconds, %reason, "the run is inconclusive"),
        (None, None) => tracing::debug!(probe, seconds, readings = run.readings.len(), "the run is done"),
    }
    for absent in &run.absent {
        tracing::debug!(probe, reason = %absent.reason, detail = absent.detail, "not measured");
    }
}

/// Said before anything is written, so that the log has it even if the disk is full.
pub(super) fn conclusion(conclusion: &Conclusion) {
    for verdict in conclusion.verdicts.iter().filter(|verdict| verdict.changed) {
        let value = verdict.value.map(|value| verdict.metric.spec().unit.show(value)).unwrap_or_default();
        let labels: Vec<&str> = verdict.labels.values().collect();
        let (metric, probe, labels) = (verdict.metric, &verdict.probe, labels.join(" "));
        match verdict.level {
            Level::Pass => tracing::info!(%metric, probe, labels, value, "back within its limits"),
            Level::Degraded => tracing::warn!(%metric, probe, labels, value, "beyond its limit"),
            Level::Critical => tracing::error!(%metric, probe, labels, value, "beyond its critical limit"),
        }
    }
    for change in &conclusion.changes {
        tracing::info!(component = change.component, old = change.old, new = change.new, "the version changed");
    }
    for booking in &conclusion.bookings {
        let (kind, state) = (booking.kind.name(), booking.state.name());
        tracing::info!(booking = booking.key, kind, state, severity = booking.severity.name(), "booking");
    }
}

pub(super) fn settled(settled: &Settled) {
    let order = &settled.order;
    let (key, channel) = (&order.op_key, &order.channel);
    match &settled.outcome {
        Outcome::Done { remote_id, repeats } => {
            let remote_id = remote_id.as_deref().unwrap_or_default();
            tracing::info!(order = key, channel, remote_id, "the vendor has it");
            if *repeats > 0 {
                tracing::warn!(order = key, channel, remote_id, repeats, "it was there several times, and is one now");
            }
        }
        Outcome::NotDelivered { detail, .. } => tracing::warn!(order = key, channel, detail, "not delivered, kept"),
        Outcome::LockedOut { detail } => {
            tracing::error!(order = key, channel, detail, "locked out: a person must mend the channel; it rests");
        }
        Outcome::Missing { detail } => tracing::warn!(order = key, channel, detail, "looked for and missed"),
        Outcome::Ambiguous { detail, .. } => {
            tracing::warn!(order = key, channel, detail, "perhaps delivered")
        }
        Outcome::Rejected { detail } => tracing::error!(order = key, channel, detail, "rejected: a person must act"),
    }
}

/// The counts with a zero for every state that an order of a configured channel can be in.
pub(super) fn with_zeros(counts: Vec<OrderCount>, channels: &Channels) -> OrderCounts {
    let zeros = channels.names().flat_map(|name| OrderState::ALL.map(|state| ((name.to_owned(), state.name()), 0)));
    let mut all: OrderCounts = zeros.collect();
    all.extend(counts.into_iter().map(|count| ((count.channel, count.state.name()), count.count)));
    all
}

impl Known {
    /// All of it at this instant, as the exporter takes it.
    pub(super) fn snapshot(&self, channels: &Channels, hours: Hours) -> Snapshot {
        let mut bookings = BTreeMap::new();
        let mut refused: BTreeMap<String, u64> = channels.names().map(|name| (name.to_owned(), 0)).collect();
        for booking in self.memory.bookings.values() {
            *bookings.entry(booking.state).or_default() += 1;
            for (name, count) in &mut refused {
                *count += u64::from(channels.accepts(name, booking).is_err());
            }
        }
        let families = [Family::Net, Family::Video, Family::Audio, Family::Sync, Family::App];
        let open = |family: Family| {
            let open = self.memory.incidents.iter().filter(|incident| incident.recovered_at.is_none());
            open.filter(|incident| incident.family == family).count() as u64
        };
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("BELLWETHER_REVISION"),
            started_at: self.started_at,
            site: self.config.site.clone(),
            probes: self.plan.status.clone(),
            versions: self.memory.versions.clone(),
            bookings,
            incidents: families.map(|family| (family.name(), open(family))).into(),
            orders: self.orders.clone(),
            oldest_order: self.oldest_order,
            ready: channels.names().map(|name| (name.to_owned(), channels.held(name).is_none())).collect(),
            refused,
            repeats: channels
                .names()
                .map(|name| (name.to_owned(), self.repeats.get(name).copied().unwrap_or_default()))
                .collect(),
            commit_failures: self.commit_failures,
            reload: self.reload,
            hours,
            room_use: self.seen.as_ref().map(Seen::exported),
        }
    }
}
