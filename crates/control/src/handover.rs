//! Hand-over: one process stops deciding and writing, another goes on with the same workers, and
//! nothing is lost between.

use std::sync::Arc;
use std::time::Duration;

use domain::{DataDirectory, Problem, ReplicaId};
use ledger::Location;
use tokio::sync::watch;

use crate::Control;
use crate::book::Book;

/// The process that this one takes over from.
pub struct Predecessor {
    /// Replicas that it is about to stop; it does so itself.
    pub leaving: Vec<ReplicaId>,
    /// Turns true when it has ended: until then it may have requests at any replica.
    pub gone: watch::Receiver<bool>,
}

/// Whether this program can read the ledger of a data directory that another process writes.
pub async fn check(data: &DataDirectory) -> Result<(), Problem> {
    Book::check(Location::of(data)).await
}

impl Control {
    /// Stops deciding and writing in favour of another process. Gives the replicas that this one
    /// goes on to stop.
    pub async fn hand_over(&self, pid: u32) -> Result<Vec<ReplicaId>, Problem> {
        self.active.send_replace(false);
        match self.book.hand_over(pid).await {
            Ok(()) => Ok(self.replicas.leaving()),
            Err(problem) => {
                self.active.send_replace(true);
                Err(problem)
            }
        }
    }

    /// Goes on after another process failed to take over.
    pub async fn resume(&self) -> Result<(), Problem> {
        self.book.resume().await?;
        self.replicas.set_epoch(self.book.writer_epoch());
        self.active.send_replace(true);
        self.work.notify_one();
        Ok(())
    }

    /// Waits while another process takes over.
    pub(crate) async fn is_active(&self) {
        let _ = self.active.subscribe().wait_for(|active| *active).await;
    }

    /// Waits until the process before this one has ended: it may still have requests at replicas
    /// that are to be stopped.
    pub(crate) async fn predecessor_is_gone(&self) {
        let Some(gone) = &self.predecessor else { return };
        let mut gone = gone.clone();
        let limit = Duration::from_millis(self.config.drain_ms_max);
        let _ = tokio::time::timeout(limit, gone.wait_for(|gone| *gone)).await;
    }

    /// Leaves a replica to the process before this one, and stops it if that did not.
    pub(crate) fn inherit(self: &Arc<Control>, replica: ReplicaId) {
        self.replicas.set_leaving(&replica);
        let control = self.clone();
        tokio::spawn(async move {
            control.predecessor_is_gone().await;
            control.stop_now(&replica).await;
        });
    }
}
