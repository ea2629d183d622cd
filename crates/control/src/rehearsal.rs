//! Rehearsals: before a release gives a candidate any traffic, recorded requests are asked of it and
//! of the live version, and the guards of the release are judged on what both answered. Who reads
//! records and asks is told at the start; here is what follows from it. After a restart of the server
//! in the middle, all of it is done again.

use std::sync::Arc;

use domain::alarm::Target;
use domain::rehearsal::{Rehearsal, RehearsalVerdict};
use domain::state::Deployment;
use domain::{
    Action, Caller, Code, EnvironmentName, Event, ModelKey, Object, Problem, State, VersionNumber,
};
use futures_util::future::BoxFuture;
use policy::rehearsal::{Evidence, judge};
use tokio::time::Instant;

use crate::failure::StepFailure;
use crate::judging::Status;
use crate::{Control, aside};

/// Asks the requests of a rehearsal. It ends when the future is dropped.
pub type Rehearse =
    Arc<dyn Fn(Rehearsing) -> BoxFuture<'static, Result<Evidence, Problem>> + Send + Sync>;

const STEP: &str = "rehearsal";

/// A rehearsal that is on its way.
#[derive(Clone)]
pub struct Rehearsing {
    /// Starts replicas off the traffic.
    pub control: Arc<Control>,
    /// Of which model.
    pub key: ModelKey,
    /// Whose requests.
    pub environment: EnvironmentName,
    /// What is to go live.
    pub candidate: VersionNumber,
    /// What is live, and answered them.
    pub live: VersionNumber,
    /// The last so many.
    pub wanted: u32,
    deployment: Deployment,
}

impl Rehearsing {
    /// So many requests were found, and are about to be asked.
    pub async fn began(&self, found: u32) -> Result<(), Problem> {
        let event = Event::RehearsalStarted {
            deployment: self.deployment.id,
            version: self.candidate,
            environment: self.environment.clone(),
            baseline: self.live,
            wanted: self.wanted,
            found,
        };
        let appended = self.control.step(&self.key, self.deployment.id, event).await;
        appended.map_err(|StepFailure { problem, .. }| problem)
    }

    /// How far it is, or what it waits for, in words.
    pub fn says(&self, text: String) {
        let status = Status::Waits(format!("rehearsal: {text}"));
        self.control.statuses.lock().insert(self.deployment.id, status);
    }
}

/// What a release in an environment would be compared with.
fn live_beside(
    state: &State,
    key: &ModelKey,
    environment: &EnvironmentName,
    version: VersionNumber,
) -> Option<VersionNumber> {
    let live = state.models.get(key)?.live.get(environment)?.version;
    (live != version).then_some(live)
}

impl Control {
    /// Whether a caller may have recorded requests asked again by a release: it shows, in numbers,
    /// what others asked, and asks models in their place.
    pub(crate) fn permit_rehearsal(
        &self,
        caller: &Caller,
        key: &ModelKey,
        environment: &EnvironmentName,
        version: VersionNumber,
    ) -> Result<(), Problem> {
        if live_beside(&self.state(), key, environment, version).is_none() {
            return Ok(());
        }
        let object = Object::ModelIn(key.clone(), environment.clone());
        for action in [Action::Records, Action::Read, Action::Predict] {
            self.permit(caller, action, &object).map_err(|mut problem| {
                problem.details.push(
                    "a rehearsal asks recorded requests again: it takes the rights to read records, \
                     to see the model and to ask it, beside that to release; or release without it"
                        .into(),
                );
                problem
            })?;
        }
        Ok(())
    }

