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
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |columns: &[Column]| {
            columns.iter().map(Column::to_string).collect::<Vec<_>>().join(", ")
        };
        let outputs = if self.outputs.is_empty() {
            "known when it runs".to_string()
        } else {
            list(&self.outputs)
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
