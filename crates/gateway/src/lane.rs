//! One placement in the data plane: its queue, its replicas, its measurements. It outlives route
//! tables that agree on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use domain::route::{Demand, Observation, PlacementRoute, ReplicaRoute};
use domain::scale::LoadSample;
use domain::{Code, LatencyHistogram, Placement, Problem, ReplicaId, Schema};
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;

use crate::Shared;
use crate::backlog::Limits;
use crate::load::LoadMeter;
use crate::memory::Budget;
use crate::queue::Queue;
use crate::redact::{Recorded, definition};
use crate::replica::Replica;

/// One placement in the data plane: its queue and its replicas. It outlives route tables that agree
/// on it.
pub struct Lane {
    /// The version in an environment that it serves.
    pub placement: Arc<Placement>,
    /// What requests must fit.
    pub schema: Schema,
    /// How its requests are recorded; another configuration of the same placement may say it anew.
    pub recorded: ArcSwap<Recorded>,
    /// The most rows of a batch.
    pub rows_max: usize,
    /// The longest a batch may run.
    pub predict_ms_max: u64,
    /// Requests that wait.
    pub queue: Queue,
    /// `v3`, as a header.
    pub version_header: HeaderValue,
    /// Requests that wait or run.
    pub load: Arc<LoadMeter>,
    /// Copies of other placements' requests that wait or run.
    pub copies: AtomicUsize,
    /// Bytes of its requests in flight.
    pub memory: Arc<Budget>,
    replicas: Mutex<BTreeMap<ReplicaId, Arc<Replica>>>,
    /// Why it has no replica, if the last start failed.
    failure: Mutex<Option<Problem>>,
    /// Whether the control plane knows that requests wait and nothing runs.
    announced: AtomicBool,
    /// Whether it has no replica because it is scaled to zero.
    asleep: AtomicBool,
    deadline_ms: AtomicU64,
}

impl Lane {
    /// One that has no replicas yet.
    pub fn new(route: PlacementRoute, memory: &Budget) -> Lane {
        let mix = route.mix && !route.schema.streams && !route.schema.is_row_by_row();
        let limits = Limits {
            rows_max: route.rows_max as usize,
            queue_rows_max: route.queue_rows_max as usize,
            queue_bytes_max: memory.lane_max(),
            mix,
        };
        let version = route.placement.version.to_string();
        let recorded = Recorded::new(&route.placement, &route.schema, &route.recording);
        Lane {
            recorded: ArcSwap::from_pointee(recorded),
            placement: Arc::new(route.placement),
            rows_max: route.rows_max as usize,
            predict_ms_max: route.predict_ms_max,
            schema: route.schema,
            queue: Queue::new(limits),
            version_header: HeaderValue::try_from(version)
                .unwrap_or(HeaderValue::from_static("v0")),
            load: LoadMeter::new(),
            copies: AtomicUsize::new(0),
            memory: memory.of_lane(),
            replicas: Mutex::new(BTreeMap::new()),
            failure: Mutex::new(None),
            announced: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            deadline_ms: AtomicU64::new(0),
        }
    }

    /// Its number in records, and what that stands for.
    pub fn definition(&self) -> (u64, String) {
        definition(&self.placement, &self.schema, &self.recorded.load().recording).named()
    }

    /// Takes in what a newer table says of records, from the next one on.
    pub fn record_as(&self, wanted: &PlacementRoute, shared: &Shared) {
        if self.recorded.load().recording == wanted.recording {
            return;
        }
        let recorded = Recorded::new(&self.placement, &self.schema, &wanted.recording);
        // Known before there is one.
        shared.define_as(&definition(&self.placement, &self.schema, &wanted.recording));
        self.recorded.store(Arc::new(recorded));
    }

