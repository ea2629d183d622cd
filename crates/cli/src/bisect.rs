//! `decalog bisect`: finds the first version that is bad, by asking as few of those between a good
//! one and a bad one as can be.

mod data;
mod judge;
mod told;

use std::time::Instant;

use control::view::{ModelView, VersionView};
use domain::reference::Selector;
use domain::{Code, EnvironmentName, ModelKey, Problem, Schema, VersionNumber};
use policy::bisect::{Bisect, Found, Mark, Side};
use server::EvaluateReport;

use crate::Failure;
use crate::args::BisectOptions;
use crate::client::Client;
use crate::evaluations::{Evaluation, Evaluations, Question, why};
use crate::show::{path_of, reference};
use data::Data;
use judge::{By, Terms};
use told::{End, Outcome, Told, Tried};

/// The exit status where there is nothing to find.
const NOTHING: u8 = 1;

/// A search on its way.
struct Search<'a> {
    view: &'a ModelView,
    evaluations: Evaluations<'a>,
    /// Which versions there are between the ends, with them; also those that were removed.
    numbers: Vec<VersionNumber>,
}

/// Runs the verb.
pub fn run(client: &Client, options: &BisectOptions, as_json: bool) -> Result<u8, Failure> {
    let reference = reference(&options.model)?;
    let (key, environment) = (reference.model.clone(), reference.environment());
    let (good, bad) = (number(&options.good, &key)?, number(&options.bad, &key)?);
    if good >= bad {
        let text = format!("the bad version comes after the good one: {bad} is not after {good}");
        return Err(Problem::new(Code::BadOption, text).into());
    }
    let view: ModelView = client.get(&path_of(&reference))?;
    for end in [good, bad] {
        version(&view, end).ok_or_else(|| no_such(&view, end))?;
    }
    let data = match (&options.data, options.replay) {
        (Some(file), _) => {
            let schemas = schemas(client, &view, (&key, &environment), good)?;
            data::of_file(&schemas, file, options.truth.as_deref())?
        }
        (None, count) => data::of_records(client, &key, &environment, count.unwrap_or(0))?,
    };
    let question: &Question = &data.question;
    let evaluations = Evaluations::new(client, &key, &environment, question, options.fresh)?;
    let numbers = (good.0..=bad.0).map(VersionNumber).collect();
    let search = Search { view: &view, evaluations, numbers };
    let told = search.run(client, options, &data, &environment, as_json)?;
    told.end(as_json);
    Ok(if told.outcome == Outcome::NoDifference { NOTHING } else { 0 })
}

/// A version by its number, as `v10`, `10` or `churn@v10`.
fn number(text: &str, key: &ModelKey) -> Result<VersionNumber, Problem> {
    if let Ok(number) = text.parse().or_else(|_| format!("v{text}").parse()) {
        return Ok(number);
    }
    let named = reference(text)?;
    match named.selector {
        Some(Selector::Number(number)) if named.model == *key => Ok(number),
        _ => Err(Problem::new(Code::BadReference, format!("`{text}` names no version of {key}"))
            .help("name it by its number, as v10")),
    }
}

/// The columns of the model's versions, by which the cells of a file are read. Where none is known
/// yet, the good version is started to tell its own.
fn schemas(
    client: &Client,
    view: &ModelView,
    (key, environment): (&ModelKey, &EnvironmentName),
    good: VersionNumber,
) -> Result<Vec<Schema>, Failure> {
    let known: Vec<Schema> =
        view.versions.iter().filter_map(|version| version.schema.clone()).collect();
    if !known.is_empty() {
        return Ok(known);
    }
    let good = version(view, good).ok_or_else(|| no_such(view, good))?;
    let question = Question::Rows(vec![serde_json::Map::new()]);
    let evaluations = Evaluations::new(client, key, environment, &question, false)?;
    match evaluations.ask(&good.version, &good.digest)?.0 {
        Evaluation::Answered(report) => Ok(vec![report.schema]),
        Evaluation::Cannot(problem) => Err(cannot(&good.version, problem)),
    }
}

fn cannot(version: &str, problem: Problem) -> Failure {
    let text = format!("{version} cannot be asked: {}", problem.message);
    Problem { message: text, ..problem }.into()
}

fn version(view: &ModelView, number: VersionNumber) -> Option<&VersionView> {
    let name = number.to_string();
    view.versions.iter().find(|version| version.version == name)
}

fn no_such(view: &ModelView, number: VersionNumber) -> Problem {
    let known = view.versions.iter().map(|version| version.version.as_str());
    let known: Vec<&str> = known.rev().take(10).collect();
    let text = format!("{} has no version {number}, or not any more", view.name);
    Problem::new(Code::NoSuchVersion, text).help(format!("it has {}", known.join(", ")))
}

