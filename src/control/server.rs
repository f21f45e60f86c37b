//! The daemon's end: from a connection to a question of the loop, and back.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Ask, Asked, LONGEST_ANSWER, LONGEST_CONNECTION, MOST_ASKED, Request, Socket};

/// Connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 8;
/// A socket that does not take a connection within this has a listener, though a busy one.
const LONGEST_CONNECT: Duration = Duration::from_secs(1);

/// Why no commands are taken.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process listens there.
    #[error("another process listens at {}", .0.display())]
    InUse(PathBuf),
    /// Something else lies there, which is not ours to remove.
    #[error("found {} to be no socket, expected a socket or nothing", .0.display())]
    NoSocket(PathBuf),
    /// The system does not let it.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Serves until it is dropped, and takes its file away then.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Device and inode of the file: another's is left where it is.
    id: Option<(u64, u64)>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens at `socket` and hands on what is asked. A socket that a killed daemon left behind is
    /// replaced; one at which somebody listens is not.
    ///
    /// # Errors
    /// The socket cannot be had.
    pub async fn start(socket: &Socket, asks: mpsc::Sender<Request>) -> Result<Self, ServeError> {
        let path = socket.path.clone();
        if let Some(found) = file_type(&path) {
            if !found.is_socket() {
                return Err(ServeError::NoSocket(path));
            }
            if is_served(&path).await {
                return Err(ServeError::InUse(path));
            }
        }
        let listener = listen(socket).map_err(|source| ServeError::Listen { path: path.clone(), source })?;
        let id = id(&path);
        let task = tokio::spawn(serve(listener, asks));
        Ok(Self { path, id, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if self.id.is_some() && self.id == id(&self.path) {
            // If it cannot go it is replaced by the next daemon.
            let _left = fs::remove_file(&self.path);
        }
    }
}

fn file_type(path: &Path) -> Option<fs::FileType> {
    fs::symlink_metadata(path).ok().map(|found| found.file_type())
}

fn id(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Whether somebody listens. Only a refusal says that nobody does.
async fn is_served(path: &Path) -> bool {
    match timeout(LONGEST_CONNECT, UnixStream::connect(path)).await {
        Ok(Err(error)) => error.kind() != io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => true,
    }
}

/// The file has its rights before anybody can connect, and its name only when all is well.
fn listen(socket: &Socket) -> io::Result<UnixListener> {
    let new = socket.path.with_extension("sock.new");
    if file_type(&new).is_some_and(|found| found.is_socket()) {
        fs::remove_file(&new)?;
    }
    let bound = UnixSocket::new_stream()?;
    bound.bind(&new)?;
    let listening = || {
        fs::set_permissions(&new, fs::Permissions::from_mode(socket.mode))?;
        let listener = bound.listen(MOST_CONNECTIONS as u32)?;
        fs::rename(&new, &socket.path)?;
        Ok(listener)
    };
    listening().inspect_err(|_| {
        let _left = fs::remove_file(&new);
    })
}

/// The user at the other end.
#[derive(Clone, Copy)]
struct User(Option<u32>);

async fn serve(listener: UnixListener, asks: mpsc::Sender<Request>) {
    let router = Router::new()
        .route("/quiet", get(show_quiet).post(quiet).delete(no_quiet))
        .route("/bookings", post(book))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "found another path, expected /quiet or /bookings") })
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "found another method, expected GET, POST or DELETE")
        })
        .with_state(asks);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "a command was not accepted");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let user = User(stream.peer_cred().ok().map(|peer| peer.uid()));
        let router = router.clone().layer(Extension(user));
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).keep_alive(false);
            let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
            match timeout(LONGEST_CONNECTION, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a command ended badly"),
                Err(_) => tracing::debug!("a command took too long"),
            }
            drop(place);
        });
    }
}

type Asks = State<mpsc::Sender<Request>>;

async fn show_quiet(State(asks): Asks, Extension(user): Extension<User>) -> Response {
    answer(&asks, user, Ask::ShowQuiet).await
}

/// `POST /quiet`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    until: DateTime<Utc>,
}

async fn quiet(State(asks): Asks, Extension(user): Extension<User>, body: Body) -> Response {
    match read::<Until>(body, "expected {\"until\": \"2026-11-29T15:00:00+08:00\"}").await {
        Ok(Until { until }) => answer(&asks, user, Ask::Quiet(Some(until))).await,
        Err(refused) => refused,
    }
}

async fn no_quiet(State(asks): Asks, Extension(user): Extension<User>) -> Response {
    answer(&asks, user, Ask::Quiet(None)).await
}

async fn book(State(asks): Asks, Extension(user): Extension<User>, body: Body) -> Response {
    match read::<Asked>(body, "expected {\"wish\": {\"act\": {\"key\": \"bw1-…\", \"act\": \"confirm\"}}}").await {
        Ok(asked) => answer(&asks, user, Ask::Book(Box::new(asked))).await,
        Err(refused) => refused,
    }
}

/// The body, or what is sent back instead.
async fn read<T: DeserializeOwned>(body: Body, expected: &str) -> Result<T, Response> {
    let body = axum::body::to_bytes(body, MOST_ASKED).await.map_err(|_| {
        let message = format!("found more, expected at most {MOST_ASKED} bytes");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &message)
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, &format!("found no such request ({error}), {expected}")))
}

/// Asks the loop.
async fn answer(asks: &mpsc::Sender<Request>, User(user): User, ask: Ask) -> Response {
    let (reply, answered) = oneshot::channel();
    let asked = async {
        asks.send(Request { ask, user, reply }).await.ok()?;
        answered.await.ok()
    };
    match timeout(LONGEST_ANSWER, asked).await {
        Ok(Some(Ok(found))) => Json(found).into_response(),
        Ok(Some(Err(message))) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &message),
        Ok(None) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the daemon is about to end"),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the daemon is busy; ask again"),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
