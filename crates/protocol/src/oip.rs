//! Open Inference Protocol v2: requests and responses, as JSON and with the binary tensor extension.
//! <https://github.com/kserve/open-inference-protocol> and Triton's `extension_binary_data.md`.

use std::borrow::Cow;
use std::fmt;

use bytes::{Bytes, BytesMut};
use domain::schema::{Column, Schema};
use domain::{Datatype, Problem};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::element::{Scalar, push, write_json};
use crate::tensor::{Tensor, byte_elements, elements};

/// Tells where the JSON ends and the binary tensors begin.
pub const HEADER_LENGTH: &str = "inference-header-content-length";
/// The most dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 16;

/// A request to infer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct InferRequest {
    /// Echoed in the answer.
    pub id: Option<String>,
    /// Of the whole request.
    pub parameters: Map<String, Value>,
    /// With data.
    pub inputs: Vec<Tensor>,
    /// The outputs wanted; empty means all.
    pub outputs: Vec<RequestedOutput>,
    /// Whether outputs that do not say otherwise come in binary.
    pub binary_output: bool,
}

/// An output that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestedOutput {
    /// Its name.
    pub name: String,
    /// Whether it comes in binary, if said.
    pub binary: Option<bool>,
}

#[derive(Deserialize)]
struct RequestJson<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow)]
    inputs: Vec<TensorJson<'a>>,
    #[serde(default)]
    outputs: Vec<OutputJson>,
}

#[derive(Deserialize)]
struct TensorJson<'a> {
    name: String,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: Vec<u64>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputJson {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new("bad_request", message).help("see the Open Inference Protocol v2: docs/protocols.md")
}

/// Splits a body into its JSON and the binary tensors behind it.
pub fn split(body: &Bytes, header_bytes: Option<usize>) -> Result<(Bytes, Bytes), Problem> {
    let length = header_bytes.unwrap_or(body.len());
    if length > body.len() {
        let text = format!("Inference-Header-Content-Length is {length}, but the body has {} bytes", body.len());
        return Err(bad_request(text));
    }
    Ok((body.slice(..length), body.slice(length..)))
}

/// Reads a request. `header_bytes` is the value of `Inference-Header-Content-Length`, if it was sent.
pub fn decode_request(body: Bytes, header_bytes: Option<usize>) -> Result<InferRequest, Problem> {
    let (json, mut blobs) = split(&body, header_bytes)?;
    let read: RequestJson = serde_json::from_slice(&json)
        .map_err(|error| Problem::new("bad_json", format!("the request cannot be read: {error}")))?;
    let inputs = read.inputs.into_iter().map(|tensor| decode_tensor(tensor, &mut blobs)).collect::<Result<Vec<_>, _>>()?;
    if !blobs.is_empty() {
        return Err(bad_request(format!("{} bytes are left behind the binary tensors", blobs.len())));
    }
    let flag = |parameters: &Map<String, Value>, name: &str| parameters.get(name).and_then(Value::as_bool);
    let outputs = read.outputs.into_iter().map(|output| {
        let binary = flag(&output.parameters, "binary_data");
        RequestedOutput { name: output.name, binary }
    });
    let mut parameters = read.parameters;
    let binary_output = flag(&parameters, "binary_data_output").unwrap_or(false);
    parameters.remove("binary_data_output");
    Ok(InferRequest { id: read.id, parameters, inputs, outputs: outputs.collect(), binary_output })
}

