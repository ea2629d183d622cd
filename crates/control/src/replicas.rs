//! What control remembers of replicas beside the state: nothing that a restart must not lose.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::route::RouteTable;
use domain::{Placement, ReplicaId};
use engine::ReplicaStatus;
use parking_lot::Mutex;
use policy::backoff;
use policy::scale::StartupTime;

/// Events about replicas of one placement within [`EVENTS_MS`]; more are only logged.
const EVENTS_MAX: usize = 10;
const EVENTS_MS: u64 = 60_000;

/// What control remembers of replicas beside the state: nothing that a restart must not lose.
pub struct Replicas {
    writer_epoch: AtomicU64,
    count: AtomicU64,
    /// Counts what changes routes.
    changes: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Those that were ever in a route table.
    routed: HashSet<ReplicaId>,
    /// Those that the gateway has given back.
    returned: HashSet<ReplicaId>,
    /// Those that must be replaced, and why.
    broken: HashMap<ReplicaId, String>,
    /// Those that are on their way out.
    leaving: HashSet<ReplicaId>,
    /// Those whose readiness is in the ledger, or need not be.
    announced: HashSet<ReplicaId>,
    failures: HashMap<Placement, Failures>,
    /// How many are about to be started.
    pending: HashMap<Placement, i64>,
    /// How long replicas take to be ready.
    start_up: HashMap<Placement, StartupTime>,
}

#[derive(Default)]
struct Failures {
    in_a_row: u32,
    restart_at: Option<Instant>,
    ready_since: Option<Instant>,
    /// When the last failure was, and the one before it.
    last: (Option<Instant>, Option<Instant>),
    events: Vec<Instant>,
}

impl Replicas {
    /// Ids hold the writer's epoch, so that none is used twice in the life of a data directory.
    pub fn new(writer_epoch: u64) -> Replicas {
        Replicas {
            writer_epoch: AtomicU64::new(writer_epoch),
            count: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            inner: Mutex::default(),
        }
    }

    /// The id of the next one.
    pub fn next_id(&self) -> ReplicaId {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        ReplicaId(format!("r{}-{count}", self.writer_epoch.load(Ordering::Acquire)))
    }

    /// Ids are of another epoch from now on.
    pub fn set_epoch(&self, writer_epoch: u64) {
        self.writer_epoch.store(writer_epoch, Ordering::Release);
    }

    /// How many replicas of each placement are about to be started.
    pub fn pending(&self) -> HashMap<Placement, i64> {
        self.inner.lock().pending.clone()
    }

    /// Counts those that are about to be started.
    pub fn set_pending(&self, placement: &Placement, change: i64) {
        let mut inner = self.inner.lock();
        let pending = inner.pending.entry(placement.clone()).or_default();
        *pending += change;
        if *pending == 0 {
            inner.pending.remove(placement);
        }
    }

    /// Grows with each change that routes depend on.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Those that are on their way out.
    pub fn leaving(&self) -> Vec<ReplicaId> {
        self.inner.lock().leaving.iter().cloned().collect()
    }

    /// Takes note that a replica is on its way out. `false` if it was before.
    pub fn set_leaving(&self, replica: &ReplicaId) -> bool {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.inner.lock().leaving.insert(replica.clone())
    }

    /// Takes note of a table in force.
    pub fn routed(&self, table: &RouteTable) {
        let mut inner = self.inner.lock();
        for replica in table.placements.iter().flat_map(|route| &route.replicas) {
            inner.routed.insert(replica.replica.clone());
        }
    }

    /// The gateway has nothing in flight there any more.
    pub fn returned(&self, replica: &ReplicaId) {
        self.inner.lock().returned.insert(replica.clone());
    }

