//! What running replicas were started from.

use std::collections::{HashMap, HashSet};

use domain::{Digest, ReplicaId};
use parking_lot::Mutex;

/// Trees and environments by the replica that was started from them: they stay until it has ended,
/// also if its version was removed.
#[derive(Default)]
pub(crate) struct InUse(Mutex<HashMap<ReplicaId, Vec<Digest>>>);

impl InUse {
    /// Notes what a replica is started from.
    pub fn begin(&self, replica: &ReplicaId, uses: Vec<Digest>) {
        self.0.lock().insert(replica.clone(), uses);
    }

    /// What replicas use that are among those that run.
    pub fn by(&self, running: &HashSet<ReplicaId>) -> Vec<Digest> {
        let mut table = self.0.lock();
        table.retain(|replica, _| running.contains(replica));
        table.values().flatten().copied().collect()
    }
}
