//! Deployments: build → start → test → gate → release. Each model has one driver that takes the newest attempt of an
//! environment as far as it gets; every step is an event, and a restarted process goes on from the state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use domain::state::{Deployment, Outcome, Version};
use domain::{DeploymentId, EnvironmentName, Event, ModelKey, Placement, Problem, Schema, State, VersionNumber};
use engine::{EngineError, ReplicaState, ReplicaStatus};
use tokio::sync::Notify;
use worker::{Caller, WorkerInfo};

use crate::{Control, case, gate};

/// A step that failed, and why.
struct Failure {
    step: &'static str,
    problem: Problem,
}

impl Failure {
    fn at(step: &'static str) -> impl Fn(Problem) -> Failure {
        move |problem| Failure { step, problem }
    }
}

impl Control {
    /// Asks for a version to go live. Gives the attempt's id; its steps are events.
    pub async fn deploy(
        self: &Arc<Control>,
        actor: &str,
        key: &ModelKey,
        version: VersionNumber,
        environment: EnvironmentName,
    ) -> Result<DeploymentId, Problem> {
        let wanted = key.clone();
        let decide = move |state: &State| {
            let known = state.models.get(&wanted).is_some_and(|model| model.versions.contains_key(&version));
            if !known {
                return Err(Problem::new("no_such_version", format!("`{wanted}` has no version {version}")).help("push it first"));
            }
            Ok(Event::DeployStarted { version, environment })
        };
        let entry = self.book.append(actor, &key.to_string(), decide).await?;
        self.drive(key);
        Ok(DeploymentId(entry.seq))
    }

    /// Removes a model with all its versions.
    pub async fn remove(&self, actor: &str, key: &ModelKey) -> Result<(), Problem> {
        let wanted = key.clone();
        let decide = move |state: &State| match state.models.contains_key(&wanted) {
            true => Ok(Event::ModelRemoved {}),
            false => Err(state.resolve(&domain::Reference::live(wanted.clone())).err().unwrap_or_default()),
        };
        self.book.append(actor, &key.to_string(), decide).await?;
        self.work.notify_one();
        Ok(())
    }

    /// What deployments on their way may run.
    pub(crate) fn candidates(&self, state: &State) -> BTreeSet<Placement> {
        let of = |(key, model): (&ModelKey, &domain::state::Model)| {
            let running: Vec<Placement> =
                model.running().map(|deployment| state.placement(key, &deployment.environment, deployment.version)).collect();
            running
        };
        state.models.iter().flat_map(of).collect()
    }

    /// Wakes the driver of a model's deployments, or starts it.
    pub(crate) fn drive(self: &Arc<Control>, key: &ModelKey) {
        let mut drivers = self.drivers.lock();
        if let Some(driver) = drivers.get(key) {
            driver.notify_one();
            return;
        }
        let wake = Arc::new(Notify::new());
        drivers.insert(key.clone(), wake.clone());
        let (control, key) = (self.clone(), key.clone());
        tokio::spawn(async move {
            loop {
                while let Some(deployment) = control.next_deployment(&key).await {
                    control.run(&key, deployment).await;
                    control.work.notify_one();
                }
                wake.notified().await;
            }
        });
    }

    /// The newest attempt of some environment; older ones of the same environment are superseded.
    async fn next_deployment(&self, key: &ModelKey) -> Option<Deployment> {
        let state = self.state();
        let running: Vec<Deployment> = state.models.get(key)?.running().cloned().collect();
        let newest = running.last()?.clone();
        for older in running.iter().filter(|other| other.environment == newest.environment && other.id != newest.id) {
            self.superseded(key, older.id, newest.id).await;
        }
        Some(newest)
    }

    async fn superseded(&self, key: &ModelKey, older: DeploymentId, newer: DeploymentId) {
        let problem = Problem::new("superseded", format!("a newer deployment ({}) of the same model began", newer.0));
        self.fail(key, older, "superseded", problem).await;
    }

