//! The control plane: pushes, deployments, replicas, variables. One file per noun. Reconcilers
//! compare the state with what the engine reports and act; killing the process at any instruction
//! loses nothing that was acknowledged.

mod access;
mod audit;
mod backup;
mod candidate;
mod case;
mod change;
mod changes;
mod clock;
mod collect;
mod company;
mod deployment;
mod erasure;
pub mod failing;
mod failure;
mod gate;
pub mod handover;
mod happened;
mod judging;
mod key;
mod lanes;
pub mod login;
pub mod member;
mod memory;
mod names;
mod outputs;
mod parked;
mod probe;
mod pseudonym;
mod random;
mod receiver;
mod reconcile;
mod recover;
mod rehearsal;
mod release;
mod remembered;
mod removal;
mod replay;
mod restore;
mod route;
#[cfg(test)]
mod samples;
mod scale;
mod secret;
mod signature;
mod start;
mod state_store;
mod testing;
pub mod token;
mod trial;
mod trust;
pub mod unending;
mod variable;
mod version;
pub mod view;
mod wanted;
mod zygotes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use artifacts::Store;
use domain::guard::ArmWindow;
use domain::route::{Demand, Observation, RouteTable};
use domain::state::Access;
use domain::{
    Code, DataDirectory, DeploymentId, EnvironmentName, ModelKey, Placement, Principal, Problem,
    ReplicaId, State,
};
use engine::{Engine, EngineError};
use futures_util::future::BoxFuture;
use ledger::{Damage, Location};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

pub use access::{Verdict, WhoAmI};
pub use case::{Case, Failed, Tried, short_name};
pub use change::{ProposalPage, ProposalView, RemovedVersion};
pub use clock::{Clock, now_ms};
pub use collect::Garbage;
pub use key::{KeyUse, Keys, Rotation};
pub use parked::Park;
pub use probe::processor;
pub use random::random;
pub use receiver::ReceiverSetting;
pub use recover::recover;
pub use rehearsal::{Rehearse, Rehearsing};
pub use replay::{Replayer, Turn};
pub use restore::restore;
pub use secret::{KeySource, References, SecretSources};
pub use testing::Tested;
pub use trust::SignatureView;
pub use variable::{Variable, VariableValue, WrappedBy};
pub use version::Push;
pub use worker::{Payload, Tensor};

use audit::Signer;
use happened::Journal;
use judging::Status;
use names::NameTable;
use pseudonym::PseudonymKeys;
use remembered::Replicas;
use scale::Scales;
use secret::Secrets;
use state_store::StateStore;

/// What control is told once.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// The data directory, absolute.
    pub data: DataDirectory,
    /// A replica out of the route table has this long to finish, in milliseconds.
    pub drain_ms_max: u64,
    /// What was live until a release keeps its replicas for so long, in milliseconds.
    pub keep_ms: u64,
    /// How often the guards of a release look, in milliseconds.
    pub judge_ms: u64,
    /// Of this machine: replicas of one model that may run at the same time, if its manifest does
    /// not say.
    pub cores: u32,
    /// Memory that all replicas together may use, in MiB.
    pub memory_mb: u64,
    /// What is kept of models scaled to zero.
    pub park: Park,
    /// Memory that all that is kept may use, in MiB.
    pub parked_mb: u64,
    /// Whether a ledger that is damaged, cut off or missing is used as it is, because somebody said
    /// so.
    pub accept_damaged_ledger: bool,
    /// What it tells the time by.
    pub clock: Clock,
    /// Keys and secrets that are kept elsewhere.
    pub secrets: SecretSources,
}

/// What control works with.
pub struct Parts {
    /// Where artifacts lie.
    pub store: Store,
    /// Opened once the ledger can be used: until then no process is to be started.
    pub engine: BoxFuture<'static, Result<Arc<dyn Engine>, EngineError>>,
    /// Tells the gateways where requests go, …
    pub publish: Publish,
    /// … and who may send any.
    pub publish_access: PublishAccess,
    /// What is to be seen there.
    pub signals: Signals,
    /// What they say.
    pub observations: mpsc::Receiver<Observation>,
    /// Asks the recorded requests of rehearsals.
    pub rehearse: Rehearse,
    /// Replicas that the process which this one takes over from is about to stop.
    pub leaving: Vec<ReplicaId>,
}

/// Asks something of a placement of the data plane.
pub type OfPlacement<T> = Box<dyn Fn(&Placement) -> T + Send + Sync>;

