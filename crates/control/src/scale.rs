//! How many replicas each placement should have: looks at the load several times a second, lets
//! `policy` decide, and keeps the targets that `replica` follows. A changed target is told with all
//! that it was decided on.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use domain::route::Demand;
use domain::scale::{IDLE_S_MAX, LoadSample, REPLICAS_MAX, ScaleRecord};
use domain::state::Deployment;
use domain::{Event, ModelKey, Placement, State};
use engine::{ReplicaState, ReplicaStatus};
use parking_lot::Mutex;
use policy::budget::{self, Budget, Want};
use policy::replicas::{Part, Wanted};
use policy::scale::{Counts, Scaler, Settings, decide};
use tokio::time::Instant;

use crate::Control;
use crate::changes::Changes;
use crate::happened::{Targets, version_key};
use crate::lanes::Lanes;
use crate::wanted::AllWanted;

/// Changes of one placement that are told within [`EVENTS_MS`]; more are only logged.
const EVENTS_MAX: usize = 20;
const EVENTS_MS: u64 = 60_000;

/// What is remembered of each placement that may have replicas.
#[derive(Default)]
pub struct Scales {
    inner: Mutex<Inner>,
    /// The fewest replicas that a release asks for.
    floors: Mutex<HashMap<Placement, u32>>,
    /// What was wanted before this process began, until all placements were looked at once.
    before: Mutex<Targets>,
    /// What changes routes.
    pub changes: Changes,
}

#[derive(Default)]
struct Inner {
    scales: HashMap<Placement, Scale>,
    /// Those that are not at rest: the others are at zero, and nothing would change that, so that
    /// they need not be looked at all the time.
    awake: HashSet<Placement>,
}

struct Scale {
    scaler: Scaler,
    lanes: Lanes,
    target: u32,
    /// When it was looked at last, and how long it had been idle then, in milliseconds.
    looked_at: Instant,
    idle_ms: u64,
    /// Requests that came so far.
    arrived: u64,
    /// Whether requests wait.
    waits: bool,
    told: VecDeque<Instant>,
}

/// A decision that changed a target.
pub struct Change {
    /// Whose.
    pub placement: Placement,
    /// Which, with all that it was taken on.
    pub record: ScaleRecord,
}

/// What a look at the load came to.
#[derive(Default)]
pub struct Rescaled {
    changes: Vec<Change>,
    /// Versions of which nothing is wanted any more.
    forgotten: Vec<String>,
}

impl Scales {
    /// With what was wanted before this process began.
    pub(crate) fn new(before: Targets) -> Scales {
        Scales { before: Mutex::new(before), ..Scales::default() }
    }

    /// How many replicas a placement should have; `None` before anything was decided.
    pub fn target(&self, placement: &Placement) -> Option<u32> {
        self.inner.lock().scales.get(placement).map(|scale| scale.target)
    }

    /// The fewest replicas that a release asks for.
    pub fn floor(&self, placement: &Placement) -> u32 {
        self.floors.lock().get(placement).copied().unwrap_or(0)
    }

    /// Asks for so many replicas, whatever the load.
    pub fn set_floor(&self, placement: &Placement, floor: u32) {
        let floor = floor.min(REPLICAS_MAX);
        self.floors.lock().insert(placement.clone(), floor);
        self.changes.tell_of(&placement.model);
    }

    /// Leaves what an attempt asked for to the load again, under whatever variables it was asked
    /// for.
    pub fn clear_floors(&self, key: &ModelKey, attempt: &Deployment) {
        let is_own = |of: &Placement| {
            of.model == *key
                && of.environment == attempt.environment
                && of.version == attempt.version
        };
        self.floors.lock().retain(|placement, _| !is_own(placement));
        self.changes.tell_of(key);
    }

    /// Requests that came for a placement so far.
    pub fn arrived(&self, placement: &Placement) -> u64 {
        self.inner.lock().scales.get(placement).map_or(0, |scale| scale.arrived)
    }

