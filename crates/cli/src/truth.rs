//! Joins predictions with their truth, hour by hour, on a thread of its own: it reads records where
//! truth or more records came, and hands them to whoever sums them up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use control::Control;
use domain::manifest::{Configuration, TruthSection};
use domain::outcome::OutcomesSeen;
use domain::state::State;
use domain::{DataDirectory, EnvironmentName, ModelKey};
use monitor::alarms::Desk;
use monitor::quality::{
    HOUR_MS, HourRow, HourSums, Learnt, Quality, Source, choose_output, cohort_of,
};
use records::truth::{Dirty, Truths};
use records::{Hour, Joined, Joining, Keeper, RecordFile, columns, element_of};
use server::Truth;
use tokio::runtime::Handle;

/// Between two looks for truth that came, in milliseconds, …
const PAUSE_MS_MIN: u64 = 2_000;
/// … and at most; between them a pause is so many times as long as what it follows.
const PAUSE_MS_MAX: u64 = 60_000;
const PAUSE_TIMES: u32 = 10;
/// So long hours of one model are read before it is the turn of the next, in milliseconds.
const TURN_MS_MAX: u128 = 2_000;
/// Keys that are looked for at a time.
const KEYS_AT_A_TIME: usize = 1_000;
/// Hours that are taken up at a time.
const HOURS_AT_A_TIME: usize = 256;
/// Predictions that show what an output is.
const SAMPLE_ROWS: u64 = 10_000;
/// How often what is too old is removed, in milliseconds.
const RETAIN_MS: u64 = 600_000;
/// Of so many models it is looked whether they are still there.
const MODELS_MAX: usize = 100_000;

/// Starts it; `None` if it cannot be.
pub fn start(
    keeper: &Arc<Keeper>,
    data: &DataDirectory,
    keep_ms: u64,
    control: &Arc<Control>,
    desk: &Arc<Desk>,
) -> Option<Truth> {
    match try_start(keeper, data, keep_ms, control, desk) {
        Ok(truth) => Some(truth),
        Err(error) => {
            tracing::error!("no truth of predictions is taken: {error:#}");
            None
        }
    }
}

fn try_start(
    keeper: &Arc<Keeper>,
    data: &DataDirectory,
    keep_ms: u64,
    control: &Arc<Control>,
    desk: &Arc<Desk>,
) -> anyhow::Result<Truth> {
    let truths = Arc::new(Truths::open(&data.truth()).context("opening truth.sqlite")?);
    let quality = Arc::new(Quality::open(&data.quality()).context("opening quality.sqlite")?);
    let mut worker = Worker {
        keeper: keeper.clone(),
        truths: truths.clone(),
        quality: quality.clone(),
        control: control.clone(),
        runtime: Handle::current(),
        keep_ms,
        desk: desk.clone(),
        retained_at: None,
    };
    let work = move || loop {
        let began = Instant::now();
        if let Err(error) = worker.turn() {
            tracing::warn!("quality is not up to date: {error:#}");
        }
        let pause = began.elapsed() * PAUSE_TIMES;
        std::thread::sleep(
            pause.clamp(Duration::from_millis(PAUSE_MS_MIN), Duration::from_millis(PAUSE_MS_MAX)),
        );
    };
    std::thread::Builder::new().name("quality".into()).spawn(work)?;
    Ok(Truth::new(truths, quality))
}

struct Worker {
    keeper: Arc<Keeper>,
    truths: Arc<Truths>,
    quality: Arc<Quality>,
    control: Arc<Control>,
    runtime: Handle,
    keep_ms: u64,
    desk: Arc<Desk>,
    retained_at: Option<Instant>,
}

type Environments = BTreeMap<EnvironmentName, Learnt>;

impl Worker {
    fn turn(&mut self) -> anyhow::Result<()> {
        let state = self.control.state();
        for model in self.truths.models()? {
            if state.models.contains_key(&model) {
                self.model(&model, &state)?;
            }
        }
        let is_due = |at: Instant| at.elapsed() > Duration::from_millis(RETAIN_MS);
        if self.retained_at.is_none_or(is_due) {
            self.retained_at = Some(Instant::now());
            let now_ms = control::now_ms();
            self.truths.retain(now_ms.saturating_sub(self.keep_ms))?;
            self.quality.retain(now_ms)?;
            for model in self.quality.models(MODELS_MAX)? {
                if !state.models.contains_key(&model) {
                    self.quality.forget(&model)?;
                }
            }
        }
        Ok(())
    }

