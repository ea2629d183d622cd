//! Models that ask for more than they may.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use egress::{Limits, Verdict};

use crate::control::counts;
use crate::harness::{Proxy, connect, echo, exchange, problem, server, tunnel, wait_for};

fn quick() -> Limits {
    let time = Duration::from_millis(300);
    Limits {
        head_time: time,
        idle_time: time,
        connections_max: 4,
        head_bytes_max: 2048,
        fields_max: 10,
        repeats_max: 5,
        ..Limits::default()
    }
}

#[test]
fn heads_that_are_slow_or_long() {
    let proxy = Proxy::start(quick());
    let http = proxy.peer.open("r1", &[], &["http".into()])[0];
    let start = Instant::now();
    let mut slow = connect(http);
    let mut text = String::new();
    slow.write_all(b"GET http://a.org/ HT").unwrap();
    slow.read_to_string(&mut text).unwrap();
    assert_eq!(problem(&text).0, 408);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let long = format!("GET http://a.org/ HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(3000));
    let (status, told) = problem(&exchange(http, &long));
    assert_eq!(status, 400);
    assert!(told["error"].as_str().unwrap().contains("longer than 2048 bytes"), "{told}");
    let many = format!("GET http://a.org/ HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(11));
    let (status, told) = problem(&exchange(http, &many));
    assert_eq!(status, 400);
    assert!(told["error"].as_str().unwrap().contains("more than 10 fields"), "{told}");
}

#[test]
fn too_many_connections_and_idle_ones() {
    let proxy = Proxy::start(quick());
    let port = server(|stream| drop(std::thread::spawn(|| echo(stream))));
    let target = format!("127.0.0.1:{port}");
    let allow = [target.clone()];
    let services = ["http".into(), format!("tcp:{target}")];
    let [http, fixed] = proxy.peer.open("r1", &allow, &services)[..] else { panic!() };
    // Another sandbox of the same model.
    let other = proxy.peer.open("r2", &allow, &["http".into()])[0];
    let mut open = [(); 4].map(|()| tunnel(http, &target));
    for address in [http, other] {
        let answer = exchange(address, &format!("CONNECT {target} HTTP/1.1\r\n\r\n"));
        let (status, told) = problem(&answer);
        assert_eq!((status, &told["code"]), (503, &"egress_busy".into()));
        assert!(answer.contains("Retry-After: 1\r\n"));
    }
    assert!(!matches!(connect(fixed).read(&mut [0]), Ok(1..)));
    // What is used lasts; what is not ends.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(700) {
        open[0].write_all(b"x").unwrap();
        open[0].read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    for idle in &mut open[1..] {
        assert!(idle.read(&mut [0]).is_err());
    }
    wait_for(|| proxy.lines().into_iter().find(|line| line["why"] == "it was idle for too long"));
    tunnel(other, &target);
}

#[test]
fn a_flood_has_few_lines_and_all_counts() {
    let mut proxy = Proxy::start(quick());
    let http = proxy.peer.open("r1", &[], &["http".into()])[0];
    for _ in 0..200 {
        let answer = exchange(http, "CONNECT evil.org:443 HTTP/1.1\r\n\r\n");
        assert_eq!(problem(&answer).0, 403);
    }
    let of_flood = wait_for(|| {
        let counts = counts(&proxy.peer);
        counts.into_iter().find(|count| count.times == 200)
    });
    assert_eq!(
        (of_flood.destination.as_str(), of_flood.verdict),
        ("evil.org:443", Verdict::Refused)
    );
    proxy.end();
    let lines = wait_for(|| Some(proxy.lines()).filter(|lines| lines.len() > 5));
    let sums: Vec<_> = lines.iter().filter(|line| line["times"].is_number()).collect();
    assert_eq!((lines.len(), sums.len()), (6, 1), "{lines:?}");
    assert_eq!(sums[0]["times"], 195);
}
