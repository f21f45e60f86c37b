use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
};

use axum::http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};

use super::*;

fn folder() -> (TempDir, Socket) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(NAME);
    (folder, Socket { path, mode: 0o660 })
}

/// A loop that answers everything with what was asked; the server before it.
async fn serve(socket: &Socket) -> (Server, JoinHandle<()>) {
    let (asks, mut asked) = mpsc::channel::<Request>(1);
    let server = Server::start(socket, asks).await.expect("it listens");
    let answers = tokio::spawn(async move {
        while let Some(Request { ask, user, reply }) = asked.recv().await {
            let answer = match ask {
                Ask::Quiet(None) => Err("found nothing to end".to_owned()),
                ask => Ok(json!({ "ask": format!("{ask:?}"), "user": user })),
            };
            reply.send(answer).expect("somebody waits");
        }
    });
    (server, answers)
}

#[test]
fn the_socket_lies_in_the_services_folder_or_beside_the_state() {
    let state = Path::new("/var/lib/x");
    let given = |value: &'static str| move |name: &str| (name == "RUNTIME_DIRECTORY").then(|| value.into());
    let none = |_: &str| None;
    for (value, path) in [("/run/a", "/run/a/control.sock"), ("/run/a:/run/b", "/run/a/control.sock")] {
        assert_eq!(socket(given(value), state), Socket { path: path.into(), mode: 0o660 });
        assert_eq!(sockets(given(value), state, true), [PathBuf::from(path)]);
    }
    let beside = PathBuf::from("/var/lib/x/control.sock");
    for found in [socket(none, state), socket(given(""), state)] {
        assert_eq!(found, Socket { path: beside.clone(), mode: 0o600 });
    }
    assert_eq!(
        sockets(none, state, true),
        std::slice::from_ref(&beside),
        "no other daemon than the one that was named"
    );
    assert_eq!(sockets(none, state, false), [beside, OF_THE_SERVICE.into()]);
}

#[tokio::test]
async fn a_question_reaches_the_loop_and_its_answer_comes_back() {
    let (_folder, socket) = folder();
    let (server, _answers) = serve(&socket).await;
    let sockets = [PathBuf::from("/nonexistent/control.sock"), socket.path.clone()];
    let own = fs::metadata(&socket.path).expect("our own").uid();
    let found = get(&sockets, "/quiet").await.expect("an answer");
    assert_eq!(found, json!({ "ask": "ShowQuiet", "user": own }));
    let body = json!({ "until": "2026-11-29T15:00:00+08:00" });
    let found = post(&sockets, "/quiet", &body).await.expect("an answer");
    assert_eq!(found["ask"], "Quiet(Some(2026-11-29T07:00:00Z))");
    let refused = delete(&sockets, "/quiet").await.expect_err("a refusal");
    assert_eq!((refused.to_string(), refused.exit_code()), ("the daemon refuses: found nothing to end".into(), 64));
    drop(server);
}

#[tokio::test]
async fn what_is_no_question_is_refused_with_what_would_be_one() {
    let (_folder, socket) = folder();
    let (_server, _answers) = serve(&socket).await;
    let sockets = [socket.path.clone()];
    for (path, body, expected) in [
        ("/quiet", json!({}), "missing field `until`"),
        ("/quiet", json!({ "until": "15:00" }), "expected {\"until\""),
        ("/quiet", json!({ "until": "2026-11-29T15:00:00Z", "by": "me" }), "unknown field"),
        ("/quiet", json!({ "until": "1".repeat(MOST_ASKED) }), "at most 4096 bytes"),
        ("/", json!({}), "expected /quiet"),
    ] {
        let refused = post(&sockets, path, &body).await.expect_err("a refusal");
        assert!(matches!(&refused, ControlError::Refused(said) if said.contains(expected)), "{body}: {refused:?}");
    }
    let mut stream = UnixStream::connect(&socket.path).await.expect("it listens");
    stream.write_all(b"PUT /quiet HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).await.expect("an answer");
    assert!(said.starts_with("HTTP/1.1 405 ") && said.contains("another method"), "{said}");
}

#[tokio::test]
async fn the_file_has_its_rights_and_goes_with_the_server() {
    for mode in [0o600, 0o660] {
        let (folder, socket) = folder();
        let socket = Socket { mode, ..socket };
        let (server, _answers) = serve(&socket).await;
        let found = fs::symlink_metadata(&socket.path).expect("it is there");
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, mode);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        drop(server);
        assert!(!socket.path.exists());
    }
}

