//! Releases: what moves traffic to a version after it has passed its gates, and the verbs that
//! start, hold and end one.

use std::sync::Arc;
use std::time::Duration;

use domain::guard::Verdict;
use domain::manifest::Configuration;
use domain::release::{Cause, Plan, Progress};
use domain::state::{BEFORE_MAX, Deployment, Outcome};
use domain::{
    Action, Caller, Code, DeploymentId, EnvironmentName, Event, ModelKey, Object, Problem, Schema,
    State, VersionNumber, compatibility,
};

use policy::access::action_to_make_live;

use crate::Control;
use crate::access::permit;
use crate::failure::StepFailure;
use crate::judging::{Judging, Step};
use crate::signature::check_named;

/// What it is to make a version live, whatever the caller calls it.
fn action_of(
    state: &State,
    key: &ModelKey,
    environment: &EnvironmentName,
    version: VersionNumber,
    configuration: Option<&Configuration>,
) -> Action {
    let model = state.models.get(key);
    let live = model.and_then(|model| model.live.get(environment));
    let before = live.map_or(&[][..], |live| live.before.as_slice());
    let now =
        live.map(|live| state.configuration(&state.placement(key, environment, live.version)));
    let changes = configuration.is_some_and(|wanted| now.as_ref() != Some(wanted));
    action_to_make_live(version, before, changes)
}

/// The begin of a deployment, if it can begin now.
pub(crate) fn started(
    state: &State,
    key: &ModelKey,
    version: VersionNumber,
    environment: &EnvironmentName,
    plan: Plan,
    configuration: Option<Configuration>,
) -> Result<Event, Problem> {
    let model = state.models.get(key).filter(|model| model.versions.contains_key(&version));
    let Some(model) = model else {
        let known: Vec<String> = state
            .models
            .get(key)
            .into_iter()
            .flat_map(|model| model.versions.keys())
            .map(|v| v.to_string())
            .collect();
        let help = if known.is_empty() {
            "push it first".into()
        } else {
            format!("it has {}", known.join(", "))
        };
        return Err(Problem::new(
            Code::NoSuchVersion,
            format!("`{}` has no version {version}", key.model),
        )
        .help(help));
    };
    check_named(state, key, environment, version)?;
    if let Some((other, progress)) = model.shifting(environment)
        && plan.cause != Cause::Rollback
    {
        let text = format!(
            "a release of {} in {environment} is on its way ({})",
            other.version, progress.phase
        );
        return Err(Problem::new(Code::ReleaseRunning, text).help(format!(
            "wait for it (decalog release status {0}), or end it: decalog release abort {0}",
            key.model
        )));
    }
    let nothing_to_share = model.live.get(environment).is_none_or(|live| live.version == version);
    let mut plan = plan;
    if nothing_to_share && plan.cause == Cause::Deploy {
        // What the manifest says of releases holds as soon as there is something to release
        // against.
        plan = Plan { breaking: plan.breaking, untested: plan.untested, ..Plan::default() };
    }
    if (!plan.is_instant() || plan.rehearse.is_some()) && nothing_to_share {
        let text = match model.live.get(environment) {
            None => {
                format!(
                    "nothing is live in {environment}, so there is nothing to compare {version} with"
                )
            }
            Some(_) => format!("{version} is live in {environment} already"),
        };
        return Err(Problem::new(Code::NothingToCompare, text)
            .help(format!("decalog release {}@{version}", key.model)));
    }
    Ok(Event::DeployStarted {
        version,
        environment: environment.clone(),
        plan,
        configuration: configuration.map(Box::new),
        proposal: None,
    })
}

