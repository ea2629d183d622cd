//! Where a model wants to go: a host and a port, in one spelling for each.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use domain::problem::excerpt;

/// The longest name that the DNS has, in characters.
const NAME_CHARS_MAX: usize = 253;
/// The longest part of one.
const LABEL_CHARS_MAX: usize = 63;

/// A machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// In small letters, without a dot at the end.
    Name(String),
    /// IPv4 is never written as IPv6.
    Address(IpAddr),
}

impl FromStr for Host {
    type Err = String;

    /// Reads a name, an address of IPv4, or one of IPv6 in brackets. What resolvers of some systems
    /// take for an address although it is not written as one, like `0x7f.1`, is neither.
    fn from_str(text: &str) -> Result<Host, String> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<IpAddr>().ok());
            return match address {
                Some(address @ IpAddr::V6(_)) => Ok(Host::Address(address.to_canonical())),
                _ => Err(format!("`{}` is no address of IPv6", excerpt(text))),
            };
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Address(address.into()));
        }
        name(text).map(Host::Name)
    }
}

/// A name of the DNS, in small letters and without the dot at its end.
pub fn name(text: &str) -> Result<String, String> {
    let shown = excerpt(text);
    if text.contains(':') {
        return Err(format!("an address of IPv6 stands in brackets: `[{shown}]`"));
    }
    if !text.is_ascii() {
        return Err(format!("`{shown}` is not ASCII; write the name as the DNS has it, `xn--…`"));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.len() > NAME_CHARS_MAX || !name.split('.').all(is_label) {
        return Err(format!("`{shown}` is not a name of a host"));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(hexadecimal);
    match is_number {
        true => Err(format!("`{shown}` is neither a name nor an address; write all four numbers")),
        false => Ok(name),
    }
}

/// A port that can be connected to.
pub fn port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port > 0 && is_number);
    port.ok_or_else(|| format!("`{}` is no port; ports are 1 to 65535", excerpt(text)))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => address.fmt(f),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port, `db.internal:5432`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Destination {
    /// The machine.
    pub host: Host,
    /// Never 0.
    pub port: u16,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        let (host, after) = split(text)?;
        Ok(Destination { host: host.parse()?, port: port(after)? })
    }
}

/// Host and port, as they are written.
pub fn split(text: &str) -> Result<(&str, &str), String> {
    let wrong = || format!("`{}` lacks a port; write `HOST:PORT`", excerpt(text));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    match (host.contains(':'), host.starts_with('[') && host.ends_with(']')) {
        (true, false) if text.ends_with(']') => Err(wrong()),
        (true, false) => Err(format!(
            "`{}` has several colons; an address of IPv6 stands in brackets, `[::1]:443`",
            excerpt(text)
        )),
        _ => Ok((host, port)),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_has_one_spelling() {
        for (text, expected) in [
            ("DB.Internal:5432", "db.internal:5432"),
            ("example.org.:443", "example.org:443"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("[::1]:80", "[::1]:80"),
            ("[0:0::1]:80", "[::1]:80"),
            ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
            ("_srv.x-1.org:080", "_srv.x-1.org:80"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_destination() {
        for text in [
            "",
            ":",
            ":80",
            "example.org",
            "example.org:",
            "example.org:0",
            "example.org:65536",
            "example.org:+80",
            "example.org: 80",
            " example.org:80",
            "example..org:80",
            ".example.org:80",
            "example.org..:80",
            "-x.org:80",
            "exa mple.org:80",
            "a@b.org:80",
            "a/b:80",
            "a%2eb:80",
            "127.1:80",
            "0x7f.1:80",
            "0x7f000001:80",
            "2130706433:80",
            "010.0.0.1:80",
            "1.2.3.4.5:80",
            "[fe80::1%1]:80",
            "::1:80",
            "[::1:80",
            "[::1]",
            "[10.0.0.1]:80",
            "bücher.example:80",
            "*.example.org:80",
            "a\0b:80",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
        assert!(format!("{}.org:80", "x".repeat(64)).parse::<Destination>().is_err());
        assert!(format!("{}org:80", "x.".repeat(126)).parse::<Destination>().is_err());
        let spoken = |text: &str| text.parse::<Destination>().unwrap_err();
        assert!(spoken("bücher.example:80").contains("xn--"));
        assert!(spoken("fe80::1:80").contains("brackets"));
        assert!(spoken("example.org").contains("HOST:PORT"));
    }
}
