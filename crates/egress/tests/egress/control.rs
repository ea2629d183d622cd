//! The control socket: what it takes, and that the proxy serves on without it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use egress::{Count, LISTENERS_MAX, Limits, Reply, Request};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};

use crate::harness::{Peer, Proxy, echo, open, server, start, tunnel, wait_for};
use crate::networks::is_inside;
use nix::sys::resource::{Resource, setrlimit};

pub fn counts(peer: &Peer) -> Vec<Count> {
    let mut all = vec![];
    let mut reply = peer.ask(&Request::Counts {}, &[]);
    loop {
        let Reply::Counts { counts, more } = reply else { panic!("{reply:?}") };
        all.extend(counts);
        if !more {
            return all;
        }
        reply = peer.hear();
    }
}

fn refused(reply: Reply) -> String {
    match reply {
        Reply::Refused(problem) => problem.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_changes_nothing_and_is_told() {
    let proxy = Proxy::start(Limits::default());
    let peer = &proxy.peer;
    let say = |text: &str, descriptors: &[RawFd]| {
        peer.send(text, descriptors);
        refused(peer.hear())
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.as_raw_fd();
    assert!(say("nonsense", &[]).contains("not understood"));
    assert!(say(r#"{"launch": {}}"#, &[number]).contains("not understood"));
    assert!(say(r#"{"close": "r1"}"#, &[]).contains("no sandbox `r1`"));
    assert!(say(r#"{"policy": {"id": "r1", "policy": []}}"#, &[]).contains("no sandbox `r1`"));
    assert!(say(&"x".repeat(egress::PACKET_BYTES_MAX + 1), &[]).contains("too long"));
    let many = vec![number; LISTENERS_MAX + 1];
    assert!(say(r#"{"list": {}}"#, &many).contains("too many descriptors"));
    let wrong = [open("r1", &["example.org".into()], &["http".into()])];
    assert!(refused(peer.ask(&wrong[0], &[number])).contains("lacks a port"));
    let http = open("r1", &[], &["http".into()]);
    assert!(refused(peer.ask(&http, &[])).contains("1 listeners are named, but 0 descriptors"));
    let (reader, _writer) = std::io::pipe().unwrap();
    assert!(refused(peer.ask(&http, &[reader.as_raw_fd()])).contains("not a socket that listens"));
    let unix = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(refused(peer.ask(&http, &[unix.0.as_raw_fd()])).contains("not a socket that listens"));
    let directory = tempfile::tempdir().unwrap();
    let unix = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
    assert!(refused(peer.ask(&http, &[unix.as_raw_fd()])).contains("does not listen on TCP"));
    let unnamed = open("r1", &["*.example.com:1".into()], &["tcp:example.com:1".into()]);
    assert!(refused(peer.ask(&unnamed, &[number])).contains("does not have `example.com:1`"));
    let bad = r#"{"open": {"id": "r1", "model": "m", "policy": [], "listeners": ["udp:1"]}}"#;
    assert!(say(bad, &[number]).contains("`http` or `tcp:HOST:PORT`"));
    assert_eq!(peer.ask(&Request::List {}, &[]), Reply::List { open: vec![], more: false });
    assert_eq!(peer.ask(&http, &[number]), Reply::Opened("r1".into()));
    assert!(refused(peer.ask(&http, &[number])).contains("is served already"));
}

#[test]
fn a_sandbox_is_changed_and_closed() {
    let proxy = Proxy::start(Limits::default());
    let port = server(|stream| drop(std::thread::spawn(|| echo(stream))));
    let target = format!("127.0.0.1:{port}");
    let http = proxy.peer.open("r1", std::slice::from_ref(&target), &["http".into()])[0];
    let mut kept = tunnel(http, &target);
    let Reply::List { open, more: false } = proxy.peer.ask(&Request::List {}, &[]) else {
        panic!()
    };
    assert_eq!((open[0].id.as_str(), open[0].model.as_str()), ("r1", "churn"));
    assert_eq!(open[0].connections, 1);
    // A policy that still has it leaves it alone.
    let policy = vec!["127.0.0.1:*".to_string()];
    let change = Request::Policy { id: "r1".into(), policy };
    assert_eq!(proxy.peer.ask(&change, &[]), Reply::Changed("r1".into()));
    kept.write_all(b"x").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    assert_eq!(proxy.peer.ask(&Request::Close("r1".into()), &[]), Reply::Closed("r1".into()));
    assert!(!matches!(kept.read(&mut [0]), Ok(1..)));
    wait_for(|| std::net::TcpStream::connect(http).is_err().then_some(()));
    assert_eq!(proxy.logged(&target)["why"], "the sandbox was closed");
    let count = counts(&proxy.peer).remove(0);
    assert_eq!((count.model.as_str(), count.times, count.up_bytes), ("churn", 1, 1));
}

#[test]
fn it_serves_on_while_nobody_is_at_the_other_end() {
    let directory = tempfile::tempdir().unwrap();
    let address = UnixAddr::new(&directory.path().join("egress.sock")).unwrap();
    let new = || {
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap()
    };
    let control = new();
    bind(control.as_raw_fd(), &address).unwrap();
    listen(&control, Backlog::new(4).unwrap()).unwrap();
    let (_, _, thread) = start(control, Limits::default());
    let come = || {
        let peer = new();
        connect(peer.as_raw_fd(), &address).unwrap();
        Peer(peer)
    };
    let port = server(|stream| drop(std::thread::spawn(|| echo(stream))));
    let target = format!("127.0.0.1:{port}");
    let first = come();
    let http = first.open("r1", std::slice::from_ref(&target), &["http".into()])[0];
    let mut old = tunnel(http, &target);
    drop(first);
    let mut new = tunnel(http, &target);
    for stream in [&mut old, &mut new] {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let (second, third) = (come(), come());
    let Reply::List { open, .. } = second.ask(&Request::List {}, &[]) else { panic!() };
    assert_eq!((open.len(), open[0].connections), (1, 2));
    assert_eq!(third.ask(&Request::Close("r1".into()), &[]), Reply::Closed("r1".into()));
    assert_eq!(second.ask(&Request::End {}, &[]), Reply::Ending {});
    thread.join().unwrap().unwrap();
}

#[test]
fn a_pair_whose_other_end_is_gone() {
    let (peer, theirs) = crate::harness::pair();
    let (_, _, thread) = start(theirs, Limits::default());
    let port = server(echo);
    let target = format!("127.0.0.1:{port}");
    let http = peer.open("r1", std::slice::from_ref(&target), &["http".into()])[0];
    drop(peer);
    let mut stream = tunnel(http, &target);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert!(!thread.is_finished());
}

#[test]
fn a_control_socket_that_is_none() {
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let error = egress::run(stream.into()).unwrap_err();
    assert!(error.to_string().contains("socket of packets"), "{error}");
}

/// The kernel gives as many descriptors as this process may have: none of those stays open.
#[test]
fn descriptors_that_there_is_no_room_for() {
    if !is_inside("control::descriptors_that_there_is_no_room_for") {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let proxy = Proxy::start(Limits::default());
    assert_eq!(proxy.peer.ask(&Request::List {}, &[]), Reply::List { open: vec![], more: false });
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..3 {
        proxy.peer.send(r#"{"list": {}}"#, &[listener.as_raw_fd(); 60]);
        assert!(refused(proxy.peer.hear()).contains("too many descriptors"));
    }
    assert_eq!(open(), before + 1);
    let http = crate::harness::open("r1", &[], &["http".into()]);
    assert_eq!(proxy.peer.ask(&http, &[listener.as_raw_fd()]), Reply::Opened("r1".into()));
}
