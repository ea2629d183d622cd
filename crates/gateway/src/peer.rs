//! Who is at the other end of a connection, as far as the connection itself shows, or the proxy that
//! it comes from.

use std::net::IpAddr;
use std::sync::Arc;

use domain::CertificateNames;
use http::header::{HeaderMap, HeaderName};
use http::{Request, Uri};

use crate::network::Network;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Addresses of a request's way that are looked at, from its end.
const HOPS_MAX: usize = 32;

/// Who is at the other end of a connection. It says where a request came from, not what it may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// Its address: behind a proxy, the one that the proxy names.
        ip: IpAddr,
        /// Whether what it sends can be read by nobody on the way: by TLS, or as a proxy says.
        encrypted: bool,
        /// What the certificate that it showed and that was verified says of it.
        certificate: Option<Arc<CertificateNames>>,
        /// The proxy that it comes from.
        proxy: Option<IpAddr>,
    },
    /// A process of this machine, over the Unix socket in the data directory. Names of hosts mean
    /// nothing there, and no page of a browser gets there.
    Local {
        /// The user whose process it is, as the kernel says: this server's own, or root.
        uid: u32,
    },
}

impl Peer {
    /// Over TCP as it is.
    pub(crate) fn plain(ip: IpAddr) -> Peer {
        Peer::Tcp { ip, encrypted: false, certificate: None, proxy: None }
    }

    /// Whether nobody on the way can read what it sends.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Peer::Tcp { encrypted: true, .. })
    }

    /// Whether it can only be a process of this machine.
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Peer::Tcp { ip, proxy, .. } => proxy.is_none() && ip.to_canonical().is_loopback(),
            Peer::Local { .. } => true,
        }
    }
}

/// Whether a request says that somebody passed it on: it is not of this machine, whoever that was.
pub fn is_passed_on(headers: &HeaderMap) -> bool {
    let names = [&FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST, &http::header::FORWARDED];
    names.into_iter().chain([&http::header::VIA]).any(|name| headers.contains_key(name))
}

/// The proxies that may say from whom a request is.
#[derive(Clone, Debug)]
pub struct Proxies(pub Arc<[Network]>);

impl Proxies {
    /// Whether this is one of them.
    pub fn contain(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }

    /// Whose request a proxy passes on, and under which name it was asked for. Where it does not
    /// say, it is the proxy's own, and still of no process of this machine.
    pub fn read<B>(&self, proxy: IpAddr, request: &mut Request<B>) -> Peer {
        let headers = request.headers_mut();
        let Some(ip) = self.first_stranger(headers) else {
            return Peer::Tcp {
                ip: proxy,
                encrypted: false,
                certificate: None,
                proxy: Some(proxy),
            };
        };
        let encrypted = headers
            .get(&FORWARDED_PROTO)
            .is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
        if let Some(host) = headers.remove(&FORWARDED_HOST) {
            headers.insert(http::header::HOST, host);
            // Over HTTP/2 the name that the proxy itself has asked for would count.
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        }
        Peer::Tcp { ip, encrypted, certificate: None, proxy: Some(proxy) }
    }

    /// The last address of the way that is no proxy: those before it are only what that one says.
    fn first_stranger(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers.get_all(&FORWARDED_FOR).iter().rev();
        let hops = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.rsplit(','));
        let mut last = None;
        for hop in hops.take(HOPS_MAX) {
            let Some(ip) = address(hop.trim()) else { break };
            last = Some(ip);
            if !self.contain(ip) {
                break;
            }
        }
        last
    }
}

/// An address that may have a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

/// Whose connections are counted together, so that one does not have all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A machine. One with IPv6 has a whole /64 to itself.
    Address(IpAddr),
    /// All that come over the Unix socket.
    Local,
}

impl Source {
    /// Of a connection over TCP.
    pub fn of(ip: IpAddr) -> Source {
        Source::Address(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
            ip => ip,
        })
    }
}

#[cfg(test)]
mod tests;
