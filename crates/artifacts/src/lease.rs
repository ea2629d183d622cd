//! Leases: what a push, a build or a backup relies on is not garbage while it lasts, whatever
//! refers to it. They live in memory and end by themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Digest;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedMutexGuard};

/// How long a push may take between asking what is missing and becoming a version, in milliseconds.
pub const PUSH_LEASE_MS_MAX: u64 = 3_600_000;
/// How long a build, a start or a backup may hold on to something, in milliseconds.
pub const WORK_LEASE_MS_MAX: u64 = 24 * 3_600_000;
/// Pushes that hold leases at the same time; the one that would end first makes room for another.
const NAMED_MAX: usize = 1_000;
/// Digests that all pushes together may hold: a few tens of megabytes.
const NAMED_DIGESTS_MAX: usize = 1_000_000;

/// Who holds a lease.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Holder {
    /// A push, by the name of its upload.
    Named(String),
    /// Something that runs in this process.
    Own(u64),
}

struct Held {
    digests: HashSet<Digest>,
    until: Instant,
}

#[derive(Default)]
struct Table {
    held: HashMap<Holder, Held>,
    /// What is being removed at this moment: whoever wants a lease on it waits, and then finds that
    /// it is gone.
    removing: HashSet<Digest>,
    /// While garbage is collected: all that was held when that began, or at any time since.
    since: Option<HashSet<Digest>>,
    next: u64,
}

impl Table {
    fn is_held(&self, digest: &Digest) -> bool {
        let now = Instant::now();
        self.held.values().any(|held| held.until > now && held.digests.contains(digest))
    }

    fn add(&mut self, holder: Holder, digests: &[Digest], limit: Duration) {
        let now = Instant::now();
        self.held.retain(|_, held| held.until > now);
        if let Holder::Named(_) = &holder {
            self.make_room(&holder, digests.len());
        }
        let held =
            self.held.entry(holder).or_insert_with(|| Held { digests: HashSet::new(), until: now });
        held.digests.extend(digests);
        held.until = now + limit;
        if let Some(since) = &mut self.since {
            since.extend(digests);
        }
    }

    /// Ends the leases of other pushes, and at last this one's earlier ones, until another may hold
    /// so many digests.
    fn make_room(&mut self, holder: &Holder, digests: usize) {
        loop {
            let named = self.held.iter().filter(|(other, _)| matches!(other, Holder::Named(_)));
            let (count, held) = named
                .fold((0, 0), |(count, held), (_, other)| (count + 1, held + other.digests.len()));
            let is_new = !self.held.contains_key(holder);
            if held + digests <= NAMED_DIGESTS_MAX && count + usize::from(is_new) <= NAMED_MAX {
                return;
            }
            let named = self.held.iter().filter(|(other, _)| matches!(other, Holder::Named(_)));
            let first = named
                .min_by_key(|(other, held)| (*other == holder, held.until))
                .map(|(other, _)| other.clone());
            let Some(first) = first else { return };
            self.held.remove(&first);
        }
    }
}

/// All leases of a store.
#[derive(Clone, Default)]
pub struct Leases {
    table: Arc<Mutex<Table>>,
    freed: Arc<Notify>,
    collecting: Arc<tokio::sync::Mutex<()>>,
}

impl Leases {
    /// Holds these until the lease is dropped, or its time is up. What is being removed is gone
    /// when this returns.
    pub async fn hold(&self, digests: Vec<Digest>) -> Lease {
        let number = {
            let mut table = self.table.lock();
            table.next += 1;
            table.next
        };
        let holder = Holder::Own(number);
        let lease = Lease { leases: self.clone(), holder: holder.clone() };
        self.take(holder, &digests, Duration::from_millis(WORK_LEASE_MS_MAX)).await;
        lease
    }

    /// Holds these for a push that may ask again, until it is [released](Leases::release) or its
    /// time is up.
    pub async fn hold_for(&self, push: &str, digests: &[Digest]) {
        self.take(Holder::Named(push.into()), digests, Duration::from_millis(PUSH_LEASE_MS_MAX))
            .await;
    }

    /// Ends what a push holds.
    pub fn release(&self, push: &str) {
        self.table.lock().held.remove(&Holder::Named(push.into()));
    }

