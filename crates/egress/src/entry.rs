//! An entry of `[egress] allow`: hosts and ports that it names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use domain::problem::excerpt;
use domain::{Code, problem::Problem};

use crate::address::{Kind, Network};
use crate::destination::{Destination, Host, name, port, split};

/// One entry, as it was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pattern: Pattern,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Pattern {
    Name(String),
    /// With the dot that it begins with: `*.example.com` does not name `example.com`.
    Suffix(String),
    Address(IpAddr),
    Network(Network),
}

/// How far an entry, or all entries of a policy, let a destination be reached; the order is from
/// the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// By a wildcard, or a network that is not special: only public addresses.
    Public,
    /// By its very name, or by a private network: also private addresses and this machine.
    Named,
    /// By its very address, whatever that is.
    Address,
}

impl Reach {
    /// Whether a destination that is reached so far may turn out to be at an address of the kind.
    pub fn covers(self, kind: Kind) -> bool {
        let least = match kind {
            Kind::Public => Reach::Public,
            Kind::Private | Kind::Loopback => Reach::Named,
            Kind::Link | Kind::Reserved => Reach::Address,
        };
        self >= least
    }
}

impl Entry {
    /// How far the entry lets the destination be reached; `None` if it does not name it.
    pub fn reach(&self, destination: &Destination) -> Option<Reach> {
        if self.port.is_some_and(|port| port != destination.port) {
            return None;
        }
        let special = |network: &Network| network.special() == Some(Kind::Private);
        let (matches, reach) = match (&self.pattern, &destination.host) {
            (Pattern::Name(name), Host::Name(asked)) => (name == asked, Reach::Named),
            (Pattern::Suffix(suffix), Host::Name(asked)) => {
                (asked.len() > suffix.len() && asked.ends_with(suffix.as_str()), Reach::Public)
            }
            (Pattern::Address(address), Host::Address(asked)) => (address == asked, Reach::Address),
            (Pattern::Network(network), Host::Address(asked)) => {
                let reach = if special(network) { Reach::Named } else { Reach::Public };
                (network.contains(*asked), reach)
            }
            _ => (false, Reach::Public),
        };
        matches.then_some(reach)
    }
}

impl FromStr for Entry {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Entry, Problem> {
        parse(text).map_err(|why| {
            let message = format!("`[egress] allow` has `{}`: {why}", excerpt(text));
            Problem::new(Code::BadManifest, message).help(
                "write `HOST:PORT`: a name, `*.example.com`, an address or a network `10.0.0.0/8`, \
                 and a port or `*`, as in `allow = [\"db.internal:5432\"]`",
            )
        })
    }
}

fn parse(text: &str) -> Result<Entry, String> {
    if text.contains("://") {
        return Err("it is a URL; only host and port are named, `api.example.org:443`".into());
    }
    let (host, after) = split(text)?;
    let port = if after == "*" { None } else { Some(port(after)?) };
    let pattern = if host.contains('/') {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let network = Network::parse(inner.unwrap_or(host))?;
        if let Some(kind @ (Kind::Loopback | Kind::Link | Kind::Reserved)) = network.special() {
            return Err(format!(
                "the addresses of that network are {}; such ones are named one by one",
                kind.as_str()
            ));
        }
        Pattern::Network(network)
    } else if let Some(suffix) = host.strip_prefix("*.") {
        Pattern::Suffix(format!(".{}", name(suffix)?))
    } else if host == "*" {
        return Err("`*` alone names nothing; write `*.example.com`, or the names".into());
    } else if host.contains('*') {
        return Err("a wildcard is the first part of a name, as in `*.example.com`".into());
    } else {
        match host.parse()? {
            Host::Name(name) => Pattern::Name(name),
            Host::Address(address) => Pattern::Address(address),
        }
    };
    Ok(Entry { pattern, port })
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Name(name) => f.write_str(name)?,
            Pattern::Suffix(suffix) => write!(f, "*{suffix}")?,
            Pattern::Address(address) => Host::Address(*address).fmt(f)?,
            Pattern::Network(network) => match network.to_string() {
                text if text.contains(':') => write!(f, "[{text}]")?,
                text => f.write_str(&text)?,
            },
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}
