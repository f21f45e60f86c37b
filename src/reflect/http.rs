//! What is asked by HTTP, and what is answered.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{Refused, Room};

/// The largest offer.
const MOST_OFFER: usize = 64 << 10;
/// How long a connection may last, from its first byte to its last: one request.
const LONGEST_REQUEST: Duration = Duration::from_secs(15);
/// Connections at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 32;
/// When a caller that found no place may ask again.
const RETRY: &str = "10";

/// The address of who asks.
#[derive(Clone, Copy)]
struct Caller(IpAddr);

/// Serves connections for as long as it is polled.
pub(super) async fn serve(listener: &TcpListener, tls: Option<&TlsAcceptor>, room: &Arc<Room>) {
    let router = Router::new()
        .route("/reflect", post(offer))
        .route("/reflect/{id}", delete(end))
        .fallback(|| async { (StatusCode::NOT_FOUND, "offers go to /reflect\n") })
        .method_not_allowed_fallback(|| async {
            (StatusCode::METHOD_NOT_ALLOWED, "expected POST /reflect or DELETE /reflect/ID\n")
        })
        .with_state(Arc::clone(room));
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let router = router.clone().layer(Extension(Caller(from.ip().to_canonical())));
        let tls = tls.cloned();
        tokio::spawn(async move {
            match timeout(LONGEST_REQUEST, connection(stream, tls, router)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, %from, "a connection ended badly"),
                Err(_) => tracing::debug!(%from, "a connection took too long"),
            }
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => request(stream, router).await,
        Some(tls) => request(tls.accept(stream).await?, router).await,
    }
}

/// One request, so that the deadline of the connection is that of the request.
async fn request(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false);
    http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await.map_err(io::Error::other)
}

async fn offer(
    State(room): State<Arc<Room>>,
    Extension(Caller(caller)): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    if !is_admitted(&room, &headers) {
        return Err(no_token());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/sdp")) {
        return Err(short(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected application/sdp"));
    }
    let body = axum::body::to_bytes(body, MOST_OFFER).await;
    let body = body.map_err(|_| short(StatusCode::PAYLOAD_TOO_LARGE, "expected an offer of at most 64 KiB"))?;
    let offer = String::from_utf8(body.into()).map_err(|_| short(StatusCode::BAD_REQUEST, "the offer is no text"))?;
    if !offer.starts_with("v=0") {
        return Err(short(StatusCode::BAD_REQUEST, "the offer is no SDP"));
    }
    let (id, answer) = room.take(offer, caller).await.map_err(|refused| refusal(&refused))?;
    let headers = [(header::CONTENT_TYPE, "application/sdp".to_owned()), (header::LOCATION, format!("/reflect/{id}"))];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

async fn end(State(room): State<Arc<Room>>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, Response> {
    if !is_admitted(&room, &headers) {
        return Err(no_token());
    }
    let notes = room.end(&id).ok_or_else(|| short(StatusCode::NOT_FOUND, "no such call"))?;
    let Some(notes) = notes else { return Ok(StatusCode::OK.into_response()) };
    // On a thread of its own: packets of other calls do not wait for it.
    let text = spawn_blocking(move || notes.text()).await.unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Whether the token is shown, if one is asked for.
fn is_admitted(room: &Room, headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).map_or(&[][..], |shown| shown.as_bytes());
    room.token.as_ref().is_none_or(|token| token.is_shown(shown))
}

fn no_token() -> Response {
    let headers = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, headers, "expected the token of this reflector\n").into_response()
}

fn refusal(refused: &Refused) -> Response {
    use bellwether_probes::media::reflector::ReflectError;
    match refused {
        Refused::Full => {
            let text = format!("{refused}\n");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY)], text).into_response()
        }
        Refused::Reflector(ReflectError::Offer(error)) => {
            tracing::debug!(%error, "an offer was not answered");
            short(StatusCode::BAD_REQUEST, "the offer cannot be answered")
        }
        Refused::Reflector(ReflectError::Own(_)) | Refused::Random(_) => {
            tracing::warn!(error = refused as &dyn std::error::Error, "an offer could not be answered");
            short(StatusCode::INTERNAL_SERVER_ERROR, "the offer could not be answered here")
        }
    }
}

fn short(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