    async fn take(&self, holder: Holder, digests: &[Digest], limit: Duration) {
        loop {
            let freed = self.freed.notified();
            {
                let mut table = self.table.lock();
                if !digests.iter().any(|digest| table.removing.contains(digest)) {
                    table.add(holder, digests, limit);
                    return;
                }
            }
            // A removal is one call to the disk or the object store.
            let _ = tokio::time::timeout(Duration::from_secs(1), freed).await;
        }
    }

    /// Begins to collect garbage, once nobody else does. Whatever is referred to after this was
    /// held after it, so that the collection needs to ask what is referred to only once.
    pub async fn collection(&self) -> Collection {
        let alone = self.collecting.clone().lock_owned().await;
        let mut table = self.table.lock();
        // Also what is held already: its holder may come to refer to it after the collection has
        // asked what is referred to.
        let held: HashSet<Digest> =
            table.held.values().flat_map(|held| held.digests.iter().copied()).collect();
        table.since = Some(held);
        drop(table);
        Collection { leases: self.clone(), _alone: alone }
    }
}

/// Garbage is being collected as long as it lives.
pub struct Collection {
    leases: Leases,
    _alone: OwnedMutexGuard<()>,
}

impl Collection {
    /// Begins to remove something that nothing referred to after the collection began, unless
    /// somebody has held it since.
    pub fn begin_removal(&self, digest: &Digest) -> Option<Removal> {
        let mut table = self.leases.table.lock();
        let was_held = table.since.as_ref().is_none_or(|since| since.contains(digest));
        if was_held || table.is_held(digest) {
            return None;
        }
        table.removing.insert(*digest);
        Some(Removal { leases: self.leases.clone(), digest: *digest })
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.leases.table.lock().since = None;
    }
}

/// Held as long as it lives.
pub struct Lease {
    leases: Leases,
    holder: Holder,
}

impl Lease {
    /// Holds these as well.
    pub async fn add(&self, digests: &[Digest]) {
        self.leases
            .take(self.holder.clone(), digests, Duration::from_millis(WORK_LEASE_MS_MAX))
            .await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.table.lock().held.remove(&self.holder);
    }
}

/// Keeps others from relying on what is being removed.
pub struct Removal {
    leases: Leases,
    digest: Digest,
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.leases.table.lock().removing.remove(&self.digest);
        self.leases.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_not_removed_and_what_is_removed_is_waited_for() {
        let leases = Leases::default();
        let (one, two, three) = (Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3"));
        let lease = leases.hold(vec![one]).await;
        lease.add(&[two]).await;
        leases.hold_for("push", &[two]).await;
        let collection = leases.collection().await;
        assert!(collection.begin_removal(&one).is_none());
        drop(lease);
        assert!(collection.begin_removal(&one).is_none(), "it may be referred to by now");
        drop(leases.hold(vec![three]).await);
        assert!(collection.begin_removal(&three).is_none(), "so may this");
        drop(collection);
        let collection = leases.collection().await;
        assert!(collection.begin_removal(&two).is_none(), "the push goes on");
        let removal = collection.begin_removal(&one).unwrap();
        let holding = leases.clone();
        let mut holding = Box::pin(async move { holding.hold(vec![one]).await });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(holding.as_mut().poll(&mut context).is_pending());
        drop(removal);
        drop(holding.await);
        leases.release("push");
        drop(collection);
        let collection = leases.collection().await;
        assert!([one, two, three].iter().all(|digest| collection.begin_removal(digest).is_some()));
    }

    #[tokio::test]
    async fn endless_pushes_hold_a_bounded_number_of_leases() {
        let leases = Leases::default();
        for number in 0..2 * NAMED_MAX {
            leases.hold_for(&number.to_string(), &[Digest::of(&number.to_le_bytes())]).await;
        }
        assert_eq!(leases.table.lock().held.len(), NAMED_MAX);
        let collection = leases.collection().await;
        assert!(collection.begin_removal(&Digest::of(&0usize.to_le_bytes())).is_some());
        assert!(
            collection.begin_removal(&Digest::of(&(2 * NAMED_MAX - 1).to_le_bytes())).is_none()
        );
    }
}
