//! What is usual where no file says it: the first day or more of a version's own values.

use std::collections::BTreeMap;

use policy::drift::{Bins, Reference};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::columns::Sealed;
use crate::drift::feature::{Feature, Watched};
use crate::sketch::{ColumnSketch, Kind};

/// Values are learned for so long at least, in milliseconds: a day has every hour once, …
const LEARN_MS: u64 = 86_400_000;
/// … and until there are so many rows, …
const LEARN_ROWS: u64 = 1_000;
/// … or so long, in milliseconds, if there are [`ROWS_MIN`].
const LEARN_MS_MAX: u64 = 7 * LEARN_MS;
/// From fewer rows nothing is learned.
pub const ROWS_MIN: u64 = 100;
/// Texts with more different values, or longer ones in the mean, are watched by their length.
const CATEGORIES_MAX: u64 = 1_000;
const LENGTH_MAX: f64 = 64.0;
/// Top values of a sketch that are asked for.
const TOP_MAX: usize = 128;

/// Values so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Learning {
    since_ms: u64,
    columns: BTreeMap<String, Sketch>,
}

#[derive(Clone, Debug)]
struct Sketch(ColumnSketch);

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0.encode()))
    }
}

impl<'de> Deserialize<'de> for Sketch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sketch, D::Error> {
        let bytes = hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        ColumnSketch::decode(&bytes).map(Sketch).map_err(D::Error::custom)
    }
}

impl Learning {
    /// Takes in a minute of a column; `columns_max` are remembered.
    pub fn take(&mut self, minute: &Sealed, columns_max: usize) {
        if self.since_ms == 0 {
            self.since_ms = minute.minute_ms;
        }
        if let Some(Sketch(known)) = self.columns.get_mut(&*minute.column) {
            // A column whose kind changed is learned by what it was first.
            let _ = known.merge(&minute.sketch);
        } else if self.columns.len() < columns_max {
            self.columns.insert(minute.column.to_string(), Sketch(minute.sketch.clone()));
        }
    }

    /// Since when; 0 if there was nothing yet.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// What was learned, once it is enough.
    pub fn finished(&self, now_ms: u64) -> Option<Vec<Watched>> {
        let rows = self.columns.values().map(|Sketch(column)| column.rows()).max()?;
        let age_ms = now_ms.saturating_sub(self.since_ms);
        is_enough(age_ms, rows).then(|| {
            let columns = self.columns.iter();
            columns.filter_map(|(name, Sketch(sketch))| watched(name, sketch)).collect()
        })
    }
}

/// Whether so many rows, over so long, say what is usual.
pub fn is_enough(age_ms: u64, rows: u64) -> bool {
    age_ms >= LEARN_MS && rows >= LEARN_ROWS || age_ms >= LEARN_MS_MAX && rows >= ROWS_MIN
}

/// The series of a column whose values are like this.
fn watched(column: &str, sketch: &ColumnSketch) -> Option<Watched> {
    let missing = sketch.missing() + sketch.non_finite();
    let numbers = |feature| {
        let n = sketch.numbers().count();
        let quantile = |share: f64| sketch.quantile(share).unwrap_or(f64::NAN);
        let reference = Reference::of_quantiles(quantile, n, missing)?;
        let quantiles = (0..=100).map(|rank| quantile(f64::from(rank) / 100.0)).collect();
        Some((feature, reference, quantiles))
    };
    let categories = || {
        let top = sketch.top(TOP_MAX);
        let counted: u64 = top.iter().map(|value| value.count_min).sum();
        let rest = sketch.rows().saturating_sub(missing + counted);
        let counts = top.iter().map(|value| (value.value.as_str(), value.count_min));
        let mut reference = Reference::of_categories(counts, missing)?;
        if rest > 0 {
            // Not all that occurred are known: what is new cannot be told from what is rare.
            let present = (counted + rest) as f64;
            reference.rows += rest;
            reference.missing_share = missing as f64 / reference.rows as f64;
            let scale = counted as f64 / present;
            reference.shares.iter_mut().for_each(|share| *share *= scale);
            if let Some(other) = reference.shares.last_mut() {
                *other += 1.0 - scale;
            }
            if let Bins::Categorical { seen, .. } = &mut reference.bins {
                seen.clear();
            }
        }
        Some((Feature::Value, reference, vec![]))
    };
    let (feature, reference, quantiles) = match sketch.kind() {
        Kind::Integer | Kind::Float => numbers(Feature::Value)?,
        Kind::Tensor => numbers(Feature::Norm)?,
        Kind::Bool => {
            let trues = sketch.trues();
            let falses = sketch.rows().saturating_sub(missing + trues);
            let counts = [("true", trues), ("false", falses)];
            (Feature::Value, Reference::of_categories(counts, missing)?, vec![])
        }
        Kind::Text => {
            let are_many = sketch.distinct().is_none_or(|distinct| distinct > CATEGORIES_MAX);
            let are_long = sketch.numbers().mean().is_some_and(|mean| mean > LENGTH_MAX);
            // Texts that the schema does not name are not known here.
            let are_unknown = sketch.top(1).is_empty();
            if are_many || are_long || are_unknown {
                numbers(Feature::Characters)?
            } else {
                categories()?
            }
        }
    };
    Some(Watched {
        column: column.into(),
        feature,
        reference,
        centroid: vec![],
        quantiles,
        slice: None,
    })
}