impl Control {
    /// Asks for a version to take the traffic of an environment. Gives the attempt's id; its steps
    /// are events.
    pub async fn deploy(
        self: &Arc<Control>,
        caller: &Caller,
        key: &ModelKey,
        version: VersionNumber,
        environment: EnvironmentName,
        plan: Plan,
        configuration: Option<Configuration>,
    ) -> Result<DeploymentId, Problem> {
        plan.validate().map_err(|error| {
            Problem::new(Code::BadPlan, error.to_string()).help("decalog release --help")
        })?;
        let object = Object::ModelIn(key.clone(), environment.clone());
        let (mut plan, mut configuration) = (plan, configuration);
        if self.permit(caller, Action::Release, &object).is_err()
            && self.permit(caller, Action::Rollback, &object).is_ok()
            && action_of(&self.state(), key, &environment, version, None) == Action::Rollback
        {
            // Who may only go back goes back as a rollback does, and can come back by no other way.
            plan = Plan { cause: Cause::Rollback, breaking: true, ..Plan::default() };
            configuration = None;
        }
        if plan.rehearse.is_some() {
            self.permit_rehearsal(caller, key, &environment, version)?;
        }
        let (of, to, configured) = (key.clone(), environment.clone(), configuration.clone());
        let action = move |state: &State| action_of(state, &of, &to, version, configured.as_ref());
        let (wanted, to) = (key.clone(), environment.clone());
        let decide =
            move |state: &State| started(state, &wanted, version, &to, plan, configuration);
        let entry = self.change(caller, &key.to_string(), object, action, decide).await?;
        self.drive(key, &environment);
        Ok(DeploymentId(entry.seq))
    }

    /// Takes what is live in one environment live in another: the same version, built and tested
    /// already.
    pub async fn promote(
        self: &Arc<Control>,
        caller: &Caller,
        key: &ModelKey,
        from: EnvironmentName,
        to: EnvironmentName,
        plan: Plan,
    ) -> Result<(DeploymentId, VersionNumber), Problem> {
        let object = Object::ModelIn(key.clone(), to.clone());
        self.permit_one_of(caller, &[Action::Release, Action::Rollback], &object)?;
        let version = self.live_version(key, &from)?;
        let plan = Plan { cause: Cause::Promote, ..plan };
        Ok((self.deploy(caller, key, version, to, plan, None).await?, version))
    }

    /// Goes back: ends a release that is on its way, else releases what was live before. Gives what
    /// is live then, and the attempt that takes it there, if one is needed.
    pub async fn rollback(
        self: &Arc<Control>,
        caller: &Caller,
        key: &ModelKey,
        environment: EnvironmentName,
    ) -> Result<(VersionNumber, Option<DeploymentId>), Problem> {
        let object = Object::ModelIn(key.clone(), environment.clone());
        self.permit(caller, Action::Rollback, &object)?;
        let live = self.live_version(key, &environment)?;
        let state = self.state();
        let model = state.models.get(key);
        if model.is_some_and(|model| model.shifting(&environment).is_some()) {
            self.abort(caller, key, &environment, "rolled back").await?;
            return Ok((live, None));
        }
        let before = model
            .and_then(|model| model.live.get(&environment))
            .and_then(|live| live.before.last().copied());
        let Some(before) = before else {
            let forgotten = model
                .and_then(|model| model.live.get(&environment))
                .map_or(0, |live| live.forgotten);
            let text = match forgotten {
                0 => format!("nothing was live in {environment} before {live}"),
                _ => format!(
                    "what was live in {environment} before {live} is not kept any more: it was removed, or {BEFORE_MAX} releases ago"
                ),
            };
            return Err(Problem::new(Code::NothingBefore, text).help(format!(
                "name a version: decalog release {}@v…; decalog show {0} lists them",
                key.model
            )));
        };
        // Its columns are those that callers had before. Its cases run; as it has been live, no
        // made-up row is asked.
        let plan = Plan { cause: Cause::Rollback, breaking: true, ..Plan::default() };
        Ok((before, Some(self.deploy(caller, key, before, environment, plan, None).await?)))
    }

    fn live_version(
        &self,
        key: &ModelKey,
        environment: &EnvironmentName,
    ) -> Result<VersionNumber, Problem> {
        let reference = domain::Reference {
            environment: Some(environment.clone()),
            ..domain::Reference::live(key.clone())
        };
        self.state().resolve(&reference)
    }

