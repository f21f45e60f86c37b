use std::os::unix::net::UnixListener;

use super::*;

/// As PulseAudio 16.1 lists a program that plays, with what is not looked at left out; the second one has
/// paused.
const PULSE: &str = r#"[{"index":0,"driver":"protocol-native.c","client":"0","sink":0,"corked":false,"mute":false,
    "volume":{"front-left":{"value":65536,"value_percent":"100%","db":"0.00 dB"}},"properties":
    {"application.name":"A title of a window","media.name":"secret lesson","application.process.id":"30265",
    "application.process.user":"root","application.process.binary":"zoom"}},
    {"index":1,"corked":true,"properties":{"application.name":"Firefox","application.process.binary":"firefox"}}]"#;

/// As PipeWire 0.3.65 dumps itself, likewise: a client, its stream, a stream that rests, a driver.
const PIPEWIRE: &str = r#"[{"id":0,"type":"PipeWire:Interface:Core","info":{"props":{"core.daemon":true}}},
    {"id":3,"type":"PipeWire:Interface:Metadata","props":{"metadata.name":"settings"},"metadata":[]},
    {"id":30,"type":"PipeWire:Interface:Client","info":{"change-mask":["props"],"props":
        {"application.process.binary":"obs","application.process.id":777,"pipewire.sec.pid":777}}},
    {"id":31,"type":"PipeWire:Interface:Node","info":{"state":"running","error":null,"props":
        {"application.name":"OBS","client.id":30,"media.class":"Stream/Input/Audio","media.name":"secret lesson"}}},
    {"id":32,"type":"PipeWire:Interface:Node","info":{"state":"idle","props":
        {"application.name":"Firefox","media.class":"Stream/Output/Audio"}}},
    {"id":33,"type":"PipeWire:Interface:Node","info":{"state":"running","props":
        {"media.class":"Stream/Output/Video","application.name":"camera"}}},
    {"id":34,"type":"PipeWire:Interface:Node","info":{"state":"running","props":{"media.class":"Audio/Sink"}}},
    {"id":35,"type":"PipeWire:Interface:Link","info":null}]"#;

fn stream(program: &str, pid: Option<u32>) -> Stream {
    Stream { program: program.to_owned(), pid }
}

#[test]
fn streams_that_run_are_known_by_their_program_alone() {
    assert_eq!(pulse_streams(PULSE.as_bytes()), Ok(vec![stream("zoom", Some(30265))]));
    assert_eq!(pipewire_streams(PIPEWIRE.as_bytes()), Ok(vec![stream("OBS", Some(777))]));
    assert_eq!((pulse_streams(b"[]"), pipewire_streams(b"[]")), (Ok(vec![]), Ok(vec![])));
    // Without any name, and with one that is a number, as pw-dump writes it.
    assert_eq!(pulse_streams(b"[{}]"), Ok(vec![stream("unnamed", None)]));
    let odd = br#"[{"id":1,"info":{"state":"running","props":{"media.class":"Stream/Output/Audio",
        "application.name":7,"application.process.id":"x","client.id":{}}}}]"#;
    assert_eq!(pipewire_streams(odd), Ok(vec![stream("unnamed", None)]));
    let long = format!(r#"[{{"properties":{{"application.name":"{}\n"}}}}]"#, "音".repeat(500));
    assert_eq!(pulse_streams(long.as_bytes()), Ok(vec![stream(&"音".repeat(MOST_NAME), None)]));
}

#[test]
fn another_text_is_no_answer_and_is_not_repeated() {
    for text in [&b""[..], b"{}", b"secret", b"[{\"corked\":\"secret\"}]", b"\xff", b"[{\"id\":\"secret\"}"] {
        for answer in [pulse_streams(text), pipewire_streams(text)] {
            let Err(Answer::Unavailable(why)) = &answer else {
                // A list of other things has no streams.
                assert!(answer.is_ok(), "{answer:?}");
                continue;
            };
            assert!(why.contains("at line") && !why.contains("secret"), "{why}");
        }
    }
    assert!(pulse_streams(b"{}").is_err() && pipewire_streams(b"[{\"id\":\"secret\"}]").is_err());
}

