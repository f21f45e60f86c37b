//! Where the sound server is.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{net::UnixStream, time::timeout};

use crate::{Failure, Reason};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of a cookie. PipeWire wants so many, whatever they are.
const COOKIE: usize = 256;
/// What would help.
const REMEDY: &str = "somebody may have to log in to the desktop, or, as a member of the group bellwether-audio, let their \
                      sound server open a socket in /run/bellwether-audio, or `server` of the probe must name the socket";
const REMEDY_IF_REFUSED: &str = "the folder of the socket must let in the user that runs bellwether; \
                                 `systemd-tmpfiles --create` does that for /run/bellwether-audio";

/// Connects to the server that `server` names, else to the first that takes a connection.
pub(crate) async fn connect(server: Option<&Path>) -> Result<UnixStream, Failure> {
    let places = places(server, |name| env::var_os(name), user());
    let mut tried = Vec::new();
    let mut refused = false;
    for place in &places {
        let error = match timeout(CONNECT, UnixStream::connect(place)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut),
        };
        // Sessions are hidden from a service (ProtectHome=), which has none of its own.
        refused |= error.kind() == io::ErrorKind::PermissionDenied && !place.starts_with("/run/user");
        tried.push(format!("{}: {error}", place.display()));
    }
    let tried = if tried.is_empty() { "no place for its socket is known".to_owned() } else { tried.join("; ") };
    let (reason, remedy) = if refused { (Reason::NotPermitted, REMEDY_IF_REFUSED) } else { (Reason::NoServer, REMEDY) };
    Err(Failure::new(reason, format!("no sound server: {tried}; {remedy}")))
}

/// Where sockets of sound servers may be, the likeliest first. What a person has named is the only one.
fn places(server: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>, user: u32) -> Vec<PathBuf> {
    if let Some(server) = server {
        return vec![server.to_owned()];
    }
    if let Some(servers) = variable("PULSE_SERVER").filter(|servers| !servers.is_empty()) {
        // A list; `{machine}` before an address says where it is good. Only sockets of this box are ours.
        let servers = servers.to_string_lossy().into_owned();
        let local = servers.split_whitespace().filter_map(|address| {
            let address = address.rsplit_once('}').map_or(address, |(_, address)| address);
            let path = address.strip_prefix("unix:").unwrap_or(address);
            path.starts_with('/').then(|| PathBuf::from(path))
        });
        return local.collect();
    }
    let folder = |name: &str| variable(name).filter(|folder| folder.as_bytes().starts_with(b"/")).map(PathBuf::from);
    let mut places: Vec<PathBuf> =
        folder("PULSE_RUNTIME_PATH").map(|folder| folder.join("native")).into_iter().collect();
    places.extend(folder("XDG_RUNTIME_DIR").map(|folder| folder.join("pulse/native")));
    places.push(PathBuf::from("/run/bellwether-audio/native"));
    places.push(PathBuf::from(format!("/run/user/{user}/pulse/native")));
    places.push(PathBuf::from("/run/pulse/native"));
    let mut known = Vec::new();
    places.retain(|place| {
        !known.contains(place) && {
            known.push(place.clone());
            true
        }
    });
    places
}

/// The secret that some servers ask for; zeros where there is none, which others take.
pub(crate) fn cookie() -> Vec<u8> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/pulse/cookie"));
    let path = env::var_os("PULSE_COOKIE").map(PathBuf::from).or_else(home);
    let mut cookie = Vec::new();
    if let Some(file) = path.and_then(|path| File::open(path).ok()) {
        // What cannot be read is no cookie.
        let _ = file.take(COOKIE as u64).read_to_end(&mut cookie);
    }
    cookie.resize(COOKIE, 0);
    cookie
}

#[expect(unsafe_code, reason = "the user's number has no safe form in the standard library")]
fn user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(server: Option<&str>, variables: &[(&str, &str)]) -> Vec<String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let places = places(server.map(Path::new), variable, 7);
        places.iter().map(|place| place.display().to_string()).collect()
    }

    #[test]
    fn a_named_server_is_the_only_one() {
        assert_eq!(found(Some("/x"), &[("PULSE_SERVER", "unix:/y")]), ["/x"]);
        assert_eq!(
            found(None, &[("PULSE_SERVER", "{9f}unix:/y tcp:host /z"), ("XDG_RUNTIME_DIR", "/run/user/7")]),
            ["/y", "/z"]
        );
        assert!(found(None, &[("PULSE_SERVER", "tcp:host:4713")]).is_empty());
    }

    #[test]
    fn without_a_name_the_usual_places_are_looked_at_once_each() {
        let own = ["/run/bellwether-audio/native", "/run/user/7/pulse/native", "/run/pulse/native"];
        assert_eq!(found(None, &[]), own);
        assert_eq!(found(None, &[("PULSE_SERVER", ""), ("PULSE_RUNTIME_PATH", "relative")]), own);
        let session = found(None, &[("PULSE_RUNTIME_PATH", "/p"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(
            session,
            ["/p/native", "/run/user/7/pulse/native", "/run/bellwether-audio/native", "/run/pulse/native"]
        );
    }
}
