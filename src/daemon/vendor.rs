//! The vendor's side of bookings: whether channels are ready, what stands there, and what an earlier ledger left.
//! All of it is read beside the loop, and comes back as an event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bellwether_agent::{
    booking::{
        State,
        life::{By, Effect, Entry},
        lifecycle::Act,
        remote,
    },
    channel::{Channels, Finding, Listed, Remote},
    incident::Incident,
};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Daemon, report,
    silence::{Kept, Silences},
};
use crate::Clock;

/// How often a new ledger asks what the vendor has open, until it is told.
const ASK_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How often the vendor's side of each booking is read.
const READ_EVERY: TimeDelta = TimeDelta::minutes(5);
/// How often channels that are not ready are looked at.
const CHECK_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How long a new ledger books nothing while it cannot learn what the vendor has open.
const ADOPT_WITHIN: TimeDelta = TimeDelta::hours(1);

/// What was found out beside the loop.
#[derive(Debug)]
pub(super) enum Found {
    /// What was read back on the channel of record.
    Back(Vec<Back>),
    /// What a maintenance has brought, by the key of its booking.
    Effect(String, Effect),
    /// What the self-test of each channel says that was not ready.
    Checked(Vec<(String, Vec<Finding>)>),
    /// What the vendor has open of this room, on the channel of record.
    Listed(Result<Vec<Listed>, String>),
    /// The silences that are there now.
    Silenced(Result<Kept, String>),
}

/// A booking as it was read back.
#[derive(Debug)]
pub(super) struct Back {
    /// Its key.
    key: String,
    /// Its newest order when that was begun: of a later one nothing is known by it.
    op_seq: u32,
    /// How it stands there, or why that cannot be told.
    remote: Result<Remote, String>,
}

/// Reads bookings back, beside the loop.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) results: mpsc::Sender<Found>,
    running: Option<JoinHandle<()>>,
    last: Option<DateTime<Utc>>,
    checking: Option<JoinHandle<()>>,
    checked: Option<DateTime<Utc>>,
    /// What could not be read the last time, so that it is said once.
    failing: BTreeMap<String, String>,
    /// Bookings whose effect is being found out.
    pub(super) evaluating: BTreeSet<String>,
    /// Since when a new ledger waits to learn what the vendor has open.
    adopting: Option<DateTime<Utc>>,
    /// When everything was last looked at because a room is observed.
    pub(super) looked: Option<DateTime<Utc>>,
    pub(super) silences: Silences,
}

impl Reader {
    /// `adopting` since when a ledger that knows of no booking waits to learn what the vendor has open.
    pub(super) fn new(results: mpsc::Sender<Found>, adopting: Option<DateTime<Utc>>) -> Self {
        let (failing, evaluating, running, checking, silences) = Default::default();
        Self {
            results,
            running,
            last: None,
            checking,
            checked: None,
            failing,
            evaluating,
            adopting,
            looked: None,
            silences,
        }
    }

    /// Has the channels looked at again soon: they are others now.
    pub(super) fn check_anew(&mut self) {
        self.checked = None;
    }

    /// Whether nothing is booked yet. A vendor that cannot be asked is not waited for longer than an hour.
    pub(super) fn is_adopting(&self, now: DateTime<Utc>) -> bool {
        self.adopting.is_some_and(|since| now - since < ADOPT_WITHIN)
    }
}

impl<C: Clock> Daemon<C> {
    /// Starts to look at the channels that are not ready, if it is time.
    pub(super) fn check_channels(&mut self, now: DateTime<Utc>) {
        let channels = self.channels.borrow().clone();
        let names: Vec<String> =
            channels.names().filter(|name| channels.held(name).is_some()).map(str::to_owned).collect();
        let is_due = self.reader.checked.is_none_or(|last| now - last >= CHECK_EVERY || now < last);
        let is_running = self.reader.checking.as_ref().is_some_and(|running| !running.is_finished());
        if names.is_empty() || !is_due || is_running {
            return;
        }
        self.reader.checked = Some(now);
        let results = self.reader.results.clone();
        self.reader.checking = Some(tokio::spawn(async move {
            let mut checked = Vec::new();
            for name in names {
                let findings = channels.check(&name, false, now).await;
                checked.push((name, findings));
            }
            // The loop may have ended meanwhile.
            let _gone = results.send(Found::Checked(checked)).await;
        }));
    }

    /// Lets orders go on the channels that are ready, and says once why they wait on the others.
    fn take_checks(&mut self, checked: Vec<(String, Vec<Finding>)>) {
        let channels = self.channels.borrow().clone();
        let mut held: BTreeMap<String, String> =
            channels.names().filter_map(|name| Some((name.to_owned(), channels.held(name)?.to_owned()))).collect();
        for (name, findings) in checked {
            let wrong: Vec<String> = findings
                .into_iter()
                .filter_map(|finding| Some(format!("{}: {}", finding.what, finding.wrong?)))
                .collect();
            if wrong.is_empty() {
                held.remove(&name);
                continue;
            }
            let detail = wrong.join("; ");
            if held.insert(name.clone(), detail.clone()).as_ref() != Some(&detail) {
                tracing::error!(channel = name, detail, "the channel does not pass its self-test: its orders wait");
            }
        }
        self.channels.send_replace(Arc::new((*channels).clone().holding(held)));
        self.orders_due.notify_one();
        self.publish();
    }