    /// The deadline of a request that names none, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms.load(Ordering::Relaxed)
    }

    /// Whether it answers: at once, or after it has been woken.
    pub fn answers(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) || self.is_ready()
    }

    /// Whether it can answer at once.
    pub fn is_ready(&self) -> bool {
        self.replicas.lock().values().any(|replica| replica.is_used())
    }

    /// The load at this moment.
    pub fn demand(&self) -> Demand {
        let replicas = self.replicas.lock();
        let in_flight: BTreeMap<_, _> =
            replicas.values().map(|replica| (replica.id.clone(), replica.in_flight())).collect();
        drop(replicas);
        let reading = self.load.read();
        let waiting = self.queue.waiting();
        let load = LoadSample {
            now_ms: 0,
            in_system_request_ms: reading.spent_us as f64 / 1_000.0,
            arrived: reading.arrived,
            queued: (waiting.requests as u64).min(reading.requests),
            in_flight: reading.requests.saturating_sub(waiting.requests as u64),
            rows_per_request: reading.rows as f64 / reading.arrived.max(1) as f64,
            service: waiting.service,
        };
        Demand {
            placement: (*self.placement).clone(),
            queued_rows: waiting.rows as u64,
            in_flight,
            load,
        }
    }

    /// How old the requests are that wait or run.
    pub fn ages(&self) -> LatencyHistogram {
        let mut ages = LatencyHistogram::default();
        self.queue.ages(&mut ages);
        self.replicas.lock().values().for_each(|replica| replica.ages(&mut ages));
        ages
    }

    /// Tells the control plane, once, that a request waits where nothing runs.
    pub fn wake(&self, shared: &Shared) {
        if !self.announced.swap(true, Ordering::AcqRel) {
            let waiting = Observation::Waiting { placement: (*self.placement).clone() };
            if let Err(TrySendError::Full(waiting)) = shared.observations.try_send(waiting) {
                // It is behind, and gets it only once.
                let observations = shared.observations.clone();
                tokio::spawn(async move { observations.send(waiting).await });
            }
        }
    }

    /// Forgets a replica whose last slot has ended; one of the same name that came back meanwhile
    /// stays.
    pub fn forget(&self, replica: &Arc<Replica>) {
        let mut replicas = self.replicas.lock();
        if replicas.get(&replica.id).is_some_and(|known| Arc::ptr_eq(known, replica)) {
            replicas.remove(&replica.id);
        }
    }

    /// Takes in what a newer table says, and returns the replicas that the table lacks. Gives those
    /// that are new.
    pub fn follow<'r>(&self, wanted: &'r PlacementRoute) -> Vec<(Arc<Replica>, &'r ReplicaRoute)> {
        self.asleep.store(wanted.asleep, Ordering::Relaxed);
        self.deadline_ms.store(wanted.deadline_ms, Ordering::Relaxed);
        let mut started = vec![];
        let mut replicas = self.replicas.lock();
        for route in &wanted.replicas {
            // One that is on its way out and comes back is used anew; what it does yet, it does
            // beside that.
            if !replicas.get(&route.replica).is_some_and(|known| known.is_wanted()) {
                let replica = Arc::new(Replica::new(&self.placement, route));
                replicas.insert(route.replica.clone(), replica.clone());
                self.announced.store(false, Ordering::Release);
                started.push((replica, route));
            }
        }
        let gone = replicas
            .values()
            .filter(|replica| !wanted.replicas.iter().any(|route| route.replica == replica.id));
        gone.for_each(|replica| replica.drain());
        drop(replicas);
        started
    }

    /// Tells those who wait what has become of that for which they wait, once its new replicas take
    /// work.
    pub fn tell(&self, wanted: &PlacementRoute) {
        self.queue.wake_all();
        self.fail(wanted);
    }

    /// Tells those who wait that the start which they waited for has failed.
    fn fail(&self, wanted: &PlacementRoute) {
        let failed = wanted.failed.as_ref().filter(|_| !self.is_ready());
        let failed = failed.map(|problem| Problem { code: Code::LoadFailed, ..problem.clone() });
        if let Some(problem) = &failed {
            self.announced.store(false, Ordering::Release);
            self.queue.fail_all(problem);
        }
        *self.failure.lock() = failed;
    }

    /// Why it has no replica, if the last start failed.
    pub fn failure(&self) -> Option<Problem> {
        self.failure.lock().clone()
    }

    /// The placement is out of the table: what waits is answered, then all replicas are returned.
    fn retire(&self) {
        self.replicas.lock().values().for_each(|replica| replica.drain());
        self.queue.retire();
    }
}

/// Keeps a placement in use as long as a snapshot has it; then its last requests are answered and
/// its replicas returned.
pub struct LaneGuard(pub Arc<Lane>);

impl Drop for LaneGuard {
    fn drop(&mut self) {
        self.0.retire();
    }
}