    /// Whether requests of a placement wait.
    pub fn waits(&self, placement: &Placement) -> bool {
        self.inner.lock().scales.get(placement).is_some_and(|scale| scale.waits)
    }

    /// A request came for a placement that may be at rest.
    pub fn wake(&self, placement: &Placement) {
        let mut inner = self.inner.lock();
        if inner.scales.contains_key(placement) {
            inner.awake.insert(placement.clone());
        }
    }

    /// Those that are not at rest.
    pub fn awake(&self) -> Vec<Placement> {
        self.inner.lock().awake.iter().cloned().collect()
    }

    /// Forgets placements that may have no replicas any more.
    pub(crate) fn retain(&self, wanted: &AllWanted) {
        let mut inner = self.inner.lock();
        inner.scales.retain(|placement, _| wanted.get(placement).is_some());
        inner.awake.retain(|placement| wanted.get(placement).is_some());
    }

    /// Time since the last request of a placement, in milliseconds.
    pub fn idle_ms(&self, placement: &Placement) -> u64 {
        let inner = self.inner.lock();
        let idle_ms = |scale: &Scale| {
            scale.idle_ms.saturating_add(scale.looked_at.elapsed().as_millis() as u64)
        };
        inner.scales.get(placement).map_or(u64::MAX, idle_ms)
    }

    /// Whether a change may be appended.
    fn may_tell(&self, placement: &Placement) -> bool {
        let mut inner = self.inner.lock();
        let Some(scale) = inner.scales.get_mut(placement) else { return false };
        let now = Instant::now();
        while scale
            .told
            .front()
            .is_some_and(|at| now.duration_since(*at).as_millis() as u64 > EVENTS_MS)
        {
            scale.told.pop_front();
        }
        if scale.told.len() < EVENTS_MAX {
            scale.told.push_back(now);
            return true;
        }
        false
    }
}

impl Scale {
    fn new(target: u32) -> Scale {
        let (scaler, lanes, told) = (Scaler::default(), Lanes::default(), VecDeque::new());
        Scale {
            scaler,
            lanes,
            target,
            looked_at: Instant::now(),
            idle_ms: 0,
            arrived: 0,
            waits: false,
            told,
        }
    }
}

impl Inner {
    /// Takes what is known of a version over to its newest variables.
    fn inherit(&mut self, placement: &Placement, gone: &[Placement]) -> Option<Scale> {
        let mut older =
            gone.iter().filter(|older| older.is_same_version(placement) && *older != placement);
        older.find_map(|older| self.scales.remove(older))
    }

    fn set_awake(&mut self, placement: &Placement, is_awake: bool) {
        if !is_awake {
            self.awake.remove(placement);
        } else if !self.awake.contains(placement) {
            self.awake.insert(placement.clone());
        }
    }
}

