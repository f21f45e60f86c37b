//! Programs that run, but for our own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use super::{Answer, refused};

/// No more of a process's own texts than this is read.
const MOST_BYTES: u64 = 4 << 10;
/// The kernel keeps no more of a name than this.
const SHORT_NAME: usize = 15;

/// Looks for the first of these programs, on a thread of its own.
pub(super) async fn look(proc: &Path, names: &[String]) -> Answer {
    let (proc, names) = (proc.to_owned(), names.to_vec());
    let own = std::process::id();
    let looked = tokio::task::spawn_blocking(move || find(&proc, &names, own)).await;
    looked.unwrap_or_else(|error| Answer::Unavailable(error.to_string()))
}

fn find(proc: &Path, names: &[String], own: u32) -> Answer {
    let processes = match all(proc) {
        Ok(processes) => processes,
        Err(error) => return refused(proc, &error),
    };
    let ours = tree(&processes, own);
    let others = processes.iter().filter(|(pid, _)| !ours.contains(pid));
    let named = others.filter_map(|(pid, process)| {
        let program = Program::read(&proc.join(pid.to_string()), &process.name);
        names.iter().find(|name| program.is(name))
    });
    if let Some(name) = named.into_iter().next() {
        return Answer::Occupied(name.clone());
    }
    // Mounted with `hidepid`, or with ProtectProc= of systemd, /proc shows only our own processes: that
    // others are absent would be a lie.
    let first = proc.join("1/stat");
    match fs::read(&first) {
        Ok(_) => Answer::Free,
        Err(error) => {
            Answer::NotPermitted(format!("processes of other users are hidden: {}: {error}", first.display()))
        }
    }
}

/// Our own process and all below it: nothing that we do ourselves is somebody else's use of the room.
pub(super) async fn ours(proc: &Path) -> BTreeSet<u32> {
    let (proc, own) = (proc.to_owned(), std::process::id());
    let found = tokio::task::spawn_blocking(move || tree(&all(&proc).unwrap_or_default(), own));
    found.await.unwrap_or_else(|_| BTreeSet::from([own]))
}

struct Process {
    parent: u32,
    name: String,
}

/// The processes that run, by id; without those that ended and were not reaped.
fn all(proc: &Path) -> io::Result<BTreeMap<u32, Process>> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir(proc)? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // One that has ended meanwhile is none.
        let stat = text(&proc.join(format!("{pid}/stat")));
        processes.extend(stat.and_then(|stat| process(&stat)).map(|process| (pid, process)));
    }
    Ok(processes)
}

/// A line of `stat`: id, name in brackets, which may hold brackets itself, state, parent.
fn process(stat: &str) -> Option<Process> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut rest = rest.split_ascii_whitespace();
    let (state, parent) = (rest.next()?, rest.next()?.parse().ok()?);
    (!matches!(state, "Z" | "X" | "x")).then(|| Process { parent, name: name.to_owned() })
}

