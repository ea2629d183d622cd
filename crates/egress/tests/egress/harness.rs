//! The process in a thread, with names that a test decides about, and both ends of it.

use std::collections::HashMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use egress::{Limits, Options, Reply, Request, Resolve};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
};
use serde_json::Value;

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Answers to names: each question has the next of its answers, and the last one again and again.
#[derive(Clone, Default)]
pub struct Names {
    answers: Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    pub fn has(&self, name: &str, answers: &[&[&str]]) {
        let read = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        let answers = answers.iter().map(read).collect();
        self.answers.lock().unwrap().insert(name.into(), answers);
    }

    pub fn times(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.into());
        if name == "never.example.com" {
            std::future::pending::<()>().await;
        }
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

/// One end of a control socket.
pub struct Peer(pub OwnedFd);

impl Peer {
    pub fn send(&self, text: &str, descriptors: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &rights[..0] } else { &rights[..] };
        let pieces = [IoSlice::new(text.as_bytes())];
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &pieces, rights, MsgFlags::empty(), None).unwrap();
    }

    pub fn hear(&self) -> Reply {
        let mut buffer = vec![0; 1 << 20];
        let bytes = nix::sys::socket::recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty());
        serde_json::from_slice(&buffer[..bytes.unwrap()]).unwrap()
    }

    pub fn ask(&self, request: &Request, descriptors: &[RawFd]) -> Reply {
        self.send(&serde_json::to_string(request).unwrap(), descriptors);
        self.hear()
    }

    /// Opens a sandbox with these listeners; gives their addresses.
    pub fn open(&self, id: &str, policy: &[String], services: &[String]) -> Vec<SocketAddr> {
        let listeners: Vec<TcpListener> =
            services.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let request = open(id, policy, services);
        let numbers: Vec<RawFd> = listeners.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(self.ask(&request, &numbers), Reply::Opened(id.into()));
        listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
    }
}

pub fn open(id: &str, policy: &[String], services: &[String]) -> Request {
    Request::Open {
        id: id.into(),
        model: "churn".into(),
        policy: policy.to_vec(),
        listeners: services
            .iter()
            .map(|service| serde_json::from_value(Value::String(service.clone())).unwrap())
            .collect(),
    }
}

/// The process.
pub struct Proxy {
    pub peer: Peer,
    pub names: Names,
    log: Arc<Mutex<String>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Proxy {
    pub fn start(limits: Limits) -> Proxy {
        let (ours, theirs) = pair();
        let (names, log, thread) = start(theirs, limits);
        Proxy { peer: ours, names, log, thread: Some(thread) }
    }

    /// Waits for a line of the log that is about this destination.
    pub fn logged(&self, destination: &str) -> Value {
        wait_for(|| self.lines().into_iter().find(|line| line["destination"] == destination))
    }

    pub fn lines(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.split_inclusive('\n').filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            assert_eq!(self.peer.ask(&Request::End {}, &[]), Reply::Ending {});
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

pub fn pair() -> (Peer, OwnedFd) {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    (Peer(ours), theirs)
}

type Started = (Names, Arc<Mutex<String>>, JoinHandle<io::Result<()>>);

/// The process with this control socket.
pub fn start(control: OwnedFd, limits: Limits) -> Started {
    let names = Names::default();
    let resolver: Arc<dyn Resolve> = Arc::new(names.clone());
    let (mut reader, writer) = io::pipe().unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let read = log.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = reader.read(&mut buffer) {
            read.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..bytes]));
        }
    });
    let options = Options {
        log: Some(writer.into()),
        limits,
        resolvers: Some(Box::new(move || resolver.clone())),
    };
    let thread = std::thread::spawn(move || egress::run_with(control, options));
    (names, log, thread)
}

pub fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "it did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends this and reads what comes, up to the end.
pub fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into()
}

/// The status and the problem of an answer of the proxy itself.
pub fn problem(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains("Connection: close"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// A server of one connection after another, each served by the function. Gives its port.
pub fn server(serve: impl Fn(TcpStream) + Send + 'static) -> u16 {
    server_at("127.0.0.1", serve)
}

pub fn server_at(address: &str, serve: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            serve(stream);
        }
    });
    port
}

/// Sends back what comes, turned around bit by bit, and after its end `bye`.
pub fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
        buffer[..bytes].iter_mut().for_each(|byte| *byte = !*byte);
        if stream.write_all(&buffer[..bytes]).is_err() {
            return;
        }
    }
    let _ = stream.write_all(b"bye");
    let _ = stream.shutdown(Shutdown::Write);
}

/// Reads a head, without more.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = vec![];
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A tunnel that is open.
pub fn tunnel(proxy: SocketAddr, destination: &str) -> TcpStream {
    let mut stream = connect(proxy);
    write!(stream, "CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n").unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    stream
}
