//! A command's end: finds the daemon, asks, and reads the answer.

use std::{io, path::PathBuf};

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, time::timeout};

use super::{ControlError, LONGEST_WAIT, MOST_ANSWERED};

/// Asks for what is at `path`.
///
/// # Errors
/// See [`ControlError`].
pub async fn get(sockets: &[PathBuf], path: &str) -> Result<Value, ControlError> {
    ask(sockets, Method::GET, path, None).await
}

/// Asks for a change.
///
/// # Errors
/// See [`ControlError`].
pub async fn post(sockets: &[PathBuf], path: &str, body: &Value) -> Result<Value, ControlError> {
    ask(sockets, Method::POST, path, Some(body)).await
}

/// Asks for an end of what is at `path`.
///
/// # Errors
/// See [`ControlError`].
pub async fn delete(sockets: &[PathBuf], path: &str) -> Result<Value, ControlError> {
    ask(sockets, Method::DELETE, path, None).await
}

async fn ask(sockets: &[PathBuf], method: Method, path: &str, body: Option<&Value>) -> Result<Value, ControlError> {
    let (socket, stream) = connect(sockets).await?;
    let asked = exchange(stream, method, path, body);
    timeout(LONGEST_WAIT, asked).await.unwrap_or(Err(ControlError::Late(socket)))
}

/// The first socket that somebody listens at.
async fn connect(sockets: &[PathBuf]) -> Result<(PathBuf, UnixStream), ControlError> {
    let mut refused = None;
    for path in sockets {
        match timeout(LONGEST_WAIT, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => return Ok((path.clone(), stream)),
            Ok(Err(source)) if source.kind() == io::ErrorKind::PermissionDenied => {
                refused.get_or_insert(ControlError::NotPermitted { path: path.clone(), source });
            }
            Ok(Err(_)) => {}
            Err(_) => return Err(ControlError::Late(path.clone())),
        }
    }
    Err(refused.unwrap_or_else(|| ControlError::NoDaemon(sockets.to_vec())))
}

async fn exchange(stream: UnixStream, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ControlError> {
    let request = Request::builder().method(method).uri(path).header(header::HOST, "bellwether");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.body(body.map(|body| Body::from(body.to_string())).unwrap_or_default()).map_err(broken)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // What goes wrong with it is seen where the answer is waited for.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let text = axum::body::to_bytes(Body::new(response.into_body()), MOST_ANSWERED).await.map_err(broken)?;
    connection.abort();
    read(status, &text)
}

/// What an answer says. Pure.
pub(super) fn read(status: StatusCode, text: &[u8]) -> Result<Value, ControlError> {
    let found: Value = serde_json::from_slice(text).map_err(broken)?;
    if status.is_success() {
        return Ok(found);
    }
    match found.get("error").and_then(Value::as_str) {
        Some(message) if status == StatusCode::SERVICE_UNAVAILABLE => Err(ControlError::NotNow(message.to_owned())),
        Some(message) => Err(ControlError::Refused(message.to_owned())),
        None => Err(broken(format!("found status {status} without an error"))),
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ControlError {
    ControlError::Broken(error.into())
}
