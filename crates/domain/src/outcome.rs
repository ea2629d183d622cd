//! What a model answered and what turned out to be true, as values that can be compared; and what a
//! number of such values look like.

use std::borrow::Cow;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest text that can be the truth, in bytes.
pub const OUTCOME_BYTES_MAX: usize = 256;
/// Values that are told apart before they count as many.
pub const CLASSES_SEEN_MAX: usize = 64;
/// Values that are of another form than nearly all others are taken for mistakes.
const MISTAKES: f64 = 0.01;
/// Above it, neighbouring whole numbers are the same `f64`.
const WHOLE_MAX: f64 = 9e15;

/// A value that was predicted, or that is true.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Outcome {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// The name of a class; at most 256 bytes.
    Text(String),
}

/// A value that cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OutcomeError {
    /// An object or a list.
    #[error("the truth is a number, a text, true or false")]
    Form,
    /// Longer than [`OUTCOME_BYTES_MAX`].
    #[error("the truth is longer than 256 bytes")]
    Long,
    /// Infinite, or not a number.
    #[error("the truth is not a finite number")]
    Infinite,
}

impl Outcome {
    /// A number, if it is finite.
    pub fn finite(number: f64) -> Result<Outcome, OutcomeError> {
        if number.is_finite() { Ok(Outcome::Number(number)) } else { Err(OutcomeError::Infinite) }
    }

    /// A text, if it is not too long.
    pub fn text(text: &str) -> Result<Outcome, OutcomeError> {
        match text.len() {
            0..=OUTCOME_BYTES_MAX => Ok(Outcome::Text(text.into())),
            _ => Err(OutcomeError::Long),
        }
    }

    /// What JSON says; `None` is `null`.
    pub fn of_json(value: &Value) -> Result<Option<Outcome>, OutcomeError> {
        Ok(Some(match value {
            Value::Null => return Ok(None),
            Value::Bool(truth) => Outcome::Bool(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Outcome::Integer(whole),
                None => Outcome::finite(number.as_f64().unwrap_or(f64::NAN))?,
            },
            Value::String(text) => Outcome::text(text)?,
            Value::Array(_) | Value::Object(_) => return Err(OutcomeError::Form),
        }))
    }

    /// What a cell of a CSV file says; `None` if it is empty. A number keeps its zeros in front only
    /// as a text: `007` is one.
    pub fn of_cell(cell: &str) -> Result<Option<Outcome>, OutcomeError> {
        let cell = cell.trim();
        let digits = cell.trim_start_matches(['-', '+']);
        let is_code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        Ok(Some(match cell {
            "" => return Ok(None),
            "true" | "True" | "TRUE" => Outcome::Bool(true),
            "false" | "False" | "FALSE" => Outcome::Bool(false),
            _ if is_code || !starts => Outcome::text(cell)?,
            _ => match (cell.parse::<i64>(), cell.parse::<f64>()) {
                (Ok(whole), _) => Outcome::Integer(whole),
                (_, Ok(number)) => Outcome::finite(number)?,
                _ => Outcome::text(cell)?,
            },
        }))
    }

    /// As a number; yes is 1. `None` of a text that is no number.
    pub fn number(&self) -> Option<f64> {
        match self {
            Outcome::Bool(truth) => Some(f64::from(u8::from(*truth))),
            Outcome::Integer(whole) => Some(*whole as f64),
            Outcome::Number(number) => Some(*number),
            Outcome::Text(text) => {
                text.trim().parse().ok().filter(|number: &f64| number.is_finite())
            }
        }
    }

    /// As yes or no: also 1 and 0.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Outcome::Bool(truth) => Some(*truth),
            Outcome::Text(text) => match text.as_str() {
                "true" | "True" | "1" => Some(true),
                "false" | "False" | "0" => Some(false),
                _ => None,
            },
            other => match other.number() {
                Some(1.0) => Some(true),
                Some(0.0) => Some(false),
                _ => None,
            },
        }
    }

    /// The name of a class: 3, 3.0 and "3" are the same.
    pub fn class(&self) -> Cow<'_, str> {
        match self {
            Outcome::Bool(truth) => if *truth { "true" } else { "false" }.into(),
            Outcome::Integer(whole) => whole.to_string().into(),
            Outcome::Number(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
                (*number as i64).to_string().into()
            }
            Outcome::Number(number) => number.to_string().into(),
            Outcome::Text(text) => text.into(),
        }
    }
}

/// What a number of values look like.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct OutcomesSeen {
    /// Yes or no.
    pub bools: u64,
    /// 0 or 1.
    pub zero_ones: u64,
    /// Other whole numbers.
    pub integers: u64,
    /// Numbers that are not whole.
    pub fractions: u64,
    /// Texts.
    pub texts: u64,
    /// Of all numbers: how many came as floating-point numbers.
    pub floats: u64,
    /// The least number and the greatest.
    pub range: Option<(f64, f64)>,
    /// The different values, up to [`CLASSES_SEEN_MAX`] and one more.
    pub classes: BTreeSet<String>,
}

