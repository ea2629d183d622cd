//! The most frequent values of a column: whole numbers up to 2^53, or texts.

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};

use super::Kind;

/// Places for values, of which three quarters are used: a value of more than 2.7% of all is never
/// left out.
const PLACES: usize = 128;

/// A frequent value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopValue {
    /// As text: `true`, `42`, `Utrecht`.
    pub value: String,
    /// It was there at least so often.
    pub count_min: u64,
    /// It was there at most so often.
    pub count_max: u64,
}

/// What is frequent.
#[derive(Clone, Debug)]
pub(super) enum Top {
    Integers(FrequentItemsSketch<i64>),
    Texts(FrequentItemsSketch<String>),
    /// Not counted.
    Nothing,
}

impl Top {
    pub(super) fn new(kind: Kind) -> Top {
        // It fails for a size only that is no power of two.
        let top = match kind {
            Kind::Integer => FrequentItemsSketch::new(PLACES).ok().map(Top::Integers),
            Kind::Text => FrequentItemsSketch::new(PLACES).ok().map(Top::Texts),
            Kind::Bool | Kind::Float | Kind::Tensor => None,
        };
        top.unwrap_or(Top::Nothing)
    }

    pub(super) fn add_integer(&mut self, value: i64) {
        if let Top::Integers(top) = self {
            top.update(value);
        }
    }

    pub(super) fn add_text(&mut self, value: &str) {
        if let Top::Texts(top) = self {
            top.update_ref(value);
        }
    }

    pub(super) fn merge(&mut self, other: &Top) {
        match (self, other) {
            (Top::Integers(mine), Top::Integers(other)) => mine.merge(other),
            (Top::Texts(mine), Top::Texts(other)) => mine.merge(other),
            _ => {}
        }
    }

    pub(super) fn values(&self, values_max: usize) -> Vec<TopValue> {
        match self {
            Top::Integers(top) => first(top, values_max, i64::to_string),
            Top::Texts(top) => first(top, values_max, String::clone),
            Top::Nothing => vec![],
        }
    }
}

fn first<T: Eq + std::hash::Hash + Clone>(
    top: &FrequentItemsSketch<T>,
    values_max: usize,
    text: impl Fn(&T) -> String,
) -> Vec<TopValue> {
    let rows = top.frequent_items(ErrorType::NoFalseNegatives).into_iter().take(values_max);
    rows.map(|row| TopValue {
        value: text(row.item()),
        count_min: row.lower_bound(),
        count_max: row.upper_bound(),
    })
    .collect()
}

/// Of a column of `true` and `false`.
pub(super) fn of_bool(trues: u64, falses: u64, values_max: usize) -> Vec<TopValue> {
    let value = |value: bool, count: u64| TopValue {
        value: value.to_string(),
        count_min: count,
        count_max: count,
    };
    let mut values = vec![value(true, trues), value(false, falses)];
    values.retain(|value| value.count_max > 0);
    values.sort_by_key(|value| std::cmp::Reverse(value.count_max));
    values.truncate(values_max);
    values
}