    /// Takes a candidate through its rehearsal, if its release has one that it has not passed.
    pub(crate) async fn rehearse(
        self: &Arc<Control>,
        key: &ModelKey,
        deployment: &Deployment,
    ) -> Result<(), StepFailure> {
        let Some(wanted) = deployment.plan.rehearse else { return Ok(()) };
        let has_passed =
            deployment.rehearsed.as_ref().is_some_and(|it| it.verdict == RehearsalVerdict::Holds);
        if has_passed || deployment.progress.is_some() {
            return Ok(());
        }
        let (environment, candidate) = (deployment.environment.clone(), deployment.version);
        let Some(live) = live_beside(&self.state(), key, &environment, candidate) else {
            return Ok(());
        };
        let begin = Instant::now();
        let rehearsing = Rehearsing {
            control: self.clone(),
            key: key.clone(),
            environment: environment.clone(),
            candidate,
            live,
            wanted,
            deployment: deployment.clone(),
        };
        let asked = (self.rehearse)(rehearsing).await;
        self.statuses.lock().remove(&deployment.id);
        let evidence = asked.map_err(StepFailure::at(STEP))?;
        let guards = deployment.plan.guards_of_rehearsal();
        let rehearsal = aside(move || judge(&guards, &evidence)).await;
        let rehearsal = rehearsal.map_err(StepFailure::at(STEP))?;
        let event = Event::Rehearsed {
            deployment: deployment.id,
            version: candidate,
            environment: environment.clone(),
            baseline: live,
            rehearsal: Box::new(rehearsal.clone()),
            elapsed_ms: begin.elapsed().as_millis() as u64,
        };
        self.step(key, deployment.id, event).await?;
        let told = Told { key, environment: &environment, candidate, live };
        match rehearsal.verdict {
            RehearsalVerdict::Holds => Ok(()),
            RehearsalVerdict::Broken => Err(told.broken(&rehearsal)),
            RehearsalVerdict::Undecided => Err(told.undecided(&rehearsal)),
        }
        .map_err(StepFailure::at(STEP))
    }
}

/// What a rehearsal is of, for words on it.
struct Told<'a> {
    key: &'a ModelKey,
    environment: &'a EnvironmentName,
    candidate: VersionNumber,
    live: VersionNumber,
}

impl Told<'_> {
    fn broken(&self, rehearsal: &Rehearsal) -> Problem {
        let Told { key, environment, candidate, live } = self;
        let target = Target { model: (*key).clone(), environment: (*environment).clone() };
        let diff = target.command("diff");
        let text = match &rehearsal.why {
            Some(why)
                if rehearsal.guards.iter().all(|it| it.verdict != RehearsalVerdict::Broken) =>
            {
                format!("{candidate} fails its rehearsal: {why}")
            }
            _ => format!("{candidate} fails its rehearsal beside {live}"),
        };
        let help = match rehearsal.examples.first() {
            Some(example) => format!(
                "decalog replay {} --on {}@{candidate} asks it the first of these requests again; \
                 {diff}@{live} {candidate} --replay 1000 compares all answers",
                example.id, key.model
            ),
            None => format!("decalog events {} --kind rehearsed --json has all of it", key.model),
        };
        Problem::new(Code::GateFailed, text).details(rehearsal.lines()).help(help)
    }

    fn undecided(&self, rehearsal: &Rehearsal) -> Problem {
        let Told { key, environment, candidate, live } = self;
        let text = match (rehearsal.found, rehearsal.asked, rehearsal.missing()) {
            (0, ..) => format!(
                "no request that {live} answered in {environment} is recorded, so {candidate} cannot \
                 be rehearsed"
            ),
            (_, 0, _) => format!("no recorded request can be asked of both {candidate} and {live}"),
            (_, asked, Some(more)) => format!(
                "the rehearsal of {candidate} shows too little: {asked} asked, about {more} more \
                 requests are wanted"
            ),
            (_, asked, None) => {
                format!("the rehearsal of {candidate} shows too little: {asked} asked")
            }
        };
        let help = format!(
            "let {live} answer more requests and ask for more of them; or release without a rehearsal, \
             watched by its guards: decalog release {}@{candidate} --canary 5,25,50",
            key.model
        );
        Problem::new(Code::GateFailed, text).details(rehearsal.lines()).help(help)
    }
}
