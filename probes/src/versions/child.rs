//! A short-lived child whose output is wanted, and nothing else of it.

use std::{io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};

use crate::{Failure, Reason};

/// Most bytes that are read of any text: the output of a child, a file.
pub(super) const MAX_TEXT: u64 = 64 * 1024;

/// How long a child that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_millis(300);

/// How long a killed child may take to go; only one stuck in the kernel takes any time.
const REAP: Duration = Duration::from_millis(300);

/// Runs `program` and returns what it wrote to its standard output or, if that is nothing, to its
/// standard error. At the deadline, or when it writes too much, its whole process group is ended.
/// Dropping the future kills the group at once.
pub(super) async fn output(program: &str, arguments: &[String], deadline: Duration) -> Result<Vec<u8>, Failure> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| refused(program, &error))?;
    // Declared after `child`, hence dropped before it: while the child is not reaped its number
    // cannot belong to another group.
    let mut group = Group(child.id());
    let result = super::within(deadline, finish(&mut child, program)).await;
    if result.is_err() && child.id().is_some() {
        group.signal(libc::SIGTERM);
        tokio::time::sleep(GRACE).await;
        group.signal(libc::SIGKILL);
        // A child stuck in the kernel is left to the runtime, which reaps it when it goes.
        let _ = tokio::time::timeout(REAP, child.wait()).await;
    }
    if child.id().is_none() {
        group.0 = None;
    }
    result
}

async fn finish(child: &mut Child, program: &str) -> Result<Vec<u8>, Failure> {
    let (standard, error) = tokio::try_join!(text(child.stdout.take()), text(child.stderr.take()))?;
    let status = child.wait().await.map_err(|error| refused(program, &error))?;
    if !status.success() {
        return Err(Failure::new(Reason::Source, format!("{program}: {status}")));
    }
    Ok(if standard.trim_ascii().is_empty() { error } else { standard })
}

/// Reads a pipe to its end.
async fn text(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Failure> {
    match pipe {
        Some(pipe) => bounded(pipe).await,
        None => Ok(Vec::new()),
    }
}

/// Reads to the end, but never more than [`MAX_TEXT`].
pub(super) async fn bounded(from: impl AsyncRead + Unpin) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = from.take(MAX_TEXT + 1).read_to_end(&mut text).await;
    read.map_err(|error| Failure::new(Reason::Source, error.to_string()))?;
    if text.len() as u64 > MAX_TEXT {
        return Err(Failure::new(Reason::TooLarge, format!("more than {MAX_TEXT} bytes came")));
    }
    Ok(text)
}

pub(super) fn refused(path: &str, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::PermissionDenied => Reason::NotPermitted,
        _ => Reason::Source,
    };
    Failure::new(reason, format!("{path}: {error}"))
}

/// The process group that a child leads; killed when dropped.
struct Group(Option<u32>);

impl Group {
    #[expect(unsafe_code, reason = "the standard library signals no groups")]
    fn signal(&self, signal: libc::c_int) {
        if let Some(leader) = self.0.and_then(|leader| libc::pid_t::try_from(leader).ok()) {
            // SAFETY: takes two numbers and touches no memory of ours.
            let _ = unsafe { libc::killpg(leader, signal) };
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, deadline: Duration) -> Result<String, Reason> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let output = output("/bin/sh", &arguments, deadline).await;
        output.map(|text| String::from_utf8(text).expect("the script writes text")).map_err(|failure| failure.reason)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_environment_is_clean_and_standard_error_is_second_choice() {
        assert_eq!(shell("echo 1; echo 2 >&2", LONG).await, Ok("1\n".to_owned()));
        assert_eq!(shell("echo 2 >&2", LONG).await, Ok("2\n".to_owned()));
        assert_eq!(shell("echo \"$HOME$USER.$LC_ALL\"; cat", LONG).await, Ok(".C\n".to_owned()));
    }

    #[tokio::test]
    async fn failing_and_missing_programs_are_named_as_such() {
        assert_eq!(shell("echo 1; exit 3", LONG).await, Err(Reason::Source));
        let missing = output("/no/such/program", &[], LONG).await.expect_err("not there");
        assert_eq!(missing.reason, Reason::Source);
        let folder = output("/etc", &[], LONG).await.expect_err("cannot be run");
        assert_eq!(folder.reason, Reason::NotPermitted);
    }

    #[tokio::test]
    async fn a_flood_is_cut_off() {
        assert_eq!(
            shell("while :; do echo 0123456789012345678901234567890123456789; done", LONG).await,
            Err(Reason::TooLarge)
        );
    }

    /// Whether a process runs; one that ended and was not reaped does not.
    fn runs(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn a_child_that_ignores_the_request_to_end_is_killed_with_its_own_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pids");
        let script = format!("trap '' TERM; sleep 1000 & echo $$ $! > {}; wait; sleep 1000", file.display());
        assert_eq!(shell(&script, Duration::from_secs(1)).await, Err(Reason::Timeout));
        let pids = std::fs::read_to_string(&file).expect("the script came that far");
        assert_eq!(pids.split_ascii_whitespace().count(), 2);
        all_end(&pids).await;
    }

    #[tokio::test]
    async fn a_child_whose_reader_is_dropped_is_killed_with_its_own_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pids");
        let script =
            format!("trap '' TERM; sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; sleep 1000", file.display());
        let child = tokio::spawn(async move { shell(&script, LONG).await });
        let pids = loop {
            match std::fs::read_to_string(&file) {
                Ok(pids) => break pids,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(pids.split_ascii_whitespace().all(runs));
        child.abort();
        all_end(&pids).await;
    }

    /// Waits for processes to end; the kernel takes its time to carry out a kill.
    async fn all_end(pids: &str) {
        let end = async {
            while pids.split_ascii_whitespace().any(runs) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("all of the group are killed");
    }
}
