//! Looks after limits where no control group does.

use std::rc::Rc;

use nix::sys::signal::Signal;

use crate::groups::{Controller, out_of_memory};
use crate::process::{memory_mb_of_groups, table};
use crate::table::{Shared, send};

/// Ends processes that are above a limit.
pub fn watch(shared: &Rc<Shared>) {
    let mut entries = shared.entries.borrow_mut();
    let is_free = |entry: &super::table::Entry, controller| {
        entry.process.ended.is_none()
            && !entry.group.borrow().as_ref().is_some_and(|group| group.enforces(controller))
    };
    let by_memory: Vec<u32> = entries
        .values()
        .filter(|entry| entry.limits.memory_mb_max.is_some() && is_free(entry, Controller::Memory))
        .map(|entry| entry.process.pid)
        .collect();
    let memory = memory_mb_of_groups(&by_memory);
    let by_count = entries
        .values()
        .any(|entry| entry.limits.processes_max.is_some() && is_free(entry, Controller::Processes));
    let lines = if by_count { table() } else { vec![] };
    for entry in entries.values_mut() {
        let pid = entry.process.pid;
        let reason =
            match (memory.get(&pid), entry.limits.memory_mb_max, entry.limits.processes_max) {
                (Some(used), Some(limit), _) if *used > limit as f64 => {
                    Some(out_of_memory(*used, limit))
                }
                (_, _, Some(limit)) if is_free(entry, Controller::Processes) => {
                    let count: u32 = lines
                        .iter()
                        .filter(|line| line.group == pid)
                        .map(|line| line.threads)
                        .sum();
                    (count > limit).then(|| {
                        format!(
                            "too many processes: it had {count} processes and threads of {limit}"
                        )
                    })
                }
                _ => None,
            };
        if let Some(reason) = reason {
            entry.killed_for = Some(reason);
            send(pid, Signal::SIGKILL);
        }
    }
}
