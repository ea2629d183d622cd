//! Says what is wrong with a body that did not fit: a second walk over it that keeps nothing but
//! the columns' bytes, and ends with as many details as an error lists.

use std::fmt;

use domain::schema::Schema;
use domain::{Code, Problem};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::builders;
use crate::cells::{Allowance, CellsBuilder, Misfit};
use crate::columns::ColumnIndex;
use crate::limits::{
    DETAILS_MAX, DIMENSIONS_MAX, JSON_DEPTH_MAX, ROWS_MAX, SENTENCE_CHARS_MAX, cut, shown_value,
};
use crate::payload::{expected, mismatch, too_many_rows, too_much_filled, unknown_column};

const FORM: &str = "send one row as an object of input columns, or {\"rows\": [...]}";

/// Says what is wrong with a body that did not fit.
pub fn explain(body: &[u8], schema: &Schema) -> Problem {
    let whole: &RawValue = match serde_json::from_slice(body) {
        Ok(whole) => whole,
        Err(error) => {
            let text = cut(&error.to_string(), SENTENCE_CHARS_MAX);
            return Problem::new(Code::BadJson, format!("the body is not JSON: {text}")).help(FORM);
        }
    };
    if !whole.get().starts_with('{') {
        return bad_form();
    }
    let allowance = Allowance::new(body.len());
    let mut explainer = Explainer {
        schema,
        columns: ColumnIndex::new(&schema.inputs),
        builders: builders(schema, &allowance),
        seen: vec![0; schema.inputs.len()],
        rows: 0,
        place: None,
        details: vec![],
        refusal: None,
    };
    // Ends with an error where the explanation is complete before the text is.
    let mut reader = serde_json::Deserializer::from_str(whole.get());
    let _ = reader.deserialize_map(Row { explainer: &mut explainer, is_top: true });
    let Explainer { mut details, refusal, .. } = explainer;
    if let Some(refusal) = refusal {
        return refusal;
    }
    if details.len() >= DETAILS_MAX {
        details.truncate(DETAILS_MAX);
        details.push("…".into());
    }
    mismatch(details)
}

fn bad_form() -> Problem {
    Problem::new(Code::BadForm, "the body is JSON, but not a row").help(FORM)
}

struct Explainer<'s> {
    schema: &'s Schema,
    columns: ColumnIndex<'s>,
    builders: Vec<CellsBuilder<'s>>,
    /// For each column, the number of the last row that had it, from 1.
    seen: Vec<usize>,
    /// The number of the row at hand, from 1.
    rows: usize,
    /// The row at hand, if there may be several.
    place: Option<usize>,
    details: Vec<String>,
    /// What is wrong with the request as a whole.
    refusal: Option<Problem>,
}

impl Explainer<'_> {
    fn detail(&mut self, text: String) {
        let place = self.place.map(|row| format!("row {row}: ")).unwrap_or_default();
        self.details.push(place + &text);
    }

    /// Ends the walk if nothing is left to say.
    fn go_on<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.refusal.is_some() || self.details.len() >= DETAILS_MAX {
            Err(E::custom("enough"))
        } else {
            Ok(())
        }
    }

    fn cell(&mut self, at: usize, raw: &RawValue) {
        let builder = &mut self.builders[at];
        if std::mem::replace(&mut self.seen[at], self.rows) == self.rows {
            let twice = format!("{}  is there twice", builder.column.name);
            self.detail(twice);
        } else if !builder.push_raw(raw) {
            match misfit(builder, || shown_value(raw)) {
                Ok(text) => self.detail(text),
                Err(refusal) => self.refusal = Some(refusal),
            }
        }
    }

    /// What the row at hand has left out.
    fn row_ends(&mut self) {
        for at in 0..self.schema.inputs.len() {
            let column = &self.schema.inputs[at];
            if self.seen[at] == self.rows {
                continue;
            }
            if !column.is_optional() {
                self.detail(format!("{}  is missing: expected {}", column.name, expected(column)));
            } else if !self.builders[at].push_default()
                && self.builders[at].misfit == Some(Misfit::Filled)
            {
                self.refusal = Some(too_much_filled());
            }
            if self.refusal.is_some() || self.details.len() >= DETAILS_MAX {
                return;
            }
        }
    }
}

