//! An answer: the output columns of one batch, shared by all requests that were in it.

use std::ops::Range;

use bytes::Bytes;
use domain::schema::Schema;
use domain::{Datatype, Problem};
use serde_json::Value;

use crate::element::{is_close, number, write_json};
use crate::tensor::{Tensor, byte_elements, elements};

/// What a model gave for a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How many rows.
    pub rows: usize,
    /// In the model's order.
    pub columns: Vec<AnswerColumn>,
}

/// One output column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerColumn {
    name: String,
    datatype: Datatype,
    /// Of one row.
    shape: Vec<usize>,
    data: Bytes,
    /// Where each row begins, and the end; only for elements that have a length of their own.
    offsets: Option<Vec<usize>>,
    valid: Option<Bytes>,
    has_rows: bool,
}

fn bad_output(message: String) -> Problem {
    Problem::new("bad_output", message).help("a model must give one output row for each input row")
}

impl Answer {
    /// Takes the output tensors of a worker for a batch of `rows`. Types that travel as BYTES become what the schema says.
    pub fn from_tensors(tensors: Vec<Tensor>, rows: usize, schema: &Schema) -> Result<Answer, Problem> {
        let mut columns: Vec<AnswerColumn> = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let owner = tensor.name.strip_suffix(":valid").filter(|_| tensor.datatype == Datatype::Bool);
            let owner = owner.and_then(|name| columns.iter_mut().find(|column| column.name == name));
            if let Some(column) = owner {
                if tensor.data.len() != rows {
                    return Err(bad_output(format!("`{}` has {} rows for {rows} rows of input", tensor.name, tensor.data.len())));
                }
                column.valid = Some(tensor.data);
            } else {
                columns.push(AnswerColumn::from_tensor(tensor, rows, schema)?);
            }
        }
        Ok(Answer { rows, columns })
    }

    /// Writes the rows as simple JSON: an object, or `{"rows": [...]}`.
    pub fn write_simple(&self, range: Range<usize>, as_one: bool, out: &mut Vec<u8>) {
        if as_one {
            self.write_row(range.start, out);
            return;
        }
        out.extend_from_slice(b"{\"rows\":[");
        for row in range.clone() {
            if row > range.start {
                out.push(b',');
            }
            self.write_row(row, out);
        }
        out.extend_from_slice(b"]}");
    }

    /// Whether some rows say the same as some of another answer: the same columns in any order, numbers within
    /// `tolerance`, absolute or relative, whichever is larger. Both ranges have the same length.
    pub fn agrees(&self, range: Range<usize>, other: &Answer, of_other: Range<usize>, tolerance: f64) -> bool {
        let same = |column: &AnswerColumn| {
            let twin = other.columns.iter().find(|twin| twin.name == column.name);
            twin.is_some_and(|twin| {
                range.clone().zip(of_other.clone()).all(|(row, of_other)| column.row_agrees(row, twin, of_other, tolerance))
            })
        };
        self.columns.len() == other.columns.len() && self.columns.iter().all(same)
    }

    fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            crate::element::write_text(column.name.as_bytes(), out);
            out.push(b':');
            column.write_row(row, out);
        }
        out.push(b'}');
    }

    /// The rows as tensors with a leading dimension, without copying.
    pub fn to_tensors(&self, range: Range<usize>) -> Vec<Tensor> {
        let mut tensors = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let leading = column.has_rows.then_some(range.len());
            tensors.push(Tensor {
                name: column.name.clone(),
                datatype: column.datatype,
                shape: leading.into_iter().chain(column.shape.iter().copied()).collect(),
                data: column.slice(range.clone()),
            });
            if let Some(valid) = &column.valid {
                let name = format!("{}:valid", column.name);
                tensors.push(Tensor {
                    name,
                    datatype: Datatype::Bool,
                    shape: vec![range.len()],
                    data: valid.slice(range.clone()),
                });
            }
        }
        tensors
    }
}

