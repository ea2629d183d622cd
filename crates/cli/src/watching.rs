//! Watches models while `decalog up` runs: feeds the detectors from what requests leave behind, and
//! keeps what they know over restarts. A thread of its own does it, which nobody waits for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use domain::alarm::Target;
use domain::manifest::RecordsSection;
use domain::{DataDirectory, Placement};
use monitor::drift::Baseline;
use monitor::health::{BUCKET_MS, Health, Observed};
use monitor::rules::Rules;
use monitor::saved::{Part, Saved};
use monitor::slo::{Events, SloKind};
use tokio::runtime::Handle;

use crate::machine::Machine;
use crate::past::Past;
use crate::senses::Senses;

/// Between two looks, in milliseconds.
const LOOK_MS: u64 = 1_000;
/// What is known of requests is kept so often, in milliseconds, …
const SAVE_HEALTH_MS: u64 = 60_000;
/// … and what is known of values, which is larger.
const SAVE_DRIFT_MS: u64 = 600_000;
/// Names of the parts in the file.
const HEALTH: &str = "health";
const DRIFT: &str = "drift";

/// The thread that watches.
pub struct Watching {
    end: Sender<Sender<()>>,
}

impl Watching {
    /// Starts it, from within a runtime.
    pub fn start(senses: Senses, past: Past, data: &DataDirectory) -> std::io::Result<Watching> {
        let runtime = Handle::current();
        let (end, ended) = channel();
        let (path, data) = (data.detectors(), data.clone());
        // What is lost before the first look counts as well.
        let lost = senses.keeper.as_ref().map(|keeper| keeper.lost()).unwrap_or_default();
        let thread = std::thread::Builder::new().name("watch".into());
        thread.spawn(move || {
            let saved = Saved::open(&path)
                .inspect_err(|error| tracing::warn!("what is usual is not kept: {error}"));
            let machine = Machine::new(data, lost);
            Looking::new(senses, past, machine, runtime, saved.ok()).run(&ended);
        })?;
        Ok(Watching { end })
    }

    /// Keeps what is known, and ends.
    pub fn end(&self) {
        let (done, wait) = channel();
        if self.end.send(done).is_ok() {
            let _ = wait.recv();
        }
    }
}

struct Looking {
    senses: Senses,
    past: Past,
    machine: Machine,
    runtime: Handle,
    health: Health,
    rules: Rules,
    saved: Option<Saved>,
    /// The beginning of the bucket that runs.
    bucket_ms: u64,
    health_saved_ms: u64,
    drift_saved_ms: u64,
}

impl Looking {
    fn new(
        senses: Senses,
        past: Past,
        machine: Machine,
        runtime: Handle,
        saved: Option<Saved>,
    ) -> Looking {
        let now_ms = control::now_ms();
        let mut health = Health::default();
        if let Some(saved) = &saved {
            health = Health::restore(saved.load(HEALTH));
            for (target, model) in saved.load(DRIFT) {
                senses.drift.restore(target, model);
            }
        }
        Looking {
            senses,
            past,
            machine,
            runtime,
            health,
            rules: Rules::default(),
            saved,
            bucket_ms: now_ms - now_ms % BUCKET_MS,
            health_saved_ms: now_ms,
            drift_saved_ms: now_ms,
        }
    }

