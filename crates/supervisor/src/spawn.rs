//! Starts processes: as programs, forked from a parent or zygote, or as a parent that serves from
//! now on.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use domain::launch::{Launch, Limits, Origin, ProcessId, Role, Sandbox};
use nix::sys::signal::Signal;

use crate::clock::now_ms;
use crate::control::{self, ControlSocket, FORK_MS_MAX, PACKET_BYTES_MAX, Word};
use crate::groups::Group;
use crate::local::is_local;
use crate::log::Output;
use crate::mask::Masks;
use crate::process;
use crate::protocol::{Process, Reply};
use crate::reap;
use crate::strays::end_strays;
use crate::table::{Entry, Shared, send};
use crate::walls;

/// Of root: to write to files and folders whatever their mode.
const CAP_DAC_OVERRIDE: nix::libc::c_ulong = 1;
/// The variable that names the file in which a process says why it could not start.
const FAILURE: &str = "DECALOG_FAILURE";

/// Why nothing was started.
enum SpawnFailure {
    /// This machine is short of something.
    Local(String),
    Other(String),
}

impl From<io::Error> for SpawnFailure {
    fn from(error: io::Error) -> SpawnFailure {
        if is_local(&error) {
            SpawnFailure::Local(error.to_string())
        } else {
            SpawnFailure::Other(error.to_string())
        }
    }
}

impl From<String> for SpawnFailure {
    fn from(text: String) -> SpawnFailure {
        SpawnFailure::Other(text)
    }
}

/// Starts what a launch describes.
pub async fn spawn(shared: &Rc<Shared>, launch: Launch) -> Result<Reply, String> {
    if shared.stopping.get() {
        return Err("the supervisor is stopping".into());
    }
    if shared.is_used(&launch.id) {
        return Err(format!("{} was started before", launch.id));
    }
    let id = launch.id.clone();
    shared.reserved.borrow_mut().push(id.clone());
    let masks = shared.masks_of(&launch).await;
    let free = || shared.reserved.borrow_mut().retain(|reserved| *reserved != id);
    let started = match launch.origin.clone() {
        Origin::Fork(from) => {
            let result = fork(shared, launch, masks, &from).await;
            free();
            result
        }
        Origin::Program(argv) => {
            free();
            program(shared, launch, masks, &argv)
        }
        Origin::Serve(parent) => {
            free();
            serve(shared, launch, masks, &parent).await
        }
    };
    match started {
        Ok(reply) => Ok(reply),
        Err(SpawnFailure::Other(text)) => Err(text),
        Err(SpawnFailure::Local(text)) => {
            eprintln!("supervise: {id} could not be started: {text}");
            Ok(Reply::Local(format!("{id} could not be started: {text}")))
        }
    }
}

/// What a process prints into, if there are descriptors for it and enough others.
fn pipe(shared: &Shared) -> Result<(io::PipeReader, io::PipeWriter), SpawnFailure> {
    let (output, input) = io::pipe()?;
    if shared.descriptors.is_reserved(&input) {
        let limit = shared.descriptors.limit;
        return Err(SpawnFailure::Local(format!(
            "the supervisor has too many descriptors open; its limit is {limit} (ulimit -Hn)"
        )));
    }
    Ok((output, input))
}

