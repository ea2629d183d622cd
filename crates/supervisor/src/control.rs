//! The control socket of a parent or zygote: one packet is one JSON object, and descriptors travel
//! beside it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use domain::launch::{ProcessId, Walls};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg,
    setsockopt, socketpair, sockopt,
};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::protocol::Readiness;

/// The largest packet, in bytes.
pub const PACKET_BYTES_MAX: usize = 256 * 1024;
/// How long a parent or zygote may take to fork, in milliseconds.
pub const FORK_MS_MAX: u64 = 5_000;
/// Asked of the kernel for each direction.
const BUFFER_BYTES: usize = 1 << 20;

/// What a parent or zygote is told.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command<'a> {
    /// Fork a process.
    Fork {
        /// Of the new process.
        id: &'a ProcessId,
        /// `worker` or `parent`.
        role: &'static str,
        /// Its whole environment.
        variables: &'a BTreeMap<String, String>,
        /// Its working directory.
        directory: &'a str,
        /// What its descriptors are for: `log`, `control`, `socket`, `rules`.
        descriptors: &'a [&'static str],
        /// What it can reach.
        #[serde(skip_serializing_if = "Option::is_none")]
        walls: Option<&'a Walls>,
    },
    /// Become the worker.
    Serve {
        /// From now on.
        id: &'a ProcessId,
        /// The whole environment.
        variables: &'a BTreeMap<String, String>,
        /// The working directory.
        directory: &'a str,
        /// What its descriptors are for: `socket`.
        descriptors: &'a [&'static str],
    },
}

/// What a parent or zygote says.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It has loaded what it should.
    Ready(Readiness),
    /// There is a new process.
    Forked {
        /// The process.
        id: ProcessId,
        /// Its number.
        pid: u32,
    },
    /// There is none.
    Refused {
        /// The process.
        id: ProcessId,
        /// What keeps it from forking, in a few words.
        reason: String,
    },
}

/// What came of a fork: a process number, or why there is none.
pub type Forked = Result<u32, String>;

/// The supervisor's end.
pub struct ControlSocket {
    socket: AsyncFd<OwnedFd>,
    waiting: RefCell<HashMap<ProcessId, oneshot::Sender<Forked>>>,
}

/// A connected pair: the supervisor's end, and the other, which is closed on exec.
pub fn pair() -> io::Result<(ControlSocket, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    for socket in [&ours, &theirs] {
        // The kernel may grant less, which is enough still.
        let _ = setsockopt(socket, sockopt::SndBuf, &BUFFER_BYTES);
        let _ = setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES);
    }
    nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    // SAFETY: the descriptor is owned, and closed only with its registration.
    let socket = unsafe { AsyncFd::register(ours)? };
    Ok((ControlSocket { socket, waiting: RefCell::default() }, theirs))
}

