//! What two versions answered to the same recorded requests, row by row.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::outcome::OutcomesSeen;
use monitor::quality::choose_output;
use policy::paired::{
    Cell, Estimate, OutputCompared, QualityCompared, is_better_low, latency_ratio, outputs,
    quality, share,
};
use policy::truth::{PAIRED_METRICS, compare, term};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answers::{cells, names, outcome};
use super::evaluated::{EvaluateReport, EvaluatedRow, RowKey, key_of};

/// The same rows have the same intervals, whoever asks.
const SEED: u64 = 0x0dec_a109;
/// Disagreements that are kept.
const WORST_MAX: usize = 10;
/// Calls of each version that are left out of latency: the first ones are slower.
const WARM_UP: usize = 5;

/// A row with two answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {
    /// Of which request.
    pub id: String,
    /// Which row of it, from 0.
    pub row: usize,
    /// The output.
    pub output: String,
    /// Before.
    pub before: Cell,
    /// After.
    pub after: Cell,
}

/// Rows that a version failed on.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RowsFailed {
    /// How many.
    pub rows: usize,
    /// Why the first did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What came of asking both.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Requests that were asked.
    pub requests: usize,
    /// Rows that both answered.
    pub rows: usize,
    /// The share of rows with the same answer in all outputs.
    pub agreeing: Estimate,
    /// Rows that the first failed on.
    pub failed_before: RowsFailed,
    /// Rows that the second failed on.
    pub failed_after: RowsFailed,
    /// Each output.
    pub outputs: Vec<OutputCompared>,
    /// By the truth of these requests, where it is known.
    pub quality: Vec<QualityCompared>,
    /// By which factor calls of the second take longer. The first is asked before the second and
    /// after it; the interval has those of both comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Estimate>,
    /// The rows that differ most.
    pub worst: Vec<Disagreement>,
}

impl Compared {
    /// Of what both answered; the first was asked before the second and after it.
    pub fn of(before: &EvaluateReport, after: &EvaluateReport, again: &EvaluateReport) -> Compared {
        let pairs = pairs(before, after);
        let ids: HashSet<&str> = before.rows.iter().filter_map(|row| row.id.as_deref()).collect();
        let requests = ids.len();
        let outputs = by_output(&pairs);
        let agree = |(a, b): &&(&EvaluatedRow, &EvaluatedRow)| a.outputs == b.outputs;
        let agreeing = pairs.iter().filter(agree).count() as u64;
        Compared {
            requests,
            rows: pairs.len(),
            agreeing: share(agreeing, pairs.len() as u64),
            failed_before: failed(before),
            failed_after: failed(after),
            worst: worst(&outputs, &pairs),
            outputs,
            quality: by_truth(before, &pairs),
            latency: latency([before, again], after),
        }
    }

    /// Whether the second version is worse by the truth, beyond chance.
    pub fn is_worse(&self) -> bool {
        self.quality.iter().any(|quality| match is_better_low(quality.metric) {
            true => quality.difference.low > 0.0,
            false => quality.difference.high < 0.0,
        })
    }

    /// The request that the versions differ most on.
    pub fn worst(&self) -> Option<&str> {
        self.worst.first().map(|worst| worst.id.as_str())
    }
}

fn failed(report: &EvaluateReport) -> RowsFailed {
    let mut failed = report.rows.iter().filter_map(|row| row.error.as_ref());
    let why = failed.next().map(|error| error.error.clone());
    RowsFailed { rows: usize::from(why.is_some()) + failed.count(), why }
}

/// Each output of both. A row that lacks one has nothing there.
fn by_output(pairs: &[(&EvaluatedRow, &EvaluatedRow)]) -> Vec<OutputCompared> {
    let mut columns: BTreeMap<String, Vec<(Cell, Cell)>> = BTreeMap::new();
    let empty = || vec![(Cell::Missing, Cell::Missing); pairs.len()];
    for (at, (before, after)) in pairs.iter().enumerate() {
        for (name, cell) in before.outputs.iter().flat_map(cells) {
            columns.entry(name).or_insert_with(empty)[at].0 = cell;
        }
        for (name, cell) in after.outputs.iter().flat_map(cells) {
            columns.entry(name).or_insert_with(empty)[at].1 = cell;
        }
    }
    columns.iter().map(|(name, pairs)| outputs(name, pairs, SEED)).collect()
}

