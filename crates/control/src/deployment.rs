//! Deployments: signature → build → start → test → gate → rehearsal → release. Each model has one driver that takes the
//! newest attempt of an environment as far as it gets; every step is an event, and a restarted
//! process goes on from the state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::schema::merged;
use domain::state::{Deployment, Outcome, Version};
use domain::{
    Code, Column, DeploymentId, EnvironmentName, Event, ModelKey, Principal, Problem, Schema,
    State, VersionNumber,
};
use engine::{ReplicaState, ReplicaStatus};
use policy::replicas::Part;
use tokio::time::Instant;
use worker::WorkerInfo;

use crate::Control;
use crate::failure::StepFailure;
use crate::signature::check_named;
use crate::trial::Trial;

/// Why an attempt is given up for a later one.
fn superseded_by(newer: &Deployment) -> Problem {
    let text = format!("somebody began to deploy {} to the same environment", newer.version);
    Problem::new(Code::Superseded, text).help("deploy this one again if it is to be live")
}

impl Control {
    /// Sees to it that a driver takes the attempts on their way to an environment as far as they
    /// get. It ends when none is left, so that there are no more drivers than attempts.
    pub(crate) fn drive(self: &Arc<Control>, key: &ModelKey, environment: &EnvironmentName) {
        let place = (key.clone(), environment.clone());
        if !self.drivers.lock().insert(place.clone()) {
            return;
        }
        let control = self.clone();
        tokio::spawn(async move {
            let (key, environment) = &place;
            loop {
                control.is_active().await;
                while let Some(deployment) = control.next_deployment(key, environment).await {
                    let (id, running, of) = (deployment.id, control.clone(), key.clone());
                    if tokio::spawn(async move { running.run(&of, deployment).await })
                        .await
                        .is_err()
                    {
                        let problem =
                            Problem::new(Code::Internal, "the server failed on this deployment")
                                .help("see the server's log");
                        control.fail(key, id, "internal", problem).await;
                    }
                    if control.stopping.load(Ordering::Acquire) {
                        return;
                    }
                    control.work.notify_one();
                    control.is_active().await;
                }
                // Under the lock, so that whoever asks for another attempt either finds this driver
                // at it or starts one.
                let mut drivers = control.drivers.lock();
                if !control.has_running(key, environment) {
                    drivers.remove(&place);
                    return;
                }
            }
        });
    }

    fn has_running(&self, key: &ModelKey, environment: &EnvironmentName) -> bool {
        let state = self.state();
        let mut running = state.models.get(key).into_iter().flat_map(|model| model.running());
        running.any(|deployment| deployment.environment == *environment)
    }

    /// The newest attempt in an environment; older ones are superseded.
    async fn next_deployment(
        &self,
        key: &ModelKey,
        environment: &EnvironmentName,
    ) -> Option<Deployment> {
        let state = self.state();
        let mut running: Vec<Deployment> = state.models.get(key)?.running().cloned().collect();
        running.retain(|deployment| deployment.environment == *environment);
        let newest = running.pop()?;
        for older in running {
            self.fail(key, older.id, "superseded", superseded_by(&newest)).await;
        }
        Some(newest)
    }

