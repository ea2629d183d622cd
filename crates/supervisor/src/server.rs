//! The supervisor's one thread: takes calls, watches memory, and ends everything at the end.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::DataDirectory;
use domain::launch::ProcessId;
use domain::launch::Sandbox;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::descriptors::Descriptors;
use crate::door::Door;
use crate::files::{Files, private_directory};
use crate::groups::Groups;
use crate::lines::Lines;
use crate::process;
use crate::protocol::{CALL_BYTES_MAX, Call, KNOWN_BYTES_MAX, Message, Reply, Request, VERSION};
use crate::spawn::spawn;
use crate::table::{Client, Entry, Shared, send};
use crate::{reap, watch};

/// Without a connected `up` for so long, the supervisor ends its workers and itself.
const ORPHAN_MS_MAX: u64 = 15 * 60_000;
/// How often limits are looked after that no group enforces.
const WATCH_MS: u64 = 1_000;
/// Between SIGTERM and SIGKILL when nobody said otherwise.
const DRAIN_MS_MAX: u64 = 10_000;
/// How long descendants may take to be gone after SIGKILL, in milliseconds.
const KILLED_MS_MAX: u64 = 2_000;
/// How long a predecessor may take to release the data directory, in milliseconds.
const LOCK_MS_MAX: u64 = 5_000;
/// Directories of earlier supervisors of the same process number that may lie about.
const OLD_NAMES_MAX: u32 = 1_000;
/// Messages that wait for a slow client.
const MESSAGES_MAX: usize = 1_024;

