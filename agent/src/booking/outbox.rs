//! What is done with an order next, and what an attempt makes of it. Pure.
//!
//! ```text
//! pending ──────────────► send ──► done | pending | ambiguous | dead
//! ambiguous ─ keyed ────► send again: the same key, the same bytes
//!           ─ searchable ► wait until the vendor's system has settled
//!                          ► probe ──► done | ambiguous (missed once, or nothing learned)
//!                          ► missed twice ──► send again
//!           ─ blind ────► dead: a person must look
//! ```

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::{
    channel::{Class, Doubt, Link, Outcome},
    store::Settlement,
};

/// The first wait between two attempts; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait of our own choosing.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The shortest wait, so that no draw makes a loop of it.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that a vendor can impose on us.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The wait after a channel has let us in no more: a person has to mend it, and a lock must not be provoked.
const LOCKED_OUT: Duration = Duration::from_secs(30 * 60);
/// How often in a row an order must have been missed before it is sent again.
const MISSES: u32 = 2;

/// What is known of an order's attempts and of its booking on its channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// When it was sent last; not when it was looked for.
    pub sent_at: Option<DateTime<Utc>>,
    /// Whether an attempt may have arrived.
    pub is_doubtful: bool,
    /// How often it was looked for since, and missed.
    pub misses: u32,
    /// The booking on the channel.
    pub link: Link,
}

/// What is done with an order next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is sent.
    Send,
    /// It is looked for.
    Probe,
    /// Nothing, before then.
    Wait(DateTime<Utc>),
    /// Nothing can be found out about it: a person is asked.
    Ask,
}

/// What is to be done with an order at `now`.
pub fn next(doubt: Doubt, past: &Past, now: DateTime<Utc>) -> Step {
    if !past.is_doubtful {
        return Step::Send;
    }
    match doubt.class {
        Class::Keyed => Step::Send,
        Class::Blind => Step::Ask,
        Class::Searchable => {
            let settled = TimeDelta::from_std(doubt.settles_within)
                .ok()
                .and_then(|wait| past.sent_at.unwrap_or(now).checked_add_signed(wait));
            match settled {
                Some(settled) if now < settled => Step::Wait(settled),
                _ if past.misses < MISSES => Step::Probe,
                _ => Step::Send,
            }
        }
    }
}

/// What a person is told of an order about which nothing can be found out.
pub fn unknowable(booking_key: &str) -> Outcome {
    Outcome::Rejected {
        detail: format!(
            "it may have arrived, and this channel cannot tell: look for {booking_key} at the vendor's before you \
             send it again"
        ),
    }
}

/// What becomes of an order after attempt number `attempt` (from 1).
///
/// The wait doubles from 5 s to 15 min, and is drawn between 1 s and that ("full jitter") from the
/// order, the attempt and `seed`, so that many boxes do not come back at once. A vendor's
/// `Retry-After` is the least wait, up to a day.
pub fn after(op_key: &str, outcome: &Outcome, attempt: u32, seed: u64, now: DateTime<Utc>) -> Settlement {
    let retry = |detail: &str, least: Option<Duration>, ambiguous, missed| {
        let least = least.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let wait = backoff(op_key, attempt, seed).max(least);
        // Both are at most a day.
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let not_before = now.checked_add_signed(wait).unwrap_or(now);
        Settlement::Retry { not_before, ambiguous, missed, detail: detail.to_owned() }
    };
    match outcome {
        Outcome::Done { remote_id, .. } => Settlement::Done { remote_id: remote_id.clone() },
        Outcome::NotDelivered { detail, retry_after } => retry(detail, *retry_after, false, false),
        Outcome::LockedOut { detail } => retry(detail, Some(LOCKED_OUT), false, false),
        Outcome::Ambiguous { detail, retry_after } => retry(detail, *retry_after, true, false),
        Outcome::Missing { detail } => retry(detail, None, true, true),
        Outcome::Rejected { detail } => Settlement::Dead { detail: detail.clone() },
    }
}

/// How long the whole channel rests after an attempt: as long as the vendor asked, or until somebody may have
/// mended what locks us out.
pub fn rest(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::LockedOut { .. } => Some(LOCKED_OUT),
        Outcome::NotDelivered { retry_after, .. } | Outcome::Ambiguous { retry_after, .. } => {
            retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER))
        }
        Outcome::Done { .. } | Outcome::Missing { .. } | Outcome::Rejected { .. } => None,
    }
}

