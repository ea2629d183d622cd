//! Refuses at once what may not come in: a foreign `Host` or `Origin`, a body that is too long.

use std::collections::BTreeSet;

use domain::Problem;
use http::{HeaderMap, Uri, header};

/// The names under which this server may be called.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: BTreeSet<String>,
    any: bool,
}

impl Hosts {
    /// `localhost`, `127.0.0.1` and `[::1]`.
    pub fn loopback() -> Hosts {
        Hosts { names: ["localhost", "127.0.0.1", "[::1]"].map(String::from).into(), any: false }
    }

    /// With one more name, without a port.
    pub fn with(mut self, name: &str) -> Hosts {
        self.names.insert(name.to_ascii_lowercase());
        self
    }

    /// Every name: only for test networks.
    pub fn any() -> Hosts {
        Hosts { names: BTreeSet::new(), any: true }
    }

    fn allow(&self, authority: &str) -> bool {
        self.any || self.names.contains(name_of(authority)) || self.names.contains(&name_of(authority).to_ascii_lowercase())
    }
}

/// An authority without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// Refuses what a page of a foreign site, or a name that was bent to this address, sends.
pub fn check_host(hosts: &Hosts, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |what: &str, value: &str| {
        Err(Problem::new("foreign_host", format!("the request's {what} `{value}` is not a name of this server"))
            .help("call it by the address that decalog up printed, or start it with --allow-host NAME"))
    };
    let host = match (uri.authority(), headers.get(header::HOST)) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Some(host)) => host.to_str().ok(),
        (None, None) => None,
    };
    match host {
        Some(host) if hosts.allow(host) => {}
        Some(host) => return refuse("Host", host),
        None => return refuse("Host", ""),
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("");
    match origin.split_once("://") {
        Some((_, authority)) if hosts.allow(authority) => Ok(()),
        _ => refuse("Origin", origin),
    }
}

/// Refuses a body that announces more than the limit, before any of it is read.
pub fn check_length(headers: &HeaderMap, body_bytes_max: usize) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > body_bytes_max as u64 => Err(too_large(body_bytes_max)),
        _ => Ok(()),
    }
}

/// The 413.
pub fn too_large(body_bytes_max: usize) -> Problem {
    Problem::new("body_too_large", format!("the body is over the limit of {body_bytes_max} bytes"))
        .help("send fewer rows in one request, or start the server with a larger --body-bytes-max")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check_host(&Hosts::loopback().with("ml.example.org"), &Uri::from_static("/"), &headers).is_ok()
    }

    #[test]
    fn hosts_and_origins() {
        for host in ["127.0.0.1:8010", "localhost", "LOCALHOST:1", "[::1]:8010", "ml.example.org:443"] {
            assert!(check(host, None), "{host}");
            assert!(check(host, Some("http://localhost:8010")), "{host}");
            assert!(!check(host, Some("http://evil.example")), "{host}");
        }
        for host in ["evil.example", "evil.example:8010", "127.0.0.1.evil.example", "", "[::2]:1"] {
            assert!(!check(host, None), "{host}");
        }
        assert!(!check("localhost", Some("null")));
        assert!(check_host(&Hosts::loopback(), &Uri::from_static("/"), &HeaderMap::new()).is_err());
    }
}
