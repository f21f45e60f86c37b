//! What the expansion of a term takes of memory, to the byte: the daemon's bound is 25 MiB in all.

#![allow(clippy::expect_used, reason = "a test ends when something is not as it should be")]
#![allow(unsafe_code, reason = "an allocator that counts what it hands to the system's")]

mod term;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bellwether_agent::{
    calendar::{Lesson, Taken, build, config::Timetable, holidays::Holidays, ical, zone},
    site::Vendor,
};
use chrono::NaiveTime;
use chrono_tz::Tz;

const MOST: isize = 5 << 20;

/// Counts what this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was held beyond what is held now, and what the work made.
fn peak<T>(work: impl FnOnce() -> T) -> (isize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let made = work();
    (PEAK.get() - before, made)
}

#[test]
fn the_counter_sees_what_comes_and_what_goes() {
    let (most, ()) = peak(|| {
        for _ in 0..3 {
            drop(std::hint::black_box(vec![0_u8; 100_000]));
        }
    });
    assert!((100_000..110_000).contains(&most), "{most}");
    let (most, _kept) = peak(|| [0; 3].map(|_| vec![0_u8; 100_000]));
    assert!((300_000..310_000).contains(&most), "{most}");
}

#[test]
fn a_term_of_200_recurring_events_is_expanded_within_5_mib() {
    let zone = Tz::Asia__Shanghai;
    let text = term::text();
    let midnight = |date: chrono::NaiveDate| zone::instant(zone, date.and_time(NaiveTime::MIN)).expect("an instant");
    let span = midnight(term::monday())..midnight(term::end());
    let (most, expanded) = peak(|| ical::expand(&text, zone, span).expect("a timetable"));
    assert_eq!(expanded.events.len(), term::OCCURRENCES);
    assert_eq!(expanded.notes, []);
    // It holds at least what it returns.
    assert!(most >= (term::OCCURRENCES * size_of::<ical::Event>()) as isize, "{most}");
    assert!(most < MOST, "{most} bytes");
}

#[test]
fn the_calendar_of_such_a_term_is_built_within_5_mib() {
    let (timetable, vendor, holidays) = (Timetable::default(), Vendor::default(), Holidays::of_country("CN"));
    let ical = [build::Source { name: "r101".to_owned(), text: Some(term::text().into_bytes().into()), stale: false }];
    let sources = build::Sources {
        timetable: &timetable,
        ical: &ical,
        holidays: &holidays,
        vendor: &vendor,
        vendor_holidays: &holidays,
        zone: Tz::Asia__Shanghai,
    };
    let (most, calendar) = peak(|| build::build(sources, term::monday()..term::end()));
    // Beside the make-up day of which the file says nothing.
    let lesson = |lesson: &&Lesson| lesson.taken == Taken::Lesson;
    let lessons = calendar.lessons(calendar.known()).filter(lesson).count();
    assert_eq!(lessons, term::OCCURRENCES);
    assert!(most >= (lessons * size_of::<Lesson>()) as isize, "{most}");
    assert!(most < MOST, "{most} bytes");
}