    /// Appends that an attempt has failed, unless it ended otherwise before.
    async fn fail(&self, key: &ModelKey, deployment: DeploymentId, step: &str, problem: Problem) {
        let event = Event::DeployFailed { deployment, step: step.into(), problem };
        if let Err(StepFailure { problem, .. }) = self.step(key, deployment, event).await
            && problem.code != Code::Superseded
        {
            tracing::error!("a failed deployment is not in the ledger: {problem}");
            // A full disk: try again when it may have room, instead of at once.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn run(self: &Arc<Control>, key: &ModelKey, deployment: Deployment) {
        // Whatever it waits for, it ends as soon as nobody wants it.
        let result = tokio::select! {
            biased;
            result = self.steps(key, &deployment) => result,
            failure = self.unwanted(key, &deployment) => Err(failure),
        };
        self.statuses.lock().remove(&deployment.id);
        self.scales.clear_floors(key, &deployment);
        let Err(StepFailure { step, problem }) = result else { return };
        if problem.code == Code::Fenced || self.stopping.load(Ordering::Acquire) {
            // Another process, now or after the next start, goes on from the state.
            return;
        }
        tracing::warn!("{key} {} failed at {step}: {problem}", deployment.version);
        self.fail(key, deployment.id, step, problem).await;
        self.publish_routes();
    }

    /// Waits until a deployment was ended, superseded or removed with its model. Waits for ever if
    /// it goes live.
    async fn unwanted(&self, key: &ModelKey, deployment: &Deployment) -> StepFailure {
        let mut appended = self.state_store.appended();
        loop {
            appended.borrow_and_update();
            if let Err(failure) = self.still_wanted(key, deployment) {
                return failure;
            }
            if appended.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Fails if a newer attempt began or the model was removed.
    pub(crate) fn still_wanted(
        &self,
        key: &ModelKey,
        deployment: &Deployment,
    ) -> Result<(), StepFailure> {
        let state = self.state();
        let gone = || StepFailure {
            step: "superseded",
            problem: Problem::new(Code::Superseded, "the model was removed in the meantime"),
        };
        let model = state.models.get(key).ok_or_else(gone)?;
        let newer = model
            .running()
            .find(|other| other.environment == deployment.environment && other.id > deployment.id);
        let is_over = |own: &Deployment| matches!(own.outcome, Outcome::Failed { .. });
        match newer {
            None if model.deployment(deployment.id).is_none_or(is_over) => Err(StepFailure {
                step: "superseded",
                problem: Problem::new(Code::Superseded, "the deployment was ended"),
            }),
            None => Ok(()),
            Some(newer) => Err(StepFailure { step: "superseded", problem: superseded_by(newer) }),
        }
    }

    async fn steps(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: &Deployment,
    ) -> Result<(), StepFailure> {
        let begin = Instant::now();
        let id = deployment.id;
        let version = self.version(key, deployment.version).map_err(StepFailure::at("build"))?;
        let placement = self.state().placement(key, &deployment.environment, deployment.version);
        self.judge_signature(key, deployment, &version).await?;
        // What is live, or has a part of the traffic, was built and tested before; so was what was
        // live a moment ago.
        let state = self.state();
        let model = state.models.get(key);
        let wanted =
            model.and_then(|model| self.wanted_of(&state, key, model).0.get(&placement).copied());
        let is_tested = deployment.progress.is_some()
            || wanted.is_some_and(|wanted| wanted.part != Part::Candidate);
        if let Some(schema) = version.schema.as_ref().filter(|_| is_tested) {
            self.check_compatible(key, deployment, schema)?;
            self.check_records(&key.project, deployment, schema).await?;
        } else {
            self.build(key, id, &version).await?;
            self.still_wanted(key, deployment)?;
            let status = self.candidate(key, id, &placement).await?;
            self.still_wanted(key, deployment)?;
            let ReplicaState::Ready { info, .. } = &status.state else { return Ok(()) };
            let schema = self.schema(key, deployment, &version, &status, info).await?;
            self.check_compatible(key, deployment, &schema)?;
            self.check_records(&key.project, deployment, &schema).await?;
            let trial =
                Trial { key, deployment, version: &version, schema: &schema, status: &status };
            self.try_out(trial).await?;
            self.still_wanted(key, deployment)?;
        }
        self.rehearse(key, deployment).await?;
        self.still_wanted(key, deployment)?;
        self.shift(key, deployment).await?;
        self.grow(key, deployment, 100).await?;
        self.release(key, deployment, begin).await
    }

    pub(crate) fn version(
        &self,
        key: &ModelKey,
        number: VersionNumber,
    ) -> Result<Arc<Version>, Problem> {
        let state = self.state();
        let version = state.models.get(key).and_then(|model| model.versions.get(&number)).cloned();
        version.ok_or_else(|| Problem::new(Code::NoSuchVersion, format!("{key} {number} is gone")))
    }

    /// Appends what an attempt has reached, unless it was ended in the meantime.
    pub(crate) async fn step(
        &self,
        key: &ModelKey,
        id: DeploymentId,
        event: Event,
    ) -> Result<(), StepFailure> {
        let wanted = key.clone();
        let decide = move |state: &State| {
            let own = state.models.get(&wanted).and_then(|model| model.deployment(id));
            match own.is_some_and(|own| own.outcome == Outcome::Running) {
                true => Ok(event),
                false => {
                    Err(Problem::new(Code::Superseded, "the deployment has ended in the meantime"))
                }
            }
        };
        self.state_store
            .append(&Principal::Platform, &key.to_string(), decide)
            .await
            .map(|_| ())
            .map_err(StepFailure::at("ledger"))
    }

    async fn build(
        &self,
        key: &ModelKey,
        deployment: DeploymentId,
        version: &Version,
    ) -> Result<(), StepFailure> {
        let lock = version.pushed.lock.as_ref();
        let built = self.engine.build(version.pushed.runtime, lock).await;
        let built =
            built.map_err(|error| StepFailure { step: "build", problem: error.problem() })?;
        let Some((lock, built)) = lock.zip(built) else { return Ok(()) };
        let event = Event::EnvironmentBuilt {
            deployment,
            lock: lock.digest,
            cached: built.cached,
            elapsed_ms: built.elapsed_ms,
        };
        self.step(key, deployment, event).await
    }

    /// The version's schema: as recorded, else as it is told. Recorded once.
    async fn schema(
        &self,
        key: &ModelKey,
        deployment: &Deployment,
        version: &Version,
        status: &ReplicaStatus,
        info: &WorkerInfo,
    ) -> Result<Schema, StepFailure> {
        if let Some(schema) = &version.schema {
            return Ok(schema.clone());
        }
        let mut schema = told(version, info).map_err(StepFailure::at("start"))?;
        schema.alone =
            !deployment.plan.untested && self.must_be_alone(key, version, &schema, status).await;
        let event =
            Event::SchemaRecorded { version: version.pushed.version, schema: schema.clone() };
        self.step(key, deployment.id, event).await?;
        Ok(schema)
    }

    async fn release(
        &self,
        key: &ModelKey,
        deployment: &Deployment,
        begin: Instant,
    ) -> Result<(), StepFailure> {
        let (id, version, environment) =
            (deployment.id, deployment.version, deployment.environment.clone());
        let (wanted, elapsed_ms) = (key.clone(), begin.elapsed().as_millis() as u64);
        let decide = move |state: &State| {
            let model = state.models.get(&wanted).ok_or_else(|| {
                Problem::new(Code::Superseded, "the model was removed in the meantime")
            })?;
            if model.deployment(id).is_none_or(|deployment| deployment.outcome != Outcome::Running)
            {
                return Err(Problem::new(
                    Code::Superseded,
                    "the deployment has ended in the meantime",
                ));
            }
            // What was trusted when it began may not be any more.
            check_named(state, &wanted, &environment, version)?;
            let previous = model.live.get(&environment).map(|live| live.version);
            Ok(Event::Released { deployment: id, version, environment, previous, elapsed_ms })
        };
        self.state_store
            .append(&Principal::Platform, &key.to_string(), decide)
            .await
            .map_err(StepFailure::at("release"))?;
        self.publish_routes();
        Ok(())
    }
}

/// The columns of a version that was never live: as the worker tells, with what the manifest says of
/// some of them.
pub(crate) fn told(version: &Version, info: &WorkerInfo) -> Result<Schema, Problem> {
    let section = &version.pushed.manifest.schema;
    let mut schema = info.schema.clone().unwrap_or(Schema { batches: true, ..Schema::default() });
    for (columns, said) in
        [(&mut schema.inputs, &section.inputs), (&mut schema.outputs, &section.outputs)]
    {
        *columns = merged(columns, said).map_err(|name| {
            let text = format!(
                "[schema] names `{name}` without a datatype, and the model does not tell it"
            );
            Problem::new(Code::BadSchema, text)
                .help("correct the name, or say what it is, as in datatype = \"FP64\", shape = []")
        })?;
    }
    if schema.inputs.is_empty() {
        return Err(Problem::new(Code::NoSchema, "the model does not tell its input columns")
            .help("add [schema] inputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }] to decalog.toml"));
    }
    if let Err(why) = schema.inputs.iter().chain(&schema.outputs).try_for_each(Column::check) {
        return Err(
            Problem::new(Code::BadSchema, format!("the model {why}")).help("correct its columns")
        );
    }
    Ok(schema)
}
