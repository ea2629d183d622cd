//! Hand-over: one process stops deciding and writing, another goes on with the same workers, and
//! nothing is lost between.

use domain::{DataDirectory, Problem, ReplicaId};
use ledger::Location;

use crate::Control;
use crate::state_store::StateStore;

/// Whether this program can read the ledger of a data directory that another process writes.
pub async fn check(data: &DataDirectory) -> Result<(), Problem> {
    StateStore::check(Location::of(data)).await
}

impl Control {
    /// Stops deciding and writing in favour of another process. Gives the replicas that this one
    /// goes on to stop.
    pub async fn hand_over(&self, pid: u32) -> Result<Vec<ReplicaId>, Problem> {
        self.sign().await;
        self.active.send_replace(false);
        match self.state_store.hand_over(pid).await {
            Ok(()) => Ok(self.replicas.leaving()),
            Err(problem) => {
                self.active.send_replace(true);
                Err(problem)
            }
        }
    }

    /// Goes on after another process failed to take over.
    pub async fn resume(&self) -> Result<(), Problem> {
        self.state_store.resume().await?;
        self.replicas.set_epoch(self.state_store.writer_epoch());
        self.active.send_replace(true);
        self.work.notify_one();
        Ok(())
    }

    /// Waits while another process takes over.
    pub(crate) async fn is_active(&self) {
        let _ = self.active.subscribe().wait_for(|active| *active).await;
    }
}
