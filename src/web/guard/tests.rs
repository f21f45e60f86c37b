#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use chrono::TimeZone;

use super::*;

const HASH: &str = "$2y$05$3uLsJE1UWUn7NKcSJjqKAubPJ5YCRjxIGXlzMs.4gr9rOSqf/G/oq";

fn at(minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 4, minute, 0).unwrap()
}

/// A guard that has just read `text` at 04:00; its clock says 04:01.
fn guard(text: &str) -> (tempfile::TempDir, PathBuf, Arc<Guard>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    fs::write(&path, text).unwrap();
    let access = Arc::new(Access::read(&path).unwrap());
    let calls = std::sync::atomic::AtomicU32::new(0);
    let clock = move || at(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let address = ([127, 0, 0, 1], 9642).into();
    let guard = Guard::new(Some(path.clone()), access, address, Box::new(clock)).unwrap();
    (folder, path, Arc::new(guard))
}

impl Guard {
    /// As if the last look were long ago.
    async fn looks(self: &Arc<Self>) -> Arc<Access> {
        self.state().looked_at -= BETWEEN_LOOKS;
        self.current().await
    }
}

fn names(access: Arc<Access>) -> Vec<String> {
    access.users.keys().cloned().collect()
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_bad_one_changes_nothing() {
    let (_folder, path, guard) = guard(&format!("basic_auth_users: {{alice: {HASH}}}\n"));
    let mut changes = guard.changes();
    assert_eq!(names(guard.looks().await), ["alice"]);
    assert_eq!(guard.reload(), Some(Reload { successful: true, succeeded_at: at(0) }));

    fs::write(&path, format!("basic_auth_users: {{bob: {HASH}}}\n")).unwrap();
    assert_eq!(names(guard.current().await), ["alice"], "it was looked at a moment ago");
    assert_eq!(names(guard.looks().await), ["bob"]);
    assert_eq!(guard.reload(), Some(Reload { successful: true, succeeded_at: at(1) }));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();

    for bad in ["basic_auth_users: {carol: s3cret}\n", "- what", "basic_auth_users: {bob: $2y$10$abc"] {
        fs::write(&path, bad).unwrap();
        assert_eq!(names(guard.looks().await), ["bob"], "{bad}");
        assert_eq!(guard.reload(), Some(Reload { successful: false, succeeded_at: at(1) }), "{bad}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(names(guard.looks().await), ["bob"]);
    assert!(!changes.has_changed().unwrap());

    fs::write(&path, format!("basic_auth_users: {{bob: {HASH}}}\n")).unwrap();
    assert_eq!(names(guard.looks().await), ["bob"]);
    assert_eq!(guard.reload(), Some(Reload { successful: true, succeeded_at: at(2) }), "the same as before is good");
}

#[tokio::test]
async fn what_asks_for_less_than_before_waits_for_a_reload() {
    let (_folder, path, guard) = guard(&format!("basic_auth_users: {{alice: {HASH}}}\n"));
    // As an editor leaves it for a moment.
    fs::write(&path, "").unwrap();
    assert_eq!(names(guard.looks().await), ["alice"]);
    assert_eq!(guard.reload().map(|reload| reload.successful), Some(false));
    guard.take(Some(path.clone()), Arc::new(Access::read(&path).unwrap()));
    assert_eq!(names(guard.looks().await), [""; 0]);
    assert_eq!(guard.reload().map(|reload| reload.successful), Some(true));
    guard.take(None, Arc::default());
    assert_eq!(guard.reload(), None);
}

#[tokio::test]
async fn a_look_that_a_reload_has_overtaken_changes_nothing() {
    let (_folder, path, guard) = guard(&format!("basic_auth_users: {{alice: {HASH}}}\n"));
    let before = *guard.changes.borrow();
    let reading = access::read(&path);
    fs::write(&path, format!("basic_auth_users: {{bob: {HASH}}}\n")).unwrap();
    guard.take(Some(path.clone()), Arc::new(Access::read(&path).unwrap()));
    guard.found(&path, reading, before);
    assert_eq!(names(guard.current().await), ["bob"]);
}

#[tokio::test]
async fn what_a_person_should_know_is_said_once_and_again_when_it_changes() {
    let (_folder, path, guard) = guard(&format!("basic_auth_users: {{alice: {HASH}}}\n"));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let access = Access::read(&path).unwrap();
    guard.take(Some(path.clone()), Arc::new(Access { digest: [1; 32], ..access.clone() }));
    let mut state = guard.state();
    assert_eq!(state.warned.len(), 1, "everybody can read the file: {:?}", state.warned);
    assert_eq!(state.news(), [""; 0]);
    state.address = ([0, 0, 0, 0], 9642).into();
    assert_eq!(state.news().len(), 1, "passwords in plain HTTP");
    state.access = Arc::default();
    assert_eq!(state.news().len(), 1, "not even passwords");
    state.access = Arc::new(access);
    assert_eq!(state.news().len(), 2, "what was well for a while is said again");
}

#[test]
fn a_bucket_lets_a_burst_through_and_then_one_at_each_interval() {
    let mut bucket = Bucket::new(Rate { interval: Duration::from_secs(2), burst: 3 });
    let start = bucket.since;
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let taken: Vec<bool> =
        [0, 0, 1, 1, 1999, 2000, 2001, 4000, 60_000, 60_000, 60_000, 60_000].map(|now| bucket.take(at(now))).to_vec();
    assert_eq!(taken, [true, true, true, false, false, true, false, true, true, true, true, false]);
}