impl ControlSocket {
    /// Sends a command, with descriptors.
    pub async fn send(
        &self,
        command: &Command<'_>,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let packet = serde_json::to_vec(command)?;
        if packet.len() > PACKET_BYTES_MAX {
            return Err(io::Error::other(format!(
                "its variables have {} bytes, which is too much",
                packet.len()
            )));
        }
        let numbers: Vec<RawFd> =
            descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        loop {
            let mut ready = self.socket.writable().await?;
            let sent = ready.try_io(|socket| {
                let pieces = [IoSlice::new(&packet)];
                Ok(sendmsg::<UnixAddr>(socket.as_raw_fd(), &pieces, rights, flags, None)?)
            });
            match sent {
                Ok(result) => return result.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }

    /// Asks for a process. What comes of it is told when the parent has said so; never if the
    /// parent has ended.
    pub async fn fork(
        &self,
        command: &Command<'_>,
        id: &ProcessId,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<oneshot::Receiver<Forked>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(id.clone(), sender);
        if let Err(error) = self.send(command, descriptors).await {
            self.waiting.borrow_mut().remove(id);
            return Err(error);
        }
        Ok(receiver)
    }

    /// Gives up a fork that takes too long.
    pub fn give_up(&self, id: &ProcessId) {
        self.waiting.borrow_mut().remove(id);
    }

    /// Hands the result of a fork to who asked for it. Gives whether somebody did.
    pub fn settle(&self, id: &ProcessId, forked: Forked) -> bool {
        let waiting = self.waiting.borrow_mut().remove(id);
        waiting.is_some_and(|waiting| waiting.send(forked).is_ok())
    }

    /// Nobody will be answered any more. Gives how many had waited.
    pub fn close(&self) -> usize {
        let waiting: Vec<_> = self.waiting.borrow_mut().drain().collect();
        waiting.len()
    }

    /// The next thing it says; `None` once it has closed its end. What is not understood is an
    /// error, and costs nothing else. `buffer` holds one packet.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Word>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready.try_io(|socket| {
                let mut pieces = [IoSliceMut::new(buffer)];
                let message = recvmsg::<UnixAddr>(
                    socket.as_raw_fd(),
                    &mut pieces,
                    None,
                    MsgFlags::MSG_CMSG_CLOEXEC,
                );
                let message = match message {
                    Err(nix::errno::Errno::ECONNRESET) => return Ok((0, false)),
                    other => other?,
                };
                Ok((message.bytes, message.flags.contains(MsgFlags::MSG_TRUNC)))
            });
            match received {
                Ok(Ok((0, _))) => return Ok(None),
                Ok(Ok((_, true))) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a packet that is too long",
                    ));
                }
                Ok(Ok((bytes, false))) => {
                    return serde_json::from_slice(&buffer[..bytes])
                        .map(Some)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, FromRawFd};

    use super::*;

    fn id(text: &str) -> ProcessId {
        ProcessId(text.into())
    }

    fn say(socket: &OwnedFd, text: &str) {
        let pieces = [IoSlice::new(text.as_bytes())];
        sendmsg::<UnixAddr>(socket.as_raw_fd(), &pieces, &[], MsgFlags::empty(), None).unwrap();
    }

    #[tokio::test]
    async fn a_fork_is_asked_for_with_descriptors_and_answered() {
        let (ours, theirs) = pair().unwrap();
        let variables = BTreeMap::from([("TOKEN".to_string(), "ü".repeat(100_000))]);
        let command = Command::Fork {
            id: &id("r3-7"),
            role: "worker",
            variables: &variables,
            directory: "/abs",
            descriptors: &["log"],
            walls: None,
        };
        let (reader, writer) = std::io::pipe().unwrap();
        let answer = ours.fork(&command, &id("r3-7"), &[writer.as_fd()]).await.unwrap();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let mut space = nix::cmsg_space!([RawFd; 2]);
        let mut pieces = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<UnixAddr>(
            theirs.as_raw_fd(),
            &mut pieces,
            Some(&mut space),
            MsgFlags::empty(),
        )
        .unwrap();
        let bytes = message.bytes;
        let rights: Vec<RawFd> = message
            .cmsgs()
            .unwrap()
            .flat_map(|control| match control {
                nix::sys::socket::ControlMessageOwned::ScmRights(rights) => rights,
                _ => vec![],
            })
            .collect();
        let asked: serde_json::Value = serde_json::from_slice(&buffer[..bytes]).unwrap();
        assert_eq!(
            (&asked["fork"]["role"], &asked["fork"]["directory"]),
            (&"worker".into(), &"/abs".into())
        );
        assert_eq!(asked["fork"]["variables"]["TOKEN"].as_str().unwrap().chars().count(), 100_000);
        drop(writer);
        // SAFETY: the kernel has just made it for this process.
        let mut passed = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(rights[0]) });
        std::io::Write::write_all(&mut passed, b"words").unwrap();
        drop(passed);
        assert_eq!(std::io::read_to_string(reader).unwrap(), "words");
        say(&theirs, r#"{"forked": {"id": "r3-7", "pid": 1234}}"#);
        let Some(Word::Forked { id: forked, pid }) = ours.receive(&mut buffer).await.unwrap()
        else {
            panic!()
        };
        assert!(ours.settle(&forked, Ok(pid)) && !ours.settle(&forked, Ok(pid)));
        assert_eq!(answer.await.unwrap(), Ok(1234));
    }

    #[tokio::test]
    async fn what_it_says() {
        let (ours, theirs) = pair().unwrap();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        say(
            &theirs,
            r#"{"ready": {"threads": 2, "can_fork": false, "reason": "2 threads run", "elapsed_ms": 812, "more": 1}}"#,
        );
        say(&theirs, "nonsense");
        say(&theirs, r#"{"refused": {"id": "r3-7", "reason": "no"}}"#);
        let ready = Readiness {
            threads: 2,
            can_fork: false,
            reason: "2 threads run".into(),
            elapsed_ms: 812,
        };
        assert_eq!(ours.receive(&mut buffer).await.unwrap(), Some(Word::Ready(ready)));
        assert_eq!(ours.receive(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let refused = Word::Refused { id: id("r3-7"), reason: "no".into() };
        assert_eq!(ours.receive(&mut buffer).await.unwrap(), Some(refused));
        let variables = BTreeMap::from([("LONG".to_string(), "x".repeat(PACKET_BYTES_MAX))]);
        let command = Command::Serve {
            id: &id("r3-7"),
            variables: &variables,
            directory: "/",
            descriptors: &[],
        };
        assert!(ours.send(&command, &[]).await.unwrap_err().to_string().contains("too much"));
        drop(theirs);
        assert_eq!(ours.receive(&mut buffer).await.unwrap(), None);
        let command = Command::Serve {
            id: &id("r3-7"),
            variables: &BTreeMap::new(),
            directory: "/",
            descriptors: &[],
        };
        assert!(ours.send(&command, &[]).await.is_err());
    }
}
