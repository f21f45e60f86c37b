//! What listens: metrics and health, read-only. Pages are rendered from the newest snapshot and
//! never measure anything.
//!
//! ```text
//! connection → peers (is there room?) → serve (deadlines, TLS) → guard (who may?) → page
//! web config file → yaml → file → access (what counts) → guard (what is in force)
//! ```

mod access;
mod file;
mod gate;
mod guard;
mod hash;
mod keys;
mod offer;
mod peers;
mod serve;
mod tls;
mod yaml;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{Html, IntoResponse},
    routing::get,
};
use bellwether_agent::export::{self, Snapshot};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use self::access::Access;
use self::{guard::Guard, peers::Connections, serve::Shared};
use crate::Clock;

/// `[web]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The web config file of the Prometheus exporters: TLS and users.
    pub config_file: Option<PathBuf>,
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = "expected an address with a port, such as \"127.0.0.1:9642\"";
    text.parse().map_err(|_| serde::de::Error::custom(format!("found {text:?}, {expected}")))
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9642)), config_file: None }
    }
}

/// A server that runs until it is stopped or dropped.
pub struct Server {
    address: SocketAddr,
    guard: Arc<Guard>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shown<C> {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    guard: Arc<Guard>,
    clock: C,
}

impl Server {
    /// Binds and serves, and says so. `access` is what `[web] config_file` says, if there is one.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start<C: Clock>(
        config: &Config,
        access: &Arc<Access>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        clock: C,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let guard = Guard::new(config.config_file.clone(), Arc::clone(access), address, Box::new(clock.clone()))?;
        let guard = Arc::new(guard);
        // Nothing is changed over TCP: there is no other method than GET and HEAD.
        let router = Router::new()
            .route("/", get(front))
            .route("/metrics", get(metrics::<C>))
            .route("/-/healthy", get(|| async { "bellwether is healthy\n" }))
            .route("/-/ready", get(|| async { "bellwether is ready\n" }))
            .with_state(Shown { snapshots, guard: Arc::clone(&guard), clock })
            .layer(middleware::from_fn_with_state(Arc::clone(&guard), guard::check));
        let (stop, stopped) = watch::channel(false);
        guard.introduce();
        let shared = Shared { router, guard: Arc::clone(&guard), connections: Connections::default(), stopped };
        let task = tokio::spawn(serve::serve(listener, shared));
        Ok(Self { address, guard, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, with `https` if it asks for TLS.
    pub fn url(&self) -> String {
        self.guard.url()
    }

    /// Puts in force what the config file says now.
    pub fn take(&self, config: &Config, access: &Arc<Access>) {
        self.guard.take(config.config_file.clone(), Arc::clone(access));
    }

    /// Takes no further connection and waits for those that are being answered.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the web server did not end well");
        }
    }
}

async fn metrics<C: Clock>(State(shown): State<Shown<C>>) -> impl IntoResponse {
    let snapshot = shown.snapshots.borrow().clone();
    let page = export::render(&snapshot, shown.guard.reload(), (shown.clock)());
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

async fn front() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=en><meta charset=utf-8><title>bellwether</title>\
         <h1>bellwether</h1><ul><li><a href=/metrics>metrics</a>\
         <li><a href=/-/healthy>healthy</a><li><a href=/-/ready>ready</a></ul></html>\n",
    )
}
