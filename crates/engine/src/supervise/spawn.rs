//! Starts processes: as programs, forked from a parent or zygote, or as a parent that serves from now on.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use domain::launch::{Launch, Limits, Origin, ProcessId, Role};
use nix::sys::signal::Signal;

use super::control::{self, Control, PACKET_BYTES_MAX, Word};
use super::log::Output;
use super::protocol::{Process, Reply};
use super::reap;
use super::table::{Entry, Shared, send};
use crate::groups::Group;
use crate::parent::now_ms;
use crate::process;

/// Of root: to write to files and folders whatever their mode.
const CAP_DAC_OVERRIDE: nix::libc::c_ulong = 1;
/// How long a parent or zygote may take to fork, in milliseconds.
const FORK_MS_MAX: u64 = 5_000;

/// Starts what a launch describes.
pub async fn spawn(shared: &Rc<Shared>, launch: Launch) -> Result<Reply, String> {
    if shared.stopping.get() {
        return Err("the supervisor is stopping".into());
    }
    if shared.is_used(&launch.id) {
        return Err(format!("{} was started before", launch.id));
    }
    match launch.origin.clone() {
        Origin::Program(argv) => program(shared, launch, &argv),
        Origin::Serve(parent) => serve(shared, launch, &parent).await,
        Origin::Fork(from) => {
            let id = launch.id.clone();
            shared.reserved.borrow_mut().push(id.clone());
            let result = fork(shared, launch, &from).await;
            shared.reserved.borrow_mut().retain(|reserved| *reserved != id);
            result
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// As a program of its own.
fn program(shared: &Rc<Shared>, launch: Launch, argv: &[String]) -> Result<Reply, String> {
    let program = argv.first().ok_or("the launch has no program")?;
    let (output, input) = io::pipe().map_err(text)?;
    let error_input = input.try_clone().map_err(text)?;
    let output = Output::collect(output.into(), PathBuf::from(&launch.log)).map_err(text)?;
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
    if let Some(number) = inherited {
        command.env("DECALOG_CONTROL", number.to_string());
    }
    // SAFETY: only async-signal-safe calls between fork and exec, on descriptors that live until after it.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?;
            // What is read-only is so for root's models, too. Others do not have the right, and may not give it up either.
            nix::libc::prctl(nix::libc::PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
            // Also what this supervisor inherited itself: a parent with an unknown descriptor could not be forked from.
            nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, nix::libc::CLOSE_RANGE_CLOEXEC);
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
            return Err(format!("`{program}` could not be started: {error}"));
        }
    };
    let group = Rc::new(RefCell::new(group));
    Ok(enter(shared, launch, pid, vec![], output, control, group))
}

/// Parents and zygotes get a socket to be asked through.
fn control_for(role: &Role) -> Result<(Option<Rc<Control>>, Option<OwnedFd>), String> {
    if !role.is_forked_from() {
        return Ok((None, None));
    }
    let (ours, theirs) = control::pair().map_err(text)?;
    Ok((Some(Rc::new(ours)), Some(theirs)))
}

/// Puts a new process into the list, and tells of it.
fn enter(
    shared: &Rc<Shared>,
    launch: Launch,
    pid: u32,
    ancestors: Vec<ProcessId>,
    output: Rc<Output>,
    control: Option<Rc<Control>>,
    group: Rc<RefCell<Option<Group>>>,
) -> Reply {
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
        used_at_ms: now_ms(),
        ended: None,
    };
    let entry = Entry {
        process: process.clone(),
        limits: launch.limits,
        killed_for: None,
        output,
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
async fn fork(shared: &Rc<Shared>, launch: Launch, from: &ProcessId) -> Result<Reply, String> {
    let asked = control_of(shared, from)?;
    let (output, input) = io::pipe().map_err(text)?;
    let output = Output::collect(output.into(), PathBuf::from(&launch.log)).map_err(text)?;
    let (control, theirs) = control_for(&launch.role)?;
    let role = if launch.role.is_forked_from() { "parent" } else { "worker" };
    let (variables, directory) = (&launch.variables, launch.directory.as_str());
    let command = control::Command::Fork { id: &launch.id, role, variables, directory };
    let descriptors: Vec<_> = [Some(input.as_fd()), theirs.as_ref().map(AsFd::as_fd)].into_iter().flatten().collect();
    let limit = Duration::from_millis(FORK_MS_MAX);
    let asking = async {
        let answer = asked.fork(&command, &launch.id, &descriptors).await.map_err(text)?;
        answer.await.map_err(|_| format!("{from} ended while it forked"))
    };
    let answer = tokio::time::timeout(limit, asking).await;
    drop(descriptors);
    drop((input, theirs));
    let pid = match answer {
        Ok(Ok(Ok(pid))) => pid,
        Ok(Ok(Err(reason))) => return Ok(Reply::Refused(reason)),
        Ok(Err(problem)) => return Err(problem),
        Err(_) => {
            asked.give_up(&launch.id);
            return Err(format!("{from} did not answer within {FORK_MS_MAX} ms"));
        }
    };
    let is_child = process::line(pid).is_some_and(|line| line.parent == std::process::id());
    // What is said of a number that another process had before does not hold for this one.
    let end = shared.take_stranger(pid).filter(|_| !is_child);
    if !is_child && end.is_none() {
        send(pid, Signal::SIGKILL);
        return Err(format!("{from} gave the process {pid}, which is no child of the supervisor"));
    }
    if shared.stopping.get() {
        send(pid, Signal::SIGKILL);
        return Err("the supervisor is stopping".into());
    }
    let mut forebears = vec![];
    if let Some(entry) = shared.entries.borrow_mut().get_mut(from) {
        entry.process.used_at_ms = now_ms();
        forebears = entry.process.ancestors.clone();
    }
    shared.tell_of(from);
    let forebears = ancestors(from, forebears);
    let (id, limits) = (launch.id.clone(), launch.limits);
    let group = Rc::new(RefCell::new(None));
    let reply = enter(shared, launch, pid, forebears, output, control, group.clone());
    match end {
        Some(end) => {
            tokio::task::spawn_local(reap::finish(shared.clone(), id, end));
        }
        None => attach(shared, &id, limits, pid, group),
    }
    Ok(reply)
}

/// Puts a forked process into a group of its own. Moving one can take many milliseconds in the kernel, and nobody waits
/// for it: what it shares with its parent is charged there in any case.
fn attach(shared: &Rc<Shared>, id: &ProcessId, limits: Limits, pid: u32, group: Rc<RefCell<Option<Group>>>) {
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
async fn serve(shared: &Rc<Shared>, launch: Launch, parent: &ProcessId) -> Result<Reply, String> {
    let asked = control_of(shared, parent)?;
    let (variables, directory) = (&launch.variables, launch.directory.as_str());
    let command = control::Command::Serve { id: &launch.id, variables, directory };
    let sent = tokio::time::timeout(Duration::from_millis(FORK_MS_MAX), asked.send(&command, &[])).await;
    sent.map_err(text)
        .and_then(|sent| sent.map_err(text))
        .map_err(|error| format!("{parent} cannot be told to serve: {error}"))?;
    let mut entries = shared.entries.borrow_mut();
    let mut entry = entries.remove(parent).ok_or_else(|| format!("{parent} ended before it served"))?;
    entry.output.rename(PathBuf::from(&launch.log));
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

/// A process and its own ancestors.
fn ancestors(of: &ProcessId, further: Vec<ProcessId>) -> Vec<ProcessId> {
    [of.clone()].into_iter().chain(further).collect()
}

fn control_of(shared: &Rc<Shared>, id: &ProcessId) -> Result<Rc<Control>, String> {
    let entries = shared.entries.borrow();
    let entry = entries.get(id).ok_or_else(|| format!("there is no process {id}"))?;
    let usable = entry.process.role.is_forked_from() && entry.process.ended.is_none();
    entry.control.clone().filter(|_| usable).ok_or_else(|| format!("{id} cannot be forked from any more"))
}

/// Hears what a parent or zygote says, until it closes its socket.
async fn listen(shared: Rc<Shared>, id: ProcessId, control: Rc<Control>) {
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
                    send(pid, Signal::SIGKILL);
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
        end_strays(&shared);
    }
}

/// Ends children of the supervisor that nobody knows: leaders of a group in its own session, as forked processes are.
fn end_strays(shared: &Rc<Shared>) {
    let own = std::process::id();
    let Some(session) = process::line(own).map(|line| line.session) else { return };
    for line in process::table() {
        let is_forked = line.parent == own && line.group == line.pid && line.session == session;
        if is_forked && shared.by_pid(line.pid).is_none() {
            eprintln!("supervise: process {} was forked by a parent that has ended; it is ended too", line.pid);
            send(line.pid, Signal::SIGKILL);
        }
    }
}