    /// The attempt that has a part of an environment's traffic.
    fn shifting(
        &self,
        key: &ModelKey,
        environment: &EnvironmentName,
    ) -> Result<(Deployment, Progress), Problem> {
        let state = self.state();
        let model = state.models.get(key);
        let found = model
            .and_then(|model| model.shifting(environment))
            .map(|(d, p)| (d.clone(), p.clone()));
        found.ok_or_else(|| match model {
            None => state.no_such_model(key),
            Some(_) => Problem::new(
                Code::NoRelease,
                format!("no release of `{}` is on its way in {environment}", key.model),
            )
            .help(format!("decalog events {} shows how the last one ended", key.model)),
        })
    }

    /// Holds a release where it is, or lets it go on.
    pub async fn pause(
        &self,
        caller: &Caller,
        key: &ModelKey,
        environment: &EnvironmentName,
        pause: bool,
    ) -> Result<(), Problem> {
        let object = Object::ModelIn(key.clone(), environment.clone());
        self.permit(caller, Action::Steer, &object)?;
        let (deployment, progress) = self.shifting(key, environment)?;
        if progress.paused == pause {
            return Ok(());
        }
        let deployment = deployment.id;
        let event = if pause {
            Event::ReleasePaused { deployment }
        } else {
            Event::ReleaseResumed { deployment }
        };
        self.while_running(caller, key, environment, deployment, event).await
    }

    /// Ends what is on its way to an environment, whatever it does just now: all traffic goes where
    /// it went before.
    pub async fn abort(
        &self,
        caller: &Caller,
        key: &ModelKey,
        environment: &EnvironmentName,
        why: &str,
    ) -> Result<(), Problem> {
        let object = Object::ModelIn(key.clone(), environment.clone());
        self.permit(caller, Action::Steer, &object)?;
        let (deployment, at) = match self.shifting(key, environment) {
            Ok((deployment, progress)) => (deployment.id, format!("at {}", progress.phase)),
            Err(none) => {
                let state = self.state();
                let running = state.models.get(key).into_iter().flat_map(|model| model.running());
                let newest =
                    running.filter(|deployment| deployment.environment == *environment).last();
                (newest.ok_or(none)?.id, "before it had any traffic".into())
            }
        };
        let problem = Problem::new(Code::Aborted, format!("{why} {at}"));
        self.while_running(
            caller,
            key,
            environment,
            deployment,
            Event::DeployFailed { deployment, step: "aborted".into(), problem },
        )
        .await?;
        self.publish_routes();
        self.work.notify_one();
        Ok(())
    }

    /// Appends what somebody wants of an attempt that is still on its way.
    async fn while_running(
        &self,
        caller: &Caller,
        key: &ModelKey,
        environment: &EnvironmentName,
        id: DeploymentId,
        event: Event,
    ) -> Result<(), Problem> {
        let (wanted, by, now_ms) = (key.clone(), caller.clone(), self.clock.now_ms());
        let object = Object::ModelIn(key.clone(), environment.clone());
        let decide = move |state: &State| {
            permit(state, now_ms, &by, Action::Steer, &object)?;
            let running = state.models.get(&wanted).and_then(|model| model.deployment(id));
            match running.is_some_and(|deployment| deployment.outcome == Outcome::Running) {
                true => Ok(event),
                false => {
                    Err(Problem::new(Code::NoRelease, "the release has ended in the meantime"))
                }
            }
        };
        self.state_store.append(&caller.principal, &key.to_string(), decide).await.map(|_| ())
    }

    /// Refuses a version that would break those who call the live one.
    pub(crate) fn check_compatible(
        &self,
        key: &ModelKey,
        deployment: &Deployment,
        new: &Schema,
    ) -> Result<(), StepFailure> {
        let state = self.state();
        let model = state.models.get(key);
        let live = model.and_then(|model| model.live.get(&deployment.environment));
        let Some(live) =
            live.filter(|live| live.version != deployment.version && !deployment.plan.breaking)
        else {
            return Ok(());
        };
        let old = model
            .and_then(|model| model.versions.get(&live.version))
            .and_then(|version| version.schema.as_ref());
        let details = old.map(|old| compatibility::breaks(old, new)).unwrap_or_default();
        if details.is_empty() {
            return Ok(());
        }
        let text = format!(
            "{} would break those who call {} in {}",
            deployment.version, live.version, deployment.environment
        );
        let problem = Problem::new(Code::Breaking, text).details(details).help(
            "give the columns back or make the new ones optional; if it is meant: --breaking",
        );
        Err(StepFailure { step: "compatibility", problem })
    }

