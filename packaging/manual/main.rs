//! Writes man pages and shell completions, made from the definition of the command line:
//! `bellwether-manual FOLDER DATE`, the date in the form 2026-11-30, for the pages' feet.

use std::{fs, io, path::Path, process::ExitCode};

use clap::{Args, Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

// The commands alone: built in seconds, without all that they do.
#[path = "../../src"]
#[expect(unreachable_pub, reason = "nothing is parsed here")]
mod bellwether {
    pub mod cli;
}

use bellwether::cli::{Cli, Common};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the definition of the command line does not say.
const MORE: &str = include_str!("more.roff");

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [folder, date] => match write(Path::new(folder), date) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("{folder}: {error}")),
        },
        _ => fail("expected the folder to write into, and the date"),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where an error is printed")]
fn fail(error: &str) -> ExitCode {
    eprintln!("bellwether-manual: {error}");
    ExitCode::FAILURE
}

fn write(folder: &Path, date: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut root = shown();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut root, "bellwether", folder)?;
    }
    root.build();
    let mut pages = Vec::new();
    collect(&root, &mut pages);
    for page in &pages {
        let name = name(page);
        let source = format!("bellwether {VERSION}");
        // Commands have no version of their own.
        let man = Man::new(page.clone().version(VERSION)).date(date).source(source).manual("bellwether");
        let mut text = Vec::new();
        man.render(&mut text)?;
        if name == "bellwether" {
            text.extend_from_slice(MORE.as_bytes());
        }
        text.extend_from_slice(see_also(&name, &pages).as_bytes());
        fs::write(folder.join(format!("{name}.1")), text)?;
    }
    Ok(())
}

/// The command line without what is hidden, which completions would offer; with the version, and not the revision, so
/// that another commit does not change every page.
fn shown() -> Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Common::augment_args(Command::new("bellwether"))
        .version(VERSION)
        .about(whole.get_about().cloned().unwrap_or_default())
        .long_about(whole.get_long_about().cloned().unwrap_or_default())
        .subcommands(commands)
        .disable_help_subcommand(true)
}

/// The command and all below it.
fn collect(command: &Command, pages: &mut Vec<Command>) {
    pages.push(command.clone());
    command.get_subcommands().for_each(|below| collect(below, pages));
}

/// Name of a command's page.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// All other pages of the first; of the others those directly above and below.
fn see_also(of: &str, pages: &[Command]) -> String {
    let above = of.rsplit_once('-').map_or("", |(above, _)| above);
    let near = |other: &str| match of {
        "bellwether" => true,
        _ => other == above || other.strip_prefix(of).and_then(|rest| rest.strip_prefix('-')).is_some(),
    };
    let names = pages.iter().map(name).filter(|other| other != of && near(other));
    let links: Vec<_> = names.map(|name| format!(".BR {} (1)", name.replace('-', "\\-"))).collect();
    format!(".SH \"SEE ALSO\"\n{}\n", links.join(",\n"))
}
