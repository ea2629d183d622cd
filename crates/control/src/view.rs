//! What is shown of models: the values behind `ls`, `show` and the API that both read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::event::Measurement;
use domain::guard::Judgements;
use domain::launch::{ProcessId, Sandbox, Site, Temperature};
use domain::manifest::Runtime;
use domain::rehearsal::Rehearsal;
use domain::release::{Plan, Progress};
use domain::state::{Deployment, Outcome};
use domain::{
    Code, Digest, EnvironmentName, ModelKey, ModelName, Placement, Probe, Problem, ProjectName,
    Provenance, ReplicaId, Schema, VersionNumber,
};
use engine::{ReplicaState, TemplateState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::failing::{is_over, reason};
use crate::judging::Status;
use crate::trust::SignatureView;

/// One model in one environment, in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelRow {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: ModelName,
    /// Where it is live; absent if it is nowhere.
    pub environment: Option<EnvironmentName>,
    /// What is live there, as `v3`.
    pub live: Option<String>,
    /// Replicas that are ready.
    pub replicas: usize,
    /// Replicas that are wanted; absent where nothing is live.
    #[serde(default)]
    pub wanted: Option<u32>,
    /// How the replica that was ready last was started; absent if none is.
    #[serde(default)]
    pub temperature: Option<Temperature>,
    /// In one word or two.
    pub state: String,
}

/// A release that is on its way, or the last one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseView {
    /// The attempt.
    pub deployment: u64,
    /// The version, as `v3`.
    pub version: String,
    /// The environment that it takes place in.
    pub environment: EnvironmentName,
    /// Who asked.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How the traffic moves.
    pub plan: Plan,
    /// Which part it has, while it is on its way.
    pub progress: Option<Progress>,
    /// What the guards say of it now, as text.
    pub said: String,
    /// The same with all numbers; absent until they have judged since the server started, and once
    /// it is over.
    #[serde(default)]
    pub judgements: Option<Judgements>,
    /// What came of its rehearsal, once it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Rehearsal>,
    /// How far it is.
    pub outcome: Outcome,
}

/// One replica.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaView {
    /// Its id.
    pub replica: String,
    /// What it runs, as `v3`.
    pub version: String,
    /// The environment whose requests it answers.
    pub environment: EnvironmentName,
    /// `starting`, `ready`, `leaving` or `ended`.
    pub state: String,
    /// Where its process is.
    #[serde(flatten)]
    pub site: Site,
    /// From its start to being ready.
    pub start_ms: Option<u64>,
    /// Batches that it runs at this moment.
    pub in_flight: u32,
    /// How it was started: `warm`, `tepid` or `cold`.
    pub temperature: Temperature,
    /// Why not warmer.
    pub colder_because: Option<String>,
    /// How far it is confined: `full`, `reduced` or `off`; null while it has no process.
    pub sandbox: Option<Sandbox>,
    /// In MiB; pages that it shares with its parent count in part.
    pub memory_mb: Option<f64>,
}

/// A process that takes no requests, kept so that replicas start faster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ParkedView {
    /// `spare` or `parent`.
    pub kind: String,
    /// The version that it is kept for, as `v3`.
    pub version: String,
    /// The environment that it is kept for.
    pub environment: EnvironmentName,
    /// Where its process is.
    #[serde(flatten)]
    pub site: Site,
    /// Its share of memory, in MiB.
    pub memory_mb: Option<f64>,
    /// What is worth knowing.
    pub note: String,
}

/// One version.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VersionView {
    /// As `v3`.
    pub version: String,
    /// Its identity.
    pub digest: Digest,
    /// What runs it.
    pub runtime: Runtime,
    /// When it was pushed, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its columns, once they are known.
    pub schema: Option<Schema>,
    /// Its packages.
    pub packages: Vec<String>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// By its last benchmark.
    pub measured: Option<Measurement>,
    /// Whether it gives the same answers each time, by the environment that it was tried in.
    #[serde(default)]
    pub probed: BTreeMap<EnvironmentName, Probe>,
    /// Who signed it; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureView>,
}

