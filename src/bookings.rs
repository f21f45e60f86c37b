//! `bookings list` and `bookings show`: what the ledger knows, read beside a running daemon or
//! without one.

use std::path::Path;

use bellwether_agent::{
    Booking,
    booking::text,
    site::Language,
    store::{OrderRecord, Store, StoreError},
};
use serde_json::json;

use crate::{daemon, table};

/// Why no booking is shown.
#[derive(Debug, thiserror::Error)]
pub enum BookingsError {
    /// The ledger cannot be read.
    #[error("the ledger cannot be read")]
    Store(#[from] StoreError),
    /// No booking has this key.
    #[error("found no booking whose key begins with {0:?}; `bellwether bookings list` shows all")]
    Unknown(String),
}

/// All bookings, newest first.
pub async fn list(state: &Path, language: Language, as_json: bool) -> Result<String, BookingsError> {
    let bookings = all(state).await?;
    if as_json {
        return Ok(format!("{:#}\n", json!(bookings)));
    }
    if bookings.is_empty() {
        return Ok("no bookings\n".to_owned());
    }
    let mut rows = vec![["KEY", "OPENED", "STATE", "SEVERITY", "WHAT"].map(str::to_owned).to_vec()];
    rows.extend(bookings.iter().map(|booking| {
        let opened = booking.opened_at.format("%Y-%m-%d %H:%M UTC").to_string();
        let (state, severity) = (booking.state.name().to_owned(), booking.severity.name().to_owned());
        vec![booking.key.clone(), opened, state, severity, text::write(booking, language).subject]
    }));
    Ok(table::lay_out(&rows))
}

/// One booking with its orders.
pub async fn show(state: &Path, key: &str, language: Language, as_json: bool) -> Result<String, BookingsError> {
    let store = open(state).await?;
    let booking = store.bookings().await?.into_iter().find(|booking| booking.key.starts_with(key));
    let booking = booking.ok_or_else(|| BookingsError::Unknown(key.to_owned()))?;
    if as_json {
        return Ok(format!("{:#}\n", json!(booking)));
    }
    let mut shown = text::write(&booking, language).letter();
    let orders = store.orders_of(&booking.key).await?;
    let mut rows = vec![["ORDER", "CHANNEL", "ASKS", "STATE", "ATTEMPTS", ""].map(str::to_owned).to_vec()];
    rows.extend(orders.into_iter().map(|OrderRecord { order, state, attempt, detail, .. }| {
        let (operation, attempts) = (order.operation.name().to_owned(), attempt.to_string());
        vec![order.op_key, order.channel, operation, state.name().to_owned(), attempts, detail.unwrap_or_default()]
    }));
    shown.push('\n');
    shown.push_str(&table::lay_out(&rows));
    Ok(shown)
}

async fn open(state: &Path) -> Result<Store, StoreError> {
    Store::read_only(&daemon::ledger(state)).await
}

async fn all(state: &Path) -> Result<Vec<Booking>, StoreError> {
    let mut bookings = open(state).await?.bookings().await?;
    bookings.sort_by_key(|booking| std::cmp::Reverse(booking.opened_at));
    Ok(bookings)
}
