//! A payload: rows of a model's input columns, in the order of its schema, checked against it.

use bytes::Bytes;
use domain::schema::{Column, Schema};
use domain::{Code, Datatype, Problem};

use crate::cells::{Allowance, CellsBuilder};
use crate::columns::ColumnIndex;
use crate::element::taken_truths;
use crate::limits::{
    DETAILS_MAX, FILLED_BYTES_MAX, ROWS_MAX, VALUE_SHOWN_CHARS_MAX, cut, shown_name, shown_names,
};
use crate::tensor::{Tensor, byte_elements, elements, push_byte_element};

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
    let message = if details.len() == 1 {
        "the row does not fit the schema"
    } else {
        "the rows do not fit the schema"
    };
    Problem::new(Code::SchemaMismatch, message).details(details)
}

/// The refusal of a request with more rows than one may have.
pub(crate) fn too_many_rows() -> Problem {
    Problem::new(Code::BadShape, format!("the request has more than {ROWS_MAX} rows"))
        .help("send them in several requests")
}

/// The refusal of rows that leave out more than is filled in for one request.
pub(crate) fn too_much_filled() -> Problem {
    let text = format!(
        "what the rows leave out or set to null would take more than {} MiB",
        FILLED_BYTES_MAX >> 20
    );
    Problem::new(Code::BadShape, text).help("send fewer rows in one request")
}

/// Whether a shape is what the column wants.
pub fn shape_fits(column: &Column, shape: &[usize]) -> bool {
    match &column.shape {
        None => true,
        Some(wanted) => {
            wanted.len() == shape.len()
                && wanted.iter().zip(shape).all(|(want, got)| *want < 0 || *want as usize == *got)
        }
    }
}

impl Payload {
    /// Two payloads may share a batch if the shapes of their rows agree.
    pub fn shapes_agree(&self, other: &Payload) -> bool {
        self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(|(a, b)| a.shape == b.shape)
    }

    /// The size of all data in bytes.
    pub fn size(&self) -> usize {
        self.columns.iter().map(|cells| cells.data.len()).sum()
    }

    /// Each row as a payload of its own, without copying.
    pub fn each_row<'p>(&'p self, schema: &'p Schema) -> impl Iterator<Item = Payload> + 'p {
        let mut begins = vec![0; self.columns.len()];
        (0..self.rows).map(move |row| {
            let cells = self.columns.iter().zip(&schema.inputs).zip(&mut begins);
            let columns = cells.map(|((cells, column), begin)| {
                let end = (*begin + cells.row_bytes(column.datatype, *begin)).min(cells.data.len());
                let data = cells.data.slice(std::mem::replace(begin, end)..end);
                let valid = cells.valid.as_ref().map(|valid| valid.slice(row..row + 1));
                Cells { shape: cells.shape.clone(), data, valid }
            });
            Payload { rows: 1, columns: columns.collect() }
        })
    }

    /// Sorts tensors into the schema's order and checks each; absent optional columns get their
    /// default.
    pub fn from_tensors(tensors: Vec<Tensor>, schema: &Schema) -> Result<Payload, Problem> {
        let mut sorter = Sorter::new(schema);
        for (at, tensor) in tensors.into_iter().enumerate() {
            sorter.take(at, tensor)?;
            if sorter.details.len() >= DETAILS_MAX {
                return Err(mismatch(sorter.details));
            }
        }
        sorter.finish()
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
                tensors.push(Tensor {
                    name,
                    datatype: Datatype::Bool,
                    shape: vec![self.rows],
                    data,
                });
            }
        }
        tensors
    }
}

impl Cells {
    /// The size in bytes of the row that begins here.
    fn row_bytes(&self, datatype: Datatype, begin: usize) -> usize {
        let per_row = elements(&self.shape).unwrap_or(0);
        match datatype.size() {
            Some(size) => per_row * size,
            None => byte_elements(&self.data[begin..])
                .take(per_row)
                .map(|element| 4 + element.len())
                .sum(),
        }
    }
}

/// Sorts a request's tensors into columns.
struct Sorter<'s> {
    schema: &'s Schema,
    index: ColumnIndex<'s>,
    /// As many as the first tensor has.
    rows: Option<usize>,
    slots: Vec<Option<Cells>>,
    valids: Vec<Option<Bytes>>,
    details: Vec<String>,
}

