//! What a bad config gets: one file per kind of mistake, each with its exact message beside it.
//!
//! `BLESS=1 cargo test --test config` writes the messages anew, to be read before they are committed.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends when something is not as it should be")]

use std::path::{Path, PathBuf};

use bellwether::config::{Config, Source};
use chrono::{DateTime, TimeZone, Utc};

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 4, 0, 0).single().expect("a valid instant")
}

fn source(path: &Path) -> Source {
    Source { name: path.to_owned(), text: std::fs::read_to_string(path).expect("a readable file") }
}

fn mistakes(sources: &[Source]) -> String {
    let error = Config::parse(sources, now()).expect_err("a config with mistakes");
    format!("{error}\n")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

/// Whatever the checkout made of them.
fn set_modes_of_secrets() {
    for (file, mode) in [("readable-secret", 0o644), ("secret", 0o600)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(Path::new("tests/config").join(file), mode).expect("our own file");
    }
}

fn assert_says(found: &str, expected: &Path) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(expected, found).expect("a writable folder");
    }
    let expected_text = std::fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(found, expected_text, "{}", expected.display());
}

#[test]
fn every_bad_file_gets_its_message() {
    set_modes_of_secrets();
    for file in files("tests/config/bad") {
        let found = mistakes(&[source(&file)]);
        assert!(found.starts_with("1 mistake in"), "{}: {found}", file.display());
        assert_says(&found, &file.with_extension("txt"));
    }
}

#[test]
fn ten_mistakes_are_reported_at_once() {
    let file = Path::new("tests/config/ten-mistakes.toml");
    set_modes_of_secrets();
    let found = mistakes(&[source(file)]);
    assert!(found.starts_with("10 mistakes in"), "{found}");
    assert_says(&found, &file.with_extension("txt"));
}

/// The mistakes of a site's file, without its name.
fn of_text(text: &str) -> Vec<String> {
    let site = Source { name: "site".into(), text: text.to_owned() };
    let found = mistakes(&[site]);
    found.lines().skip(1).map(|line| line.trim().trim_start_matches("site:").to_owned()).collect()
}

#[test]
fn mistakes_in_lists_are_all_found_at_their_own_lines() {
    let text = r#"
[timetable]
ical = ["/a.ics", 5, "/b.ics", true]
[[timetable.term]]
first_day = "2026-09-07"
weeks = 20
lessons = [
  "Mon 1",
  "Tues 1",
  "Wed 1",
  "Thu 0",
]
[[timetable.term]]
first_day = "7.9.2026"
weeks = 20
[[timetable.override]]
dates = "2026-10-10"
"#;
    let found = of_text(text);
    let starts = [
        "3: timetable.ical[1]: invalid type: integer `5`",
        "3: timetable.ical[3]: invalid type: boolean `true`",
        "9: timetable.term[0].lessons[1]: found \"Tues 1\", expected",
        "11: timetable.term[0].lessons[3]: found \"Thu 0\", expected",
        "14: timetable.term[1].first_day: found \"7.9.2026\", expected a date",
        "16: timetable.override[0]: missing field `runs`",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn mistakes_of_a_template_are_all_found_at_their_own_lines() {
    let template = "tests/config/booking-without-an-end-and-a-key.txt";
    let found = of_text(&format!("[bookings]\ntemplate = {template:?}\n"));
    let starts = ["1: found no {{key}}, expected it", "3: found {{request without an end"];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(&format!("2: bookings.template: {template}:{start}")), "{found}");
    }
}