fn decode_tensor(tensor: TensorJson, blobs: &mut Bytes) -> Result<Tensor, Problem> {
    let TensorJson { name, datatype, shape, parameters, data } = tensor;
    let datatype = Datatype::from_name(&datatype)
        .filter(|datatype| !matches!(datatype, Datatype::Timestamp | Datatype::Json))
        .ok_or_else(|| bad_request(format!("`{name}` has the datatype `{datatype}`, which the protocol does not know")))?;
    if shape.len() > DIMENSIONS_MAX {
        return Err(bad_request(format!("`{name}` has {} dimensions; at most {DIMENSIONS_MAX} are allowed", shape.len())));
    }
    let shape: Vec<usize> = shape.into_iter().map(|dimension| usize::try_from(dimension).unwrap_or(usize::MAX)).collect();
    let count = elements(&shape).ok_or_else(|| bad_request(format!("the shape {shape:?} of `{name}` is too large")))?;
    let size = parameters.get("binary_data_size");
    let data = match (size, data) {
        (Some(_), Some(_)) => return Err(bad_request(format!("`{name}` has both data and binary_data_size"))),
        (None, None) => {
            return Err(bad_request(format!("`{name}` has no data"))
                .help("send `data`, or binary tensors with Inference-Header-Content-Length"));
        }
        (Some(size), None) => {
            let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| *size <= blobs.len()).ok_or_else(|| {
                bad_request(format!(
                    "`{name}` says binary_data_size {}, but {} bytes are left",
                    parameters["binary_data_size"],
                    blobs.len()
                ))
            })?;
            blobs.split_to(size)
        }
        (None, Some(raw)) => decode_data(&name, datatype, count, raw)?,
    };
    let tensor = Tensor { name, datatype, shape, data };
    tensor.check()?;
    Ok(tensor)
}

fn decode_data(name: &str, datatype: Datatype, count: usize, raw: &RawValue) -> Result<Bytes, Problem> {
    if datatype == Datatype::Bf16 {
        return Err(bad_request(format!("`{name}` is BF16, which the protocol has in binary only")));
    }
    // Each element takes at least two characters of JSON, so that a large shape alone reserves nothing.
    let plausible = count.min(raw.get().len() / 2 + 1);
    let mut data = Vec::with_capacity(plausible * datatype.size().unwrap_or(8));
    let mut found = 0;
    let flat = Flat { datatype, data: &mut data, found: &mut found };
    flat.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(|error| {
        Problem::new("bad_value", format!("`{name}` holds a value that is not {datatype}: {error}"))
            .help(format!("send {datatype} values, flat or nested, in row-major order"))
    })?;
    if found != count {
        return Err(Problem::new("shape_mismatch", format!("`{name}` has {found} values where its shape says {count}"))
            .help("the product of the shape must be the number of values"));
    }
    Ok(Bytes::from(data))
}

/// The data of an output that a worker sent as JSON.
pub fn decode_output_data(name: &str, datatype: Datatype, shape: &[usize], raw: &RawValue) -> Result<Bytes, Problem> {
    let count = elements(shape).ok_or_else(|| bad_request(format!("the shape {shape:?} of `{name}` is too large")))?;
    decode_data(name, datatype, count, raw)
}

/// Collects numbers or text out of arrays, however deeply they are nested.
struct Flat<'a> {
    datatype: Datatype,
    data: &'a mut Vec<u8>,
    found: &'a mut usize,
}

