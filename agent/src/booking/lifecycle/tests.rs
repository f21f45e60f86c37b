use super::*;
use crate::{archive::effect::Verdict, booking::examples};

fn at(minute: i64) -> DateTime<Utc> {
    examples::full().opened_at + chrono::TimeDelta::minutes(minute)
}

fn window(from: i64, to: i64) -> Window {
    Window { start: at(from), end: at(to) }
}

fn in_state(state: State) -> Booking {
    Booking { state, ..examples::full() }
}

fn every_act() -> Vec<Act> {
    let words = || "words".to_owned();
    vec![
        Act::Release,
        Act::Taken,
        Act::Strand,
        Act::Confirm(Some(window(60, 120))),
        Act::Counter(window(60, 120)),
        Act::Move(window(60, 120)),
        Act::Refuse(words()),
        Act::Cancel(words()),
        Act::Start,
        Act::Report(words()),
        Act::Examined,
        Act::Observed(Effect { verdict: Verdict::Solved, series: Vec::new() }),
        Act::Relapsed,
        Act::Accept,
        Act::Rework(words()),
        Act::Rate(Rating { stars: 4, words: words() }),
        Act::Note(words()),
    ]
}

#[test]
fn every_act_leads_where_the_table_says_and_nowhere_else() {
    use State::*;
    // From each state: the acts that are possible, and where they lead.
    let table: [(State, &[(&str, State)]); 13] = [
        (
            Suspected,
            &[
                ("release", Holding),
                ("taken", Requested),
                ("strand", NeedsHuman),
                ("move", Suspected),
                ("cancel", Cancelled),
            ],
        ),
        (
            Holding,
            &[
                ("taken", Requested),
                ("strand", NeedsHuman),
                ("confirm", Confirmed),
                ("move", Holding),
                ("cancel", Cancelled),
            ],
        ),
        (
            Requested,
            &[
                ("taken", Requested),
                ("strand", NeedsHuman),
                ("confirm", Confirmed),
                ("counter", Countered),
                ("move", Requested),
                ("refuse", Refused),
                ("cancel", Cancelled),
                ("start", InMaintenance),
                ("report", Reported),
            ],
        ),
        (
            Countered,
            &[
                ("taken", Countered),
                ("confirm", Confirmed),
                ("counter", Countered),
                ("move", Requested),
                ("refuse", Refused),
                ("cancel", Cancelled),
                ("start", InMaintenance),
                ("report", Reported),
            ],
        ),
        (
            Confirmed,
            &[
                ("taken", Confirmed),
                ("confirm", Confirmed),
                ("counter", Countered),
                ("move", Requested),
                ("refuse", Refused),
                ("cancel", Cancelled),
                ("start", InMaintenance),
                ("report", Reported),
            ],
        ),
        (InMaintenance, &[("taken", InMaintenance), ("report", Reported)]),
        (
            Reported,
            &[
                ("taken", Reported),
                ("report", Reported),
                ("examined", Observing),
                ("relapsed", Requested),
                ("accept", Reported),
                ("rework", Requested),
                ("rate", Reported),
            ],
        ),
        (
            Observing,
            &[
                ("taken", Observing),
                ("observed", Evaluated),
                ("relapsed", Requested),
                ("accept", Observing),
                ("rework", Requested),
                ("rate", Observing),
            ],
        ),
        (
            Evaluated,
            &[
                ("taken", Evaluated),
                ("relapsed", Requested),
                ("accept", Archived),
                ("rework", Requested),
                ("rate", Evaluated),
            ],
        ),
        (Archived, &[("taken", Archived), ("rate", Archived)]),
        (Refused, &[("taken", Refused), ("confirm", Confirmed), ("move", Requested), ("cancel", Cancelled)]),
        (Cancelled, &[("taken", Cancelled)]),
        (
            NeedsHuman,
            &[
                ("taken", Requested),
                ("strand", NeedsHuman),
                ("confirm", Confirmed),
                ("counter", Countered),
                ("move", NeedsHuman),
                ("cancel", Cancelled),
                ("start", InMaintenance),
                ("report", Reported),
            ],
        ),
    ];
    assert_eq!(table.each_ref().map(|(state, _)| *state), State::ALL);
    for (state, possible) in table {
        for step in every_act() {
            let mut booking = in_state(state);
            let before = booking.clone();
            let led = act(&mut booking, &step, &By::Bellwether, at(1));
            let expected = possible.iter().find(|(name, _)| *name == step.name()).map(|(_, to)| *to);
            // Anybody may say something at any time.
            let expected = if step.name() == "note" { Some(state) } else { expected };
            match (led, expected) {
                (Ok(entry), Some(to)) => {
                    assert_eq!((entry.from, entry.to, booking.state), (state, to, to), "{state:?} {step:?}");
                }
                (Err(_), None) => assert_eq!(booking, before, "{state:?} {step:?} changed something"),
                (led, expected) => unreachable!("{state:?} {step:?}: {led:?}, expected {expected:?}"),
            }
        }
    }
}

