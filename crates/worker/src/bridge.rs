//! Lets a program that only speaks TCP be a worker: starts it, and once it accepts on its port,
//! serves the Unix socket and passes bytes on, in both directions and unread. A program that binds
//! the socket itself is left alone. One thread; nothing here knows HTTP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// How long the program is left alone between two looks at whether it serves.
const LOOK_EVERY_MS: u64 = 10;
/// The same once it has taken long.
const LOOK_EVERY_MS_MAX: u64 = 100;
/// For each direction of a connection, in bytes.
const COPY_BUFFER_BYTES: usize = 32 * 1024;
/// How long the last bytes of a program that has ended may take to reach their readers.
const FLUSH_MS_MAX: u64 = 1_000;
/// Of the exit code when the program cannot be started, as shells have it.
const NOT_STARTED: i32 = 127;

/// What the bridge does.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The Unix socket that the worker must serve.
    pub socket: PathBuf,
    /// The TCP port that the program is told in `PORT`; 0 lets the bridge find a free one.
    pub port: u16,
    /// Where the text for the user goes if the program ends before it serves.
    pub failure: Option<PathBuf>,
}

/// Starts the program and serves until it ends. Gives its exit code, 128 and more if a signal ended
/// it.
pub fn run(config: BridgeConfig) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let result = runtime.and_then(|runtime| runtime.block_on(bridge(&config)));
    result.unwrap_or_else(|error| {
        fail(&config, &format!("the bridge cannot run: {error}"));
        1
    })
}

async fn bridge(config: &BridgeConfig) -> io::Result<i32> {
    let port = if config.port == 0 { free_port()? } else { config.port };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Err(error) = std::fs::remove_file(&config.socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut child = match start(config, port) {
        Ok(child) => child,
        Err(error) => {
            let program = config.argv.first().map(String::as_str).unwrap_or_default();
            fail(
                config,
                &format!(
                    "the program `{program}` cannot be started: {error}\nhelp: check [model] command in decalog.toml"
                ),
            );
            return Ok(NOT_STARTED);
        }
    };
    let id = child.id();
    let (mut served, mut told) = (false, false);
    let mut connections = JoinSet::new();
    let status = {
        let mut forwarding =
            std::pin::pin!(forward(&config.socket, port, &mut connections, &mut served));
        let mut forwards = true;
        loop {
            tokio::select! {
                status = child.wait() => break status?,
                // The program may want to finish what it has begun: connections stay until it ends.
                _ = terminate.recv() => {
                    told = true;
                    pass_on(id, Signal::SIGTERM);
                }
                _ = interrupt.recv() => {
                    told = true;
                    pass_on(id, Signal::SIGINT);
                }
                ended = &mut forwarding, if forwards => {
                    forwards = false;
                    if let Err(error) = ended {
                        eprintln!("the bridge cannot serve {}: {error}", config.socket.display());
                        pass_on(id, Signal::SIGTERM);
                    }
                }
            }
        }
    };
    // Its sockets are closed now, so that each connection ends once what was written has been
    // passed on.
    let flushed = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_millis(FLUSH_MS_MAX), flushed).await;
    if !served && !told {
        let how = describe(status);
        fail(
            config,
            &format!(
                "the program {how} before it served DECALOG_SOCKET or 127.0.0.1:{port} (PORT)"
            ),
        );
    }
    Ok(code(status))
}

fn start(config: &BridgeConfig, port: u16) -> io::Result<Child> {
    let (program, arguments) =
        config.argv.split_first().ok_or_else(|| io::Error::other("there is no command"))?;
    let mut command = Command::new(program);
    command.args(arguments).env("PORT", port.to_string()).kill_on_drop(true);
    let bridge = Pid::this();
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The bridge may have ended before the line above.
            if getppid() == bridge { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
    command.spawn()
}

/// A port that is free now. Whoever takes it before the program does makes the program fail, and it
/// is started again.
fn free_port() -> io::Result<u16> {
    Ok(StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn pass_on(id: Option<u32>, signal: Signal) {
    if let Some(id) = id.and_then(|id| i32::try_from(id).ok()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number)
                .map(|signal| signal.to_string())
                .unwrap_or_else(|_| number.to_string());
            format!("was ended by {name}")
        }
        (None, None) => "ended".into(),
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn fail(config: &BridgeConfig, text: &str) {
    eprintln!("{text}");
    // A program may have written there itself, and knows better.
    if let Some(path) = config.failure.as_deref().filter(|path| !path.exists()) {
        let _ = std::fs::write(path, text);
    }
}

/// Waits until the program serves one way or the other; if by TCP, accepts on the socket and passes
/// on, for ever.
async fn forward(
    socket: &Path,
    port: u16,
    connections: &mut JoinSet<()>,
    served: &mut bool,
) -> io::Result<()> {
    let mut pause_ms = LOOK_EVERY_MS;
    let address = loop {
        if UnixStream::connect(socket).await.is_ok() {
            *served = true;
            return Ok(());
        }
        if let Some(address) = accepts(port).await {
            *served = true;
            break address;
        }
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = (pause_ms + 1).min(LOOK_EVERY_MS_MAX);
    };
    let listener = UnixListener::bind(socket)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(pass(stream, address)); }
                Err(error) => {
                    eprintln!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The loopback address at which the program accepts, if it does yet.
async fn accepts(port: u16) -> Option<SocketAddr> {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let address = SocketAddr::new(address, port);
        if TcpStream::connect(address).await.is_ok() {
            return Some(address);
        }
    }
    None
}

/// Passes bytes on until both sides have finished; the end of one side reaches the other as such.
/// Ends when all that the program has to say is passed on. The end of one side reaches the other as
/// such; a side that broke off is no news to anybody, and reaches the other as an end too.
async fn pass(stream: UnixStream, address: SocketAddr) {
    let Ok(program) = TcpStream::connect(address).await else { return };
    let _ = program.set_nodelay(true);
    let (client_reads, client_writes) = stream.into_split();
    let (program_reads, program_writes) = program.into_split();
    let asked = tokio::spawn(copy(client_reads, program_writes));
    copy(program_reads, client_writes).await;
    // Else a caller that never closes would keep the other direction for ever.
    asked.abort();
}

async fn copy(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut from = BufReader::with_capacity(COPY_BUFFER_BYTES, from);
    let _ = tokio::io::copy_buf(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests;