/// One attempt to go live.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentView {
    /// Its id.
    pub deployment: u64,
    /// The version, as `v3`.
    pub version: String,
    /// The environment that it was for.
    pub environment: EnvironmentName,
    /// Who asked.
    #[serde(default)]
    pub actor: String,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub at_ms: u64,
    /// What came of its rehearsal, once it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Rehearsal>,
    /// How far it is.
    pub outcome: Outcome,
}

/// All about one model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelView {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: ModelName,
    /// What is live where.
    pub live: Vec<(EnvironmentName, String)>,
    /// What a rollback makes live where.
    #[serde(default)]
    pub rollback_to: Vec<(EnvironmentName, String)>,
    /// Why no new replica of what is live starts, by environment, where it does not; earlier ones
    /// may answer all the same.
    #[serde(default)]
    pub failing: Vec<(EnvironmentName, Problem)>,
    /// How many replicas are wanted of what is live, by environment.
    pub targets: Vec<(EnvironmentName, u32)>,
    /// Its versions, oldest first.
    pub versions: Vec<VersionView>,
    /// Its replicas; empty at zero.
    pub replicas: Vec<ReplicaView>,
    /// What is kept so that it starts faster.
    pub parked: Vec<ParkedView>,
    /// Its latest attempts to go live, oldest first.
    pub deployments: Vec<DeploymentView>,
}

impl Control {
    /// All models of the projects for which this holds; it is asked once for each.
    pub fn list(&self, mut is_seen: impl FnMut(&ProjectName) -> bool) -> Vec<ModelRow> {
        let state = self.state();
        let mut seen: HashMap<&ProjectName, bool> = HashMap::new();
        let mut ready: HashMap<_, (usize, Temperature)> = HashMap::new();
        for status in self.replicas() {
            if let ReplicaState::Ready { .. } = status.state {
                let Placement { model, environment, version, .. } = &status.placement;
                let place = (model.clone(), environment.clone(), *version);
                let known = ready.entry(place).or_insert((0, status.temperature));
                *known = (known.0 + 1, status.temperature);
            }
        }
        let mut rows = vec![];
        for (key, model) in state.models.iter().filter(|(_, model)| !model.versions.is_empty()) {
            if !*seen.entry(&key.project).or_insert_with(|| is_seen(&key.project)) {
                continue;
            }
            let row = |environment: Option<EnvironmentName>, live: Option<VersionNumber>| {
                let place = environment
                    .clone()
                    .zip(live)
                    .map(|(environment, version)| (key.clone(), environment, version));
                let ready = place.and_then(|place| ready.get(&place).copied());
                let replicas = ready.map_or(0, |(replicas, _)| replicas);
                // What befell an attempt elsewhere says nothing of this environment.
                let is_here =
                    |d: &&Deployment| environment.as_ref().is_none_or(|own| d.environment == *own);
                let last = model.deployments.iter().rev().find(is_here);
                let shifting =
                    environment.as_ref().and_then(|environment| model.shifting(environment));
                let wanted = environment.as_ref().zip(live).and_then(|(environment, live)| {
                    self.scales.target(&state.placement(key, environment, live))
                });
                let failing = environment
                    .as_ref()
                    .zip(live)
                    .and_then(|(environment, live)| self.failing(&state, key, environment, live));
                let now_ms = self.clock.now_ms();
                let last = last.filter(|last| live.is_none() || !is_over(last, now_ms));
                let state = match last.map(|deployment| &deployment.outcome) {
                    _ if shifting.is_some() => {
                        shifting.map_or(String::new(), |(deployment, progress)| {
                            let paused = if progress.paused { ", paused" } else { "" };
                            format!(
                                "{} {} {}%{paused}",
                                if progress.phase.shadow { "shadow" } else { "canary" },
                                deployment.version,
                                progress.phase.percent
                            )
                        })
                    }
                    Some(Outcome::Running) => {
                        last.map_or(String::new(), |d| format!("deploying {}", d.version))
                    }
                    _ if failing.is_some() => failing.map_or(String::new(), |problem| {
                        let answering = if replicas > 0 { "new replicas fail" } else { "fails" };
                        format!("{answering}: {}", reason(&problem))
                    }),
                    Some(Outcome::Failed { step, .. }) => {
                        last.map_or(String::new(), |d| match step.as_str() {
                            "aborted" => format!("{} was aborted", d.version),
                            step => format!("{} failed at {step}", d.version),
                        })
                    }
                    _ if wanted == Some(0) => "idle: a request wakes it".into(),
                    _ if live.is_some() && replicas == 0 => "no replica is ready".into(),
                    _ => String::new(),
                };
                let (project, name) = (key.project.clone(), key.model.clone());
                ModelRow {
                    project,
                    name,
                    environment,
                    live: live.map(|version| version.to_string()),
                    replicas,
                    wanted,
                    temperature: ready.map(|(_, temperature)| temperature),
                    state,
                }
            };
            if model.live.is_empty() {
                rows.push(row(None, None));
            }
            rows.extend(
                model
                    .live
                    .iter()
                    .map(|(environment, live)| row(Some(environment.clone()), Some(live.version))),
            );
        }
        rows
    }

