//! A range of addresses, as `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether an address is one of them. An IPv4 address that is written as IPv6 is the IPv4
    /// address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (own, own_bits) = bits(self.address);
        let (other, other_bits) = bits(ip.to_canonical());
        own_bits == other_bits && shared(own ^ other, own_bits) >= u32::from(self.prefix_bits)
    }
}

/// An address as a number, and of how many bits.
fn bits(ip: IpAddr) -> (u128, u32) {
    match ip {
        IpAddr::V4(ip) => (u32::from(ip).into(), 32),
        IpAddr::V6(ip) => (ip.into(), 128),
    }
}

/// How many bits two addresses share at their begin, by how they differ.
fn shared(difference: u128, bits: u32) -> u32 {
    difference.leading_zeros() - (128 - bits)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let wrong = || format!("`{text}` is not a range of addresses, as 10.0.0.0/8 or 10.1.2.3");
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let (_, most) = bits(address);
        let prefix = prefix.map_or(Ok(most), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > most {
            return Err(wrong());
        }
        Ok(Network { address, prefix_bits: prefix as u8 })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_or_not() {
        let is_in = |network: &str, ip: &str| {
            network.parse::<Network>().unwrap().contains(ip.parse().unwrap())
        };
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.0/24", "::ffff:10.1.2.9", "10.1.3.9"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.100"),
            ("::1", "::1", "127.0.0.1"),
        ] {
            assert!(is_in(network, inside), "{network} {inside}");
            assert!(!is_in(network, outside), "{network} {outside}");
        }
        assert!(is_in("0.0.0.0/0", "1.2.3.4") && !is_in("0.0.0.0/0", "::1"));
        assert!(is_in("::/0", "::1") && !is_in("::/0", "1.2.3.4"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "10.0.0.0/", "x/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
