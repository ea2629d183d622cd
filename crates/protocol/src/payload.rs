//! A payload: rows of a model's input columns, in the order of its schema, checked against it.

use bytes::Bytes;
use domain::schema::{Column, Schema};
use domain::{Datatype, Problem};

use crate::tensor::{Tensor, byte_elements, push_byte_element};

/// The rows of one request.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Payload {
    /// How many.
    pub rows: usize,
    /// One for each input column of the schema, in its order.
    pub columns: Vec<Cells>,
}

/// One column of a payload.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cells {
    /// Of one row.
    pub shape: Vec<usize>,
    /// As in a [`Tensor`].
    pub data: Bytes,
    /// For nullable columns, 1 or 0 for each row; `None` if all are there.
    pub valid: Option<Bytes>,
}

/// The refusal of rows that break the schema.
pub fn mismatch(details: Vec<String>) -> Problem {
    let message = if details.len() == 1 { "the row does not fit the schema" } else { "the rows do not fit the schema" };
    Problem::new("schema_mismatch", message).details(details)
}

/// Whether a shape is what the column wants.
pub fn shape_fits(column: &Column, shape: &[usize]) -> bool {
    match &column.shape {
        None => true,
        Some(wanted) => {
            wanted.len() == shape.len() && wanted.iter().zip(shape).all(|(want, got)| *want < 0 || *want as usize == *got)
        }
    }
}

impl Payload {
    /// Two payloads may share a batch if the shapes of their rows agree.
    pub fn shapes_agree(&self, other: &Payload) -> bool {
        self.columns.len() == other.columns.len() && self.columns.iter().zip(&other.columns).all(|(a, b)| a.shape == b.shape)
    }

    /// The size of all data in bytes.
    pub fn size(&self) -> usize {
        self.columns.iter().map(|cells| cells.data.len()).sum()
    }

    /// Sorts tensors into the schema's order and checks each; absent optional columns get their default.
    pub fn from_tensors(tensors: Vec<Tensor>, schema: &Schema) -> Result<Payload, Problem> {
        let mut details = vec![];
        let mut rows = None;
        let mut slots: Vec<Option<Cells>> = schema.inputs.iter().map(|_| None).collect();
        let mut valids: Vec<Option<Bytes>> = schema.inputs.iter().map(|_| None).collect();
        for tensor in tensors {
            tensor.check()?;
            let Some(count) = leading(&tensor, schema) else {
                details.push(format!(
                    "{}  expected a leading dimension for the rows, got the shape {:?}",
                    tensor.name, tensor.shape
                ));
                continue;
            };
            if *rows.get_or_insert(count) != count {
                details.push(format!("{}  has {count} rows where another input has {}", tensor.name, rows.unwrap_or(0)));
                continue;
            }
            if let Some(at) = schema.inputs.iter().position(|column| column.name == tensor.name) {
                match cells_of(&schema.inputs[at], &tensor, schema.batches) {
                    Ok(cells) if slots[at].is_none() => slots[at] = Some(cells),
                    Ok(_) => details.push(format!("{}  is there twice", tensor.name)),
                    Err(detail) => details.push(detail),
                }
            } else if let Some(at) = validity_of(schema, &tensor) {
                valids[at] = Some(tensor.data);
            } else {
                details.push(unknown_column(&tensor.name, schema));
            }
        }
        let rows = rows.unwrap_or(0);
        if rows == 0 && details.is_empty() {
            return Err(Problem::new("no_rows", "the request has no rows").help("send at least one row"));
        }
        let mut columns = vec![];
        for ((column, slot), valid) in schema.inputs.iter().zip(slots).zip(valids) {
            match slot {
                Some(cells) => columns.push(Cells { valid, ..cells }),
                None if column.is_optional() => columns.push(absent(column, rows)),
                None => details.push(format!("{}  is missing: expected {}", column.name, expected(column))),
            }
        }
        if details.is_empty() { Ok(Payload { rows, columns }) } else { Err(mismatch(details)) }
    }

    /// The payload as tensors for a worker, with `NAME:valid` beside nullable columns.
    pub fn to_tensors(&self, schema: &Schema) -> Vec<Tensor> {
        let mut tensors = vec![];
        for (column, cells) in schema.inputs.iter().zip(&self.columns) {
            let shape = |row: &[usize]| {
                let leading = schema.batches.then_some(self.rows);
                leading.into_iter().chain(row.iter().copied()).collect::<Vec<usize>>()
            };
            let tensor = Tensor {
                name: column.name.clone(),
                datatype: column.datatype,
                shape: shape(&cells.shape),
                data: cells.data.clone(),
            };
            tensors.push(tensor);
            if column.nullable {
                let data = cells.valid.clone().unwrap_or_else(|| Bytes::from(vec![1; self.rows]));
                let name = format!("{}:valid", column.name);
                tensors.push(Tensor { name, datatype: Datatype::Bool, shape: vec![self.rows], data });
            }
        }
        tensors
    }
}

/// The number of rows: the leading dimension, or 1 for a graph without one.
fn leading(tensor: &Tensor, schema: &Schema) -> Option<usize> {
    if schema.batches || tensor.name.ends_with(":valid") { tensor.shape.first().copied() } else { Some(1) }
}

fn validity_of(schema: &Schema, tensor: &Tensor) -> Option<usize> {
    let name = tensor.name.strip_suffix(":valid").filter(|_| tensor.datatype == Datatype::Bool && tensor.shape.len() == 1)?;
    schema.inputs.iter().position(|column| column.name == name && column.nullable)
}

