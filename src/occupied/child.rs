//! A short-lived program whose answer is wanted: bounded in time and in what is read of it.

use std::{io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

use super::{Answer, refused};

/// How long a program may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Most bytes of an answer: a list of all that a sound server knows has some hundred thousand.
const MOST_BYTES: u64 = 2 << 20;

/// A program that has ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Ended {
    /// Why there is no answer, by the last line of what the program says of it.
    pub(super) fn failure(&self, program: &str) -> Answer {
        let said: String = self.stderr.trim().lines().last().unwrap_or("no reason").chars().take(200).collect();
        let detail = format!("{program}: {said}");
        let said = said.to_ascii_lowercase();
        let denied = ["denied", "not permitted", "not authorized"].iter().any(|word| said.contains(word));
        if denied { Answer::NotPermitted(detail) } else { Answer::Unavailable(detail) }
    }
}

/// Why a program has not ended by itself.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no such program.
    Missing,
    /// It could not be run, or gave no answer.
    Silent(Answer),
}

/// Runs a program without a shell and without our surroundings; killed at its deadline.
///
/// # Errors
/// See [`Trouble`].
pub(super) async fn run(program: &str, arguments: &[&str]) -> Result<Ended, Trouble> {
    let silent = |error: io::Error| Trouble::Silent(refused(Path::new(program), &error));
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| if error.kind() == io::ErrorKind::NotFound { Trouble::Missing } else { silent(error) })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
        let success = child.wait().await?.success();
        Ok(Ended { success, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    };
    match timeout(DEADLINE, ended).await {
        Ok(ended) => ended.map_err(silent),
        Err(_) => {
            let detail = format!("{program}: found no answer within {} s", DEADLINE.as_secs());
            Err(Trouble::Silent(Answer::Unavailable(detail)))
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MOST_BYTES + 1).read_to_end(&mut text).await?;
    }
    if text.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("found more, expected at most {MOST_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<Ended, Trouble> {
        run("/bin/sh", &["-c", script]).await
    }

    #[tokio::test]
    async fn a_program_is_heard_out_and_has_none_of_our_surroundings() {
        let ended = shell("echo \"$HOME.$LC_ALL\"; echo a >&2; echo b >&2; exit 3").await.expect("it ends");
        assert_eq!((ended.success, &*ended.stdout, &*ended.stderr), (false, &b".C\n"[..], "a\nb\n"));
        assert_eq!(ended.failure("x"), Answer::Unavailable("x: b".to_owned()));
        let denied = shell("echo Connection failure: Access denied >&2; exit 1").await.expect("it ends");
        assert!(matches!(denied.failure("x"), Answer::NotPermitted(_)));
    }

    #[tokio::test]
    async fn one_that_is_missing_floods_or_hangs_gives_no_answer() {
        assert!(matches!(run("/no/such/program", &[]).await, Err(Trouble::Missing)));
        let folder = run("/etc", &[]).await;
        assert!(matches!(folder, Err(Trouble::Silent(Answer::NotPermitted(_)))), "{folder:?}");
        let flood = shell("while :; do echo 0123456789012345678901234567890123456789; done").await;
        let why = |answer| match answer {
            Err(Trouble::Silent(Answer::Unavailable(why))) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(flood).contains("expected at most"));
        assert!(why(shell("sleep 1000").await).contains("within 2 s"));
    }
}
