//! How much memory the processes of models take. What is parked is measured a few processes at a
//! time, since the kernel counts all pages of a process for it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::Placement;
use domain::launch::ProcessId;
use engine::Engine;
use tokio::time::Instant;

use crate::Control;

/// Processes that are measured at once, with all that they started: tens of milliseconds of one core.
const MEASURED_AT_ONCE_MAX: usize = 32;
/// How long a measurement holds, in milliseconds: what is parked changes little.
const HOLDS_MS: u64 = 60_000;

/// A candidate's memory is looked at so often, …
const LOOKS: u32 = 4;
/// … so far apart, in milliseconds.
const LOOK_MS: u64 = 100;

/// The memory of each process, as measured last.
#[derive(Default)]
pub struct Memory {
    measured: HashMap<ProcessId, (f64, Instant)>,
}

impl Memory {
    /// Measures those of these processes that were measured longest ago, or never.
    pub async fn measure(&mut self, engine: &dyn Engine, processes: HashSet<ProcessId>) {
        self.measured.retain(|process, _| processes.contains(process));
        let due = self.due(&processes, Instant::now());
        if due.is_empty() {
            return;
        }
        let found = engine.memory_mb(due.clone()).await;
        let now = Instant::now();
        let measured = due.into_iter().map(|process| {
            let memory_mb = found.get(&process).copied().unwrap_or(0.0);
            (process, (memory_mb, now))
        });
        self.measured.extend(measured);
    }

    fn due(&self, wanted: &HashSet<ProcessId>, now: Instant) -> Vec<ProcessId> {
        let at = |process: &ProcessId| self.measured.get(process).map(|(_, at)| *at);
        let is_due = |process: &&ProcessId| {
            at(process).is_none_or(|at| now.duration_since(at) > Duration::from_millis(HOLDS_MS))
        };
        let mut due: Vec<ProcessId> = wanted.iter().filter(is_due).cloned().collect();
        due.sort_by_cached_key(|process| (at(process), process.clone()));
        due.truncate(MEASURED_AT_ONCE_MAX);
        due
    }

    /// Of one process, in MiB; the mean of the others until it is measured.
    pub fn of(&self, process: &ProcessId) -> u64 {
        self.measured.get(process).map_or_else(|| self.mean(), |(mb, _)| *mb) as u64
    }

    fn mean(&self) -> f64 {
        self.measured.values().map(|(mb, _)| mb).sum::<f64>() / self.measured.len().max(1) as f64
    }
}

impl Control {
    /// Memory of all replicas of a placement and of its parents together, in MiB; pages that they
    /// share count once.
    pub(crate) async fn placement_memory_mb(&self, placement: &Placement) -> f64 {
        let (replicas, templates) = (self.engine.replicas(), self.engine.templates());
        let own = replicas.iter().filter(|status| status.placement == *placement);
        let parents = templates.iter().filter(|parent| parent.role.placement() == Some(placement));
        let processes = own
            .map(|status| ProcessId::from(&status.replica))
            .chain(parents.map(|parent| parent.id.clone()));
        self.engine.memory_mb(processes.collect()).await.values().sum()
    }

    /// The most memory of several looks. What a process shares with one that was forked a moment ago
    /// is missing in the look that does not know of that one yet.
    pub(crate) async fn peak_memory_mb(&self, placement: &Placement) -> f64 {
        let mut peak_mb = 0.0_f64;
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            }
            peak_mb = peak_mb.max(self.placement_memory_mb(placement).await);
        }
        peak_mb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_a_time_and_each_in_its_turn() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let process = |number: usize| ProcessId(format!("r1-{number}"));
        let wanted: HashSet<ProcessId> = (1..=70).map(process).collect();
        let mut seen = HashSet::new();
        for expected in [32, 32, 6, 0] {
            let due = memory.due(&wanted, now);
            assert_eq!(due.len(), expected);
            assert!(due.iter().all(|process| seen.insert(process.clone())), "each once");
            let measured = due.into_iter().map(|process| {
                let number: f64 = process.0[3..].parse().unwrap();
                (process, (number, now))
            });
            memory.measured.extend(measured);
        }
        assert_eq!(
            (memory.of(&process(7)), memory.of(&process(99))),
            (7, 35),
            "what is not measured yet is like the others"
        );
        let later = now + Duration::from_millis(HOLDS_MS + 1);
        assert_eq!(memory.due(&wanted, later).len(), 32);
    }
}
