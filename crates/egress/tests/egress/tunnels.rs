//! CONNECT, and listeners that lead to one destination.

use std::io::{Read, Write};
use std::net::Shutdown;

use egress::{Limits, Reply, Request};

use crate::harness::{
    Proxy, connect, echo, exchange, problem, read_head, server, tunnel, wait_for,
};

#[test]
fn a_tunnel_carries_bytes_and_the_end_of_each_side() {
    let mut proxy = Proxy::start(Limits::default());
    proxy.names.has("db.internal", &[&["127.0.0.1"]]);
    let port = server(echo);
    let allow = [format!("db.internal:{port}")];
    let http = proxy.peer.open("r1", &allow, &["http".into()])[0];
    let mut random = fastrand::Rng::with_seed(7);
    let bytes: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    let mut stream = connect(http);
    // What is said before the answer is said to the server.
    let head = format!("CONNECT DB.Internal.:{port} HTTP/1.1\r\n\r\n\x16\x03\x01");
    stream.write_all(head.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 200 "));
    let mut first = [0; 3];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, [!0x16, !0x03, !0x01]);
    let mut writer = stream.try_clone().unwrap();
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = vec![];
    stream.read_to_end(&mut back).unwrap();
    sender.join().unwrap();
    let expected: Vec<u8> = bytes.iter().map(|byte| !byte).chain(*b"bye").collect();
    assert!(back == expected, "{} bytes came back", back.len());
    let line = proxy.logged(&format!("db.internal:{port}"));
    assert_eq!((&line["model"], &line["id"]), (&"churn".into(), &"r1".into()));
    assert_eq!((&line["verdict"], &line["address"]), (&"allowed".into(), &"127.0.0.1".into()));
    assert_eq!(line["up_bytes"], bytes.len() + 3);
    assert_eq!(line["down_bytes"], bytes.len() + 6);
    assert_eq!(proxy.names.times("db.internal"), 1);
    proxy.end();
}

#[test]
fn a_server_that_resets_is_seen_as_such() {
    let proxy = Proxy::start(Limits::default());
    let port = server(|stream| {
        let mut byte = [0];
        let _ = (&stream).read_exact(&mut byte);
        assert!(resets(&stream));
    });
    let allow = [format!("127.0.0.1:{port}")];
    let http = proxy.peer.open("r1", &allow, &["http".into()])[0];
    let mut stream = tunnel(http, &allow[0]);
    stream.write_all(b"x").unwrap();
    assert!(stream.read_to_end(&mut vec![]).is_err(), "the end of a reset looks regular");
    assert!(proxy.logged(&allow[0])["why"].as_str().unwrap().contains("broken off"));
}

/// So that closing resets.
fn resets(stream: &std::net::TcpStream) -> bool {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).is_ok()
}

#[test]
fn a_port_that_leads_to_one_destination() {
    let proxy = Proxy::start(Limits::default());
    proxy.names.has("db.internal", &[&["127.0.0.1"]]);
    let port = server(echo);
    let allow = [format!("db.internal:{port}"), "*.example.com:1".into()];
    let address = proxy.peer.open("r1", &allow, &[format!("tcp:db.internal:{port}")])[0];
    let mut stream = connect(address);
    stream.write_all(b"SELECT").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = vec![];
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"SELECT".iter().map(|byte| !byte).chain(*b"bye").collect::<Vec<u8>>());
    assert_eq!(proxy.logged(&allow[0])["verdict"], "allowed");
    // It is no longer named: what was there ends, and nothing more comes through.
    let mut open = connect(address);
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    let none = Request::Policy { id: "r1".into(), policy: vec![] };
    assert_eq!(proxy.peer.ask(&none, &[]), Reply::Changed("r1".into()));
    assert!(open.read_to_end(&mut vec![]).is_err());
    let mut refused = connect(address);
    assert!(!matches!(refused.read(&mut [0]), Ok(1..)));
    wait_for(|| proxy.lines().into_iter().find(|line| line["verdict"] == "refused"));
    let why = |line: &serde_json::Value| line["why"] == "the policy was changed";
    wait_for(|| proxy.lines().into_iter().find(why));
}

