//! How fast the link is by which a call leaves this box, as far as the system knows.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use rtc::shared::ifaces::ifaces;
use tokio::time::timeout;
use url::Url;

use super::{Config, FarEnd, bounds::bounded};
use crate::dial::{host_and_port, resolve};

/// Where Linux shows network interfaces.
const INTERFACES: &str = "/sys/class/net";
/// How long the far end's name may take here; the call itself says what is wrong with it.
const NAME: Duration = Duration::from_secs(2);

/// Bits per second of the interface by which the route to the far end leaves; `None` where nothing is
/// bounded by it: loopback, wireless and many virtual ones have no speed.
///
/// A name has to be resolved to know its route, and would be known already when that is timed. So it is
/// resolved only if the slowest interface of the box would be a bound.
pub(super) async fn bits_per_second(config: &Config) -> Option<f64> {
    let FarEnd::Remote(remote) = &config.far_end else { return None };
    if let Some(interface) = &config.interface {
        return speed_of(interface);
    }
    let names = fs::read_dir(INTERFACES).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let slowest = names.filter_map(|name| speed_of(&name)).reduce(f64::min);
    if bounded(config, slowest, None).bounds.is_empty() {
        return None;
    }
    let url = Url::parse(remote.url.as_deref().or(remote.publish.as_deref())?).ok()?;
    let (host, port) = host_and_port(&url).ok()?;
    let addresses = timeout(NAME, resolve(&host, port)).await.ok()?.ok()?;
    let local = leaves_by(addresses.first()?.ip())?;
    let interface = ifaces().ok()?.into_iter().find(|found| found.addr.is_some_and(|at| at.ip() == local))?;
    speed_of(&interface.name)
}

/// The address of this box from which packets to another leave. Nothing is sent.
fn leaves_by(to: IpAddr) -> Option<IpAddr> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    // Any port will do; this is the one that discards (RFC 863).
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn speed_of(interface: &str) -> Option<f64> {
    speed(&fs::read_to_string(format!("{INTERFACES}/{interface}/speed")).ok()?)
}

/// Bits per second of what `speed` of an interface says, in Mbit/s; -1 is unknown.
fn speed(text: &str) -> Option<f64> {
    text.trim().parse::<i64>().ok().filter(|megabits| *megabits > 0).map(|megabits| megabits as f64 * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_speed_that_is_known_is_one() {
        for (text, expected) in [
            ("1000\n", Some(1e9)),
            ("10", Some(1e7)),
            ("-1\n", None),
            ("0\n", None),
            ("4294967295\n", Some(4.294967295e15)),
            ("", None),
            ("fast", None),
        ] {
            assert_eq!(speed(text), expected, "{text:?}");
        }
        assert_eq!(speed_of("lo"), None);
        assert_eq!(speed_of("no-such-card"), None);
    }

    #[test]
    fn the_route_to_this_box_leaves_by_its_loopback() {
        for address in ["127.0.0.1", "127.0.0.9"] {
            let address: IpAddr = address.parse().expect("an address");
            assert!(leaves_by(address).is_some_and(|local| local.is_loopback()), "{address}");
        }
    }
}