impl Flat<'_> {
    fn element<E: serde::de::Error>(self, scalar: Scalar<'_>) -> Result<(), E> {
        // Some clients write BOOL as 0 and 1.
        let scalar = match (self.datatype, scalar) {
            (Datatype::Bool, Scalar::Unsigned(value @ 0..=1)) => Scalar::Bool(value == 1),
            _ => scalar,
        };
        if !push(self.datatype, scalar, self.data) {
            return Err(E::custom(format!("{scalar:?}")));
        }
        *self.found += 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Flat<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} values or arrays of them", self.datatype)
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.element(Scalar::Bool(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.element(Scalar::Signed(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.element(Scalar::Unsigned(value))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.element(Scalar::Float(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.element(Scalar::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Flat { datatype: self.datatype, data: self.data, found: self.found })?.is_some() {}
        Ok(())
    }
}

/// An answer to a request to infer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct InferResponse {
    /// The model's name.
    pub model_name: String,
    /// Its version.
    pub model_version: Option<String>,
    /// As in the request.
    pub id: Option<String>,
    /// In the model's order.
    pub outputs: Vec<Tensor>,
}

impl InferResponse {
    /// Keeps the requested outputs only, in the order asked; names one that the model does not have.
    pub fn select(&mut self, request: &[RequestedOutput]) -> Result<(), Problem> {
        if request.is_empty() {
            return Ok(());
        }
        let mut selected = Vec::with_capacity(request.len());
        for wanted in request {
            let Some(at) = self.outputs.iter().position(|output| output.name == wanted.name) else {
                let names: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
                return Err(Problem::new("no_such_output", format!("the model has no output `{}`", wanted.name))
                    .help(format!("it has {}", names.join(", "))));
            };
            selected.push(self.outputs[at].clone());
        }
        self.outputs = selected;
        Ok(())
    }

    /// The length of the JSON, if binary tensors follow it, and the body.
    pub fn encode(&self, request: &[RequestedOutput], binary_output: bool) -> (Option<usize>, Bytes) {
        let wants_binary = |name: &str| {
            let wanted = request.iter().find(|wanted| wanted.name == name);
            wanted.and_then(|wanted| wanted.binary).unwrap_or(binary_output)
        };
        let mut json = Vec::with_capacity(256);
        json.extend_from_slice(b"{\"model_name\":");
        write_json_value(&self.model_name, &mut json);
        if let Some(version) = &self.model_version {
            json.extend_from_slice(b",\"model_version\":");
            write_json_value(version, &mut json);
        }
        if let Some(id) = &self.id {
            json.extend_from_slice(b",\"id\":");
            write_json_value(id, &mut json);
        }
        json.extend_from_slice(b",\"outputs\":[");
        let mut blobs: Vec<Bytes> = vec![];
        for (at, output) in self.outputs.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            // BF16 has no JSON form.
            let binary = wants_binary(&output.name) || output.datatype == Datatype::Bf16;
            write_output(output, binary, &mut json);
            if binary {
                blobs.push(output.data.clone());
            }
        }
        json.extend_from_slice(b"]}");
        if blobs.is_empty() {
            return (None, Bytes::from(json));
        }
        let header_bytes = json.len();
        let mut body = BytesMut::from(Bytes::from(json));
        body.reserve(blobs.iter().map(Bytes::len).sum());
        blobs.iter().for_each(|blob| body.extend_from_slice(blob));
        (Some(header_bytes), body.freeze())
    }
}

fn write_json_value<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, value);
}

fn write_output(output: &Tensor, binary: bool, json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"name\":");
    write_json_value(&output.name, json);
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(output.datatype.wire_name().as_bytes());
    json.extend_from_slice(b"\",\"shape\":");
    write_json_value(&output.shape, json);
    if let Datatype::Json | Datatype::Timestamp = output.datatype {
        json.extend_from_slice(format!(",\"parameters\":{{\"content_type\":\"{}\"", output.datatype.name()).as_bytes());
        if binary {
            json.extend_from_slice(format!(",\"binary_data_size\":{}", output.data.len()).as_bytes());
        }
        json.push(b'}');
    } else if binary {
        json.extend_from_slice(format!(",\"parameters\":{{\"binary_data_size\":{}}}", output.data.len()).as_bytes());
    }
    if !binary {
        json.extend_from_slice(b",\"data\":[");
        write_data(output, json);
        json.push(b']');
    }
    json.push(b'}');
}

fn write_data(output: &Tensor, json: &mut Vec<u8>) {
    let mut first = true;
    let mut element = |bytes: &[u8]| {
        if !std::mem::take(&mut first) {
            json.push(b',');
        }
        // Text stays text here: to a client that speaks the protocol, JSON columns are BYTES.
        let datatype = if output.datatype == Datatype::Json { Datatype::Bytes } else { output.datatype };
        write_json(datatype, bytes, json);
    };
    match output.datatype.size() {
        Some(size) => output.data.chunks_exact(size).for_each(&mut element),
        None => byte_elements(&output.data).for_each(&mut element),
    }
}

/// The answer to `GET /v2/models/NAME`.
pub fn metadata(name: &str, versions: &[String], platform: &str, schema: &Schema) -> Value {
    let columns = |columns: &[Column]| -> Vec<Value> {
        let describe = |column: &Column| {
            let leading = schema.batches.then_some(-1);
            let row = column.shape.clone().unwrap_or_else(|| vec![-1]);
            let shape: Vec<i64> = leading.into_iter().chain(row).collect();
            json!({ "name": column.name, "datatype": column.datatype.wire_name(), "shape": shape })
        };
        columns.iter().map(describe).collect()
    };
    json!({
        "name": name,
        "versions": versions,
        "platform": platform,
        "inputs": columns(&schema.inputs),
        "outputs": columns(&schema.outputs),
    })
}

#[cfg(test)]
#[path = "oip_tests.rs"]
mod tests;
