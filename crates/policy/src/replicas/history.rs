//! What is remembered of replicas beside the state: nothing that a restart must not lose. All times
//! are milliseconds on a clock that never jumps.

use std::collections::{HashMap, HashSet};

use domain::{Digest, EnvironmentName, ModelKey, Placement, Problem, ReplicaId, VersionNumber};

use super::view::End;
use crate::backoff;
use crate::scale::StartupTime;

/// Events about replicas of one placement within [`EVENTS_MS`]; more are only logged.
const EVENTS_MAX: usize = 10;
const EVENTS_MS: u64 = 60_000;
/// Between two roll-outs of changed variables to the same version, in milliseconds: of those that
/// come faster only the last is carried out.
pub const ROLL_OUT_MS: u64 = 500;
/// How the gateway's words begin when a worker was gone before anybody ended it.
const ENDED_BY_ITSELF: &str = "the worker ended";

/// What is remembered of replicas beside the state.
#[derive(Default, Debug)]
pub struct History {
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
    rolled_out: HashMap<VersionPlace, (u32, u64)>,
    failures: HashMap<Placement, Failures>,
    /// How many are about to be started.
    pending: HashMap<Placement, u32>,
    /// How long replicas take to be ready.
    start_up: HashMap<Placement, StartupTime>,
}

/// A version in an environment, whatever its variables.
type VersionPlace = (ModelKey, EnvironmentName, VersionNumber, Digest);

fn place_of(placement: &Placement) -> VersionPlace {
    (placement.model.clone(), placement.environment.clone(), placement.version, placement.digest)
}

/// How a replica came to its end.
#[derive(Clone, PartialEq, Debug)]
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

#[derive(Default, Debug)]
struct Failures {
    /// Starts that failed, and ends without a cause, since a replica was healthy.
    in_a_row: u32,
    /// Why the last start failed, until a replica is ready.
    problem: Option<Problem>,
    restart_at_ms: Option<u64>,
    ready_since_ms: Option<u64>,
    /// When the last failure was, and the one before it.
    last_ms: (Option<u64>, Option<u64>),
    events_ms: Vec<u64>,
}

impl Failures {
    fn may_tell(&mut self, now_ms: u64) -> bool {
        self.events_ms.retain(|at_ms| now_ms.saturating_sub(*at_ms) < EVENTS_MS);
        let may = self.events_ms.len() < EVENTS_MAX;
        if may {
            self.events_ms.push(now_ms);
        }
        may
    }
}

impl History {
    /// How many of a placement are about to be started.
    pub fn pending(&self, placement: &Placement) -> u32 {
        self.pending.get(placement).copied().unwrap_or(0)
    }

    pub(super) fn pending_all(&self) -> u32 {
        self.pending.values().sum()
    }

    pub(super) fn start_begun(&mut self, placement: &Placement, count: u32) {
        *self.pending.entry(placement.clone()).or_default() += count;
    }

    /// One that was about to be started is in the engine's list, or will not be.
    pub fn start_done(&mut self, placement: &Placement) {
        if let Some(pending) = self.pending.get_mut(placement) {
            *pending = pending.saturating_sub(1);
            if *pending == 0 {
                self.pending.remove(placement);
            }
        }
    }

    /// Those that are on their way out.
    pub fn leaving(&self) -> Vec<ReplicaId> {
        self.leaving.iter().cloned().collect()
    }

    /// Takes note that a replica is on its way out. `false` if it was before.
    pub fn leave(&mut self, replica: &ReplicaId) -> bool {
        self.leaving.insert(replica.clone())
    }

    /// The gateway could not use it.
    pub fn broken(&mut self, replica: &ReplicaId, reason: String) {
        self.broken.insert(replica.clone(), reason);
    }

    /// Takes note that a replica has ended by itself; `false` if that is known already.
    pub(super) fn ends(&mut self, replica: &ReplicaId) -> bool {
        self.ended.insert(replica.clone())
    }

    /// Whether it was told to go.
    pub fn is_sent_away(&self, replica: &ReplicaId) -> bool {
        self.leaving.contains(replica)
    }

    /// Why it must be replaced, if it must.
    pub fn why_broken(&self, replica: &ReplicaId) -> Option<&str> {
        self.broken.get(replica).map(String::as_str)
    }

    /// Whether it gets no requests any more.
    pub fn is_leaving(&self, replica: &ReplicaId) -> bool {
        self.leaving.contains(replica) || self.broken.contains_key(replica)
    }

    /// Its readiness is told by a deployment.
    pub fn announce(&mut self, replica: &ReplicaId, placement: &Placement, elapsed_ms: u64) {
        if self.announced.insert(replica.clone(), 0).is_none() && elapsed_ms > 0 {
            self.start_up.entry(placement.clone()).or_default().observe(elapsed_ms);
        }
    }

    /// When the next start is due, of those that were not due at `since_ms`: those that were have
    /// been looked at.
    pub fn next_start_ms(&self, since_ms: u64) -> Option<u64> {
        let due = self.failures.values().filter_map(|failures| failures.restart_at_ms);
        due.filter(|at_ms| *at_ms > since_ms).min()
    }

    /// Forgets what is known of placements that may have no replicas any more.
    pub fn retain(&mut self, now_ms: u64, is_wanted: impl Fn(&Placement) -> bool) {
        self.failures.retain(|placement, _| is_wanted(placement));
        self.start_up.retain(|placement, _| is_wanted(placement));
        self.rolled_out.retain(|_, (_, at_ms)| now_ms.saturating_sub(*at_ms) < ROLL_OUT_MS);
    }

