//! The command `bellwether`: parses, runs, and prints what went wrong once.

#![expect(clippy::disallowed_methods, reason = "the clock of everything below is passed in from here")]

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use bellwether::{
    analyse, baseline, bookings, calendar, channel,
    cli::{self, Baseline, Cli, Command, History, Holidays, Hours},
    config::{self, Config},
    control,
    daemon::{self, Options},
    heartbeat::Heart,
    history, holidays, inspect, memory,
    quiet::{self, Wish},
    reflect, replay, why,
};
use chrono::Utc;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Some(Command::ProbeWorker)) {
        return bellwether_probes::worker::main();
    }
    memory::share_one_heap();
    log_to_stderr(cli.common.log);
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 71),
    };
    // A runtime that waited for a stuck name look-up would hold up the end of the program.
    let code = runtime.block_on(command(cli));
    runtime.shutdown_background();
    code
}

async fn command(cli: Cli) -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    // A state that is named is that of one daemon only.
    let named = cli.common.state.is_some() || variable("STATE_DIRECTORY").is_some();
    let state = cli.common.state.unwrap_or_else(|| daemon::state_folder(variable));
    let config = cli.common.config;
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => {
            let worker = match std::env::current_exe() {
                Ok(worker) => worker,
                Err(error) => return fail(&error, 71),
            };
            let control = control::socket(variable, &state);
            match daemon::run(Options { config, state, worker, control }, Utc::now, Heart::Minutes).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, error.exit_code()),
            }
        }
        Command::CheckConfig { file } => match config::load(file.or(config).as_deref(), Utc::now()) {
            Ok(found) => say(&found.summary(), 0),
            Err(error) => fail(&error, 78),
        },
        Command::Inspect { probes, json, capture } => {
            let asked = inspect::Asked { probes, json, capture };
            match inspect::run(config.as_deref(), &state, asked, std::io::stderr().is_terminal(), Utc::now).await {
                Ok((text, code)) => say(&text, code),
                Err(error) => fail(&error, error.exit_code()),
            }
        }
        Command::Baseline { command: Baseline::Echo { probe, show } } => {
            let asked = baseline::Asked { probe, show };
            match baseline::run(config.as_deref(), &state, asked, std::io::stderr().is_terminal(), Utc::now).await {
                Ok((text, code)) => say(&text, code),
                Err(error) => fail(&error, error.exit_code()),
            }
        }
        Command::Analyse { path, json } => match config::load(config.as_deref(), Utc::now()) {
            Ok(config) => match analyse::run(&config, &path, json) {
                Ok((text, code)) => say(&text, code),
                Err(error) => fail(&error, error.exit_code()),
            },
            Err(error) => fail(&error, 78),
        },
        Command::Reflect { listen, token_file, tls_cert, tls_key } => {
            match reflect::run(reflect::Options { listen, token_file, tls: tls_cert.zip(tls_key) }).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, error.exit_code()),
            }
        }
        Command::Hours(command) => match config::load(config.as_deref(), Utc::now()) {
            Ok(config) => hours(command, &config, &state).await,
            Err(error) => fail(&error, 78),
        },
        Command::Bookings { command } => {
            // Texts are in the school's language; a config with mistakes is no reason to hide them.
            let found = config::load(config.as_deref(), Utc::now());
            let language = found.map(|config| config.site.locale.language).unwrap_or_default();
            let sockets = control::sockets(variable, &state, named);
            match bookings::run(&state, &sockets, language, command).await {
                Ok(text) => say(&text, 0),
                Err(error) => fail(&error, error.exit_code()),
            }
        }
        Command::Channel { command: cli::Channel::Check { name } } => match config::load(config.as_deref(), Utc::now())
        {
            Ok(config) => {
                let (text, code) = channel::check(&config.channels(&state), &name, Utc::now()).await;
                say(&text, code)
            }
            Err(error) => fail(&error, 78),
        },
        Command::Why { asked, json } => match config::load(config.as_deref(), Utc::now()) {
            Ok(config) => match why::run(&config, &state, &asked, json).await {
                Ok(text) => say(&text, 0),
                Err(error) => fail(&error, 1),
            },
            Err(error) => fail(&error, 78),
        },
        Command::Replay(asked) => match replay::run(config.as_deref(), &asked, std::io::stdout().lock()) {
            Ok(summary) => note(&summary),
            Err(error) => fail(&error, error.exit_code()),
        },
        Command::History { command } => match config::load(config.as_deref(), Utc::now()) {
            Ok(config) => past(command, &config, &state).await,
            Err(error) => fail(&error, 78),
        },
        Command::Quiet { command } => {
            let wish = match command {
                None => Wish::Show,
                Some(cli::Quiet::Until { time }) => Wish::Until(time.join(" ")),
                Some(cli::Quiet::For { time }) => Wish::For(time.join(" ")),
                Some(cli::Quiet::Off) => Wish::Off,
            };
            match quiet::run(&control::sockets(variable, &state, named), wish).await {
                Ok(text) => say(&text, 0),
                Err(error) => fail(&error, error.exit_code()),
            }
        }
        Command::ProbeWorker => ExitCode::SUCCESS,
    }
}

