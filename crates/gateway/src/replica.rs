//! A replica as the data plane uses it: where requests go, whether they may, and what it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::route::{Address, ReplicaRoute, WorkerProtocol};
use domain::{LatencyHistogram, Placement, ReplicaId};
use worker::{Connection, ConnectionError};

use crate::queue::Use;

/// How long a worker that closed a connection has to show that it lives, in milliseconds.
const PROBE_MS_MAX: u64 = 1_000;

/// A replica as the data plane uses it.
pub struct Replica {
    /// The replica.
    pub id: ReplicaId,
    /// Its id, as records have it.
    pub name: Arc<str>,
    pub(crate) protocol: WorkerProtocol,
    /// Where it takes requests.
    pub(crate) infer_path: String,
    pub(crate) address: Address,
    using: AtomicU8,
    pub(crate) slots: AtomicUsize,
    pub(crate) in_flight: AtomicU32,
    /// By slot.
    pub(crate) running: Vec<Running>,
    pub(crate) begin: Instant,
}

/// What a slot runs.
#[derive(Default)]
pub(crate) struct Running {
    /// In microseconds since the replica's begin.
    pub(crate) since_us: AtomicU64,
    /// 0 while it runs nothing.
    pub(crate) requests: AtomicU32,
}

impl Replica {
    /// One that holds a lease now.
    pub fn new(placement: &Placement, route: &ReplicaRoute) -> Replica {
        Replica {
            id: route.replica.clone(),
            name: route.replica.0.as_str().into(),
            infer_path: worker::caller::infer_path(placement.model.model.as_str(), &route.protocol),
            protocol: route.protocol.clone(),
            address: route.address.clone(),
            using: AtomicU8::new(Use::Normal as u8),
            slots: AtomicUsize::new(0),
            in_flight: AtomicU32::new(0),
            // One more may carry the next batch.
            running: (0..=route.concurrency.max(1)).map(|_| Running::default()).collect(),
            begin: Instant::now(),
        }
    }

    /// Whether it takes requests.
    pub fn is_used(&self) -> bool {
        self.using() == Use::Normal
    }

    /// Whether it is to be used as far as the routes go: a broken one comes back under another
    /// name.
    pub fn is_wanted(&self) -> bool {
        self.using() != Use::Draining
    }

    /// Batches that it runs.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long ago the requests were sent that it runs.
    pub fn ages(&self, ages: &mut LatencyHistogram) {
        let now_us = self.begin.elapsed().as_micros() as u64;
        for running in &self.running {
            let requests = running.requests.load(Ordering::Acquire);
            if requests > 0 {
                ages.record_many_us(
                    now_us.saturating_sub(running.since_us.load(Ordering::Relaxed)),
                    requests,
                );
            }
        }
    }

    /// From now on it gets no more.
    pub fn drain(&self) {
        let _ = self.using.compare_exchange(
            Use::Normal as u8,
            Use::Draining as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    pub(crate) fn using(&self) -> Use {
        match self.using.load(Ordering::Acquire) {
            0 => Use::Normal,
            1 => Use::Draining,
            _ => Use::Broken,
        }
    }

    /// A process that is being killed still takes connections for a moment, but answers nothing.
    /// One that is slow to answer is judged by its process and by the limit of a prediction, not
    /// here.
    pub(crate) async fn is_alive(&self) -> bool {
        let probe =
            async { Connection::connect(&self.address).await?.get("/v2/health/ready").await };
        !matches!(
            tokio::time::timeout(Duration::from_millis(PROBE_MS_MAX), probe).await,
            Ok(Err(ConnectionError::Closed(_)))
        )
    }

    /// `true` the first time.
    pub(crate) fn set_broken(&self) -> bool {
        self.using.swap(Use::Broken as u8, Ordering::AcqRel) != Use::Broken as u8
    }
}