fn backoff(op_key: &str, attempt: u32, seed: u64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1)));
    let ceiling = doubled.min(LONGEST_WAIT);
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(attempt.to_be_bytes());
    hash.update(op_key.as_bytes());
    let draw = hash.finalize().iter().take(4).fold(0u32, |draw, byte| draw << 8 | u32::from(*byte));
    SHORTEST_WAIT + (ceiling - SHORTEST_WAIT).mul_f64(f64::from(draw) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("a time written here")
    }

    fn doubt(class: Class) -> Doubt {
        Doubt { class, settles_within: Duration::from_secs(60) }
    }

    #[test]
    fn what_never_left_is_sent_on_every_channel() {
        for class in [Class::Keyed, Class::Searchable, Class::Blind] {
            assert_eq!(next(doubt(class), &Past::default(), at(0)), Step::Send);
        }
    }

    #[test]
    fn a_doubt_is_resolved_by_what_the_channel_can_do() {
        let past = |misses| Past { sent_at: Some(at(0)), is_doubtful: true, misses, ..Past::default() };
        assert_eq!(next(doubt(Class::Keyed), &past(0), at(1)), Step::Send);
        assert_eq!(next(doubt(Class::Blind), &past(0), at(9_999)), Step::Ask);
        let searchable = |misses, second| next(doubt(Class::Searchable), &past(misses), at(second));
        assert_eq!(searchable(0, 59), Step::Wait(at(60)));
        assert_eq!(searchable(2, 59), Step::Wait(at(60)), "misses before it has settled count for nothing");
        assert_eq!(searchable(0, 60), Step::Probe);
        assert_eq!(searchable(1, 60), Step::Probe);
        assert_eq!(searchable(2, 60), Step::Send);
        // A clock that was set back, or a row without a time.
        assert_eq!(searchable(0, -9_999), Step::Wait(at(60)));
        let unknown = Past { sent_at: None, ..past(0) };
        assert_eq!(next(doubt(Class::Searchable), &unknown, at(5)), Step::Wait(at(65)));
    }

    #[test]
    fn a_channel_rests_as_long_as_its_vendor_asked_or_somebody_must_mend_it() {
        let wait = Duration::from_secs(7);
        let asked = Outcome::NotDelivered { detail: String::new(), retry_after: Some(wait) };
        assert_eq!(rest(&asked), Some(wait));
        assert_eq!(rest(&Outcome::LockedOut { detail: String::new() }), Some(LOCKED_OUT));
        assert_eq!(rest(&Outcome::ambiguous("cut off")), None);
        let endless = Outcome::NotDelivered { detail: String::new(), retry_after: Some(Duration::MAX) };
        assert_eq!(rest(&endless), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn waits_double_up_to_a_limit_and_are_drawn_without_a_clock() {
        let mut distinct = std::collections::HashSet::new();
        for attempt in 1..=200 {
            let ceiling = 5u64.saturating_mul(1u64.checked_shl(attempt - 1).unwrap_or(u64::MAX)).min(900);
            for key in 0..20 {
                let wait = backoff(&format!("b.{key}"), attempt, 7);
                assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(ceiling), "{attempt}: {wait:?}");
                assert_eq!(wait, backoff(&format!("b.{key}"), attempt, 7));
                distinct.insert(wait);
            }
        }
        assert!(distinct.len() > 3990, "spread: {}", distinct.len());
        assert_ne!(backoff("b.1", 9, 7), backoff("b.1", 9, 8), "boxes differ");
        // Full jitter: half of the ceiling on average.
        let mean = (0..2000).map(|key| backoff(&format!("b.{key}"), 20, 7).as_secs_f64()).sum::<f64>() / 2000.0;
        assert!((mean - 450.0).abs() < 25.0, "{mean}");
    }

    #[test]
    fn an_outcome_becomes_a_settlement() {
        let detail = || "words".to_owned();
        let own = |attempt| at(0) + TimeDelta::from_std(backoff("b.1", attempt, 7)).expect("at most a day");
        let asked = |seconds| Some(Duration::from_secs(seconds));
        let retry =
            |not_before, ambiguous| Settlement::Retry { not_before, ambiguous, missed: false, detail: detail() };
        for (outcome, attempt, expected) in [
            (Outcome::done(Some("4711".to_owned())), 1, Settlement::Done { remote_id: Some("4711".to_owned()) }),
            (Outcome::Rejected { detail: detail() }, 1, Settlement::Dead { detail: detail() }),
            (Outcome::NotDelivered { detail: detail(), retry_after: None }, 1, retry(own(1), false)),
            (Outcome::Ambiguous { detail: detail(), retry_after: None }, 1_000_000, retry(own(1_000_000), true)),
            (Outcome::NotDelivered { detail: detail(), retry_after: asked(7200) }, 1, retry(at(7200), false)),
            (Outcome::Ambiguous { detail: detail(), retry_after: asked(0) }, 1, retry(own(1), true)),
            (Outcome::NotDelivered { detail: detail(), retry_after: asked(u64::MAX) }, 1, retry(at(86_400), false)),
            (Outcome::LockedOut { detail: detail() }, 1, retry(at(1800), false)),
            (
                Outcome::Missing { detail: detail() },
                1,
                Settlement::Retry { not_before: own(1), ambiguous: true, missed: true, detail: detail() },
            ),
        ] {
            assert_eq!(after("b.1", &outcome, attempt, 7, at(0)), expected, "{outcome:?}");
        }
    }
}