impl Control {
    /// Looks at the load and decides anew for the `looked` of the placements that may have
    /// replicas; the others are at rest, and want nothing. `gone` are those that may have none any
    /// more. The first time, all are looked at.
    pub(crate) fn rescale(
        &self,
        state: &State,
        wanted: &AllWanted,
        looked: &BTreeSet<&Placement>,
        gone: &[Placement],
        replicas: &HashMap<&Placement, Vec<&ReplicaStatus>>,
    ) -> Rescaled {
        let mut before = std::mem::take(&mut *self.scales.before.lock());
        let mut inner = self.scales.inner.lock();
        let mut records: Vec<(&Placement, ScaleRecord)> = vec![];
        let looked =
            looked.iter().filter_map(|placement| Some((*placement, wanted.get(placement)?)));
        for (placement, wanted) in
            looked.filter(|(_, wanted)| wanted.part != Part::Candidate || wanted.floor > 0)
        {
            let mut counts =
                self.counts(replicas.get(placement).map(Vec::as_slice).unwrap_or_default());
            if !inner.scales.contains_key(placement) {
                let scale = inner.inherit(placement, gone);
                let known = before.remove(&version_key(placement));
                let scale = scale.unwrap_or_else(|| {
                    Scale::new(initial(state, placement, wanted, &counts, known))
                });
                inner.scales.insert(placement.clone(), scale);
                self.scales.changes.tell_of(&placement.model);
            }
            let Some(scale) = inner.scales.get_mut(placement) else { continue };
            let is_empty = counts.starting + counts.draining == 0;
            counts.current = scale.target;
            if scale.target == 0 {
                // A spare takes no requests.
                counts.ready = 0;
            }
            let record = self.decide_for(scale, state, placement, wanted, counts);
            let is_at_rest = is_empty
                && scale.target + record.decision.target == 0
                && record.inputs.queued + record.inputs.in_flight == 0;
            inner.set_awake(placement, !is_at_rest);
            records.push((placement, record));
        }
        let mut rescaled = Rescaled { changes: vec![], forgotten: before.into_keys().collect() };
        for placement in gone.iter().filter(|placement| wanted.get(placement).is_none()) {
            inner.scales.remove(placement);
            inner.awake.remove(placement);
            if !wanted.of(&placement.model).any(|(other, _)| other.is_same_version(placement)) {
                rescaled.forgotten.push(version_key(placement));
            }
        }
        let wants: Vec<Want> =
            records.iter().map(|(placement, record)| self.want(state, placement, record)).collect();
        for ((placement, mut record), grant) in
            records.into_iter().zip(budget::allot(&wants, self.budget()))
        {
            if grant.replicas < record.decision.target {
                record.inputs.budget = Some(grant.replicas);
                record.decision = decide(&record.inputs);
            }
            let Some(scale) = inner.scales.get_mut(placement) else { continue };
            if scale.target != record.decision.target {
                scale.target = record.decision.target;
                self.scales.changes.tell_of(&placement.model);
                rescaled.changes.push(Change { placement: placement.clone(), record });
            }
        }
        rescaled
    }

    /// Takes in the load of a placement, and says how many replicas its own load asks for.
    fn decide_for(
        &self,
        scale: &mut Scale,
        state: &State,
        placement: &Placement,
        wanted: &Wanted,
        counts: Counts,
    ) -> ScaleRecord {
        let now_ms = self.clock.monotonic_ms();
        let report = |of: &Placement| (self.signals.demand)(of).map(|Demand { load, .. }| load);
        if let Some(load) = scale.lanes.load(placement, report) {
            scale.arrived = load.arrived;
            scale.waits = load.queued > 0;
            scale.scaler.observe(LoadSample { now_ms, ..load });
        }
        let inputs = scale.scaler.inputs(now_ms, counts, &self.settings(state, placement, wanted));
        (scale.looked_at, scale.idle_ms) = (Instant::now(), inputs.idle_ms);
        ScaleRecord { decision: decide(&inputs), inputs }
    }

    /// Keeps changed targets, and tells of them; what comes too often is only logged.
    pub(crate) async fn tell_changes(self: &Arc<Control>, rescaled: Rescaled) {
        let changed = rescaled.changes.iter().map(|change| change.placement.clone());
        self.keep_targets(changed.collect(), rescaled.forgotten).await;
        for Change { placement, record } in rescaled.changes {
            tracing::info!("{placement}: {record}");
            if self.scales.may_tell(&placement) {
                let key = placement.model.clone();
                self.tell(&key, Event::ScaleChanged { placement, record: Box::new(record) }).await;
            }
        }
    }

