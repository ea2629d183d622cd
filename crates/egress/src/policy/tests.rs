//! Policies: what is named, what is not, and that no spelling makes a difference.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::address::Kind;

fn policy(entries: &[&str]) -> Policy {
    Policy::new(entries).unwrap()
}

fn reach(policy: &Policy, text: &str) -> Option<Reach> {
    policy.allows_name(&text.parse().unwrap())
}

fn allows(policy: &Policy, text: &str, address: &str) -> bool {
    policy.allows_address(&text.parse().unwrap(), address.parse().unwrap())
}

#[test]
fn nothing_is_allowed_by_default() {
    assert_eq!(reach(&Policy::default(), "example.org:443"), None);
    assert!(!allows(&Policy::default(), "8.8.8.8:53", "8.8.8.8"));
}

#[test]
fn names_and_wildcards() {
    let some = policy(&["DB.internal:5432", "*.Example.com:443", "api.example.com:443", "x.org:*"]);
    for (text, expected) in [
        ("db.internal:5432", Some(Reach::Named)),
        ("db.INTERNAL.:5432", Some(Reach::Named)),
        ("db.internal:5433", None),
        ("xdb.internal:5432", None),
        ("a.b.example.com:443", Some(Reach::Public)),
        ("api.example.com:443", Some(Reach::Named)),
        ("example.com:443", None),
        ("notexample.com:443", None),
        ("a.example.com.evil.org:443", None),
        ("x.org:1", Some(Reach::Named)),
        ("x.org:65535", Some(Reach::Named)),
    ] {
        assert_eq!(reach(&some, text), expected, "{text}");
    }
    assert!(allows(&some, "db.internal:5432", "10.0.0.7"));
    assert!(allows(&some, "db.internal:5432", "127.0.0.1"));
    assert!(!allows(&some, "db.internal:5432", "169.254.169.254"));
    assert!(!allows(&some, "db.internal:5432", "0.0.0.0"));
    assert!(allows(&some, "www.example.com:443", "8.8.8.8"));
    for inner in ["10.0.0.7", "127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.7", "fd00::1"] {
        assert!(!allows(&some, "www.example.com:443", inner), "{inner}");
    }
}

#[test]
fn addresses_and_networks() {
    let all = policy(&["0.0.0.0/0:443", "[::/0]:443"]);
    assert!(allows(&all, "8.8.8.8:443", "8.8.8.8"));
    assert!(!allows(&all, "8.8.8.8:443", "8.8.4.4"));
    for inner in ["10.0.0.7", "127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.7]"] {
        let address = inner.trim_matches(['[', ']']);
        assert!(!allows(&all, &format!("{inner}:443"), address), "{inner}");
    }
    assert_eq!(reach(&all, "example.org:443"), None, "a network names no names");
    let private = policy(&["10.1.0.0/16:*", "169.254.169.254:80", "[fd00::/8]:1"]);
    assert!(allows(&private, "10.1.2.3:9", "10.1.2.3"));
    assert!(allows(&private, "[::ffff:10.1.2.3]:9", "::ffff:10.1.2.3"));
    assert!(!allows(&private, "10.2.2.3:9", "10.2.2.3"));
    assert!(allows(&private, "169.254.169.254:80", "169.254.169.254"));
    assert!(!allows(&private, "169.254.169.254:81", "169.254.169.254"));
    assert!(!allows(&private, "[fd00:ec2::254]:1", "fd00:ec2::254"));
}

#[test]
fn wrong_entries_say_what_to_write() {
    for (entry, said) in [
        ("example.org", "lacks a port"),
        ("https://example.org", "is a URL"),
        ("example.org:https", "no port"),
        ("example.org:0", "1 to 65535"),
        ("*:443", "`*` alone"),
        ("a.*.org:443", "first part of a name"),
        ("*.:443", "not a name"),
        ("*example.org:443", "first part of a name"),
        ("10.0.0.1/8:1", "write `10.0.0.0/8`"),
        ("10.0.0.0/40:1", "32 bits"),
        ("127.0.0.0/8:1", "one by one"),
        ("169.254.0.0/16:1", "one by one"),
        ("::1:443", "brackets"),
        ("127.1:443", "all four numbers"),
        ("*.1:443", "neither a name nor an address"),
        ("bücher.example:443", "xn--"),
        ("", "lacks a port"),
    ] {
        let problem = Policy::new([entry]).unwrap_err();
        assert_eq!(problem.code, Code::BadManifest);
        assert!(problem.message.contains(said), "{entry}: {problem}");
        assert!(problem.help.contains("HOST:PORT"), "{entry}: {problem}");
    }
    let many: Vec<String> = (0..=ENTRIES_MAX).map(|at| format!("h{at}.org:1")).collect();
    assert!(Policy::new(&many).unwrap_err().help.contains("at most"));
}