impl<'s> Sorter<'s> {
    fn new(schema: &'s Schema) -> Sorter<'s> {
        let slots = schema.inputs.iter().map(|_| None).collect();
        let valids = schema.inputs.iter().map(|_| None).collect();
        Sorter {
            schema,
            index: ColumnIndex::new(&schema.inputs),
            rows: None,
            slots,
            valids,
            details: vec![],
        }
    }

    /// `at` is the tensor's place in the request.
    fn take(&mut self, at: usize, tensor: Tensor) -> Result<(), Problem> {
        tensor.check()?;
        let name = || shown_name(&tensor.name);
        let Some(count) = self.leading(&tensor) else {
            let text = format!(
                "{}  expected a leading dimension for the rows, got the shape {:?}",
                name(),
                tensor.shape
            );
            self.details.push(text);
            return Ok(());
        };
        if count > ROWS_MAX {
            return Err(too_many_rows());
        }
        let rows = *self.rows.get_or_insert(count);
        if rows != count {
            self.details
                .push(format!("{}  has {count} rows where another input has {rows}", name()));
        } else if let Some(at) = self.index.find(&tensor.name, at) {
            match cells_of(&self.schema.inputs[at], &tensor, self.schema.batches) {
                Ok(cells) if self.slots[at].is_none() => self.slots[at] = Some(cells),
                Ok(_) => self.details.push(format!("{}  is there twice", name())),
                Err(detail) => self.details.push(detail),
            }
        } else if let Some(at) = self.validity_of(&tensor) {
            match &self.valids[at] {
                None => self.valids[at] = Some(tensor.data),
                Some(_) => self.details.push(format!("{}  is there twice", name())),
            }
        } else {
            self.details.push(unknown_column(&tensor.name, self.schema));
        }
        Ok(())
    }

    /// The number of rows: the leading dimension, or 1 for a graph without one.
    fn leading(&self, tensor: &Tensor) -> Option<usize> {
        if self.schema.batches || tensor.name.ends_with(":valid") {
            tensor.shape.first().copied()
        } else {
            Some(1)
        }
    }

    fn validity_of(&self, tensor: &Tensor) -> Option<usize> {
        let name = tensor
            .name
            .strip_suffix(":valid")
            .filter(|_| tensor.datatype == Datatype::Bool && tensor.shape.len() == 1)?;
        self.index.find(name, usize::MAX).filter(|at| self.schema.inputs[*at].nullable)
    }

    fn finish(self) -> Result<Payload, Problem> {
        let Sorter { schema, slots, valids, mut details, .. } = self;
        let rows = self.rows.unwrap_or(0);
        if rows == 0 && details.is_empty() {
            return Err(
                Problem::new(Code::NoRows, "the request has no rows").help("send at least one row")
            );
        }
        let allowance = Allowance::new(0);
        let mut columns = Vec::with_capacity(schema.inputs.len());
        for ((column, slot), valid) in schema.inputs.iter().zip(slots).zip(valids) {
            match slot {
                Some(cells) => {
                    let cells = Cells { valid, ..cells };
                    if let Some(element) = bad_element(column, &cells) {
                        let element = cut(&element, VALUE_SHOWN_CHARS_MAX);
                        details.push(format!(
                            "{}  expected {}, got {element}",
                            column.name,
                            expected(column)
                        ));
                    }
                    columns.push(cells);
                }
                None if column.is_optional() => {
                    columns.push(absent(column, rows, &allowance).ok_or_else(too_much_filled)?);
                }
                None if details.len() >= DETAILS_MAX => break,
                None => details.push(format!(
                    "{}  is missing: expected {}",
                    column.name,
                    expected(column)
                )),
            }
        }
        if details.is_empty() { Ok(Payload { rows, columns }) } else { Err(mismatch(details)) }
    }
}

fn cells_of(column: &Column, tensor: &Tensor, batches: bool) -> Result<Cells, String> {
    let data = data_of(column, tensor)?;
    let mut shape = tensor.shape.get(batches as usize..).unwrap_or_default().to_vec();
    if column.shape.as_deref() == Some(&[]) && shape == [1] {
        // Clients that know no scalars send a column of them as (rows, 1).
        shape.clear();
    }
    if !shape_fits(column, &shape) {
        let wanted = column.shape.clone().unwrap_or_default();
        return Err(format!(
            "{}  expected rows of the shape {wanted:?}, got {shape:?}",
            column.name
        ));
    }
    Ok(Cells { shape, data, valid: None })
}

/// The data of a tensor as the column's datatype.
fn data_of(column: &Column, tensor: &Tensor) -> Result<Bytes, String> {
    if tensor.datatype.wire_name() == column.datatype.wire_name() {
        return Ok(tensor.data.clone());
    }
    let bytes = tensor.data.len().saturating_mul(column.datatype.size().unwrap_or(0));
    if tensor.datatype == Datatype::Bool && column.booleans && bytes > FILLED_BYTES_MAX {
        return Err(format!(
            "{}  is BOOL, and would take more than {} MiB as {}: send it as that",
            column.name,
            FILLED_BYTES_MAX >> 20,
            column.datatype
        ));
    }
    let truths = (tensor.datatype == Datatype::Bool).then_some(&tensor.data);
    truths.and_then(|truths| taken_truths(column, truths)).ok_or_else(|| {
        format!("{}  expected {}, got {}", column.name, column.datatype, tensor.datatype)
    })
}

/// The first element that is not what the column allows, as JSON. What stands in for a missing row
/// may be anything.
fn bad_element(column: &Column, cells: &Cells) -> Option<String> {
    let needs_look = !column.categories.is_empty()
        || matches!(column.datatype, Datatype::Timestamp | Datatype::Json);
    if !needs_look {
        return None;
    }
    let per_row = elements(&cells.shape)?.max(1);
    let is_there =
        |at: usize| cells.valid.as_ref().is_none_or(|valid| valid.get(at / per_row) != Some(&0));
    let fits = |element: &[u8]| match column.datatype {
        Datatype::Timestamp => crate::element::is_timestamp(element),
        Datatype::Json => is_json(element),
        _ => true,
    } && category_fits(column, element);
    let is_bad = |(at, element): &(usize, &[u8])| is_there(*at) && !fits(element);
    let bad = match column.datatype.size() {
        Some(size) => cells.data.chunks(size).enumerate().find(is_bad),
        None => byte_elements(&cells.data).enumerate().find(is_bad),
    };
    bad.map(|(_, element)| {
        let mut text = vec![];
        crate::element::write_json(column.datatype, element, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

fn is_json(element: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(element)
        .is_ok_and(|raw| !crate::limits::is_deep(raw.get()))
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
        Value::Object(_) => crate::encoded::encoded(value)
            .is_some_and(|text| push(datatype, Scalar::Base64(text), data)),
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
    let shown = |value: &serde_json::Value| cut(&value.to_string(), VALUE_SHOWN_CHARS_MAX);
    let mut values: Vec<String> = column.categories.iter().take(12).map(shown).collect();
    if column.categories.len() > values.len() {
        values.push(format!("… ({} in all)", column.categories.len()));
    }
    format!("one of {}{or_null}", values.join(", "))
}

/// Names the columns that there are, and the nearest.
pub fn unknown_column(name: &str, schema: &Schema) -> String {
    let names = schema.inputs.iter().map(|column| column.name.as_str());
    let what = format!("{}  is not a column of this model", shown_name(name));
    match domain::near::near_name(name, names.clone()) {
        Some(near) => format!("{what}; did you mean `{near}`?"),
        None => format!("{what}; it has {}", shown_names(names)),
    }
}

/// The cells of an optional column that a request leaves out; `None` if they would take more than
/// the request may.
pub(crate) fn absent(column: &Column, rows: usize, allowance: &Allowance) -> Option<Cells> {
    let fixed =
        column.shape.iter().flatten().map(|dimension| usize::try_from(*dimension).unwrap_or(0));
    let mut shape: Vec<usize> = fixed.collect();
    let default = column.default.as_ref().filter(|value| !value.is_null());
    let mut element = vec![];
    match default {
        Some(value) => {
            let mut builder = CellsBuilder::new(column, 1, allowance);
            if builder.push_value(value) {
                let cells = builder.finish();
                (element, shape) = (cells.data.to_vec(), cells.shape);
            }
        }
        None if null_bytes(column.datatype, &shape)? <= FILLED_BYTES_MAX => {
            push_null(column.datatype, &shape, &mut element)
        }
        None => return None,
    }
    if !allowance.take((element.len() + 1).saturating_mul(rows)) {
        return None;
    }
    let valid = default.is_none().then(|| Bytes::from(vec![0; rows]));
    Some(Cells { shape, data: Bytes::from(element.repeat(rows)), valid })
}

/// How many bytes stand in for a missing row of this shape; `None` if the shape is too large.
pub(crate) fn null_bytes(datatype: Datatype, shape: &[usize]) -> Option<usize> {
    let element =
        if datatype == Datatype::Json { 4 + b"null".len() } else { datatype.size().unwrap_or(4) };
    Some(elements(shape)? * element)
}

/// Appends what stands in for a missing row, which takes [`null_bytes`]: zeros, or empty elements.
pub fn push_null(datatype: Datatype, shape: &[usize], data: &mut Vec<u8>) {
    match datatype {
        Datatype::Json => {
            (0..elements(shape).unwrap_or(0)).for_each(|_| push_byte_element(data, b"null"))
        }
        _ => data.resize(data.len() + null_bytes(datatype, shape).unwrap_or(0), 0),
    }
}
