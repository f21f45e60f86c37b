use super::*;
use crate::booking::{
    Order,
    plan::{WITHDRAW_AFTER, settle, tests as plans},
};
use crate::channel::Outcome;
use plans::{channels, memory, operations, plan, site, start};

const DESK: &str = "desk";

fn at(minute: i64) -> DateTime<Utc> {
    start() + TimeDelta::minutes(minute)
}

/// A booking that channels have taken.
fn requested(names: &[&str]) -> Memory {
    let mut memory = memory();
    let opened = plan(&mut memory, &[], &site(), &channels(names), start());
    take(&mut memory, &opened.orders);
    memory
}

fn take(memory: &mut Memory, orders: &[Order]) {
    for order in orders {
        settle(memory, order, &Outcome::done(None), None, at(1));
    }
}

fn act_on(memory: &mut Memory, names: &[&str], step: Act, by: By, minute: i64) -> Result<Plan, ActError> {
    let (site, channels) = (site(), channels(names));
    let calendar = crate::booking::examples::calendar(&site.vendor, start(), 60);
    let terms = Terms { site: &site, channels: &channels, calendar: &calendar };
    act(memory, "bw1-", &step, (&by, None), terms, at(minute))
}

fn only(memory: &Memory) -> &Booking {
    assert_eq!(memory.bookings.len(), 1);
    memory.bookings.values().next().expect("just counted")
}

/// Brings the booking to its observation.
fn observed(memory: &mut Memory) {
    for (minute, step) in
        [(2, Act::Confirm(None)), (3, Act::Start), (60, Act::Report(String::new())), (61, Act::Examined)]
    {
        act_on(memory, &[DESK], step, By::Bellwether, minute).expect("possible");
    }
}

#[test]
fn who_said_it_is_not_told_and_the_others_are() {
    let mut memory = requested(&[DESK, "hook"]);
    let window = Window { start: at(300), end: at(360) };
    let told =
        act_on(&mut memory, &[DESK, "hook"], Act::Counter(window), By::Vendor("hook".into()), 5).expect("possible");
    assert_eq!(operations(&told), [(DESK, Operation::Update, 3)]);
    assert_eq!(told.entries[0].by, By::Vendor("hook".into()));
    let told = act_on(&mut memory, &[DESK, "hook"], Act::Confirm(None), By::School(Some(7)), 6).expect("possible");
    assert_eq!(operations(&told), [(DESK, Operation::Update, 4), ("hook", Operation::Update, 5)]);
    assert_eq!(only(&memory).life.appointment, Some(window));
    assert!(told.orders[0].body.contains("confirmed"));
    let told = act_on(&mut memory, &[DESK, "hook"], Act::Start, By::Bellwether, 7).expect("possible");
    assert_eq!(operations(&told), [], "that a window opens needs no letter");
}

#[test]
fn what_is_proposed_is_nobody_s_business_until_it_is_released() {
    let (mut memory, desk) = (memory(), channels(&[DESK]));
    let mut site = site();
    site.policy.propose = vec!["fault.normal".into()];
    let calendar = crate::booking::examples::calendar(&site.vendor, start(), 60);
    let proposed = super::super::plan(&mut memory, &[], &site, &desk, &calendar, start());
    assert_eq!((operations(&proposed), only(&memory).state), (vec![], State::Suspected));
    let again = super::super::plan(&mut memory, &[], &site, &desk, &calendar, at(5));
    assert_eq!(again, Plan::default());
    let terms = Terms { site: &site, channels: &desk, calendar: &calendar };
    let released = act(&mut memory, "bw1-", &Act::Release, (&By::School(None), None), terms, at(6)).expect("possible");
    assert_eq!((operations(&released), only(&memory).state), (vec![(DESK, Operation::Open, 1)], State::Holding));
    // One that goes away by itself was never told of.
    let mut memory = self::memory();
    super::super::plan(&mut memory, &[], &site, &desk, &calendar, start());
    memory.incidents[0].recovered_at = Some(at(0));
    let over = super::super::plan(&mut memory, &[], &site, &desk, &calendar, start() + WITHDRAW_AFTER);
    assert_eq!((operations(&over), memory.bookings.len()), (vec![], 0));
}