impl OutcomesSeen {
    /// Takes in one.
    pub fn add(&mut self, outcome: &Outcome) {
        let number = outcome.number();
        match (outcome, number) {
            (Outcome::Bool(_), _) => self.bools += 1,
            (Outcome::Text(_), _) | (_, None) => self.texts += 1,
            (_, Some(0.0 | 1.0)) => self.zero_ones += 1,
            (_, Some(number)) if number.fract() == 0.0 => self.integers += 1,
            _ => self.fractions += 1,
        }
        self.floats += u64::from(matches!(outcome, Outcome::Number(_)));
        if let (Some(number), false) = (number, matches!(outcome, Outcome::Text(_))) {
            let (least, greatest) = self.range.unwrap_or((number, number));
            self.range = Some((least.min(number), greatest.max(number)));
        }
        let class = outcome.class();
        if self.classes.len() <= CLASSES_SEEN_MAX && !self.classes.contains(class.as_ref()) {
            self.classes.insert(class.into_owned());
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &OutcomesSeen) {
        self.bools += other.bools;
        self.zero_ones += other.zero_ones;
        self.integers += other.integers;
        self.fractions += other.fractions;
        self.texts += other.texts;
        self.floats += other.floats;
        if let Some((low, high)) = other.range {
            let (least, greatest) = self.range.unwrap_or((low, high));
            self.range = Some((least.min(low), greatest.max(high)));
        }
        let room = (CLASSES_SEEN_MAX + 1).saturating_sub(self.classes.len());
        let new: Vec<_> = other.classes.difference(&self.classes).take(room).cloned().collect();
        self.classes.extend(new);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.bools + self.zero_ones + self.integers + self.fractions + self.texts
    }

    /// Whether so many of them are too many to be mistakes.
    pub fn are_some(&self, of: u64) -> bool {
        of > 0 && of as f64 >= self.count() as f64 * MISTAKES
    }

    /// Whether nearly all are yes or no, also as 1 and 0.
    pub fn are_binary(&self) -> bool {
        let others = self.integers + self.fractions + self.texts;
        self.count() > 0 && !self.are_some(others)
    }

    /// Whether there are too many different ones to be classes.
    pub fn are_many(&self) -> bool {
        self.classes.len() > CLASSES_SEEN_MAX
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_what_it_looks_like() {
        for (cell, expected) in [
            ("1", Outcome::Integer(1)),
            (" -3 ", Outcome::Integer(-3)),
            ("0", Outcome::Integer(0)),
            ("0.50", Outcome::Number(0.5)),
            ("1e3", Outcome::Number(1e3)),
            ("007", Outcome::Text("007".into())),
            ("True", Outcome::Bool(true)),
            ("inf", Outcome::Text("inf".into())),
            ("nan", Outcome::Text("nan".into())),
            ("stayed", Outcome::Text("stayed".into())),
        ] {
            assert_eq!(Outcome::of_cell(cell).unwrap().unwrap(), expected, "{cell}");
        }
        assert_eq!(Outcome::of_cell(" ").unwrap(), None);
        assert_eq!(Outcome::of_cell("1e999"), Err(OutcomeError::Infinite));
        assert_eq!(Outcome::of_cell(&"x".repeat(257)), Err(OutcomeError::Long));
        assert_eq!(Outcome::of_json(&json!([1])), Err(OutcomeError::Form));
        assert_eq!(Outcome::of_json(&json!(null)).unwrap(), None);
    }

    #[test]
    fn the_same_class_has_the_same_name() {
        let three = [Outcome::Integer(3), Outcome::Number(3.0), Outcome::Text("3".into())];
        assert!(three.iter().all(|outcome| outcome.class() == "3"));
        assert_eq!(Outcome::Number(2.5).class(), "2.5");
        assert_eq!(Outcome::Number(1.0).truth(), Some(true));
        assert_eq!(Outcome::Integer(2).truth(), None);
    }

    #[test]
    fn a_few_mistakes_do_not_change_what_values_are() {
        let mut seen = OutcomesSeen::default();
        (0..500).for_each(|at| seen.add(&Outcome::Integer(at % 2)));
        (0..4).for_each(|_| seen.add(&Outcome::Text("n/a".into())));
        assert!(seen.are_binary() && !seen.are_many() && !seen.are_some(seen.texts));
        (0..100).for_each(|at| seen.add(&Outcome::Number(f64::from(at) + 0.5)));
        assert!(!seen.are_binary() && seen.are_many());
        assert_eq!((seen.count(), seen.range), (604, Some((0.0, 99.5))));
        assert_eq!(seen.classes.len(), CLASSES_SEEN_MAX + 1);
    }
}