/// The supervisor's main. Gives the exit status.
pub fn run(data: &DataDirectory) -> i32 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    // Everything that starts a process stays on this thread: workers die with the thread that
    // started them.
    match tokio::task::LocalSet::new().block_on(&runtime, supervise(data)) {
        Ok(()) => 0,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(text: &str) -> i32 {
    eprintln!("supervise: {text}");
    1
}

async fn supervise(data: &DataDirectory) -> io::Result<()> {
    let files = Files::prepare(data).map_err(io::Error::other)?;
    let _lock = lock(&files).await?;
    // What parents fork is this process's to watch and to end.
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    remove_left_overs(&files);
    let shared =
        Rc::new(Shared::new(Groups::open(data.root()), Descriptors::raise(), DRAIN_MS_MAX));
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut children = signal(SignalKind::child())?;
    let reaping = shared.clone();
    tokio::task::spawn_local(async move {
        while children.recv().await.is_some() {
            reap::reap(&reaping);
        }
    });
    let mut door = Door::open(files.supervisor_socket())?;
    let mut tick = tokio::time::interval(Duration::from_millis(WATCH_MS));
    loop {
        tokio::select! {
            stream = door.accept() => accept(&shared, stream),
            _ = tick.tick() => {
                watch::watch(&shared);
                if let Err(error) = keep_directories(&shared, &files).and_then(|()| door.keep()) {
                    eprintln!("supervise: {} cannot be made again: {error}", files.sockets().display());
                }
                let alone = shared.alone_since.get().map(|since| since.elapsed());
                if alone.is_some_and(|alone| alone > Duration::from_millis(ORPHAN_MS_MAX)) {
                    break;
                }
            }
            _ = terminate.recv() => break,
            // Ctrl-C on a terminal is meant for `up`, which says what to do.
            _ = interrupt.recv() => {}
            () = shared.stop.notified() => break,
        }
    }
    end_all(&shared).await;
    door.close();
    shared.groups.close();
    // Let the last replies out.
    tokio::task::yield_now().await;
    Ok(())
}

/// Waits a moment for a predecessor that is just ending.
async fn lock(files: &Files) -> io::Result<Flock<File>> {
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(files.data.supervisor_lock())?;
    let end = Instant::now() + Duration::from_millis(LOCK_MS_MAX);
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, _)) => file,
        };
        if Instant::now() > end {
            return Err(io::Error::other("another supervisor runs for this data directory"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Files of processes that a killed supervisor took with it. What cannot be moved away stays, and
/// is in nobody's way: each process gets a directory that was not there.
fn remove_left_overs(files: &Files) {
    let (current, old) = (files.data.processes(), files.data.old_processes());
    let moved = private_directory(&old).map_err(io::Error::other).and_then(|()| {
        let names =
            (0..OLD_NAMES_MAX).map(|count| old.join(format!("{}-{count}", std::process::id())));
        let free = names.into_iter().find(|name| name.symlink_metadata().is_err());
        std::fs::rename(
            &current,
            free.ok_or_else(|| io::Error::other("too much lies there already"))?,
        )
    });
    let made = moved.and_then(|()| private_directory(&current).map_err(io::Error::other));
    if let Err(error) = made {
        eprintln!("supervise: {} is not cleared: {error}", current.display());
    }
    for socket in std::fs::read_dir(files.sockets()).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(socket.path());
    }
    // They can be many, and nobody needs to wait for that.
    std::thread::spawn(move || std::fs::remove_dir_all(old));
}

/// Makes the directories again that somebody removed, those of running processes too.
fn keep_directories(shared: &Shared, files: &Files) -> io::Result<()> {
    if files.sockets().is_dir() && files.data.processes().is_dir() {
        return Ok(());
    }
    eprintln!("supervise: the directory for sockets was removed; it is made again");
    files.make_directories().map_err(io::Error::other)?;
    for (id, entry) in shared.entries.borrow().iter() {
        if files.data.process(id).exists() {
            continue;
        }
        files.make_process(id, None).map_err(io::Error::other)?;
        let is_confined = entry.process.sandbox.is_some_and(|level| level > Sandbox::Off);
        if is_confined && entry.process.role.is_forked_from() && entry.process.ended.is_none() {
            // With its directory went what it sees of others: nothing that is forked from it would
            // find its files.
            send(entry.process.pid, Signal::SIGKILL);
        }
    }
    Ok(())
}

async fn end_all(shared: &Rc<Shared>) {
    shared.stopping.set(true);
    shared.running().iter().for_each(|pid| send(*pid, Signal::SIGTERM));
    let end = Instant::now() + Duration::from_millis(shared.drain_ms.get());
    while !shared.running().is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shared.running().iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    while !shared.running().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whatever fled its group has become a child of this process.
    let end = Instant::now() + Duration::from_millis(KILLED_MS_MAX);
    let own = std::process::id();
    loop {
        let left: Vec<u32> = process::table()
            .into_iter()
            .filter(|line| line.parent == own)
            .map(|line| line.pid)
            .collect();
        if left.is_empty() || Instant::now() > end {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn accept(shared: &Rc<Shared>, stream: UnixStream) {
    let (messages, receiver) = mpsc::channel(MESSAGES_MAX);
    let task = tokio::task::spawn_local(client(shared.clone(), stream, messages.clone(), receiver));
    shared.clients.borrow_mut().push(Client { messages, task: task.abort_handle() });
    shared.alone_since.set(None);
}

async fn client(
    shared: Rc<Shared>,
    stream: UnixStream,
    sender: mpsc::Sender<Message>,
    mut messages: mpsc::Receiver<Message>,
) {
    let (reader, mut writer) = stream.into_split();
    tokio::task::spawn_local(async move {
        while let Some(message) = messages.recv().await {
            let Ok(mut line) = serde_json::to_vec(&message) else { continue };
            line.push(b'\n');
            if writer.write_all(&line).await.is_err() {
                break;
            }
        }
    });
    let mut lines = Lines::new(reader, CALL_BYTES_MAX);
    while let Ok(Some(line)) = lines.next().await {
        let Ok(Call::<serde_json::Value> { id, request }) = serde_json::from_slice(&line) else {
            break;
        };
        let (shared, replies) = (shared.clone(), sender.clone());
        // Each on its own: a fork waits for its parent, and others need not wait for it.
        tokio::task::spawn_local(async move {
            let result = match serde_json::from_value(request) {
                Ok(request) => answer(&shared, request).await,
                // Of a later program: it may do without.
                Err(error) => Err(format!("this supervisor does not know the request: {error}")),
            };
            let _ = replies.send(Message::Reply { id, result }).await;
        });
    }
    shared.left(&sender);
}

async fn answer(shared: &Rc<Shared>, request: Request) -> Result<Reply, String> {
    match request {
        Request::Hello => Ok(Reply::Version(VERSION)),
        Request::Confines => Ok(Reply::Done),
        Request::Spawn(launch) => spawn(shared, *launch).await,
        Request::Signal { id, kill } => {
            let entries = shared.entries.borrow();
            let entry = entries.get(&id).ok_or_else(|| format!("there is no process {id}"))?;
            if entry.process.ended.is_none() {
                send(entry.process.pid, if kill { Signal::SIGKILL } else { Signal::SIGTERM });
            }
            Ok(Reply::Done)
        }
        Request::Remember { id, known } => {
            if known.len() > KNOWN_BYTES_MAX {
                return Err(format!("{} bytes about {id} are more than is kept", known.len()));
            }
            let mut entries = shared.entries.borrow_mut();
            let entry = entries.get_mut(&id).ok_or_else(|| format!("there is no process {id}"))?;
            entry.process.known = Some(known);
            Ok(Reply::Done)
        }
        Request::Quiet { id, ms_max } => {
            let entries = shared.entries.borrow();
            let entry = entries.get(&id).ok_or_else(|| format!("there is no process {id}"))?;
            entry.output.quiet(ms_max);
            Ok(Reply::Done)
        }
        Request::List => {
            let entries = shared.entries.borrow();
            Ok(Reply::Processes(entries.values().map(|entry| entry.process.clone()).collect()))
        }
        Request::Forget { id } => forget(shared, id),
        Request::Hold { name, bytes } => {
            shared.held.borrow_mut().hold(name, bytes).map(Reply::Held)
        }
        Request::Shutdown { drain_ms_max } => {
            shared.drain_ms.set(drain_ms_max);
            shared.stopping.set(true);
            shared.stop.notify_one();
            Ok(Reply::Done)
        }
    }
}

/// Drops a process from the list. A parent's directory stays as long as something lives that was
/// forked from it.
fn forget(shared: &Rc<Shared>, id: ProcessId) -> Result<Reply, String> {
    let mut entries = shared.entries.borrow_mut();
    if entries.get(&id).is_some_and(|entry| entry.process.ended.is_none())
        || shared.reserved.borrow().contains(&id)
    {
        return Err(format!("{id} still runs"));
    }
    let ancestors = entries.remove(&id).map(|entry| entry.process.ancestors).unwrap_or_default();
    let is_used = |id: &ProcessId| {
        entries
            .values()
            .any(|Entry { process, .. }| process.id == *id || process.ancestors.contains(id))
    };
    let unused: Vec<ProcessId> =
        [id.clone()].into_iter().chain(ancestors).filter(|id| !is_used(id)).collect();
    drop(entries);
    shared.tell(|| Message::Forgotten(id.clone()));
    Ok(Reply::Unused(unused))
}
