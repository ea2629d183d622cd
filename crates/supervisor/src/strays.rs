//! Processes that were forked by a parent that did not live to tell it.

use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::control::FORK_MS_MAX;
use crate::process;
use crate::table::{Shared, send};

/// Ends children of the supervisor that nobody knows: leaders of a group in its own session, as
/// forked processes are. One that another parent forks at this moment becomes known within the time
/// that a fork may take.
pub async fn end_strays(shared: Rc<Shared>) {
    let own = std::process::id();
    let Some(session) = process::line(own).map(|line| line.session) else { return };
    let is_stray = |line: &process::Line| {
        let is_forked = line.parent == own && line.group == line.pid && line.session == session;
        is_forked && shared.by_pid(line.pid).is_none()
    };
    let suspects: Vec<process::Line> = process::table().into_iter().filter(is_stray).collect();
    if suspects.is_empty() {
        return;
    }
    if !shared.reserved.borrow().is_empty() {
        tokio::time::sleep(Duration::from_millis(FORK_MS_MAX)).await;
    }
    for suspect in suspects {
        let is_same = |line: &process::Line| line.started_ticks == suspect.started_ticks;
        if process::line(suspect.pid).filter(is_stray).is_some_and(|line| is_same(&line)) {
            eprintln!(
                "supervise: process {} was forked by a parent that has ended; it is ended too",
                suspect.pid
            );
            send(suspect.pid, Signal::SIGKILL);
        }
    }
}
