//! A client and two kinds of server, as small as they can be.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::daemon::{SOON, wait_for};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks for a page.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    try_get(address, path).unwrap_or_else(|error| panic!("http://{address}{path}: {error}"))
}

/// Asks for a page that may not be there.
pub(crate) fn try_get(address: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no end of the head"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status"))?;
    Ok(Answer { status, body: body.to_owned() })
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    head: String,
    pub(crate) body: String,
}

impl Request {
    /// Reads one request whole.
    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(SOON))?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let mut request = Self { head, body: String::new() };
                let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap_or(0));
                if bytes.len() >= end + 4 + length {
                    request.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                    return Ok(request);
                }
            }
            match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }
}

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with these bytes and closes.
    Bytes(Vec<u8>),
    /// Answers 202 after this time.
    Late(Duration),
    /// Answers nothing for as long as the sender waits.
    Never,
}

impl Reply {
    /// An answer without a body.
    pub(crate) fn status(line: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes())
    }
}

/// A vendor's receiver: it answers the first requests as it is told, and all others with 202.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            let mut replies = replies.into_iter();
            for mut stream in listener.incoming().map_while(Result::ok) {
                // A sender that was killed leaves half a request.
                let Ok(request) = Request::read(&mut stream) else { continue };
                seen.lock().expect("no server panics").push(request);
                let reply = replies.next().unwrap_or_else(|| Reply::status("202 Accepted"));
                thread::spawn(move || reply_to(&mut stream, &reply));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no server panics").clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, count: usize, within: Duration) -> Vec<Request> {
        wait_for(&format!("{count} requests"), within, || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }
}

fn reply_to(stream: &mut TcpStream, reply: &Reply) {
    let bytes = match reply {
        Reply::Bytes(bytes) => bytes.clone(),
        Reply::Late(wait) => {
            thread::sleep(*wait);
            b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
        }
        Reply::Never => {
            // Ends when the other side has given up.
            let _given_up = stream.read(&mut [0]);
            return;
        }
    };
    // The sender may be gone.
    let _gone = stream.write_all(&bytes);
}

/// A web page that is held back as long as its gate is shut.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) address: String,
    gate: Arc<(Mutex<bool>, Condvar)>,
    asked: Arc<AtomicUsize>,
}

impl Page {
    pub(crate) fn start(open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let gate = Arc::new((Mutex::new(open), Condvar::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, count) = (Arc::clone(&gate), Arc::clone(&asked));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (shared, count) = (Arc::clone(&shared), Arc::clone(&count));
                thread::spawn(move || {
                    if Request::read(&mut stream).is_err() {
                        return;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let open = shared.0.lock().expect("no server panics");
                    drop(shared.1.wait_while(open, |open| !*open).expect("no server panics"));
                    reply_to(&mut stream, &Reply::status("200 OK"));
                });
            }
        });
        Self { address, gate, asked }
    }

    /// A probe of this page, every minute.
    pub(crate) fn probe(&self, name: &str, more: &str) -> String {
        let address = &self.address;
        format!("[probe.{name}]\nkind = \"page\"\nurl = \"http://{address}/\"\nschedule = \"* * * * *\"\n{more}\n")
    }

    pub(crate) fn set_open(&self, open: bool) {
        *self.gate.0.lock().expect("no server panics") = open;
        self.gate.1.notify_all();
    }

    /// How often it was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
