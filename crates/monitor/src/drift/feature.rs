//! What is watched of a column's values: themselves, or for texts and tensors, numbers that stand
//! for them.

use policy::drift::{Bins, Counts, Reference, Slice, tensor_features, text_features};
use protocol::{ColumnView, Value};
use serde::{Deserialize, Serialize};

/// Larger tensors are watched by their first elements, so that a row costs no more than so many.
const ELEMENTS_MAX: usize = 65_536;

/// A number or a category of a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// The value itself.
    Value,
    /// Of a text: its length.
    Characters,
    /// Of a text: the share of letters.
    Letters,
    /// Of a text: the share of capital letters.
    Capitals,
    /// Of a text: the share of digits.
    Digits,
    /// Of a text: the share of white space.
    Spaces,
    /// Of a text: the share of what is none of these.
    Others,
    /// Of a text: the script of most letters.
    Script,
    /// Of a tensor: its Euclidean length.
    Norm,
    /// Of a tensor: the cosine of its angle to the centroid of the reference.
    Cosine,
    /// Of a tensor: one of the fixed random projections.
    Projection(u8),
}

impl Feature {
    /// What follows the column's name; empty for the value itself.
    pub fn suffix(self) -> String {
        match self {
            Feature::Value => String::new(),
            Feature::Characters => ":characters".into(),
            Feature::Letters => ":letters".into(),
            Feature::Capitals => ":capitals".into(),
            Feature::Digits => ":digits".into(),
            Feature::Spaces => ":spaces".into(),
            Feature::Others => ":others".into(),
            Feature::Script => ":script".into(),
            Feature::Norm => ":norm".into(),
            Feature::Cosine => ":cosine".into(),
            Feature::Projection(which) => format!(":projection-{which}"),
        }
    }

    fn is_of_text(self) -> bool {
        use Feature::*;
        matches!(self, Characters | Letters | Capitals | Digits | Spaces | Others | Script)
    }
}

/// One series that is watched: a feature of a column, with its reference.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// The column.
    pub column: String,
    /// What of it.
    pub feature: Feature,
    /// What is usual.
    pub reference: Reference,
    /// The mean of a tensor's elements, for the cosine; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub centroid: Vec<f64>,
    /// The reference's values at the ranks 0, 0.01, …, 1; empty for categories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// The rows that it is of, if it is not of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
}

impl Watched {
    /// As it is called in alarms and tables: `comment:characters`, `leave where city=Utrecht`.
    pub fn name(&self) -> String {
        let of = self.slice.as_ref().map(|slice| format!(" where {slice}")).unwrap_or_default();
        format!("{}{}{of}", self.column, self.feature.suffix())
    }

    /// Whether its values have an order.
    pub fn is_numeric(&self) -> bool {
        matches!(self.reference.bins, Bins::Numeric { .. })
    }
}

/// The columns of one direction, and where each is counted.
#[derive(Debug)]
pub struct Places {
    by_column: Vec<(String, Vec<usize>)>,
    /// Where the columns of the last rows were found.
    last: Vec<Option<usize>>,
}

impl Places {
    /// Of these series.
    pub fn of(watched: &[Watched]) -> Places {
        let mut by_column: Vec<(String, Vec<usize>)> = vec![];
        for (index, series) in watched.iter().enumerate() {
            match by_column.iter_mut().find(|(column, _)| *column == series.column) {
                Some((_, indices)) => indices.push(index),
                None => by_column.push((series.column.clone(), vec![index])),
            }
        }
        Places { by_column, last: vec![] }
    }

    /// The series of the column that is at this place in a request.
    pub fn find(&mut self, position: usize, name: &str) -> &[usize] {
        if self.last.len() <= position {
            self.last.resize(position + 1, None);
        }
        let is = |at: &usize| self.by_column.get(*at).is_some_and(|(column, _)| column == name);
        let at = self.last[position]
            .filter(is)
            .or_else(|| self.by_column.iter().position(|(column, _)| column == name));
        self.last[position] = at;
        at.and_then(|at| self.by_column.get(at)).map_or(&[], |(_, indices)| indices)
    }

