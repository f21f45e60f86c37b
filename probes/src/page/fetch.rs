//! The shell: one GET on one fresh connection, timed by phase.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::{Config, Observation};
use crate::{
    Failure, Reason,
    dial::{connect, failed, host_and_port, resolve, tls},
};

/// Most bytes of a head.
const MAX_HEAD: usize = 64 * 1024;

/// Time since the last lap.
struct Laps(Instant);

impl Laps {
    fn lap(&mut self, phase: &'static str, seen: &mut Observation) {
        let now = Instant::now();
        seen.phases.push((phase, now.duration_since(self.0).as_secs_f64()));
        self.0 = now;
    }
}

/// Fetches the page, and notes in `seen` whatever was reached, also when it then fails.
pub(super) async fn fetch(config: &Config, end: Instant, seen: &mut Observation) -> Result<(), Failure> {
    let url = Url::parse(&config.url).map_err(|error| failed(Reason::Source, &error))?;
    let (host, port) = host_and_port(&url)?;
    // The trust store is read before the clock starts: it is our cost, not the page's.
    let tls = if url.scheme() == "https" { Some(tls(config.ca_file.as_deref()).await?) } else { None };

    let start = Instant::now();
    let mut laps = Laps(start);
    let addresses = resolve(&host, port).await?;
    laps.lap("resolve", seen);
    let stream = connect(&addresses, None, end).await?;
    laps.lap("connect", seen);
    if let Some((tls, leaf)) = tls {
        let name = ServerName::try_from(host).map_err(|error| failed(Reason::Tls, &error))?;
        let shaken = TlsConnector::from(tls).connect(name, stream).await;
        seen.certificate = leaf.take();
        let stream = shaken.map_err(|error| failed(Reason::Tls, &error))?;
        laps.lap("tls", seen);
        exchange(stream, &url, config, &mut laps, seen).await?;
    } else {
        exchange(stream, &url, config, &mut laps, seen).await?;
    }
    seen.response = Some(laps.0.duration_since(start).as_secs_f64());
    Ok(())
}

/// Sends the request and reads the answer.
async fn exchange<S>(
    stream: S,
    url: &Url,
    config: &Config,
    laps: &mut Laps,
    seen: &mut Observation,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error: hyper::Error| failed(Reason::Http, &error);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
    // The connection is driven by a task of its own, which ends with this set.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::get(target)
        .header(HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(USER_AGENT, concat!("bellwether/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(Reason::Http, &error))?;
    let response = sender.send_request(request).await.map_err(http)?;
    laps.lap("first_byte", seen);
    seen.status = Some(response.status().as_u16());
    let body = bounded(response.into_body(), config.max_bytes).await?;
    laps.lap("whole", seen);
    seen.text_found = Some(config.expect_text.as_deref().is_none_or(|text| contains(&body, text.as_bytes())));
    Ok(())
}

async fn bounded(mut body: Incoming, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(Reason::Http, &error))?;
        let Some(data) = frame.data_ref() else { continue };
        if (bytes.len() + data.len()) as u64 > most {
            return Err(Failure::new(Reason::TooLarge, format!("the body has more than {most} bytes")));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        for (body, text, expected) in [("abc", "abc", true), ("abc", "c", true), ("ab", "abc", false), ("", "a", false)]
        {
            assert_eq!(contains(body.as_bytes(), text.as_bytes()), expected, "{body} {text}");
        }
    }
}
