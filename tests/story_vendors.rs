//! The story of a booking with the vendor's real servers: a calendar by Radicale and by Xandikos, and Request Tracker.
//! Needs what `tests/run vendors` installs, and is run by it.

mod desk;
mod school;

use desk::{
    Desk, answers_are_seen, back_after_the_verdict, set_up_anew, to_the_end, with_a_refusal, with_a_relapse, with_desk,
};
use tokio::sync::Mutex;

/// There is one page.
static PAGE: Mutex<()> = Mutex::const_new(());

/// A desk that is empty for each part.
async fn lived_through(kind: &str) {
    let _page = PAGE.lock().await;
    let desk = Desk::server(kind);
    with_desk(&desk, async |story| drop(to_the_end(story).await)).await;
    assert_eq!(desk.tell("count"), "1");
    with_desk(&Desk::server(kind), with_a_relapse).await;
    with_desk(&Desk::server(kind), back_after_the_verdict).await;
    with_desk(&Desk::server(kind), with_a_refusal).await;
    let desk = Desk::server(kind);
    set_up_anew(&desk).await;
    assert_eq!(desk.tell("count"), "2", "one for each fault");
    answers_are_seen(kind).await;
}

#[tokio::test]
async fn in_a_calendar_by_radicale() {
    lived_through("radicale").await;
}

#[tokio::test]
async fn in_a_calendar_by_xandikos() {
    lived_through("xandikos").await;
}

#[tokio::test]
async fn in_request_tracker() {
    lived_through("rt").await;
}
