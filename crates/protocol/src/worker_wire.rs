//! What goes to a worker and comes back, built for batches: the Open Inference Protocol in its binary form, the same
//! in JSON for servers without the extension, or plain JSON rows.

use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::schema::Schema;
use domain::{Datatype, Problem};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::{Answer, Given};
use crate::oip::{InferResponse, split};
use crate::payload::{Cells, Payload};
use crate::tensor::{Tensor, push_byte_element};

/// A request to a worker: the JSON, and the binary tensors behind it in pieces.
pub struct WorkerRequest {
    /// Names, shapes and sizes.
    pub json: Vec<u8>,
    /// The tensors of all inputs in order; those of one input in the order of the requests.
    pub blobs: Vec<Bytes>,
}

/// Puts requests together as one batch, in the form that the worker speaks. All agree on the shapes of their rows.
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
    let json = match protocol {
        WorkerProtocol::Plain(_) => {
            let mut json = vec![];
            Answer::from_tensors(tensors, batch.rows, &inputs_as_outputs(schema))?.write_simple(0..batch.rows, false, &mut json);
            json
        }
        _ => encode_json(tensors, parameters, outputs),
    };
    Ok(WorkerRequest { json, blobs: vec![] })
}

/// Reads a worker's answer for a batch of `rows`, in the form that the worker speaks.
pub fn decode(
    protocol: &WorkerProtocol,
    body: Bytes,
    header_bytes: Option<usize>,
    rows: usize,
    schema: &Schema,
) -> Result<Answer, Problem> {
    match protocol {
        WorkerProtocol::Plain(_) => decode_plain(&body, rows, schema),
        _ => decode_answer(body, header_bytes, rows, schema),
    }
}

fn inputs_as_outputs(schema: &Schema) -> Schema {
    Schema { outputs: schema.inputs.clone(), ..schema.clone() }
}

fn concatenate(payloads: &[&Payload]) -> Payload {
    if let [one] = payloads {
        return (*one).clone();
    }
    let mut batch = Payload { rows: payloads.iter().map(|payload| payload.rows).sum(), columns: vec![] };
    for at in 0..payloads.iter().map(|payload| payload.columns.len()).min().unwrap_or(0) {
        let cells = || payloads.iter().map(|payload| (&payload.columns[at], payload.rows));
        let mut data = Vec::with_capacity(cells().map(|(cells, _)| cells.data.len()).sum());
        cells().for_each(|(cells, _)| data.extend_from_slice(&cells.data));
        let valid = cells().any(|(cells, _)| cells.valid.is_some()).then(|| {
            let all: Vec<u8> = cells().flat_map(|(cells, rows)| validity(cells, rows).to_vec()).collect();
            Bytes::from(all)
        });
        batch.columns.push(Cells { shape: payloads[0].columns[at].shape.clone(), data: Bytes::from(data), valid });
    }
    batch
}

/// The request as JSON; the same writer as for answers, under another key.
fn encode_json(tensors: Vec<Tensor>, parameters: &Map<String, Value>, outputs: &[String]) -> Vec<u8> {
    let (_, body) = InferResponse { outputs: tensors, ..InferResponse::default() }.encode(&[], false);
    let mut value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let inputs = value["outputs"].take();
    let mut request = serde_json::json!({ "inputs": inputs });
    if !outputs.is_empty() {
        request["outputs"] = outputs.iter().map(|name| serde_json::json!({ "name": name })).collect();
    }
    if !parameters.is_empty() {
        request["parameters"] = Value::Object(parameters.clone());
    }
    request.to_string().into_bytes()
}

#[derive(Deserialize)]
struct PlainAnswer {
    rows: Vec<Map<String, Value>>,
}

/// `{"rows": [{column: value, …}, …]}`. Columns that the schema does not know become JSON columns.
fn decode_plain(body: &[u8], rows: usize, schema: &Schema) -> Result<Answer, Problem> {
    let bad = |message: String| {
        Problem::new("bad_output", message)
            .help("a plain JSON worker answers {\"rows\": [{column: value, …}, …]}, one for each input row")
    };
    let columns = Schema { inputs: schema.outputs.clone(), outputs: schema.outputs.clone(), ..schema.clone() };
    if !schema.outputs.is_empty() {
        let (payload, _) = crate::simple::decode(body, &columns)
            .map_err(|problem| bad("the worker's answer does not fit the output schema".into()).details(problem.details))?;
        if payload.rows != rows {
            return Err(bad(format!("the worker gave {} rows for {rows} rows of input", payload.rows)));
        }
        return Answer::from_tensors(payload.to_tensors(&columns), rows, &columns);
    }
    let answer: PlainAnswer =
        serde_json::from_slice(body).map_err(|error| bad(format!("the worker's answer cannot be read: {error}")))?;
    if answer.rows.len() != rows {
        return Err(bad(format!("the worker gave {} rows for {rows} rows of input", answer.rows.len())));
    }
    // Rows beside each other with the same keys in the same order are one part: nobody gets the keys of another.
    let runs = answer.rows.chunk_by(|row, next| row.keys().eq(next.keys()));
    let given = runs.map(|run| (run.len(), Ok(json_columns(run)))).collect();
    Answer::from_parts(given, rows, schema)
}