    /// Starts to read back, if it is time.
    pub(super) async fn read_back(&mut self, now: DateTime<Utc>) {
        let every = if self.reader.adopting.is_some() { ASK_EVERY } else { READ_EVERY };
        let is_due = self.reader.last.is_none_or(|last| now - last >= every || now < last);
        let is_running = self.reader.running.as_ref().is_some_and(|running| !running.is_finished());
        let channels = self.channels.borrow().clone();
        let record = channels.record().filter(|record| channels.reads(record)).map(str::to_owned);
        let Some(record) = record else {
            self.reader.adopting = None;
            return;
        };
        if !is_due || is_running {
            return;
        }
        self.reader.last = Some(now);
        if self.reader.adopting.is_some() {
            let (results, room) = (self.reader.results.clone(), self.known.config.site.room.id.clone());
            self.reader.running = Some(tokio::spawn(async move {
                let listed = channels.list(&record, &room, now).await;
                // The loop may have ended meanwhile.
                let _gone = results.send(Found::Listed(listed)).await;
            }));
            return;
        }
        let links = match self.store.links(&record).await {
            Ok(links) if links.is_empty() => return,
            Ok(links) => links,
            Err(error) => {
                tracing::error!(error = report::chain(&error), "bookings cannot be read back");
                return;
            }
        };
        let results = self.reader.results.clone();
        let bookings = &self.known.memory.bookings;
        let known: Vec<_> =
            links.into_iter().filter_map(|(key, link)| Some((bookings.get(&key)?.op_seq, key, link))).collect();
        self.reader.running = Some(tokio::spawn(async move {
            let mut read = Vec::new();
            for (op_seq, key, link) in known {
                let remote = channels.read(&record, &key, &link, now).await;
                read.push(Back { key, op_seq, remote });
            }
            // The loop may have ended meanwhile.
            let _gone = results.send(Found::Back(read)).await;
        }));
    }

    /// Takes in what was found out beside the loop.
    pub(super) async fn found(&mut self, found: Found) {
        match found {
            Found::Back(read) => self.take_back(read).await,
            Found::Effect(key, effect) => {
                self.reader.evaluating.remove(&key);
                self.change_or_say(&key, &Act::Observed(effect), (&By::Bellwether, None)).await;
            }
            Found::Silenced(done) => self.silenced(done),
            Found::Checked(checked) => self.take_checks(checked),
            Found::Listed(Ok(listed)) => self.adopt(listed).await,
            Found::Listed(Err(detail)) => {
                tracing::warn!(
                    detail,
                    "what the vendor has open cannot be read: nothing is booked before, for an hour"
                );
            }
        }
    }

    /// Takes over what the vendor has open under keys of an earlier ledger.
    async fn adopt(&mut self, listed: Vec<Listed>) {
        let now = (self.clock)();
        let record = self.channels.borrow().record().unwrap_or_default().to_owned();
        let (mut found, mut entries) = (Vec::new(), Vec::new());
        for Listed { key, remote, booking } in listed {
            // One that does not say what it is for cannot be gone on with.
            let Some(mut booking) = booking.filter(|booking| booking.key == key && !booking.state.ended()) else {
                tracing::warn!(booking = key, "the vendor has a booking of this room that cannot be read");
                continue;
            };
            let from = booking.state;
            if matches!(from, State::Suspected | State::Holding | State::NeedsHuman) {
                booking.state = State::Requested;
            }
            let (by, act) = (By::Vendor(record.clone()), "adopt".to_owned());
            let (to, detail) = (booking.state, String::new());
            entries.push(Entry { booking: key, at: now, by, act, from, to, detail });
            found.push((booking, record.clone(), remote.remote_id));
        }
        let taken = match self.store.adopt(&found, &entries, now).await {
            Ok(()) => self.store.memory().await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(memory) => {
                // Only bookings were added: what was judged since the start is not written yet.
                for (booking, channel, _) in found {
                    tracing::info!(booking = booking.key, channel, "taken over from an earlier ledger");
                    self.known.memory.incidents.extend(Incident::of_booking(&booking));
                }
                self.known.memory.bookings = memory.bookings;
                (self.known.memory.opened_on, self.known.memory.rejected_on) = (memory.opened_on, memory.rejected_on);
                self.reader.adopting = None;
                self.publish();
            }
            Err(error) => tracing::error!(error = report::chain(&error), "bookings cannot be taken over"),
        }
    }

    async fn take_back(&mut self, read: Vec<Back>) {
        let now = (self.clock)();
        let record = self.channels.borrow().record().unwrap_or_default().to_owned();
        let calendar = self.hours.calendar(&self.known.config, now);
        for Back { key, op_seq, remote } in read {
            match remote {
                Ok(remote) => {
                    self.reader.failing.remove(&key);
                    // What was sent meanwhile is newer than what was read.
                    let booking = self.known.memory.bookings.get(&key).filter(|booking| booking.op_seq == op_seq);
                    if let Some(act) = booking.and_then(|booking| remote::act_of(booking, &remote, &calendar)) {
                        self.change_or_say(&key, &act, (&By::Vendor(record.clone()), Some(&remote))).await;
                    }
                }
                Err(detail) => {
                    if self.reader.failing.insert(key.clone(), detail.clone()).as_ref() != Some(&detail) {
                        tracing::warn!(booking = key, channel = record, detail, "a booking cannot be read back");
                    }
                }
            }
        }
    }
}

/// Channels of which those that need it wait for their self-test.
pub(super) fn unchecked(channels: Channels) -> Channels {
    let waits = channels.names().filter(|name| channels.needs_check(name));
    let held = waits.map(|name| (name.to_owned(), "its self-test is under way".to_owned())).collect();
    channels.holding(held)
}
