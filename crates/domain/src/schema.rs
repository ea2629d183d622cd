//! The named, typed columns of a model's inputs and outputs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::excerpt;

/// What the elements of a column are: the datatypes of the Open Inference Protocol, and two of our
/// own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    /// Travels in binary only, as the protocol has no JSON form for it.
    Bf16,
    /// Text or bytes.
    Bytes,
    /// RFC 3339 text; travels as BYTES.
    #[serde(rename = "timestamp")]
    Timestamp,
    /// Any JSON value; travels as BYTES.
    #[serde(rename = "json")]
    Json,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Datatype; 16] = [
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bf16,
        Datatype::Bytes,
        Datatype::Timestamp,
        Datatype::Json,
    ];

    /// The size of one element in bytes; `None` where elements have a length of their own.
    pub fn size(self) -> Option<usize> {
        use Datatype::*;
        match self {
            Bool | Uint8 | Int8 => Some(1),
            Uint16 | Int16 | Fp16 | Bf16 => Some(2),
            Uint32 | Int32 | Fp32 => Some(4),
            Uint64 | Int64 | Fp64 => Some(8),
            Bytes | Timestamp | Json => None,
        }
    }

    /// The name in the protocol: our own datatypes travel as BYTES.
    pub fn wire_name(self) -> &'static str {
        match self {
            Datatype::Timestamp | Datatype::Json => "BYTES",
            other => other.name(),
        }
    }

    /// The name in schemas and messages.
    pub fn name(self) -> &'static str {
        use Datatype::*;
        match self {
            Bool => "BOOL",
            Uint8 => "UINT8",
            Uint16 => "UINT16",
            Uint32 => "UINT32",
            Uint64 => "UINT64",
            Int8 => "INT8",
            Int16 => "INT16",
            Int32 => "INT32",
            Int64 => "INT64",
            Fp16 => "FP16",
            Fp32 => "FP32",
            Fp64 => "FP64",
            Bf16 => "BF16",
            Bytes => "BYTES",
            Timestamp => "timestamp",
            Json => "json",
        }
    }

    /// The datatype with this name in a protocol message.
    pub fn from_name(name: &str) -> Option<Datatype> {
        Datatype::ALL.into_iter().find(|datatype| datatype.name() == name)
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The most dimensions of one row of a column.
pub const DIMENSIONS_MAX: usize = 32;
/// The most elements of one row of a column.
pub const ROW_ELEMENTS_MAX: u64 = 1 << 28;
/// The longest name of a column, in bytes.
pub const COLUMN_NAME_BYTES_MAX: usize = 256;

/// One named column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Unique within the inputs, or within the outputs.
    pub name: String,
    /// Of its elements.
    pub datatype: Datatype,
    /// The shape of one row: `[]` a scalar, `[3, -1]` a matrix with a free dimension, absent if
    /// anything goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<i64>>,
    /// Whether `null` is allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nullable: bool,
    /// What a row without this column gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values allowed, if limited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Value>,
    /// What each place of a row's list stands for, such as the class that a probability is of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Value>,
    /// Of floats: whether `true` and `false` count as 1 and 0, because the model does not tell which
    /// of the two it was trained on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub booleans: bool,
}

impl Column {
    /// A scalar column without further conditions.
    pub fn scalar(name: &str, datatype: Datatype) -> Column {
        Column {
            name: name.into(),
            datatype,
            shape: Some(vec![]),
            nullable: false,
            default: None,
            categories: vec![],
            labels: vec![],
            booleans: false,
        }
    }