/// `root` and all below it.
fn tree(processes: &BTreeMap<u32, Process>, root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let below = |(pid, process): (&u32, &Process)| (found.contains(&process.parent)).then_some(*pid);
        let more: Vec<u32> = processes.iter().filter_map(below).filter(|pid| !found.contains(pid)).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The names that a process goes by.
struct Program {
    short: String,
    executable: Option<String>,
    invoked: Option<String>,
}

impl Program {
    fn read(folder: &Path, short: &str) -> Self {
        let file_name = |path: PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        let executable = fs::read_link(folder.join("exe")).ok().and_then(file_name);
        let executable = executable.map(|name| name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned());
        let invoked = text(&folder.join("cmdline"));
        let invoked = invoked.and_then(|text| file_name(text.split('\0').next()?.into()));
        Self { short: short.to_owned(), executable, invoked }
    }

    fn is(&self, name: &str) -> bool {
        let short = || {
            // All that is left of a long name where the others are hidden.
            let cut = self.executable.is_none() && self.invoked.is_none() && self.short.len() == SHORT_NAME;
            self.short == name || cut && name.starts_with(&self.short)
        };
        self.executable.as_deref() == Some(name) || self.invoked.as_deref() == Some(name) || short()
    }
}

fn text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A tree such as /proc, of processes by id: parent, state, short name, executable, command line.
    fn proc(processes: &[(u32, u32, &str, &str, &str, &str)]) -> TempDir {
        let proc = tempfile::tempdir().expect("a folder");
        fs::create_dir(proc.path().join("sys")).expect("a folder");
        for (pid, parent, state, short, executable, command) in processes {
            let folder = proc.path().join(pid.to_string());
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("stat"), format!("{pid} ({short}) {state} {parent} 1 1 0")).expect("a file");
            fs::write(folder.join("cmdline"), command).expect("a file");
            if !executable.is_empty() {
                std::os::unix::fs::symlink(executable, folder.join("exe")).expect("a link");
            }
        }
        proc
    }

    fn seen(proc: &TempDir, names: &[&str]) -> Answer {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        find(proc.path(), &names, 500)
    }

    const INIT: (u32, u32, &str, &str, &str, &str) = (1, 0, "S", "systemd", "", "/sbin/init\0");

    #[test]
    fn a_program_is_found_by_any_of_its_names() {
        let by = |name: &str| Answer::Occupied(name.to_owned());
        for (process, name, expected) in [
            ((9, 1, "S", "zoom", "/opt/zoom/zoom", "/opt/zoom/zoom\0--url=secret\0"), "zoom", by("zoom")),
            ((9, 1, "S", "ZoomLauncher", "/opt/zoom/zoom", ""), "zoom", by("zoom")),
            ((9, 1, "S", "python3", "/usr/bin/python3", "/usr/bin/recorder\0"), "recorder", by("recorder")),
            ((9, 1, "S", "a) b (c", "", ""), "a) b (c", by("a) b (c")),
            ((9, 1, "S", "zoom", "/opt/zoom/zoom (deleted)", ""), "zoom", by("zoom")),
            // Of another user nothing but the short name can be seen.
            ((9, 1, "S", "lesson-recorder", "", ""), "lesson-recorder-daemon", by("lesson-recorder-daemon")),
            ((9, 1, "S", "lesson-recorder", "/usr/bin/x", ""), "lesson-recorder-daemon", Answer::Free),
            ((9, 1, "S", "zoomer", "/opt/zoomer", "vi\0zoom\0"), "zoom", Answer::Free),
            ((9, 1, "Z", "zoom", "", ""), "zoom", Answer::Free),
        ] {
            assert_eq!(seen(&proc(&[INIT, process]), &["other", name]), expected, "{process:?}");
        }
    }

    #[test]
    fn what_we_run_ourselves_is_not_somebody_elses_use() {
        let zoom = |pid, parent| (pid, parent, "S", "zoom", "", "");
        let own = (500, 1, "S", "bellwether", "", "");
        assert_eq!(seen(&proc(&[INIT, own, zoom(501, 500)]), &["zoom", "bellwether"]), Answer::Free);
        let grandchild = [INIT, own, (600, 500, "S", "sh", "", ""), zoom(400, 600)];
        assert_eq!(seen(&proc(&grandchild), &["zoom"]), Answer::Free);
        assert_eq!(seen(&proc(&[INIT, own, zoom(501, 1)]), &["zoom"]), Answer::Occupied("zoom".to_owned()));
    }

    #[test]
    fn hidden_processes_are_not_taken_for_absent_ones() {
        let own = (500, 1, "S", "bellwether", "", "");
        assert!(matches!(seen(&proc(&[own]), &["zoom"]), Answer::NotPermitted(_)));
        let visible = (9, 1, "S", "zoom", "", "");
        assert_eq!(seen(&proc(&[own, visible]), &["zoom"]), Answer::Occupied("zoom".to_owned()));
        let nowhere = find(Path::new("/nonexistent"), &["zoom".to_owned()], 500);
        assert!(matches!(nowhere, Answer::Unavailable(_)), "{nowhere:?}");
    }

    #[tokio::test]
    async fn our_own_processes_on_this_host_are_ours() {
        let mut child =
            tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn().expect("it starts");
        let id = child.id().expect("it runs");
        let ours = ours(Path::new("/proc")).await;
        assert!(ours.contains(&std::process::id()) && ours.contains(&id) && !ours.contains(&1), "{ours:?}");
        child.kill().await.expect("our own child");
    }
}