/// As a program of its own.
fn program(
    shared: &Rc<Shared>,
    launch: Launch,
    masks: Option<Arc<Masks>>,
    argv: &[String],
) -> Result<Reply, SpawnFailure> {
    let program = argv.first().ok_or_else(|| "the launch has no program".to_string())?;
    let (output, input) = pipe(shared)?;
    let error_input = input.try_clone()?;
    let output = Output::collect(output.into(), PathBuf::from(&launch.log), masks)?;
    let (control, theirs) = control_for(&launch.role)?;
    // The group is there before the process, which enters it before anything else: nothing escapes.
    let group = shared.groups.create(&launch.id, &launch.limits);
    let doors = group.as_ref().map(Group::doors).unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(&argv[1..])
        .env_clear()
        .envs(&launch.variables)
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(input)
        .stderr(error_input)
        .process_group(0);
    let inherited = theirs.as_ref().map(AsRawFd::as_raw_fd);
    let descriptors = shared.descriptors;
    if let Some(number) = inherited {
        command.env("DECALOG_CONTROL", number.to_string());
    }
    // SAFETY: only async-signal-safe calls between fork and exec, on descriptors that live until
    // after it.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?;
            descriptors.give_back()?;
            // What is read-only is so for root's models, too. Others do not have the right, and may
            // not give it up either.
            nix::libc::prctl(nix::libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
            // Also what this supervisor inherited itself: a parent with an unknown descriptor could
            // not be forked from.
            nix::libc::syscall(
                nix::libc::SYS_close_range,
                3,
                u32::MAX,
                nix::libc::CLOSE_RANGE_CLOEXEC,
            );
            for door in &doors {
                nix::unistd::write(door, b"0")?;
            }
            if let Some(number) = inherited
                && nix::libc::fcntl(number, nix::libc::F_SETFD, 0) < 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn();
    // The parent's ends of the pipe must close, or its reader never sees the end.
    drop((command, theirs));
    let pid = match child {
        // Its end is collected with all others.
        Ok(child) => child.id(),
        Err(error) => {
            group.iter().for_each(|group| group.remove(&[]));
            let text = format!("`{program}` could not be started: {error}");
            return Err(if is_local(&error) {
                SpawnFailure::Local(text)
            } else {
                SpawnFailure::Other(text)
            });
        }
    };
    let group = Rc::new(RefCell::new(group));
    let sandbox = launch.walls.as_ref().map_or(Sandbox::Off, |walls| walls.level);
    Ok(enter(shared, launch, pid, (vec![], sandbox), output, control, group))
}

/// The socket that a forked process is to serve, bound to its place, which the process itself may
/// not see. Nobody can connect until it listens.
fn bound(socket: &str) -> Result<OwnedFd, SpawnFailure> {
    let _ = std::fs::remove_file(socket);
    let bind = || -> nix::Result<OwnedFd> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket as open};
        let made = open(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(made.as_raw_fd(), &UnixAddr::new(socket)?)?;
        Ok(made)
    };
    // The directory is made again if somebody removed it.
    bind().map_err(|error| SpawnFailure::Local(format!("binding {socket}: {error}")))
}

/// Parents and zygotes get a socket to be asked through.
fn control_for(role: &Role) -> io::Result<(Option<Rc<ControlSocket>>, Option<OwnedFd>)> {
    if !role.is_forked_from() {
        return Ok((None, None));
    }
    let (ours, theirs) = control::pair()?;
    Ok((Some(Rc::new(ours)), Some(theirs)))
}

/// Puts a new process into the list, and tells of it.
fn enter(
    shared: &Rc<Shared>,
    launch: Launch,
    pid: u32,
    (ancestors, sandbox): (Vec<ProcessId>, Sandbox),
    output: Rc<Output>,
    control: Option<Rc<ControlSocket>>,
    group: Rc<RefCell<Option<Group>>>,
) -> Reply {
    let failure = launch.variables.get(FAILURE).map(PathBuf::from);
    let process = Process {
        id: launch.id.clone(),
        role: launch.role,
        pid,
        socket: launch.socket,
        plain_path: launch.plain_path,
        temperature: launch.temperature,
        colder_because: launch.colder_because,
        ancestors,
        ready: None,
        sandbox: Some(sandbox),
        masked: Some(masked(&output)),
        known: None,
        used_at_ms: now_ms(),
        ended: None,
    };
    let entry = Entry {
        process: process.clone(),
        limits: launch.limits,
        killed_for: None,
        output,
        failure,
        control: control.clone(),
        group,
        attaching: None,
    };
    shared.entries.borrow_mut().insert(launch.id.clone(), entry);
    if let Some(control) = control {
        tokio::task::spawn_local(listen(shared.clone(), launch.id.clone(), control));
    }
    shared.tell_of(&launch.id);
    Reply::Started(Box::new(process))
}

