//! Signalling on its way: each request is passed on, each answer passed back, descriptions rewritten.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use crate::line::Relay;

/// The largest head and the largest body.
const MOST: usize = 128 << 10;
/// How long anybody may take to read or write.
const PATIENCE: Duration = Duration::from_secs(15);
/// Headers that are passed on; the rest is between neighbours.
const PASSED: [&str; 6] = ["content-type", "authorization", "location", "www-authenticate", "retry-after", "accept"];

/// The address of `http://ADDRESS:PORT`.
pub(crate) fn far_address(url: &str) -> Result<SocketAddr, String> {
    let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    address
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| format!("found {url:?}, expected http://ADDRESS:PORT"))
}

/// Serves one connection after the other.
pub(crate) fn serve(listener: &TcpListener, far: SocketAddr, relay: &Relay) {
    for stream in listener.incoming() {
        // A caller that goes is no reason to end; the call it fails to make shows it.
        let _served = stream.and_then(|stream| exchange(stream, far, relay));
    }
}

fn exchange(mut caller: TcpStream, far: SocketAddr, relay: &Relay) -> io::Result<()> {
    let request = Message::read(&mut caller)?;
    let answer = pass(request, far, relay).unwrap_or_else(|error| Message {
        start: "HTTP/1.1 502 Bad Gateway".to_owned(),
        headers: Vec::new(),
        body: format!("{error}\n"),
    });
    answer.write(&mut caller)
}

fn pass(mut request: Message, far: SocketAddr, relay: &Relay) -> io::Result<Message> {
    let refused = |what: &str| io::Error::other(format!("the {what} names no address, or this relay had its call"));
    let offers = request.is_description();
    if offers {
        request.body = relay.offered(&request.body).ok_or_else(|| refused("offer"))?;
    }
    let mut stream = TcpStream::connect_timeout(&far, PATIENCE)?;
    request.headers.push(("host".to_owned(), far.to_string()));
    request.write(&mut stream)?;
    let mut answer = Message::read(&mut stream)?;
    if offers && answer.is_description() {
        answer.body = relay.answered(&answer.body).ok_or_else(|| refused("answer"))?;
    }
    Ok(answer)
}

/// A request or an answer.
#[derive(Debug, PartialEq)]
struct Message {
    /// Its first line.
    start: String,
    /// Those that are passed on, names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            if let Some(message) = Self::parse(&bytes)? {
                return Ok(message);
            }
            match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => bytes.extend_from_slice(&piece[..count]),
            }
            if bytes.len() > MOST {
                return Err(io::Error::other("too long"));
            }
        }
    }

    /// The message, if `bytes` hold all of it. A body needs its length.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(io::Error::other);
        let head = text(&bytes[..end])?;
        let mut lines = head.lines();
        let start = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let value = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        if value("transfer-encoding").is_some() {
            return Err(io::Error::other("a body without a length"));
        }
        let length = value("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        let rest = &bytes[end + 4..];
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let body = text(body)?;
        let headers = headers.into_iter().filter(|(name, _)| PASSED.contains(&name.as_str())).collect();
        Ok(Some(Self { start, headers, body }))
    }

    fn is_description(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "content-type" && value.starts_with("application/sdp"))
    }

    fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(self.text().as_bytes())
    }

    fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = self.body.len();
        format!("{}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{}", self.start, self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_it_is_whole_and_passed_on_with_what_matters() {
        let text = "POST /reflect HTTP/1.1\r\nHost: here\r\nContent-Type: application/sdp\r\n\
                    Authorization: Bearer x\r\nContent-Length: 5\r\n\r\nv=0\r\n";
        for cut in [0, 20, text.len() - 1] {
            assert_eq!(Message::parse(&text.as_bytes()[..cut]).expect("readable"), None, "{cut}");
        }
        let message = Message::parse(text.as_bytes()).expect("readable").expect("whole");
        assert!(message.is_description());
        assert_eq!(
            message.text(),
            "POST /reflect HTTP/1.1\r\ncontent-type: application/sdp\r\nauthorization: Bearer x\r\n\
             content-length: 5\r\nconnection: close\r\n\r\nv=0\r\n"
        );
        let answer = Message::parse(b"HTTP/1.1 200 OK\r\n\r\n").expect("readable").expect("whole");
        assert_eq!((answer.body.as_str(), answer.is_description()), ("", false));
        assert!(Message::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn the_far_end_is_an_address_with_a_port() {
        assert_eq!(far_address("http://127.0.0.1:9643/"), Ok(SocketAddr::from(([127, 0, 0, 1], 9643))));
        assert!(far_address("https://127.0.0.1:9643").is_err());
        assert!(far_address("http://example.org").is_err());
    }
}