fn cells_of(column: &Column, tensor: &Tensor, batches: bool) -> Result<Cells, String> {
    if tensor.datatype.wire_name() != column.datatype.wire_name() {
        return Err(format!("{}  expected {}, got {}", column.name, column.datatype, tensor.datatype));
    }
    let mut shape = tensor.shape.get(batches as usize..).unwrap_or_default().to_vec();
    if column.shape.as_deref() == Some(&[]) && shape == [1] {
        // Clients that know no scalars send a column of them as (rows, 1).
        shape.clear();
    }
    if !shape_fits(column, &shape) {
        let wanted = column.shape.clone().unwrap_or_default();
        return Err(format!("{}  expected rows of the shape {wanted:?}, got {shape:?}", column.name));
    }
    if let Some(element) = bad_element(column, &tensor.data) {
        return Err(format!("{}  expected {}, got {element}", column.name, expected(column)));
    }
    Ok(Cells { shape, data: tensor.data.clone(), valid: None })
}

/// The first element that is not what the column allows, as JSON.
fn bad_element(column: &Column, data: &[u8]) -> Option<String> {
    let fits = |element: &[u8]| match column.datatype {
        Datatype::Timestamp => crate::element::is_timestamp(element),
        Datatype::Json => serde_json::from_slice::<serde::de::IgnoredAny>(element).is_ok(),
        _ => true,
    } && category_fits(column, element);
    let needs_look = !column.categories.is_empty() || matches!(column.datatype, Datatype::Timestamp | Datatype::Json);
    let bad = match (needs_look, column.datatype.size()) {
        (false, _) => None,
        (true, Some(size)) => data.chunks(size).find(|element| !fits(element)),
        (true, None) => byte_elements(data).find(|element| !fits(element)),
    };
    bad.map(|element| {
        let mut text = vec![];
        crate::element::write_json(column.datatype, element, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Whether an element, as bytes, is among the column's categories.
pub fn category_fits(column: &Column, element: &[u8]) -> bool {
    let same = |category: &serde_json::Value| match category {
        serde_json::Value::String(text) => text.as_bytes() == element,
        other => {
            let mut data = vec![];
            push_value(column.datatype, other, &mut data) && data == element
        }
    };
    column.categories.is_empty() || column.categories.iter().any(same)
}

/// Appends a JSON value as one element; `false` if it is not one of the datatype.
pub fn push_value(datatype: Datatype, value: &serde_json::Value, data: &mut Vec<u8>) -> bool {
    use crate::element::{Scalar, push};
    use serde_json::Value;
    if datatype == Datatype::Json {
        push_byte_element(data, value.to_string().as_bytes());
        return true;
    }
    match value {
        Value::Bool(value) => push(datatype, Scalar::Bool(*value), data),
        Value::String(text) => push(datatype, Scalar::Text(text), data),
        Value::Number(number) => {
            let scalar = match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => Scalar::Unsigned(value),
                (_, Some(value), _) => Scalar::Signed(value),
                (_, _, Some(value)) => Scalar::Float(value),
                _ => return false,
            };
            push(datatype, scalar, data)
        }
        _ => false,
    }
}

/// What a person should send for this column.
pub fn expected(column: &Column) -> String {
    let shape = match column.shape.as_deref() {
        Some([]) => String::new(),
        Some(shape) => format!(" of shape {shape:?}"),
        None => " (an array)".into(),
    };
    let or_null = if column.nullable { " or null" } else { "" };
    if column.categories.is_empty() {
        return format!("{}{shape}{or_null}", column.datatype);
    }
    let mut values: Vec<String> = column.categories.iter().take(12).map(|value| value.to_string()).collect();
    if column.categories.len() > values.len() {
        values.push(format!("… ({} in all)", column.categories.len()));
    }
    format!("one of {}{or_null}", values.join(", "))
}

/// Names the columns that there are, and the nearest.
pub fn unknown_column(name: &str, schema: &Schema) -> String {
    match domain::state::near_name(name, schema.inputs.iter().map(|column| column.name.as_str())) {
        Some(near) => format!("{name}  is not a column of this model; did you mean `{near}`?"),
        None => {
            let names: Vec<&str> = schema.inputs.iter().map(|column| column.name.as_str()).collect();
            format!("{name}  is not a column of this model; it has {}", names.join(", "))
        }
    }
}

/// The cells of an optional column that a request leaves out.
pub fn absent(column: &Column, rows: usize) -> Cells {
    let dimensions = || column.shape.iter().flatten().map(|dimension| (*dimension).max(0) as usize).collect();
    let mut element = vec![];
    let mut shape: Vec<usize> = dimensions();
    let has_default = column.default.as_ref().is_some_and(|value| !value.is_null());
    if has_default {
        let mut builder = crate::cells::CellsBuilder::new(column, 1);
        if let Some(value) = &column.default
            && builder.push_value(value)
        {
            let cells = builder.finish();
            (element, shape) = (cells.data.to_vec(), cells.shape);
        }
    } else {
        push_null(column.datatype, &shape, &mut element);
    }
    let valid = (!has_default).then(|| Bytes::from(vec![0; rows]));
    Cells { shape, data: Bytes::from(element.repeat(rows)), valid }
}

/// Appends what stands in for a missing row: zeros, or empty elements.
pub fn push_null(datatype: Datatype, shape: &[usize], data: &mut Vec<u8>) {
    let count = crate::tensor::elements(shape).unwrap_or(0);
    match datatype {
        Datatype::Json => (0..count).for_each(|_| push_byte_element(data, b"null")),
        _ => data.resize(data.len() + count * datatype.size().unwrap_or(4), 0),
    }
}