    /// Checks what the types cannot: numbers that somebody names are bounded before anything is
    /// made after them.
    pub fn check(&self) -> Result<(), String> {
        let name = excerpt(&self.name);
        if self.name.is_empty() || self.name.len() > COLUMN_NAME_BYTES_MAX {
            return Err(format!(
                "has a column `{name}`: a name has from 1 to {COLUMN_NAME_BYTES_MAX} bytes"
            ));
        }
        let shape = self.shape.as_deref().unwrap_or_default();
        let elements = shape
            .iter()
            .fold(1_u64, |size, dimension| size.saturating_mul((*dimension).max(1) as u64));
        if shape.len() > DIMENSIONS_MAX
            || shape.iter().any(|dimension| *dimension < -1)
            || elements > ROW_ELEMENTS_MAX
        {
            return Err(format!(
                "has a column `{name}` of an impossible shape: at most {DIMENSIONS_MAX} dimensions, each -1 or a size, and \
                 {ROW_ELEMENTS_MAX} elements in a row"
            ));
        }
        Ok(())
    }

    /// Whether a row may leave it out.
    pub fn is_optional(&self) -> bool {
        self.nullable || self.default.is_some()
    }
}

impl fmt::Display for Column {
    /// As people read it: `age: INT64`, `city: one of 2`, `income: FP64?`, `image:
    /// FP32[3,224,224]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.categories.is_empty() {
            write!(f, "{}: {}", self.name, self.datatype)?;
        } else {
            write!(f, "{}: one of {}", self.name, self.categories.len())?;
        }
        match self.shape.as_deref() {
            Some([]) => {}
            Some(shape) => {
                write!(f, "[{}]", shape.iter().map(i64::to_string).collect::<Vec<_>>().join(","))?
            }
            None => f.write_str("[...]")?,
        }
        if self.nullable {
            f.write_str("?")?;
        }
        Ok(())
    }
}

/// What a manifest says of a column: by its name, on top of what the model tells.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnChange {
    /// Of a column that the model tells, or of another one that it takes.
    pub name: String,
    /// Of its elements; must be given if the model does not tell the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datatype: Option<Datatype>,
    /// The shape of one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<i64>>,
    /// Whether `null` is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nullable: Option<bool>,
    /// What a row without this column gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values allowed; an empty list allows all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Value>>,
    /// What each place of a row's list stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<Value>>,
}

impl ColumnChange {
    /// What a column is with this change, key by key; `None` if nothing tells its datatype. Another
    /// datatype makes categories, a default and labels of the old one void.
    pub fn over(&self, told: Option<&Column>) -> Option<Column> {
        let mut column = match (told, self.datatype) {
            (Some(told), datatype) => {
                let datatype = datatype.unwrap_or(told.datatype);
                let kept = told.clone();
                match datatype == told.datatype {
                    true => kept,
                    false => Column {
                        shape: kept.shape,
                        nullable: kept.nullable,
                        ..Column::scalar(&kept.name, datatype)
                    },
                }
            }
            (None, Some(datatype)) => {
                Column { shape: None, ..Column::scalar(&self.name, datatype) }
            }
            (None, None) => return None,
        };
        column.name = self.name.clone();
        column.shape = self.shape.clone().or(column.shape);
        column.nullable = self.nullable.unwrap_or(column.nullable);
        column.default = self.default.clone().or(column.default);
        column.categories = self.categories.clone().unwrap_or(column.categories);
        column.labels = self.labels.clone().unwrap_or(column.labels);
        Some(column)
    }

    /// Checks what the types cannot.
    pub fn check(&self) -> Result<(), String> {
        self.over(Some(&Column::scalar(&self.name, Datatype::Json)))
            .map_or(Ok(()), |column| column.check())
    }
}

/// The columns that a model tells, with what a manifest says of some of them; those that it alone
/// names follow. The name of one of which nothing tells the datatype is the error.
pub fn merged(told: &[Column], said: &[ColumnChange]) -> Result<Vec<Column>, String> {
    let change_of = |column: &Column| said.iter().find(|change| change.name == column.name);
    let is_told = |change: &&ColumnChange| told.iter().any(|column| column.name == change.name);
    let known = told.iter().map(|column| match change_of(column) {
        Some(change) => change.over(Some(column)).unwrap_or_else(|| column.clone()),
        None => column.clone(),
    });
    let mut columns: Vec<Column> = known.collect();
    for change in said.iter().filter(|change| !is_told(change)) {
        columns.push(change.over(None).ok_or_else(|| change.name.clone())?);
    }
    Ok(columns)
}

