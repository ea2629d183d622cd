//! In networks of their own, where public addresses are this machine's: the test runs itself again
//! in one. Where no process may have one, there is nothing to see.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::Command;

use egress::{Limits, Reply};

use crate::harness::{Proxy, connect, echo, exchange, open, problem, server_at, tunnel};

const INSIDE: &str = "EGRESS_TEST_INSIDE";

/// Whether this is the process inside; else it runs that one.
pub fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let possible = Command::new("unshare").args(["-rn", "ip", "link", "set", "lo", "up"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network of its own, or no `ip`");
        return false;
    }
    let output = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn wildcards_lead_to_public_addresses_only() {
    if !is_inside("networks::wildcards_lead_to_public_addresses_only") {
        return;
    }
    for arguments in [
        "link set lo up",
        "addr add 8.8.8.8/32 dev lo",
        "addr add 10.1.2.3/32 dev lo",
        "addr add 169.254.169.254/32 dev lo",
    ] {
        ip(arguments);
    }
    let port = server_at("0.0.0.0", |stream| drop(std::thread::spawn(|| echo(stream))));
    let proxy = Proxy::start(Limits::default());
    proxy.names.has("www.example.com", &[&["8.8.8.8"], &["127.0.0.1"], &["10.1.2.3"]]);
    proxy.names.has("mixed.example.com", &[&["10.1.2.3", "::ffff:127.0.0.1", "8.8.8.8"]]);
    let allow = [format!("*.example.com:{port}"), format!("0.0.0.0/0:{port}")];
    let http = proxy.peer.open("r1", &allow, &["http".into()])[0];
    let asked = |host: &str| format!("{host}:{port}");
    let refused = |host: &str| {
        let answer = exchange(http, &format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"));
        assert_eq!(problem(&answer).0, 403, "{answer}");
    };
    // First a public address, then inner ones: what was judged is what is connected to.
    let mut first = tunnel(http, &asked("www.example.com"));
    refused("www.example.com");
    refused("www.example.com");
    first.write_all(b"x").unwrap();
    first.read_exact(&mut [0]).unwrap();
    assert_eq!(proxy.names.times("www.example.com"), 3);
    // Of several addresses only the public one.
    drop(tunnel(http, &asked("mixed.example.com")));
    assert_eq!(proxy.logged(&asked("mixed.example.com"))["address"], "8.8.8.8");
    drop(tunnel(http, &asked("8.8.8.8")));
    for inner in ["10.1.2.3", "127.0.0.1", "169.254.169.254", "[::ffff:10.1.2.3]", "0.0.0.0"] {
        refused(inner);
    }
}

#[test]
fn a_listener_of_another_network() {
    if !is_inside("networks::a_listener_of_another_network") {
        return;
    }
    ip("link set lo up");
    let port = server_at("127.0.0.1", echo);
    let target = format!("127.0.0.1:{port}");
    let proxy = Proxy::start(Limits::default());
    let request =
        open("r1", std::slice::from_ref(&target), &["http".into(), format!("tcp:{target}")]);
    std::thread::scope(|scope| {
        let sandbox = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let numbers = listeners.each_ref().map(AsRawFd::as_raw_fd);
            assert_eq!(proxy.peer.ask(&request, &numbers), Reply::Opened("r1".into()));
            let [http, fixed] = listeners.map(|listener| listener.local_addr().unwrap());
            assert!(std::net::TcpStream::connect(&target).is_err(), "the sandbox has a hole");
            for mut stream in [tunnel(http, &target), connect(fixed)] {
                stream.write_all(b"x").unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                assert_eq!(byte, [!b'x']);
            }
        });
        sandbox.join().unwrap();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    });
}
