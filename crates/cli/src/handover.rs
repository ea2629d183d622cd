//! How a running `up` is replaced without a request lost: both processes talk on a Unix socket in
//! the data directory, the listening sockets pass from one to the other, and the old one goes on
//! if the new one fails.

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control::Control;
use domain::{Code, DataDirectory, Problem, ReplicaId};
use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::alerting::Alerting;
use crate::data::DataLock;

/// How long a new process has between taking over the ledger and serving, in milliseconds. Then the
/// old one goes on.
const HANDOVER_MS_MAX: u64 = 20_000;
/// How long a running process may take to say who it is, in milliseconds.
const ANSWER_MS_MAX: u64 = 2_000;
/// How often it is looked whether the socket is still where others find it, in milliseconds.
const LISTEN_MS: u16 = 1_000;
/// The longest line.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Sockets that pass with one line.
const SOCKETS_MAX: usize = 2;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Say {
    /// Who are you?
    Describe {},
    /// Give me the listening socket, and the owner's if I take that, too.
    Listener {
        pid: u32,
        #[serde(default)]
        local: bool,
    },
    /// Stop writing: I begin.
    Write { pid: u32 },
    /// I answer requests.
    Serving {},
}

/// What the old process answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Described(Description),
    /// With the socket beside it, and the owner's after it if it is said so.
    Listener {
        #[serde(default)]
        local: bool,
    },
    Written {
        leaving: Vec<ReplicaId>,
    },
    Refused(Problem),
}

/// A running `up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// Of its process.
    pub pid: u32,
    /// Of the program.
    pub version: String,
    /// Where it answers.
    pub url: String,
}

/// The socket of the running `up` of a data directory.
pub fn socket(data: &DataDirectory) -> PathBuf {
    supervisor::run_directory(data).unwrap_or_else(|_| data.run()).join("up.sock")
}

fn failed(what: &str) -> impl Fn(io::Error) -> Problem {
    move |error| Problem::new(Code::Handover, format!("{what}: {error}"))
}

// ---- The old process ----------------------------------------------------------------------------------------------

/// Where requests come in.
pub struct Sockets {
    /// For everybody.
    pub listener: TcpListener,
    /// For the owner.
    pub local: Option<UnixListener>,
}

impl Sockets {
    /// The sockets that somebody who takes both gets, or who takes one.
    fn for_new(&self, takes_local: bool) -> (Vec<RawFd>, bool) {
        let local = self.local.as_ref().filter(|_| takes_local).map(AsRawFd::as_raw_fd);
        (std::iter::once(self.listener.as_raw_fd()).chain(local).collect(), local.is_some())
    }
}

/// What the old process needs to hand over.
pub struct Old {
    /// Its control plane.
    pub control: Arc<Control>,
    /// Its listening sockets.
    pub sockets: Sockets,
    /// Held while it may write.
    pub lock: Mutex<Option<DataLock>>,
    /// The data directory.
    pub data: DataDirectory,
    /// What it says of itself.
    pub description: Description,
    /// Notified once another process serves.
    pub replaced: Arc<Notify>,
    /// Its alarms.
    pub alerting: Alerting,
    /// Of its control plane.
    pub runtime: tokio::runtime::Handle,
}

/// Waits for processes that want to take over. They must come from the same user: the directory is
/// closed to others.
pub fn listen(old: Old) -> Result<(), Problem> {
    let path = socket(&old.data);
    let mut listener = bind(&path).map_err(failed("waiting for an upgrade"))?;
    std::thread::Builder::new()
        .name("handover".into())
        .spawn(move || {
            loop {
                let Some(stream) = next(&listener) else {
                    // Somebody may have removed its file.
                    if !path.exists()
                        && let Ok(again) = bind(&socket(&old.data))
                    {
                        listener = again;
                    }
                    continue;
                };
                match old.serve(stream) {
                    // The connection stays open until this process has ended.
                    Ok(Some(stream)) => return std::mem::forget(stream),
                    Ok(None) => {}
                    Err(error) => tracing::warn!("a hand-over failed: {error}"),
                }
            }
        })
        .map_err(failed("waiting for an upgrade"))?;
    Ok(())
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The next connection, if one comes within [`LISTEN_MS`].
fn next(listener: &UnixListener) -> Option<UnixStream> {
    let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, LISTEN_MS).ok()?;
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(false).ok()?;
    Some(stream)
}

