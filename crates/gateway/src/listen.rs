//! Lets connections in: a task for each listener, which waits for nobody that has come.

use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use domain::{Code, Problem};

use crate::RELIEVED;
use crate::connections::{Connections, Open};
use crate::network::Network;
use crate::peer::{Peer, Proxies, Source};
use crate::secure::{self, Secure};
use crate::serving::Serving;
use crate::shed::{Refusal, Shedding};
use crate::stall::Stream;

/// After an error of accept, as when descriptors run out, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;
/// Of the user who may do everything.
const ROOT: u32 = 0;

/// Where connections come in.
pub enum Listener {
    /// Over TCP.
    Tcp {
        /// The socket.
        socket: TcpListener,
        /// What is asked of those who come.
        entrance: Entrance,
    },
    /// From processes of this machine, over a Unix socket.
    Local {
        /// The socket.
        socket: UnixListener,
        /// The user whose processes may come in, beside root's.
        owner: u32,
    },
}

/// What is asked of those who come over TCP.
#[derive(Clone)]
pub enum Entrance {
    /// Nothing.
    Plain,
    /// To be a proxy in one of these networks, or a process of this machine. A proxy says whose
    /// requests it passes on.
    Behind(Arc<[Network]>),
    /// To speak TLS.
    Secure(Arc<dyn Secure>),
}

/// A listener on its runtime.
enum Door {
    Tcp(tokio::net::TcpListener, Entrance),
    Local(tokio::net::UnixListener, u32),
}

/// Who has come.
enum Arrival {
    Tcp(TcpStream, IpAddr),
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
            Listener::Tcp { socket, entrance } => {
                socket.set_nonblocking(true)?;
                Door::Tcp(tokio::net::TcpListener::from_std(socket)?, entrance)
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
                Ok(Arrival::Tcp(stream, ip)) => self.take_tcp(stream, ip),
                Ok(Arrival::Local(stream, peer)) => {
                    self.take(stream, Source::Local, |serving, stream, open| {
                        serving.run(stream, Arc::new(peer), None, open)
                    });
                }
                Ok(Arrival::Stranger) => {}
                Err(error) => self.fail(&error).await,
            }
        }
    }

    fn take_tcp(&mut self, stream: TcpStream, ip: IpAddr) {
        let Door::Tcp(_, entrance) = &self.door else { return };
        let source = Source::of(ip);
        match entrance.clone() {
            Entrance::Secure(secure) => {
                let shedding = self.shedding.clone();
                self.take(stream, source, |serving, stream, open| {
                    secure::run(serving, secure, stream, ip, open, shedding)
                });
            }
            Entrance::Behind(networks) => {
                let proxies = Proxies(networks);
                let is_proxy = proxies.contain(ip);
                if !is_proxy && !ip.to_canonical().is_loopback() {
                    return self.shedding.refuse(stream, &no_proxy(ip));
                }
                self.take(stream, source, |serving, stream, open| {
                    let proxies = is_proxy.then_some(proxies);
                    serving.run(stream, Arc::new(Peer::plain(ip)), proxies, open)
                });
            }
            Entrance::Plain => self.take(stream, source, |serving, stream, open| {
                serving.run(stream, Arc::new(Peer::plain(ip)), None, open)
            }),
        }
    }

    /// Serves a connection, if there is room for it.
    fn take<S: Stream, F: Future<Output = ()> + Send + 'static>(
        &mut self,
        stream: S,
        source: Source,
        serve: impl FnOnce(Serving, S, Open) -> F,
    ) {
        self.failed = false;
        let Some(open) = self.connections.admit(source) else {
            self.shedding.refuse(stream, &Refusal::busy());
            return;
        };
        let id = open.id();
        let task = tokio::spawn(serve(self.serving.clone(), stream, open));
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
            Door::Tcp(socket, _) => {
                let (stream, address) = socket.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok(Arrival::Tcp(stream, address.ip()))
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

fn no_proxy(ip: IpAddr) -> Refusal {
    let text = format!(
        "{ip} is none of the proxies of this server, which takes no plain HTTP from elsewhere"
    );
    Refusal::new(&Problem::new(Code::PlainText, text).help(
        "ask by the address of the proxy; whoever runs this server names proxies with --behind-proxy",
    ))
}