    /// Moves the traffic phase by phase. Returns once the version may have all of it.
    pub(crate) async fn shift(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: &Deployment,
    ) -> Result<(), StepFailure> {
        let phases = deployment.plan.phases();
        if phases.is_empty() {
            return Ok(());
        }
        let at = |problem| StepFailure { step: "release", problem };
        let baseline = match &deployment.progress {
            Some(progress) => progress.baseline,
            None => self.live_version(key, &deployment.environment).map_err(at)?,
        };
        let first = deployment.progress.as_ref().map_or(0, |progress| progress.step as usize);
        // What an earlier process had seen is lost, and the part of α that it may have spent is not
        // spent again.
        let segment = 1 + deployment.progress.as_ref().map_or(0, |progress| progress.segments);
        let mut judging = Judging::new(&deployment.plan, first as u32 + 1, segment);
        for (step, phase) in phases.iter().enumerate().skip(first) {
            if deployment.progress.as_ref().is_none_or(|progress| progress.step as usize != step) {
                self.grow(key, deployment, phase.percent).await?;
                let event = Event::TrafficShifted {
                    deployment: deployment.id,
                    version: deployment.version,
                    environment: deployment.environment.clone(),
                    baseline,
                    step: step as u32,
                    phase: *phase,
                };
                self.step(key, deployment.id, event).await?;
                self.publish_routes();
                self.work.notify_one();
            }
            if step > first {
                judging.watch.begin_step();
            }
            let step = Step { number: step as u32, phase: *phase, baseline };
            self.hold(key, deployment, step, &mut judging).await?;
        }
        Ok(())
    }

    /// Stays in a phase until its time is over and the guards let it go on; fails if they roll it
    /// back.
    async fn hold(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: &Deployment,
        step: Step,
        judging: &mut Judging,
    ) -> Result<(), StepFailure> {
        let Step { number, phase, baseline } = step;
        let placement = |version| self.state().placement(key, &deployment.environment, version);
        let began_ms = self.clock.monotonic_ms();
        // After a restart of the platform, the part of the step that has passed counts.
        let passed_ms = match &deployment.progress {
            Some(progress) if progress.step == number => {
                self.clock.now_ms().saturating_sub(progress.since_ms)
            }
            _ => 0,
        };
        let until_ms = began_ms + deployment.plan.every_ms().saturating_sub(passed_ms);
        // What was counted before this phase belongs to another share.
        (self.signals.window)(&placement(deployment.version));
        (self.signals.window)(&placement(baseline));
        // A shadow alone ends only when somebody ends it: what follows it is a release of its own.
        let is_last_shadow = phase.shadow && deployment.plan.canary.is_empty();
        loop {
            tokio::time::sleep(Duration::from_millis(self.config.judge_ms)).await;
            self.still_wanted(key, deployment)?;
            let (canary, base) = (placement(deployment.version), placement(baseline));
            if self.replicas.has_failed_since(&canary, began_ms) {
                let problem = Problem::new(
                    Code::WorkerDied,
                    format!("the replicas of {} do not stay up", deployment.version),
                )
                .help(format!("decalog logs {}@{}", key.model, deployment.version));
                return Err(StepFailure { step: "guard", problem });
            }
            let is_paused = self
                .shifting(key, &deployment.environment)
                .is_ok_and(|(_, progress)| progress.paused);
            let windows = ((self.signals.window)(&canary), (self.signals.window)(&base));
            let verdict = self.judge(key, deployment, step, judging, windows).await?;
            if verdict == Verdict::Advance
                && !is_paused
                && !is_last_shadow
                && self.clock.monotonic_ms() >= until_ms
            {
                return Ok(());
            }
        }
    }
}
