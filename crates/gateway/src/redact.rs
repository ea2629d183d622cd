//! What is taken out of a record before anything of it is kept: the ring, the files, the metrics of
//! columns see what is left here.

use std::borrow::Cow;

use bytes::Bytes;
use domain::manifest::Redact;
use domain::{Code, Datatype, Placement, Pseudonyms, Recording, Schema};
use protocol::payload::Cells;
use protocol::record::{Definition, element_text, row_bytes, scalar_text};
use protocol::tensor::{elements, push_byte_element};
use protocol::{Payload, Tensor};

/// Beside the name of an output that can be missing.
const VALID: &str = ":valid";

/// How requests of a placement are recorded.
pub struct Recorded {
    /// Names what answered and what its columns are; other redactions have another.
    pub number: u64,
    /// What is left out.
    pub recording: Recording,
    /// Whether anything is.
    pub redacts: bool,
}

/// What records of a placement stand for.
pub fn definition(placement: &Placement, schema: &Schema, recording: &Recording) -> Definition {
    Definition {
        placement: placement.clone(),
        schema: recording.schema(schema),
        key: recording.section.key.clone(),
    }
}

impl Recorded {
    /// Of a placement, as its route says.
    pub fn new(placement: &Placement, schema: &Schema, recording: &Recording) -> Recorded {
        Recorded {
            number: definition(placement, schema, recording).named().0,
            recording: recording.clone(),
            redacts: recording.redacts(),
        }
    }

    /// Takes out of the rows of a request what must not be kept.
    pub fn inputs(&self, schema: &Schema, mut payload: Payload) -> Payload {
        for (column, cells) in schema.inputs.iter().zip(&mut payload.columns) {
            match self.recording.rule(&column.name) {
                None => {}
                Some(Redact::Drop) => *cells = dropped(column.datatype, cells, payload.rows),
                Some(Redact::Hmac) => {
                    let per_row = elements(&cells.shape).unwrap_or(0);
                    let data = self.disguised(column.datatype, per_row, payload.rows, &cells.data);
                    *cells = Cells { shape: vec![], data, valid: cells.valid.take() };
                }
            }
        }
        payload
    }

    /// Takes out of an answer of `rows` rows what must not be kept.
    pub fn outputs(&self, outputs: Vec<Tensor>, rows: usize) -> Vec<Tensor> {
        outputs.into_iter().filter_map(|output| self.output(output, rows)).collect()
    }

    fn output(&self, output: Tensor, rows: usize) -> Option<Tensor> {
        let Some(rule) = self.recording.rule(&output.name) else {
            // Which values of a column are missing goes where the values go.
            let of = output.name.strip_suffix(VALID).and_then(|name| self.recording.rule(name));
            return (of != Some(Redact::Drop)).then_some(output);
        };
        let row_shape = match output.shape.split_first() {
            Some((leading, row)) if *leading == rows => row,
            _ => return None,
        };
        match rule {
            Redact::Drop => None,
            Redact::Hmac => {
                let per_row = elements(row_shape)?;
                let data = self.disguised(output.datatype, per_row, rows, &output.data);
                let (datatype, shape) = (Datatype::Bytes, vec![rows]);
                Some(Tensor { name: output.name, datatype, shape, data })
            }
        }
    }

    /// A text for each row.
    fn disguised(&self, datatype: Datatype, per_row: usize, rows: usize, data: &[u8]) -> Bytes {
        let mut texts = vec![];
        let Some(pseudonyms) = &self.recording.pseudonyms else { return Bytes::new() };
        for row in row_bytes(datatype, per_row, rows, data) {
            let text = disguise(pseudonyms, datatype, per_row, row);
            push_byte_element(&mut texts, text.as_bytes());
        }
        Bytes::from(texts)
    }

    /// The key of a request of one row whose values are not kept: out of its key column.
    pub fn key_of_row(&self, schema: &Schema, payload: &Payload) -> Option<String> {
        let name = self.recording.section.key.as_deref()?;
        let at = schema.inputs.iter().position(|column| column.name == name)?;
        let (cells, datatype) = (payload.columns.get(at)?, schema.inputs[at].datatype);
        let is_there = cells.valid.as_ref().is_none_or(|valid| valid.first() == Some(&1));
        if payload.rows != 1 || !cells.shape.is_empty() || !is_there {
            return None;
        }
        let row = row_bytes(datatype, 1, 1, &cells.data).next()?;
        match self.recording.rule(name) {
            None => {
                let text = String::from_utf8(scalar_text(datatype, row)?.into_owned()).ok()?;
                Some(format!("{name}={text}"))
            }
            Some(Redact::Drop) => None,
            Some(Redact::Hmac) => {
                let pseudonyms = self.recording.pseudonyms.as_ref()?;
                Some(format!("{name}={}", disguise(pseudonyms, datatype, 1, row)))
            }
        }
    }

    /// The key that a caller named.
    pub fn key<'k>(&self, schema: &Schema, key: &'k str) -> Cow<'k, str> {
        self.recording.key(schema, key)
    }

    /// What a record, and the log, say of an error.
    pub fn error<'e>(&self, code: &Code, message: &'e str) -> &'e str {
        self.recording.error(code, message)
    }
}

fn disguise(pseudonyms: &Pseudonyms, datatype: Datatype, per_row: usize, row: &[u8]) -> String {
    match (per_row, datatype.size()) {
        (1, Some(_)) => pseudonyms.of(&element_text(datatype, row)),
        (1, None) => pseudonyms.of(&scalar_text(datatype, row).unwrap_or_default()),
        // A tensor has no text.
        _ => pseudonyms.of(row),
    }
}

/// As many rows without a value, of the same form.
fn dropped(datatype: Datatype, cells: &Cells, rows: usize) -> Cells {
    let count = elements(&cells.shape).unwrap_or(0).saturating_mul(rows);
    // Empty texts are zeros, too.
    let bytes = count.saturating_mul(datatype.size().unwrap_or(4));
    // Of texts there may be less in the request; more than there was is not made.
    let bytes = bytes.min(cells.data.len());
    Cells {
        shape: cells.shape.clone(),
        data: Bytes::from(vec![0; bytes]),
        valid: Some(Bytes::from(vec![0; rows])),
    }
}

#[cfg(test)]
mod tests;
