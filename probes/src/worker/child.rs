//! The child's side.

use std::{
    future::Future,
    io::{self, BufRead, Read, Write},
    process::{ExitCode, exit},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

use super::{Job, Message, Task};
use crate::{Failure, Progress, Reason, echo, media};

/// The largest job that is read.
const MOST_BYTES: u64 = 64 << 10;
/// How long an early end may take.
const GRACE: Duration = Duration::from_secs(2);

/// Serves one job from standard input. Never returns before the call is over.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "bellwether worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    no_core_dump()?;
    let mut line = Vec::new();
    io::stdin().lock().take(MOST_BYTES).read_until(b'\n', &mut line)?;
    let job: Job = serde_json::from_slice(&line)?;
    let (ended, end) = watch::channel(false);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || end_of_input(&ended))?;
    media::slice::short();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work(&job, end));
    finish(runtime);
    result
}

/// Waits for the end of the input. Whatever hangs by then must not keep the process.
fn end_of_input(ended: &watch::Sender<bool>) {
    let mut rest = [0; 64];
    loop {
        match io::stdin().read(&mut rest) {
            Ok(count) if count > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    ended.send_replace(true);
    thread::sleep(GRACE);
    exit(1);
}

/// Threads of the call end soon after it; one that does not is left behind.
fn finish(runtime: Runtime) {
    runtime.shutdown_timeout(GRACE);
}

async fn work(job: &Job, end: watch::Receiver<bool>) -> io::Result<()> {
    let progress = |phase: &str, done: f64| {
        let progress = Progress { probe: job.probe.clone(), phase: phase.to_owned(), done };
        // If the parent has gone, the input ends as well.
        let _ = say(&Message::Progress(progress));
    };
    let microphone = || {
        let _ = say(&Message::Microphone);
    };
    let early = early_end(job, end, signal(SignalKind::terminate())?);
    let run = match &job.task {
        Task::Media(config) => media::make_call(job, config, &progress, early).await,
        Task::Echo(config, accepted) => {
            let told = echo::Told { progress: &progress, microphone: &microphone };
            echo::measure(job, config, accepted.as_ref(), told, early).await
        }
    };
    say(&Message::Run(run))
}

/// What ends the work before it is done.
fn early_end(
    job: &Job,
    mut end: watch::Receiver<bool>,
    mut terminate: tokio::signal::unix::Signal,
) -> impl Future<Output = Failure> {
    let timeout = Duration::try_from_secs_f64(job.timeout_seconds).unwrap_or(Duration::MAX);
    async move {
        tokio::select! {
            _ = end.wait_for(|ended| *ended) => {}
            _ = terminate.recv() => {}
            () = sleep(timeout) => return Failure::new(Reason::Timeout, "the run did not end in time"),
        }
        Failure::new(Reason::Cancelled, "ended early")
    }
}

fn say(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// A core dump would hold what was on the network, and take its time.
#[expect(unsafe_code, reason = "setrlimit has no safe form in the standard library")]
fn no_core_dump() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a value that outlives the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
