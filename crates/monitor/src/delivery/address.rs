//! Where messages may go. Only an administrator names an address; it must still be encrypted on its
//! way, unless it stays on this machine or in a private network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use domain::ReceiverKind;
use url::{Host, Url};

/// The longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Where Alertmanager takes alerts, below its own address.
const ALERTS_PATH: &str = "api/v2/alerts";

/// The address of a receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host())
    }
}

/// Whether an address is of this machine or of a private network.
fn is_private(ip: IpAddr) -> bool {
    let is_unique_local = |ip: Ipv6Addr| ip.segments()[0] & 0xfe00 == 0xfc00;
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || is_unique_local(ip),
    }
}

/// Whether an address is one that no receiver has: where clouds keep credentials of machines, and
/// those that mean nobody in particular.
fn is_refused(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast()
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(mapped) => is_refused(IpAddr::V4(mapped)),
            None => ip.segments()[0] & 0xffc0 == 0xfe80 || ip.is_unspecified() || ip.is_multicast(),
        },
    }
}

impl FromStr for Address {
    type Err = String;

    // No message repeats the address: it may hold a secret.
    fn from_str(text: &str) -> Result<Address, String> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(format!("the address is longer than {ADDRESS_BYTES_MAX} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("the address is no URL: {error}"))?;
        let host = url.host().ok_or("the address names no host")?;
        let (is_near, is_refused) = match host {
            Host::Domain(name) => (!name.contains('.'), false),
            Host::Ipv4(ip) => (is_private(ip.into()), is_refused(ip.into())),
            Host::Ipv6(ip) => (is_private(ip.into()), is_refused(ip.into())),
        };
        match url.scheme() {
            "https" | "http" if is_refused => Err("no receiver has such an address".into()),
            "http" if !is_near => {
                Err("alarms would be readable on their way: write https://".into())
            }
            "https" | "http" => Ok(Address(url)),
            _ => Err("the address begins neither with https:// nor with http://".into()),
        }
    }
}

impl Address {
    /// What may be shown of it: scheme, host and port.
    pub fn host(&self) -> String {
        let port = self.0.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}://{}{port}", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }

    /// Where messages to a receiver of this kind go, whole.
    pub(super) fn target(&self, kind: ReceiverKind) -> String {
        let mut url = self.0.clone();
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_string();
        if kind == ReceiverKind::Alertmanager && !path.ends_with(ALERTS_PATH) {
            url.set_path(&format!("{path}/{ALERTS_PATH}"));
        }
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_encrypted_or_near() {
        for good in [
            "https://hooks.slack.com/services/T0/B0/secret",
            "https://user:word@hooks.example.org/x?y=z",
            "https://203.0.113.9/x",
            "http://localhost:9093",
            "http://127.0.0.1:9093",
            "http://10.1.2.3:9093/alertmanager/",
            "http://[fd00::1]:9093",
            "http://alertmanager:9093",
        ] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for wrong in [
            "",
            "hooks.example.org",
            "file:///etc/passwd",
            "gopher://localhost/x",
            "http://hooks.example.org/secret",
            "http://8.8.8.8/secret",
            "http://172.32.0.1/secret",
            "http://169.254.169.254/latest/meta-data",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:169.254.169.254]/secret",
            "http://0.0.0.0:80/secret",
            "https://[fe80::1]/secret",
            &format!("https://hooks.example.org/{}", "a".repeat(2_048)),
        ] {
            let error = wrong.parse::<Address>().expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_the_host_is_shown() {
        let address: Address = "https://user:word@hooks.example.org:444/a?b#c".parse().unwrap();
        assert_eq!(address.host(), "https://hooks.example.org:444");
        assert_eq!(format!("{address:?}"), address.host());
        let target = |text: &str, kind| text.parse::<Address>().unwrap().target(kind);
        let (webhook, alerts) = (ReceiverKind::Webhook, ReceiverKind::Alertmanager);
        assert_eq!(target("https://a.example/x?y#z", webhook), "https://a.example/x?y");
        assert_eq!(target("http://am:9093", alerts), "http://am:9093/api/v2/alerts");
        assert_eq!(target("http://am/p/", alerts), "http://am/p/api/v2/alerts");
        assert_eq!(target("http://am/p/api/v2/alerts", alerts), "http://am/p/api/v2/alerts");
    }
}