/// What control sees of the data plane.
pub struct Signals {
    /// The load of a placement at this moment; `None` if it is in no route.
    pub demand: OfPlacement<Option<Demand>>,
    /// What has become of a placement's requests since this was last asked.
    pub window: OfPlacement<ArmWindow>,
}

/// Puts a route table in force.
pub type Publish = Arc<dyn Fn(RouteTable) + Send + Sync>;

/// Puts in force who may ask what.
pub type PublishAccess = Arc<dyn Fn(Access) + Send + Sync>;

/// How often it is tried to write a ledger whose disk took no writes, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// How often the load is looked at of placements that may have some.
const LOOK_MS: u64 = 200;
/// Starts of replicas that may wait for a vault at a time: each takes one of the threads for files
/// and the like, and most are for others.
const VAULT_CALLS_MAX: usize = 3;
/// How often a part of everything is looked at even if nothing woke the reconcilers.
const LOOK_ALL_MS: u64 = 1_000;

/// The control plane of one data directory.
pub struct Control {
    config: ControlConfig,
    state_store: StateStore,
    journal: Journal,
    store: Store,
    engine: Arc<dyn Engine>,
    secrets: Secrets,
    signer: Signer,
    pseudonym_keys: Arc<PseudonymKeys>,
    /// Calls of the vault that starts of replicas may make at a time.
    vault_calls: Semaphore,
    /// The rotation of keys that runs, or that ran last.
    rotation: Arc<Mutex<Option<Rotation>>>,
    publish: Publish,
    published: Mutex<route::Published>,
    publish_access: PublishAccess,
    /// The entry up to which the data plane knows who may come in.
    published_access: Mutex<Option<u64>>,
    names: NameTable,
    /// Logins of everybody in this minute.
    logins: Mutex<HashMap<Principal, (u64, u32)>>,
    replicas: Replicas,
    /// Asks recorded requests of a candidate.
    rehearse: Rehearse,
    /// Replicas that answer replays only.
    replays: replay::Replays,
    /// Placements of which a replica ended by itself since this was last asked for.
    crashed: Mutex<HashSet<Placement>>,
    /// Models with attempts on their way to an environment: each has a task that takes them there.
    drivers: Mutex<HashSet<(ModelKey, EnvironmentName)>>,
    scales: Scales,
    signals: Signals,
    /// How far each running deployment is, in words: what its guards found last, or what it waits for.
    statuses: Mutex<HashMap<DeploymentId, Status>>,
    clock: Clock,
    /// False while another process takes over: nothing is decided here.
    active: watch::Sender<bool>,
    /// Wakes the reconciler of replicas.
    work: Notify,
    /// All ends: nothing is started or restarted any more.
    stopping: AtomicBool,
}

/// Runs what blocks (files, memory of processes) beside the control plane's one thread.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| {
        Problem::new(Code::Internal, format!("a thread of the control plane failed: {error}"))
    })
}

