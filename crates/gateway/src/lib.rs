//! The data plane: answers inference requests. It opens no database and runs no model code, and
//! keeps serving by its last route table while the control plane is down.
//!
//! A request passes these files in this order: `admit` → `route` → `queue` → `batch` → `dispatch` →
//! worker → `reply`.

mod access;
mod admit;
mod arriving;
mod ask;
mod backlog;
mod batch;
mod body;
mod coding;
mod config;
mod connections;
mod cors;
mod dispatch;
mod endpoints;
mod heavy;
mod keep;
mod lane;
mod listen;
mod load;
mod memory;
mod network;
mod peer;
mod predict;
mod queue;
mod redact;
mod replica;
mod reply;
mod respond;
mod route;
mod secure;
mod serve;
mod serving;
pub mod session;
mod shadow;
mod shed;
mod split;
mod stall;
mod stream;
mod trace;
mod turns;
mod waiting;
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;
use domain::record::Record;
use domain::route::{Demand, Observation, RouteTable};
use domain::state::Access;
use domain::{LatencyHistogram, Placement};
use parking_lot::Mutex;
use protocol::record::{Definition, Recorder};
use tokio::sync::mpsc;

pub use access::{COOKIE, LeaseRows};
pub use admit::{Hosts, authority, own_origin};
pub use config::GatewayConfig;
pub use cors::{Cors, Origin};
pub use listen::{Entrance, Listener};
pub use network::Network;
pub use peer::{Peer, Source};
pub use reply::CHALLENGE;
pub use respond::{Asking, Waiting};
pub use secure::{Secure, Secured, Securing};
pub use serving::{Serve, Stop};
pub use stall::Stream;
pub use watch::Standing;

use access::Door;
use connections::Connections;
use heavy::Heavy;
use keep::{Asked, Became, Ids};
use memory::Budget;
use route::Snapshot;
use trace::Tracing;
use turns::Turns;

/// Records that wait to be drained; beyond it they are counted as dropped.
const RECORDS_MAX: usize = 65_536;
/// Quiet connections that are closed at a time when descriptors have run out.
const RELIEVED: usize = 16;
/// Observations that wait for the control plane.
const OBSERVATIONS_MAX: usize = 4_096;

/// The data plane of one process.
pub struct Gateway {
    config: GatewayConfig,
    door: Arc<Door>,
    snapshot: ArcSwap<Snapshot>,
    /// Serialises the swaps of the snapshot.
    applying: Mutex<()>,
    shared: Arc<Shared>,
    observations: Mutex<Option<mpsc::Receiver<Observation>>>,
    heavy: Heavy,
    turns: Turns,
}

/// What every part of the data plane writes to.
pub(crate) struct Shared {
    records: Arc<ArrayQueue<Record>>,
    records_dropped: AtomicU64,
    observations: mpsc::Sender<Observation>,
    connections: Arc<Connections>,
    memory: Arc<Budget>,
    ids: Ids,
    recorder: keep::Keeper,
    tracing: std::sync::OnceLock<Tracing>,
}

