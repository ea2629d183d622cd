//! What is counted of one column's values, in memory that does not grow with their number: counts,
//! moments, quantiles, distinct and most frequent values. Two sketches of a kind can be merged, and
//! one read back from bytes.

mod body;
mod moments;
mod text;
mod top;

use std::fmt;

use datasketches::common::SearchCriteria;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use domain::Datatype;
use protocol::ColumnView;
use protocol::view::{Elements, Value};

pub use body::{BODY_BYTES_MAX, BodyError};
pub(crate) use body::{sealed, unsealed};
pub use moments::Moments;
pub use text::TEXT_BYTES_MAX;
use top::Top;
pub use top::TopValue;

/// The most memory that one sketch takes, in bytes, whatever it has seen. A test holds it.
pub const SKETCH_BYTES_MAX: usize = 26 * 1024;

/// 2^12 registers: the number of distinct values is off by 1.6% (one standard deviation).
const DISTINCT_LG: u8 = 12;
/// The largest integer up to which every whole number is a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

type Quantiles = KllSketch<KllFloat<f64>>;

/// What the values of a column are. What is counted of them depends on it, so that a column whose
/// kind changes has a sketch for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// `true` and `false`.
    Bool,
    /// Whole numbers: their most frequent values are counted, too.
    Integer,
    /// Numbers with a fraction.
    Float,
    /// Text, bytes, timestamps or JSON; as a number, it is its length in characters.
    Text,
    /// Rows that have a shape; as a number, one is its Euclidean norm.
    Tensor,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Bool, Kind::Integer, Kind::Float, Kind::Text, Kind::Tensor];

    /// Of the values of a column.
    pub fn of(column: &ColumnView) -> Kind {
        use Datatype::*;
        if !column.shape.is_empty() {
            return Kind::Tensor;
        }
        match column.datatype {
            Bool => Kind::Bool,
            Uint8 | Uint16 | Uint32 | Uint64 | Int8 | Int16 | Int32 | Int64 => Kind::Integer,
            Fp16 | Fp32 | Fp64 | Bf16 => Kind::Float,
            Bytes | Timestamp | Json => Kind::Text,
        }
    }

    /// In small letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Integer => "integer",
            Kind::Float => "float",
            Kind::Text => "text",
            Kind::Tensor => "tensor",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Two sketches of different kinds have nothing to add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a column of kind {0} cannot be added to one of kind {1}: read them apart")]
pub struct KindsDiffer(pub Kind, pub Kind);

/// What is known of some values of a column.
#[derive(Clone, Debug)]
pub struct ColumnSketch {
    kind: Kind,
    rows: u64,
    missing: u64,
    non_finite: u64,
    trues: u64,
    numbers: Moments,
    elements: Moments,
    quantiles: Quantiles,
    distinct: Option<HllSketch>,
    top: Top,
}

impl ColumnSketch {
    /// Of no values.
    pub fn new(kind: Kind) -> ColumnSketch {
        let has_distinct = matches!(kind, Kind::Integer | Kind::Float | Kind::Text);
        ColumnSketch {
            kind,
            rows: 0,
            missing: 0,
            non_finite: 0,
            trues: 0,
            numbers: Moments::default(),
            elements: Moments::default(),
            quantiles: Quantiles::default(),
            distinct: has_distinct.then(empty_distinct).flatten(),
            top: Top::new(kind),
        }
    }

    /// Takes in the value of one row. One of another kind counts as a row and no more.
    #[inline]
    pub fn add(&mut self, value: Value) {
        self.rows += 1;
        match (value, self.kind) {
            (Value::Missing, _) => self.missing += 1,
            (Value::Number(number), Kind::Integer | Kind::Float) => self.add_scalar(number),
            (Value::Text(text), Kind::Text) => self.add_text(text),
            (Value::Bool(is_true), Kind::Bool) => {
                self.trues += u64::from(is_true);
                self.numbers.add(f64::from(u8::from(is_true)));
            }
            (Value::Tensor(elements), Kind::Tensor) => self.add_tensor(elements),
            _ => {}
        }
    }

    fn add_scalar(&mut self, number: f64) {
        // Both zeros are one value.
        let number = number + 0.0;
        if !self.add_number(number) {
            return;
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.update(number.to_bits());
        }
        if self.kind == Kind::Integer && number.abs() <= EXACT_MAX {
            self.top.add_integer(number as i64);
        }
    }

    fn add_text(&mut self, text: &[u8]) {
        self.add_number(text::characters(text) as f64);
        if let Some(distinct) = &mut self.distinct {
            distinct.update(text);
        }
        text::cut(text, |short| self.top.add_text(short));
    }

