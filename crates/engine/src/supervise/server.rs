//! The supervisor's one thread: takes calls, starts processes, collects their logs and their ends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::ReplicaId;
use domain::launch::Launch;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::log::Log;
use super::protocol::{Call, Message, Process, Reply, Request, VERSION};
use crate::files::Files;
use crate::process::group_memory_mb;

/// Without a connected `up` for so long, the supervisor ends its workers and itself.
const ORPHAN_MS_MAX: u64 = 15 * 60_000;
/// How often memory is looked at.
const WATCH_MS: u64 = 1_000;
/// Between SIGTERM and SIGKILL when nobody said otherwise.
const DRAIN_MS_MAX: u64 = 10_000;
/// Of a replica's log.
const LOG_BYTES_MAX: u64 = 10 << 20;
/// Messages that wait for a slow client.
const MESSAGES_MAX: usize = 1_024;

struct Entry {
    process: Process,
    memory_mb_max: Option<u64>,
    /// Why the supervisor itself killed it.
    killed_for: Option<String>,
}

#[derive(Default)]
struct Shared {
    entries: RefCell<HashMap<ReplicaId, Entry>>,
    clients: RefCell<Vec<mpsc::Sender<Message>>>,
    alone_since: RefCell<Option<Instant>>,
    stop: Notify,
    /// From now on nothing is started.
    stopping: Cell<bool>,
    drain_ms: RefCell<u64>,
}

/// The supervisor's main. Gives the exit status.
pub fn run(data: &Path) -> i32 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    // Everything stays on the main thread: workers die with the thread that started them.
    match tokio::task::LocalSet::new().block_on(&runtime, supervise(data)) {
        Ok(()) => 0,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(text: &str) -> i32 {
    eprintln!("supervise: {text}");
    1
}

async fn supervise(data: &Path) -> io::Result<()> {
    let files = Files::prepare(data).map_err(io::Error::other)?;
    let lock = File::create(files.supervisor_lock())?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|_| io::Error::other("another supervisor runs for this data directory"))?;
    let socket = files.supervisor_socket();
    let _ = std::fs::remove_file(&socket);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let listener = UnixListener::bind(&socket)?;
    let shared = Rc::new(Shared::default());
    *shared.drain_ms.borrow_mut() = DRAIN_MS_MAX;
    *shared.alone_since.borrow_mut() = Some(Instant::now());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut watch = tokio::time::interval(Duration::from_millis(WATCH_MS));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::task::spawn_local(client(shared.clone(), stream));
                }
            }
            _ = watch.tick() => {
                watch_memory(&shared);
                let alone = shared.alone_since.borrow().map(|since| since.elapsed());
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
    let _ = std::fs::remove_file(&socket);
    // Let the last replies out.
    tokio::task::yield_now().await;
    Ok(())
}

async fn end_all(shared: &Rc<Shared>) {
    shared.stopping.set(true);
    let drain = Duration::from_millis(*shared.drain_ms.borrow());
    let running = || -> Vec<u32> {
        let entries = shared.entries.borrow();
        entries.values().filter(|entry| entry.process.ended.is_none()).map(|entry| entry.process.pid).collect()
    };
    running().iter().for_each(|pid| send(*pid, Signal::SIGTERM));
    let end = Instant::now() + drain;
    while !running().is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running().iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    while !running().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn send(group: u32, signal: Signal) {
    let _ = killpg(Pid::from_raw(group as i32), signal);
}

fn watch_memory(shared: &Rc<Shared>) {
    for entry in shared.entries.borrow_mut().values_mut().filter(|entry| entry.process.ended.is_none()) {
        let Some(limit) = entry.memory_mb_max else { continue };
        let Some(used) = group_memory_mb(entry.process.pid).filter(|used| *used > limit as f64) else { continue };
        entry.killed_for = Some(format!("out of memory: it used {used:.0} MB of {limit} MB ([resources] memory_mb_max)"));
        send(entry.process.pid, Signal::SIGKILL);
    }
}

async fn client(shared: Rc<Shared>, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let (sender, mut messages) = mpsc::channel::<Message>(MESSAGES_MAX);
    shared.clients.borrow_mut().push(sender.clone());
    *shared.alone_since.borrow_mut() = None;
    tokio::task::spawn_local(async move {
        while let Some(message) = messages.recv().await {
            let Ok(mut line) = serde_json::to_vec(&message) else { continue };
            line.push(b'\n');
            if writer.write_all(&line).await.is_err() {
                break;
            }
        }
    });
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(call) = serde_json::from_str::<Call>(&line) else { break };
        let result = answer(&shared, call.request);
        if sender.send(Message::Reply { id: call.id, result }).await.is_err() {
            break;
        }
    }
    shared.clients.borrow_mut().retain(|other| !other.same_channel(&sender));
    if shared.clients.borrow().is_empty() {
        *shared.alone_since.borrow_mut() = Some(Instant::now());
    }
}