#[test]
fn it_is_a_list_in_json() {
    let text = r#"["db.internal:5432","*.example.com:*","[fd00::/8]:1","10.0.0.0/8:2","[::1]:3"]"#;
    let read: Policy = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    let wrong = serde_json::from_str::<Policy>(r#"["example.org"]"#).unwrap_err().to_string();
    assert!(wrong.contains("lacks a port") && wrong.contains("help: "), "{wrong}");
}

/// An address that tells nothing about its kind beforehand: of any range, in any form.
fn any_address(random: &mut fastrand::Rng) -> IpAddr {
    let starts = [[10, 0], [127, 0], [169, 254], [192, 168], [172, 16], [100, 64], [8, 8], [0, 0]];
    let [a, b] = starts[random.usize(..starts.len())];
    let inner = Ipv4Addr::new(a, b, random.u8(..), random.u8(..));
    let any = Ipv4Addr::from_bits(random.u32(..));
    let address = if random.bool() { inner } else { any };
    let bits = u128::from(address.to_bits());
    match random.u8(..6) {
        0 | 1 => address.into(),
        2 => address.to_ipv6_mapped().into(),
        3 => Ipv6Addr::from_bits((0x64_ff9b << 96) | bits).into(),
        4 => Ipv6Addr::from_bits((0x2002 << 112) | (bits << 80) | random.u64(..) as u128).into(),
        _ => Ipv6Addr::from_bits(random.u128(..)).into(),
    }
}

fn any_name(random: &mut fastrand::Rng) -> String {
    let parts = ["a", "b", "example", "com", "internal", "db"];
    let count = random.usize(1..5);
    let name: Vec<&str> = (0..count).map(|_| parts[random.usize(..parts.len())]).collect();
    name.join(".")
}

fn any_entry(random: &mut fastrand::Rng) -> String {
    let port = if random.bool() { "*".into() } else { random.u16(1..4).to_string() };
    let host = match random.u8(..4) {
        0 => any_name(random),
        1 => format!("*.{}", any_name(random)),
        2 => match any_address(random) {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        },
        _ => {
            let prefix = random.u32(..=32);
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            format!("{}/{prefix}", Ipv4Addr::from_bits(random.u32(..) & mask))
        }
    };
    format!("{host}:{port}")
}

/// Over thousands of policies: what is inside is only reached by what names it; what is allowed is
/// allowed by an entry alone; another spelling changes nothing.
#[test]
fn properties_of_all_policies() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let entries: Vec<String> = (0..random.usize(..6)).map(|_| any_entry(&mut random)).collect();
        let entries: Vec<String> =
            entries.into_iter().filter(|entry| Policy::new([entry]).is_ok()).collect();
        let policy = Policy::new(&entries).unwrap();
        let again: Policy = Policy::new(Vec::<String>::from(policy.clone())).unwrap();
        assert_eq!(policy, again, "seed {seed}");
        let address = any_address(&mut random);
        let host = match (random.bool(), address) {
            (true, _) => any_name(&mut random),
            (false, IpAddr::V4(address)) => address.to_string(),
            (false, IpAddr::V6(address)) => format!("[{address}]"),
        };
        let text = format!("{host}:{}", random.u16(1..4));
        let asked: Destination = text.parse().unwrap();
        let allowed = policy.allows_address(&asked, address);
        let alone = |entry: &String| Policy::new([entry]).unwrap().allows_address(&asked, address);
        assert_eq!(allowed, entries.iter().any(alone), "seed {seed}");
        let shouted: Destination = text.to_uppercase().parse().unwrap();
        assert_eq!(allowed, policy.allows_address(&shouted, address), "seed {seed}");
        if allowed {
            assert!(policy.allows_name(&asked).is_some(), "seed {seed}");
            let kind = kind(address);
            let exact = entries.iter().any(|entry| {
                let entry: String = Policy::new([entry]).map(Vec::from).unwrap().remove(0);
                entry.rsplit_once(':').is_some_and(|(host, _)| host == asked.host.to_string())
            });
            let network = matches!(kind, Kind::Private) && matches!(asked.host, Host::Address(_));
            assert!(kind == Kind::Public || exact || network, "seed {seed}: {asked} {address}");
        }
    }
}
