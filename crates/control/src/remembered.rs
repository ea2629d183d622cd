//! What control remembers of replicas, for all of its tasks: the history that `policy` plans by, and
//! which models' routes it changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{Placement, Problem, ReplicaId};
use engine::ReplicaStatus;
use parking_lot::Mutex;
use policy::replicas::{Action, History, ReplicaFailure, View};

use crate::changes::Changes;
use crate::clock::Clock;
use crate::wanted::AllWanted;

/// What control remembers of replicas.
pub struct Replicas {
    clock: Clock,
    writer_epoch: AtomicU64,
    count: AtomicU64,
    /// What changes routes.
    pub changes: Changes,
    history: Mutex<History>,
}

impl Replicas {
    /// Ids hold the writer's epoch, so that none is used twice in the life of a data directory.
    pub fn new(writer_epoch: u64, clock: Clock) -> Replicas {
        Replicas {
            clock,
            writer_epoch: AtomicU64::new(writer_epoch),
            count: AtomicU64::new(0),
            changes: Changes::default(),
            history: Mutex::default(),
        }
    }

    /// The id of the next one.
    pub fn next_id(&self) -> ReplicaId {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        ReplicaId::of(self.writer_epoch.load(Ordering::Acquire), count)
    }

    /// Ids are of another epoch from now on.
    pub fn set_epoch(&self, writer_epoch: u64) {
        self.writer_epoch.store(writer_epoch, Ordering::Release);
    }

    /// What is to be done about the replicas that are there.
    pub fn plan<'a>(&self, view: &View<'a>) -> Vec<Action<'a>> {
        let actions = self.history.lock().plan(view);
        for action in &actions {
            match action {
                Action::TellEnd { placement, .. } | Action::TellReady { placement, .. } => {
                    self.changes.tell_of(&placement.model)
                }
                Action::Drain(_) => self.changes.tell(),
                _ => {}
            }
        }
        actions
    }

    /// A start that was planned has come about, or has failed.
    pub fn start_done(&self, placement: &Placement, failure: Option<ReplicaFailure>) {
        let mut history = self.history.lock();
        if let Some(failure) = failure {
            history.failed(placement, failure, self.clock.monotonic_ms());
            self.changes.tell_of(&placement.model);
        }
        history.start_done(placement);
    }

    /// Those that are on their way out.
    pub fn leaving(&self) -> Vec<ReplicaId> {
        self.history.lock().leaving()
    }

    /// Takes note that a replica is on its way out. `false` if it was before.
    pub fn set_leaving(&self, replica: &ReplicaId) -> bool {
        let is_new = self.history.lock().leave(replica);
        self.changes.tell();
        is_new
    }

    /// The gateway could not use it.
    pub fn broken(&self, replica: &ReplicaId, reason: String) {
        self.history.lock().broken(replica, reason);
        self.changes.tell();
    }

    /// Whether it gets no requests any more.
    pub fn is_leaving(&self, replica: &ReplicaId) -> bool {
        self.history.lock().is_leaving(replica)
    }

    /// Its readiness is told by a deployment.
    pub fn announce(&self, replica: &ReplicaId, placement: &Placement, elapsed_ms: u64) {
        self.history.lock().announce(replica, placement, elapsed_ms);
    }

    /// When the next start is due on the clock that never jumps, of those that were not due at
    /// `since_ms`.
    pub fn next_start_ms(&self, since_ms: u64) -> Option<u64> {
        self.history.lock().next_start_ms(since_ms)
    }

    /// Forgets what is known of placements that may have no replicas any more.
    pub(crate) fn retain(&self, wanted: &AllWanted) {
        let now_ms = self.clock.monotonic_ms();
        self.history.lock().retain(now_ms, |placement| wanted.get(placement).is_some());
    }

    /// Why the last start of a placement failed, if no replica was ready since.
    pub fn problem(&self, placement: &Placement) -> Option<Problem> {
        self.history.lock().problem(placement).cloned()
    }

    /// Whether replicas of a placement do not stay up since then, by the clock that never jumps.
    pub fn has_failed_since(&self, placement: &Placement, since_ms: u64) -> bool {
        self.history.lock().has_failed_since(placement, since_ms)
    }

    /// How long replicas of a placement take to be ready, in milliseconds; `None` before any was.
    pub fn start_up_ms(&self, placement: &Placement) -> Option<u64> {
        self.history.lock().start_up_ms(placement)
    }

    /// Forgets one that has ended.
    pub fn forget(&self, replica: &ReplicaId) {
        self.history.lock().forget(replica);
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