/// Why the last value was not taken, of which `got` is what is shown; fails if that is a matter of
/// the whole request.
pub(super) fn misfit(
    builder: &CellsBuilder,
    got: impl FnOnce() -> String,
) -> Result<String, Problem> {
    let column = builder.column;
    let what = match builder.misfit {
        Some(Misfit::Filled) => return Err(too_much_filled()),
        Some(Misfit::Ragged { depth, row: Some(row), had, got }) => format!(
            "has the length {got} in dimension {depth} where row {row} has {had}: rows of one request must have one \
             shape; send them as separate requests"
        ),
        Some(Misfit::Ragged { depth, row: None, had, got }) => format!(
            "is ragged: in dimension {depth}, one array has the length {had} and another {got}"
        ),
        Some(Misfit::Rank(row)) => format!(
            "has another number of dimensions than in row {row}: rows of one request must have one shape; send them \
             as separate requests"
        ),
        Some(Misfit::Deep) if builder.keeps_json() => {
            format!("is nested deeper than {JSON_DEPTH_MAX} levels")
        }
        Some(Misfit::Deep) => format!("has more than {DIMENSIONS_MAX} dimensions"),
        Some(Misfit::Object) => {
            format!(
                "expected {}, as text or as {{\"b64\": \"…\"}}, got {}",
                expected(column),
                got()
            )
        }
        Some(Misfit::Encoding) => {
            format!("has a \"b64\" that is not base64 in the standard alphabet: {}", got())
        }
        None => format!("expected {}, got {}", expected(column), got()),
    };
    Ok(format!("{}  {what}", column.name))
}

/// One row of `rows`.
struct OneRow<'e, 's>(&'e mut Explainer<'s>);

impl<'de> DeserializeSeed<'de> for OneRow<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let OneRow(explainer) = self;
        explainer.go_on()?;
        let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        explainer.rows += 1;
        explainer.place = Some(explainer.rows - 1);
        if explainer.rows > ROWS_MAX {
            explainer.refusal = Some(too_many_rows());
            return Err(D::Error::custom("enough"));
        }
        if !raw.get().starts_with('{') {
            explainer
                .detail(format!("expected an object of input columns, got {}", shown_value(raw)));
            return Ok(());
        }
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        reader.deserialize_map(Row { explainer, is_top: false }).map_err(D::Error::custom)
    }
}

/// The columns of a row; at the top, it may have `rows` instead.
struct Row<'e, 's> {
    explainer: &'e mut Explainer<'s>,
    is_top: bool,
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of input columns")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Row { explainer, is_top } = self;
        let mut next = 0;
        explainer.rows += is_top as usize;
        while let Some(key) = map.next_key_seed(KeySeed { explainer: &*explainer, next })? {
            match key {
                Key::Column(at) => {
                    next = at + 1;
                    explainer.cell(at, map.next_value::<&RawValue>()?);
                }
                Key::Unknown(_, true) if is_top && next == 0 && explainer.details.is_empty() => {
                    rows(explainer, map.next_value::<&RawValue>()?)?;
                    if map.next_key::<IgnoredAny>()?.is_some() {
                        explainer.place = None;
                        explainer.detail(
                            "rows  must stand alone: the columns belong into its rows".into(),
                        );
                    }
                    return Err(A::Error::custom("enough"));
                }
                Key::Unknown(text, _) => {
                    map.next_value::<IgnoredAny>()?;
                    explainer.detail(text);
                }
            }
            explainer.go_on()?;
        }
        explainer.row_ends();
        explainer.go_on()
    }
}

/// What stands behind `rows`.
fn rows<E: serde::de::Error>(explainer: &mut Explainer, raw: &RawValue) -> Result<(), E> {
    if !raw.get().starts_with('[') {
        explainer.refusal = Some(bad_form());
        return Ok(());
    }
    (explainer.rows, explainer.place) = (0, Some(0));
    serde_json::Deserializer::from_str(raw.get())
        .deserialize_seq(Rows(explainer))
        .map_err(E::custom)
}

struct Rows<'e, 's>(&'e mut Explainer<'s>);

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of rows")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(OneRow(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// A key of a row.
enum Key {
    Column(usize),
    /// What to say of it, and whether it is `rows`.
    Unknown(String, bool),
}

struct KeySeed<'e, 's> {
    explainer: &'e Explainer<'s>,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_, '_> {
    type Value = Key;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a column")
    }
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
        let found = self.explainer.columns.find(key, self.next).map(Key::Column);
        Ok(found.unwrap_or_else(|| {
            Key::Unknown(unknown_column(key, self.explainer.schema), key == "rows")
        }))
    }
}