    /// Why a replica came to its end, in a few words and for what follows from it; its placement
    /// has had `arrived` requests so far.
    pub(super) fn failure(
        &self,
        replica: &ReplicaId,
        end: &End,
        arrived: u64,
    ) -> (String, ReplicaFailure) {
        // What the gateway saw tells more only where it is why the process was ended.
        let broken = self.why_broken(replica);
        let was_asked = broken.is_some() || self.was_asked(replica, arrived);
        let reason = broken.filter(|why| !why.starts_with(ENDED_BY_ITSELF)).unwrap_or(&end.reason);
        let failure = match end.lived_ms {
            None if end.local => ReplicaFailure::Local,
            None => ReplicaFailure::Start(end.problem.clone()),
            Some(lived_ms) if was_asked || end.local => {
                ReplicaFailure::Died { lived_ms, startup_ms: end.startup_ms }
            }
            Some(_) => ReplicaFailure::Idle,
        };
        (reason.to_string(), failure)
    }

    /// Counts a failure. Gives the wait before the next start in milliseconds, and whether it
    /// should be an event.
    pub fn failed(
        &mut self,
        placement: &Placement,
        failure: ReplicaFailure,
        now_ms: u64,
    ) -> (u64, bool) {
        let failures = self.failures.entry(placement.clone()).or_default();
        let wait_ms = match failure {
            ReplicaFailure::Local => backoff::LOCAL_MS,
            ReplicaFailure::Died { lived_ms, startup_ms } => {
                failures.last_ms = (Some(now_ms), failures.last_ms.0);
                backoff::replace_in_ms(lived_ms, startup_ms)
            }
            ReplicaFailure::Start(_) | ReplicaFailure::Idle => {
                let healthy_ms =
                    failures.ready_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
                failures.in_a_row =
                    if healthy_ms > backoff::HEALTHY_MS { 1 } else { failures.in_a_row + 1 };
                failures.last_ms = (Some(now_ms), failures.last_ms.0);
                backoff::restart_in_ms(failures.in_a_row)
            }
        };
        failures.ready_since_ms = None;
        if let ReplicaFailure::Start(problem) = failure {
            failures.problem = Some(problem);
        }
        failures.restart_at_ms = Some(now_ms.saturating_add(wait_ms));
        (wait_ms, failures.may_tell(now_ms))
    }

    /// Whether a replica may be started now: the wait after a failure is over, and no other
    /// variables of the same version were just rolled out.
    pub(super) fn may_start(&mut self, placement: &Placement, now_ms: u64) -> bool {
        let restart_at_ms = self.failures.get(placement).and_then(|known| known.restart_at_ms);
        if restart_at_ms.is_some_and(|at_ms| at_ms > now_ms) {
            return false;
        }
        let fresh = (placement.revision, now_ms);
        let last = self.rolled_out.entry(place_of(placement)).or_insert(fresh);
        let next_ms = last.1 + ROLL_OUT_MS;
        if last.0 != placement.revision && next_ms > now_ms {
            self.failures.entry(placement.clone()).or_default().restart_at_ms = Some(next_ms);
            return false;
        }
        *last = fresh;
        true
    }

    /// Why the last start of a placement failed, if no replica was ready since.
    pub fn problem(&self, placement: &Placement) -> Option<&Problem> {
        self.failures.get(placement).and_then(|failures| failures.problem.as_ref())
    }

    /// Whether replicas of a placement do not stay up: two in a row have failed since then, and
    /// none was ready after that. What befell the version before says nothing of an attempt that
    /// begins now.
    pub fn has_failed_since(&self, placement: &Placement, since_ms: u64) -> bool {
        let failures = self.failures.get(placement);
        let before_last = failures.filter(|failures| failures.ready_since_ms.is_none());
        before_last.and_then(|failures| failures.last_ms.1).is_some_and(|at_ms| at_ms >= since_ms)
    }

    /// How long replicas of a placement take to be ready, in milliseconds; `None` before any was.
    pub fn start_up_ms(&self, placement: &Placement) -> Option<u64> {
        self.start_up.get(placement).and_then(StartupTime::expected_ms)
    }

    /// Whether requests of its placement came since a replica was ready; `arrived` came so far.
    fn was_asked(&self, replica: &ReplicaId, arrived: u64) -> bool {
        self.announced.get(replica).is_some_and(|before| arrived > *before)
    }

    /// Takes note of a ready replica, and of the requests that came for its placement so far. Gives
    /// whether it should be an event; `None` if it is known already.
    pub(super) fn ready(
        &mut self,
        replica: &ReplicaId,
        placement: &Placement,
        elapsed_ms: u64,
        arrived: u64,
        now_ms: u64,
    ) -> Option<bool> {
        if self.announced.contains_key(replica) {
            return None;
        }
        self.announced.insert(replica.clone(), arrived);
        // One that was found running tells nothing about starts.
        if elapsed_ms > 0 {
            self.start_up.entry(placement.clone()).or_default().observe(elapsed_ms);
        }
        let failures = self.failures.entry(placement.clone()).or_default();
        failures.ready_since_ms = Some(now_ms);
        failures.problem = None;
        Some(failures.may_tell(now_ms) && elapsed_ms > 0)
    }

    /// Forgets one that has ended.
    pub fn forget(&mut self, replica: &ReplicaId) {
        self.broken.remove(replica);
        self.leaving.remove(replica);
        self.announced.remove(replica);
        self.ended.remove(replica);
    }
}