fn answer(shared: &Rc<Shared>, request: Request) -> Result<Reply, String> {
    let no_such = |replica: &ReplicaId| format!("there is no process {replica}");
    match request {
        Request::Hello => Ok(Reply::Version(VERSION)),
        Request::Spawn(launch) => spawn(shared, *launch).map(Reply::Pid),
        Request::Signal { replica, kill } => {
            let entries = shared.entries.borrow();
            let entry = entries.get(&replica).ok_or_else(|| no_such(&replica))?;
            if entry.process.ended.is_none() {
                send(entry.process.pid, if kill { Signal::SIGKILL } else { Signal::SIGTERM });
            }
            Ok(Reply::Done)
        }
        Request::List => {
            let entries = shared.entries.borrow();
            Ok(Reply::Processes(entries.values().map(|entry| entry.process.clone()).collect()))
        }
        Request::Forget { replica } => {
            let mut entries = shared.entries.borrow_mut();
            let ended = entries.get(&replica).is_none_or(|entry| entry.process.ended.is_some());
            if !ended {
                return Err(format!("{replica} still runs"));
            }
            entries.remove(&replica);
            Ok(Reply::Done)
        }
        Request::Shutdown { drain_ms_max } => {
            *shared.drain_ms.borrow_mut() = drain_ms_max;
            shared.stopping.set(true);
            shared.stop.notify_one();
            Ok(Reply::Done)
        }
    }
}

fn spawn(shared: &Rc<Shared>, launch: Launch) -> Result<u32, String> {
    if shared.stopping.get() {
        return Err("the supervisor is stopping".into());
    }
    if shared.entries.borrow().contains_key(&launch.replica) {
        return Err(format!("{} was started before", launch.replica));
    }
    let (output, input) = io::pipe().map_err(|error| error.to_string())?;
    let error_input = input.try_clone().map_err(|error| error.to_string())?;
    let program = launch.argv.first().ok_or("the launch has no program")?;
    let mut command = tokio::process::Command::new(program);
    command
        .args(&launch.argv[1..])
        .env_clear()
        .envs(&launch.variables)
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(input)
        .stderr(error_input)
        .process_group(0);
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?;
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(|error| format!("`{program}` could not be started: {error}"))?;
    // The parent's ends of the pipe must close, or its reader never sees the end.
    drop(command);
    let pid = child.id().ok_or("the process ended at once")?;
    let process =
        Process { replica: launch.replica.clone(), placement: launch.placement, pid, socket: launch.socket, ended: None };
    let entry = Entry { process, memory_mb_max: launch.memory_mb_max, killed_for: None };
    shared.entries.borrow_mut().insert(launch.replica.clone(), entry);
    let collected = tokio::task::spawn_local(collect(output.into(), PathBuf::from(launch.log)));
    let shared = shared.clone();
    tokio::task::spawn_local(async move {
        let status = child.wait().await;
        // Whatever the leader left behind goes with it.
        send(pid, Signal::SIGKILL);
        // Its last words first, then the news; something that fled the group cannot hold them back for long.
        let _ = tokio::time::timeout(Duration::from_millis(500), collected).await;
        let mut reason = status.map_or_else(|error| error.to_string(), how_it_ended);
        if let Some(entry) = shared.entries.borrow_mut().get_mut(&launch.replica) {
            reason = entry.killed_for.take().unwrap_or(reason);
            entry.process.ended = Some(reason.clone());
        }
        let clients: Vec<_> = shared.clients.borrow().clone();
        for client in clients {
            let _ = client.send(Message::Ended { replica: launch.replica.clone(), reason: reason.clone() }).await;
        }
    });
    Ok(pid)
}

/// Copies a process's output to its log until it ends.
async fn collect(output: OwnedFd, path: PathBuf) {
    let mut log = Log::open(path, LOG_BYTES_MAX);
    let Ok(mut output) = tokio::net::unix::pipe::Receiver::from_owned_fd(output) else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read) = output.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        log.write(&buffer[..read]);
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (_, Some(signal)) => {
            let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
            format!("killed by signal {signal} ({name})")
        }
        _ => "ended".into(),
    }
}
