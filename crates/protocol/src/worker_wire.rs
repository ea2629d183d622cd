//! What goes to a worker and comes back, built for batches: the Open Inference Protocol in its
//! binary form, the same in JSON for servers without the extension, or plain JSON rows.

use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::schema::Schema;
use domain::{Datatype, Problem};
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::oip::{Written, write_tensor};
use crate::payload::{Cells, Payload};
use crate::tensor::Tensor;
use crate::trace::TraceContext;

mod decode;

pub use decode::{decode, decode_answer};

/// A request to a worker: the JSON, and the binary tensors behind it in pieces.
pub struct WorkerRequest {
    /// Names, shapes and sizes.
    pub json: Vec<u8>,
    /// The tensors of all inputs in order; those of one input in the order of the requests.
    pub blobs: Vec<Bytes>,
    /// For the header `traceparent`, if somebody traces.
    pub trace: Option<TraceContext>,
}

/// Puts requests together as one batch, in the form that the worker speaks. All agree on the shapes
/// of their rows.
pub fn encode(
    protocol: &WorkerProtocol,
    payloads: &[&Payload],
    parameters: &Map<String, Value>,
    outputs: &[String],
    schema: &Schema,
) -> Result<WorkerRequest, Problem> {
    if let WorkerProtocol::Binary = protocol {
        return Ok(encode_batch(payloads, parameters, outputs, schema));
    }
    let batch = concatenate(payloads);
    let tensors = batch.to_tensors(schema);
    let json =
        match protocol {
            WorkerProtocol::Plain(_) => {
                let mut json = vec![];
                Answer::from_tensors(tensors, batch.rows, &inputs_as_outputs(schema))?
                    .write_simple(0..batch.rows, false, &mut json);
                json
            }
            _ => encode_json(&tensors, parameters, outputs),
        };
    Ok(WorkerRequest { json, blobs: vec![], trace: None })
}

fn inputs_as_outputs(schema: &Schema) -> Schema {
    Schema { outputs: schema.inputs.clone(), ..schema.clone() }
}

fn concatenate(payloads: &[&Payload]) -> Payload {
    if let [one] = payloads {
        return (*one).clone();
    }
    let mut batch =
        Payload { rows: payloads.iter().map(|payload| payload.rows).sum(), columns: vec![] };
    for at in 0..payloads.iter().map(|payload| payload.columns.len()).min().unwrap_or(0) {
        let cells = || payloads.iter().map(|payload| (&payload.columns[at], payload.rows));
        let mut data = Vec::with_capacity(cells().map(|(cells, _)| cells.data.len()).sum());
        cells().for_each(|(cells, _)| data.extend_from_slice(&cells.data));
        let valid = cells().any(|(cells, _)| cells.valid.is_some()).then(|| {
            let all: Vec<u8> =
                cells().flat_map(|(cells, rows)| validity(cells, rows).to_vec()).collect();
            Bytes::from(all)
        });
        batch.columns.push(Cells {
            shape: payloads[0].columns[at].shape.clone(),
            data: Bytes::from(data),
            valid,
        });
    }
    batch
}

/// The request as JSON.
fn encode_json(tensors: &[Tensor], parameters: &Map<String, Value>, outputs: &[String]) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    json.extend_from_slice(b"{\"inputs\":[");
    for (at, tensor) in tensors.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        let begin = json.len();
        if !write_tensor(tensor, Written::Json, &mut json) {
            json.truncate(begin);
            write_tensor(tensor, Written::Base64, &mut json);
        }
    }
    json.push(b']');
    write_outputs(outputs, &mut json);
    if !parameters.is_empty() {
        json.extend_from_slice(b",\"parameters\":");
        let _ = serde_json::to_writer(&mut json, parameters);
    }
    json.push(b'}');
    json
}

fn write_outputs(outputs: &[String], json: &mut Vec<u8>) {
    if outputs.is_empty() {
        return;
    }
    json.extend_from_slice(b",\"outputs\":[");
    for (at, name) in outputs.iter().enumerate() {
        json.extend_from_slice(if at > 0 { b",{\"name\":" } else { b"{\"name\":" });
        let _ = serde_json::to_writer(&mut *json, name);
        json.push(b'}');
    }
    json.push(b']');
}

/// The binary form.
pub fn encode_batch(
    payloads: &[&Payload],
    parameters: &Map<String, Value>,
    outputs: &[String],
    schema: &Schema,
) -> WorkerRequest {
    let rows: usize = payloads.iter().map(|payload| payload.rows).sum();
    let mut json = Vec::with_capacity(128 + 96 * schema.inputs.len());
    let mut blobs = Vec::with_capacity(payloads.len() * schema.inputs.len());
    json.extend_from_slice(b"{\"inputs\":[");
    for (at, column) in schema.inputs.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        let cells = || payloads.iter().filter_map(|payload| payload.columns.get(at));
        let shape = cells().next().map(|cells| cells.shape.as_slice()).unwrap_or_default();
        let leading = schema.batches.then_some(rows);
        let size = cells().map(|cells| cells.data.len()).sum();
        write_input(&column.name, "", column.datatype, leading, shape, size, &mut json);
        blobs.extend(cells().map(|cells| cells.data.clone()));
        if column.nullable {
            json.push(b',');
            write_input(&column.name, ":valid", Datatype::Bool, Some(rows), &[], rows, &mut json);
            blobs.extend(payloads.iter().filter_map(|payload| {
                payload.columns.get(at).map(|cells| validity(cells, payload.rows))
            }));
        }
    }
    json.push(b']');
    write_outputs(outputs, &mut json);
    json.extend_from_slice(b",\"parameters\":{\"binary_data_output\":true");
    for (name, value) in parameters {
        json.push(b',');
        let _ = serde_json::to_writer(&mut json, name);
        json.push(b':');
        let _ = serde_json::to_writer(&mut json, value);
    }
    json.extend_from_slice(b"}}");
    WorkerRequest { json, blobs, trace: None }
}

fn validity(cells: &Cells, rows: usize) -> Bytes {
    cells.valid.clone().unwrap_or_else(|| Bytes::from(vec![1; rows]))
}

fn write_input(
    name: &str,
    suffix: &str,
    datatype: Datatype,
    leading: Option<usize>,
    shape: &[usize],
    size: usize,
    json: &mut Vec<u8>,
) {
    json.extend_from_slice(b"{\"name\":");
    if suffix.is_empty() {
        crate::encoded::write_text(name, json);
    } else {
        crate::encoded::write_text(&format!("{name}{suffix}"), json);
    }
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(datatype.wire_name().as_bytes());
    json.extend_from_slice(b"\",\"shape\":[");
    let mut digits = itoa::Buffer::new();
    for (at, dimension) in leading.iter().chain(shape).enumerate() {
        if at > 0 {
            json.push(b',');
        }
        json.extend_from_slice(digits.format(*dimension).as_bytes());
    }
    json.extend_from_slice(b"],\"parameters\":{\"binary_data_size\":");
    json.extend_from_slice(digits.format(size).as_bytes());
    json.extend_from_slice(b"}}");
}