#[test]
fn a_recovery_is_a_comment_once_people_may_be_on_the_road() {
    let mut memory = requested(&[DESK]);
    act_on(&mut memory, &[DESK], Act::Confirm(None), By::Vendor(DESK.into()), 5).expect("possible");
    memory.incidents[0].recovered_at = Some(at(10));
    let told = plan(&mut memory, &[], &site(), &channels(&[DESK]), at(10));
    assert_eq!(operations(&told), [(DESK, Operation::Update, 2)]);
    let told = plan(&mut memory, &[], &site(), &channels(&[DESK]), at(10) + WITHDRAW_AFTER);
    assert_eq!((operations(&told), only(&memory).state), (vec![], State::Confirmed));
    assert_eq!(memory.incidents.len(), 1, "it is watched on");
}

#[test]
fn a_relapse_opens_the_same_booking_and_asks_for_times_anew() {
    for came_back in [true, false] {
        let mut memory = requested(&[DESK]);
        let key = only(&memory).key.clone();
        observed(&mut memory);
        let (site, desk) = (site(), channels(&[DESK]));
        let now = if came_back {
            memory.incidents[0].recovered_at = Some(at(70));
            plan(&mut memory, &[], &site, &desk, at(70));
            memory.incidents[0].recovered_at = None;
            at(80)
        } else {
            // It never went, and a day is time enough.
            let early = plan(&mut memory, &[], &site, &desk, at(80));
            assert_eq!((operations(&early), only(&memory).state), (vec![], State::Observing));
            at(61) + WITHDRAW_AFTER
        };
        let again = plan(&mut memory, &[], &site, &desk, now);
        let booking = only(&memory);
        assert_eq!((booking.state, booking.life.reopened, &booking.key), (State::Requested, 1, &key), "{came_back}");
        assert_eq!(again.orders.len(), 1);
        assert!(!booking.wanted.is_empty() && booking.wanted[0].start > now, "{:?}", booking.wanted);
        assert_eq!(again.entries[0].act, "relapsed");
    }
}

#[test]
fn what_is_accepted_is_over_and_the_next_fault_is_another_booking() {
    let mut memory = requested(&[DESK]);
    let key = only(&memory).key.clone();
    observed(&mut memory);
    act_on(&mut memory, &[DESK], Act::Accept, By::School(None), 90).expect("possible");
    let effect =
        crate::booking::life::Effect { verdict: crate::archive::effect::Verdict::Inconclusive, series: Vec::new() };
    let over = act_on(&mut memory, &[DESK], Act::Observed(effect), By::Bellwether, 95).expect("possible");
    assert_eq!(over.bookings[0].state, State::Archived);
    assert_eq!(operations(&over).len(), 1, "the vendor is told");
    assert!(memory.bookings.is_empty() && memory.incidents.is_empty() && memory.opened_on.is_empty());
    assert_eq!(memory.recent[0].key, key);
    memory.incidents = self::memory().incidents;
    plan(&mut memory, &[], &site(), &channels(&[DESK]), at(100));
    let next = only(&memory);
    assert_eq!((next.epoch, next.recent[0].key == key, next.key == key), (1, true, false));
}