/// From a parent or zygote.
async fn fork(
    shared: &Rc<Shared>,
    launch: Launch,
    masks: Option<Arc<Masks>>,
    from: &ProcessId,
) -> Result<Reply, SpawnFailure> {
    let asked = control_of(shared, from)?;
    let (output, input) = pipe(shared)?;
    let inode = nix::sys::stat::fstat(&input).map_err(io::Error::from)?.st_ino;
    let output = Output::collect(output.into(), PathBuf::from(&launch.log), masks)?;
    let (control, theirs) = control_for(&launch.role)?;
    let role = if launch.role.is_forked_from() { "parent" } else { "worker" };
    let (variables, directory) = (&launch.variables, launch.directory.as_str());
    let walls = launch.walls.as_ref();
    let socket = launch.socket.as_deref().map(bound).transpose()?;
    let rules = walls.map(walls::ruleset).transpose()?.flatten();
    let named = [
        ("log", Some(input.as_fd())),
        ("control", theirs.as_ref().map(AsFd::as_fd)),
        ("socket", socket.as_ref().map(AsFd::as_fd)),
        ("rules", rules.as_ref().map(AsFd::as_fd)),
    ];
    let (names, descriptors): (Vec<_>, Vec<_>) =
        named.into_iter().filter_map(|(name, descriptor)| Some((name, descriptor?))).unzip();
    let command = control::Command::Fork {
        id: &launch.id,
        role,
        variables,
        directory,
        descriptors: &names,
        walls,
    };
    let limit = Duration::from_millis(FORK_MS_MAX);
    let asking = async {
        let answer = asked.fork(&command, &launch.id, &descriptors).await?;
        answer.await.map_err(|_| SpawnFailure::Other(format!("{from} ended while it forked")))
    };
    let answer = tokio::time::timeout(limit, asking).await;
    drop(descriptors);
    drop((input, theirs, socket, rules));
    let pid = match answer {
        Ok(Ok(Ok(pid))) => pid,
        Ok(Ok(Err(reason))) => return Ok(Reply::Refused(reason)),
        Ok(Err(problem)) => return Err(problem),
        Err(_) => {
            asked.give_up(&launch.id);
            return Err(format!("{from} did not answer within {FORK_MS_MAX} ms").into());
        }
    };
    // Whoever answers may run code of a model: what it says is believed of a new child of this
    // process that holds the log which was sent for it, and of no other.
    let is_child = is_own_and_unknown(shared, pid) && process::has_open(pid, inode);
    // What is said of a number that another process had before does not hold for this one.
    let end = shared.take_stranger(pid).filter(|_| !is_child);
    if !is_child && end.is_none() {
        return Err(format!("{from} gave the process {pid}, which is not what it forked").into());
    }
    if shared.stopping.get() {
        send(pid, Signal::SIGKILL);
        return Err("the supervisor is stopping".to_string().into());
    }
    let (mut forebears, mut sandbox) = (vec![], None);
    if let Some(entry) = shared.entries.borrow_mut().get_mut(from) {
        entry.process.used_at_ms = now_ms();
        forebears = entry.process.ancestors.clone();
        sandbox = entry.process.sandbox;
    }
    shared.tell_of(from);
    let of_parent = (ancestors(from, forebears), sandbox.unwrap_or(Sandbox::Off));
    let (id, limits) = (launch.id.clone(), launch.limits);
    let group = Rc::new(RefCell::new(None));
    let reply = enter(shared, launch, pid, of_parent, output, control, group.clone());
    match end {
        Some(end) => {
            tokio::task::spawn_local(reap::finish(shared.clone(), id, end));
        }
        None => attach(shared, &id, limits, pid, group),
    }
    Ok(reply)
}

/// Puts a forked process into a group of its own. Moving one can take many milliseconds in the
/// kernel, and nobody waits for it: what it shares with its parent is charged there in any case.
fn attach(
    shared: &Rc<Shared>,
    id: &ProcessId,
    limits: Limits,
    pid: u32,
    group: Rc<RefCell<Option<Group>>>,
) {
    let groups = shared.groups.clone();
    let name = id.clone();
    let attaching = tokio::task::spawn_local(async move {
        let made = tokio::task::spawn_blocking(move || {
            let made = groups.create(&name, &limits)?;
            made.attach(pid);
            Some(made)
        });
        *group.borrow_mut() = made.await.ok().flatten();
    });
    if let Some(entry) = shared.entries.borrow_mut().get_mut(id) {
        entry.attaching = Some(attaching);
    }
}