impl Old {
    /// One conversation. Gives the connection back if the other process serves.
    fn serve(&self, stream: UnixStream) -> io::Result<Option<UnixStream>> {
        let mut line = Line::new(stream)?;
        loop {
            match line.hear::<Say>()? {
                None => return Ok(None),
                Some(Say::Describe {}) => line.say(&Answer::Described(self.description.clone()))?,
                Some(Say::Listener { local, .. }) => {
                    let (descriptors, local) = self.sockets.for_new(local);
                    line.say_with(&Answer::Listener { local }, &descriptors)?
                }
                Some(Say::Write { pid }) => {
                    match self.runtime.block_on(self.control.hand_over(pid)) {
                        Err(problem) => line.say(&Answer::Refused(problem))?,
                        Ok(leaving) => {
                            self.alerting.pause();
                            *self.lock.lock() = None;
                            return if self.is_replaced(&mut line, leaving) {
                                self.replaced.notify_one();
                                Ok(Some(line.into_stream()))
                            } else {
                                self.go_on();
                                Ok(None)
                            };
                        }
                    }
                }
                Some(Say::Serving {}) => {
                    return Err(io::Error::other("it serves without having taken over"));
                }
            }
        }
    }

    /// Waits until the other process serves; `false` if it ends or takes too long.
    fn is_replaced(&self, line: &mut Line, leaving: Vec<ReplicaId>) -> bool {
        let limit = Some(Duration::from_millis(HANDOVER_MS_MAX));
        let heard = line
            .reader
            .get_ref()
            .set_read_timeout(limit)
            .and_then(|()| line.say(&Answer::Written { leaving }))
            .and_then(|()| line.hear::<Say>());
        matches!(heard, Ok(Some(Say::Serving {})))
    }