/// The columns of a version's inputs and outputs.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// What a row must have.
    pub inputs: Vec<Column>,
    /// What an answer has. Empty if only a run can tell (a function that returns `dict`).
    #[serde(default)]
    pub outputs: Vec<Column>,
    /// Whether an answer comes in pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streams: bool,
    /// Whether inputs have a leading batch dimension; a graph with fixed dimensions takes one row
    /// at a time.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub batches: bool,
    /// Whether each row must be sent by itself, because its answer is another one beside other
    /// rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Whether the outputs are those that were seen when the version was tested. Nothing promises
    /// them, so another answer is no fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learned: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Schema {
    /// Whether the model is given one row at a time, however many a request has.
    pub fn is_row_by_row(&self) -> bool {
        self.alone || !self.batches
    }

    /// The outputs that every answer has; empty where the model promises none.
    pub fn promised(&self) -> &[Column] {
        if self.learned { &[] } else { &self.outputs }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |columns: &[Column]| {
            columns.iter().map(Column::to_string).collect::<Vec<_>>().join(", ")
        };
        let outputs = match (self.outputs.is_empty(), self.streams) {
            (false, _) => list(&self.outputs),
            (true, false) => "learned when it is tested".into(),
            (true, true) => "what is known when it runs".into(),
        };
        write!(
            f,
            "predict({}) -> {}{}",
            list(&self.inputs),
            if self.streams { "stream of " } else { "" },
            outputs
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_serde() {
        for datatype in Datatype::ALL {
            assert_eq!(serde_json::to_value(datatype).unwrap(), datatype.name());
            assert_eq!(Datatype::from_name(datatype.name()), Some(datatype));
        }
    }

    #[test]
    fn a_manifest_changes_columns_key_by_key() {
        let said = |text: &str| serde_json::from_str::<Vec<ColumnChange>>(text).unwrap();
        let mut city = Column::scalar("city", Datatype::Bytes);
        city.categories = vec!["Utrecht".into()];
        let told = [Column::scalar("age", Datatype::Int64), city.clone()];
        let columns = merged(&told, &said(r#"[{"name": "age", "nullable": true}]"#)).unwrap();
        assert!(columns[0].nullable && columns[0].datatype == Datatype::Int64);
        assert_eq!(columns[1], city, "what it does not name stays");
        let columns = merged(&told, &said(r#"[{"name": "city", "datatype": "INT8"}]"#)).unwrap();
        assert_eq!(columns[1], Column::scalar("city", Datatype::Int8), "its categories were texts");
        let more = said(r#"[{"name": "x", "datatype": "FP32", "shape": [2]}]"#);
        assert_eq!(merged(&told, &more).unwrap()[2].shape, Some(vec![2]));
        assert_eq!(merged(&told, &said(r#"[{"name": "x"}]"#)), Err("x".into()));
        let before = serde_json::to_string(&Column::scalar("age", Datatype::Int64)).unwrap();
        let change: ColumnChange = serde_json::from_str(&before).unwrap();
        assert_eq!(serde_json::to_string(&change).unwrap(), before, "digests stay as they were");
    }

    #[test]
    fn reads_like_a_signature() {
        let mut city = Column::scalar("city", Datatype::Bytes);
        city.categories = vec!["Utrecht".into(), "Delft".into()];
        let mut income = Column::scalar("income", Datatype::Fp64);
        income.nullable = true;
        let schema = Schema {
            inputs: vec![Column::scalar("age", Datatype::Int64), city, income],
            outputs: vec![Column::scalar("leave", Datatype::Fp64)],
            batches: true,
            ..Schema::default()
        };
        assert_eq!(
            schema.to_string(),
            "predict(age: INT64, city: one of 2, income: FP64?) -> leave: FP64"
        );
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    }
}
