//! What a process that serves must hold: the data directory, the address, and the owner's socket.
//! It takes them for itself, or from the process that it takes over from.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use domain::{Code, DataDirectory, Problem};

use crate::data::{DataLock, lock};
use crate::handover;
use crate::local::Door;

/// How long a process that was killed may take to release the data directory, in milliseconds.
const LOCK_MS_MAX: u64 = 5_000;
/// How long it may take to release its address, in milliseconds.
const BIND_MS_MAX: u64 = 2_000;
/// Between two looks at either, in milliseconds.
const POLL_MS: u64 = 20;

/// What a process that serves holds.
pub struct Listening {
    /// The data directory.
    pub lock: DataLock,
    /// Where callers come in.
    pub listener: TcpListener,
    /// Where the owner comes in; not where the data directory takes no files.
    pub door: Option<Door>,
    /// The process that this one takes over from.
    pub before: Option<Before>,
}

/// The process that this one takes over from.
pub struct Before {
    /// Until it has ended.
    pub predecessor: handover::Predecessor,
    /// Tells it that this one serves.
    pub serving: Box<dyn FnOnce() -> Result<(), Problem> + Send>,
}

impl Listening {
    /// Takes what nobody has.
    pub fn take(data: &DataDirectory, address: SocketAddr) -> Result<Listening, Problem> {
        let lock = lock_soon(data)?;
        let end = Instant::now() + Duration::from_millis(BIND_MS_MAX);
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                // Of a process that was killed a moment ago.
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(POLL_MS));
                }
                Err(error) => {
                    return Err(Problem::new(
                        Code::Failed,
                        format!("cannot listen on {address}: {error}"),
                    )
                    .help("choose another with --listen 127.0.0.1:PORT"));
                }
            }
        };
        Ok(Listening { lock, listener, door: opened(Door::open(data)), before: None })
    }

    /// Takes over; `None` if nobody is there to take over from.
    pub fn take_over(
        data: &DataDirectory,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Option<Listening>, Problem> {
        let Some(mut new) = handover::New::begin(data, runtime)? else { return Ok(None) };
        let failed =
            |error| Problem::new(Code::Failed, format!("taking the listening sockets: {error}"));
        let sockets = &new.sockets;
        let listener = sockets.listener.try_clone().map_err(failed)?;
        let local = sockets.local.as_ref().map(|socket| socket.try_clone()).transpose();
        let local = local.map_err(failed)?;
        let leaving = new.write()?;
        let lock = lock(data)?;
        // A process of an earlier version has no such socket.
        let door = opened(match local {
            Some(socket) => Door::keep(data, socket),
            None => Door::open(data),
        });
        let (predecessor, serving) = new.predecessor(leaving);
        let before = Before { predecessor, serving: Box::new(serving) };
        Ok(Some(Listening { lock, listener, door, before: Some(before) }))
    }
}

/// What runs already is served also where the data directory takes no files.
fn opened(door: Result<Door, Problem>) -> Option<Door> {
    door.inspect_err(|problem| tracing::error!("nobody can manage this server: {problem}")).ok()
}

/// Takes a data directory for this process. One that was killed a moment ago may still be on its
/// way out; one that serves says so.
fn lock_soon(data: &DataDirectory) -> Result<DataLock, Problem> {
    let end = Instant::now() + Duration::from_millis(LOCK_MS_MAX);
    loop {
        match lock(data) {
            Err(problem) if problem.code == Code::InUse => {
                if Instant::now() > end
                    || handover::describe(data).is_ok_and(|running| running.is_some())
                {
                    return Err(problem);
                }
            }
            taken => return taken,
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
}
