//! The bridge as a process, between real programs and real sockets.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child as StdChild, Command as StdCommand, Stdio};
use std::time::Instant;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Echoes each connection until its end, then says `bye`; exits with 7 on SIGTERM once no
/// connection is open.
const ECHO: &str = r#"
import os, signal, socket, sys, threading
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
open_connections = []
def serve(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.sendall(b"bye")
    connection.close()
def finish(*_):
    listener.close()
    for thread in open_connections:
        thread.join()
    os._exit(7)
signal.signal(signal.SIGTERM, finish)
while True:
    connection, _ = listener.accept()
    thread = threading.Thread(target=serve, args=(connection,))
    open_connections.append(thread)
    thread.start()
"#;

/// Binds the socket itself.
const OWN: &str = r#"
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ["DECALOG_SOCKET"])
listener.listen()
while True:
    connection, _ = listener.accept()
    try:
        connection.sendall(b"own")
    except BrokenPipeError:
        pass  # the bridge only looks whether somebody serves
    connection.close()
"#;

/// Not a test: the process that the tests start.
#[test]
#[ignore = "started by the other tests"]
fn bridge_process() {
    let directory = PathBuf::from(std::env::var("DIRECTORY").unwrap());
    let argv = serde_json::from_str(&std::env::var("ARGV").unwrap()).unwrap();
    let failure = Some(directory.join("failure"));
    std::process::exit(run(BridgeConfig {
        argv,
        socket: directory.join("w.sock"),
        port: 0,
        failure,
    }));
}

struct Bridge {
    process: StdChild,
    directory: tempfile::TempDir,
}

impl Bridge {
    fn start(argv: &[&str]) -> Bridge {
        let directory = tempfile::tempdir().unwrap();
        let process = StdCommand::new(std::env::current_exe().unwrap())
            .args(["--exact", "bridge::tests::bridge_process", "--ignored", "--nocapture"])
            .env("DIRECTORY", directory.path())
            .env("DECALOG_SOCKET", directory.path().join("w.sock"))
            .env("MARK", directory.path())
            .env("ARGV", serde_json::to_string(argv).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Bridge { process, directory }
    }

    fn python(program: &str) -> Bridge {
        Bridge::start(&["python3", "-c", program])
    }

    fn connect(&mut self) -> StdUnixStream {
        let start = Instant::now();
        loop {
            if let Ok(stream) = StdUnixStream::connect(self.directory.path().join("w.sock")) {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "the bridge has ended");
            assert!(start.elapsed() < PATIENCE, "nobody serves");
            std::thread::yield_now();
        }
    }

    fn code(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the bridge does not end");
            std::thread::yield_now();
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    fn failure(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("failure")).unwrap_or_default()
    }

    /// The ids of processes that carry this bridge's environment.
    fn processes(&self) -> usize {
        let mark = format!("MARK={}", self.directory.path().display());
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter(|entry| {
                std::fs::read(entry.path().join("environ")).is_ok_and(|text| contains(&text, &mark))
            })
            .count()
    }
}

fn contains(text: &[u8], mark: &str) -> bool {
    text.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn passes_bytes_on_and_the_ends_of_streams() {
    let mut bridge = Bridge::python(ECHO);
    let mut first = bridge.connect();
    let mut second = bridge.connect();
    for (text, stream) in [("one", &mut first), ("two", &mut second)] {
        stream.write_all(text.as_bytes()).unwrap();
        let mut echo = [0; 3];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, text.as_bytes());
    }
    // More than all buffers hold, written while it is read.
    let large: Vec<u8> = (0..3_000_000u32).map(|at| at as u8).collect();
    let mut writer = first.try_clone().unwrap();
    let sent = large.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = vec![];
    first.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got.ends_with(b"bye") && got[..got.len() - 3] == large);
    // What is open finishes after SIGTERM, and the program's own code comes back.
    bridge.signal(Signal::SIGTERM);
    second.write_all(b"end").unwrap();
    second.shutdown(Shutdown::Write).unwrap();
    got.clear();
    second.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"endbye");
    assert_eq!(bridge.code(), Some(7));
    assert_eq!(bridge.failure(), "");
}

#[test]
fn leaves_a_program_alone_that_binds_the_socket() {
    let mut bridge = Bridge::python(OWN);
    let mut got = String::new();
    bridge.connect().read_to_string(&mut got).unwrap();
    assert_eq!(got, "own");
    bridge.signal(Signal::SIGTERM);
    assert_eq!(bridge.code(), Some(128 + 15));
    assert_eq!(bridge.failure(), "");
}

#[test]
fn a_program_that_ends_early_is_explained() {
    let mut bridge = Bridge::start(&["sh", "-c", "exit 3"]);
    assert_eq!(bridge.code(), Some(3));
    assert!(
        bridge.failure().starts_with("the program ended with status 3 before it served"),
        "{}",
        bridge.failure()
    );
    let mut bridge = Bridge::start(&["sh", "-c", "kill -9 $$"]);
    assert_eq!(bridge.code(), Some(128 + 9));
    assert!(
        bridge.failure().starts_with("the program was ended by SIGKILL"),
        "{}",
        bridge.failure()
    );
    let mut bridge = Bridge::start(&["no-such-program"]);
    assert_eq!(bridge.code(), Some(127));
    assert!(
        bridge.failure().starts_with("the program `no-such-program` cannot be started"),
        "{}",
        bridge.failure()
    );
    let mut bridge = Bridge::start(&["sh", "-c", "echo mine > \"$MARK/failure\"; exit 1"]);
    assert_eq!((bridge.code(), bridge.failure().as_str()), (Some(1), "mine\n"));
}

#[test]
fn a_killed_bridge_takes_its_program_along() {
    let mut bridge = Bridge::python(ECHO);
    drop(bridge.connect());
    assert_eq!(bridge.processes(), 2);
    bridge.signal(Signal::SIGKILL);
    bridge.process.wait().unwrap();
    let start = Instant::now();
    while bridge.processes() > 0 {
        assert!(start.elapsed() < PATIENCE, "the program has outlived its bridge");
    }
}
