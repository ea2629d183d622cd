//! Routing leases: which replicas a gateway may have requests at. They are between the gateways and
//! the engine that owns the processes: a replica in a route table is under a lease, the gateway
//! gives it back after the last request there, and only then the engine ends the process.

use std::collections::HashMap;
use std::time::Duration;

use domain::ReplicaId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// The leases of one engine.
#[derive(Debug)]
pub struct RoutingLeases {
    /// How often each replica came into the routes and was not given back: one that left them and
    /// came back is under two leases for a while.
    held: Mutex<HashMap<ReplicaId, u32>>,
    given_back: watch::Sender<()>,
    /// Turns true when the process that this one took over from has ended: until then it may have
    /// requests at any replica.
    predecessor: Option<watch::Receiver<bool>>,
}

impl RoutingLeases {
    /// None, beside those of the process that this one takes over from.
    pub fn new(predecessor: Option<watch::Receiver<bool>>) -> RoutingLeases {
        RoutingLeases { held: Mutex::default(), given_back: watch::channel(()).0, predecessor }
    }

    /// A replica comes into the routes.
    pub fn grant(&self, replica: &ReplicaId) {
        *self.held.lock().entry(replica.clone()).or_default() += 1;
    }

    /// A gateway has no request there any more, and sends none.
    pub fn give_back(&self, replica: &ReplicaId) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(replica) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(replica);
            }
        }
        drop(held);
        self.given_back.send_replace(());
    }

    /// The replica has ended, and nobody can use it.
    pub fn end(&self, replica: &ReplicaId) {
        self.held.lock().remove(replica);
        self.given_back.send_replace(());
    }

    /// Whether a gateway of this process may have requests there.
    pub fn is_held(&self, replica: &ReplicaId) -> bool {
        self.held.lock().contains_key(replica)
    }

    /// Waits until no gateway uses a replica, at most so long for each process that has one.
    pub async fn until_free(&self, replica: &ReplicaId, drain_ms_max: u64) {
        let limit = Duration::from_millis(drain_ms_max);
        let mut given_back = self.given_back.subscribe();
        let end = Instant::now() + limit;
        while self.is_held(replica) {
            if !matches!(tokio::time::timeout_at(end, given_back.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        if let Some(mut gone) = self.predecessor.clone() {
            let _ = tokio::time::timeout(limit, gone.wait_for(|gone| *gone)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_came_back_into_the_routes_is_not_free_by_what_was_given_back_before() {
        let (leases, replica) = (RoutingLeases::new(None), ReplicaId("r1-1".into()));
        leases.until_free(&replica, 0).await;
        leases.grant(&replica);
        leases.give_back(&replica);
        assert!(!leases.is_held(&replica));
        // It slept, and was woken; the first lease is given back late.
        leases.grant(&replica);
        leases.grant(&replica);
        leases.give_back(&replica);
        assert!(leases.is_held(&replica));
        let begin = Instant::now();
        leases.until_free(&replica, 3_000).await;
        assert_eq!(begin.elapsed().as_millis(), 3_000, "at most so long");
        leases.give_back(&replica);
        leases.give_back(&replica);
        leases.until_free(&replica, 3_000).await;
        assert_eq!(begin.elapsed().as_millis(), 3_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_being_replaced_holds_all_until_it_has_ended() {
        let (ends, gone) = watch::channel(false);
        let (leases, replica) = (RoutingLeases::new(Some(gone)), ReplicaId("r1-1".into()));
        let begin = Instant::now();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            ends.send_replace(true);
        });
        leases.until_free(&replica, 60_000).await;
        assert_eq!(begin.elapsed().as_millis(), 700);
    }
}