    /// The gateway could not use it.
    pub fn broken(&self, replica: &ReplicaId, reason: String) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.inner.lock().broken.insert(replica.clone(), reason);
    }

    /// Whether it was told to go.
    pub fn is_sent_away(&self, replica: &ReplicaId) -> bool {
        self.inner.lock().leaving.contains(replica)
    }

    /// Why it must be replaced, if it must.
    pub fn why_broken(&self, replica: &ReplicaId) -> Option<String> {
        self.inner.lock().broken.get(replica).cloned()
    }

    /// Whether the gateway has no request there: it never had it, or has given it back.
    pub fn is_free(&self, replica: &ReplicaId) -> bool {
        let inner = self.inner.lock();
        !inner.routed.contains(replica) || inner.returned.contains(replica)
    }

    /// Whether it gets no requests any more.
    pub fn is_leaving(&self, replica: &ReplicaId) -> bool {
        let inner = self.inner.lock();
        inner.leaving.contains(replica) || inner.broken.contains_key(replica)
    }

    /// Its readiness is told by a deployment.
    pub fn announce(&self, replica: &ReplicaId, placement: &Placement, elapsed_ms: u64) {
        let mut inner = self.inner.lock();
        if inner.announced.insert(replica.clone()) && elapsed_ms > 0 {
            inner.start_up.entry(placement.clone()).or_default().observe(elapsed_ms);
        }
    }

    /// How long until a restart is due.
    pub fn next_restart(&self) -> Duration {
        let now = Instant::now();
        let inner = self.inner.lock();
        let waits = inner.failures.values().filter_map(|failures| failures.restart_at);
        waits.map(|at| at.saturating_duration_since(now)).min().map_or(Duration::MAX, |wait| wait.max(Duration::from_millis(1)))
    }

    /// Counts a failure. Gives the wait before the next start, and whether it should be an event.
    pub fn failed(&self, placement: &Placement) -> (u64, bool) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let failures = inner.failures.entry(placement.clone()).or_default();
        let was_healthy =
            failures.ready_since.is_some_and(|since| now.duration_since(since) > Duration::from_millis(backoff::HEALTHY_MS));
        failures.in_a_row = if was_healthy { 1 } else { failures.in_a_row + 1 };
        failures.ready_since = None;
        failures.last = (Some(now), failures.last.0);
        let wait_ms = backoff::restart_in_ms(failures.in_a_row);
        failures.restart_at = Some(now + Duration::from_millis(wait_ms));
        (wait_ms, failures.may_tell(now))
    }

    /// Whether the wait before the next start is over.
    pub fn may_start(&self, placement: &Placement) -> bool {
        let mut inner = self.inner.lock();
        let Some(failures) = inner.failures.get_mut(placement) else { return true };
        if failures.restart_at.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        failures.restart_at = None;
        true
    }

    /// Whether the last replica of a placement has failed.
    pub fn has_failed(&self, placement: &Placement) -> bool {
        self.inner.lock().failures.get(placement).is_some_and(|failures| failures.in_a_row > 1 && failures.ready_since.is_none())
    }

    /// Whether replicas of a placement do not stay up: two in a row have failed since then, and none was ready after that.
    /// What befell the version before says nothing of an attempt that begins now.
    pub fn has_failed_since(&self, placement: &Placement, since: Instant) -> bool {
        let inner = self.inner.lock();
        let before_last = inner.failures.get(placement).filter(|failures| failures.ready_since.is_none()).and_then(|f| f.last.1);
        before_last.is_some_and(|at| at >= since)
    }

    /// How long replicas of a placement take to be ready, in milliseconds; `None` before any was.
    pub fn start_up_ms(&self, placement: &Placement) -> Option<u64> {
        self.inner.lock().start_up.get(placement).and_then(StartupTime::expected_ms)
    }

    /// Takes note of a ready replica. Gives whether it should be an event.
    pub fn ready(&self, status: &ReplicaStatus, elapsed_ms: u64) -> bool {
        let mut inner = self.inner.lock();
        if !inner.announced.insert(status.replica.clone()) {
            return false;
        }
        // One that was found running tells nothing about starts.
        if elapsed_ms > 0 {
            inner.start_up.entry(status.placement.clone()).or_default().observe(elapsed_ms);
        }
        let failures = inner.failures.entry(status.placement.clone()).or_default();
        failures.ready_since = Some(Instant::now());
        failures.may_tell(Instant::now())
    }

    /// Forgets one that has ended.
    pub fn forget(&self, replica: &ReplicaId) {
        let mut inner = self.inner.lock();
        inner.routed.remove(replica);
        inner.returned.remove(replica);
        inner.broken.remove(replica);
        inner.leaving.remove(replica);
        inner.announced.remove(replica);
    }
}

impl Failures {
    fn may_tell(&mut self, now: Instant) -> bool {
        self.events.retain(|at| now.duration_since(*at) < Duration::from_millis(EVENTS_MS));
        let may = self.events.len() < EVENTS_MAX;
        if may {
            self.events.push(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(replica: &str, placement: &Placement) -> ReplicaStatus {
        ReplicaStatus {
            replica: ReplicaId(replica.into()),
            placement: placement.clone(),
            pid: 1,
            socket: "/s".into(),
            state: engine::ReplicaState::Starting,
            temperature: domain::launch::Temperature::Cold,
            colder_because: None,
        }
    }

    #[test]
    fn failures_before_an_attempt_are_not_its_own() {
        let replicas = Replicas::new(1);
        let model = domain::ModelKey { project: "default".parse().unwrap(), model: "m".parse().unwrap() };
        let (environment, version) = ("production".parse().unwrap(), domain::VersionNumber(1));
        let placement = Placement { model, environment, version, digest: domain::Digest::ZERO, revision: 0 };
        let early = Instant::now();
        // Somebody kills two that were ready.
        for replica in ["r1-1", "r1-2"] {
            replicas.ready(&status(replica, &placement), 5);
            replicas.failed(&placement);
        }
        assert!(replicas.has_failed(&placement) && replicas.has_failed_since(&placement, early));
        let begin = Instant::now();
        assert!(!replicas.has_failed_since(&placement, begin));
        replicas.failed(&placement);
        assert!(!replicas.has_failed_since(&placement, begin), "one death is a restart");
        replicas.failed(&placement);
        assert!(replicas.has_failed_since(&placement, begin));
        replicas.ready(&status("r1-3", &placement), 5);
        assert!(!replicas.has_failed_since(&placement, begin));
    }
}
