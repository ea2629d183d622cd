//! How many replicas each placement should have: looks at the load several times a second, lets `policy` decide, and keeps
//! the targets that `replica` follows. A changed target is an event with all that it was decided on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use domain::route::Demand;
use domain::scale::{ScaleDecision, ScaleInputs};
use domain::{Event, Placement, State};
use engine::{ReplicaState, ReplicaStatus};
use parking_lot::Mutex;
use policy::budget::{self, Budget, Want};
use policy::scale::{Counts, LoadSample, Scaler, Settings, decide};

use crate::Control;
use crate::replica::{Part, Wanted};

/// Changes of one placement that are appended within [`EVENTS_MS`]; more are only logged.
const EVENTS_MAX: usize = 20;
const EVENTS_MS: u64 = 60_000;

/// What is remembered of each placement that may have replicas.
#[derive(Default)]
pub struct Scales {
    inner: Mutex<HashMap<Placement, Scale>>,
    /// The fewest replicas that a release asks for.
    floors: Mutex<HashMap<Placement, u32>>,
}

struct Scale {
    scaler: Scaler,
    target: u32,
    last_used: Instant,
    told: VecDeque<Instant>,
}

/// A decision that changed a target.
pub struct Change {
    /// Whose.
    pub placement: Placement,
    /// On what.
    pub inputs: ScaleInputs,
    /// Which.
    pub decision: ScaleDecision,
}

impl Scales {
    /// How many replicas a placement should have; `None` before anything was decided.
    pub fn target(&self, placement: &Placement) -> Option<u32> {
        self.inner.lock().get(placement).map(|scale| scale.target)
    }

    /// The fewest replicas that a release asks for.
    pub fn floor(&self, placement: &Placement) -> u32 {
        self.floors.lock().get(placement).copied().unwrap_or(0)
    }

    /// Asks for so many replicas, whatever the load; 0 leaves it to the load again.
    pub fn set_floor(&self, placement: &Placement, floor: u32) {
        let mut floors = self.floors.lock();
        match floor {
            0 => floors.remove(placement),
            _ => floors.insert(placement.clone(), floor),
        };
    }