    async fn fail(&self, key: &ModelKey, deployment: DeploymentId, step: &str, problem: Problem) {
        let event = Event::DeployFailed { deployment, step: step.into(), problem };
        let appended = self.book.append("decalog", &key.to_string(), move |_| Ok(event)).await;
        if let Err(problem) = appended {
            tracing::error!("a failed deployment is not in the ledger: {problem}");
            // A full disk: try again when it may have room, instead of at once.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }

    async fn run(self: &Arc<Control>, key: &ModelKey, deployment: Deployment) {
        let result = self.steps(key, &deployment).await;
        let Err(Failure { step, problem }) = result else { return };
        tracing::warn!("{key} {} failed at {step}: {problem}", deployment.version);
        self.fail(key, deployment.id, step, problem).await;
    }

    /// Fails if a newer attempt began or the model was removed.
    fn still_wanted(&self, key: &ModelKey, deployment: &Deployment) -> Result<(), Failure> {
        let state = self.state();
        let gone =
            || Failure { step: "superseded", problem: Problem::new("superseded", "the model was removed in the meantime") };
        let model = state.models.get(key).ok_or_else(gone)?;
        let newer = model.running().find(|other| other.environment == deployment.environment && other.id > deployment.id);
        match newer {
            None => Ok(()),
            Some(newer) => {
                let text = format!("a newer deployment ({}) of the same model began", newer.id.0);
                Err(Failure { step: "superseded", problem: Problem::new("superseded", text) })
            }
        }
    }

    async fn steps(self: &Arc<Control>, key: &ModelKey, deployment: &Deployment) -> Result<(), Failure> {
        let begin = Instant::now();
        let id = deployment.id;
        let version = self.version(key, deployment.version).map_err(Failure::at("build"))?;
        let placement = self.state().placement(key, &deployment.environment, deployment.version);
        if !crate::replica::live_placements(&self.state()).contains(&placement) {
            self.build(key, id, &version).await?;
            self.still_wanted(key, deployment)?;
            let status = self.candidate(key, id, &placement).await?;
            self.still_wanted(key, deployment)?;
            let ReplicaState::Ready { info, .. } = &status.state else { return Ok(()) };
            let schema = self.schema(key, &version, info).await?;
            let tree = self.tree_directory(&version.pushed.tree);
            let cases = case::read(&tree, version.pushed.manifest.tests.tolerance).map_err(Failure::at("test"))?;
            let mut caller = Caller::new(status.socket.clone(), key.model.as_str(), info.protocol.clone(), schema.clone());
            let limit = std::time::Duration::from_millis(version.pushed.manifest.predict_ms_max());
            let tested = Instant::now();
            case::run(&cases, &mut caller, limit).await.map_err(Failure::at("test"))?;
            let event =
                Event::TestsPassed { deployment: id, cases: cases.len() as u32, elapsed_ms: tested.elapsed().as_millis() as u64 };
            self.step(key, event).await?;
            self.gate(key, deployment, &version, &schema, &cases, &status).await?;
            self.still_wanted(key, deployment)?;
        }
        self.release(key, deployment, begin).await
    }

    fn version(&self, key: &ModelKey, number: VersionNumber) -> Result<Version, Problem> {
        let state = self.state();
        let version = state.models.get(key).and_then(|model| model.versions.get(&number)).cloned();
        version.ok_or_else(|| Problem::new("no_such_version", format!("{key} {number} is gone")))
    }

    async fn step(&self, key: &ModelKey, event: Event) -> Result<(), Failure> {
        let appended = self.book.append("decalog", &key.to_string(), move |_| Ok(event)).await;
        appended.map(|_| ()).map_err(Failure::at("ledger"))
    }

    async fn build(&self, key: &ModelKey, deployment: DeploymentId, version: &Version) -> Result<(), Failure> {
        self.engine.prepare(version.pushed.runtime).await.map_err(|error| Failure { step: "build", problem: error.problem() })?;
        let Some(lock) = &version.pushed.lock else { return Ok(()) };
        let text = self.lock_text(lock).await.map_err(Failure::at("build"))?;
        let progress = |line: &str| tracing::debug!("build of {}: {line}", lock.digest.short());
        let built =
            self.engine.build(lock, &text, &progress).await.map_err(EngineError::problem).map_err(Failure::at("build"))?;
        let event = Event::EnvironmentBuilt { deployment, lock: lock.digest, cached: built.cached, elapsed_ms: built.elapsed_ms };
        self.step(key, event).await
    }

    /// Starts a candidate replica, or finds the one that an earlier process started, and waits until it is ready.
    async fn candidate(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: DeploymentId,
        placement: &Placement,
    ) -> Result<ReplicaStatus, Failure> {
        let mut changed = self.engine.changed();
        let of_placement = |status: &ReplicaStatus| status.placement == *placement;
        let running = self.engine.replicas().into_iter().find(|status| {
            of_placement(status)
                && !matches!(status.state, ReplicaState::Ended { .. })
                && !self.replicas.is_leaving(&status.replica)
        });
        let replica = match running {
            Some(status) => status.replica,
            None => self.start_replica(&self.state(), placement).await.map_err(Failure::at("start"))?,
        };
        loop {
            let gone = || Failure { step: "start", problem: Problem::new("load_failed", "the candidate replica is gone") };
            let status = self.engine.status(&replica).ok_or_else(gone)?;
            match &status.state {
                ReplicaState::Starting => {}
                ReplicaState::Ready { elapsed_ms, .. } => {
                    self.replicas.announce(&replica);
                    self.step(key, Event::CandidateReady { deployment, elapsed_ms: *elapsed_ms }).await?;
                    return Ok(status);
                }
                ReplicaState::Ended { reason, details } => {
                    let problem = Problem::new("load_failed", format!("the model did not load: {reason}"))
                        .details(details.iter().cloned())
                        .help(format!("decalog logs {}@{}", key.model, placement.version));
                    self.engine.forget(&replica).await;
                    return Err(Failure { step: "start", problem });
                }
            }
            if changed.changed().await.is_err() {
                return Err(gone());
            }
        }
    }

    /// The version's schema: as recorded, else by the manifest, else by the worker. Recorded once.
    async fn schema(&self, key: &ModelKey, version: &Version, info: &WorkerInfo) -> Result<Schema, Failure> {
        if let Some(schema) = &version.schema {
            return Ok(schema.clone());
        }
        let section = &version.pushed.manifest.schema;
        let mut schema = info.schema.clone().unwrap_or(Schema { batches: true, ..Schema::default() });
        if !section.inputs.is_empty() {
            schema.inputs = section.inputs.clone();
        }
        if !section.outputs.is_empty() {
            schema.outputs = section.outputs.clone();
        }
        if schema.inputs.is_empty() {
            let problem = Problem::new("no_schema", "the model does not tell its input columns")
                .help("add [schema] inputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }] to decalog.toml");
            return Err(Failure { step: "start", problem });
        }
        let event = Event::SchemaRecorded { version: version.pushed.version, schema: schema.clone() };
        self.step(key, event).await?;
        Ok(schema)
    }

    async fn gate(
        &self,
        key: &ModelKey,
        deployment: &Deployment,
        version: &Version,
        schema: &Schema,
        cases: &[case::Case],
        status: &ReplicaStatus,
    ) -> Result<(), Failure> {
        let manifest = &version.pushed.manifest;
        if schema.streams || (cases.is_empty() && manifest.gates == Default::default()) {
            return Ok(());
        }
        let begin = Instant::now();
        let ReplicaState::Ready { info, .. } = &status.state else { return Ok(()) };
        let caller = Caller::new(status.socket.clone(), key.model.as_str(), info.protocol.clone(), schema.clone());
        let limit = std::time::Duration::from_millis(manifest.predict_ms_max());
        let mut candidate = gate::measure(caller, schema, cases, limit).await.map_err(Failure::at("gate"))?;
        candidate.memory_mb = self.engine.placement_memory_mb(&status.placement).unwrap_or(0.0);
        let state = self.state();
        let model = state.models.get(key);
        let live =
            model.and_then(|model| model.live.get(&deployment.environment).and_then(|live| model.versions.get(&live.version)));
        let live = live.and_then(|version| version.measured);
        gate::check(&manifest.gates, &candidate, live.as_ref()).map_err(Failure::at("gate"))?;
        let elapsed_ms = begin.elapsed().as_millis() as u64;
        self.step(key, Event::GatesPassed { deployment: deployment.id, candidate, live, elapsed_ms }).await
    }

    async fn release(&self, key: &ModelKey, deployment: &Deployment, begin: Instant) -> Result<(), Failure> {
        let (id, version, environment) = (deployment.id, deployment.version, deployment.environment.clone());
        let (wanted, elapsed_ms) = (key.clone(), begin.elapsed().as_millis() as u64);
        let decide = move |state: &State| {
            let model =
                state.models.get(&wanted).ok_or_else(|| Problem::new("superseded", "the model was removed in the meantime"))?;
            if model.deployment(id).is_none_or(|deployment| deployment.outcome != Outcome::Running) {
                return Err(Problem::new("superseded", "the deployment has ended in the meantime"));
            }
            let previous = model.live.get(&environment).map(|live| live.version);
            Ok(Event::Released { deployment: id, version, environment, previous, elapsed_ms })
        };
        self.book.append("decalog", &key.to_string(), decide).await.map_err(Failure::at("release"))?;
        self.publish_routes();
        Ok(())
    }
}
