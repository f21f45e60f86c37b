//! What listens: metrics and health, read-only. Pages are rendered from the newest snapshot and
//! never measure anything.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse},
    routing::get,
};
use bellwether_agent::export::{self, Snapshot};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::Clock;

/// `[web]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = "expected an address with a port, such as \"127.0.0.1:9642\"";
    text.parse().map_err(|_| serde::de::Error::custom(format!("found {text:?}, {expected}")))
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9642)) }
    }
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared<C> {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: C,
}

impl Server {
    /// Binds and serves. The error says which address could not be had.
    pub async fn start<C: Clock>(
        config: &Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        clock: C,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", get(front))
            .route("/metrics", get(metrics::<C>))
            .route("/-/healthy", get(|| async { "bellwether is healthy\n" }))
            .route("/-/ready", get(|| async { "bellwether is ready\n" }))
            .with_state(Shared { snapshots, clock });
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let stopped = async move {
                // An error means that the server was dropped: stop as well.
                let _dropped = stopped.wait_for(|stop| *stop).await;
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the web server ended");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no further connection and waits for those that are open.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the web server did not end well");
        }
    }
}

async fn metrics<C: Clock>(State(shared): State<Shared<C>>) -> impl IntoResponse {
    let snapshot = shared.snapshots.borrow().clone();
    let page = export::render(&snapshot, (shared.clock)());
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

async fn front() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=en><meta charset=utf-8><title>bellwether</title>\
         <h1>bellwether</h1><ul><li><a href=/metrics>metrics</a>\
         <li><a href=/-/healthy>healthy</a><li><a href=/-/ready>ready</a></ul></html>\n",
    )
}
