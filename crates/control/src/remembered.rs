//! What control remembers of replicas beside the state: nothing that a restart must not lose.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::route::ModelRoutes;
use domain::{Digest, EnvironmentName, ModelKey, Placement, Problem, ReplicaId, VersionNumber};
use engine::ReplicaStatus;
use parking_lot::Mutex;
use policy::backoff;
use policy::scale::StartupTime;

use crate::changes::Changes;
use crate::wanted::AllWanted;

/// Events about replicas of one placement within [`EVENTS_MS`]; more are only logged.
const EVENTS_MAX: usize = 10;
const EVENTS_MS: u64 = 60_000;
/// Between two roll-outs of changed variables to the same version, in milliseconds: of those that
/// come faster only the last is carried out.
const ROLL_OUT_MS: u64 = 500;

/// What control remembers of replicas beside the state: nothing that a restart must not lose.
pub struct Replicas {
    writer_epoch: AtomicU64,
    count: AtomicU64,
    /// What changes routes.
    pub changes: Changes,
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
    /// Those that have ended by themselves and are still in the engine's list.
    ended: HashSet<ReplicaId>,
    /// Those whose readiness is in the ledger, or need not be, with the requests of their placement
    /// until then.
    announced: HashMap<ReplicaId, u64>,
    /// The revision that each version was started under last, and when.
    rolled_out: HashMap<VersionPlace, (u32, Instant)>,
    failures: HashMap<Placement, Failures>,
    /// How many are about to be started.
    pending: HashMap<Placement, i64>,
    /// How long replicas take to be ready.
    start_up: HashMap<Placement, StartupTime>,
}

/// A version in an environment, whatever its variables.
type VersionPlace = (ModelKey, EnvironmentName, VersionNumber, Digest);

fn place_of(placement: &Placement) -> VersionPlace {
    (placement.model.clone(), placement.environment.clone(), placement.version, placement.digest)
}

/// How a replica came to its end.
#[derive(Clone, Debug)]
pub enum ReplicaFailure {
    /// It never became ready.
    Start(Problem),
    /// This machine could not start it.
    Local,
    /// It answered, for so long, and ended while it did; to start another takes so long. In
    /// milliseconds.
    Died {
        /// Since it was ready.
        lived_ms: u64,
        /// Of the next.
        startup_ms: u64,
    },
    /// It was ready, and ended although nobody asked it for anything.
    Idle,
}

#[derive(Default)]
struct Failures {
    /// Starts that failed, and ends without a cause, since a replica was healthy.
    in_a_row: u32,
    /// Why the last start failed, until a replica is ready.
    problem: Option<Problem>,
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
            changes: Changes::default(),
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

    /// Those that are on their way out.
    pub fn leaving(&self) -> Vec<ReplicaId> {
        self.inner.lock().leaving.iter().cloned().collect()
    }

    /// Takes note that a replica is on its way out. `false` if it was before.
    pub fn set_leaving(&self, replica: &ReplicaId) -> bool {
        let is_new = self.inner.lock().leaving.insert(replica.clone());
        self.changes.tell();
        is_new
    }

    /// Takes note of routes that come into force.
    pub fn routed(&self, routes: &ModelRoutes) {
        let mut inner = self.inner.lock();
        for replica in routes.placements.iter().flat_map(|route| &route.replicas) {
            inner.routed.insert(replica.replica.clone());
        }
    }

    /// The gateway has nothing in flight there any more.
    pub fn returned(&self, replica: &ReplicaId) {
        self.inner.lock().returned.insert(replica.clone());
    }

    /// The gateway could not use it.
    pub fn broken(&self, replica: &ReplicaId, reason: String) {
        self.inner.lock().broken.insert(replica.clone(), reason);
        self.changes.tell();
    }

    /// Takes note that a replica has ended by itself; `false` if that is known already.
    pub fn ends(&self, replica: &ReplicaId) -> bool {
        self.inner.lock().ended.insert(replica.clone())
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
        if inner.announced.insert(replica.clone(), 0).is_none() && elapsed_ms > 0 {
            inner.start_up.entry(placement.clone()).or_default().observe(elapsed_ms);
        }
    }

    /// When the next start is due, of those that were not due at `since`: those that were have been
    /// looked at.
    pub fn next_start(&self, since: Instant) -> Option<Instant> {
        let inner = self.inner.lock();
        inner
            .failures
            .values()
            .filter_map(|failures| failures.restart_at)
            .filter(|at| *at > since)
            .min()
    }

