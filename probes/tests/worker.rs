//! The media probe with its child process: what comes back, and that no child is left behind.
//!
//! This binary is its own worker, hence no test harness.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use bellwether_probes::{
    Failure, Metric, Probe, ProbeConfig, ProbeRun, Progress, Reason, RunContext, Span, media, worker,
};
use chrono::DateTime;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

/// Under this name the binary is a worker that hangs.
const HUNG: &str = "hung";

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name.ends_with(HUNG)) {
        thread::sleep(Duration::from_secs(600));
    }
    if std::env::args().nth(1).as_deref() == Some(worker::ARGUMENT) {
        return worker::main();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        a_call_yields_readings_progress_and_a_capture().await;
        what_is_no_worker_is_a_failure_of_ours().await;
        a_cancelled_call_ends_soon().await;
        a_call_is_no_longer_than_it_is_let().await;
        a_call_past_its_deadline_ends_before_the_frame_around_it().await;
        a_worker_that_hangs_is_killed().await;
        a_dropped_run_leaves_no_child().await;
    });
    a_child_ends_by_itself_when_its_input_ends_or_it_is_told_to();
    a_child_that_is_ended_tells_the_server_it_has_asked();
    ExitCode::SUCCESS
}

/// What keeps the ends of a context's channels alive, and the context.
struct Frame {
    context: RunContext,
    cancel: watch::Sender<bool>,
    progress: mpsc::UnboundedReceiver<Progress>,
}

fn frame(worker: PathBuf, timeout: Duration) -> Frame {
    let (cancel, cancelled) = watch::channel(false);
    let (listener, progress) = mpsc::unbounded_channel();
    let context = RunContext {
        now: DateTime::UNIX_EPOCH,
        timeout,
        worker,
        seed: 4,
        cancel: cancelled,
        progress: Some(listener),
        capture: None,
        longest: None,
        accepted: None,
    };
    Frame { context, cancel, progress }
}

fn this_binary() -> PathBuf {
    std::env::current_exe().expect("the path of this binary")
}

fn probe(seconds: u64) -> Probe {
    call(seconds, media::Profile::Full)
}

fn call(seconds: u64, profile: media::Profile) -> Probe {
    // However slow this build and this box are.
    let cpu_share = (profile == media::Profile::Full).then_some(1.0);
    let duration = Span(Duration::from_secs(seconds));
    let config = media::Config { profile, duration, cpu_share, ..media::Config::default() };
    Probe::new("call", ProbeConfig::Media(config))
}

fn success(run: &ProbeRun) -> Option<f64> {
    run.readings.iter().find(|reading| reading.metric == Metric::MediaSuccess).map(|reading| reading.value)
}

/// Children of this process that are still there, zombies included.
fn children() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("proc").flatten();
    let text = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    text.map(|children| children.split_whitespace().count()).sum()
}

/// A killed child is waited for in the background.
async fn no_child_is_left() {
    let gone = async {
        while children() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(Duration::from_secs(20), gone).await.is_ok(), "a child is left");
}

async fn a_call_yields_readings_progress_and_a_capture() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut frame = frame(this_binary(), Duration::from_secs(30));
    frame.context.capture = Some(folder.path().to_owned());
    let run = probe(3).run(&frame.context).await;
    assert_eq!((run.failure.as_ref(), run.absent.as_slice()), (None, &[][..]));
    assert_eq!((run.probe.as_str(), run.started_at), ("call", DateTime::UNIX_EPOCH));
    assert_eq!(success(&run), Some(1.0));
    let loss = run.readings.iter().filter(|reading| reading.metric == Metric::MediaLoss);
    assert!(loss.map(|reading| reading.value).eq([0.0, 0.0]), "{:?}", run.readings);

    let mut told = Vec::new();
    while let Ok(progress) = frame.progress.try_recv() {
        assert_eq!(progress.probe, "call");
        told.push(progress);
    }
    let mut phases: Vec<&str> = told.iter().map(|progress| progress.phase.as_str()).collect();
    phases.dedup();
    assert_eq!(phases, ["signalling", "ice", "dtls", "media"]);
    assert!(told.is_sorted_by(|a, b| a.done <= b.done) && told.iter().all(|progress| progress.done <= 1.0));

    let capture = media::read_capture(&folder.path().join("call-19700101T000000000Z.json")).expect("a capture");
    assert_eq!(capture.target, "reflector");
    // A capture analysed again says what the run said.
    let mut again = ProbeRun::new("call", DateTime::UNIX_EPOCH);
    media::analysis::analyse(&capture, &mut again);
    assert_eq!(again.readings.len(), run.readings.len());
    assert_eq!(children(), 0);
}

async fn what_is_no_worker_is_a_failure_of_ours() {
    for (program, expected) in [
        ("/nonexistent/worker", "could not be started"),
        ("/bin/true", "ended with exit status: 0 before it had a result"),
        ("/bin/false", "ended with exit status: 1 before it had a result"),
        ("/bin/echo", "said what is no message"),
    ] {
        let frame = frame(PathBuf::from(program), Duration::from_secs(30));
        let run = probe(3).run(&frame.context).await;
        let Some(Failure { reason: Reason::Worker, detail }) = &run.failure else {
            unreachable!("{program}: {run:?}");
        };
        assert!(detail.contains(expected), "{program}: {detail}");
        assert!(!detail.contains('\n'), "{detail}");
        assert!(run.readings.is_empty(), "{program}: nothing is known of the path");
    }
    // One that talks nonsense is killed.
    no_child_is_left().await;
}

