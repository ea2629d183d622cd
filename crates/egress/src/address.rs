//! Kinds of addresses, and networks of them: which are of the machine and its surroundings, and so
//! are reached only by what names them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of the internet.
    Public,
    /// Of a network that somebody runs for themselves.
    Private,
    /// Of this machine.
    Loopback,
    /// Of the link that the machine is on, and where clouds tell machines their credentials.
    Link,
    /// Of no machine: multicast, broadcast, unspecified, documentation, not assigned.
    Reserved,
}

impl Kind {
    /// In a word, for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Public => "public",
            Kind::Private => "private",
            Kind::Loopback => "loopback",
            Kind::Link => "link-local or metadata",
            Kind::Reserved => "reserved",
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u128 {
    Ipv4Addr::new(a, b, c, d).to_ipv6_mapped().to_bits()
}

const fn v6(text: [u16; 8]) -> u128 {
    let [a, b, c, d, e, f, g, h] = text;
    Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits()
}

/// Ranges that are not public, of the registries of special addresses (RFC 6890 and those after it)
/// and of clouds. An address is of the first range that has it. IPv4 counts from bit 96.
const RANGES: &[(u128, u8, Kind)] = &[
    // Where Azure, Alibaba and Oracle answer their machines; then those of AWS and of Google.
    (v4(168, 63, 129, 16), 128, Kind::Link),
    (v4(100, 100, 100, 200), 128, Kind::Link),
    (v4(192, 0, 0, 192), 128, Kind::Link),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0]), 32, Kind::Link),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0]), 32, Kind::Link),
    (v4(0, 0, 0, 0), 96 + 8, Kind::Reserved),
    (v4(10, 0, 0, 0), 96 + 8, Kind::Private),
    (v4(100, 64, 0, 0), 96 + 10, Kind::Private),
    (v4(127, 0, 0, 0), 96 + 8, Kind::Loopback),
    (v4(169, 254, 0, 0), 96 + 16, Kind::Link),
    (v4(172, 16, 0, 0), 96 + 12, Kind::Private),
    (v4(192, 0, 0, 0), 96 + 24, Kind::Reserved),
    (v4(192, 0, 2, 0), 96 + 24, Kind::Reserved),
    (v4(192, 88, 99, 0), 96 + 24, Kind::Reserved),
    (v4(192, 168, 0, 0), 96 + 16, Kind::Private),
    (v4(198, 18, 0, 0), 96 + 15, Kind::Reserved),
    (v4(198, 51, 100, 0), 96 + 24, Kind::Reserved),
    (v4(203, 0, 113, 0), 96 + 24, Kind::Reserved),
    (v4(224, 0, 0, 0), 96 + 4, Kind::Reserved),
    (v4(240, 0, 0, 0), 96 + 4, Kind::Reserved),
    (v6([0, 0, 0, 0, 0, 0, 0, 1]), 128, Kind::Loopback),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7, Kind::Private),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10, Kind::Link),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0]), 10, Kind::Private),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23, Kind::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, Kind::Reserved),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, Kind::Reserved),
];

/// What is public of IPv6; all else is special or not assigned.
const GLOBAL: Network = Network { bits: v6([0x2000, 0, 0, 0, 0, 0, 0, 0]), prefix: 3 };
/// Addresses that stand for one of IPv4: 6to4 (RFC 3056) and NAT64 (RFC 6052), with the place of
/// its last bit.
const SIX_TO_FOUR: Network = Network { bits: v6([0x2002, 0, 0, 0, 0, 0, 0, 0]), prefix: 16 };
const NAT64: Network = Network { bits: v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0]), prefix: 96 };
const MAPPED: Network = Network { bits: v4(0, 0, 0, 0), prefix: 96 };