#[test]
fn the_clock_opens_a_window_and_closes_it() {
    let mut memory = requested(&[DESK]);
    act_on(&mut memory, &[DESK], Act::Confirm(None), By::School(None), 5).expect("possible");
    let window = only(&memory).life.appointment.expect("agreed");
    let key = only(&memory).key.clone();
    let second = TimeDelta::seconds(1);
    assert_eq!(acts_due(&memory, window.start - second), []);
    assert_eq!(acts_due(&memory, window.start), [(key.clone(), Act::Start)]);
    act_on(&mut memory, &[DESK], Act::Start, By::Bellwether, (window.start - start()).num_minutes()).expect("possible");
    assert!(memory.in_maintenance());
    assert_eq!(acts_due(&memory, window.end - second), []);
    assert_eq!(acts_due(&memory, window.end), [(key.clone(), Act::Report(String::new()))]);
    let end = (window.end - start()).num_minutes();
    act_on(&mut memory, &[DESK], Act::Report(String::new()), By::Bellwether, end).expect("possible");
    act_on(&mut memory, &[DESK], Act::Examined, By::Bellwether, end + 5).expect("possible");
    let over = at(end + 5) + TimeDelta::days(14);
    assert_eq!((observed_keys(&memory, over - second), observed_keys(&memory, over)), (vec![], vec![key]));
}

fn observed_keys(memory: &Memory, now: DateTime<Utc>) -> Vec<String> {
    super::observed(memory, now)
}

#[test]
fn the_vendor_s_time_is_counted_in_its_own_hours() {
    // Requested on Tuesday at 10:00 in Shanghai; the vendor works from 9:00 to 17:30.
    let mut memory = requested(&[DESK]);
    let tomorrow = 24 * 60;
    act_on(&mut memory, &[DESK], Act::Confirm(None), By::Vendor(DESK.into()), 121).expect("possible");
    act_on(&mut memory, &[DESK], Act::Start, By::Bellwether, tomorrow + 1).expect("possible");
    act_on(&mut memory, &[DESK], Act::Report(String::new()), By::Vendor(DESK.into()), tomorrow + 46).expect("possible");
    let took = only(&memory).life.vendor_minutes.expect("it was asked");
    // From 10:01 to 17:30, and an hour and a minute on Wednesday.
    let expected = VendorMinutes { acknowledge: Some(120), confirm: Some(120), start: Some(449 + 61), work: Some(45) };
    assert_eq!(took, expected);
}

#[test]
fn what_cannot_be_changes_nothing_and_says_why() {
    let mut memory = requested(&[DESK]);
    let before = memory.clone();
    let error = act_on(&mut memory, &[DESK], Act::Accept, By::School(None), 5).expect_err("too early");
    assert!(error.to_string().contains("requested"), "{error}");
    let (site, desk) = (site(), channels(&[DESK]));
    let calendar = crate::booking::examples::calendar(&site.vendor, start(), 60);
    let terms = Terms { site: &site, channels: &desk, calendar: &calendar };
    let unknown = act(&mut memory, "bw1-x", &Act::Accept, (&By::School(None), None), terms, at(5));
    assert!(matches!(unknown, Err(ActError::Unknown(_))));
    assert_eq!(memory, before);
    open(&mut memory, Kind::Routine, Severity::Low, "Bitte reinigen", &By::School(Some(7)), terms, at(5));
    assert_eq!(memory.bookings.len(), 2);
    let several = act(&mut memory, "bw1-", &Act::Accept, (&By::School(None), None), terms, at(5));
    assert_eq!(several, Err(ActError::Several("bw1-".to_owned(), 2)));
}

#[test]
fn a_booking_is_opened_by_hand_once_a_kind() {
    let (mut memory, site, desk) = (memory(), site(), channels(&[DESK]));
    memory.incidents.clear();
    let calendar = crate::booking::examples::calendar(&site.vendor, start(), 60);
    let terms = Terms { site: &site, channels: &desk, calendar: &calendar };
    let by = By::School(Some(7));
    let first = open(&mut memory, Kind::Security, Severity::High, "Kamera offen", &by, terms, at(5));
    assert_eq!(operations(&first), [(DESK, Operation::Open, 1)]);
    let booking = only(&memory);
    assert_eq!((booking.kind, booking.severity, booking.complete()), (Kind::Security, Severity::High, true));
    assert!(first.orders[0].body.contains("Kamera offen"));
    open(&mut memory, Kind::Security, Severity::Low, "noch etwas", &by, terms, at(6));
    assert_eq!((only(&memory).life.notes.len(), only(&memory).severity), (2, Severity::High));
}