async fn a_cancelled_call_ends_soon() {
    for profile in [media::Profile::Full, media::Profile::Light] {
        let frame = frame(this_binary(), Duration::from_secs(90));
        let mut probe = call(60, profile);
        let cancel = async {
            sleep(Duration::from_millis(1500)).await;
            frame.cancel.send_replace(true);
        };
        let run = timeout(Duration::from_secs(20), async { tokio::join!(probe.run(&frame.context), cancel).0 }).await;
        let run = run.expect("the call does not go on");
        assert_eq!(run.failure.map(|failure| failure.reason), Some(Reason::Cancelled));
        assert!(run.readings.is_empty());
        assert_eq!(children(), 0);
    }
}

async fn a_call_is_no_longer_than_it_is_let() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut frame = frame(this_binary(), Duration::from_secs(30));
    frame.context.capture = Some(folder.path().to_owned());
    for (longest, expected) in [(2, 2), (9, 3)] {
        frame.context.longest = Some(Duration::from_secs(longest));
        let run = call(3, media::Profile::Light).run(&frame.context).await;
        assert_eq!((run.failure.as_ref(), run.absent.as_slice()), (None, &[][..]));
        let capture = media::read_capture(&folder.path().join("call-19700101T000000000Z.json")).expect("a capture");
        assert_eq!(capture.media_end - capture.media_start, expected * 1_000_000_000);
    }
}

async fn a_call_past_its_deadline_ends_before_the_frame_around_it() {
    let frame = frame(this_binary(), Duration::from_secs(3));
    let run = probe(3).run(&frame.context).await;
    let failure = run.failure.clone().expect("a call of four seconds");
    assert_eq!(failure, Failure::new(Reason::Timeout, "the run did not end within 3 s"));
    assert_eq!(success(&run), Some(0.0));
    // Where this box is busy it is killed.
    no_child_is_left().await;
}

async fn a_worker_that_hangs_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let hung = folder.path().join(HUNG);
    symlink(this_binary(), &hung).expect("a link");
    let frame = frame(hung, Duration::from_secs(90));
    frame.cancel.send_replace(true);
    let run = probe(3).run(&frame.context).await;
    assert_eq!(run.failure.map(|failure| failure.reason), Some(Reason::Cancelled));
    no_child_is_left().await;
}

async fn a_dropped_run_leaves_no_child() {
    let frame = frame(this_binary(), Duration::from_secs(30));
    let cut = timeout(Duration::from_millis(1500), probe(60).run(&frame.context)).await;
    assert!(cut.is_err(), "dropped while it ran");
    no_child_is_left().await;
}

/// A child that calls to `far_end`, as its parent would start it.
fn child(far_end: &str) -> Child {
    let mut child = Command::new(this_binary())
        .arg(worker::ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this binary runs");
    let job = format!(
        r#"{{"probe":"call","task":{{"media":{{"duration":60,"far_end":{far_end}}}}},"seed":1,"timeout_seconds":90,"started_at":"2026-03-02T08:00:00Z","capture":null}}"#
    );
    child.stdin.as_mut().expect("a pipe").write_all((job + "\n").as_bytes()).expect("the job is taken");
    child
}

fn close_input(child: &mut Child) {
    drop(child.stdin.take());
}

fn terminate(child: &mut Child) {
    let status = Command::new("kill").arg(child.id().to_string()).status();
    assert!(status.expect("kill runs").success());
}

/// Waits for its end, which is to be an early one.
fn assert_cancelled(mut child: Child) {
    let mut said = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success());
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(r#""failure":{"reason":"cancelled""#), "{last}");
}

/// As after the sudden death of its parent, and as at the end of a session.
fn a_child_ends_by_itself_when_its_input_ends_or_it_is_told_to() {
    for end in [close_input as fn(&mut Child), terminate] {
        let mut child = child(r#""reflector""#);
        thread::sleep(Duration::from_millis(1500));
        end(&mut child);
        assert_cancelled(child);
    }
}

/// The server has made a session, and has not come to the end of its answer yet.
fn a_child_that_is_ended_tells_the_server_it_has_asked() {
    for end in [close_input as fn(&mut Child), terminate] {
        let server = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("http://{}/whip", server.local_addr().expect("is bound"));
        let mut child = child(&format!(r#"{{"kind":"reflect","url":"{url}"}}"#));
        let (mut asking, request) = request_of(&server);
        assert!(request.starts_with("POST /whip "), "{request}");
        asking.write_all(b"HTTP/1.1 201 Created\r\nlocation: /made\r\n\r\nv=0\r\n").expect("it listens");
        thread::sleep(Duration::from_millis(200));
        end(&mut child);
        let (mut ending, request) = request_of(&server);
        assert!(request.starts_with("DELETE /made "), "{request}");
        ending.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it listens");
        assert_cancelled(child);
    }
}

/// The next request to a server, and the connection to answer it on.
fn request_of(server: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = server.accept().expect("a connection");
    let mut bytes = vec![0; 64 << 10];
    let length = stream.read(&mut bytes).expect("a request");
    (stream, String::from_utf8_lossy(&bytes[..length]).into_owned())
}