#[test]
fn what_is_not_named_is_refused_and_told_how_to_name_it() {
    let proxy = Proxy::start(Limits::default());
    proxy.names.has("secret.example.com", &[&["10.1.2.3", "127.0.0.1"]]);
    proxy.names.has("named.org", &[&["169.254.169.254"]]);
    let allow = ["*.example.com:443".into(), "named.org:80".into(), "0.0.0.0/0:443".into()];
    let http = proxy.peer.open("r1", &allow, &["http".into()])[0];
    let ask = |target: &str| {
        let answer = exchange(http, &format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
        let (status, problem) = problem(&answer);
        assert_eq!((status, &problem["code"]), (403, &"egress_refused".into()), "{answer}");
        let words = format!("{} {}", problem["error"], problem["help"]);
        assert!(!answer.contains("10.1.2.3") || target.contains("10.1.2.3"), "{answer}");
        words.replace('\\', "")
    };
    let other = ask("other.org:443");
    assert!(other.contains(r#"`[egress] allow = ["other.org:443"]`"#), "{other}");
    assert_eq!(proxy.names.times("other.org"), 0, "what is not named is not resolved");
    // A name that leads inside reads as one that is not named.
    let inner = ask("secret.example.com:443");
    assert_eq!(inner.replace("secret.example.com", "other.org"), other);
    assert!(ask("secret.example.com:80").contains("secret.example.com:80"));
    assert!(ask("10.1.2.3:443").contains("10.1.2.3:443"));
    assert!(ask("[::ffff:127.0.0.1]:443").contains("127.0.0.1:443"));
    assert!(ask("169.254.169.254:80").contains("169.254.169.254:80"));
    assert!(ask("named.org:80").contains("has the address itself"));
    let line = proxy.logged("secret.example.com:443");
    assert_eq!((&line["address"], &line["verdict"]), (&"10.1.2.3".into(), &"refused".into()));
    assert_eq!(line["why"], "the address is private");
}

#[test]
fn what_cannot_be_reached() {
    let limits =
        Limits { connect_time: std::time::Duration::from_millis(300), ..Limits::default() };
    let proxy = Proxy::start(limits);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let allow = [format!("127.0.0.1:{free}"), "*.example.com:*".into()];
    let http = proxy.peer.open("r1", &allow, &["http".into()])[0];
    let ask = |target: &str| {
        let (status, problem) =
            problem(&exchange(http, &format!("CONNECT {target} HTTP/1.1\r\n\r\n")));
        (status, problem["code"].as_str().unwrap().to_string(), problem["error"].to_string())
    };
    let (status, code, words) = ask(&allow[0]);
    assert_eq!((status, code.as_str()), (502, "egress_failed"));
    assert!(words.contains("refuses connections"), "{words}");
    let (status, code, _) = ask("unknown.example.com:443");
    assert_eq!((status, code.as_str()), (502, "egress_name"));
    let (status, code, _) = ask("never.example.com:443");
    assert_eq!((status, code.as_str()), (504, "egress_timeout"));
    assert_eq!(proxy.logged("never.example.com:443")["verdict"], "failed");
}

#[test]
fn a_name_is_resolved_once_for_each_connection() {
    let proxy = Proxy::start(Limits::default());
    let port = server(echo);
    // The second answer leads to what a wildcard does not open, the third again elsewhere.
    proxy.names.has("re.internal", &[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.1"]]);
    let allow = [format!("re.internal:{port}")];
    let http = proxy.peer.open("r1", &allow, &["http".into()])[0];
    let target = format!("re.internal:{port}");
    let mut first = tunnel(http, &target);
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0]).unwrap();
    assert_eq!(proxy.names.times("re.internal"), 1);
    let refused = exchange(http, &format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
    assert_eq!(problem(&refused).0, 403);
    drop(first);
    tunnel(http, &target);
    assert_eq!(proxy.names.times("re.internal"), 3);
}
