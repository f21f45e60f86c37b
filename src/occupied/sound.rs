//! Streams of sound servers: who plays or records at this moment.
//!
//! Servers run for one user each, in a folder that others may not look into. Where that is so, a sound card
//! that runs, which everybody may see, still shows that the room is in use; one that rests shows nothing.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{net::UnixStream, time::timeout};

use super::{
    Answer, Roots,
    child::{self, Trouble},
    processes, refused,
};

/// More users than this are not logged in at one box.
const MOST_USERS: usize = 16;
/// A server that takes no connection within this is of no use.
const LONGEST_CONNECT: Duration = Duration::from_millis(500);
/// The longest name of a program that is kept.
const MOST_NAME: usize = 64;

/// Looks at all servers that can be found.
pub(super) async fn look(roots: &Roots) -> Answer {
    let ours = processes::ours(&roots.proc).await;
    let answer = streams(&roots.run, &ours).await;
    match answer {
        Answer::NotPermitted(_) | Answer::Unavailable(_) => {
            running_card(&roots.proc, &ours).map(Answer::Occupied).unwrap_or(answer)
        }
        Answer::Free | Answer::Occupied(_) => answer,
    }
}

/// The worst of what the servers say: in use, then not to be seen, then free.
async fn streams(run: &Path, ours: &BTreeSet<u32>) -> Answer {
    let mut unseen = None;
    let mut heard = false;
    for folder in folders(run) {
        let folder = match folder {
            Ok(folder) => folder,
            Err(hidden) => {
                unseen = worse(unseen, hidden);
                continue;
            }
        };
        match of_folder(&folder, ours).await {
            Some(Answer::Free) => heard = true,
            Some(Answer::Occupied(by)) => return Answer::Occupied(by),
            Some(hidden) => unseen = worse(unseen, hidden),
            None => {}
        }
    }
    match unseen {
        Some(answer) => answer,
        None if heard => Answer::Free,
        None => Answer::Unavailable("found no sound server that runs".to_owned()),
    }
}

/// What is not permitted is told before what is not there.
fn worse(known: Option<Answer>, answer: Answer) -> Option<Answer> {
    match known {
        Some(Answer::NotPermitted(_)) => known,
        Some(_) if !matches!(answer, Answer::NotPermitted(_)) => known,
        _ => Some(answer),
    }
}

/// Folders of the servers of the system and of its users.
fn folders(run: &Path) -> Vec<Result<PathBuf, Answer>> {
    let mut folders = vec![Ok(run.to_owned()), Ok(run.join("pipewire"))];
    let users = run.join("user");
    match fs::read_dir(&users) {
        Ok(entries) => folders.extend(entries.take(MOST_USERS).map(|entry| match entry {
            Ok(entry) => Ok(entry.path()),
            Err(error) => Err(refused(&users, &error)),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => folders.push(Err(refused(&users, &error))),
    }
    folders
}

/// What the server of one folder says; `None` if there is none.
async fn of_folder(folder: &Path, ours: &BTreeSet<u32>) -> Option<Answer> {
    let (pulse, pipewire) = (folder.join("pulse/native"), folder.join("pipewire-0"));
    let mut missing = None;
    match connects(&pulse).await {
        Ok(true) => match of_pulse(&pulse, ours).await {
            Ok(answer) => return Some(answer),
            // Its program is not there; perhaps that of the other one is.
            Err(answer) => missing = Some(answer),
        },
        Ok(false) => {}
        Err(answer) => return Some(answer),
    }
    match connects(&pipewire).await {
        Ok(true) => Some(of_pipewire(&pipewire, ours).await.unwrap_or_else(|answer| answer)),
        Ok(false) => missing,
        Err(answer) => Some(answer),
    }
}

/// Whether a server listens there.
async fn connects(socket: &Path) -> Result<bool, Answer> {
    match timeout(LONGEST_CONNECT, UnixStream::connect(socket)).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(refused(socket, &error)),
        Ok(Err(_)) => Ok(false),
        Err(_) => Err(Answer::Unavailable(format!("{}: found no answer", socket.display()))),
    }
}

/// Runs a program for its list; an error if the program is not there.
async fn list(program: &str, arguments: &[&str]) -> Result<Result<Vec<u8>, Answer>, Answer> {
    match child::run(program, arguments).await {
        Ok(ended) if ended.success => Ok(Ok(ended.stdout)),
        Ok(ended) => Ok(Err(ended.failure(program))),
        Err(Trouble::Missing) => Err(Answer::Unavailable(format!("{program} is not installed"))),
        Err(Trouble::Silent(answer)) => Ok(Err(answer)),
    }
}

async fn of_pulse(socket: &Path, ours: &BTreeSet<u32>) -> Result<Answer, Answer> {
    const PROGRAM: &str = "pactl";
    // A server that is named is never started for us.
    let server = format!("unix:{}", socket.display());
    for kind in ["sink-inputs", "source-outputs"] {
        let listed = list(PROGRAM, &["--server", &server, "--format=json", "list", kind]).await?;
        match listed.and_then(|text| pulse_streams(&text)) {
            Ok(streams) => {
                if let Some(by) = first(streams, ours) {
                    return Ok(Answer::Occupied(by));
                }
            }
            Err(answer) => return Ok(answer),
        }
    }
    Ok(Answer::Free)
}

async fn of_pipewire(socket: &Path, ours: &BTreeSet<u32>) -> Result<Answer, Answer> {
    let remote = socket.display().to_string();
    let listed = list("pw-dump", &["--remote", &remote]).await?;
    Ok(match listed.and_then(|text| pipewire_streams(&text)) {
        Ok(streams) => first(streams, ours).map_or(Answer::Free, Answer::Occupied),
        Err(answer) => answer,
    })
}

/// A stream that runs: whose it is, and nothing of what it carries.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    program: String,
    pid: Option<u32>,
}

/// The first that is not our own.
fn first(streams: Vec<Stream>, ours: &BTreeSet<u32>) -> Option<String> {
    streams.into_iter().find(|stream| stream.pid.is_none_or(|pid| !ours.contains(&pid))).map(|stream| stream.program)
}

/// The properties that are read of a stream or of its client, and no others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Properties {
    #[serde(rename = "application.process.binary")]
    binary: Value,
    #[serde(rename = "application.name")]
    name: Value,
    #[serde(rename = "application.process.id")]
    pid: Value,
    #[serde(rename = "media.class")]
    class: Value,
    #[serde(rename = "client.id")]
    client: Value,
}