    fn joining(&self) -> Joining<'_> {
        Joining { keeper: &self.keeper, runtime: &self.runtime, truths: &self.truths }
    }

    fn model(&mut self, model: &ModelKey, state: &State) -> anyhow::Result<()> {
        let hours = self.keeper.hours_of(model)?;
        let mut learnt = self.quality.learnt(model)?;
        let before = learnt.clone();
        self.decide(model, state, &hours, &mut learnt)?;
        self.spread_keys(model, &learnt)?;
        let dirty = self.truths.dirty(model, HOURS_AT_A_TIME)?;
        let stale = self.stale(model, &hours, &learnt)?;
        let is_there = |hour_ms: &u64| hours.iter().any(|hour| hour.hour_ms == *hour_ms);
        let mut todo: Vec<u64> = dirty.iter().map(|dirty| dirty.hour_ms).filter(is_there).collect();
        todo.extend(
            stale
                .iter()
                .rev()
                .filter(|hour_ms| !dirty.iter().any(|dirty| dirty.hour_ms == **hour_ms)),
        );
        let mut is_all = todo.len() <= HOURS_AT_A_TIME;
        todo.truncate(HOURS_AT_A_TIME);
        let (began, mut computed) = (Instant::now(), vec![]);
        for hour_ms in todo {
            if began.elapsed().as_millis() > TURN_MS_MAX {
                is_all = false;
                break;
            }
            let Some(hour) = hours.iter().find(|hour| hour.hour_ms == hour_ms) else { continue };
            self.compute(model, hour, &mut learnt)?;
            computed.push(hour_ms);
        }
        let is_done =
            |dirty: &Dirty| computed.contains(&dirty.hour_ms) || !is_there(&dirty.hour_ms);
        // What came without a record is joined when the record does: its hour has another file then.
        let done: Vec<Dirty> = dirty.into_iter().filter(is_done).collect();
        if !computed.is_empty() {
            self.learn(model, &mut learnt)?;
        }
        // Hours are looked at in their order.
        if is_all && !computed.is_empty() {
            self.watch_losses(model, &mut learnt)?;
        }
        if learnt != before {
            self.quality.keep_learnt(model, &learnt)?;
        }
        Ok(self.truths.looked_at(model, &done)?)
    }

    /// Decides in each environment what is compared, and how.
    fn decide(
        &self,
        model: &ModelKey,
        state: &State,
        hours: &[Hour],
        learnt: &mut Environments,
    ) -> anyhow::Result<()> {
        let Some(newest) = hours.last() else { return Ok(()) };
        let truth = self.truths.seen(model)?;
        let mut files: BTreeMap<EnvironmentName, RecordFile> = BTreeMap::new();
        for file in self.keeper.files_of(model, newest.hour_ms)? {
            // Of several versions the newest says what outputs there are.
            let is_newer =
                files.get(&file.environment).is_none_or(|known| known.version <= file.version);
            if is_newer && !outputs(&file).0.is_empty() {
                files.insert(file.environment.clone(), file);
            }
        }
        for (environment, file) in files {
            let Configuration { truth: section, records, .. } =
                configuration(state, model, &environment, &file);
            let learnt = learnt.entry(environment).or_default();
            let (outputs, scalars) = outputs(&file);
            match choose_output(&section, &outputs, &scalars) {
                Ok(output) if records.redact.contains_key(element_of(&output).0) => {
                    let why = format!("`{output}` is redacted: records do not have its values");
                    learnt.undecide(why, "leave it out of [records] redact, and deploy".into());
                }
                Ok(output) => {
                    if !learnt.has_seen() {
                        learnt.see(&self.sample(&file, &output)?);
                    }
                    learnt.decide(&section, &output, &truth);
                }
                Err((why, help)) => learnt.undecide(why, help),
            }
        }
        Ok(())
    }

    fn sample(&self, file: &RecordFile, output: &str) -> anyhow::Result<OutcomesSeen> {
        let mut seen = OutcomesSeen::default();
        self.joining().file(file, output, 0, &mut |joined: Joined<'_>| {
            if seen.count() < SAMPLE_ROWS {
                seen.add(&joined.predicted);
            }
        })?;
        Ok(seen)
    }

    /// Marks the hours that have predictions of keys that truth came for.
    fn spread_keys(&self, model: &ModelKey, learnt: &Environments) -> anyhow::Result<()> {
        let longest = |learnt: &Learnt| learnt.comparison.as_ref().map(|of| of.truth_ms_max);
        let truth_ms_max = learnt.values().filter_map(longest).max();
        let truth_ms_max = truth_ms_max.unwrap_or_else(|| TruthSection::default().truth_ms_max());
        let keys = self.truths.dirty_keys(model, KEYS_AT_A_TIME)?;
        let Some(last) = keys.last() else { return Ok(()) };
        let named: Vec<(&str, u64)> =
            keys.iter().map(|key| (key.key.as_str(), key.until_ms)).collect();
        let hours = self.quality.hours_with(model, &named, truth_ms_max)?;
        Ok(self.truths.spread(model, &hours, last.mark)?)
    }

    /// Hours that were computed from other files, or compared otherwise.
    fn stale(
        &self,
        model: &ModelKey,
        hours: &[Hour],
        learnt: &Environments,
    ) -> anyhow::Result<Vec<u64>> {
        let sources = self.quality.sources(model)?;
        let basis = basis(learnt);
        let is_stale = |hour: &&Hour| {
            sources.get(&hour.hour_ms).is_none_or(|source| *source != source_of(hour, &basis))
        };
        Ok(hours.iter().filter(is_stale).map(|hour| hour.hour_ms).collect())
    }

    fn compute(
        &mut self,
        model: &ModelKey,
        hour: &Hour,
        learnt: &mut Environments,
    ) -> anyhow::Result<()> {
        let source = source_of(hour, &basis(learnt));
        let mut sums = HourSums::new(hour.hour_ms);
        for file in self.keeper.files_of(model, hour.hour_ms)? {
            let comparison =
                learnt.get(&file.environment).and_then(|learnt| learnt.comparison.as_ref());
            let Some(comparison) = comparison else { continue };
            let add = &mut |joined: Joined<'_>| {
                let row = HourRow {
                    environment: &file.environment,
                    version: file.version,
                    time_ms: joined.time_ms,
                    key: joined.key,
                    weight: joined.weight,
                    predicted: &joined.predicted,
                    truth: joined.truth.as_ref().map(|found| (&found.truth, found.at_ms)),
                };
                sums.add(learnt, &row);
            };
            self.joining().file(&file, &comparison.output, comparison.truth_ms_max, add)?;
        }
        let known = self.quality.cohorts(model, hour.hour_ms, hour.hour_ms)?;
        sums.finish(learnt, &known);
        self.quality.keep_hour(model, &source, &sums)?;
        Ok(())
    }

    fn watch_losses(&self, model: &ModelKey, learnt: &mut Environments) -> anyhow::Result<()> {
        let now_ms = control::now_ms();
        for (environment, learnt) in learnt {
            let Some(kind) = learnt.comparison.as_ref().map(|of| of.kind) else { continue };
            let hours = self.quality.cohorts(model, learnt.losses.from_ms(), u64::MAX)?;
            let own = hours.iter().filter(|hour| hour.environment == *environment);
            let cohorts: Vec<_> = own.map(|hour| cohort_of(model, hour, learnt, now_ms)).collect();
            let target = (model, environment);
            learnt.losses.take(target, kind, &cohorts, now_ms, self.desk.as_ref());
        }
        Ok(())
    }

    /// Learns calibrations and scales once there is enough truth.
    fn learn(&self, model: &ModelKey, learnt: &mut Environments) -> anyhow::Result<()> {
        if !learnt.values().any(Learnt::may_learn) {
            return Ok(());
        }
        let from_ms = control::now_ms().saturating_sub(self.keep_ms + HOUR_MS);
        let hours = self.quality.cohorts(model, from_ms, u64::MAX)?;
        for (environment, learnt) in learnt.iter_mut().filter(|(_, learnt)| learnt.may_learn()) {
            let own = hours.iter().filter(|hour| hour.environment == *environment);
            learnt.learn(&own.cloned().collect::<Vec<_>>());
        }
        Ok(())
    }
}

