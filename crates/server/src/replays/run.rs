//! Asks recorded requests again, one after the other, on a replica that nobody else asks.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::records::past::{Compared, PastRequest};
use control::{Control, Replayer, Turn};
use domain::manifest::Redact;
use domain::state::{Model, Version};
use domain::{
    Code, Determinism, Distance, EnvironmentName, Placement, Probe, Problem, Schema, State,
    VersionNumber,
};

use super::report::{ReplayOutcome, Replayed, ReplayedDifference, ReplayedVersion};
use super::{Asked, missing};

/// How often a request is asked before a difference is put down to the version.
const RUNS_MAX: u32 = 3;
/// Replicas that are started for a version, if they end over what they are asked.
const REPLICAS_MAX: u32 = 3;
/// Versions that are asked in one replay.
const VERSIONS_MAX: usize = 8;
/// Differences that are listed of a request.
const DIFFERENCES_MAX: usize = 20;

/// What came of each request, and which versions were asked.
pub(super) type Results = (Vec<Replayed>, BTreeMap<u32, ReplayedVersion>);

/// Asks all requests again.
pub(super) async fn all(
    control: &Arc<Control>,
    turn: &Turn,
    asked: &Asked,
    found: Vec<PastRequest>,
    limit: Duration,
) -> Results {
    let mut results: Vec<Replayed> =
        missing(&asked.sought, &found).into_iter().map(no_record).collect();
    let mut groups: BTreeMap<VersionNumber, Vec<PastRequest>> = BTreeMap::new();
    for request in found {
        groups.entry(asked.on.unwrap_or(request.version)).or_default().push(request);
    }
    let (mut versions, mut spent) = (BTreeMap::new(), Duration::ZERO);
    let state = control.state();
    for (count, (number, requests)) in groups.into_iter().enumerate() {
        if count >= VERSIONS_MAX {
            let why = format!("more than {VERSIONS_MAX} versions are not asked in one replay");
            results.extend(requests.iter().map(|request| cannot(request, number, why.clone())));
            continue;
        }
        let group = match Group::new(&state, asked, number) {
            Ok(group) => group,
            Err(problem) => {
                let why = problem.message;
                results.extend(requests.iter().map(|it| cannot(it, number, why.clone())));
                continue;
            }
        };
        versions.insert(number.0, group.seen(&state, &requests).await);
        let mut asking = Asking { control, turn, group, replayer: None, replicas: 0 };
        for request in &requests {
            if spent >= limit {
                let why = format!("the replay's {} s are over: ask for less", limit.as_secs());
                results.push(cannot(request, number, why));
                continue;
            }
            let (result, took) = asking.ask(request).await;
            spent += took;
            results.push(result);
        }
    }
    results.sort_by(|one, other| other.id.cmp(&one.id));
    (results, versions)
}

/// Requests that one version is asked.
struct Group {
    placement: Placement,
    version: Arc<Version>,
    probe: Option<Probe>,
    /// What is left out of records, or was.
    redacted: Vec<(String, Redact)>,
}

impl Group {
    fn new(state: &State, asked: &Asked, number: VersionNumber) -> Result<Group, Problem> {
        let model = state.model(&asked.key)?;
        let removed = || Problem::new(Code::NoSuchVersion, format!("{number} was removed"));
        let version = model.versions.get(&number).ok_or_else(removed)?.clone();
        Ok(Group {
            placement: state.placement(&asked.key, &asked.environment, number),
            probe: version.probed.get(&asked.environment).cloned(),
            redacted: redacted(model, &asked.environment),
            version,
        })
    }

    fn number(&self) -> VersionNumber {
        self.placement.version
    }

    fn found(&self) -> Determinism {
        self.probe.as_ref().map_or(Determinism::Unknown, |probe| probe.outcome)
    }

    /// The version as the report has it: what is not as it was.
    async fn seen(&self, state: &State, requests: &[PastRequest]) -> ReplayedVersion {
        let mut changed = vec![];
        let processor = control::processor().await;
        let before = self.probe.as_ref().and_then(|probe| probe.processor.clone());
        if let (Some(before), Some(now)) = (&before, &processor)
            && before != now
        {
            changed.push(format!("the processor: it was probed on {before}, this is {now}"));
        }
        let revision = self.placement.revision;
        let others: BTreeSet<u32> =
            requests.iter().map(|it| it.revision).filter(|it| *it != revision).collect();
        let is_own = |request: &&PastRequest| request.version == self.number();
        if !others.is_empty() && requests.iter().any(|it| is_own(&it)) {
            changed.push("variables of the environment were changed since".into());
        }
        let versions: BTreeSet<VersionNumber> =
            requests.iter().filter(|it| !is_own(it)).map(|it| it.version).collect();
        for other in versions {
            changed.extend(self.differs_from(state, other));
        }
        let version = self.number().to_string();
        ReplayedVersion { version, probe: self.probe.clone(), changed }
    }