#[test]
fn mistakes_of_a_web_config_file_are_all_found_at_their_own_lines() {
    let file = "tests/config/web/five-mistakes.yml";
    let found = of_text(&format!("[web]\nconfig_file = {file:?}\n"));
    let starts = [
        "2: tls_server_config.cert_file: cannot read tests/config/web/nowhere.crt: No such file",
        "3: tls_server_config.key_file: cannot read /nowhere/web.key: No such file",
        "4: tls_server_config.client_auth_type: found \"RequireAnyClientCert\", which takes any certificate",
        "5: tls_server_config.min_version: found \"TLS11\" (it is broken, and not offered), expected TLS12 or TLS13",
        "6: tls_server_config.cipher_suites[1]: found \"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA\", expected one of TLS_AES_",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for start in starts {
        let start = format!("2: web.config_file: {file}:{start}");
        assert!(found.iter().any(|found| found.starts_with(&start)), "{start}: {found:#?}");
    }
}

#[test]
fn what_a_booking_would_lack_is_said_of_a_good_config() {
    let lines = |text: &str| {
        let site = Source { name: "site".into(), text: text.to_owned() };
        let summary = Config::parse(&[site], now()).expect("a good config").summary();
        summary.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let lacks = |what: &str| format!("bookings would be incomplete and go nowhere but into folders: {what} is missing");
    let contact = ["school.contact.name", "school.contact.phone, or school.contact.email,"].map(lacks);
    assert_eq!(lines("[school]\nname = \"School\"\n[room]\nname = \"Room 1\"\n"), contact);
    let school = "[school]\nname = \"School\"\ncontact = { name = \"office\", email = \"it@school.example\" }\n";
    assert_eq!(lines(school), [lacks("room.name")]);
    assert_eq!(lines(&format!("{school}[room]\nname = \"Room 1\"\n")), [""; 0]);
}

#[test]
fn an_endless_list_of_mistakes_ends() {
    let text = format!("[timetable]\nical = [{}]\n", "5, ".repeat(1000));
    assert_eq!(of_text(&text).len(), 100);
}

#[test]
fn two_files_that_name_the_same_probe_are_a_mistake() {
    let page = "[probe.portal]\nkind = \"page\"\nurl = \"https://portal.example.edu/\"\n";
    let source = |name: &str| Source { name: name.into(), text: page.to_owned() };
    let found = mistakes(&[source("bellwether.toml"), source("conf.d/portal.toml")]);
    let expected = "1 mistake in the config:\n  conf.d/portal.toml:1: probe.portal: \
                    found a second time, expected once: it stands in bellwether.toml:1 already\n";
    assert_eq!(found, expected);
}

#[test]
fn the_embedded_settings_are_good_and_equal_the_defaults_of_every_part() {
    let config = Config::defaults(now()).expect("good settings");
    let site = bellwether_agent::Site { room: config.site.room.clone(), ..bellwether_agent::Site::default() };
    assert_eq!(config.site, site);
    assert_eq!(config.web, bellwether::web::Config::default());
    assert_eq!(config.timetable, bellwether_agent::calendar::config::Timetable::default());
    assert_eq!(config.holidays, bellwether_agent::calendar::config::HolidayConfig::default());
    assert_eq!(config.occupied, bellwether::occupied::Config::default());
    assert_eq!(config.probes.keys().collect::<Vec<_>>(), ["box", "call", "echo", "versions", "voice"]);
    for (name, entry) in &config.probes {
        use bellwether_probes::{ProbeConfig, echo, media, resources, versions};
        let expected = match &entry.config {
            ProbeConfig::Media(config) => {
                let profile = if name == "voice" { media::Profile::Light } else { media::Profile::Full };
                assert_eq!(config.profile, profile, "{name}");
                ProbeConfig::Media(media::Config { profile, ..media::Config::default() })
            }
            ProbeConfig::Resources(_) => ProbeConfig::Resources(resources::Config::default()),
            ProbeConfig::Versions(_) => ProbeConfig::Versions(versions::Config::default()),
            ProbeConfig::Echo(_) => ProbeConfig::Echo(echo::Config::default()),
            ProbeConfig::Page(_) | ProbeConfig::Load(_) => panic!("{name}: no server is asked by default"),
        };
        assert_eq!(entry.config, expected, "{name}");
    }
    assert_eq!(config.channels.keys().collect::<Vec<_>>(), ["folder"]);
}

#[test]
fn the_timetable_that_the_settings_show_as_an_example_is_a_good_one() {
    let from = bellwether::config::DEFAULTS.find("# [[timetable.bells]]").expect("an example");
    let example = &bellwether::config::DEFAULTS[from..];
    let example = &example[..example.find("\n\n").expect("the end of the section")];
    let text: String = example.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let config = Config::parse(&[Source { name: "example".into(), text }], now()).expect("a good example");
    let [term] = &*config.timetable.term else { panic!("{:?}", config.timetable) };
    assert_eq!((term.lessons.len(), term.weeks, term.breaks.len()), (3, 20, 1));
    assert_eq!((config.timetable.bells.len(), config.timetable.overrides.len()), (2, 1));
}

#[test]
fn the_load_of_a_media_server_is_read_by_the_examples_of_the_settings_each_from_its_source() {
    use bellwether_probes::{Metric, ProbeConfig};
    let from = bellwether::config::DEFAULTS.find("# [probe.media-server]").expect("an example");
    let example = &bellwether::config::DEFAULTS[from..];
    // The last one names a secret, which is not here.
    let example = &example[..example.find("# [probe.janus]").expect("the last one")];
    let text: String = example.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let config = Config::parse(&[Source { name: "example".into(), text }], now()).expect("good examples");
    let read = |name: &str| {
        let ProbeConfig::Load(load) = &config.probes[name].config else { panic!("{name} is another probe") };
        let names = Metric::ALL.iter().filter(|metric| load.measures(**metric)).map(|metric| metric.name());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(config.site.locale.load_metric, Metric::ServiceUsers);
    assert_eq!(read("media-server"), "service_users");
    let rest = "service_network_receive service_network_transmit";
    assert_eq!(read("media-box"), format!("service_cpu_utilization service_memory_utilization {rest}"));
    assert_eq!(read("media-stats"), format!("service_cpu_utilization {rest}"));
    let entry = &config.probes["media-box"];
    assert_eq!((entry.interval.as_secs(), entry.timeout.as_secs()), (60, 10));
}

#[test]
fn the_other_forms_of_echo_that_the_settings_show_as_examples_are_good_ones() {
    use bellwether_agent::schedule::gate::Weight;
    let from = bellwether::config::DEFAULTS.find("# [probe.lesson-echo]").expect("an example");
    let example = &bellwether::config::DEFAULTS[from..];
    let example = &example[..example.find("\n\n").expect("the end of the section")];
    let text: String = example.lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let config = Config::parse(&[Source { name: "example".into(), text }], now()).expect("good examples");
    let of = |name: &str| {
        (config.probes[name].weight, config.probes[name].config.is_heard(), config.probes[name].config.listens())
    };
    assert_eq!(of("echo"), (Weight::Heavy, true, true));
    assert_eq!(of("lesson-echo"), (Weight::Light, false, true));
    assert_eq!(of("room-302"), (Weight::Heavy, true, false));
}

/// `[probe.voice]` of a site that says `text`.
fn voice(text: &str) -> bellwether_probes::media::Config {
    let site = Source { name: "bellwether.toml".into(), text: text.to_owned() };
    let config = Config::parse(&[site], now()).expect("a good config");
    match &config.probes["voice"].config {
        bellwether_probes::ProbeConfig::Media(config) => config.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_is_like_another_goes_the_same_way_unless_it_says_otherwise() {
    let far_end = "[probe.call.far_end]\nkind = \"janus\"\nurl = \"http://127.0.0.1:8088/janus\"\n";
    let call = format!("[probe.call]\ndscp = {{ audio = 46, video = 34 }}\nwidth = 320\nduration = \"9 s\"\n{far_end}");
    let like = voice(&call);
    assert_eq!((like.far_end.name(), like.dscp.audio, like.interface.as_deref()), ("janus", 46, None));
    assert_eq!((like.duration.0.as_secs(), like.width), (20, None), "only the way is alike");
    let own = voice(&format!("{call}[probe.voice]\nfar_end = \"reflector\"\ninterface = \"lo\"\n"));
    assert_eq!((own.far_end.name(), own.dscp.audio, own.interface.as_deref()), ("reflector", 46, Some("lo")));
    let off = voice(&call.replacen("dscp", "enabled = false\ndscp", 1));
    assert_eq!(off.far_end.name(), "janus", "a call that is switched off is an example as well");
}

#[test]
fn a_site_changes_single_keys_and_keeps_the_rest() {
    let text = "[probe.call]\ntimeout = \"20 s\"\n[room]\nid = \"r101\"\n[probe.versions]\nenabled = false\n";
    let site = Source { name: "bellwether.toml".into(), text: text.to_owned() };
    let config = Config::parse(&[site], now()).expect("a good config");
    let defaults = Config::defaults(now()).expect("good settings");
    assert_eq!(config.probes["call"].timeout.as_secs(), 20);
    assert_eq!(config.probes["call"].config, defaults.probes["call"].config);
    assert_eq!(config.probes["box"].config, defaults.probes["box"].config);
    assert!(!config.probes.contains_key("versions"));
    assert_eq!(config.site.room.id, "r101");
}
