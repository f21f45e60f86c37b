//! Books many appointments at once and has them delivered, for the tests that look at what the vendor then has.
//!
//! ```text
//! orders --config FILE --state FOLDER --count 100 [--speed 20] [--within 120]
//! ```
//! The planner plans, the store keeps, and the dispatcher delivers them, all as in the daemon, over the channels of the
//! config; there are no probes and no listener. It ends when no order is to be sent any more, and prints where each
//! booking stands and how often its order was begun. Killed and started again, it goes on with what the ledger holds.
//!
//! Channels are not checked: that is done by `bellwether channel check`, when an operator sets them up.
//!
//! `--speed` makes the clock run so many times as fast, and the dispatcher look at it fifty times a second: waits
//! between attempts and for a vendor's system to settle pass as much sooner. Deadlines of requests, and pauses that a
//! vendor asks for, are real time.

#![expect(clippy::disallowed_methods, reason = "a shell: it reads the clock")]
#![expect(clippy::print_stdout, reason = "what it finds is its output")]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bellwether::config::{self, Config};
use bellwether_agent::{
    booking::{ChangeKind, VersionChange, dispatch, plan},
    calendar::{Calendar, Certainty, Day, DayKind, zone},
    channel::Channels,
    inspection::{Conclusion, KnownVersion, Memory},
    store::{OrderState, Record, Store},
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{interval, sleep},
};

/// How often the dispatcher is made to look at the clock.
const LOOK: Duration = Duration::from_millis(20);
/// For how many days the vendor's hours are known.
const DAYS: usize = 30;

/// Books, delivers, and tells what came of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Config of the site, with the channels
    #[arg(long)]
    config: PathBuf,
    /// Where the ledger lies
    #[arg(long)]
    state: PathBuf,
    /// How many bookings, if the ledger is new
    #[arg(long)]
    count: usize,
    /// How many times as fast the clock runs
    #[arg(long, default_value_t = 1)]
    speed: i32,
    /// After how many real seconds to end, whatever is left
    #[arg(long, default_value_t = 120)]
    within: u64,
}

/// What became of a booking.
#[derive(Debug, Serialize)]
struct Told {
    state: &'static str,
    orders: Vec<&'static str>,
    attempts: u32,
    detail: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(deliver(arguments))?;
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}

async fn deliver(arguments: Arguments) -> Result<BTreeMap<String, Told>, Box<dyn Error>> {
    fs::create_dir_all(&arguments.state)?;
    let clock = clock(&arguments.state, arguments.speed)?;
    let config = config::load(Some(&arguments.config), clock())?;
    let channels = Arc::new(config.channels(&arguments.state));
    let ledger_id = format!("orders of {}", config.site.room.id);
    let (store, mut memory) = Store::open(&arguments.state.join("bellwether.db"), clock(), &ledger_id).await?;
    if memory.bookings.is_empty() {
        memory = book(&store, memory, &config, &channels, arguments.count, clock()).await?;
    }

    let (_channels, seen) = watch::channel(Arc::clone(&channels));
    let (sender, mut settled) = mpsc::channel(16);
    let wake = Arc::new(Notify::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let cancel = async {
        let _ = stopped.await;
    };
    let dispatcher = dispatch::run(store.clone(), seen, Arc::clone(&wake), sender, clock.clone(), 7, cancel);
    let dispatcher = tokio::spawn(dispatcher);
    let (mut look, mut end) = (interval(LOOK), Box::pin(sleep(Duration::from_secs(arguments.within))));
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = look.tick() => wake.notify_one(),
            Some(settled) = settled.recv() => {
                let changed =
                    plan::settle(&mut memory, &settled.order, &settled.outcome, channels.record(), clock());
                store.settle(&settled.order.op_key, &settled.settlement, changed.as_ref(), clock()).await?;
                let _ended = settled.done.send(true);
            }
        }
        if !is_busy(&store).await? {
            break;
        }
    }
    let _ended = stop.send(());
    drop(settled);
    dispatcher.await?;
    told(&store).await
}

/// A clock that goes on where it was when the ledger was left, however fast it runs.
fn clock(state: &Path, speed: i32) -> Result<impl Fn() -> DateTime<Utc> + Clone + Send + 'static, Box<dyn Error>> {
    let file = state.join("began");
    if !file.exists() {
        // Whole or not at all, whenever it is killed.
        let new = state.join("began.new");
        fs::write(&new, Utc::now().to_rfc3339())?;
        fs::rename(new, &file)?;
    }
    let began: DateTime<Utc> = fs::read_to_string(&file)?.parse()?;
    Ok(move || began + (Utc::now() - began) * speed)
}

/// Plans as many checks as asked for, of as many components, and makes them durable.
async fn book(
    store: &Store,
    mut memory: Memory,
    config: &Config,
    channels: &Channels,
    count: usize,
    now: DateTime<Utc>,
) -> Result<Memory, Box<dyn Error>> {
    let change = |number| VersionChange {
        component: format!("c{number:03}"),
        old: "1.0".to_owned(),
        new: "1.1".to_owned(),
        kind: ChangeKind::Minor,
        at: now,
    };
    let changes: Vec<_> = (0..count).map(change).collect();
    for change in &changes {
        memory.versions.insert(change.component.clone(), KnownVersion { version: change.new.clone(), since: now });
    }
    let plan = plan::plan(&mut memory, &changes, &config.site, channels, &calendar(config, now), now);
    let conclusion = Conclusion::of_plan(memory.clone(), plan);
    store.commit("first", &conclusion, Record::default(), now).await?;
    Ok(memory)
}

/// The vendor's hours, and a building that is open in them.
fn calendar(config: &Config, now: DateTime<Utc>) -> Calendar {
    let (zone, vendor) = (config.site.locale.timezone, &config.site.vendor);
    let dates: Vec<_> = zone::date(zone, now - TimeDelta::days(1)).iter_days().take(DAYS).collect();
    let day = |date: &chrono::NaiveDate| Day {
        date: *date,
        kind: DayKind::Teaching,
        name: "".into(),
        week: None,
        follows: None,
        known: true,
    };
    let hours: Vec<_> = dates.iter().filter_map(|date| zone::window(zone, *date, vendor.from, vendor.to)).collect();
    let vendor = hours.iter().map(|hours| (*hours, true)).collect();
    Calendar::of_parts(zone, dates.iter().map(day).collect(), Vec::new(), hours, vendor, Certainty::NoTimetable)
}

/// Whether an order is still to be sent, or may have arrived.
async fn is_busy(store: &Store) -> Result<bool, Box<dyn Error>> {
    let open = [OrderState::Pending, OrderState::Inflight, OrderState::Ambiguous];
    Ok(store.order_counts().await?.iter().any(|count| open.contains(&count.state)))
}

async fn told(store: &Store) -> Result<BTreeMap<String, Told>, Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for booking in store.bookings().await? {
        let orders = store.orders_of(&booking.key).await?;
        let told = Told {
            state: booking.state.name(),
            orders: orders.iter().map(|order| order.state.name()).collect(),
            attempts: orders.iter().map(|order| order.attempt).sum(),
            detail: orders.iter().rev().find_map(|order| order.detail.clone()),
        };
        all.insert(booking.key, told);
    }
    Ok(all)
}
