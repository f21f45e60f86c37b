use std::net::SocketAddr;

use bellwether_agent::calendar::Certainty;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};

use super::*;
use crate::config::Source as Text;

const LESSON: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//test//EN\r\nBEGIN:VEVENT\r\nUID:1\r\n\
    DTSTAMP:20260901T000000Z\r\nDTSTART;TZID=Asia/Shanghai:20261130T080000\r\n\
    DTEND;TZID=Asia/Shanghai:20261130T084500\r\nSUMMARY:数学\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant written here")
}

fn config(ical: &str) -> Config {
    let text = format!("[timetable]\nical = [{ical:?}]\nrefresh = \"6 h\"\nstale_after = \"2 d\"\n");
    Config::parse(&[Text { name: "bellwether.toml".into(), text }], utc("2026-11-29T00:00:00Z")).expect("a good config")
}

async fn read_at(config: &Config, state: &Path, now: &str) -> Timetables {
    let now = utc(now);
    read(config, state, usual_dates(config, now), false, now).await
}

fn lessons(known: &Timetables) -> usize {
    known.calendar.lessons(DateTime::<Utc>::MIN_UTC..DateTime::<Utc>::MAX_UTC).count()
}

#[tokio::test]
async fn a_source_that_breaks_leaves_the_last_good_copy_which_grows_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r301.ics");
    let config = config(file.to_str().expect("UTF-8"));
    std::fs::write(&file, LESSON).expect("a file");
    let good = read_at(&config, folder.path(), "2026-11-29T00:00:00Z").await;
    assert_eq!((lessons(&good), good.calendar.timetable(), good.notes.len()), (1, Certainty::Known, 0));
    assert_eq!(good.sources, [Source { component: "r301.ics".into(), read_at: Some(utc("2026-11-29T00:00:00Z")) }]);

    std::fs::write(&file, &LESSON[..LESSON.len() / 2]).expect("a file");
    let kept = read_at(&config, folder.path(), "2026-11-29T01:00:00Z").await;
    assert_eq!((lessons(&kept), kept.calendar.timetable()), (1, Certainty::Known));
    assert_eq!(kept.sources, good.sources, "it grows older");
    assert_eq!(kept.notes.len(), 1, "{:?}", kept.notes);
    assert_eq!(kept.notes[0].source, file.to_str().expect("UTF-8"));

    std::fs::remove_file(&file).expect("our own file");
    let stale = read_at(&config, folder.path(), "2026-12-01T00:00:01Z").await;
    assert_eq!((lessons(&stale), stale.calendar.timetable()), (1, Certainty::Stale));
    std::fs::write(&file, LESSON).expect("a file");
    let again = read_at(&config, folder.path(), "2026-12-01T00:00:02Z").await;
    assert_eq!((again.calendar.timetable(), again.notes.len()), (Certainty::Known, 0));
}

#[tokio::test]
async fn a_fold_within_a_character_is_kept_as_it_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r301.ics");
    let config = config(file.to_str().expect("UTF-8"));
    let (before, after) = LESSON.as_bytes().split_at(LESSON.find('数').expect("a title") + 1);
    std::fs::write(&file, [before, b"\r\n ", after].concat()).expect("a file");
    for notes in [0, 1] {
        let known = read_at(&config, folder.path(), "2026-11-29T00:00:00Z").await;
        let lessons: Vec<_> = known.calendar.lessons(DateTime::<Utc>::MIN_UTC..DateTime::<Utc>::MAX_UTC).collect();
        assert_eq!((lessons.len(), &*lessons[0].title, known.notes.len()), (1, "数学", notes));
        // The second time by the copy.
        std::fs::write(&file, "").expect("a file");
    }
}

#[tokio::test]
async fn a_source_that_never_was_good_leaves_nothing_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r301.ics");
    let config = config(file.to_str().expect("UTF-8"));
    for text in [None, Some("<html>not found</html>"), Some("")] {
        if let Some(text) = text {
            std::fs::write(&file, text).expect("a file");
        }
        let known = read_at(&config, folder.path(), "2026-11-29T00:00:00Z").await;
        assert_eq!((known.calendar.timetable(), known.sources[0].read_at), (Certainty::Unreadable, None), "{text:?}");
        assert_eq!(known.notes.len(), 1, "{text:?}: {:?}", known.notes);
        assert_eq!(known.refresh_at, utc("2026-11-29T00:15:00Z"), "{text:?}: tried again soon");
    }
}

#[tokio::test]
async fn a_copy_of_another_source_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r301.ics");
    std::fs::write(&file, LESSON).expect("a file");
    let before = config(file.to_str().expect("UTF-8"));
    assert_eq!(lessons(&read_at(&before, folder.path(), "2026-11-29T00:00:00Z").await), 1);
    let other = config(folder.path().join("r302.ics").to_str().expect("UTF-8"));
    let known = read_at(&other, folder.path(), "2026-11-29T00:00:00Z").await;
    assert_eq!(known.calendar.timetable(), Certainty::Unreadable);
}

/// Answers every request with what stands in the channel, and counts them.
async fn server(answer: watch::Receiver<String>) -> (SocketAddr, watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (count, asked) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _read = stream.read(&mut request).await;
            count.send_modify(|count| *count += 1);
            let text = answer.borrow().clone();
            let _written = stream.write_all(text.as_bytes()).await;
        }
    });
    (address, asked)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_address_is_asked_when_it_is_time_and_shown_without_its_secrets() {
    // As main does it: some other test may have been first.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let (answers, answer) = watch::channel(ok(LESSON));
    let (address, asked) = server(answer).await;
    let config = config(&format!("http://{address}/private-0123/r301.ics?key=0123"));
    let first = read_at(&config, folder.path(), "2026-11-29T00:00:00Z").await;
    assert_eq!((lessons(&first), *asked.borrow()), (1, 1), "{:?}", first.notes);
    assert_eq!(first.sources[0].component, "127.0.0.1/r301.ics");
    assert_eq!(first.refresh_at, utc("2026-11-29T06:00:00Z"));
    read_at(&config, folder.path(), "2026-11-29T05:59:59Z").await;
    assert_eq!(*asked.borrow(), 1, "not before its time");
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: ftp://elsewhere.example/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (text, hint) in [
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(), "found status 503"),
        (redirect.to_owned(), ""),
        (ok("BEGIN:VCALENDAR\r\n"), ""),
        (format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\nconnection: close\r\n\r\n{LESSON}"), "cannot be fetched"),
    ] {
        answers.send_replace(text);
        let kept = read_at(&config, folder.path(), "2026-11-29T06:00:00Z").await;
        assert_eq!((lessons(&kept), kept.notes.len()), (1, 1), "{hint}");
        assert!(kept.notes[0].message.contains(hint), "{:?}", kept.notes);
        assert_eq!(kept.notes[0].source, format!("http://{address}/…/r301.ics"));
        assert_eq!(kept.refresh_at, utc("2026-11-29T06:15:00Z"));
    }
    let copies = std::fs::read_dir(folder.path().join("timetable")).expect("a folder").count();
    assert_eq!(copies, 1, "one copy, and nothing half-written beside it");
}