#[tokio::test]
async fn a_socket_that_nobody_listens_at_is_replaced() {
    let (_folder, socket) = folder();
    // What a killed daemon leaves behind: while it listened, and before it did.
    drop(UnixListener::bind(&socket.path).expect("a socket"));
    drop(UnixListener::bind(socket.path.with_extension("sock.new")).expect("a socket"));
    assert!(socket.path.exists());
    let (_server, _answers) = serve(&socket).await;
    assert!(get(std::slice::from_ref(&socket.path), "/quiet").await.is_ok());
}

#[tokio::test]
async fn a_socket_that_somebody_listens_at_and_a_file_that_is_none_are_left_alone() {
    let (_folder, socket) = folder();
    let (_server, _answers) = serve(&socket).await;
    let (asks, _asked) = mpsc::channel(1);
    let error = Server::start(&socket, asks).await.expect_err("taken");
    assert!(matches!(error, ServeError::InUse(_)), "{error}");
    assert!(get(std::slice::from_ref(&socket.path), "/quiet").await.is_ok(), "the first one goes on");

    let (_folder, socket) = folder();
    fs::write(&socket.path, "mine").expect("a file");
    let (asks, _asked) = mpsc::channel(1);
    let error = Server::start(&socket, asks).await.expect_err("no socket");
    assert!(matches!(error, ServeError::NoSocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&socket.path).expect("a file"), "mine");
}

#[tokio::test]
async fn the_socket_of_another_is_not_taken_away() {
    let (_folder, socket) = folder();
    let (server, _answers) = serve(&socket).await;
    fs::remove_file(&socket.path).expect("ours");
    let _other = UnixListener::bind(&socket.path).expect("a socket");
    drop(server);
    assert!(socket.path.exists());
}

#[tokio::test]
async fn a_loop_that_has_ended_is_said_so() {
    let (_folder, socket) = folder();
    let (server, answers) = serve(&socket).await;
    answers.abort();
    let _aborted = answers.await;
    let refused = get(std::slice::from_ref(&socket.path), "/quiet").await.expect_err("no loop");
    assert!(matches!(&refused, ControlError::NotNow(said) if said.contains("about to end")), "{refused:?}");
    drop(server);
}

#[tokio::test]
async fn without_a_daemon_the_error_names_where_it_looked_and_what_to_do() {
    let (_folder, socket) = folder();
    let nowhere = [socket.path.clone(), "/nonexistent/control.sock".into()];
    let error = get(&nowhere, "/quiet").await.expect_err("nobody");
    let said = error.to_string();
    assert_eq!(error.exit_code(), 69);
    for part in ["no daemon runs here", "/control.sock or /nonexistent/control.sock", "systemctl start bellwether"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // A socket that a killed daemon left is none either.
    drop(UnixListener::bind(&socket.path).expect("a socket"));
    assert!(matches!(get(&nowhere, "/quiet").await, Err(ControlError::NoDaemon(_))));
}

#[test]
fn an_answer_of_something_else_is_not_understood() {
    for (status, text) in [
        (StatusCode::OK, &b"<html>"[..]),
        (StatusCode::NOT_FOUND, b"{}"),
        (StatusCode::BAD_GATEWAY, b"no gateway"),
        (StatusCode::BAD_REQUEST, b"{\"error\": 1}"),
    ] {
        let error = client::read(status, text).expect_err("no daemon");
        assert!(matches!(error, ControlError::Broken(_)), "{error}");
        assert_eq!(error.exit_code(), 76);
    }
}