    fn want(&self, state: &State, placement: &Placement, record: &ScaleRecord) -> Want {
        let resources = state
            .manifest(placement)
            .map(|manifest| manifest.resources.clone())
            .unwrap_or_default();
        let cores = resources.cpu_max.unwrap_or(f64::from(resources.threads.max(1)));
        let model = state.models.get(&placement.model);
        let measured = model
            .and_then(|model| model.versions.get(&placement.version))
            .and_then(|version| version.measured);
        Want {
            replicas: record.decision.target,
            min: record.inputs.min,
            in_flight_floor: record.inputs.in_flight_floor,
            // One that nobody asks takes memory, but no core.
            cores_milli: if record.inputs.idle_ms > budget::BUSY_MS {
                0
            } else {
                (cores * 1_000.0) as u64
            },
            memory_mb: measured.map_or(MEMORY_MB, |measured| measured.memory_mb as u64),
            idle_ms: record.inputs.idle_ms,
        }
    }

    fn budget(&self) -> Budget {
        Budget {
            cores_milli: u64::from(self.config.cores) * OVERCOMMIT * 1_000,
            memory_mb: self.config.memory_mb,
        }
    }

    fn counts(&self, replicas: &[&ReplicaStatus]) -> Counts {
        let own = || replicas.iter().copied();
        let stays = |status: &&ReplicaStatus| !self.replicas.is_leaving(&status.replica);
        let ready = own()
            .filter(stays)
            .filter(|status| matches!(status.state, ReplicaState::Ready { .. }))
            .count();
        let starting = own()
            .filter(stays)
            .filter(|status| matches!(status.state, ReplicaState::Starting))
            .count();
        let leaving =
            own().filter(|status| !matches!(status.state, ReplicaState::Ended { .. })).count()
                - ready
                - starting;
        Counts {
            current: 0,
            ready: ready as u32,
            starting: starting as u32,
            draining: leaving as u32,
        }
    }

    fn settings(&self, state: &State, placement: &Placement, wanted: &Wanted) -> Settings {
        let scale = state.configuration(placement).scale;
        let resources = state
            .manifest(placement)
            .map(|manifest| manifest.resources.clone())
            .unwrap_or_default();
        let most = self.config.cores.clamp(1, REPLICAS_MAX);
        let min = match wanted.part {
            Part::Candidate | Part::Kept => wanted.floor,
            Part::Live => scale.min.unwrap_or(0).max(wanted.floor),
        };
        // What was written before there was a limit, or by another hand, does not go beyond it
        // either.
        let min = min.min(REPLICAS_MAX);
        let batch =
            state.manifest(placement).map(|manifest| manifest.batch.clone()).unwrap_or_default();
        let usual = Settings::default();
        Settings {
            min,
            max: scale.max.unwrap_or(most).clamp(min.max(1), REPLICAS_MAX),
            target_concurrency: scale.target_concurrency,
            slo_ms: scale.slo_ms,
            idle_ms_max: scale
                .idle_s
                .map_or(usual.idle_ms_max, |seconds| seconds.min(IDLE_S_MAX) * 1_000),
            concurrency: resources.concurrency,
            rows_max: if batch.mix { batch.rows_max } else { 1 },
            startup_ms: self.replicas.start_up_ms(placement).unwrap_or(usual.startup_ms),
            ..usual
        }
    }
}

/// How many times its cores a machine's replicas may ask for: most models wait for requests most of
/// the time.
const OVERCOMMIT: u64 = 32;
/// What a replica is thought to need before it was measured, in MiB.
const MEMORY_MB: u64 = 64;

/// The target of a placement that is looked at for the first time: what was wanted last (`known`,
/// else what an older ledger says), else what runs.
fn initial(
    state: &State,
    placement: &Placement,
    wanted: &Wanted,
    counts: &Counts,
    known: Option<u32>,
) -> u32 {
    let running = (counts.ready + counts.starting).min(REPLICAS_MAX);
    let model = state.models.get(&placement.model);
    let live = model.and_then(|model| model.live.get(&placement.environment));
    match live.filter(|live| live.version == placement.version) {
        Some(live) if wanted.part == Part::Live => {
            known.or(live.target).unwrap_or(running.max(1)).min(REPLICAS_MAX)
        }
        _ => running.max(wanted.floor),
    }
}
