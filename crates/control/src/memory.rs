//! What is parked takes so much memory: measured a few processes at a time and apart from the
//! control plane's thread, since the kernel counts all pages of a process for it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Groups of processes that are measured at once: tens of milliseconds of one core.
const MEASURED_AT_ONCE_MAX: usize = 32;
/// How long a measurement holds, in milliseconds: what is parked changes little.
const HOLDS_MS: u64 = 60_000;

/// The memory of each group of processes, as measured last.
#[derive(Default)]
pub struct Memory {
    measured: HashMap<u32, (f64, Instant)>,
}

impl Memory {
    /// Measures those of these groups that were measured longest ago, or never.
    pub async fn measure(&mut self, groups: &[u32]) {
        let wanted: HashSet<u32> = groups.iter().copied().filter(|pid| *pid > 0).collect();
        self.measured.retain(|pid, _| wanted.contains(pid));
        let due = self.due(&wanted, Instant::now());
        if due.is_empty() {
            return;
        }
        let asked = due.clone();
        let found = tokio::task::spawn_blocking(move || engine::memory_mb_of_groups(&asked))
            .await
            .unwrap_or_default();
        let now = Instant::now();
        self.measured.extend(
            due.into_iter().map(|pid| (pid, (found.get(&pid).copied().unwrap_or(0.0), now))),
        );
    }

    fn due(&self, wanted: &HashSet<u32>, now: Instant) -> Vec<u32> {
        let at = |pid: &u32| self.measured.get(pid).map(|(_, at)| *at);
        let is_due = |pid: &u32| {
            at(pid).is_none_or(|at| now.duration_since(at) > Duration::from_millis(HOLDS_MS))
        };
        let mut due: Vec<u32> = wanted.iter().copied().filter(is_due).collect();
        due.sort_by_key(|pid| (at(pid), *pid));
        due.truncate(MEASURED_AT_ONCE_MAX);
        due
    }

    /// Of one group, in MiB; the mean of the others until it is measured.
    pub fn of(&self, pid: u32) -> u64 {
        self.measured.get(&pid).map_or_else(|| self.mean(), |(mb, _)| *mb) as u64
    }

    fn mean(&self) -> f64 {
        self.measured.values().map(|(mb, _)| mb).sum::<f64>() / self.measured.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_at_a_time_and_each_in_its_turn() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let wanted: HashSet<u32> = (1..=70).collect();
        let mut seen = HashSet::new();
        for expected in [32, 32, 6, 0] {
            let due = memory.due(&wanted, now);
            assert_eq!(due.len(), expected);
            assert!(due.iter().all(|pid| seen.insert(*pid)), "each once");
            memory.measured.extend(due.into_iter().map(|pid| (pid, (f64::from(pid), now))));
        }
        assert_eq!(
            (memory.of(7), memory.of(99)),
            (7, 35),
            "what is not measured yet is like the others"
        );
        let later = now + Duration::from_millis(HOLDS_MS + 1);
        assert_eq!(memory.due(&wanted, later).len(), 32);
        let own = own_group();
        memory.measure(&[own, 0]).await;
        assert!(memory.of(own) > 0 && memory.measured.len() == 1, "what is gone is forgotten");
    }

    fn own_group() -> u32 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().parse().unwrap()
    }
}