    /// Counts the rows of a column.
    pub fn count(
        &mut self,
        position: usize,
        view: &ColumnView,
        watched: &[Watched],
        counts: &mut [Counts],
    ) {
        let indices = self.find(position, view.name);
        let of_value = |index: &usize| watched[*index].feature == Feature::Value;
        if let [index] = indices
            && of_value(index)
        {
            // As it is of nearly all columns.
            let (reference, counts) = (&watched[*index].reference, &mut counts[*index]);
            view.values().for_each(|value| count_value(reference, counts, value));
            return;
        }
        for value in view.values().take(if indices.is_empty() { 0 } else { usize::MAX }) {
            count_features(indices, view.name, value, watched, counts);
        }
    }
}

/// Counts one value.
#[inline]
pub fn count_value(reference: &Reference, counts: &mut Counts, value: Value) {
    match value {
        Value::Missing => reference.count_missing(counts),
        Value::Number(number) => count_number(reference, counts, number),
        Value::Bool(is) => match reference.bins {
            Bins::Numeric { .. } => reference.count(counts, f64::from(u8::from(is))),
            Bins::Categorical { .. } => {
                reference.count_category(counts, if is { "true" } else { "false" });
            }
        },
        Value::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => reference.count_category(counts, text),
            Err(_) => reference.count_category(counts, &String::from_utf8_lossy(text)),
        },
        // Another kind of value than the reference's.
        Value::Tensor(_) => reference.count_missing(counts),
    }
}

/// The bin that [`count_value`] counts a value in; none if it is missing.
#[inline]
pub fn bin_of(reference: &Reference, value: Value) -> Option<usize> {
    let number = |number: f64| match reference.bins {
        Bins::Numeric { .. } => number.is_finite().then(|| reference.bin_of(number)),
        Bins::Categorical { .. } => reference.bin_of_category(&number.to_string()),
    };
    match (value, &reference.bins) {
        (Value::Number(value), _) => number(value),
        (Value::Bool(is), Bins::Numeric { .. }) => number(f64::from(u8::from(is))),
        (Value::Bool(is), _) => reference.bin_of_category(if is { "true" } else { "false" }),
        (Value::Text(text), _) => reference.bin_of_category(&String::from_utf8_lossy(text)),
        (Value::Missing | Value::Tensor(_), _) => None,
    }
}

/// A number; where the reference has categories (of codes that a file has as texts), as it is
/// written.
#[inline]
fn count_number(reference: &Reference, counts: &mut Counts, number: f64) {
    match reference.bins {
        Bins::Numeric { .. } => reference.count(counts, number),
        Bins::Categorical { .. } => reference.count_category(counts, &number.to_string()),
    }
}

fn count_features(
    indices: &[usize],
    column: &str,
    value: Value,
    watched: &[Watched],
    counts: &mut [Counts],
) {
    let text = match value {
        Value::Text(text) => Some(text_features(&String::from_utf8_lossy(text))),
        _ => None,
    };
    let tensor = match value {
        Value::Tensor(elements) => Some(elements.numbers().take(ELEMENTS_MAX).collect::<Vec<_>>()),
        _ => None,
    };
    let mut features = None;
    for index in indices {
        let (Watched { feature, reference, centroid, .. }, counts) =
            (&watched[*index], &mut counts[*index]);
        if *feature == Feature::Value {
            count_value(reference, counts, value);
            continue;
        }
        let number = match (&text, &tensor) {
            (Some(text), _) => match feature {
                Feature::Script => {
                    reference.count_category(counts, text.script);
                    continue;
                }
                Feature::Characters => text.characters,
                Feature::Letters => text.letters,
                Feature::Capitals => text.capitals,
                Feature::Digits => text.digits,
                Feature::Spaces => text.spaces,
                Feature::Others => text.others,
                _ => f64::NAN,
            },
            (_, Some(values)) if !feature.is_of_text() => {
                let features =
                    features.get_or_insert_with(|| tensor_features(column, values, centroid));
                match feature {
                    Feature::Norm => features.norm,
                    Feature::Projection(which) => {
                        features.projections.get(usize::from(*which)).copied().unwrap_or(f64::NAN)
                    }
                    // Not every series has the centroid.
                    Feature::Cosine => tensor_features(column, values, centroid).cosine,
                    _ => f64::NAN,
                }
            }
            _ => f64::NAN,
        };
        // NaN counts as missing.
        reference.count(counts, number);
    }
}