/// A number, which some versions write as a text.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64()?.try_into().ok(),
    }
}

impl Properties {
    fn program(&self) -> Option<String> {
        let name = self.binary.as_str().or(self.name.as_str())?;
        Some(name.chars().filter(|c| !c.is_control()).take(MOST_NAME).collect())
    }

    fn pid(&self) -> Option<u32> {
        number(&self.pid)
    }
}

/// What stands for a program that does not say its name.
fn unnamed() -> String {
    "unnamed".to_owned()
}

fn unreadable(program: &str, error: &serde_json::Error) -> Answer {
    // The error may quote what was found; where it stands is enough.
    Answer::Unavailable(format!("{program}: found other text than its documentation says, at line {}", error.line()))
}

/// `pactl --format=json list sink-inputs`, and `source-outputs`. One that is corked has been paused.
fn pulse_streams(text: &[u8]) -> Result<Vec<Stream>, Answer> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        corked: bool,
        #[serde(default)]
        properties: Properties,
    }
    let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|error| unreadable("pactl", &error))?;
    let running = entries.into_iter().filter(|entry| !entry.corked).map(|entry| entry.properties);
    Ok(running.map(|found| Stream { program: found.program().unwrap_or_else(unnamed), pid: found.pid() }).collect())
}

/// `pw-dump`: all objects of the server, of which nodes that are streams and run are looked at.
fn pipewire_streams(text: &[u8]) -> Result<Vec<Stream>, Answer> {
    #[derive(Deserialize)]
    struct Object {
        id: u32,
        #[serde(default)]
        info: Option<Info>,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        state: Option<String>,
        #[serde(default)]
        props: Option<Properties>,
    }
    let objects: Vec<Object> = serde_json::from_slice(text).map_err(|error| unreadable("pw-dump", &error))?;
    let properties = |object: &'_ Object| -> Option<(u32, Option<u32>, Option<String>)> {
        let props = object.info.as_ref()?.props.as_ref()?;
        Some((object.id, props.pid(), props.program()))
    };
    let clients: Vec<_> = objects.iter().filter_map(properties).collect();
    let stream = |object: &Object| {
        let info = object.info.as_ref()?;
        let props = info.props.as_ref()?;
        let class = props.class.as_str().unwrap_or_default();
        if !class.starts_with("Stream/") || !class.ends_with("/Audio") || info.state.as_deref() != Some("running") {
            return None;
        }
        // Newer servers tell the process only of the client that made the stream.
        let client = number(&props.client);
        let client = clients.iter().find(|(id, ..)| Some(*id) == client);
        let pid = props.pid().or_else(|| client.and_then(|(_, pid, _)| *pid));
        let program = props.program().or_else(|| client.and_then(|(.., program)| program.clone()));
        Some(Stream { program: program.unwrap_or_else(unnamed), pid })
    };
    Ok(objects.iter().filter_map(stream).collect())
}

/// A card of ALSA that somebody else's process runs.
fn running_card(proc: &Path, ours: &BTreeSet<u32>) -> Option<String> {
    let below = |folder: PathBuf, start: &'static str| {
        let entries = fs::read_dir(folder).ok().into_iter().flatten().filter_map(Result::ok);
        entries.filter(move |entry| entry.file_name().to_string_lossy().starts_with(start)).map(|entry| entry.path())
    };
    let parts = below(proc.join("asound"), "card")
        .flat_map(|card| below(card, "pcm"))
        .flat_map(|pcm| below(pcm, "sub"))
        .map(|part| part.join("status"));
    let mut runs = parts.filter_map(|status| fs::read_to_string(status).ok()).filter(|status| is_run(status, ours));
    runs.next().map(|_| "a sound card that runs".to_owned())
}

/// Whether a status says so, and does not name a process of ours.
fn is_run(status: &str, ours: &BTreeSet<u32>) -> bool {
    let field = |name: &str| {
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim())
    };
    let owner = field("owner_pid").and_then(|pid| pid.parse().ok());
    field("state") == Some("RUNNING") && owner.is_none_or(|pid| !ours.contains(&pid))
}

#[cfg(test)]
mod tests;
