//! Where a server is.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// `https://HOST:PORT`, or `http://` on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address(Url);

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Address, String> {
        let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match url.scheme() {
            "https" | "http" if !is_bare || url.host().is_none() => {
                Err(format!("`{text}` is more than an address: write https://HOST:PORT"))
            }
            "http" if !is_here => {
                Err(format!("`{text}` would send the token in the clear: write https://"))
            }
            "https" | "http" => Ok(Address(url)),
            _ => Err(format!("`{text}` is not the address of a vault: write https://HOST:PORT")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl Address {
    /// Whether what goes there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// A path of the API.
    pub(crate) fn of(&self, path: &[&str]) -> String {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v1").extend(path.iter().flat_map(|part| part.split('/')));
        }
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_to_which_a_token_may_be_sent() {
        let address = |text: &str| text.parse::<Address>();
        let here = address("http://127.0.0.1:8200/").unwrap();
        assert_eq!(here.to_string(), "http://127.0.0.1:8200");
        assert_eq!(here.of(&["kv/data", "a b?c"]), "http://127.0.0.1:8200/v1/kv/data/a%20b%3Fc");
        assert!(address("https://bao.example").unwrap().is_encrypted());
        assert!(address("http://[::1]:8200").is_ok() && address("http://localhost:1").is_ok());
        for wrong in [
            "http://bao.example:8200",
            "http://localhost.example",
            "https://user:word@bao.example",
            "https://bao.example/v1",
            "https://bao.example?x=1",
            "unix:/tmp/bao",
            "bao.example",
            "",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