    /// Takes the data directory and the ledger back.
    fn go_on(&self) {
        tracing::error!("the process that was to take over failed; this one goes on");
        loop {
            let taken = crate::data::lock(&self.data).and_then(|lock| {
                *self.lock.lock() = Some(lock);
                self.runtime.block_on(self.control.resume())
            });
            match taken {
                Ok(()) => return self.alerting.resume(),
                // The other one is on its way out, or the disk is full.
                Err(problem) => tracing::error!("{problem}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

// ---- The new process ----------------------------------------------------------------------------------------------

/// The new process's side of a hand-over.
pub struct New {
    line: Line,
    /// Where requests come in.
    pub sockets: Sockets,
}

/// Asks who runs for a data directory; `None` if nobody does.
pub fn describe(data: &DataDirectory) -> Result<Option<Description>, Problem> {
    let Ok(stream) = UnixStream::connect(socket(data)) else { return Ok(None) };
    stream
        .set_read_timeout(Some(Duration::from_millis(ANSWER_MS_MAX)))
        .map_err(failed("asking the running process"))?;
    let mut line = Line::new(stream).map_err(failed("asking the running process"))?;
    match line.ask(&Say::Describe {})? {
        Answer::Described(description) => Ok(Some(description)),
        other => {
            Err(Problem::new(Code::Handover, format!("the running process answered {other:?}")))
        }
    }
}

impl New {
    /// Begins a hand-over: reads the ledger beside its writer, and gets the listening sockets.
    /// `None` if nobody runs.
    pub fn begin(
        data: &DataDirectory,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Option<New>, Problem> {
        let Ok(stream) = UnixStream::connect(socket(data)) else { return Ok(None) };
        runtime.block_on(control::handover::check(data))?;
        let mut line = Line::new(stream).map_err(failed("asking the running process"))?;
        let answer = line
            .say(&Say::Listener { pid: std::process::id(), local: true })
            .and_then(|()| line.hear_with::<Answer>());
        match answer.map_err(failed("asking for the listening socket"))? {
            // It was killed a moment ago.
            (None, _) => Ok(None),
            (Some(Answer::Listener { local }), mut sockets) if !sockets.is_empty() => {
                let listener = TcpListener::from(sockets.remove(0));
                let local = sockets.pop().filter(|_| local).map(UnixListener::from);
                Ok(Some(New { line, sockets: Sockets { listener, local } }))
            }
            (other, _) => Err(Problem::new(
                Code::Handover,
                format!("the running process gave no socket: {other:?}"),
            )),
        }
    }

    /// Becomes the writer. The data directory is free when this returns.
    pub fn write(&mut self) -> Result<Vec<ReplicaId>, Problem> {
        match self.line.ask(&Say::Write { pid: std::process::id() })? {
            Answer::Written { leaving } => Ok(leaving),
            Answer::Refused(problem) => Err(problem),
            other => {
                Err(Problem::new(Code::Handover, format!("the running process answered {other:?}")))
            }
        }
    }

    /// The process that this one takes over from: a handle on when it has ended, and what it is told once this one serves.
    pub fn predecessor(
        self,
        leaving: Vec<ReplicaId>,
    ) -> (Predecessor, impl FnOnce() -> Result<(), Problem>) {
        let (ended, gone) = watch::channel(false);
        let mut line = self.line;
        let serving = move || {
            line.say(&Say::Serving {}).map_err(failed("telling the old process"))?;
            std::thread::spawn(move || {
                // No message follows: the end of the connection is the end of the process.
                let _ = line.hear::<Answer>();
                let _ = ended.send(true);
            });
            Ok(())
        };
        (Predecessor { leaving, gone }, serving)
    }
}

/// The process that this one takes over from.
pub struct Predecessor {
    /// Replicas that it is about to stop; it does so itself.
    pub leaving: Vec<ReplicaId>,
    /// Turns true when it has ended: until then it may have requests at any replica.
    pub gone: watch::Receiver<bool>,
}

// ---- Lines of JSON, one of them with descriptors ------------------------------------------------------------------

struct Line {
    reader: BufReader<UnixStream>,
}

impl Line {
    fn new(stream: UnixStream) -> io::Result<Line> {
        Ok(Line { reader: BufReader::new(stream) })
    }

    fn into_stream(self) -> UnixStream {
        self.reader.into_inner()
    }

    fn say(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.reader.get_mut().write_all(&text)
    }

    fn say_with(&mut self, value: &impl Serialize, descriptors: &[RawFd]) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        let rights = [ControlMessage::ScmRights(descriptors)];
        let socket = self.reader.get_ref().as_raw_fd();
        // So short a line is sent whole.
        sendmsg::<()>(socket, &[IoSlice::new(&text)], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<Option<T>> {
        let mut text = String::new();
        let read = io::Read::take(&mut self.reader, LINE_BYTES_MAX as u64).read_line(&mut text)?;
        if read == 0 { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// Hears a line that may bring descriptors; nothing may be buffered before it.
    fn hear_with<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<(Option<T>, Vec<OwnedFd>)> {
        let mut text = vec![0; 64 * 1024];
        let mut space = cmsg_space!([RawFd; SOCKETS_MAX]);
        let (bytes, descriptors) = {
            let mut slices = [IoSliceMut::new(&mut text)];
            let socket = self.reader.get_ref().as_raw_fd();
            let message =
                recvmsg::<()>(socket, &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
            let mut found = vec![];
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(descriptors) = control {
                    // SAFETY: the kernel has just made these descriptors for this process.
                    let own = |raw| unsafe { OwnedFd::from_raw_fd(raw) };
                    found.extend(descriptors.into_iter().map(own));
                }
            }
            (message.bytes, found)
        };
        let value = if bytes == 0 { None } else { Some(serde_json::from_slice(&text[..bytes])?) };
        Ok((value, descriptors))
    }

    fn ask(&mut self, say: &Say) -> Result<Answer, Problem> {
        let heard = self.say(say).and_then(|()| self.hear());
        heard
            .map_err(failed("asking the running process"))?
            .ok_or_else(|| Problem::new(Code::Handover, "the running process ended"))
    }
}