    /// Forgets what is known of placements that may have no replicas any more.
    pub(crate) fn retain(&self, wanted: &AllWanted) {
        let mut inner = self.inner.lock();
        inner.failures.retain(|placement, _| wanted.get(placement).is_some());
        inner.start_up.retain(|placement, _| wanted.get(placement).is_some());
        inner.rolled_out.retain(|_, (_, at)| at.elapsed() < Duration::from_millis(ROLL_OUT_MS));
    }

    /// Counts a failure. Gives the wait before the next start, and whether it should be an event.
    pub fn failed(&self, placement: &Placement, failure: ReplicaFailure) -> (u64, bool) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        self.changes.tell_of(&placement.model);
        let failures = inner.failures.entry(placement.clone()).or_default();
        let wait_ms = match failure {
            ReplicaFailure::Local => backoff::LOCAL_MS,
            ReplicaFailure::Died { lived_ms, startup_ms } => {
                failures.last = (Some(now), failures.last.0);
                backoff::replace_in_ms(lived_ms, startup_ms)
            }
            ReplicaFailure::Start(_) | ReplicaFailure::Idle => {
                let healthy_ms = failures
                    .ready_since
                    .map_or(0, |since| now.duration_since(since).as_millis() as u64);
                failures.in_a_row =
                    if healthy_ms > backoff::HEALTHY_MS { 1 } else { failures.in_a_row + 1 };
                failures.last = (Some(now), failures.last.0);
                backoff::restart_in_ms(failures.in_a_row)
            }
        };
        failures.ready_since = None;
        if let ReplicaFailure::Start(problem) = failure {
            failures.problem = Some(problem);
        }
        failures.restart_at = Some(now + Duration::from_millis(wait_ms));
        (wait_ms, failures.may_tell(now))
    }

    /// Whether a replica may be started now: the wait after a failure is over, and no other
    /// variables of the same version were just rolled out.
    pub fn may_start(&self, placement: &Placement) -> bool {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        let Inner { failures, rolled_out, .. } = &mut *inner;
        if failures
            .get(placement)
            .and_then(|failures| failures.restart_at)
            .is_some_and(|at| at > now)
        {
            return false;
        }
        let last = rolled_out.entry(place_of(placement)).or_insert((placement.revision, now));
        let next = last.1 + Duration::from_millis(ROLL_OUT_MS);
        if last.0 != placement.revision && next > now {
            failures.entry(placement.clone()).or_default().restart_at = Some(next);
            return false;
        }
        *last = (placement.revision, now);
        true
    }

    /// Why the last start of a placement failed, if no replica was ready since.
    pub fn problem(&self, placement: &Placement) -> Option<Problem> {
        self.inner.lock().failures.get(placement).and_then(|failures| failures.problem.clone())
    }

    /// Whether replicas of a placement do not stay up: two in a row have failed since then, and
    /// none was ready after that. What befell the version before says nothing of an attempt that
    /// begins now.
    pub fn has_failed_since(&self, placement: &Placement, since: Instant) -> bool {
        let inner = self.inner.lock();
        let before_last = inner
            .failures
            .get(placement)
            .filter(|failures| failures.ready_since.is_none())
            .and_then(|f| f.last.1);
        before_last.is_some_and(|at| at >= since)
    }

    /// How long replicas of a placement take to be ready, in milliseconds; `None` before any was.
    pub fn start_up_ms(&self, placement: &Placement) -> Option<u64> {
        self.inner.lock().start_up.get(placement).and_then(StartupTime::expected_ms)
    }

    /// Whether requests of its placement came since a replica was ready; `arrived` came so far.
    pub fn was_asked(&self, replica: &ReplicaId, arrived: u64) -> bool {
        self.inner.lock().announced.get(replica).is_some_and(|before| arrived > *before)
    }

    /// Takes note of a ready replica, and of the requests that came for its placement so far. Gives
    /// whether it should be an event.
    pub fn ready(&self, status: &ReplicaStatus, elapsed_ms: u64, arrived: u64) -> bool {
        let mut inner = self.inner.lock();
        if inner.announced.contains_key(&status.replica) {
            return false;
        }
        inner.announced.insert(status.replica.clone(), arrived);
        // One that was found running tells nothing about starts.
        if elapsed_ms > 0 {
            inner.start_up.entry(status.placement.clone()).or_default().observe(elapsed_ms);
        }
        let failures = inner.failures.entry(status.placement.clone()).or_default();
        failures.ready_since = Some(Instant::now());
        failures.problem = None;
        self.changes.tell_of(&status.placement.model);
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
        inner.ended.remove(replica);
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

/// Replicas by what they run.
pub(crate) fn by_placement(
    statuses: &[Arc<ReplicaStatus>],
) -> HashMap<&Placement, Vec<&ReplicaStatus>> {
    let mut found: HashMap<&Placement, Vec<&ReplicaStatus>> = HashMap::new();
    statuses.iter().for_each(|status| found.entry(&status.placement).or_default().push(status));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{placement, status};

    #[test]
    fn failures_before_an_attempt_are_not_its_own() {
        let replicas = Replicas::new(1);
        let placement = placement(0);
        let early = Instant::now();
        let died = ReplicaFailure::Died { lived_ms: 9_000, startup_ms: 10 };
        // Somebody kills two that were ready.
        for replica in ["r1-1", "r1-2"] {
            replicas.ready(&status(replica, &placement), 5, 0);
            assert_eq!(replicas.failed(&placement, died.clone()).0, 0);
        }
        assert!(replicas.has_failed_since(&placement, early));
        let begin = Instant::now();
        assert!(!replicas.has_failed_since(&placement, begin));
        replicas.failed(&placement, died.clone());
        assert!(!replicas.has_failed_since(&placement, begin), "one death is a restart");
        replicas.failed(&placement, died);
        assert!(replicas.has_failed_since(&placement, begin));
        replicas.ready(&status("r1-3", &placement), 5, 0);
        assert!(!replicas.has_failed_since(&placement, begin));
    }

    #[test]
    fn only_a_start_that_fails_backs_off() {
        let (replicas, placement) = (Replicas::new(1), placement(0));
        let problem = Problem::new(domain::Code::LoadFailed, "no");
        let waits =
            [(); 3].map(|()| replicas.failed(&placement, ReplicaFailure::Start(problem.clone())).0);
        assert_eq!(waits, [0, 100, 200]);
        assert!(!replicas.may_start(&placement) && replicas.problem(&placement) == Some(problem));
        replicas.ready(&status("r1-1", &placement), 5, 7);
        assert!(replicas.problem(&placement).is_none());
        assert!(
            replicas.was_asked(&ReplicaId("r1-1".into()), 8)
                && !replicas.was_asked(&ReplicaId("r1-1".into()), 7)
        );
        for _ in 0..50 {
            assert_eq!(
                replicas.failed(&placement, ReplicaFailure::Died { lived_ms: 2, startup_ms: 10 }).0,
                8
            );
        }
        assert_eq!(replicas.failed(&placement, ReplicaFailure::Local).0, backoff::LOCAL_MS);
        assert_eq!(
            replicas.failed(&placement, ReplicaFailure::Idle).0,
            400,
            "it counts on where it was"
        );
    }

    #[test]
    fn a_replica_ends_once_however_often_it_is_seen() {
        let (replicas, replica) = (Replicas::new(1), ReplicaId("r1-1".into()));
        assert!(replicas.ends(&replica));
        assert!(!replicas.ends(&replica), "the engine could not forget it yet");
        replicas.forget(&replica);
        assert!(!replicas.is_sent_away(&replica) && replicas.ends(&replica));
    }

    #[test]
    fn a_start_that_was_due_is_not_waited_for_again() {
        let (replicas, placement) = (Replicas::new(1), placement(0));
        let before = Instant::now();
        replicas.failed(&placement, ReplicaFailure::Idle);
        assert!(replicas.next_start(before).is_some());
        assert_eq!(replicas.next_start(Instant::now()), None, "a pass after it has seen it");
        replicas.failed(&placement, ReplicaFailure::Local);
        assert!(replicas.next_start(Instant::now()).is_some());
        replicas.retain(&AllWanted::default());
        assert_eq!(replicas.next_start(before), None, "what is gone is not started");
    }

    #[test]
    fn variables_that_change_fast_are_rolled_out_once() {
        let replicas = Replicas::new(1);
        assert!(replicas.may_start(&placement(0)) && replicas.may_start(&placement(0)));
        assert!((1..150).all(|revision| !replicas.may_start(&placement(revision))));
        let next = replicas.next_start(Instant::now()).unwrap();
        assert!(next <= Instant::now() + Duration::from_millis(ROLL_OUT_MS));
    }
}
