//! Asks the requests of a rehearsal: each of the candidate and of the live version, on replicas that
//! nobody else asks, the one first and then the other in turn, so that what makes one wait makes both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::records::Keeper;
use ::records::past::{Finding, PastRequest, Sought, compared};
use control::{Payload, Rehearse, Rehearsing, Replayer, Tensor, Turn};
use domain::manifest::Redact;
use domain::state::Version;
use domain::{Code, EnvironmentName, Placement, Problem, VersionNumber};
use policy::rehearsal::{Answered, Evidence, OutputPair, Pair};
use tokio::runtime::Handle;

use super::run::redacted;
use crate::aside;

/// How long a rehearsal asks, in milliseconds; the first starts of replicas are not part of it.
const REHEARSAL_MS_MAX: u64 = 300_000;
/// How long it waits for other replays of the model, in milliseconds, …
const TURN_MS_MAX: u64 = 300_000;
/// … and how often it looks, in milliseconds.
const TURN_EVERY_MS: u64 = 250;
/// Replicas of a version that may end over what they are asked; more of them end the rehearsal.
const DEATHS_MAX: u32 = 5;
/// A candidate that answers none of the first so many is asked no more.
const HOPELESS: usize = 20;
/// How often it is told how far it is, in requests.
const TOLD_EVERY: usize = 50;

/// What asks the requests of rehearsals, by records that may be there later than this.
pub fn rehearsals(keeper: impl Fn() -> Option<Arc<Keeper>> + Send + Sync + 'static) -> Rehearse {
    Arc::new(move |rehearsing| Box::pin(rehearse(keeper(), rehearsing)))
}

async fn rehearse(keeper: Option<Arc<Keeper>>, of: Rehearsing) -> Result<Evidence, Problem> {
    let keeper = keeper.ok_or_else(|| {
        Problem::new(Code::NoRecords, "this server keeps no records, so nothing can be rehearsed")
            .help("start it with `decalog up --records-per-s 1000`, or release without --rehearse")
    })?;
    let turn = turn(&of).await?;
    of.says("looking for requests".into());
    let (found, note) = find(keeper, &of).await?;
    of.began(found.len() as u32).await?;
    let mut evidence =
        Evidence { wanted: of.wanted, found: found.len() as u32, why: note, ..Evidence::default() };
    if !found.is_empty() {
        let state = of.control.state();
        let model = state.model(&of.key)?;
        let redacted = redacted(model, &of.environment);
        let side = |number| Side::new(&of, &turn, number);
        let (candidate, live) = (side(of.candidate)?, side(of.live)?);
        let mut asking = Asking { of: &of, redacted, candidate, live, evidence };
        asking.all(&found).await?;
        evidence = asking.evidence;
    }
    Ok(evidence)
}

/// One replay of a model at a time: others are short.
async fn turn(of: &Rehearsing) -> Result<Turn, Problem> {
    let begin = Instant::now();
    loop {
        match of.control.replay_turn(&of.key) {
            Err(problem)
                if problem.code == Code::ServerBusy
                    && begin.elapsed() < Duration::from_millis(TURN_MS_MAX) =>
            {
                of.says(format!("it waits: {}", problem.message));
                tokio::time::sleep(Duration::from_millis(TURN_EVERY_MS)).await;
            }
            turn => return turn,
        }
    }
}

/// The last requests, the newest first; fewer, and why, if they are too large to be read at once.
async fn find(
    keeper: Arc<Keeper>,
    of: &Rehearsing,
) -> Result<(Vec<PastRequest>, Option<String>), Problem> {
    let (key, environment, live) = (of.key.clone(), of.environment.clone(), of.live);
    let (runtime, wanted) = (Handle::current(), of.wanted as usize);
    let found = aside(move || {
        keeper.flush();
        let is_asked =
            |of: &EnvironmentName, version: VersionNumber| *of == environment && version == live;
        let finding =
            Finding { keeper: &keeper, model: &key, runtime: &runtime, is_asked: &is_asked };
        let mut count = wanted;
        loop {
            match finding.find(&Sought::Last(count)) {
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput && count > 1 => {
                    count /= 2;
                }
                found => return found.map(|found| (found, count)),
            }
        }
    });
    let unread = |error: String| {
        Problem::new(Code::Failed, format!("recorded requests could not be read: {error}"))
    };
    let (found, count) = found
        .await
        .map_err(|error| unread(error.0.message))?
        .map_err(|error| unread(error.to_string()))?;
    let note = format!("only the last {count} were read: more are too large together");
    Ok((found, (count < wanted).then_some(note)))
}

