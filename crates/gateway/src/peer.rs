//! Who is at the other end of a connection, as far as the connection itself shows.

use std::net::IpAddr;

/// Who is at the other end of a connection. It says where a request came from, not what it may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// Its address.
        ip: IpAddr,
    },
    /// A process of this machine, over the Unix socket in the data directory. Names of hosts mean
    /// nothing there, and no page of a browser gets there.
    Local {
        /// The user whose process it is, as the kernel says: this server's own, or root.
        uid: u32,
    },
}

impl Peer {
    /// Whether it can only be a process of this machine.
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Peer::Tcp { ip } => ip.to_canonical().is_loopback(),
            Peer::Local { .. } => true,
        }
    }
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
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("127.0.0.1"), Source::Local);
    }

    #[test]
    fn loopback_is_this_machine() {
        let of = |text: &str| Peer::Tcp { ip: text.parse().unwrap() }.is_of_this_machine();
        assert!(of("127.0.0.1") && of("::1") && of("::ffff:127.0.0.1"));
        assert!(!of("10.0.0.1") && !of("::ffff:10.0.0.1"));
        assert!(Peer::Local { uid: 0 }.is_of_this_machine());
    }
}
