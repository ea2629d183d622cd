//! What a placement's requests came to in a short time, as far as the placement answers for it.

use domain::LatencyHistogram;
use domain::record::{Blame, Record, blame};

/// Requests of a placement.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Bucket {
    /// Of those that were answered: the time in the queue and at the model. Those whose caller hung
    /// up are in it with the age that they had.
    pub latency: LatencyHistogram,
    /// Requests that it failed.
    pub failed: u64,
    /// Requests that it answered or failed.
    pub judged: u64,
}

impl Bucket {
    /// Takes in a request that was no copy.
    pub(crate) fn take(&mut self, record: &Record) {
        let blame = blame(record.status, record.code);
        if blame == Blame::Others {
            return;
        }
        if blame != Blame::Abandoned {
            self.judged += 1;
            self.failed += u64::from(blame == Blame::Placement);
        }
        // How long a caller takes to send and to read is not the model's time.
        let own_us = u64::from(record.queue_us) + u64::from(record.worker_us);
        let us = if own_us == 0 { u64::from(record.total_us) } else { own_us };
        // One that failed at once was not fast.
        if blame != Blame::Placement || record.code == "deadline" {
            self.latency.record_us(us);
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Bucket) {
        self.latency.merge(&other.latency);
        self.failed += other.failed;
        self.judged += other.judged;
    }
}