/// The largest differences of all outputs in turn, the output that differs most often first.
fn worst(
    outputs: &[OutputCompared],
    pairs: &[(&EvaluatedRow, &EvaluatedRow)],
) -> Vec<Disagreement> {
    let mut outputs: Vec<&OutputCompared> = outputs.iter().collect();
    outputs.sort_by_key(|output| std::cmp::Reverse(output.differing));
    let mut found: Vec<Disagreement> = vec![];
    let deepest = outputs.iter().map(|output| output.largest.len()).max().unwrap_or(0);
    for rank in 0..deepest {
        for output in &outputs {
            let Some((place, before, after)) = output.largest.get(rank) else { continue };
            let row = pairs[*place].0;
            found.push(Disagreement {
                id: row.id.clone().unwrap_or_default(),
                row: row.row,
                output: output.output.clone(),
                before: before.clone(),
                after: after.clone(),
            });
        }
    }
    found.truncate(WORST_MAX);
    found
}

/// Metrics by the truth of these rows, as far as it is known and can be compared.
fn by_truth(
    report: &EvaluateReport,
    pairs: &[(&EvaluatedRow, &EvaluatedRow)],
) -> Vec<QualityCompared> {
    let known: Vec<_> = pairs.iter().filter(|(row, _)| row.truth.is_some()).collect();
    let (all, scalars) = names(known.iter().filter_map(|(row, _)| row.outputs.as_ref()));
    let Ok(output) = choose_output(&report.truth, &all, &scalars) else { return vec![] };
    let (mut seen, mut predicted) = (OutcomesSeen::default(), OutcomesSeen::default());
    let of = |row: &EvaluatedRow| outcome(row.outputs.as_ref()?, &output);
    for (row, _) in &known {
        row.truth.iter().for_each(|truth| seen.add(truth));
        of(row).iter().for_each(|it| predicted.add(it));
    }
    let Ok(comparison) = compare(&report.truth, &output, &seen, &predicted) else {
        return vec![];
    };
    let measured = PAIRED_METRICS.into_iter().filter_map(|metric| {
        let terms = known.iter().filter_map(|(before, after)| {
            let truth = before.truth.as_ref()?;
            let one = |row: &EvaluatedRow| term(&comparison, metric, &of(row)?, truth);
            Some((one(before)?, one(after)?))
        });
        let (before, after): (Vec<f64>, Vec<f64>) = terms.unzip();
        let is_of_numbers = comparison.kind == domain::quality::TruthKind::Number;
        let is_number = matches!(
            metric,
            domain::quality::QualityMetric::Rmse | domain::quality::QualityMetric::Mae
        );
        (is_number == is_of_numbers).then(|| quality(metric, &before, &after, SEED))?
    });
    measured.collect()
}

/// Rows that both answered.
fn pairs<'r>(
    before: &'r EvaluateReport,
    after: &'r EvaluateReport,
) -> Vec<(&'r EvaluatedRow, &'r EvaluatedRow)> {
    let others: HashMap<RowKey, &EvaluatedRow> =
        after.rows.iter().map(|row| (key_of(row), row)).collect();
    let beside = before.rows.iter().filter_map(|row| Some((row, *others.get(&key_of(row))?)));
    beside.filter(|(a, b)| a.outputs.is_some() && b.outputs.is_some()).collect()
}

/// By which factor the later version takes longer than the earlier one did each time.
fn latency(before: [&EvaluateReport; 2], after: &EvaluateReport) -> Option<Estimate> {
    let [one, other] = before.map(|before| latency_ratio(&times(&pairs(before, after)), SEED));
    let (one, other) = (one?, other?);
    Some(Estimate {
        value: (one.value * other.value).sqrt(),
        low: one.low.min(other.low),
        high: one.high.max(other.high),
        n: one.n,
    })
}

/// How long each request took of both, without the first few of either.
fn times(pairs: &[(&EvaluatedRow, &EvaluatedRow)]) -> Vec<(f64, f64)> {
    let first_rows = pairs.iter().filter(|(row, _)| row.row == 0);
    first_rows.skip(WARM_UP).map(|(before, after)| (before.ms, after.ms)).collect()
}
