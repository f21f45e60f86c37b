//! Connections served: each with a deadline for what it is doing, and not too many at once, so that slow and
//! endless clients are in nobody's way.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::TlsAcceptor;

use super::{
    guard::Guard,
    peers::{Connection, Connections, Peer},
};

/// The longest head of a request, in bytes; bodies are not read.
const LONGEST_HEAD: usize = 16 << 10;
/// The most headers of a request.
const MOST_HEADERS: usize = 64;
/// What plain HTTP gets where TLS is expected.
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
                           expected https, found http\n";

/// What all connections share.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) guard: Arc<Guard>,
    pub(super) connections: Connections,
    pub(super) stopped: watch::Receiver<bool>,
}

/// Serves until it is stopped, and then until nothing is being answered any more.
pub(super) async fn serve(listener: TcpListener, shared: Shared) {
    let mut stopped = shared.stopped.clone();
    let shared = Arc::new(shared);
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the server was dropped: stop as well.
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection did not end well");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => match shared.connections.enter(Peer::of(from.ip()), Instant::now()) {
                Some(connection) => {
                    tasks.spawn(attend(stream, connection, Arc::clone(&shared)));
                }
                None => tracing::debug!(%from, "a connection was closed: all others are being answered"),
            },
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop(listener);
    shared.connections.clear();
    while tasks.join_next().await.is_some() {}
}

/// Serves a connection for as long as it may last.
async fn attend(stream: TcpStream, connection: Arc<Connection>, shared: Arc<Shared>) {
    let mut work = pin!(talk(stream, &connection, &shared));
    let mut alarm = pin!(sleep_until(connection.deadline()));
    let mut told = pin!(connection.leave.notified());
    let ended = poll_fn(|context| {
        if let Poll::Ready(ended) = work.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        // What it is doing may have changed just now.
        let deadline = connection.deadline();
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        if alarm.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::other("it took too long")));
        }
        told.as_mut().poll(context).map(|()| Err(io::Error::other("it had to go for another")))
    })
    .await;
    shared.connections.leave(&connection);
    if let Err(error) = ended {
        tracing::debug!(%error, peer = ?connection.peer, "a connection ended");
    }
}

async fn talk(mut stream: TcpStream, connection: &Arc<Connection>, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let access = shared.guard.current().await;
    let changes = shared.guard.changes();
    match &access.tls {
        None => requests(stream, connection, shared, changes).await,
        Some(_) if is_plain(&stream).await? => {
            // What is not read would take the answer away with it.
            let mut asked = [0; 4096];
            let _asked = stream.read(&mut asked).await?;
            stream.write_all(NOT_PLAIN).await?;
            stream.shutdown().await
        }
        Some(tls) => {
            let stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
            requests(stream, connection, shared, changes).await
        }
    }
}

/// Whether the other end begins with a letter: no record of TLS does.
async fn is_plain(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? > 0 && first[0].is_ascii_alphabetic())
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: &Arc<Connection>,
    shared: &Shared,
    mut changes: watch::Receiver<u64>,
) -> io::Result<()> {
    connection.is_open(Instant::now());
    let service = TowerToHyperService::new(shared.router.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        connection.asks(Instant::now());
        request.extensions_mut().insert(connection.peer);
        let answer = hyper::service::Service::call(&service, request);
        async move {
            let answer = answer.await;
            connection.is_answered(Instant::now());
            answer
        }
    });
    let mut http = http1::Builder::new();
    // All deadlines are those of the connection.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(LONGEST_HEAD).max_headers(MOST_HEADERS);
    let watched = Watched { stream, connection: Arc::clone(connection) };
    let mut served = pin!(http.serve_connection(TokioIo::new(watched), service));
    let mut stopped = shared.stopped.clone();
    let told = async {
        // Another certificate, or other clients: whoever goes on comes anew. And a server that is dropped has stopped.
        tokio::select! {
            _ = changes.changed() => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    };
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(io::Error::other),
        () = told => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(io::Error::other)
}

/// A stream whose connection knows what passes.
struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.connection.has_read(Instant::now());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.connection.has_sent(Instant::now());
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