/// A rehearsal whose requests are asked.
struct Asking<'a> {
    of: &'a Rehearsing,
    /// What is left out of records, or was.
    redacted: Vec<(String, Redact)>,
    candidate: Side<'a>,
    live: Side<'a>,
    evidence: Evidence,
}

impl Asking<'_> {
    async fn all(&mut self, found: &[PastRequest]) -> Result<(), Problem> {
        self.of.says("replicas are being started".into());
        for side in [&mut self.candidate, &mut self.live] {
            side.start().await?;
        }
        let begin = Instant::now();
        for (at, request) in found.iter().enumerate() {
            let why = if begin.elapsed() >= Duration::from_millis(REHEARSAL_MS_MAX) {
                Some(format!("the {} s of a rehearsal were over", REHEARSAL_MS_MAX / 1_000))
            } else {
                self.end()
            };
            if let Some(why) = why {
                *self.evidence.left_out.entry(why).or_default() += (found.len() - at) as u32;
                return Ok(());
            }
            if at % TOLD_EVERY == 0 {
                self.of.says(format!("{at} of {} requests were asked", found.len()));
            }
            if let Err(why) = self.ask(request, at % 2 == 0).await {
                *self.evidence.left_out.entry(why).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Why no more is asked, if the last request ended it.
    fn end(&mut self) -> Option<String> {
        let (candidate, live) = (self.of.candidate, self.of.live);
        let gone = |side: &Side| match side.gone.clone() {
            Some(why) => Some(why),
            None if side.deaths >= DEATHS_MAX => Some(format!(
                "{DEATHS_MAX} replicas of {} ended over what they were asked",
                side.number()
            )),
            None => None,
        };
        let why = if let Some(why) = gone(&self.candidate) {
            self.evidence.fell = true;
            self.evidence.why = Some(why);
            format!("the replicas of {candidate} did not stay up")
        } else if let Some(why) = gone(&self.live) {
            self.evidence.why = Some(why);
            format!("the replicas of {live} did not stay up")
        } else {
            let pairs = &self.evidence.pairs;
            let answered = pairs.iter().filter(|pair| !pair.live.failed()).count();
            let is_hopeless = pairs.len() >= HOPELESS
                && pairs.iter().all(|pair| pair.candidate.failed())
                && 2 * answered > pairs.len();
            if !is_hopeless {
                return None;
            }
            format!("{candidate} answered none of the first {HOPELESS}")
        };
        Some(why)
    }

    /// Asks both; fails with the reason if one of them cannot be asked.
    async fn ask(&mut self, request: &PastRequest, live_first: bool) -> Result<(), String> {
        if let Some(why) = request.why_not() {
            return Err(why_in_short(why));
        }
        let of_candidate = self.candidate.payload(request, &self.redacted)?;
        let of_live = self.live.payload(request, &self.redacted)?;
        let (candidate, live) = if live_first {
            let live = self.live.ask(&of_live).await?;
            (self.candidate.ask(&of_candidate).await?, live)
        } else {
            let candidate = self.candidate.ask(&of_candidate).await?;
            (candidate, self.live.ask(&of_live).await?)
        };
        let mut agrees = None;
        if let (Said::Answer(own, _), Said::Answer(others, _)) = (&candidate, &live) {
            let tolerance = self.candidate.version.pushed.manifest.tests.tolerance;
            let is_redacted = |name: &str| self.redacted.iter().any(|(of, _)| of == name);
            let (same, outputs) = compared(others, own, tolerance, is_redacted);
            agrees = same;
            for output in outputs {
                let pair = OutputPair { same: output.same, means: output.means };
                self.evidence.outputs.entry(output.name).or_default().push(pair);
            }
        }
        let (candidate, live) = (candidate.answered(), live.answered());
        self.evidence.pairs.push(Pair { id: request.id.clone(), candidate, live, agrees });
        Ok(())
    }
}

/// Reasons without what somebody asked: they are kept for ever.
fn why_in_short(why: String) -> String {
    match why.split_once(": ") {
        Some((reason, _)) if reason == "its rows do not fit" => reason.into(),
        _ => why,
    }
}

/// What a version made of a request.
enum Said {
    /// So, in so many microseconds.
    Answer(Vec<Tensor>, u64),
    Failed(Code),
}

impl Said {
    fn answered(self) -> Answered {
        match self {
            Said::Answer(_, us) => Answered::In(us),
            Said::Failed(code) => Answered::Failed(code.to_string()),
        }
    }
}

/// One of the two versions, on a replica of its own.
struct Side<'a> {
    of: &'a Rehearsing,
    turn: &'a Turn,
    placement: Placement,
    version: Arc<Version>,
    replayer: Option<Replayer>,
    /// Replicas that ended over a request.
    deaths: u32,
    /// Why no further replica could be started.
    gone: Option<String>,
}

impl<'a> Side<'a> {
    fn new(of: &'a Rehearsing, turn: &'a Turn, number: VersionNumber) -> Result<Side<'a>, Problem> {
        let state = of.control.state();
        let version = state.model(&of.key)?.versions.get(&number).cloned();
        let version = version.ok_or_else(|| {
            Problem::new(Code::NoSuchVersion, format!("{number} was removed in the meantime"))
        })?;
        let placement = state.placement(&of.key, &of.environment, number);
        Ok(Side { of, turn, placement, version, replayer: None, deaths: 0, gone: None })
    }

    fn number(&self) -> VersionNumber {
        self.placement.version
    }

    async fn start(&mut self) -> Result<(), Problem> {
        let started = self.of.control.replayer(self.turn, &self.placement).await;
        self.replayer = Some(started.map_err(|problem| {
            let text = format!(
                "no replica of {} could be started for the rehearsal: {}",
                self.number(),
                problem.message
            );
            Problem { message: text, ..problem }
        })?);
        Ok(())
    }

    fn payload(
        &self,
        request: &PastRequest,
        redacted: &[(String, Redact)],
    ) -> Result<Payload, String> {
        let Some(schema) = &self.version.schema else {
            return Err(format!("the columns of {} are not known", self.number()));
        };
        if schema.streams {
            return Err(format!("{} answers in a stream", self.number()));
        }
        for (name, rule) in redacted {
            let column = schema.inputs.iter().find(|column| column.name == *name);
            if column.is_some_and(|column| request.is_redacted(column, *rule)) {
                return Err(format!("`{name}` is redacted: its values were never recorded"));
            }
        }
        request.payload(schema).map_err(why_in_short)
    }

    /// By itself, as a lone caller would.
    async fn ask(&mut self, payload: &Payload) -> Result<Said, String> {
        if self.replayer.is_none()
            && let Err(problem) = self.start().await
        {
            self.gone = Some(problem.message);
        }
        let number = self.number();
        let Some(replayer) = &mut self.replayer else {
            return Err(format!("the replicas of {number} did not stay up"));
        };
        let begin = Instant::now();
        let answer = replayer.ask(payload, payload.rows, 0).await;
        let us = begin.elapsed().as_micros() as u64;
        let problem = match answer {
            Ok(tensors) => return Ok(Said::Answer(tensors, us)),
            Err(problem) => problem,
        };
        match problem.code {
            Code::ServerBusy | Code::BodyTooLarge | Code::NoRows => return Err(problem.message),
            Code::WorkerDied => {
                self.deaths += 1;
                self.replayer = None;
            }
            // It may be at it still: the next request would wait for it.
            Code::PredictTimeout | Code::Deadline => self.replayer = None,
            _ => {}
        }
        Ok(Said::Failed(problem.code))
    }
}
