//! A world that runs on its own time: a machine whose processes live and die by script, a gateway
//! that gives replicas back late, clocks that are set, and a control plane that is killed and begun
//! anew. Everything that goes wrong does so by a seed.

pub mod gateway;
pub mod machine;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use artifacts::Store;
use control::{Clock, Control, ControlConfig, Park, Parts, Signals};
use domain::{ArmWindow, Code, DataDirectory, Digest, ModelKey, Problem, ReplicaId};
use engine::Engine;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use gateway::{Gateway, Load};
use machine::{Machine, ScriptedEngine};

/// A replica out of the route table has this long to finish, in milliseconds.
pub const DRAIN_MS_MAX: u64 = 3_000;
/// What was live until a release keeps its replicas for so long, in milliseconds.
pub const KEEP_MS: u64 = 20_000;
/// So much of what happened before is shown with what must not be, in milliseconds.
const BEFORE_MS: u64 = 30_000;
/// Some moment in 2026, in milliseconds since 1970.
const WALL_MS: u64 = 1_790_000_000_000;

/// All that lasts longer than a control plane.
pub struct World {
    rng: Mutex<fastrand::Rng>,
    /// The time that passed before this life, and when this life began.
    before_ms: AtomicU64,
    began: Mutex<Option<Instant>>,
    /// How far the clock on the wall was set.
    set_by_ms: AtomicI64,
    /// Whether things go wrong.
    pub is_stormy: AtomicBool,
    pub machine: Machine,
    pub load: Load,
    gateway: Mutex<Option<Arc<Gateway>>>,
    /// Trees of models that never load.
    broken_trees: Mutex<HashSet<Digest>>,
    violations: Mutex<Vec<String>>,
    /// What happened, with its time.
    notes: Mutex<Vec<(u64, String)>>,
}

impl World {
    pub fn new(seed: u64) -> Arc<World> {
        Arc::new(World {
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            before_ms: AtomicU64::new(0),
            began: Mutex::default(),
            set_by_ms: AtomicI64::new(0),
            is_stormy: AtomicBool::new(true),
            machine: Machine::default(),
            load: Load::default(),
            gateway: Mutex::default(),
            broken_trees: Mutex::default(),
            violations: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    /// Below this, from zero.
    pub fn random(&self, below: u64) -> u64 {
        self.rng.lock().u64(0..below.max(1))
    }

    /// One time in so many, while things go wrong.
    pub fn is_unlucky(&self, one_in: u64) -> bool {
        self.is_stormy.load(Ordering::Relaxed) && self.random(one_in) == 0
    }

    /// Milliseconds that only go on, over all lives.
    pub fn now_ms(&self) -> u64 {
        let passed = self.began.lock().map_or(0, |began| began.elapsed().as_millis() as u64);
        self.before_ms.load(Ordering::Relaxed) + passed
    }

    fn wall_ms(&self) -> u64 {
        (WALL_MS + self.now_ms()).saturating_add_signed(self.set_by_ms.load(Ordering::Relaxed))
    }

    /// Somebody sets the clock on the wall.
    pub fn set_clock(&self, by_ms: i64) {
        self.set_by_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    pub fn never_loads(&self, tree: &Digest) -> bool {
        self.broken_trees.lock().contains(tree)
    }

    pub fn break_tree(&self, tree: Digest) {
        self.broken_trees.lock().insert(tree);
    }

    /// Something happened: to be read if something must not be soon after.
    pub fn note(&self, text: String) {
        self.notes.lock().push((self.now_ms(), text));
    }

    /// Something must not be.
    pub fn violate(&self, text: String) {
        let now_ms = self.now_ms();
        let mut violations = self.violations.lock();
        if violations.is_empty() {
            let notes = self.notes.lock();
            let recent = notes.iter().filter(|(at_ms, _)| at_ms + BEFORE_MS > now_ms);
            violations.extend(recent.map(|(at_ms, text)| format!("   {at_ms} {text}")));
        }
        violations.push(format!("at {now_ms} ms: {text}"));
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// A model may have no replica now: one of its replicas has died.
    pub fn excuse(&self, model: &ModelKey) {
        if let Some(gateway) = &*self.gateway.lock() {
            gateway.excuse(model);
        }
    }

    pub fn gateway_uses(&self, replica: &ReplicaId) -> bool {
        self.gateway.lock().as_ref().is_some_and(|gateway| gateway.uses(replica))
    }

    pub fn gateway(&self) -> Arc<Gateway> {
        self.gateway.lock().clone().expect("a life has begun")
    }

    /// The end of a life, killed wherever it is.
    pub fn end_life(&self) {
        let now_ms = self.now_ms();
        *self.began.lock() = None;
        *self.gateway.lock() = None;
        self.before_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Begins a control plane on a data directory.
    pub async fn live(self: &Arc<World>, data: &Path) -> Arc<Control> {
        *self.began.lock() = Some(Instant::now());
        let data = DataDirectory::new(data);
        let (says, observations) = mpsc::channel(1_000);
        let gateway = Gateway::new(self.clone(), says);
        *self.gateway.lock() = Some(gateway.clone());
        let store = Store::open(&data.artifacts_url(), &data.uploads()).unwrap();
        let (of_wall, of_engine, of_demand) = (self.clone(), self.clone(), self.clone());
        let config = ControlConfig {
            secrets: Default::default(),
            data,
            drain_ms_max: DRAIN_MS_MAX,
            keep_ms: KEEP_MS,
            judge_ms: 500,
            cores: 4,
            memory_mb: 100_000,
            park: if self.random(2) == 0 { Park::Spare } else { Park::Nothing },
            parked_mb: 1_000,
            accept_damaged_ledger: false,
            clock: Clock::of(move || of_wall.wall_ms()),
        };
        let signals = Signals {
            demand: Box::new(move |placement| of_demand.gateway().demand(placement)),
            window: Box::new(|_| good_window()),
        };
        let publish: control::Publish = Arc::new(move |table| gateway.apply(table));
        let engine =
            Box::pin(async move { Ok(ScriptedEngine::open(of_engine) as Arc<dyn Engine>) });
        let parts = Parts {
            store,
            engine,
            publish,
            publish_access: Arc::new(|_| {}),
            signals,
            observations,
            rehearse: Arc::new(|_| {
                Box::pin(async { Err(Problem::new(Code::NoRecords, "a world without records")) })
            }),
            leaving: vec![],
        };
        Control::open(config, parts).await.unwrap()
    }
}

fn good_window() -> ArmWindow {
    let mut window = ArmWindow { requests: 50, ..ArmWindow::default() };
    window.latency.record_many_us(2_000, 50);
    window
}
