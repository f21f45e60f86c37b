//! What happens to bookings beside inspections: what people ask, and what the clock does.

use bellwether_agent::{
    archive::maintenance::Collected,
    booking::{
        Booking, State,
        life::By,
        lifecycle::Act,
        plan::{self, ActError, Plan, Terms},
    },
    channel::Remote,
    inspection::{Conclusion, Memory},
    store::{Record, Store, StoreError},
};
use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use super::{Daemon, judge, report, vendor::Found};
use crate::{
    Clock,
    bookings::{Asked, Wish},
};

/// How long before a window opens everything is looked at once more.
const EXAMINE_BEFORE: TimeDelta = TimeDelta::minutes(15);
/// How long the look after a window may wait for free time.
const EXAMINE_WITHIN: TimeDelta = TimeDelta::hours(1);
/// How often everything is looked at on the first day after the work, and for how long.
const DENSER: TimeDelta = TimeDelta::minutes(15);
const DENSER_FOR: TimeDelta = TimeDelta::days(1);

/// How many days of history a verdict is founded on at most: two weeks before the fault, and half a year of
/// earlier pairs of dates.
const DAYS_OF_HISTORY: i64 = 220;

/// Why a booking is not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    /// It cannot be, as it stands.
    #[error(transparent)]
    Act(#[from] ActError),
    /// It could not be written.
    #[error("the ledger cannot be written; nothing was changed")]
    Store(#[from] StoreError),
}

impl<C: Clock> Daemon<C> {
    /// Does what somebody asks, or says what it would do.
    pub(super) async fn book(
        &mut self,
        asked: &Asked,
        user: Option<u32>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let now = (self.clock)();
        let site = &self.known.config.site;
        let (memory, plan) = match &asked.wish {
            Wish::Open { kind, severity, text } => self.planned(now, |memory, terms| {
                Ok::<_, ActError>(plan::open(memory, *kind, *severity, text, &By::School(user), terms, now))
            })?,
            wish @ Wish::Act { key, .. } => {
                let usual = TimeDelta::from_std(site.vendor.duration.0).unwrap_or(TimeDelta::hours(1));
                let (act, by) = wish.act(usual, site.locale.timezone, user, now)?;
                self.planned(now, |memory, terms| plan::act(memory, key, &act, (&by, None), terms, now))?
            }
        };
        let orders: Vec<String> = plan
            .orders
            .iter()
            .map(|order| format!("{} {} {}", order.channel, order.operation.name(), order.op_key))
            .collect();
        let booking = plan.bookings.last().cloned().ok_or("nothing changes")?;
        if !asked.dry_run {
            self.take_plan(memory, plan, now).await?;
        }
        Ok(json!({ "booking": booking, "orders": orders }))
    }

    /// A plan on a copy of the memory.
    fn planned<E>(
        &mut self,
        now: DateTime<Utc>,
        plan: impl FnOnce(&mut Memory, Terms<'_>) -> Result<Plan, E>,
    ) -> Result<(Memory, Plan), E> {
        let mut memory = self.known.memory.clone();
        let channels = self.channels.borrow().clone();
        let calendar = self.hours.calendar(&self.known.config, now);
        let terms = Terms { site: &self.known.config.site, channels: &channels, calendar: &calendar };
        let plan = plan(&mut memory, terms)?;
        Ok((memory, plan))
    }

    /// Lets something happen to a booking: durable before anybody is told.
    async fn change(&mut self, key: &str, act: &Act, said: (&By, Option<&Remote>)) -> Result<(), ChangeError> {
        let now = (self.clock)();
        let (memory, plan) = self.planned(now, |memory, terms| plan::act(memory, key, act, said, terms, now))?;
        self.take_plan(memory, plan, now).await?;
        Ok(())
    }

    /// Makes a plan durable, takes it, and lets it be sent.
    async fn take_plan(&mut self, memory: Memory, plan: Plan, now: DateTime<Utc>) -> Result<(), StoreError> {
        let booking = plan.bookings.last().cloned();
        let conclusion = Conclusion::of_plan(memory, plan);
        let work: Vec<(&str, &Booking)> = conclusion
            .entries
            .iter()
            .filter_map(|entry| Some((word(&entry.act, entry.to)?, booking.as_ref()?)))
            .collect();
        let mut learned = None;
        for (word, booking) in &work {
            self.known.judge.work(now, word, booking.family, booking.cause);
            learned = judge::snapshot(&self.known.judge, now);
        }
        let maintenance: Vec<(&str, &str)> = work.iter().map(|(word, booking)| (*word, &booking.key[..])).collect();
        let record = Record { maintenance: &maintenance, judge: learned.as_ref(), ..Record::default() };
        let id = BASE32_NOPAD.encode(&self.random.u128(..).to_be_bytes()).to_ascii_lowercase();
        self.store.commit(&id, &conclusion, record, now).await?;
        if conclusion.entries.iter().any(|entry| entry.to == State::Reported) {
            // Everything is looked at now, whenever that was the last time.
            self.reader.looked = None;
        }
        for entry in &conclusion.entries {
            let (from, to) = (entry.from.name(), entry.to.name());
            tracing::info!(booking = entry.booking, act = entry.act, from, to, by = ?entry.by, "booking");
        }
        self.known.memory = conclusion.memory;
        if !conclusion.orders.is_empty() {
            self.orders_due.notify_one();
        }
        self.keep_silences(now);
        self.count_orders().await;
        self.publish();
        Ok(())
    }

    /// What the clock does to bookings.
    pub(super) async fn bookings_beat(&mut self) {
        let now = (self.clock)();
        for (key, act) in plan::acts_due(&self.known.memory, now) {
            self.change_or_say(&key, &act, (&By::Bellwether, None)).await;
        }
        self.evaluate(now);
        if self.is_to_be_examined(now) || self.is_to_be_looked_at_again(now) {
            self.run_all_soon(None);
        }
        self.check_channels(now);
        self.keep_silences(now);
        self.read_back(now).await;
    }

    pub(super) async fn change_or_say(&mut self, key: &str, act: &Act, said: (&By, Option<&Remote>)) {
        if let Err(error) = self.change(key, act, said).await {
            tracing::error!(booking = key, act = act.name(), error = report::chain(&error), "a booking is not changed");
        }
    }

    /// Whether everything is to be looked at because a window is about to open, or has just closed.
    fn is_to_be_examined(&mut self, now: DateTime<Utc>) -> bool {
        let mut soon = false;
        for booking in self.known.memory.bookings.values_mut() {
            let opens = booking.life.appointment.map(|window| window.start - EXAMINE_BEFORE);
            if booking.state == State::Confirmed
                && booking.life.examined_at.is_none()
                && opens.is_some_and(|at| at <= now)
            {
                // Written with whatever happens next to it; a restart before that looks once more.
                booking.life.examined_at = Some(now);
                soon = true;
            }
        }
        soon
    }

    /// Whether everything is to be looked at more often, since the room is observed.
    fn is_to_be_looked_at_again(&mut self, now: DateTime<Utc>) -> bool {
        let fresh = |booking: &&Booking| match booking.state {
            State::Reported => true,
            State::Observing => booking.life.observed_from.is_some_and(|at| now - at < DENSER_FOR),
            _ => false,
        };
        let due = self.reader.looked.is_none_or(|at| now - at >= DENSER || now < at);
        let look = due && self.known.memory.bookings.values().any(|booking| fresh(&booking));
        if look {
            self.reader.looked = Some(now);
        }
        look
    }

    /// Everything has been looked at since the work was reported, or as much of it as had free time within an hour:
    /// that is the look after it.
    pub(super) async fn examined(&mut self) {
        let now = (self.clock)();
        let oldest = self.known.plan.status.values().map(|status| status.last.as_ref().map(|run| run.started_at)).min();
        let oldest = oldest.flatten();
        let is_examined = |booking: &&Booking| {
            let reported = booking.life.reported_at.filter(|_| booking.state == State::Reported);
            reported.is_some_and(|at| oldest.is_some_and(|oldest| oldest >= at) || now - at >= EXAMINE_WITHIN)
        };
        let keys: Vec<_> = self.known.memory.bookings.values().filter(is_examined).map(|one| one.key.clone()).collect();
        for key in keys {
            self.change_or_say(&key, &Act::Examined, (&By::Bellwether, None)).await;
        }
    }

    /// Starts to find out what maintenances have brought whose observation is over.
    fn evaluate(&mut self, now: DateTime<Utc>) {
        for key in plan::observed(&self.known.memory, now) {
            let Some(booking) = self.known.memory.bookings.get(&key).cloned() else { continue };
            if !self.reader.evaluating.insert(key.clone()) {
                continue;
            }
            let (store, results) = (self.store.clone(), self.reader.results.clone());
            let mut collected = Collected::of(&booking, &self.known.config.rules);
            tokio::spawn(async move {
                if let Err(error) = collect(&store, &mut collected, now).await {
                    tracing::error!(error = report::chain(&error), "history cannot be read; nothing is judged by it");
                }
                let effect = collected.effect(&booking, now);
                // The loop may have ended meanwhile.
                let _gone = results.send(Found::Effect(key, effect)).await;
            });
        }
    }
}

async fn collect(store: &Store, collected: &mut Collected, now: DateTime<Utc>) -> Result<(), StoreError> {
    let first = now.timestamp().div_euclid(86_400) - DAYS_OF_HISTORY;
    for day in store.recorded_days().await?.into_iter().filter(|day| *day >= first) {
        store.recorded(day).await?.iter().for_each(|entry| collected.take(entry));
    }
    Ok(())
}

/// The word of the history for what is done in the room.
fn word(act: &str, to: State) -> Option<&'static str> {
    match (act, to) {
        ("confirm", _) => Some("confirm"),
        ("start", _) => Some("start"),
        ("report", _) => Some("done"),
        (_, State::Archived) => Some("accept"),
        _ => None,
    }
}