    /// One model.
    pub async fn show(&self, key: &ModelKey) -> Result<ModelView, Problem> {
        let state = self.state();
        let model = state.model(key)?;
        let version = |version: &Arc<domain::state::Version>| VersionView {
            version: version.pushed.version.to_string(),
            digest: version.pushed.digest,
            runtime: version.pushed.runtime,
            at_ms: version.at_ms,
            schema: version.schema.clone(),
            packages: version
                .pushed
                .lock
                .as_ref()
                .map(|lock| lock.packages.clone())
                .unwrap_or_default(),
            provenance: version.pushed.provenance.clone(),
            measured: version.measured,
            probed: version.probed.clone(),
            signature: version
                .signature
                .as_ref()
                .map(|signature| SignatureView::of(&state, &key.project, signature)),
        };
        let (wanted, _) = self.wanted_of(&state, key, model);
        let own = self.replicas().into_iter().filter(|status| status.placement.model == *key);
        let (spares, statuses): (Vec<_>, Vec<_>) =
            own.partition(|status| self.is_spare(status, wanted.get(&status.placement)));
        let parents = self
            .engine
            .templates()
            .into_iter()
            .filter(|parent| parent.role.placement().is_some_and(|p| p.model == *key));
        let parents: Vec<_> = parents.collect();
        let of_replicas = spares.iter().chain(&statuses).map(|status| (&status.replica).into());
        let processes = of_replicas.chain(parents.iter().map(|parent| parent.id.clone()));
        let memory = self.engine.memory_mb(processes.collect()).await;
        let memory_mb = |id: &ReplicaId| memory.get(&ProcessId::from(id)).copied();
        let spares = spares.into_iter().map(|status| ParkedView {
            kind: "spare".into(),
            version: status.placement.version.to_string(),
            environment: status.placement.environment.clone(),
            site: status.site,
            memory_mb: memory_mb(&status.replica),
            note: String::new(),
        });
        let parents = parents.into_iter().filter_map(|parent| {
            let placement = parent.role.placement()?;
            Some(ParkedView {
                kind: "parent".into(),
                version: placement.version.to_string(),
                environment: placement.environment.clone(),
                site: parent.site,
                memory_mb: memory.get(&parent.id).copied(),
                note: match &parent.state {
                    TemplateState::Ready { can_fork: false, reason, .. } => {
                        format!("does not fork: {reason}")
                    }
                    TemplateState::Starting => "loads".into(),
                    _ => String::new(),
                },
            })
        });
        let parked: Vec<ParkedView> = spares.chain(parents).collect();
        let placements: BTreeSet<&Placement> =
            statuses.iter().map(|status| &status.placement).collect();
        let demands =
            placements.into_iter().filter_map(|placement| (self.signals.demand)(placement));
        let in_flight: BTreeMap<ReplicaId, u32> =
            demands.flat_map(|demand| demand.in_flight).collect();
        let replica = |status: Arc<engine::ReplicaStatus>| ReplicaView {
            state: match &status.state {
                ReplicaState::Ended { .. } => "ended",
                _ if self.replicas.is_leaving(&status.replica) => "leaving",
                ReplicaState::Starting => "starting",
                ReplicaState::Ready { .. } => "ready",
            }
            .into(),
            version: status.placement.version.to_string(),
            environment: status.placement.environment.clone(),
            start_ms: match &status.state {
                ReplicaState::Ready { elapsed_ms, .. } if *elapsed_ms > 0 => Some(*elapsed_ms),
                _ => None,
            },
            memory_mb: memory_mb(&status.replica),
            in_flight: in_flight.get(&status.replica).copied().unwrap_or(0),
            temperature: status.temperature,
            colder_because: status.colder_because.clone(),
            sandbox: status.sandbox,
            site: status.site,
            replica: status.replica.to_string(),
        };
        let mut replicas: Vec<ReplicaView> = statuses.into_iter().map(replica).collect();
        replicas.sort_by(|a, b| a.replica.cmp(&b.replica));
        let deployment = |deployment: &Deployment| DeploymentView {
            deployment: deployment.id.0,
            version: deployment.version.to_string(),
            environment: deployment.environment.clone(),
            actor: self.actor_name(&state, deployment.id.0, &deployment.actor),
            at_ms: deployment.at_ms,
            rehearsed: deployment.rehearsed.as_deref().cloned(),
            outcome: deployment.outcome.clone(),
        };
        let back = model.live.iter().filter_map(|(environment, live)| {
            Some((environment.clone(), live.before.last()?.to_string()))
        });
        Ok(ModelView {
            rollback_to: back.collect(),
            project: key.project.clone(),
            name: key.model.clone(),
            live: model
                .live
                .iter()
                .map(|(environment, live)| (environment.clone(), live.version.to_string()))
                .collect(),
            failing: model
                .live
                .iter()
                .filter_map(|(environment, live)| {
                    let problem = self.failing(&state, key, environment, live.version)?;
                    Some((environment.clone(), problem))
                })
                .collect(),
            targets: model
                .live
                .iter()
                .filter_map(|(environment, live)| {
                    let target =
                        self.scales.target(&state.placement(key, environment, live.version))?;
                    Some((environment.clone(), target))
                })
                .collect(),
            versions: model.versions.values().map(version).collect(),
            replicas,
            parked,
            deployments: model.deployments.iter().map(deployment).collect(),
        })
    }
}