impl Shared {
    pub(crate) fn record(&self, record: Record) {
        if self.records.push(record).is_err() {
            self.records_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Keeps a record of a request, if anybody keeps them.
    pub(crate) fn keep(&self, id: [u8; 16], asked: &Asked, record: &Record, became: &Became<'_>) {
        if let Some(recorder) = self.recorder.get() {
            keep::keep(recorder.as_ref(), id, asked, record, became);
        }
    }

    /// Says what a lane's number in records stands for.
    pub(crate) fn define(&self, lane: &lane::Lane) {
        if let Some(recorder) = self.recorder.get() {
            let (number, text) = lane.definition();
            recorder.define(number, &text);
        }
    }

    /// Says what the number of a definition stands for.
    pub(crate) fn define_as(&self, definition: &Definition) {
        if let Some(recorder) = self.recorder.get() {
            let (number, text) = definition.named();
            recorder.define(number, &text);
        }
    }

    /// Closes some quiet connections: descriptors are short.
    pub(crate) fn relieve(&self) {
        self.connections.relieve(RELIEVED);
    }

    /// Tells the control plane; waits if it is behind, as none of these may be lost.
    pub(crate) async fn observe(&self, observation: Observation) {
        let _ = self.observations.send(observation).await;
    }
}

impl Gateway {
    /// A gateway without routes. Its work runs on the given runtime.
    pub fn new(config: GatewayConfig, runtime: tokio::runtime::Handle) -> Arc<Gateway> {
        let (observations, receiver) = mpsc::channel(OBSERVATIONS_MAX);
        let shared = Shared {
            records: Arc::new(ArrayQueue::new(RECORDS_MAX)),
            records_dropped: AtomicU64::new(0),
            observations,
            connections: Connections::new(config.connections_max),
            memory: Budget::new(config.memory_bytes_max),
            ids: Ids::new(),
            recorder: keep::Keeper::new(),
            tracing: Default::default(),
        };
        let turns = Turns::new(config.control_requests_max, config.control_streams_max);
        let door = Arc::new(Door::new(config.open_predictions, config.local_cookie));
        Arc::new(Gateway {
            config,
            door,
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            applying: Mutex::new(()),
            shared: Arc::new(shared),
            observations: Mutex::new(Some(receiver)),
            heavy: Heavy::new(runtime),
            turns,
        })
    }

    /// Puts a route table in force; one that is not newer is ignored.
    pub fn apply(&self, table: RouteTable) {
        let _applying = self.applying.lock();
        let current = self.snapshot.load_full();
        if table.epoch > current.epoch {
            let next = Snapshot::next(&current, table, &self.shared, &self.heavy);
            self.snapshot.store(Arc::new(next));
        }
    }

    /// Puts in force who may come in and what they may ask.
    pub fn apply_access(&self, access: Access) {
        self.door.apply(access);
    }

    /// Says by whom rows of a day are given out, once.
    pub fn lease_rows_by(&self, lease: LeaseRows) {
        let _ = self.door.lease_rows.set(lease);
    }

    /// Says who keeps records of requests, once.
    pub fn record_by(&self, recorder: Arc<dyn Recorder>) {
        let _applying = self.applying.lock();
        let _ = self.shared.recorder.set(recorder);
        self.snapshot.load().lanes().for_each(|lane| self.shared.define(lane));
    }

    /// Gives requests and batches spans, once; such a share of the traces that begin here is kept.
    pub fn trace(&self, share: f64) {
        let _ = self.shared.tracing.set(Tracing::new(share));
    }

    /// What the control plane must hear; `None` after the first call.
    pub fn observations(&self) -> Option<mpsc::Receiver<Observation>> {
        self.observations.lock().take()
    }

    /// Finished requests, to be drained by whoever keeps metrics.
    pub fn records(&self) -> Arc<ArrayQueue<Record>> {
        self.shared.records.clone()
    }

    /// How many records found no room.
    pub fn records_dropped(&self) -> u64 {
        self.shared.records_dropped.load(Ordering::Relaxed)
    }

    /// The load of each placement at this moment.
    pub fn demand(&self) -> Vec<Demand> {
        self.snapshot.load().lanes().map(|lane| lane.demand()).collect()
    }

    /// The load of one placement at this moment; `None` if it is in no route.
    pub fn demand_of(&self, placement: &Placement) -> Option<Demand> {
        self.snapshot.load().lane(placement).map(|lane| lane.demand())
    }

    /// How old the requests of a placement are that wait or run; of those that run, since they were
    /// sent.
    pub fn unfinished(&self, placement: &Placement) -> LatencyHistogram {
        let snapshot = self.snapshot.load();
        snapshot.lane(placement).map(|lane| lane.ages()).unwrap_or_default()
    }

    /// The route table's number that is in force.
    pub fn epoch(&self) -> u64 {
        self.snapshot.load().epoch
    }
}

/// Microseconds, at most what a record holds.
pub(crate) fn micros(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