impl Control {
    /// Opens the ledger, folds it, adopts running workers and starts reconciling.
    pub async fn open(config: ControlConfig, parts: Parts) -> Result<Arc<Control>, Problem> {
        let Parts { store, engine, publish, publish_access, signals, observations, .. } = parts;
        let (rehearse, leaving) = (parts.rehearse, parts.leaving);
        let damage = if config.accept_damaged_ledger { Damage::Accepted } else { Damage::Refused };
        let (location, clock) = (Location::of(&config.data), config.clock.clone());
        let state_store = StateStore::open(location.clone(), damage, clock.clone()).await?;
        let (journal, targets) = Journal::open(location).await?;
        let state = state_store.state();
        let engine = engine.await.map_err(EngineError::problem)?;
        let secrets = Secrets::new(&config.data, &config.secrets.keys);
        let signer = Signer::new(secrets.clone());
        let pseudonym_keys = Arc::new(PseudonymKeys::new(&config.data));
        let control = Arc::new(Control {
            replicas: Replicas::new(state_store.writer_epoch(), clock.clone()),
            crashed: Mutex::default(),
            rehearse,
            replays: Default::default(),
            state_store,
            journal,
            store,
            engine,
            secrets,
            signer,
            pseudonym_keys,
            vault_calls: Semaphore::new(VAULT_CALLS_MAX),
            rotation: Arc::default(),
            publish,
            published: Mutex::default(),
            publish_access,
            published_access: Mutex::default(),
            names: NameTable::open(&config.data),
            logins: Mutex::default(),
            drivers: Mutex::default(),
            scales: Scales::new(targets),
            signals,
            statuses: Mutex::default(),
            clock,
            active: watch::channel(true).0,
            work: Notify::new(),
            stopping: AtomicBool::new(false),
            config,
        });
        // The process before this one stops them itself; this one does if that did not.
        leaving.iter().for_each(|replica| control.send_away(replica));
        control.publish_access();
        control.publish_routes();
        let weak = Arc::downgrade(&control);
        control.state_store.enforce_by(move || {
            if let Some(control) = weak.upgrade() {
                control.publish_access();
                control.publish_routes();
            }
        });
        if control.state_store.refusal().is_some() {
            tokio::spawn(control.clone().write_when_possible());
        }
        control.begin_access().await;
        let (reconciling, observing, tending) = (control.clone(), control.clone(), control.clone());
        unending::spawn("the reconciler of replicas", move || {
            reconciling.clone().reconcile_forever()
        });
        let observations = Arc::new(tokio::sync::Mutex::new(observations));
        unending::spawn("the reader of observations", move || {
            observing.clone().observe_forever(observations.clone())
        });
        unending::spawn("the care of parked processes", move || {
            tending.clone().tend_parked_forever()
        });
        let signing = control.clone();
        unending::spawn("the signer of checkpoints", move || signing.clone().sign_forever());
        let caring = control.clone();
        unending::spawn("the care of groups", move || caring.clone().forget_groups_forever());
        for (key, model) in &state.models {
            model.running().for_each(|deployment| control.drive(key, &deployment.environment));
        }
        Ok(control)
    }

    /// The state of this moment.
    pub fn state(&self) -> Arc<State> {
        self.state_store.state()
    }

    /// The placements of which a replica ended by itself since this was last asked.
    pub fn crashed(&self) -> HashSet<Placement> {
        std::mem::take(&mut self.crashed.lock())
    }

    /// Why nothing can be changed at this moment, if nothing can: the disk takes no writes. What
    /// runs serves on.
    pub fn refusal(&self) -> Option<Problem> {
        self.state_store.refusal()
    }

    /// The store of artifacts.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The engine.
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// The ledger's last entry and its hash.
    pub async fn head(&self) -> Result<(u64, domain::Digest), Problem> {
        self.state_store.head().await
    }

    /// Where the ledger is.
    pub fn ledger_location(&self) -> Location {
        Location::of(&self.config.data)
    }

    /// Ends all workers and the supervisor.
    pub async fn shutdown(&self) -> Result<(), Problem> {
        self.stopping.store(true, Ordering::Release);
        self.sign().await;
        self.engine.shutdown(self.config.drain_ms_max).await.map_err(EngineError::problem)
    }

    /// Becomes the ledger's writer as soon as its disk takes writes.
    async fn write_when_possible(self: Arc<Control>) {
        while let Some(problem) = self.state_store.refusal() {
            tracing::error!("nothing can be changed: {problem}");
            tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
            if self.resume().await.is_ok() {
                self.begin_access().await;
                tracing::warn!("the ledger can be written again");
            }
        }
    }

    async fn reconcile_forever(self: Arc<Control>) {
        let mut changed = self.engine.changed();
        let mut appended = self.state_store.appended();
        let mut round = wanted::Round::default();
        while !self.stopping.load(Ordering::Acquire) {
            self.is_active().await;
            self.publish_access();
            self.carry_out_agreed().await;
            self.publish_routes();
            let next = self.reconcile_replicas(&mut round).await;
            self.publish_routes();
            tokio::select! {
                _ = changed.changed() => {}
                _ = appended.changed() => {}
                () = self.work.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    async fn observe_forever(
        self: Arc<Control>,
        observations: Arc<tokio::sync::Mutex<mpsc::Receiver<Observation>>>,
    ) {
        let mut observations = observations.lock().await;
        while let Some(observation) = observations.recv().await {
            match observation {
                Observation::Returned { replica } => self.engine.leases().give_back(&replica),
                // The load says the same: this only makes control look at it at once.
                Observation::Waiting { placement } => self.scales.wake(&placement),
                Observation::Broken { replica, reason } => {
                    tracing::warn!("{replica} is broken: {reason}");
                    self.replicas.broken(&replica, reason);
                }
            }
            self.work.notify_one();
        }
    }
}
