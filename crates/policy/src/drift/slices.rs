//! Which parts of the rows are watched by themselves: those with one value in one column.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reference::{Bins, Reference};

/// Slices of a model at most.
pub const SLICES_MAX: usize = 20;
/// Rows that a slice must have, as a share of all.
pub const SLICE_SHARE_MIN: f64 = 0.01;

/// The rows that have this value in this column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Slice {
    /// The column.
    pub column: String,
    /// The bin of its reference that holds this value and no other.
    pub bin: usize,
    /// The value, as people read it.
    pub value: String,
    /// Its share in the reference.
    pub share: f64,
}

/// `city=Utrecht`.
impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.column, self.value)
    }
}

/// The slices of these columns: each value that has at least a hundredth of the rows, of columns of
/// at most 20 values, the largest of all columns first.
pub fn slices<'a>(columns: impl IntoIterator<Item = (&'a str, &'a Reference)>) -> Vec<Slice> {
    let of_column = |(name, reference): (&'a str, &'a Reference)| {
        let singles = single_values(reference);
        singles.into_iter().map(move |bin| Slice {
            column: name.to_string(),
            bin,
            value: reference.value_name(bin),
            share: reference.shares[bin] * (1.0 - reference.missing_share),
        })
    };
    let mut slices: Vec<Slice> = columns.into_iter().flat_map(of_column).collect();
    // A slice of nearly all rows says what all rows say.
    slices.retain(|slice| (SLICE_SHARE_MIN..1.0 - SLICE_SHARE_MIN).contains(&slice.share));
    slices.sort_by(|a, b| b.share.total_cmp(&a.share));
    slices.truncate(SLICES_MAX);
    slices
}

/// The bins of a column of few values, or none. Of numbers, those that are alone in
/// their bin (flags, grades).
fn single_values(reference: &Reference) -> Vec<usize> {
    match &reference.bins {
        Bins::Categorical { top, .. } => {
            let rest = reference.shares.get(top.len()).copied().unwrap_or(0.0);
            if rest > 1e-9 { vec![] } else { (0..top.len()).collect() }
        }
        Bins::Numeric { values, .. } => {
            let bins = values.iter().map(|value| reference.bin_of(*value)).collect::<Vec<_>>();
            let is_single = |bin: &&usize| bins.iter().filter(|other| other == bin).count() == 1;
            bins.iter().filter(is_single).copied().collect()
        }
    }
}