/// A parent becomes the replica: the same process, log and group under another id.
async fn serve(
    shared: &Rc<Shared>,
    launch: Launch,
    masks: Option<Arc<Masks>>,
    parent: &ProcessId,
) -> Result<Reply, SpawnFailure> {
    let asked = control_of(shared, parent)?;
    let (variables, directory) = (&launch.variables, launch.directory.as_str());
    let socket = launch.socket.as_deref().map(bound).transpose()?;
    let (names, descriptors): (&[_], Vec<_>) = match &socket {
        Some(socket) => (&["socket"], vec![socket.as_fd()]),
        None => (&[], vec![]),
    };
    let command =
        control::Command::Serve { id: &launch.id, variables, directory, descriptors: names };
    let sending = asked.send(&command, &descriptors);
    let sent = tokio::time::timeout(Duration::from_millis(FORK_MS_MAX), sending).await;
    let sent = sent
        .map_err(|error| error.to_string())
        .and_then(|sent| sent.map_err(|error| error.to_string()));
    sent.map_err(|error| format!("{parent} cannot be told to serve: {error}"))?;
    let mut entries = shared.entries.borrow_mut();
    let mut entry =
        entries.remove(parent).ok_or_else(|| format!("{parent} ended before it served"))?;
    entry.output.rename(PathBuf::from(&launch.log));
    entry.output.mask(masks);
    entry.failure = launch.variables.get(FAILURE).map(PathBuf::from);
    entry.process = Process {
        id: launch.id.clone(),
        role: launch.role,
        pid: entry.process.pid,
        socket: launch.socket,
        plain_path: launch.plain_path,
        temperature: launch.temperature,
        colder_because: launch.colder_because,
        ancestors: ancestors(parent, entry.process.ancestors),
        ready: None,
        sandbox: entry.process.sandbox,
        masked: Some(masked(&entry.output)),
        known: None,
        used_at_ms: now_ms(),
        ended: entry.process.ended,
    };
    let process = entry.process.clone();
    entries.insert(launch.id.clone(), entry);
    drop(entries);
    shared.tell(|| super::protocol::Message::Forgotten(parent.clone()));
    shared.tell_of(&launch.id);
    Ok(Reply::Started(Box::new(process)))
}

/// How many secrets are kept out of a log.
fn masked(output: &Output) -> u32 {
    output.masks().map_or(0, |masks| masks.secrets().len() as u32)
}

/// A process and its own ancestors.
fn ancestors(of: &ProcessId, further: Vec<ProcessId>) -> Vec<ProcessId> {
    [of.clone()].into_iter().chain(further).collect()
}

/// Whether a process is a child of this one that nobody has named so far, with a group of its own.
fn is_own_and_unknown(shared: &Shared, pid: u32) -> bool {
    let own = std::process::id();
    let is_child = |line: process::Line| line.parent == own && line.group == pid;
    process::line(pid).is_some_and(is_child) && shared.by_pid(pid).is_none()
}

fn control_of(shared: &Rc<Shared>, id: &ProcessId) -> Result<Rc<ControlSocket>, String> {
    let entries = shared.entries.borrow();
    let entry = entries.get(id).ok_or_else(|| format!("there is no process {id}"))?;
    let usable = entry.process.role.is_forked_from() && entry.process.ended.is_none();
    entry
        .control
        .clone()
        .filter(|_| usable)
        .ok_or_else(|| format!("{id} cannot be forked from any more"))
}

/// Hears what a parent or zygote says, until it closes its socket.
async fn listen(shared: Rc<Shared>, id: ProcessId, control: Rc<ControlSocket>) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        match control.receive(&mut buffer).await {
            Ok(Some(Word::Ready(ready))) => {
                if let Some(entry) = shared.entries.borrow_mut().get_mut(&id) {
                    entry.process.ready = Some(ready);
                }
                shared.tell_of(&id);
            }
            Ok(Some(Word::Forked { id: forked, pid })) => {
                if !control.settle(&forked, Ok(pid)) {
                    eprintln!("supervise: {id} forked {forked} too late; it is ended");
                    if is_own_and_unknown(&shared, pid) {
                        send(pid, Signal::SIGKILL);
                    }
                }
            }
            Ok(Some(Word::Refused { id: forked, reason })) => {
                control.settle(&forked, Err(reason));
            }
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                eprintln!("supervise: {id} says what nobody understands: {error}")
            }
            Err(error) => {
                eprintln!("supervise: the control socket of {id} is of no use any more: {error}");
                break;
            }
        }
    }
    if control.close() > 0 {
        // It may have forked and not lived to tell it.
        tokio::task::spawn_local(end_strays(shared));
    }
}
