//! What two versions answer to the same rows, output by output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, function_of_means, share};

/// Numbers that differ by less than this part of the greater one differ by rounding only.
const ROUNDING: f64 = 1e-9;
/// The largest differences that are kept of an output.
pub const LARGEST_MAX: usize = 10;

/// What a version answered in one output to one row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cell {
    /// A finite number.
    Number(f64),
    /// Anything else, as text.
    Label(String),
    /// Nothing.
    Missing,
}

/// What an output is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// It is near or far.
    Number,
    /// It is the same or another.
    Label,
}

/// One output of two versions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OutputCompared {
    /// Its name.
    pub output: String,
    /// What it is.
    pub kind: OutputKind,
    /// Rows that differ by more than rounding.
    pub differing: u64,
    /// Numbers that differ by rounding only, by less than a billionth.
    pub rounding: u64,
    /// The share of rows that differ by more than rounding.
    pub differing_share: Estimate,
    /// The mean of after − before, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_difference: Option<Estimate>,
    /// The mean of its absolute value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_absolute_difference: Option<Estimate>,
    /// Rows that differ most, by their place among the pairs; of labels the first.
    pub largest: Vec<(usize, Cell, Cell)>,
}

/// Whether two answers differ by more than rounding; `None` if by rounding only.
fn differ(a: &Cell, b: &Cell) -> Option<bool> {
    match (a, b) {
        _ if a == b => Some(false),
        (Cell::Number(a), Cell::Number(b)) => {
            ((a - b).abs() > ROUNDING * a.abs().max(b.abs())).then_some(true)
        }
        _ => Some(true),
    }
}

/// Compares an output over pairs of what was answered before and after.
pub fn outputs(output: &str, pairs: &[(Cell, Cell)], seed: u64) -> OutputCompared {
    let is_number = |cell: &Cell| matches!(cell, Cell::Number(_));
    let are_numbers = pairs.iter().any(|(a, b)| is_number(a) || is_number(b))
        && !pairs.iter().any(|(a, b)| [a, b].iter().any(|it| matches!(it, Cell::Label(_))));
    let (mut differing, mut rounding) = (0, 0);
    let mut numbers = vec![];
    let mut largest: Vec<(usize, f64)> = vec![];
    for (place, (a, b)) in pairs.iter().enumerate() {
        let by = match (a, b) {
            (Cell::Number(a), Cell::Number(b)) => {
                numbers.push(b - a);
                (b - a).abs()
            }
            _ => f64::INFINITY,
        };
        match differ(a, b) {
            Some(true) => {
                differing += 1;
                largest.push((place, by));
            }
            Some(false) => {}
            None => rounding += 1,
        }
    }
    // A stable sort: of those that differ alike the first come first.
    largest.sort_by(|one, other| other.1.total_cmp(&one.1));
    let absolute: Vec<f64> = numbers.iter().map(|by: &f64| by.abs()).collect();
    let mean = |column: &[f64]| match are_numbers {
        true => function_of_means(&[column], |means| means[0], seed),
        false => None,
    };
    OutputCompared {
        output: output.into(),
        kind: if are_numbers { OutputKind::Number } else { OutputKind::Label },
        differing,
        rounding,
        differing_share: share(differing, pairs.len() as u64),
        mean_difference: mean(&numbers),
        mean_absolute_difference: mean(&absolute),
        largest: largest
            .into_iter()
            .take(LARGEST_MAX)
            .map(|(place, _)| (place, pairs[place].0.clone(), pairs[place].1.clone()))
            .collect(),
    }
}
