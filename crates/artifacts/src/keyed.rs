//! A lock for each of many things, kept only while somebody wants it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Table<K> = HashMap<K, Weak<tokio::sync::Mutex<()>>>;

/// Locks by key.
pub(crate) struct Keyed<K> {
    locks: Mutex<(Table<K>, usize)>,
}

impl<K> Default for Keyed<K> {
    fn default() -> Keyed<K> {
        Keyed { locks: Mutex::new((HashMap::new(), 0)) }
    }
}

impl<K: Hash + Eq> Keyed<K> {
    /// Waits for the lock of a key.
    pub(crate) async fn lock(&self, key: K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            let (table, prune_at) = &mut *locks;
            if table.len() > *prune_at {
                table.retain(|_, lock| lock.strong_count() > 0);
                // So that the work for it stays in proportion to what was added.
                *prune_at = 2 * table.len() + 64;
            }
            let known = table.get(&key).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            table.insert(key, Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}
