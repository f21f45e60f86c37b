//! A worse path between a call and its far end, for the impairment bench (`tests/run bench`).
//!
//! It stands between the two for signalling and for media: offer and answer pass through it by HTTP, and
//! both are rewritten so that each side knows this program's sockets only. Media is delayed, lost, doubled,
//! reordered or queued by a seeded plan; connectivity checks and the handshake pass untouched. What was done
//! to each packet, and when, is written down: that log, never the plan, is what the call is judged by.
//!
//! ```text
//! relay --far http://127.0.0.1:9643 --plan '{"up": {"audio": {"delay_ms": 20}}}' --seed 1 --log FILE
//! ```
//! It prints where it listens, serves one call, and ends, writing its log, when its input ends.

#![expect(clippy::disallowed_methods, reason = "a shell: it delays by the clock")]

use std::{
    error::Error,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
};

use clap::Parser;

mod http;
mod line;
mod log;
mod plan;
mod release;
mod sdp;
mod stamp;

use line::Relay;
use plan::Plan;

/// Worsens the path of one call, and writes down how.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where offers come in
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where they go: http://ADDRESS:PORT
    #[arg(long, value_parser = http::far_address)]
    far: SocketAddr,
    /// What is done, as JSON; see the module `plan`
    #[arg(long, default_value = "{}", value_parser = plan)]
    plan: Plan,
    /// Of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the log goes
    #[arg(long)]
    log: PathBuf,
}

fn plan(text: &str) -> Result<Plan, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { listen, far, plan, seed, log } = Arguments::parse();
    let listener = TcpListener::bind(listen)?;
    let (relay, lines) = Relay::start(&plan, seed)?;
    let relay = Arc::new(relay);
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let server = Arc::clone(&relay);
    // It ends with the program.
    thread::Builder::new().name("http".to_owned()).spawn(move || http::serve(&listener, far, &server))?;
    io::stdin().read_to_end(&mut Vec::new())?;
    relay.stop();
    let outcomes = lines.into_iter().map(line::Line::join).collect::<Result<Vec<_>, _>>()?;
    let mut file = io::BufWriter::new(std::fs::File::create(log)?);
    log::write(&mut file, &outcomes)?;
    file.flush()?;
    Ok(())
}
