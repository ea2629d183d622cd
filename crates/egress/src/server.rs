//! The process: it obeys who is at the control socket, and serves on when nobody is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use domain::{Code, problem::Problem};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};

use crate::control::{COUNTS_IN_PACKET, Reply, Request};
use crate::limits::Limits;
use crate::log::Log;
use crate::packet::{Packet, Socket};
use crate::policy::Policy;
use crate::resolve::System;
use crate::table::{Resolvers, Table};

/// How many may be connected to the control socket at once.
const PEERS_MAX: usize = 16;
/// How often the log sums up.
const TICK: Duration = Duration::from_secs(1);
/// How long lookups that are under way may keep the process.
const END_TIME: Duration = Duration::from_millis(200);
/// Threads that pass bytes on.
const THREADS: usize = 2;

/// What the process runs with.
#[derive(Default)]
pub struct Options {
    /// Where the log is written; `None` is the standard output.
    pub log: Option<OwnedFd>,
    /// How much models may ask.
    pub limits: Limits,
    /// What resolves the names of each sandbox; `None` is as this machine does.
    pub resolvers: Option<Resolvers>,
}

struct Server {
    table: Mutex<Table>,
    log: Arc<Log>,
    end: Notify,
}

/// Is the process `decalog egress`. `control` is a Unix socket of packets: either one that listens,
/// to which the process's own user may connect, or one end of a pair. Whoever is at the other end
/// may go; the process ends when it is told to, or by SIGTERM.
///
/// # Errors
///
/// If the control socket is none, or there are no threads to be had.
pub fn run(control: OwnedFd) -> io::Result<()> {
    run_with(control, Options::default())
}

/// The same with other options.
///
/// # Errors
///
/// As [`run`].
pub fn run_with(control: OwnedFd, options: Options) -> io::Result<()> {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let output = match options.log {
        Some(output) => output,
        None => io::stdout().as_fd().try_clone_to_owned()?,
    };
    let log = Arc::new(Log::new(output, &options.limits)?);
    let lookups_max = options.limits.lookups_max;
    let resolvers =
        options.resolvers.unwrap_or_else(|| Box::new(move || Arc::new(System::new(lookups_max))));
    let table = Mutex::new(Table::new(options.limits, log.clone(), resolvers));
    let server = Arc::new(Server { table, log, end: Notify::new() });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let result = runtime.block_on(serve(control, &server));
    server.table.lock().close_all();
    runtime.shutdown_timeout(END_TIME);
    server.log.end();
    result
}

async fn serve(control: OwnedFd, server: &Arc<Server>) -> io::Result<()> {
    let control = Socket::new(control)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut tick = tokio::time::interval(TICK);
    if control.listens() {
        tokio::spawn(listen(control, server.clone()));
    } else {
        tokio::spawn(talk(control, server.clone()));
    }
    loop {
        tokio::select! {
            () = server.end.notified() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = tick.tick() => server.log.sum_up(),
        }
    }
}

async fn listen(control: Socket, server: Arc<Server>) {
    let own = nix::unistd::geteuid().as_raw();
    let places = Arc::new(Semaphore::new(PEERS_MAX));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok(peer) = control.accept().await else {
            tokio::time::sleep(TICK).await;
            continue;
        };
        if peer.user().is_ok_and(|user| user == own || user == 0) {
            let server = server.clone();
            tokio::spawn(async move {
                let _place = place;
                talk(peer, server).await;
            });
        }
    }
}

/// Obeys one peer, until it goes.
async fn talk(peer: Socket, server: Arc<Server>) {
    while let Ok(Some(packet)) = peer.receive().await {
        let replies = server.obey(packet);
        for reply in &replies {
            let Ok(bytes) = serde_json::to_vec(reply) else { return };
            if peer.send(&bytes, &[]).await.is_err() {
                return;
            }
        }
        if matches!(replies.as_slice(), [Reply::Ending {}]) {
            server.end.notify_one();
        }
    }
}

impl Server {
    fn obey(&self, packet: Packet) -> Vec<Reply> {
        let bad = |why: String| {
            let help = "see the documentation of the crate `egress` for what is understood";
            vec![Reply::Refused(Problem::new(Code::BadRequest, why).help(help))]
        };
        if packet.is_cut {
            return bad("the packet is too long, or brings too many descriptors".into());
        }
        let request = match serde_json::from_slice(&packet.bytes) {
            Ok(request) => request,
            Err(error) => return bad(format!("the packet is not understood: {error}")),
        };
        match self.carry_out(request, packet.descriptors) {
            Ok(replies) => replies,
            Err(problem) => vec![Reply::Refused(problem)],
        }
    }

    fn carry_out(
        &self,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Vec<Reply>, Problem> {
        let mut table = self.table.lock();
        let reply = match request {
            Request::Open { id, model, policy, listeners } => {
                table.open(id.clone(), model, Policy::new(policy)?, listeners, descriptors)?;
                Reply::Opened(id)
            }
            Request::Policy { id, policy } => {
                table.change(&id, Policy::new(policy)?)?;
                Reply::Changed(id)
            }
            Request::Close(id) => {
                table.close(&id)?;
                Reply::Closed(id)
            }
            Request::List {} => {
                return Ok(pages(table.list(), |open, more| Reply::List { open, more }));
            }
            Request::Counts {} => {
                let counts = self.log.counts();
                return Ok(pages(counts, |counts, more| Reply::Counts { counts, more }));
            }
            Request::End {} => Reply::Ending {},
        };
        Ok(vec![reply])
    }
}

/// One reply for each so many; one if there are none.
fn pages<T: Clone>(all: Vec<T>, reply: impl Fn(Vec<T>, bool) -> Reply) -> Vec<Reply> {
    let count = all.len().div_ceil(COUNTS_IN_PACKET).max(1);
    let page = |at: usize| {
        let page = all.iter().skip(at * COUNTS_IN_PACKET).take(COUNTS_IN_PACKET);
        reply(page.cloned().collect(), at + 1 < count)
    };
    (0..count).map(page).collect()
}