impl Search<'_> {
    fn run(
        &self,
        client: &Client,
        options: &BisectOptions,
        data: &Data,
        environment: &EnvironmentName,
        as_json: bool,
    ) -> Result<Told, Failure> {
        let mut told = Told::begin(self.view, environment, data, as_json);
        let (good, bad) = (self.numbers[0], self.numbers[self.numbers.len() - 1]);
        // Truth may have come since: of requests it is asked for again.
        let is_anew = data.is_recorded() && options.metric.is_some();
        let (of_good, good_ms) = self.end(good, is_anew)?;
        let (of_bad, bad_ms) = self.end(bad, false)?;
        let by = By::decide(options, data, &of_good)?;
        let (good_terms, bad_terms) = (by.terms(&of_good), by.terms(&of_bad));
        told.judged(&by, &good.to_string());
        told.end_is(End::Good, good, by.value(&good_terms), good_ms);
        told.end_is(End::Bad, bad, by.value(&bad_terms), bad_ms);
        let difference = by.ends(&good_terms, &bad_terms).ok_or_else(|| {
            Problem::new(
                Code::NoInput,
                format!("fewer than {} of these rows can be compared", judge::ROWS_MIN),
            )
            .details(why_not(&of_good).into_iter().chain(why_not(&of_bad)))
            .help("ask more rows, or others")
        })?;
        told.differ(difference);
        for why in why_not(&of_good).into_iter().chain(why_not(&of_bad)) {
            told.note(&why);
        }
        if !difference.is_beyond_noise() {
            told.outcome = Outcome::NoDifference;
            return Ok(told);
        }
        if (difference.value > 0.0) != by.is_better_low() {
            return Err(Problem::new(
                Code::BadOption,
                format!("{good} is worse than {bad} by {}: nothing got worse", by.words()),
            )
            .help("name a --bad version that is worse than the --good one")
            .into());
        }
        self.search(&by, &good_terms, &bad_terms, &mut told)?;
        told.conclude(client, self.view)?;
        Ok(told)
    }

    /// What an end answers: without it there is nothing to compare with.
    fn end(
        &self,
        number: VersionNumber,
        is_anew: bool,
    ) -> Result<(EvaluateReport, Option<u64>), Failure> {
        let begin = Instant::now();
        let known = version(self.view, number).ok_or_else(|| no_such(self.view, number))?;
        let (evaluation, is_cached) = match is_anew {
            true => (self.evaluations.ask_anew(&known.version)?, false),
            false => self.evaluations.ask(&known.version, &known.digest)?,
        };
        match evaluation {
            Evaluation::Answered(report) => {
                let ms = begin.elapsed().as_millis() as u64;
                Ok((*report, (!is_cached).then_some(ms)))
            }
            Evaluation::Cannot(problem) => Err(cannot(&known.version, problem)),
        }
    }

    fn search(&self, by: &By, good: &Terms, bad: &Terms, told: &mut Told) -> Result<(), Failure> {
        let mut bisect = Bisect::new(self.numbers.len());
        for (place, number) in self.numbers.iter().enumerate() {
            if version(self.view, *number).is_none() {
                bisect.leave_out(place);
                told.removed.push(number.to_string());
            }
        }
        told.begin_tries(bisect.tries_left());
        while let Some(place) = bisect.next() {
            let number = self.numbers[place];
            let Some(known) = version(self.view, number) else { break };
            let begin = Instant::now();
            let (evaluation, is_cached) = self.evaluations.ask(&known.version, &known.digest)?;
            let elapsed_ms = begin.elapsed().as_millis() as u64;
            let mut tried = Tried::new(number, (!is_cached).then_some(elapsed_ms));
            let mark = match evaluation {
                Evaluation::Cannot(problem) => tried.cannot(why(&problem)),
                Evaluation::Answered(report) => {
                    let terms = by.terms(&report);
                    tried.value = by.value(&terms);
                    match by.side(good, bad, &terms) {
                        Some(Side::Good) => Mark::Good,
                        Some(Side::Bad) => Mark::Bad,
                        Some(Side::Undecided) => {
                            tried.cannot("as near to one as to the other: ask more rows".into())
                        }
                        None => {
                            let why = why_not(&report).unwrap_or("its answers are others".into());
                            tried.cannot(format!("too few rows can be compared: {why}"))
                        }
                    }
                }
            };
            bisect.tell(place, mark);
            told.tried(tried.marked(mark));
        }
        told.outcome = match bisect.found() {
            Found::First(place) => Outcome::First(self.numbers[place]),
            Found::Between(first, last) => {
                Outcome::Between(self.numbers[first], self.numbers[last])
            }
        };
        let last_good = match bisect.found() {
            Found::First(place) | Found::Between(place, _) => place - 1,
        };
        told.last_good = Some(self.numbers[last_good]);
        Ok(())
    }
}

/// Why rows have no answer; the first reason.
fn why_not(report: &EvaluateReport) -> Option<String> {
    let failed: Vec<_> = report.rows.iter().filter_map(|row| row.error.as_ref()).collect();
    let first = failed.first()?;
    let (count, all) = (failed.len(), report.rows.len());
    Some(format!("{count} of {all} rows fail in {}: {}", report.version, first.error))
}
