//! Owns the ports of a site on one machine: chosen once, kept in `ports.json`, chosen again only when somebody else has
//! taken one. All on loopback.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{SiteError, configs::FUNCTION, keep, secrets};

/// Where ports are drawn from: above the well-known ones, below those that Linux gives to outgoing connections, which
/// would take a port between two runs.
const FROM: std::ops::Range<u16> = 10_240..32_768;
/// Draws for one port before it is given up: with a thousand servers on the machine a draw fails once in twenty.
const DRAWS_MAX: usize = 100;

/// A port of each server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// MQTT with TLS, TCP.
    pub broker: u16,
    /// S3, TCP.
    pub store: u16,
    /// The Invoke API of the function's host, TCP.
    pub function: u16,
    /// The console, TCP.
    pub console: u16,
    /// The bridge, UDP.
    pub bridge: u16,
    /// The fog node, UDP.
    pub fog: u16,
}

#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Udp,
}

impl Ports {
    /// Reads the ports of a site and chooses those that are missing or taken. The caller has the site's lock and knows
    /// that no process of it runs.
    pub(crate) fn open(path: &Path) -> Result<Self, SiteError> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let old: Option<Self> = serde_json::from_str(&text).ok();
        let mut chosen = Vec::new();
        let mut port = |old: Option<u16>, transport| {
            let port = choose(old, transport, &chosen)?;
            chosen.push(port);
            Ok::<_, SiteError>(port)
        };
        let ports = Self {
            broker: port(old.map(|p| p.broker), Transport::Tcp)?,
            store: port(old.map(|p| p.store), Transport::Tcp)?,
            function: port(old.map(|p| p.function), Transport::Tcp)?,
            console: port(old.map(|p| p.console), Transport::Tcp)?,
            bridge: port(old.map(|p| p.bridge), Transport::Udp)?,
            fog: port(old.map(|p| p.fog), Transport::Udp)?,
        };
        let json = serde_json::to_vec_pretty(&ports).unwrap_or_default();
        keep(path, &json)?;
        Ok(ports)
    }
}

impl Ports {
    /// Where the function is invoked.
    #[must_use]
    pub fn invoke_url(self) -> String {
        let (address, name) = (loopback(self.function), FUNCTION);
        format!("http://{address}/2015-03-31/functions/{name}/invocations")
    }
}

/// The loopback address of a port.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn choose(old: Option<u16>, transport: Transport, taken: &[u16]) -> Result<u16, SiteError> {
    let is_free = |port: &u16| {
        !taken.contains(port)
            && match transport {
                Transport::Tcp => TcpListener::bind(loopback(*port)).is_ok(),
                Transport::Udp => UdpSocket::bind(loopback(*port)).is_ok(),
            }
    };
    if let Some(old) = old.filter(is_free) {
        return Ok(old);
    }
    for _ in 0..DRAWS_MAX {
        let [high, low] = secrets::draw::<2>()?;
        let span = FROM.end - FROM.start;
        let port = FROM.start + u16::from_be_bytes([high, low]) % span;
        if is_free(&port) {
            return Ok(port);
        }
    }
    Err(SiteError::NoPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_and_only_a_taken_one_is_chosen_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ports.json");
        let first = Ports::open(&path).unwrap();
        assert_eq!(Ports::open(&path).unwrap(), first);
        let _somebody = TcpListener::bind(loopback(first.console)).unwrap();
        let second = Ports::open(&path).unwrap();
        assert_ne!(second.console, first.console);
        assert_eq!(Ports { console: first.console, ..second }, first);
        assert_eq!(Ports::open(&path).unwrap(), second, "the new choice was not kept");
    }

    #[test]
    fn a_file_that_is_none_is_chosen_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ports.json");
        fs::write(&path, "{\"broker\": 1").unwrap();
        let ports = Ports::open(&path).unwrap();
        assert_eq!(Ports::open(&path).unwrap(), ports);
    }
}