    /// Whether a change may be appended.
    fn may_tell(&self, placement: &Placement) -> bool {
        let mut inner = self.inner.lock();
        let Some(scale) = inner.get_mut(placement) else { return false };
        let now = Instant::now();
        while scale.told.front().is_some_and(|at| now.duration_since(*at).as_millis() as u64 > EVENTS_MS) {
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
    fn new(target: u32, now_ms: u64) -> Scale {
        Scale { scaler: Scaler::new(now_ms), target, last_used: Instant::now(), told: VecDeque::new() }
    }
}

impl Control {
    /// Looks at the load and decides anew for all placements that may have replicas. Gives what changed.
    pub(crate) fn rescale(&self, state: &State, wanted: &BTreeMap<Placement, Wanted>, statuses: &[ReplicaStatus]) -> Vec<Change> {
        let now_ms = self.monotonic_ms();
        let demand: HashMap<Placement, Demand> =
            (self.senses.demand)().into_iter().map(|demand| (demand.placement.clone(), demand)).collect();
        let mut inner = self.scales.inner.lock();
        inner.retain(|placement, _| wanted.contains_key(placement));
        let mut decided = vec![];
        let scaled = wanted.iter().filter(|(_, wanted)| wanted.part != Part::Candidate || wanted.floor > 0);
        for (placement, wanted) in scaled {
            let counts = self.counts(placement, statuses);
            let scale = inner.entry(placement.clone()).or_insert_with(|| {
                let first = initial(state, placement, wanted, &counts);
                Scale::new(first, now_ms)
            });
            let settings = self.settings(state, placement, wanted);
            if let Some(demand) = demand.get(placement) {
                if demand.requests > 0 {
                    scale.last_used = Instant::now();
                }
                scale.scaler.observe(&sample(demand, now_ms));
            }
            let inputs = scale.scaler.inputs(now_ms, scale.target, &counts, &settings);
            let decision = decide(&inputs);
            decided.push((placement.clone(), inputs, decision));
        }
        let wants: Vec<Want> = decided
            .iter()
            .map(|(placement, inputs, decision)| Want {
                target: decision.target,
                min: inputs.min.max(inputs.in_flight_floor),
                memory_mb: self.memory_of(state, placement),
                idle_ms: inner.get(placement).map_or(0, |scale| scale.last_used.elapsed().as_millis() as u64),
            })
            .collect();
        let grants = budget::allot(&wants, &self.budget());
        let mut changes = vec![];
        for ((placement, inputs, mut decision), grant) in decided.into_iter().zip(grants) {
            decision.limit(&grant);
            let Some(scale) = inner.get_mut(&placement) else { continue };
            if scale.target != decision.target {
                scale.target = decision.target;
                changes.push(Change { placement, inputs, decision });
            }
        }
        changes
    }

    /// Appends changed targets; what comes too often is only logged.
    pub(crate) async fn tell_changes(self: &Arc<Control>, changes: Vec<Change>) {
        for Change { placement, inputs, decision } in changes {
            tracing::info!("{placement}: {decision}");
            if self.scales.may_tell(&placement) {
                let key = placement.model.clone();
                let event = Event::ScaleChanged { placement, inputs: Box::new(inputs), decision };
                self.tell(&key, event).await;
            }
        }
    }

    fn counts(&self, placement: &Placement, statuses: &[ReplicaStatus]) -> Counts {
        let own = || statuses.iter().filter(|status| status.placement == *placement);
        let stays = |status: &&ReplicaStatus| !self.replicas.is_leaving(&status.replica);
        let ready = own().filter(stays).filter(|status| matches!(status.state, ReplicaState::Ready { .. })).count();
        let starting = own().filter(stays).filter(|status| matches!(status.state, ReplicaState::Starting)).count();
        let leaving = own().filter(|status| !matches!(status.state, ReplicaState::Ended { .. })).count() - ready - starting;
        Counts { ready: ready as u32, starting: starting as u32, draining: leaving as u32 }
    }

    fn settings(&self, state: &State, placement: &Placement, wanted: &Wanted) -> Settings {
        let scale = state.configuration(placement).scale;
        let resources = state.manifest(placement).map(|manifest| manifest.resources.clone()).unwrap_or_default();
        let most = self.config.cores.max(1);
        let min = match wanted.part {
            Part::Candidate | Part::Kept => wanted.floor,
            Part::Live => scale.min.unwrap_or(0).max(wanted.floor),
        };
        Settings {
            min,
            max: scale.max.unwrap_or(most).max(min).max(1),
            target_concurrency: scale.target_concurrency,
            slo_ms: scale.slo_ms,
            idle_ms: scale.idle_s.map_or(policy::scale::IDLE_MS, |s| s * 1_000),
            concurrency: resources.concurrency,
            start_up_ms: self.replicas.start_up_ms(placement),
        }
    }

    fn budget(&self) -> Budget {
        Budget { memory_mb: self.config.memory_mb, replicas: self.config.replicas_max }
    }

    fn memory_of(&self, state: &State, placement: &Placement) -> f64 {
        let model = state.models.get(&placement.model);
        let measured = model.and_then(|model| model.versions.get(&placement.version)).and_then(|version| version.measured);
        measured.map_or(MEMORY_MB, |measured| measured.memory_mb)
    }
}

/// What a replica is thought to need before it was measured, in MiB.
const MEMORY_MB: f64 = 64.0;

/// The target of a placement that is looked at for the first time: what runs, else what the ledger says ran last.
fn initial(state: &State, placement: &Placement, wanted: &Wanted, counts: &Counts) -> u32 {
    let running = counts.ready + counts.starting;
    if running > 0 {
        return running;
    }
    let model = state.models.get(&placement.model);
    let live = model.and_then(|model| model.live.get(&placement.environment));
    match live.filter(|live| live.version == placement.version) {
        Some(live) if wanted.part == Part::Live => live.target.unwrap_or(1),
        _ => wanted.floor,
    }
}

fn sample(demand: &Demand, now_ms: u64) -> LoadSample {
    LoadSample {
        now_ms,
        spent_us: demand.spent_us,
        arrived: demand.arrived,
        requests: demand.requests,
        batches: demand.in_flight.values().map(|n| u64::from(*n)).sum(),
        service_us: demand.service_us.clone(),
    }
}
