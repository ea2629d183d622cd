//! How many records were kept, and how many were not.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ring::Ring;

/// How many records there were since the start of the process; of what found no room, since its
/// memory was made, which a successor takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeeperCounts {
    /// Written.
    pub kept: u64,
    /// Not written, because there was no room in memory.
    pub dropped: u64,
    /// Written without their values, for the same reason.
    pub without_values: u64,
    /// Not written, because the disk took none.
    pub lost: u64,
    /// Bytes that wait in memory.
    pub waiting_bytes: u64,
}

/// What the keeper's thread counts.
#[derive(Default)]
pub(super) struct Counters {
    kept: AtomicU64,
    lost: AtomicU64,
}

impl Counters {
    /// So many more were written.
    pub fn keep(&self, records: u64) {
        self.kept.fetch_add(records, Ordering::Relaxed);
    }

    /// So many more were not.
    pub fn lose(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// As of now.
    pub fn read(&self, ring: &Ring) -> KeeperCounts {
        let dropped = ring.dropped();
        KeeperCounts {
            kept: self.kept.load(Ordering::Relaxed),
            dropped: dropped.records,
            without_values: dropped.values,
            lost: self.lost.load(Ordering::Relaxed),
            waiting_bytes: ring.used(),
        }
    }
}
