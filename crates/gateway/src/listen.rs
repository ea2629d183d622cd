//! Lets connections in: a task for each listener, which waits for nobody that has come.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::RELIEVED;
use crate::connections::Connections;
use crate::peer::{Peer, Source};
use crate::serving::Serving;
use crate::shed::Shedding;
use crate::stall::Stream;

/// After an error of accept, as when descriptors run out, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Of the user who may do everything.
const ROOT: u32 = 0;

/// Where connections come in.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// From processes of this machine, over a Unix socket.
    Local {
        /// The socket.
        socket: UnixListener,
        /// The user whose processes may come in, beside root's.
        owner: u32,
    },
}

/// A listener on its runtime.
enum Door {
    Tcp(tokio::net::TcpListener),
    Local(tokio::net::UnixListener, u32),
}

/// Who has come.
enum Arrival {
    Tcp(TcpStream, Peer, Source),
    Local(UnixStream, Peer),
    /// Nobody who may come in.
    Stranger,
}

/// What lets connections in by one listener.
pub struct Accepting {
    door: Door,
    connections: Arc<Connections>,
    shedding: Arc<Shedding>,
    serving: Serving,
    /// Whether the last accept failed: a long shortage is logged once.
    failed: bool,
}

impl Accepting {
    /// Opens a listener to callers.
    pub fn new(
        listener: Listener,
        connections: Arc<Connections>,
        shedding: Arc<Shedding>,
        serving: Serving,
    ) -> std::io::Result<Accepting> {
        let door = match listener {
            Listener::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Door::Tcp(tokio::net::TcpListener::from_std(socket)?)
            }
            Listener::Local { socket, owner } => {
                socket.set_nonblocking(true)?;
                Door::Local(tokio::net::UnixListener::from_std(socket)?, owner)
            }
        };
        Ok(Accepting { door, connections, shedding, serving, failed: false })
    }

    /// Lets in whoever comes, until it is dropped.
    pub async fn run(mut self) {
        loop {
            match self.door.accept().await {
                Ok(Arrival::Tcp(stream, peer, source)) => self.take(stream, peer, source),
                Ok(Arrival::Local(stream, peer)) => self.take(stream, peer, Source::Local),
                Ok(Arrival::Stranger) => {}
                Err(error) => self.fail(&error).await,
            }
        }
    }

    fn take(&mut self, stream: impl Stream, peer: Peer, source: Source) {
        self.failed = false;
        let Some(open) = self.connections.admit(source) else {
            self.shedding.refuse(stream);
            return;
        };
        let id = open.id();
        let task = tokio::spawn(self.serving.clone().run(stream, Arc::new(peer), open));
        self.connections.started(id, task.abort_handle());
    }

    /// Descriptors or memory have run out: quiet connections are closed for those that wait to be
    /// accepted.
    async fn fail(&mut self, error: &std::io::Error) {
        let closed = self.connections.relieve(RELIEVED);
        if !std::mem::replace(&mut self.failed, true) {
            tracing::warn!("accept failed: {error}; {closed} quiet connections are closed");
        }
        if closed == 0 {
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
        } else {
            // They close when their tasks end.
            tokio::task::yield_now().await;
        }
    }
}

impl Door {
    async fn accept(&self) -> std::io::Result<Arrival> {
        match self {
            Door::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                let _ = stream.set_nodelay(true);
                let ip = address.ip();
                Ok(Arrival::Tcp(stream, Peer::Tcp { ip }, Source::of(ip)))
            }
            Door::Local(socket, owner) => {
                let (stream, _) = socket.accept().await?;
                // One that has hung up already has no credentials any more.
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok(match uid {
                    Some(uid) if uid == *owner || uid == ROOT => {
                        Arrival::Local(stream, Peer::Local { uid })
                    }
                    _ => Arrival::Stranger,
                })
            }
        }
    }
}