async fn past(command: History, config: &Config, state: &Path) -> ExitCode {
    let done = match command {
        History::Export { from, to, file } => {
            let exported = history::export(config, state, (from, to), &file, std::io::stdout()).await;
            return match exported {
                Ok(text) => note(&text),
                Err(error) => fail(&error, error.exit_code()),
            };
        }
        History::Import { file, room, force, skip_bad } => {
            let asked = history::Asked { file, room, force, skip_bad };
            history::import(config, state, &asked, Utc::now()).await
        }
        History::Backup { file } => history::backup(config, state, &file).await.map(|text| (text, 0)),
    };
    match done {
        Ok((text, code)) => say(&text, code),
        Err(error) => fail(&error, error.exit_code()),
    }
}

async fn hours(command: Hours, config: &Config, state: &Path) -> ExitCode {
    let now = Utc::now();
    let found = match command {
        Hours::Calendar { from, to, json } => {
            calendar::list(config, state, &calendar::Asked { from, to, json }, now).await
        }
        Hours::Slots { duration, class, from, to, json } => {
            let asked = calendar::slots::Asked { duration, class, from, to, json };
            calendar::slots::find(config, state, &asked, now).await
        }
        Hours::Explain { instant, json } => calendar::explain::explain(config, state, &instant, json, now).await,
        Hours::Holidays { command: Holidays::Import { file, country } } => {
            return match holidays::import(config, state, &file, country) {
                Ok(text) => say(&text, 0),
                Err(error) => fail(&error, 65),
            };
        }
    };
    match found {
        Ok((text, code)) => say(&text, code),
        Err(error) => fail(&error, 64),
    }
}

/// Prints what the command was asked for, and ends with `code`. A reader that has heard enough, such as
/// `head`, is no failure.
fn say(text: &str, code: u8) -> ExitCode {
    use std::io::{Error, ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(&Error::new(error.kind(), format!("the answer could not be printed: {error}")), 74)
        }
        _ => ExitCode::from(code),
    }
}

/// Says what was done, beside what was printed.
#[expect(clippy::print_stderr, reason = "standard output is for what was asked for")]
fn note(text: &str) -> ExitCode {
    eprint!("{text}");
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "the one place where an error is printed")]
fn fail(error: &(dyn std::error::Error + 'static), code: u8) -> ExitCode {
    eprintln!("bellwether: {}", daemon::chain(error));
    ExitCode::from(code)
}

fn log_to_stderr(level: tracing::Level) {
    use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};
    // Libraries are heard only when something is wrong: the media library is talkative at info.
    let own = Targets::new()
        .with_default(level.min(tracing::Level::WARN))
        .with_target("bellwether", level)
        .with_target("bellwether_agent", level)
        .with_target("bellwether_probes", level);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false);
    if journal {
        // The journal stamps its lines itself.
        tracing_subscriber::registry().with(own).with(lines.without_time()).init();
    } else {
        tracing_subscriber::registry().with(own).with(lines).init();
    }
}