    fn run(mut self, ended: &Receiver<Sender<()>>) {
        loop {
            match ended.recv_timeout(Duration::from_millis(LOOK_MS)) {
                Err(RecvTimeoutError::Timeout) => self.look(control::now_ms()),
                Ok(done) => {
                    self.past.close(&self.senses, control::now_ms());
                    self.save_health();
                    self.save_drift();
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self, now_ms: u64) {
        let Senses { drift, desk, objectives, .. } = &self.senses;
        desk.tick(now_ms);
        objectives.tick(desk, now_ms);
        let sealed = drift.tick(now_ms, desk.as_ref());
        self.past.look(&self.senses, &sealed, now_ms);
        for placement in drift.without_baseline() {
            let baseline = self.baseline(&placement);
            drift.compare(&placement, baseline, now_ms, desk.as_ref());
        }
        let bucket_ms = now_ms - now_ms % BUCKET_MS;
        if bucket_ms != self.bucket_ms {
            let over_ms = std::mem::replace(&mut self.bucket_ms, bucket_ms);
            let observed = self.observe(now_ms);
            self.count(over_ms, &observed);
            let requests = observed.iter().map(|it| it.ended.judged).sum();
            self.machine.bucket(over_ms, requests, &self.senses);
            self.hold_against_rules(over_ms, &observed);
            self.health.bucket(over_ms, observed, self.senses.desk.as_ref());
        }
        if now_ms.abs_diff(self.health_saved_ms) >= SAVE_HEALTH_MS {
            self.health_saved_ms = now_ms;
            self.forget(now_ms);
            self.save_health();
        }
        if now_ms.abs_diff(self.drift_saved_ms) >= SAVE_DRIFT_MS {
            self.drift_saved_ms = now_ms;
            self.save_drift();
        }
    }

    /// What a version came with.
    fn baseline(&self, placement: &Placement) -> Option<Baseline> {
        let control = &self.senses.control;
        let (model, version) = (&placement.model, placement.version);
        let profile = self.runtime.block_on(server::profile_of(control, model, version));
        let profile = profile.unwrap_or_else(|problem| {
            tracing::warn!("values are compared with the first day instead: {problem}");
            None
        })?;
        let state = control.state();
        let schema = state.model(model).ok()?.versions.get(&version)?.schema.clone()?;
        let mut baseline = profile.baseline(&schema);
        // What records do not have as it was cannot be compared with a file that has.
        let RecordsSection { redact, key, .. } = state.configuration(placement).records;
        let is_kept =
            |column: &String| !redact.contains_key(column) && key.as_ref() != Some(column);
        baseline.inputs.retain(|series| is_kept(&series.column));
        baseline.outputs.retain(|series| is_kept(&series.column));
        (!baseline.inputs.is_empty() || !baseline.outputs.is_empty()).then_some(baseline)
    }

    /// All placements that have a route, or had requests since this was last asked.
    fn observe(&self, now_ms: u64) -> Vec<Observed> {
        let Senses { control, gateway, monitor, .. } = &self.senses;
        let mut ended = monitor.ended(now_ms);
        let mut crashed = control.crashed();
        let mut observed: Vec<Observed> = gateway
            .demand()
            .into_iter()
            .map(|demand| Observed {
                ended: ended.remove(&demand.placement).unwrap_or_default(),
                unfinished: gateway.unfinished(&demand.placement),
                queued_rows: demand.queued_rows,
                crashed: crashed.remove(&demand.placement),
                placement: Arc::new(demand.placement),
            })
            .collect();
        observed.extend(ended.into_iter().map(|(placement, ended)| Observed {
            ended,
            unfinished: Default::default(),
            queued_rows: 0,
            crashed: crashed.remove(&*placement),
            placement,
        }));
        observed
    }

    /// Counts what objectives are about.
    fn count(&self, at_ms: u64, observed: &[Observed]) {
        let state = self.senses.control.state();
        for Observed { placement, ended, .. } in observed {
            let target = Target::of(placement);
            let add = |kind, all, bad| {
                let events = Events { all, bad };
                self.senses.objectives.add(Some(&target), kind, at_ms, events);
            };
            add(SloKind::Availability, ended.judged, ended.failed);
            if ended.judged == 0 {
                continue;
            }
            if let Some(slo_ms) = state.configuration(placement).scale.slo_ms {
                let slow = ended.latency.above_us((slo_ms * 1_000.0) as u64);
                add(SloKind::Latency, ended.latency.count(), slow);
            }
        }
    }

    /// Holds requests against the rules that users wrote.
    fn hold_against_rules(&mut self, at_ms: u64, observed: &[Observed]) {
        let state = self.senses.control.state();
        let rules_of = |target: &Target| {
            let live = state.models.get(&target.model)?.live.get(&target.environment)?;
            let placement = state.placement(&target.model, &target.environment, live.version);
            Some(state.configuration(&placement).alarms.rules)
        };
        let rules_of = |target: &Target| rules_of(target).unwrap_or_default();
        self.rules.bucket(at_ms, observed, rules_of, &self.senses.desk);
    }

    /// Forgets models that are no more.
    fn forget(&mut self, now_ms: u64) {
        let state = self.senses.control.state();
        let exists = |target: &Target| state.models.contains_key(&target.model);
        self.health.retain(exists, now_ms, self.senses.desk.as_ref());
        self.senses.drift.retain(exists, now_ms, self.senses.desk.as_ref());
        let forgotten = self.saved.as_mut().map(|saved| saved.retain(exists));
        warn(forgotten);
        for alarm in self.senses.desk.open_alarms() {
            let Some(model) = alarm.key.model() else { continue };
            if !state.models.contains_key(model) {
                self.senses.objectives.forget(&self.senses.desk, model);
                self.senses.desk.close(&alarm.key, now_ms);
            }
        }
    }

    fn save_health(&mut self) {
        let parts: Vec<Part> = self
            .health
            .changed()
            .into_iter()
            .map(|(target, model)| Part::of(target, model))
            .collect();
        warn(self.saved.as_mut().map(|saved| saved.save(HEALTH, &parts)));
    }

    fn save_drift(&mut self) {
        let parts = self.senses.drift.changed(Part::of);
        warn(self.saved.as_mut().map(|saved| saved.save(DRIFT, &parts)));
    }
}

fn warn<E: std::fmt::Display>(result: Option<Result<(), E>>) {
    if let Some(Err(error)) = result {
        tracing::warn!("what detectors know is not kept: {error}");
    }
}
