//! Drift as people see it: each series' last day against its reference.

use domain::alarm::AlarmKind;
use domain::drift::DriftNumber;
use policy::drift::distances;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sketch::ColumnSketch;

/// How a model's values compare with what is usual, in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftGlance {
    /// It is not known yet what is usual.
    Learning,
    /// They are as usual.
    Usual,
    /// Something is found changed.
    Changed,
}

/// What a model's values are compared with, and how they compare.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelDrift {
    /// The version whose values these are.
    pub version: u32,
    /// What inputs are compared with: the name of the file, or none if they are compared with the
    /// version's own first days.
    pub reference: Option<String>,
    /// Since when values are learned for lack of a reference, in milliseconds since 1970; of inputs
    /// or outputs, whichever began first.
    pub learning_since_ms: Option<u64>,
    /// How good the bounds are: `learning` (warns only), `envelope` or `own_hour`.
    pub stage: String,
    /// Inputs first, then outputs, then outputs by slice.
    pub series: Vec<SeriesDrift>,
}

/// One series: a column, or a number that stands for its texts or tensors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SeriesDrift {
    /// The column.
    pub column: String,
    /// The column, and what of it, such as `comment:characters` or `leave where city=Utrecht`.
    pub name: String,
    /// `in` or `out`.
    pub direction: String,
    /// The rows that these values are of, such as `city=Utrecht`; none if they are of all.
    pub slice: Option<String>,
    /// Of the last day.
    pub rows: u64,
    /// Of the reference.
    pub reference_rows: u64,
    /// The share of values that is missing now, from 0 to 1.
    pub missing: f64,
    /// … and was in the reference.
    pub reference_missing: f64,
    /// The share of values in no category of the reference; none for numbers.
    pub unseen: Option<f64>,
    /// The share of values outside the reference's; none for categories.
    pub out_of_range: Option<f64>,
    /// What is found changed; empty if it is as usual.
    pub changed: Vec<AlarmKind>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// The evidence of the column by itself, …
    pub evidence: Option<f64>,
    /// … and from where on all columns together are an alarm.
    pub threshold: Option<f64>,
    /// Numbers for comparison with other tools; no alarm is made of them.
    pub numbers: Vec<DriftNumber>,
    /// The distribution, bin by bin.
    pub bins: Vec<BinShare>,
    /// The reference's values at the ranks 0, 0.01, …, 1, if sketches of the same values are kept;
    /// else empty.
    #[serde(skip)]
    pub quantiles: Vec<f64>,
}

impl SeriesDrift {
    /// Adds the numbers that come of sketches: this one is of the last day.
    pub fn compare(&mut self, now: &ColumnSketch) {
        let Some(last) = self.quantiles.len().checked_sub(1).filter(|last| *last > 0) else {
            return;
        };
        let before = |rank: f64| {
            let at = rank.clamp(0.0, 1.0) * last as f64;
            let (low, high) = (self.quantiles[at as usize], self.quantiles[at.ceil() as usize]);
            low + (high - low) * at.fract()
        };
        let present = self.reference_rows as f64 * (1.0 - self.reference_missing);
        let after = |rank: f64| now.quantile(rank).unwrap_or(f64::NAN);
        let found = distances((before, present.round() as u64), (after, now.numbers().count()));
        self.numbers.extend(found);
    }
}

/// One bin of a distribution. Shares are from 0 to 1, of the values that are not missing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BinShare {
    /// Such as `12.5 to 40`, or a category.
    pub bin: String,
    /// In the reference.
    pub reference: f64,
    /// In the last day.
    pub now: f64,
}