fn basis(learnt: &Environments) -> String {
    learnt
        .iter()
        .map(|(environment, learnt)| format!("{environment} {};", learnt.basis()))
        .collect()
}

fn source_of(hour: &Hour, basis: &str) -> Source {
    Source { files: hour.files, bytes: hour.bytes, basis: basis.into() }
}

/// The outputs that a file has, without those that say the shape or another type of one; and those
/// of them that are no lists.
fn outputs(file: &RecordFile) -> (Vec<String>, Vec<String>) {
    let named = file.columns.iter().filter_map(|column| {
        let name = column.name.strip_prefix(columns::OUTPUT)?;
        Some((name, !column.datatype.starts_with("List")))
    });
    let named: Vec<(&str, bool)> = named.collect();
    let is_output = |of: &str| named.iter().any(|(name, _)| *name == of);
    let is_own =
        |(name, _): &&(&str, bool)| name.rsplit_once(':').is_none_or(|(of, _)| !is_output(of));
    let own: Vec<&(&str, bool)> = named.iter().filter(is_own).collect();
    let scalars = own.iter().filter(|(_, is_scalar)| *is_scalar);
    let scalars = scalars.map(|(name, _)| name.to_string()).collect();
    (own.iter().map(|(name, _)| name.to_string()).collect(), scalars)
}

fn configuration(
    state: &State,
    model: &ModelKey,
    environment: &EnvironmentName,
    file: &RecordFile,
) -> Configuration {
    let live = state.models.get(model).and_then(|model| model.live.get(environment));
    let version = live.map_or(file.version, |live| live.version);
    state.configuration(&state.placement(model, environment, version))
}
