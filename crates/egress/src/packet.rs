//! A control socket: each packet is one JSON value, and descriptors travel beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4,
    getsockopt, recvmsg, sendmsg, setsockopt, sockopt,
};
use tokio::io::unix::AsyncFd;

/// The largest packet, in bytes.
pub const PACKET_BYTES_MAX: usize = 128 * 1024;
/// The most descriptors that one may bring.
pub const DESCRIPTORS_MAX: usize = 16;
/// The most that the kernel lets one bring; room for all is had, so that none is lost and open.
const DESCRIPTORS_OF_KERNEL: usize = 253;

/// A packet that came.
pub struct Packet {
    /// What it says.
    pub bytes: Vec<u8>,
    /// What it brings.
    pub descriptors: Vec<OwnedFd>,
    /// Whether a part of it was cut off.
    pub is_cut: bool,
}

/// One end of a control socket, or one that listens for the other ends.
pub struct Socket {
    socket: AsyncFd<OwnedFd>,
}

impl Socket {
    /// Takes a Unix socket of packets.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn new(socket: OwnedFd) -> io::Result<Socket> {
        if getsockopt(&socket, sockopt::SockType)? != SockType::SeqPacket {
            return Err(io::Error::other("the control socket is not a Unix socket of packets"));
        }
        // The kernel may grant less, which is enough still.
        let _ = setsockopt(&socket, sockopt::SndBuf, &(4 * PACKET_BYTES_MAX));
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // SAFETY: the descriptor is owned, and closed only with its registration.
        let socket = unsafe { AsyncFd::register(socket)? };
        Ok(Socket { socket })
    }

    /// Whether it listens.
    pub fn listens(&self) -> bool {
        getsockopt(self.socket.get_ref(), sockopt::AcceptConn).unwrap_or(false)
    }

    /// The user at the other end.
    pub fn user(&self) -> io::Result<u32> {
        Ok(getsockopt(self.socket.get_ref(), sockopt::PeerCredentials)?.uid())
    }

    /// The next that connects.
    pub async fn accept(&self) -> io::Result<Socket> {
        loop {
            let mut ready = self.socket.readable().await?;
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let accepted = ready.try_io(|socket| Ok(accept4(socket.as_raw_fd(), flags)?));
            if let Ok(accepted) = accepted {
                // SAFETY: the kernel has just made it for this process.
                return Socket::new(unsafe { OwnedFd::from_raw_fd(accepted?) });
            }
        }
    }

    /// Sends a packet.
    pub async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
        loop {
            let mut ready = self.socket.writable().await?;
            let sent = ready.try_io(|socket| {
                let pieces = [IoSlice::new(bytes)];
                let flags = MsgFlags::MSG_NOSIGNAL;
                Ok(sendmsg::<UnixAddr>(socket.as_raw_fd(), &pieces, rights, flags, None)?)
            });
            if let Ok(sent) = sent {
                return sent.map(|_| ());
            }
        }
    }

    /// The next packet; `None` once the other end is closed.
    pub async fn receive(&self) -> io::Result<Option<Packet>> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| receive(socket.get_ref(), &mut buffer)) {
                return received;
            }
        }
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
    let mut space = cmsg_space!([RawFd; DESCRIPTORS_OF_KERNEL]);
    let mut pieces = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut pieces, Some(&mut space), flags);
    let message = match received {
        Err(nix::errno::Errno::ECONNRESET) => return Ok(None),
        received => received?,
    };
    let is_cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    let length = message.bytes;
    let mut numbers: Vec<RawFd> = vec![];
    for control in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(rights) = control {
            numbers.extend(rights);
        }
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        numbers = installed(&space);
    }
    // SAFETY: the kernel has just made them for this process.
    let own = |number| unsafe { OwnedFd::from_raw_fd(number) };
    let descriptors: Vec<OwnedFd> = numbers.into_iter().map(own).collect();
    let is_cut = is_cut || descriptors.len() > DESCRIPTORS_MAX;
    if length == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    Ok(Some(Packet { bytes: buffer[..length].to_vec(), descriptors, is_cut }))
}

/// The descriptors that the kernel has made before it had no more to give: the rest of them is lost,
/// and the library does not tell of these.
fn installed(space: &[u8]) -> Vec<RawFd> {
    const HEAD_BYTES: usize = size_of::<nix::libc::cmsghdr>();
    let Some((length, _)) = space.split_first_chunk::<{ size_of::<usize>() }>() else {
        return vec![];
    };
    let length = usize::from_ne_bytes(*length).min(space.len());
    let rights = space.get(HEAD_BYTES..length).unwrap_or_default();
    let (numbers, _) = rights.as_chunks::<{ size_of::<RawFd>() }>();
    numbers.iter().map(|number| RawFd::from_ne_bytes(*number)).collect()
}
