//! By what a version is good or bad: a metric by the truth, or how far its answers are from those of
//! the good one. Each row of each version becomes one number, and those of the same rows are
//! compared.

use std::collections::HashMap;

use domain::outcome::{Outcome, OutcomesSeen};
use domain::quality::{QualityMetric, TruthKind};
use domain::{Code, Problem};
use monitor::quality::choose_output;
use policy::bisect::{Side, ends, side};
use policy::paired::{Cell, Estimate, function_of_means, is_better_low};
use policy::truth::{Comparison, compare, of_mean, term};
use server::{EvaluateReport, EvaluatedRow, RowKey, cells, key_of, names, outcome};

use super::data::Data;
use crate::args::{BisectMetric, BisectOptions};
use crate::judged::label;

/// Fewer rows that all three versions answered tell nothing.
pub const ROWS_MIN: usize = 10;
/// The same rows have the same intervals, whoever asks.
const SEED: u64 = 0x0dec_a109;

/// By what versions are judged.
pub enum By {
    /// A metric of an output, by the truth.
    Truth { metric: QualityMetric, comparison: Box<Comparison>, truth: HashMap<RowKey, Outcome> },
    /// How far the numbers of an output are from those of the good version, in the mean.
    Distance { output: String, good: HashMap<RowKey, f64> },
    /// The share of rows with another answer than that of the good version.
    Others { output: Option<String>, good: HashMap<RowKey, Vec<(String, Cell)>> },
    /// The share of rows that fail.
    Errors,
}

/// The number of each row that a version answered.
pub type Terms = HashMap<RowKey, f64>;

impl By {
    /// Decides by the options, by what the good version answered, and by what is true.
    pub fn decide(
        options: &BisectOptions,
        data: &Data,
        good: &EvaluateReport,
    ) -> Result<By, Problem> {
        if options.metric == Some(BisectMetric::Errors) {
            return Ok(By::Errors);
        }
        let mut section = good.truth.clone();
        section.output = options.output.clone().or(section.output);
        let answered = || good.rows.iter().filter_map(|row| row.outputs.as_ref());
        let (outputs, scalars) = names(answered());
        let chosen = choose_output(&section, &outputs, &scalars);
        let output = chosen.as_ref().ok();
        let truth = match (data.is_recorded(), &options.truth) {
            (true, _) => Some(recorded(good)).filter(|known| !known.is_empty()),
            (false, Some(column)) => data.truth(column),
            (false, None) => {
                let named = [section.column.as_deref(), Some("truth"), output.map(String::as_str)];
                named.into_iter().flatten().find_map(|column| data.truth(column))
            }
        };
        let Some(truth) = truth else {
            return match options.metric {
                Some(_) => Err(no_truth(data)),
                None => Ok(By::answers(
                    output.filter(|_| options.output.is_some() || outputs.len() == 1),
                    good,
                )),
            };
        };
        let output = chosen.map_err(|(text, _)| {
            let help = format!("--output {}", outputs.first().map_or("NAME", String::as_str));
            Problem::new(Code::BadOption, text).help(help)
        })?;
        let (mut seen, mut predicted) = (OutcomesSeen::default(), OutcomesSeen::default());
        truth.values().for_each(|truth| seen.add(truth));
        answered().filter_map(|row| outcome(row, &output)).for_each(|it| predicted.add(&it));
        let comparison = compare(&section, &output, &seen, &predicted)
            .map_err(|error| Problem::new(Code::BadOption, error.to_string()).help(error.help()))?;
        let metric =
            options.metric.and_then(BisectMetric::metric).unwrap_or(match comparison.kind {
                TruthKind::Number => QualityMetric::Rmse,
                TruthKind::Score if comparison.is_probability => QualityMetric::LogLoss,
                _ => QualityMetric::Accuracy,
            });
        let by = By::Truth { metric, comparison: Box::new(comparison), truth };
        match by.terms(good).is_empty() {
            false => Ok(by),
            true => Err(Problem::new(
                Code::BadOption,
                format!("{} cannot be measured of `{output}` by this truth", label(metric)),
            )
            .help("name another --metric, --output or --truth")),
        }
    }

    /// Without truth.
    fn answers(output: Option<&String>, good: &EvaluateReport) -> By {
        let numbers: HashMap<RowKey, f64> = output
            .map(|output| values(good, |row| number(row, output)).collect())
            .unwrap_or_default();
        let answered = good.rows.iter().filter(|row| row.outputs.is_some()).count();
        match output {
            Some(output) if !numbers.is_empty() && numbers.len() == answered => {
                By::Distance { output: output.clone(), good: numbers }
            }
            output => By::Others {
                output: output.cloned(),
                good: values(good, |row| Some(compared(row, output))).collect(),
            },
        }
    }

