//! TURN over TCP and TLS (RFC 8656 §3.1). Our connections speak TURN over UDP alone, so a bridge on
//! the loopback carries their messages over a stream, one for each socket. Stamps of arrival are
//! those of the bridge: a stream has none of its own.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rtc::shared::turn_framing::TurnStreamDecoder;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::UdpSocket,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{
    Failure, Reason,
    dial::{connect, failed, resolve},
    media::ice::Address,
};

/// Most sockets that are served.
const MOST_SOCKETS: usize = 16;
/// Messages that wait for a stream; more are lost, as on any full path.
const QUEUE: usize = 256;
/// Largest message of ours.
const MOST_BYTES: usize = 2048;
/// How long a stream may take to be there.
const CONNECT: Duration = Duration::from_secs(3);
/// First two bits of channel data.
const CHANNEL_DATA: u8 = 0b01;

/// What went wrong last, for the message of a failure.
pub(super) type Trouble = Arc<Mutex<Option<Failure>>>;

/// The way to a TURN server.
pub(super) struct Way {
    pub(super) address: Address,
    /// The network interface that streams go by; `None` where the routes decide.
    pub(super) interface: Option<String>,
    /// For TURN over TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// Opens a bridge to a TURN server, which lives as long as `tasks`; its own address.
pub(super) async fn open(mut way: Way, trouble: Trouble, tasks: &mut JoinSet<()>) -> std::io::Result<SocketAddr> {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    let bound = socket.local_addr()?;
    way.tls = way.tls.map(|tls| {
        // A TURN server speaks no HTTP.
        let mut tls = ClientConfig::clone(&tls);
        tls.alpn_protocols.clear();
        Arc::new(tls)
    });
    tasks.spawn(serve(socket, Arc::new(way), trouble));
    Ok(bound)
}

async fn serve(socket: Arc<UdpSocket>, way: Arc<Way>, trouble: Trouble) {
    let mut streams: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = [0; MOST_BYTES];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if !streams.contains_key(&from) && streams.len() < MOST_SOCKETS {
            let (queue, messages) = mpsc::channel(QUEUE);
            streams.insert(from, queue);
            let (socket, way, trouble) = (Arc::clone(&socket), Arc::clone(&way), Arc::clone(&trouble));
            tasks.spawn(async move {
                if let Err(failure) = carry(&socket, from, &way, messages).await {
                    *trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                }
            });
        }
        if let (Some(queue), Some(message)) = (streams.get(&from), buffer.get(..length)) {
            let _ = queue.try_send(padded(message));
        }
    }
}

/// A message as it stands in a stream: channel data fills words of four bytes (RFC 8656 §12.5).
fn padded(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    if bytes.first().is_some_and(|first| first >> 6 == CHANNEL_DATA) {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Carries messages of one socket there and back until either side ends.
async fn carry(
    socket: &UdpSocket,
    from: SocketAddr,
    Way { address, interface, tls }: &Way,
    messages: mpsc::Receiver<Vec<u8>>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + CONNECT;
    let late = |what: &str| Failure::new(Reason::Ice, format!("{what} in time"));
    let addresses = timeout_at(deadline, resolve(&address.host, address.port)).await;
    let addresses = addresses.map_err(|_| late("the name was not resolved"))??;
    let stream = connect(&addresses, interface.as_deref(), deadline).await?;
    let Some(tls) = tls.clone() else { return through(socket, from, stream, messages).await };
    let name = ServerName::try_from(address.host.clone()).map_err(|error| failed(Reason::Tls, &error))?;
    let shaken = timeout_at(deadline, TlsConnector::from(tls).connect(name, stream)).await;
    let stream = shaken.map_err(|_| late("the TLS handshake did not end"))?;
    through(socket, from, stream.map_err(|error| failed(Reason::Tls, &error))?, messages).await
}

async fn through(
    socket: &UdpSocket,
    from: SocketAddr,
    stream: impl AsyncRead + AsyncWrite,
    mut messages: mpsc::Receiver<Vec<u8>>,
) -> Result<(), Failure> {
    let broken = |error: std::io::Error| failed(Reason::Ice, &error);
    let (mut reader, mut writer) = split(stream);
    let there = async {
        while let Some(message) = messages.recv().await {
            writer.write_all(&message).await.map_err(broken)?;
            writer.flush().await.map_err(broken)?;
        }
        Ok(())
    };
    let back = async {
        let mut decoder = TurnStreamDecoder::new();
        let mut buffer = [0; MOST_BYTES];
        loop {
            let length = reader.read(&mut buffer).await.map_err(broken)?;
            if length == 0 {
                return Err(Failure::new(Reason::Ice, "the TURN server closed the stream"));
            }
            decoder.extend_from_slice(buffer.get(..length).unwrap_or_default());
            while let Some(message) = decoder.next_message().map_err(|error| failed(Reason::Ice, &error))? {
                socket.send_to(&message, from).await.map_err(broken)?;
            }
        }
    };
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use tokio::net::TcpListener;

    use super::*;
    use crate::media::ice::Transport;

    #[tokio::test]
    async fn messages_pass_both_ways_whole_and_padded_where_a_stream_wants_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address { transport: Transport::TurnTcp, host: "127.0.0.1".to_owned(), port };
        let (trouble, mut tasks) = (Trouble::default(), JoinSet::new());
        let way = Way { address, interface: Some("lo".to_owned()), tls: None };
        let bridge = open(way, Arc::clone(&trouble), &mut tasks).await.unwrap();
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let channel = [&[0x40, 0, 0, 5][..], b"media"].concat();
        let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
        near.send_to(&channel, bridge).await.unwrap();
        near.send_to(&stun, bridge).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut came = vec![0; 12 + 20];
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!(came, [&channel[..], &[0; 3], &stun[..]].concat());

        // Back in pieces that are no messages.
        for piece in [&came[..3], &came[3..20], &came[20..]] {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut buffer = [0; 100];
        let length = near.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], came[..12]);
        let length = near.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], stun);

        drop(stream);
        while trouble.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(trouble.lock().unwrap().as_ref().unwrap().detail.contains("closed the stream"));
    }
}
