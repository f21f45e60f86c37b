//! A room whose echo canceller stops working, from what a call to it hears to what its booking says. The canceller
//! is a real one, WebRTC's; the room is a few lines of arithmetic.

#![allow(clippy::expect_used, reason = "a test ends when something is not as it should be")]

use bellwether::config::{Config, Source};
use bellwether_agent::{
    Inspection, Memory, booking,
    calendar::{Calendar, Certainty},
    channel::Channels,
    conclude,
    inspection::Terms,
    judge::room::{self, RoomJudge},
    site::{Language, Site},
};
use bellwether_probes::{ComponentVersion, Metric, ProbeConfig, ProbeRun, echo};
use chrono::{DateTime, TimeDelta, Utc};
use sonora::{AudioProcessing, StreamConfig, config::EchoCanceller};

/// What is spoken, in seconds.
const TALK: f64 = 30.0;
/// From the far end to the loudspeaker, and from the client back to the far end, in samples: 80 ms each.
const WAY: usize = 3840;
/// From the loudspeaker to the microphone, in samples: 40 ms.
const AIR: usize = 1920;

const CONFIG: &str = r#"
[school]
name = "示例中学"
contact = { name = "信息中心", phone = "010-5550100" }
[room]
id = "r301"
name = "三楼 301 教室"
[probe.room]
kind = "echo"
form = "call"
[probe.room.far_end]
kind = "reflect"
url = "https://r301.school.example:9643/reflect"
"#;

fn at(hours: i64) -> DateTime<Utc> {
    "2026-11-24T00:00:00Z".parse::<DateTime<Utc>>().expect("a time written here") + TimeDelta::hours(hours)
}

/// What the far end hears of its own talk.
fn heard(canceller: bool) -> Vec<i16> {
    let mut talk = vec![0.0; (TALK * f64::from(echo::RATE)) as usize];
    echo::talk(0, &mut talk);
    let mut played = vec![0.0; WAY];
    played.extend(&talk);
    // Direct sound, two walls and what is left of them: about 10 dB down.
    let walls = [(AIR, 0.26), (AIR + 217, 0.12), (AIR + 611, -0.09), (AIR + 1450, 0.05)];
    let echo =
        |n: usize| walls.iter().filter_map(|(late, gain)| Some(gain * played.get(n.checked_sub(*late)?)?)).sum::<f32>();
    let mut noise = fastrand::Rng::with_seed(5);
    let microphone: Vec<f32> = (0..played.len()).map(|n| echo(n) + 4e-4 * (noise.f32() - 0.5)).collect();
    let stream = StreamConfig::new(echo::RATE, 1);
    let config = sonora::Config { echo_canceller: canceller.then(EchoCanceller::default), ..sonora::Config::default() };
    let mut client = AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
    let samples = |sound: &[f32]| sound.iter().map(|x| (x * 32_768.0) as i16).collect::<Vec<_>>();
    let frame = echo::RATE as usize / 100;
    let mut back = vec![0; WAY];
    for (played, near) in samples(&played).chunks_exact(frame).zip(samples(&microphone).chunks_exact(frame)) {
        let (mut unused, mut out) = (vec![0; frame], vec![0; frame]);
        client.process_render_i16(played, &mut unused).expect("10 ms of one channel");
        client.process_capture_i16(near, &mut out).expect("10 ms of one channel");
        back.extend(out);
    }
    back
}

fn call(config: &echo::Config, heard: &[i16], now: DateTime<Utc>) -> ProbeRun {
    let mut run = ProbeRun::new("room", now);
    echo::analyse_call(&mut run, heard, 0.0, TALK, config, now);
    run
}

fn versions(version: &str, now: DateTime<Utc>) -> ProbeRun {
    let mut run = ProbeRun::new("versions", now);
    let component = "classroom-client".to_owned();
    run.versions = vec![ComponentVersion { component, version: version.to_owned(), book_on_change: false }];
    run
}

#[test]
fn a_canceller_that_stops_is_one_booking_that_says_what_the_far_end_hears() {
    let file = Source { name: "bellwether.toml".into(), text: CONFIG.to_owned() };
    let config = Config::parse(&[file], at(0)).expect("a good config");
    let Some(ProbeConfig::Echo(form)) = config.probes.get("room").map(|entry| &entry.config) else {
        unreachable!("the probe written above")
    };
    let site: &Site = &config.site;
    let zone = site.locale.timezone;
    let calendar = Calendar::of_parts(zone, vec![], vec![], vec![], vec![], Certainty::NoTimetable);
    let (working, stopped) = (heard(true), heard(false));
    let (mut memory, channels) = (Memory::default(), Channels::default());
    let mut judge = RoomJudge::new(room::settings(site, &config.rules, &config.engine, None));
    for hour in 0..10 {
        let (sound, version) = if hour < 5 { (&working, "4.7.1") } else { (&stopped, "4.8.0") };
        let runs = vec![versions(version, at(hour)), call(form, sound, at(hour))];
        let inspection = Inspection { id: format!("i{hour}"), started_at: at(hour), runs, before_lesson: None };
        let terms = Terms { rules: &config.rules, site, channels: &channels, calendar: &calendar, is_adopting: false };
        let conclusion = conclude(terms, &memory, &mut judge, &inspection, at(hour));
        memory = conclusion.memory;
        if hour == 4 {
            assert_eq!(memory.bookings.len(), 0, "with its canceller the room has no echo");
        }
    }
    assert_eq!(memory.bookings.len(), 1, "one cause, one booking");
    let booking = memory.bookings.values().next().expect("the one");
    let text = booking::text::write(booking, Language::English).body;
    let request = text.lines().find_map(|line| line.strip_prefix("Request: ")).expect("what is asked for");
    assert!(request.starts_with("The far end hears itself after 20"), "{request}");
    assert!(request.contains(" dB down (expected at least 46 dB), since 2026-11-24 14:00; "), "{request}");
    let before = "what changed before: classroom-client 4.7.1 → 4.8.0 (2026-11-24 13:00)";
    assert!(request.contains(before), "{request}");
    let loss = booking.evidence.iter().find(|evidence| evidence.metric == Metric::EchoLoss).expect("the loss");
    assert!((8.0..13.0).contains(&loss.value), "{}", loss.value);
    let chinese = booking::text::write(booking, Language::Chinese).body;
    assert!(chinese.contains("远端在 20") && chinese.contains("听到自己的声音，仅衰减"), "{chinese}");
}