/// The kind of an address; one of IPv6 that stands for one of IPv4 is of that one's kind.
pub fn kind(address: IpAddr) -> Kind {
    let bits = bits_of(address);
    let ipv4 = |shift: u32| kind(IpAddr::V4(Ipv4Addr::from_bits((bits >> shift) as u32)));
    if SIX_TO_FOUR.has(bits) {
        return ipv4(80);
    }
    if NAT64.has(bits) {
        return ipv4(0);
    }
    let range = RANGES.iter().find(|(start, prefix, _)| {
        let network = Network { bits: *start, prefix: *prefix };
        network.has(bits)
    });
    match range {
        Some((_, _, kind)) => *kind,
        None if MAPPED.has(bits) || GLOBAL.has(bits) => Kind::Public,
        None => Kind::Reserved,
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A network, `10.0.0.0/8`. One of IPv4 is kept as the range of IPv6 that stands for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    bits: u128,
    prefix: u8,
}

impl Network {
    /// Reads `ADDRESS/BITS`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead, in a sentence without its end.
    pub fn parse(text: &str) -> Result<Network, String> {
        let wrong = || format!("`{text}` is no network; write `10.0.0.0/8` or `[fd00::/8]`");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
        let (bits, width) = (bits_of(address), if address.is_ipv4() { 32 } else { 128 });
        if prefix > width {
            return Err(format!("`{text}` has more than {width} bits"));
        }
        let network = Network { bits, prefix: 128 - width + prefix };
        let start = Network { bits: bits & network.mask(), ..network };
        match start == network {
            true => Ok(network),
            false => Err(format!("`{text}` does not begin a network; write `{start}`")),
        }
    }

    /// Whether it has the address. A network of IPv6 has none of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.is_ipv4() == address.to_canonical().is_ipv4() && self.has(bits_of(address))
    }

    fn is_ipv4(&self) -> bool {
        self.prefix >= MAPPED.prefix && MAPPED.has(self.bits)
    }

    /// The kind of all its addresses, if one range of that kind has them all.
    pub fn special(&self) -> Option<Kind> {
        let around = RANGES.iter().find(|(start, prefix, _)| {
            *prefix <= self.prefix && Network { bits: *start, prefix: *prefix }.has(self.bits)
        });
        around.map(|(_, _, kind)| *kind)
    }

    fn has(&self, bits: u128) -> bool {
        bits & self.mask() == self.bits
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ipv4() {
            let address = Ipv4Addr::from_bits(self.bits as u32);
            return write!(f, "{address}/{}", self.prefix - MAPPED.prefix);
        }
        write!(f, "{}/{}", Ipv6Addr::from_bits(self.bits), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_in_all_their_forms() {
        let ranges = [
            ("10.1.2.3", Kind::Private),
            ("172.31.255.255", Kind::Private),
            ("192.168.0.1", Kind::Private),
            ("100.64.0.1", Kind::Private),
            ("127.0.0.1", Kind::Loopback),
            ("169.254.169.254", Kind::Link),
            ("168.63.129.16", Kind::Link),
            ("0.0.0.0", Kind::Reserved),
            ("224.0.0.251", Kind::Reserved),
            ("255.255.255.255", Kind::Reserved),
            ("192.0.2.7", Kind::Reserved),
            ("198.51.100.7", Kind::Reserved),
            ("203.0.113.7", Kind::Reserved),
            ("8.8.8.8", Kind::Public),
            ("172.32.0.1", Kind::Public),
            ("100.128.0.1", Kind::Public),
            ("11.0.0.0", Kind::Public),
        ];
        for (text, expected) in ranges {
            let address: Ipv4Addr = text.parse().unwrap();
            let [a, b, c, d] = address.octets().map(u16::from);
            let forms = [
                IpAddr::V4(address),
                IpAddr::V6(address.to_ipv6_mapped()),
                IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d)),
                IpAddr::V6(Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 1, 0, 0, 0, 1)),
            ];
            for form in forms {
                assert_eq!(kind(form), expected, "{form}");
            }
        }
        for (text, expected) in [
            ("::1", Kind::Loopback),
            ("::", Kind::Reserved),
            ("::10.0.0.1", Kind::Reserved),
            ("fe80::1", Kind::Link),
            ("fc00::1", Kind::Private),
            ("fdff::1", Kind::Private),
            ("fd00:ec2::254", Kind::Link),
            ("ff02::1", Kind::Reserved),
            ("64:ff9b:1::a00:1", Kind::Reserved),
            ("2001::1", Kind::Reserved),
            ("2001:db8::1", Kind::Reserved),
            ("2606:4700::1111", Kind::Public),
        ] {
            assert_eq!(kind(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn networks() {
        let network = |text: &str| Network::parse(text).unwrap();
        for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "fd00::/8", "fe80::1/128"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert!(network("10.0.0.0/8").contains("10.255.0.1".parse().unwrap()));
        assert!(network("10.0.0.0/8").contains("::ffff:10.255.0.1".parse().unwrap()));
        assert!(!network("10.0.0.0/8").contains("11.0.0.0".parse().unwrap()));
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(!network("::/0").contains("10.0.0.1".parse().unwrap()));
        assert_eq!(network("10.1.0.0/16").special(), Some(Kind::Private));
        assert_eq!(network("169.254.169.0/24").special(), Some(Kind::Link));
        assert_eq!(network("0.0.0.0/0").special(), None);
        assert_eq!(network("8.0.0.0/6").special(), None);
        for wrong in ["10.0.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Network::parse("10.1.2.3/8").unwrap_err().ends_with("write `10.0.0.0/8`"));
    }
}