/// Columns of JSON of rows that have the same keys.
fn json_columns(rows: &[Map<String, Value>]) -> Vec<Tensor> {
    let mut columns: Vec<Vec<u8>> = rows.first().map(|row| vec![vec![]; row.len()]).unwrap_or_default();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row.values()) {
            push_byte_element(column, value.to_string().as_bytes());
        }
    }
    let names = rows.first().into_iter().flat_map(Map::keys);
    let tensor = |(name, data): (&String, Vec<u8>)| Tensor {
        name: name.clone(),
        datatype: Datatype::Json,
        shape: vec![rows.len()],
        data: Bytes::from(data),
    };
    names.zip(columns).map(tensor).collect()
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
            blobs
                .extend(payloads.iter().filter_map(|payload| payload.columns.get(at).map(|cells| validity(cells, payload.rows))));
        }
    }
    json.push(b']');
    if !outputs.is_empty() {
        json.extend_from_slice(b",\"outputs\":[");
        for (at, name) in outputs.iter().enumerate() {
            json.extend_from_slice(if at > 0 { b",{\"name\":" } else { b"{\"name\":" });
            let _ = serde_json::to_writer(&mut json, name);
            json.push(b'}');
        }
        json.push(b']');
    }
    json.extend_from_slice(b",\"parameters\":{\"binary_data_output\":true");
    for (name, value) in parameters {
        json.push(b',');
        let _ = serde_json::to_writer(&mut json, name);
        json.push(b':');
        let _ = serde_json::to_writer(&mut json, value);
    }
    json.extend_from_slice(b"}}");
    WorkerRequest { json, blobs }
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
        crate::element::write_text(name.as_bytes(), json);
    } else {
        crate::element::write_text(format!("{name}{suffix}").as_bytes(), json);
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

/// An answer has `outputs`, or `parts` for rows beside each other that differ in theirs.
#[derive(Deserialize)]
struct ResponseJson {
    #[serde(default)]
    outputs: Option<Vec<OutputJson>>,
    #[serde(default)]
    parts: Vec<PartJson>,
}

/// Rows that have the same outputs, or that failed.
#[derive(Deserialize)]
struct PartJson {
    rows: usize,
    #[serde(default)]
    outputs: Vec<OutputJson>,
    #[serde(default)]
    problem: Option<Problem>,
}

#[derive(Deserialize)]
struct OutputJson {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: OutputParameters,
    #[serde(default)]
    data: Option<Box<serde_json::value::RawValue>>,
}

#[derive(Deserialize, Default)]
struct OutputParameters {
    #[serde(default)]
    binary_data_size: Option<usize>,
    #[serde(default)]
    content_type: Option<String>,
}

/// Reads a worker's answer for a batch of `rows`.
pub fn decode_answer(body: Bytes, header_bytes: Option<usize>, rows: usize, schema: &Schema) -> Result<Answer, Problem> {
    let bad = |message: String| Problem::new("bad_output", message);
    let (json, mut blobs) = split(&body, header_bytes)?;
    let read: ResponseJson =
        serde_json::from_slice(&json).map_err(|error| bad(format!("the worker's answer cannot be read: {error}")))?;
    let mut given: Vec<Given> = Vec::with_capacity(read.parts.len().max(1));
    match read.outputs {
        Some(outputs) => given.push((rows, Ok(read_outputs(outputs, &mut blobs)?))),
        None if read.parts.is_empty() => return Err(bad("the worker's answer has no outputs".into())),
        None => {}
    }
    for part in read.parts {
        let outputs = match part.problem {
            Some(problem) => Err(of_worker(problem)),
            None => Ok(read_outputs(part.outputs, &mut blobs)?),
        };
        given.push((part.rows, outputs));
    }
    Answer::from_parts(given, rows, schema)
}

/// A problem as a worker may have it: of its own codes, the others being the platform's.
pub fn of_worker(mut problem: Problem) -> Problem {
    if !["model_raised", "bad_output", "bad_request", "bad_input"].contains(&problem.code.as_str()) {
        problem.code = "model_raised".into();
    }
    problem
}

fn read_outputs(outputs: Vec<OutputJson>, blobs: &mut Bytes) -> Result<Vec<Tensor>, Problem> {
    outputs.into_iter().map(|output| read_output(output, blobs)).collect()
}

fn read_output(output: OutputJson, blobs: &mut Bytes) -> Result<Tensor, Problem> {
    let bad = |message: String| Problem::new("bad_output", message);
    let unknown = || bad(format!("the output `{}` has the unknown datatype `{}`", output.name, output.datatype));
    let wire = Datatype::from_name(&output.datatype).ok_or_else(unknown)?;
    let data = match (output.parameters.binary_data_size, &output.data) {
        (Some(size), _) if size <= blobs.len() => blobs.split_to(size),
        (Some(size), _) => {
            return Err(bad(format!("the output `{}` announces {size} bytes, but {} are left", output.name, blobs.len())));
        }
        (None, Some(raw)) => crate::oip::decode_output_data(&output.name, wire, &output.shape, raw)?,
        (None, None) => return Err(bad(format!("the output `{}` has no data", output.name))),
    };
    let datatype = match output.parameters.content_type.as_deref() {
        Some("json") if wire == Datatype::Bytes => Datatype::Json,
        Some("timestamp") if wire == Datatype::Bytes => Datatype::Timestamp,
        _ => wire,
    };
    Ok(Tensor { name: output.name, datatype, shape: output.shape, data })
}
