//! `baseline echo`: measures the room's sound, shows what was found, and keeps it as the accepted state that
//! later runs are compared with. Numbers and the names of two devices are kept, nothing of what was heard.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use bellwether_agent::site::Language;
use bellwether_probes::{
    Unit,
    echo::{Accepted, DeviceMark},
};
use chrono_tz::Tz;

use crate::{
    Clock,
    config::{self, Config, ConfigError},
    inspect::{self, InspectError},
    sound,
};

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Name of a probe; all that listen to the room, if there is none.
    pub probe: Option<String>,
    /// Shows what is accepted, and measures nothing.
    pub show: bool,
}

/// Why nothing was accepted, beside what a run itself says.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The config cannot be used.
    #[error("the config cannot be used")]
    Config(#[from] ConfigError),
    /// No probe listens to the room, or not the one that was named.
    #[error("found {found}, expected a probe of kind echo that listens to the room: {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        found: String,
        /// Names that would be right.
        known: Vec<String>,
    },
    /// It could not be measured at all.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The state could not be written.
    #[error("cannot keep the accepted state in {}", state.display())]
    Write {
        /// The state folder.
        state: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl BaselineError {
    /// 78 for a config, 64 for a wrong name, 73 for a folder that cannot be written, as in sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::Unknown { .. } => 64,
            Self::Inspect(error) => error.exit_code(),
            Self::Write { .. } => 73,
        }
    }
}

/// Measures and keeps; returns what to print, and the exit code: 0 if all of it is accepted now, 3 if something
/// could not be measured well enough, of which nothing is kept.
///
/// # Errors
/// See [`BaselineError`].
pub async fn run<C: Clock>(
    config: Option<&Path>,
    state: &Path,
    asked: Asked,
    terminal: bool,
    clock: C,
) -> Result<(String, u8), BaselineError> {
    let config = config::load(config, clock())?;
    let names = names(&config, asked.probe.as_deref())?;
    let (language, zone) = (config.site.locale.language, config.site.locale.timezone);
    let mut text = String::new();
    // Writing into a String cannot fail.
    let mut line = |line: String| _ = writeln!(text, "{line}");
    if asked.show {
        for name in names {
            let found = sound::accepted(state, &name);
            let found = found.map(|accepted| describe(&accepted, language, zone));
            let nothing = || pick(language, "尚无验收状态", "nothing is accepted yet").to_owned();
            line(format!("{name}: {}", found.unwrap_or_else(nothing)));
        }
        return Ok((text, 0));
    }
    let runs = inspect::measure(&config, state, &names, None, terminal, clock).await?;
    let mut code = 0;
    line(inspect::as_table(&config, &runs).trim_end().to_owned());
    for run in &runs {
        let name = &run.probe;
        let Some(accepted) = &run.acceptable else {
            code = 3;
            let refused = pick(
                language,
                "未保存：测量结果不确定，验收状态保持不变",
                "not accepted: it was not measured surely enough, and the accepted state stays as it was",
            );
            line(format!("{name}: {refused}"));
            continue;
        };
        sound::accept(state, name, accepted)
            .map_err(|source| BaselineError::Write { state: state.to_owned(), source })?;
        let kept = pick(language, "已保存为验收状态", "accepted");
        line(format!("{name}: {kept}: {}", describe(accepted, language, zone)));
    }
    Ok((text, code))
}

/// The probes that are meant.
fn names(config: &Config, asked: Option<&str>) -> Result<Vec<String>, BaselineError> {
    let known: Vec<String> =
        config.probes.iter().filter(|(_, entry)| entry.config.listens()).map(|(name, _)| name.clone()).collect();
    let named = |name: &&String| asked.is_none_or(|asked| asked == *name);
    let names: Vec<String> = known.iter().filter(named).cloned().collect();
    if names.is_empty() {
        let found = asked.map_or_else(|| "none".to_owned(), |name| format!("{name:?}"));
        return Err(BaselineError::Unknown { found, known });
    }
    Ok(names)
}

fn describe(accepted: &Accepted, language: Language, zone: Tz) -> String {
    let Accepted { at, form, loudspeaker, microphone, .. } = accepted;
    let device = |mark: &DeviceMark| {
        let volume = mark.volume_decibels.map(|volume| format!(" ({})", Unit::Decibels.show(volume)));
        format!("{}{}", mark.name, volume.unwrap_or_default())
    };
    let at = at.with_timezone(&zone).format("%Y-%m-%d %H:%M");
    let (form, loudspeaker, microphone) = (form.name(), device(loudspeaker), device(microphone));
    let delay = Unit::Seconds.show(accepted.delay_seconds);
    let loss = Unit::Decibels.show(accepted.return_loss_decibels);
    let floor = Unit::Decibels.show(accepted.noise_floor_decibels);
    match language {
        Language::Chinese => format!(
            "{at}，{form}，扬声器 {loudspeaker}，麦克风 {microphone}，时延 {delay}，回声返回损耗 {loss}，本底噪声 {floor}"
        ),
        Language::English => format!(
            "{at}, {form}, loudspeaker {loudspeaker}, microphone {microphone}, delay {delay}, echo return loss {loss}, \
             noise floor {floor}"
        ),
    }
}

fn pick(language: Language, chinese: &'static str, english: &'static str) -> &'static str {
    match language {
        Language::Chinese => chinese,
        Language::English => english,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bellwether_probes::echo::Form;
    use chrono::DateTime;

    use super::*;
    use crate::config::Source;

    fn config(text: &str) -> Config {
        let source = Source { name: "test.toml".into(), text: text.to_owned() };
        Config::parse(&[source], DateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn only_probes_that_listen_to_the_room_are_meant() {
        let far =
            "far_end = { kind = \"whip_whep\", publish = \"http://127.0.0.1/a\", subscribe = \"http://127.0.0.1/b\" }";
        let config = config(&format!(
            "[probe.lesson-echo]\nkind = \"echo\"\nform = \"silent\"\n[probe.other]\nkind = \"echo\"\nform = \"call\"\n{far}\n"
        ));
        assert_eq!(names(&config, None).unwrap(), ["echo", "lesson-echo"]);
        assert_eq!(names(&config, Some("lesson-echo")).unwrap(), ["lesson-echo"]);
        for wrong in ["other", "box", "ecko"] {
            let error = names(&config, Some(wrong)).unwrap_err();
            assert_eq!(error.exit_code(), 64);
            let told =
                format!("found {wrong:?}, expected a probe of kind echo that listens to the room: echo, lesson-echo");
            assert_eq!(error.to_string(), told);
        }
    }

    #[test]
    fn what_is_accepted_is_told_in_both_languages() {
        let mark = |name: &str, volume_decibels| DeviceMark { name: name.to_owned(), volume_decibels };
        let accepted = Accepted {
            at: DateTime::UNIX_EPOCH,
            form: Form::Active,
            loudspeaker: mark("speaker", Some(-10.0)),
            microphone: mark("mic", None),
            delay_seconds: 0.0402,
            return_loss_decibels: 12.25,
            noise_floor_decibels: -62.0,
        };
        let told = describe(&accepted, Language::English, Tz::Asia__Shanghai);
        let expected =
            "1970-01-01 08:00, active, loudspeaker speaker (-10 dB), microphone mic, delay 40.2 ms, echo return loss";
        assert!(told.starts_with(expected) && told.ends_with("noise floor -62 dB"), "{told}");
        assert!(describe(&accepted, Language::Chinese, Tz::Asia__Shanghai).contains("，时延 40.2 ms，"));
    }
}
