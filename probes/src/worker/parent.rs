//! The parent's side.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep_until, timeout},
};

use super::{ARGUMENT, Job, Message, Task};
use crate::{Failure, ProbeRun, Reason, RunContext};

/// The most a child may say.
const MOST_BYTES: u64 = 4 << 20;
/// The most of its complaints that is kept.
const MOST_COMPLAINTS: u64 = 4 << 10;
/// How long it has to end when asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long before the run's deadline the child is given up, at most. In half of it the child frees
/// what a far end keeps for it.
const MARGIN: Duration = Duration::from_secs(2);

/// Runs `task` in a child, and gives what came of it. Fails with [`Reason::Worker`] if there was
/// no child, or it died; with `Cancelled` or `Timeout` if it was ended. No child is left behind,
/// even if this future is dropped. Whether the child listened to the microphone is told in any case.
pub(crate) async fn run(probe: &str, task: Task, context: &RunContext) -> ProbeRun {
    let mut microphone = false;
    let run = attempt(probe, task, context, &mut microphone).await;
    let mut run = run.unwrap_or_else(|failure| ProbeRun::failed(probe, context.now, failure));
    run.microphone |= microphone;
    run
}

async fn attempt(probe: &str, task: Task, context: &RunContext, microphone: &mut bool) -> Result<ProbeRun, Failure> {
    let deadline = Instant::now() + context.timeout.saturating_sub(MARGIN.min(context.timeout / 4));
    let job = Job {
        probe: probe.to_owned(),
        task,
        seed: context.seed,
        timeout_seconds: context.timeout.as_secs_f64(),
        started_at: context.now,
        capture: context.capture.clone(),
    };
    let mut worker = Worker::start(context).map_err(|error| {
        died(&format!("the worker could not be started from {}: {error}", context.worker.display()))
    })?;
    let mut cancel = context.cancel.clone();
    let ended = tokio::select! {
        result = worker.serve(&job, context, microphone) => return result,
        () = sleep_until(deadline) => {
            let shown = crate::Unit::Seconds.show(context.timeout.as_secs_f64());
            Failure::new(Reason::Timeout, format!("the run did not end within {shown}"))
        }
        () = async { if cancel.wait_for(|cancel| *cancel).await.is_err() { std::future::pending().await } } => {
            Failure::new(Reason::Cancelled, "the run was ended early")
        }
    };
    let grace = if ended.reason == Reason::Timeout { MARGIN.min(context.timeout / 4) / 2 } else { GRACE };
    worker.end(grace).await;
    Err(ended)
}

fn died(detail: &str) -> Failure {
    Failure::new(Reason::Worker, detail)
}

/// A child and what leads to it.
struct Worker {
    /// Goes first: the group is surely the child's own only as long as that is not waited for.
    group: Group,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<Take<ChildStdout>>,
}

impl Worker {
    fn start(context: &RunContext) -> io::Result<Self> {
        let mut child = Command::new(&context.worker)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = Group(child.id());
        let pipe = || io::Error::other("no pipe");
        let output = child.stdout.take().ok_or_else(pipe)?;
        if let Some(complaints) = child.stderr.take() {
            tokio::spawn(read_complaints(complaints));
        }
        let input = child.stdin.take();
        Ok(Self { group, child, input, output: BufReader::new(output.take(MOST_BYTES)) })
    }

    /// Hands over the job, and reads what the child says until it is done.
    async fn serve(&mut self, job: &Job, context: &RunContext, microphone: &mut bool) -> Result<ProbeRun, Failure> {
        let mut line = serde_json::to_vec(job).map_err(|error| died(&format!("the job: {error}")))?;
        line.push(b'\n');
        if let Some(input) = &mut self.input
            && let Err(error) = input.write_all(&line).await
        {
            tracing::debug!(%error, "the worker did not take its job");
        }
        loop {
            line.clear();
            let read = self.output.read_until(b'\n', &mut line).await;
            if read.map_err(|error| died(&format!("the worker could not be heard: {error}")))? == 0 {
                let status = self.end(GRACE).await;
                let how = status.map_or_else(|| "was killed".to_owned(), |status| format!("ended with {status}"));
                return Err(died(&format!("the worker {how} before it had a result")));
            }
            match serde_json::from_slice(&line) {
                Ok(Message::Progress(progress)) => {
                    if let Some(listener) = &context.progress {
                        // Nobody has to listen.
                        let _ = listener.send(progress);
                    }
                }
                Ok(Message::Microphone) => {
                    *microphone = true;
                    tracing::info!(probe = %job.probe, "the microphone is listened to");
                }
                Ok(Message::Run(run)) => {
                    self.end(GRACE).await;
                    return Ok(run);
                }
                Err(error) => {
                    self.end(Duration::ZERO).await;
                    return Err(died(&format!("the worker said what is no message: {error}")));
                }
            }
        }
    }

    /// Asks the child to end, and kills what has not within `grace`.
    async fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        self.input = None;
        let status = match timeout(grace, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => None,
        };
        if status.is_some() {
            // Its number may be another's from now on.
            self.group.0 = None;
        }
        status
    }
}

/// The child's process group, killed when dropped.
struct Group(Option<u32>);

impl Drop for Group {
    #[expect(unsafe_code, reason = "killing a process group has no safe form in the standard library")]
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| libc::pid_t::try_from(id).ok()) {
            // SAFETY: plain numbers. The child was not waited for, so the group is still its own.
            unsafe { libc::kill(-id, libc::SIGKILL) };
        }
    }
}

/// Keeps the beginning of what the child complains of, and lets it complain on.
async fn read_complaints(mut complaints: ChildStderr) {
    let mut text = Vec::new();
    let read = (&mut complaints).take(MOST_COMPLAINTS).read_to_end(&mut text).await;
    if read.is_ok() && !text.is_empty() {
        tracing::debug!(complaint = %String::from_utf8_lossy(&text).trim_end(), "the worker complained");
    }
    // A full pipe would stop it; an error means it is gone.
    let _ = tokio::io::copy(&mut complaints, &mut tokio::io::sink()).await;
}
