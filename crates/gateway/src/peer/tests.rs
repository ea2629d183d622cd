//! Whose request it is.

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
    let of = |text: &str| Peer::plain(text.parse().unwrap()).is_of_this_machine();
    assert!(of("127.0.0.1") && of("::1") && of("::ffff:127.0.0.1"));
    assert!(!of("10.0.0.1") && !of("::ffff:10.0.0.1"));
    assert!(Peer::Local { uid: 0 }.is_of_this_machine());
}

fn proxies() -> Proxies {
    Proxies([("10.0.0.0/8"), "127.0.0.1"].map(|text| text.parse().unwrap()).into())
}

/// What is read of a request with these headers that came from 10.0.0.1, and its `Host`.
fn read(lines: &[(&'static str, &str)]) -> (Peer, String) {
    let mut request =
        Request::builder().uri("https://decalog:8010/v1/models?x=1").body(()).unwrap();
    request.headers_mut().insert("host", "decalog:8010".parse().unwrap());
    for (name, value) in lines {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let peer = proxies().read([10, 0, 0, 1].into(), &mut request);
    assert_eq!(request.uri().path_and_query().unwrap(), "/v1/models?x=1");
    let host = crate::authority(request.uri(), request.headers()).unwrap();
    (peer, host.to_string())
}

fn from(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
    match read(&lines).0 {
        Peer::Tcp { ip, .. } => ip.to_string(),
        Peer::Local { .. } => unreachable!(),
    }
}

#[test]
fn a_proxy_says_whose_request_it_is() {
    assert_eq!(from(&["192.0.2.7"]), "192.0.2.7");
    assert_eq!(from(&["192.0.2.7:4711"]), "192.0.2.7");
    assert_eq!(from(&["[2001:db8::1]:80"]), "2001:db8::1");
    assert_eq!(from(&["192.0.2.7, 10.2.3.4"]), "192.0.2.7", "proxies in a row");
    assert_eq!(from(&["192.0.2.7", "10.2.3.4, 127.0.0.1"]), "192.0.2.7", "in several lines");
    assert_eq!(from(&["10.9.9.9"]), "10.9.9.9", "all are proxies");
}

#[test]
fn what_a_stranger_says_before_is_not_believed() {
    assert_eq!(from(&["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
    assert_eq!(from(&["1.1.1.1, 192.0.2.7, 10.2.3.4"]), "192.0.2.7");
    assert_eq!(from(&["1.1.1.1, unknown, 10.2.3.4"]), "10.2.3.4");
}

#[test]
fn a_request_through_a_proxy_is_of_no_process_of_this_machine() {
    let (peer, host) = read(&[
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "ml.example.org"),
    ]);
    assert!(!peer.is_of_this_machine());
    assert_eq!(host, "ml.example.org");
    let Peer::Tcp { encrypted, proxy, .. } = peer else { unreachable!() };
    assert!(encrypted && proxy == Some([10, 0, 0, 1].into()));
    let (own, host) = read(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "x.org")]);
    // One that does not say whose: it is nobody's of this machine either.
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let Peer::Tcp { ip, proxy: by, .. } = &own else { unreachable!() };
    assert_eq!((*ip, *by, host.as_str()), (proxy, Some(proxy), "decalog:8010"));
    assert!(!own.is_of_this_machine());
}