    fn differs_from(&self, state: &State, other: VersionNumber) -> Vec<String> {
        let model = state.models.get(&self.placement.model);
        let Some(before) = model.and_then(|model| model.versions.get(&other)) else {
            return vec![format!("{other}, which answered then, was removed")];
        };
        let (before, now) = (&before.pushed, &self.version.pushed);
        let mut changed = vec![];
        if before.lock.as_ref().map(|it| it.digest) != now.lock.as_ref().map(|it| it.digest) {
            changed.push(format!("the packages of {} are not those of {other}", self.number()));
        }
        let threads = |of: &domain::event::VersionPushed| of.manifest.resources.threads;
        if threads(before) != threads(now) {
            changed.push(format!(
                "threads: {} in {other}, {} in {}",
                threads(before),
                threads(now),
                self.number()
            ));
        }
        changed
    }
}

/// What the environment's configuration takes out of records, or took since it is remembered.
pub(super) fn redacted(model: &Model, environment: &EnvironmentName) -> Vec<(String, Redact)> {
    let current = model.configurations.get(environment);
    let before = model
        .deployments
        .iter()
        .filter(|deployment| deployment.environment == *environment)
        .filter_map(|deployment| deployment.configuration.as_ref());
    let mut rules: Vec<(String, Redact)> = vec![];
    for configuration in current.into_iter().chain(before) {
        for (column, rule) in &configuration.records.redact {
            let rule = (column.clone(), *rule);
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

/// Asks a version.
struct Asking<'a> {
    control: &'a Arc<Control>,
    turn: &'a Turn,
    group: Group,
    replayer: Option<Replayer>,
    /// Replicas that were started.
    replicas: u32,
}

impl Asking<'_> {
    /// What comes of a request, and how long it was asked.
    async fn ask(&mut self, request: &PastRequest) -> (Replayed, Duration) {
        let number = self.group.number();
        let payload = match self.payload(request) {
            Ok(payload) => payload,
            Err(why) => return (cannot(request, number, why), Duration::ZERO),
        };
        if let Err(problem) = self.ready().await {
            let why = format!("no replica of {number} could be started: {}", problem.message);
            return (cannot(request, number, why), Duration::ZERO);
        }
        let begin = Instant::now();
        let mut best: Option<Compared> = None;
        let mut runs = 0;
        while runs < RUNS_MAX && best.as_ref().map(Compared::distance) != Some(Distance::Same) {
            let Some(replayer) = &mut self.replayer else { break };
            runs += 1;
            let (size, place) = (request.batch_rows, request.batch_offset);
            match replayer.ask(&payload, size, place).await {
                Ok(answer) => {
                    let names: HashSet<&str> =
                        self.group.redacted.iter().map(|(name, _)| name.as_str()).collect();
                    let compared = request.compare(&answer, |name| names.contains(name));
                    if best.as_ref().is_none_or(|it| compared.distance() < it.distance()) {
                        best = Some(compared);
                    }
                }
                Err(problem) => {
                    if problem.code == Code::WorkerDied {
                        self.replayer = None;
                    }
                    let failed = failed(request, number, runs, &problem);
                    return (failed, begin.elapsed());
                }
            }
        }
        let compared = best.unwrap_or_default();
        (self.judge(request, compared, runs), begin.elapsed())
    }

    /// Starts a replica unless one is there.
    async fn ready(&mut self) -> Result<(), Problem> {
        if self.replayer.is_none() {
            if self.replicas >= REPLICAS_MAX {
                let text = format!("{REPLICAS_MAX} have ended over what they were asked");
                return Err(Problem::new(Code::WorkerDied, text));
            }
            self.replicas += 1;
            let started = self.control.replayer(self.turn, &self.group.placement).await;
            if started.is_err() {
                // It fails for the next request as well.
                self.replicas = REPLICAS_MAX;
            }
            self.replayer = Some(started?);
        }
        Ok(())
    }

    /// The rows of a request, or why they are not known.
    fn payload(&self, request: &PastRequest) -> Result<control::Payload, String> {
        match &self.group.version.schema {
            Some(schema) => payload_of(request, schema, &self.group.redacted),
            None => Err(request
                .why_not()
                .unwrap_or(format!("the columns of {} are not known", self.group.number()))),
        }
    }

    /// What is said of the best of some runs.
    fn judge(&self, request: &PastRequest, compared: Compared, runs: u32) -> Replayed {
        let number = self.group.number();
        let distance = compared.distance();
        let result = |outcome, ulp, why| Replayed {
            outcome,
            ulp,
            why,
            runs,
            left_out: compared.left_out.iter().cloned().collect(),
            ..base(request, number)
        };
        if compared.columns == 0 && compared.differences.is_empty() {
            let why = "none of its outputs is in its record".to_string();
            return result(ReplayOutcome::Cannot, None, Some(why));
        }
        let tolerated = self.group.probe.as_ref().and_then(|probe| probe.ulp_max).unwrap_or(0);
        let shares = request.batch_rows > request.rows;
        match (distance, self.group.found()) {
            (Distance::Same, _) => result(ReplayOutcome::Same, None, None),
            (Distance::Near(ulp), _) if ulp <= tolerated => {
                result(ReplayOutcome::Near, Some(ulp), None)
            }
            (_, Determinism::Random) => {
                let why = format!("{number} is random: the same call twice has different answers");
                result(ReplayOutcome::Cannot, None, Some(why))
            }
            (_, Determinism::RowsInteract) if shares => {
                let why = "rows interact: its answer depends on other requests' rows, which were \
                           in its batch; set [batch] mix = false";
                result(ReplayOutcome::Cannot, None, Some(why.into()))
            }
            _ => Replayed {
                differences: compared
                    .differences
                    .iter()
                    .take(DIFFERENCES_MAX)
                    .map(difference)
                    .collect(),
                ..result(ReplayOutcome::Different, None, None)
            },
        }
    }
}

/// The rows of a request as a version with these columns takes them, or why they are not known.
pub(super) fn payload_of(
    request: &PastRequest,
    schema: &Schema,
    redacted: &[(String, Redact)],
) -> Result<control::Payload, String> {
    if let Some(why) = request.why_not() {
        return Err(why);
    }
    if schema.streams {
        return Err("its answer is a stream".into());
    }
    for (name, rule) in redacted {
        let column = schema.inputs.iter().find(|column| column.name == *name);
        if column.is_some_and(|column| request.is_redacted(column, *rule)) {
            return Err(format!("`{name}` is redacted: its values were never recorded"));
        }
    }
    request.payload(schema)
}

fn difference(of: &::records::past::Difference) -> ReplayedDifference {
    ReplayedDifference {
        column: of.column.clone(),
        row: of.row,
        before: of.before.clone(),
        after: of.after.clone(),
        ulp: of.distance.ulp(),
    }
}

fn base(request: &PastRequest, on: VersionNumber) -> Replayed {
    Replayed {
        id: request.id.clone(),
        version: Some(request.version.to_string()),
        on: Some(on.to_string()),
        outcome: ReplayOutcome::Cannot,
        ulp: None,
        why: None,
        runs: 0,
        rows: request.rows,
        batch_rows: request.batch_rows,
        batch_offset: request.batch_offset,
        differences: vec![],
        left_out: vec![],
    }
}

fn cannot(request: &PastRequest, on: VersionNumber, why: String) -> Replayed {
    Replayed { why: Some(why), ..base(request, on) }
}

/// It was answered then, and fails now.
fn failed(request: &PastRequest, on: VersionNumber, runs: u32, problem: &Problem) -> Replayed {
    let is_of_model = matches!(
        problem.code,
        Code::BadInput | Code::BadOutput | Code::ModelRaised | Code::SchemaMismatch
    );
    let outcome = if is_of_model { ReplayOutcome::Different } else { ReplayOutcome::Cannot };
    let why = Some(format!("it fails now: {}", problem.message));
    Replayed { outcome, why, runs, ..base(request, on) }
}

fn no_record(id: String) -> Replayed {
    Replayed {
        id,
        version: None,
        on: None,
        outcome: ReplayOutcome::Cannot,
        ulp: None,
        why: Some("there is no record of it in this environment".into()),
        runs: 0,
        rows: 0,
        batch_rows: 0,
        batch_offset: 0,
        differences: vec![],
        left_out: vec![],
    }
}
