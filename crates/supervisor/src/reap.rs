//! Collects the ends of all children: the supervisor's own, those that parents forked for it, and
//! orphans of models.

use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::launch::ProcessId;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::end::End;
use crate::table::{Entry, Shared, send};

/// How long the last words of a process are waited for, in milliseconds: something that fled the
/// group may hold its output open.
const LAST_WORDS_MS_MAX: u64 = 500;

/// How long processes may take to leave the group of the one that they were forked from, in
/// milliseconds: as long as a fork.
const MOVING_MS_MAX: u64 = 5_000;
/// How often that is looked at, in milliseconds.
const MOVING_LOOK_MS: u64 = 2;

/// Takes all children that have ended so far.
pub fn reap(shared: &Rc<Shared>) {
    loop {
        let (pid, end) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, End::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Killed(signal)),
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) => continue,
            Err(nix::errno::Errno::EINTR) => continue,
            // No children at all.
            Err(_) => return,
        };
        let pid = pid.as_raw() as u32;
        match shared.by_pid(pid) {
            Some(id) => {
                tokio::task::spawn_local(finish(shared.clone(), id, end));
            }
            None => shared.keep_stranger(pid, end),
        }
    }
}

/// Waits until what was forked from a process is known, and is out of its group: what these fork
/// themselves begins in the group that they are in, and would be ended with it before anybody knows
/// of it.
async fn moved_out(shared: &Shared, id: &ProcessId) {
    let is_moving = |entry: &Entry| {
        entry.process.ancestors.contains(id)
            && entry.attaching.as_ref().is_some_and(|attaching| !attaching.is_finished())
    };
    let end = Instant::now() + Duration::from_millis(MOVING_MS_MAX);
    while Instant::now() < end
        && (!shared.reserved.borrow().is_empty() || shared.entries.borrow().values().any(is_moving))
    {
        tokio::time::sleep(Duration::from_millis(MOVING_LOOK_MS)).await;
    }
}

/// All that follows from the end of a process: its group goes with it, and clients are told why.
pub async fn finish(shared: Rc<Shared>, id: ProcessId, end: End) {
    let taken = {
        let mut entries = shared.entries.borrow_mut();
        entries.get_mut(&id).map(|entry| {
            entry.control = None;
            let forks = entry.process.role.is_forked_from();
            (
                entry.process.pid,
                entry.output.clone(),
                entry.group.clone(),
                entry.attaching.take(),
                forks,
            )
        })
    };
    let Some((pid, output, group, attaching, forks)) = taken else { return };
    // Whatever the leader left behind goes with it.
    send(pid, Signal::SIGKILL);
    if let Some(attaching) = attaching {
        let _ = attaching.await;
    }
    let group = group.borrow_mut().take();
    if forks && group.is_some() {
        moved_out(&shared, &id).await;
    }
    let others = shared.running();
    let others: Vec<u32> = others.into_iter().filter(|other| *other != pid).collect();
    if let Some(group) = &group {
        group.kill(&others);
    }
    // Its last words first, then the news.
    let _ = tokio::time::timeout(Duration::from_millis(LAST_WORDS_MS_MAX), output.closed()).await;
    clear_failure(&shared, &known_as(&shared, id.clone(), pid)).await;
    let id = known_as(&shared, id, pid);
    {
        let mut entries = shared.entries.borrow_mut();
        let Some(entry) = entries.get_mut(&id) else { return };
        let out_of_memory = group
            .as_ref()
            .filter(|_| end == End::Killed(Signal::SIGKILL))
            .and_then(|group| group.out_of_memory());
        let reason = entry.killed_for.take().or(out_of_memory).unwrap_or_else(|| end.to_string());
        output.ended(&reason);
        entry.process.ended = Some(reason);
    }
    shared.tell_of(&id);
    if let Some(group) = group {
        let _ = tokio::task::spawn_blocking(move || group.remove(&others)).await;
    }
}

/// The id of a process that ended: it may have been about to serve under another.
fn known_as(shared: &Shared, id: ProcessId, pid: u32) -> ProcessId {
    let entries = shared.entries.borrow();
    if entries.contains_key(&id) {
        return id;
    }
    let mut running = entries.values().filter(|entry| entry.process.ended.is_none());
    running.find(|entry| entry.process.pid == pid).map_or(id, |entry| entry.process.id.clone())
}

/// Takes the secrets out of what a process wrote on why it could not start: it will be read, and
/// told to others.
async fn clear_failure(shared: &Shared, id: &ProcessId) {
    let found = {
        let entries = shared.entries.borrow();
        entries.get(id).and_then(|entry| Some((entry.output.masks()?, entry.failure.clone()?)))
    };
    let Some((masks, path)) = found else { return };
    let cleared = tokio::task::spawn_blocking(move || masks.clear(&path)).await;
    if let Ok(Err(error)) = cleared {
        eprintln!("supervise: secrets may be left in what {id} wrote of its failure: {error}");
    }
}