#[test]
fn a_refusal_says_where_the_act_would_be_possible() {
    let mut booking = in_state(State::Holding);
    let error = act(&mut booking, &Act::Examined, &By::Bellwether, at(0)).expect_err("too early").to_string();
    assert_eq!(error, "the booking is holding: examined is possible when it is reported");
}

#[test]
fn a_time_is_agreed_by_naming_it_or_by_taking_the_one_that_is_offered() {
    let confirm = |booking: &mut Booking, window| act(booking, &Act::Confirm(window), &By::School(None), at(1));
    let mut asked = in_state(State::Requested);
    confirm(&mut asked, None).expect("the first that was asked for");
    assert_eq!((asked.life.appointment, asked.life.decisions), (asked.wanted.first().copied(), 1));
    let mut offered = in_state(State::Requested);
    act(&mut offered, &Act::Counter(window(300, 360)), &By::Vendor("desk".into()), at(1)).expect("an offer");
    assert_eq!(offered.life.acknowledged_at, Some(at(1)));
    assert_eq!(offered.life.decisions, 0, "an offer is no decision of the school");
    confirm(&mut offered, None).expect("agreed");
    assert_eq!(offered.life.appointment, Some(window(300, 360)));
    let mut none = Booking { wanted: Vec::new(), ..in_state(State::Requested) };
    assert_eq!(confirm(&mut none, None), Err(NotNow::NoTime));
    for bad in [window(60, 60), window(120, 60), window(-60, 0)] {
        assert_eq!(confirm(&mut none, Some(bad)), Err(NotNow::Window));
    }
    assert_eq!(none.state, State::Requested);
}

#[test]
fn numbers_and_school_both_have_to_be_content() {
    let observed = Act::Observed(Effect { verdict: Verdict::Solved, series: Vec::new() });
    for order in [[&observed, &Act::Accept], [&Act::Accept, &observed]] {
        let mut booking = in_state(State::Observing);
        act(&mut booking, order[0], &By::Bellwether, at(1)).expect("possible");
        assert_ne!(booking.state, State::Archived, "{order:?}");
        act(&mut booking, order[1], &By::Bellwether, at(2)).expect("possible");
        assert_eq!((booking.state, booking.life.archived_at), (State::Archived, Some(at(2))), "{order:?}");
    }
}

#[test]
fn what_comes_back_is_the_same_booking_from_the_request_on() {
    for again in [Act::Relapsed, Act::Rework("noch einmal".into())] {
        let mut booking = examples::lived();
        let before = booking.clone();
        act(&mut booking, &again, &By::School(Some(7)), at(1)).expect("possible");
        assert_eq!((booking.state, booking.life.reopened), (State::Requested, before.life.reopened + 1));
        assert_eq!((&booking.key, booking.wanted.len()), (&before.key, 0), "other times are asked for");
        assert_eq!((booking.life.appointment, booking.life.effect.clone()), (None, None));
        assert_eq!(booking.life.report, before.life.report, "what was done stays told");
    }
}

#[test]
fn points_and_stars_are_counted() {
    let mut booking = Booking { state: State::Reported, ..examples::lived() };
    let vendor = By::Vendor("desk".into());
    act(&mut booking, &Act::Checked(1), &vendor, at(1)).expect("the second point");
    assert!(booking.life.checklist[1].vendor);
    let error = act(&mut booking, &Act::Checked(2), &vendor, at(1));
    assert_eq!(error, Err(NotNow::Point { found: 3, of: 2 }));
    for stars in [0, 6] {
        let rate = Act::Rate(Rating { stars, words: String::new() });
        assert_eq!(act(&mut booking, &rate, &By::School(None), at(1)), Err(NotNow::Stars(stars)));
    }
}