    fn add_tensor(&mut self, elements: Elements) {
        self.elements.add(elements.count() as f64);
        if elements.texts().next().is_none() {
            self.add_number(norm(elements));
        }
    }

    /// Whether it is finite.
    #[inline]
    fn add_number(&mut self, number: f64) -> bool {
        match KllFloat::<f64>::new(number) {
            Ok(item) if number.is_finite() => {
                self.numbers.add(number);
                self.quantiles.update(item);
                true
            }
            _ => {
                self.non_finite += 1;
                false
            }
        }
    }

    /// Takes in all that another has seen.
    pub fn merge(&mut self, other: &ColumnSketch) -> Result<(), KindsDiffer> {
        if self.kind != other.kind {
            return Err(KindsDiffer(other.kind, self.kind));
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.missing = self.missing.saturating_add(other.missing);
        self.non_finite = self.non_finite.saturating_add(other.non_finite);
        self.trues = self.trues.saturating_add(other.trues);
        self.numbers.merge(&other.numbers);
        self.elements.merge(&other.elements);
        // It fails beyond 2^64 values only, which no bytes that are read claim to have.
        let _ = self.quantiles.merge(&other.quantiles);
        self.distinct = union(self.distinct.take(), other.distinct.as_ref());
        self.top.merge(&other.top);
        Ok(())
    }

    /// Forgets which texts there were; how many, how long and how many different ones stays.
    pub fn forget_texts(&mut self) {
        if self.kind == Kind::Text {
            self.top = Top::new(self.kind);
        }
    }

    /// What the values are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many rows, with those that have no value.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows without a value.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Values that are no finite number, or tensors with such an element. They are in no moment and
    /// no quantile.
    pub fn non_finite(&self) -> u64 {
        self.non_finite
    }

    /// Rows that are `true`.
    pub fn trues(&self) -> u64 {
        self.trues
    }

    /// Of the numbers: of the lengths of texts in characters, the norms of tensors.
    pub fn numbers(&self) -> &Moments {
        &self.numbers
    }

    /// Of the number of elements of tensors.
    pub fn elements(&self) -> &Moments {
        &self.elements
    }

    /// The number that a share (0 to 1) of the numbers does not exceed, by rank within 1.33% with
    /// 99% confidence; `None` without numbers. The first and the last are exact.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let found = self.quantiles.quantile(share, SearchCriteria::Inclusive).ok()?;
        found.map(KllFloat::into_inner)
    }

    /// The share (0 to 1) of the numbers that do not exceed this one, as exact as
    /// [`Self::quantile`].
    pub fn share_up_to(&self, number: f64) -> Option<f64> {
        self.quantiles.rank(&KllFloat::<f64>::new(number).ok()?, SearchCriteria::Inclusive)
    }

    /// About how many different values; `None` where that is not counted.
    pub fn distinct(&self) -> Option<u64> {
        self.distinct.as_ref().map(|distinct| distinct.estimate().round() as u64)
    }

    /// The most frequent values, at most so many, the most frequent first. Texts are cut to
    /// [`TEXT_BYTES_MAX`].
    pub fn top(&self, values_max: usize) -> Vec<TopValue> {
        let falses = self.numbers.count().saturating_sub(self.trues);
        match self.kind {
            Kind::Bool => top::of_bool(self.trues, falses, values_max),
            _ => self.top.values(values_max),
        }
    }
}

/// The Euclidean norm; not a number if an element is none.
fn norm(elements: Elements) -> f64 {
    let squares: f64 = elements.numbers().map(|number| number * number).sum();
    if squares.is_finite() {
        return squares.sqrt();
    }
    // The square of a finite element may be beyond what a float holds.
    let largest = elements.numbers().fold(0.0_f64, |largest, number| largest.max(number.abs()));
    let is_finite = elements.numbers().all(f64::is_finite);
    let scaled: f64 = elements.numbers().map(|number| (number / largest).powi(2)).sum();
    if is_finite { (largest * scaled.sqrt()).min(f64::MAX) } else { f64::NAN }
}

/// `None` only for another size than the library has.
fn empty_distinct() -> Option<HllSketch> {
    HllSketch::new(DISTINCT_LG, HllType::Hll8).ok()
}

fn union(mine: Option<HllSketch>, other: Option<&HllSketch>) -> Option<HllSketch> {
    let (mine, Some(other)) = (mine?, other) else { return None };
    let mut union = HllUnion::new(DISTINCT_LG).ok()?;
    union.update(&mine);
    union.update(other);
    Some(union.to_sketch(HllType::Hll8))
}

#[cfg(test)]
mod tests;