    /// The number of each row.
    pub fn terms(&self, report: &EvaluateReport) -> Terms {
        match self {
            By::Truth { metric, comparison, truth } => values(report, |row| {
                let predicted = outcome(row.outputs.as_ref()?, &comparison.output)?;
                term(comparison, *metric, &predicted, truth.get(&key_of(row))?)
            })
            .collect(),
            By::Distance { output, good } => {
                values(report, |row| Some((number(row, output)? - good.get(&key_of(row))?).abs()))
                    .collect()
            }
            By::Errors => {
                // What there was no time for says nothing.
                let is_told = |row: &&EvaluatedRow| {
                    row.error.as_ref().is_none_or(|error| error.code != Code::Deadline)
                };
                let failed = |row: &EvaluatedRow| f64::from(u8::from(row.error.is_some()));
                let told = report.rows.iter().filter(is_told);
                told.map(|row| (key_of(row), failed(row))).collect()
            }
            By::Others { output, good } => values(report, |row| {
                let same = compared(row, output.as_ref()) == *good.get(&key_of(row))?;
                Some(if same { 0.0 } else { 1.0 })
            })
            .collect(),
        }
    }

    fn of_mean(&self, mean: f64) -> f64 {
        match self {
            By::Truth { metric, .. } => of_mean(*metric, mean),
            _ => mean,
        }
    }

    /// What is measured, in words.
    pub fn words(&self) -> String {
        match self {
            By::Truth { metric, .. } => label(*metric).into(),
            By::Distance { .. } => "distance".into(),
            By::Others { .. } => "other answers".into(),
            By::Errors => "errors".into(),
        }
    }

    /// By what and of which output, in a sentence.
    pub fn explained(&self, good: &str) -> String {
        match self {
            By::Truth { metric, comparison, truth } => format!(
                "{} of {} by the truth of {} rows",
                label(*metric),
                comparison.output,
                truth.len()
            ),
            By::Distance { output, .. } => {
                format!("without truth: how far {output} is from that of {good}")
            }
            By::Others { output, .. } => format!(
                "without truth: how many rows have another {} than from {good}",
                output.as_deref().unwrap_or("answer")
            ),
            By::Errors => "the share of rows that fail".into(),
        }
    }

    /// Whether more of it is worse.
    pub fn is_better_low(&self) -> bool {
        match self {
            By::Truth { metric, .. } => is_better_low(*metric),
            _ => true,
        }
    }

    /// What is measured of a version.
    pub fn value(&self, terms: &Terms) -> Option<Estimate> {
        let [column] = columns([terms]);
        function_of_means(&[&column], |means| self.of_mean(means[0]), SEED)
    }

    /// By how much the bad end differs from the good one; `None` with too few rows.
    pub fn ends(&self, good: &Terms, bad: &Terms) -> Option<Estimate> {
        let [good, bad] = columns([good, bad]);
        let enough = good.len() >= ROWS_MIN;
        enough.then(|| ends(&good, &bad, |mean| self.of_mean(mean), SEED))?
    }

    /// Which end a version is like; `None` with too few rows, or if it failed on half of them.
    pub fn side(&self, good: &Terms, bad: &Terms, version: &Terms) -> Option<Side> {
        let all = columns([good, bad])[0].len();
        let [good, bad, version] = columns([good, bad, version]);
        let enough = version.len() >= ROWS_MIN && 2 * version.len() >= all;
        let found = side(&good, &bad, &version, |mean| self.of_mean(mean), SEED);
        found.map(|(side, _)| side).filter(|_| enough)
    }
}

/// The numbers of the rows that all have, in one order.
fn columns<const N: usize>(terms: [&Terms; N]) -> [Vec<f64>; N] {
    let mut keys: Vec<&RowKey> = terms[0].keys().collect();
    keys.retain(|key| terms.iter().all(|terms| terms.contains_key(*key)));
    keys.sort();
    terms.map(|terms| keys.iter().filter_map(|key| terms.get(*key).copied()).collect())
}

fn values<'r, T>(
    report: &'r EvaluateReport,
    of: impl Fn(&'r EvaluatedRow) -> Option<T>,
) -> impl Iterator<Item = (RowKey, T)> {
    let answered = report.rows.iter().filter(|row| row.outputs.is_some());
    answered.filter_map(move |row| Some((key_of(row), of(row)?)))
}

fn number(row: &EvaluatedRow, output: &str) -> Option<f64> {
    match outcome(row.outputs.as_ref()?, output)? {
        Outcome::Integer(whole) => Some(whole as f64),
        Outcome::Number(number) => Some(number),
        Outcome::Bool(_) | Outcome::Text(_) => None,
    }
}

/// What is compared of a row: one output, or all.
fn compared(row: &EvaluatedRow, output: Option<&String>) -> Vec<(String, Cell)> {
    let all = row.outputs.as_ref().map(cells).unwrap_or_default();
    let is_of = |name: &str| {
        output.is_none_or(|output| name == output || name.split('[').next() == Some(output))
    };
    all.into_iter().filter(|(name, _)| is_of(name)).collect()
}

fn recorded(report: &EvaluateReport) -> HashMap<RowKey, Outcome> {
    let known = report.rows.iter().filter_map(|row| Some((key_of(row), row.truth.clone()?)));
    known.collect()
}

fn no_truth(data: &Data) -> Problem {
    match data.is_recorded() {
        true => Problem::new(Code::NoInput, "no truth of these requests is known")
            .help("send it with decalog feedback, or leave out --metric to compare answers"),
        false => Problem::new(Code::NoInput, "no column of the file is known to be the truth")
            .help("name it with --truth COLUMN"),
    }
}