impl AnswerColumn {
    fn from_tensor(tensor: Tensor, rows: usize, schema: &Schema) -> Result<AnswerColumn, Problem> {
        tensor.check().map_err(|problem| bad_output(problem.message))?;
        let has_rows = schema.batches;
        let (leading, shape) = match tensor.shape.split_first() {
            Some((leading, shape)) if has_rows => (*leading, shape.to_vec()),
            None if has_rows => (1, vec![]),
            _ => (1, tensor.shape.clone()),
        };
        if leading != rows {
            return Err(bad_output(format!("`{}` has {leading} rows for {rows} rows of input", tensor.name)));
        }
        let known = schema.outputs.iter().find(|column| column.name == tensor.name);
        let datatype = match known {
            Some(column) if column.datatype.wire_name() == tensor.datatype.wire_name() => column.datatype,
            _ => tensor.datatype,
        };
        let offsets = tensor.datatype.size().is_none().then(|| {
            let per_row = elements(&shape).unwrap_or(0);
            let mut offsets = vec![0];
            let (mut end, mut count) = (0, 0);
            for element in byte_elements(&tensor.data) {
                end += 4 + element.len();
                count += 1;
                if count == per_row {
                    offsets.push(end);
                    count = 0;
                }
            }
            offsets.resize(rows + 1, end);
            offsets
        });
        Ok(AnswerColumn { name: tensor.name, datatype, shape, data: tensor.data, offsets, valid: None, has_rows })
    }

    fn byte_range(&self, range: Range<usize>) -> Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[range.start]..offsets[range.end],
            None => {
                let row = elements(&self.shape).unwrap_or(0) * self.datatype.size().unwrap_or(0);
                range.start * row..range.end * row
            }
        }
    }

    fn row_agrees(&self, row: usize, twin: &AnswerColumn, of_twin: usize, tolerance: f64) -> bool {
        let is_valid = |column: &AnswerColumn, row: usize| column.valid.as_ref().is_none_or(|valid| valid[row] != 0);
        match (is_valid(self, row), is_valid(twin, of_twin)) {
            (false, false) => return true,
            (true, true) if self.shape == twin.shape => {}
            _ => return false,
        }
        let (own, others) = (&self.data[self.byte_range(row..row + 1)], &twin.data[twin.byte_range(of_twin..of_twin + 1)]);
        match (self.datatype.size(), twin.datatype.size()) {
            (Some(size), Some(other_size)) => {
                let numbers = own.chunks_exact(size).zip(others.chunks_exact(other_size));
                let mut numbers = numbers.map(|(own, other)| (number(self.datatype, own), number(twin.datatype, other)));
                numbers.all(|(own, other)| is_close(own, other, tolerance))
            }
            (None, None) => own == others || (self.datatype == Datatype::Json && json_agrees(own, others, tolerance)),
            _ => false,
        }
    }

    fn slice(&self, range: Range<usize>) -> Bytes {
        self.data.slice(self.byte_range(range))
    }

    fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        if self.valid.as_ref().is_some_and(|valid| valid[row] == 0) {
            out.extend_from_slice(b"null");
            return;
        }
        let data = &self.data[self.byte_range(row..row + 1)];
        match self.datatype.size() {
            Some(size) => {
                let mut elements = data.chunks_exact(size);
                write_nested(&self.shape, &mut || elements.next(), self.datatype, out);
            }
            None => {
                let mut elements = byte_elements(data);
                write_nested(&self.shape, &mut || elements.next(), self.datatype, out);
            }
        }
    }
}

/// Whether elements that are JSON say the same.
fn json_agrees(own: &[u8], others: &[u8], tolerance: f64) -> bool {
    let values = |data| byte_elements(data).map(|element| serde_json::from_slice::<Value>(element).ok()).collect::<Vec<_>>();
    let (own, others) = (values(own), values(others));
    let agrees = |(own, other): (&Option<Value>, &Option<Value>)| match (own, other) {
        (Some(own), Some(other)) => value_agrees(own, other, tolerance),
        _ => false,
    };
    own.len() == others.len() && own.iter().zip(&others).all(agrees)
}

fn value_agrees(own: &Value, other: &Value, tolerance: f64) -> bool {
    match (own, other) {
        (Value::Number(own), Value::Number(other)) => {
            is_close(own.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN), tolerance)
        }
        (Value::Array(own), Value::Array(others)) => {
            own.len() == others.len() && own.iter().zip(others).all(|(own, other)| value_agrees(own, other, tolerance))
        }
        (Value::Object(own), Value::Object(others)) => {
            own.len() == others.len()
                && own.iter().all(|(name, own)| others.get(name).is_some_and(|other| value_agrees(own, other, tolerance)))
        }
        _ => own == other,
    }
}

fn write_nested<'a>(shape: &[usize], next: &mut impl FnMut() -> Option<&'a [u8]>, datatype: Datatype, out: &mut Vec<u8>) {
    let Some((count, inner)) = shape.split_first() else {
        match next() {
            Some(element) => write_json(datatype, element, out),
            None => out.extend_from_slice(b"null"),
        }
        return;
    };
    out.push(b'[');
    for at in 0..*count {
        if at > 0 {
            out.push(b',');
        }
        write_nested(inner, next, datatype, out);
    }
    out.push(b']');
}
