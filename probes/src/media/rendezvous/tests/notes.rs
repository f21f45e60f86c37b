//! What a box that reflects says when a call is ended.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::post};

use super::*;
use crate::media::capture::FarLog;

/// A box that takes every offer, and says `farewell` with a status; nothing at all without one. Counts how
/// often it is told that a call is over.
async fn far_end(farewell: Option<(StatusCode, String)>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/reflect", listener.local_addr().unwrap());
    let told: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&told);
    let end = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let farewell = farewell.clone();
        async move {
            match farewell {
                Some(farewell) => farewell.into_response(),
                None => std::future::pending().await,
            }
        }
    };
    let created = || async { (StatusCode::CREATED, [("location", "/reflect/1")]) };
    let router = Router::new().route("/reflect", post(created)).route("/reflect/1", axum::routing::delete(end));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, told)
}

/// What is known of the other side, and how often the far end was told that the call is over.
async fn far_side(kind: &str, farewell: Option<(StatusCode, String)>) -> (Option<FarSide>, usize) {
    let (url, told) = far_end(farewell).await;
    let table = match kind {
        "whip_whep" => json!({"kind": kind, "publish": url, "subscribe": url}),
        _ => json!({"kind": kind, "url": url}),
    };
    let mut way = way(table).await;
    let leg = way.legs()[0];
    // There is no description in its answer; but it is there to be ended.
    way.exchange(leg, "v=0\r\n".to_owned(), Instant::now() + LONG).await.unwrap_err();
    let far_side = way.far_side(Instant::now() + SHORT).await;
    way.teardown().await;
    (far_side, told.load(Ordering::Relaxed))
}

const NOTHING: &str = r#"{"version":1,"unnoted":7,"dropped":0,"clock_drift":0}"#;

#[tokio::test]
async fn what_another_box_noted_is_read_once() {
    let (found, told) = far_side("reflect", Some((StatusCode::OK, NOTHING.to_owned()))).await;
    assert_eq!(found, Some(FarSide::Noted(FarLog { unnoted: 7, ..FarLog::default() })));
    assert_eq!(told, 1, "it is over");
}

#[tokio::test]
async fn a_media_server_is_not_asked_what_it_noted() {
    let (found, told) = far_side("whip_whep", Some((StatusCode::OK, NOTHING.to_owned()))).await;
    assert_eq!((found, told), (None, 1));
}

#[tokio::test]
async fn whatever_else_a_box_says_is_a_reason_and_the_call_is_ended_all_the_same() {
    let long = format!(r#"{{"version":1,"more":"{}"}}"#, "x".repeat(600 << 10));
    let ok = |text: &str| Some((StatusCode::OK, text.to_owned()));
    for (what, farewell, reason, detail, told) in [
        ("an older version", ok(""), Reason::Parse, "does not say which packets arrived", 1),
        ("a page", ok("<html>"), Reason::Parse, "not the JSON that is expected", 1),
        ("a newer version", ok(&NOTHING.replace(":1,", ":2,")), Reason::Parse, "found version 2, expected 1", 1),
        ("a long answer", ok(&long), Reason::Signalling, "longer than 512 KiB", 2),
        ("404", Some((StatusCode::NOT_FOUND, NOTHING.to_owned())), Reason::Signalling, "status 404", 2),
        ("silence", None, Reason::Signalling, "no answer in time", 2),
    ] {
        let (found, count) = far_side("reflect", farewell).await;
        let Some(FarSide::Unknown(failure)) = found else { panic!("{what}: {found:?}") };
        assert_eq!(failure.reason, reason, "{what}: {failure:?}");
        assert!(failure.detail.contains(detail), "{what}: {failure:?}");
        assert_eq!(count, told, "{what}");
    }
}