#[test]
fn our_own_streams_do_not_count() {
    let ours = BTreeSet::from([500, 501]);
    let all = || vec![stream("bellwether", Some(501)), stream("zoom", Some(9))];
    assert_eq!(first(all(), &ours).as_deref(), Some("zoom"));
    assert_eq!(first(all().drain(..1).collect(), &ours), None);
    assert_eq!(first(vec![stream("far", None)], &ours).as_deref(), Some("far"), "nobody knows whose it is");
}

#[tokio::test]
async fn without_a_server_there_is_nothing_to_be_seen() {
    let run = tempfile::tempdir().expect("a folder");
    let nothing = || Answer::Unavailable("found no sound server that runs".to_owned());
    assert_eq!(streams(run.path(), &BTreeSet::new()).await, nothing());
    // A server that was killed leaves its socket.
    let pulse = run.path().join("user/1000/pulse");
    fs::create_dir_all(&pulse).expect("folders");
    drop(UnixListener::bind(pulse.join("native")).expect("a socket"));
    drop(UnixListener::bind(run.path().join("user/1000/pipewire-0")).expect("a socket"));
    assert_eq!(streams(run.path(), &BTreeSet::new()).await, nothing());
}

#[test]
fn servers_are_looked_for_in_the_folders_of_the_system_and_of_its_users() {
    let run = tempfile::tempdir().expect("a folder");
    let at = |path: &str| Ok(run.path().join(path));
    assert_eq!(
        folders(run.path()),
        [at(""), at("pipewire")].map(|found| found.map(|path: PathBuf| path.components().collect::<PathBuf>()))
    );
    fs::create_dir_all(run.path().join("user/1000")).expect("folders");
    assert_eq!(folders(run.path()).last(), Some(&at("user/1000")));
    for user in 0..40 {
        fs::create_dir_all(run.path().join(format!("user/{user}"))).expect("folders");
    }
    assert_eq!(folders(run.path()).len(), 2 + MOST_USERS);
}

#[test]
fn what_is_not_permitted_is_told_before_what_is_not_there() {
    let (denied, gone) = (Answer::NotPermitted("a".to_owned()), Answer::Unavailable("b".to_owned()));
    for (first, second, expected) in [(&denied, &gone, &denied), (&gone, &denied, &denied), (&gone, &gone, &gone)] {
        let known = worse(None, first.clone());
        assert_eq!(worse(known, second.clone()).as_ref(), Some(expected));
    }
}

#[tokio::test]
async fn a_card_that_runs_shows_what_its_server_does_not() {
    let tree = tempfile::tempdir().expect("a folder");
    let roots = Roots { proc: tree.path().join("proc"), run: tree.path().join("run") };
    let part = |card: u32| roots.proc.join(format!("asound/card{card}/pcm0p/sub0"));
    let running = |owner: u32| format!("state: RUNNING\nowner_pid   : {owner}\ntrigger_time: 5.1\n");
    for card in 0..2 {
        fs::create_dir_all(part(card)).expect("folders");
        fs::write(part(card).join("status"), "closed\n").expect("a file");
    }
    let write = |text: &str| fs::write(part(1).join("status"), text).expect("a file");
    assert!(matches!(look(&roots).await, Answer::Unavailable(_)), "a card that rests shows nothing");
    write(&running(9));
    assert_eq!(look(&roots).await, Answer::Occupied("a sound card that runs".to_owned()));
    write(&running(std::process::id()));
    assert!(matches!(look(&roots).await, Answer::Unavailable(_)), "we run it ourselves");
    write("state: PREPARED\nowner_pid   : 9\n");
    assert!(matches!(look(&roots).await, Answer::Unavailable(_)));
}