impl Control {
    /// The release that is on its way in an environment, else the last one there.
    pub fn release_status(
        &self,
        key: &ModelKey,
        environment: &EnvironmentName,
    ) -> Result<ReleaseView, Problem> {
        let state = self.state();
        let model = state.model(key)?;
        let last = model
            .deployments
            .iter()
            .rev()
            .find(|deployment| deployment.environment == *environment);
        let deployment =
            model.shifting(environment).map(|(deployment, _)| deployment).or(last).ok_or_else(
                || {
                    Problem::new(
                        Code::NoRelease,
                        format!("`{}` was never released in {environment}", key.model),
                    )
                    .help(format!("decalog promote {} production {environment}", key.model))
                },
            )?;
        let (said, judgements) = match self.statuses.lock().get(&deployment.id) {
            Some(Status::Waits(why)) => (Some(why.clone()), None),
            Some(Status::Judged(of)) => (Some(of.to_string()), Some(Judgements::clone(of))),
            None => (None, None),
        };
        let is_on_its_way = deployment.outcome == Outcome::Running;
        Ok(ReleaseView {
            deployment: deployment.id.0,
            version: deployment.version.to_string(),
            environment: environment.clone(),
            actor: self.actor_name(&self.state(), deployment.id.0, &deployment.actor),
            at_ms: deployment.at_ms,
            plan: deployment.plan.clone(),
            said: said
                .or_else(|| deployment.progress.as_ref().map(|progress| progress.said.clone()))
                .unwrap_or_default(),
            judgements,
            rehearsed: deployment.rehearsed.as_deref().cloned(),
            progress: deployment.progress.clone().filter(|_| is_on_its_way),
            outcome: deployment.outcome.clone(),
        })
    }
}
