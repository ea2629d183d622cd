//! Reads requests.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;
use domain::{Code, Datatype, Problem};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{BASE64, decode_data, split};
use crate::at_most::AtMost;
use crate::limits::{
    DIMENSIONS_READ_MAX, NAME_BYTES_MAX, OUTPUTS_MAX, PARAMETERS_BYTES_MAX, SENTENCE_CHARS_MAX,
    TENSORS_MAX, cut, shown_name,
};
use crate::tensor::{Tensor, elements, too_large};

/// A request to infer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct InferRequest {
    /// Echoed in the answer.
    pub id: Option<String>,
    /// Of the whole request.
    pub parameters: Map<String, Value>,
    /// With data.
    pub inputs: Vec<Tensor>,
    /// The outputs wanted, each once; empty means all.
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
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: AtMost<TensorJson<'a>, TENSORS_MAX>,
    #[serde(borrow, default)]
    outputs: Option<AtMost<OutputJson<'a>, OUTPUTS_MAX>>,
}

#[derive(Deserialize)]
struct TensorJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: AtMost<u64, DIMENSIONS_READ_MAX>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
}

fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, message)
        .help("see the Open Inference Protocol v2: docs/protocols.md")
}

fn bad_json(error: &serde_json::Error) -> Problem {
    Problem::new(
        Code::BadJson,
        format!("the request cannot be read: {}", cut(&error.to_string(), SENTENCE_CHARS_MAX)),
    )
}

/// Reads a request. `header_bytes` is the value of `Inference-Header-Content-Length`, if it was
/// sent.
pub fn decode_request(body: Bytes, header_bytes: Option<usize>) -> Result<InferRequest, Problem> {
    let (json, mut blobs) = split(&body, header_bytes)?;
    let read: RequestJson = serde_json::from_slice(&json).map_err(|error| bad_json(&error))?;
    let id = read.id.map(|id| named("the id", id)).transpose()?;
    let mut parameters = read_parameters(read.parameters)?;
    let inputs = read
        .inputs
        .0
        .into_iter()
        .map(|tensor| decode_tensor(tensor, &mut blobs))
        .collect::<Result<Vec<_>, _>>()?;
    if !blobs.is_empty() {
        return Err(bad_request(format!(
            "{} bytes are left behind the binary tensors",
            blobs.len()
        )));
    }
    let outputs = requested(read.outputs.map_or(vec![], |outputs| outputs.0))?;
    let binary_output = flag(&parameters, "binary_data_output").unwrap_or(false);
    parameters.remove("binary_data_output");
    Ok(InferRequest { id, parameters, inputs, outputs, binary_output })
}

fn flag(parameters: &Map<String, Value>, name: &str) -> Option<bool> {
    parameters.get(name).and_then(Value::as_bool)
}

/// A name that somebody chose the length of.
fn named(what: &str, name: Cow<str>) -> Result<String, Problem> {
    if name.len() > NAME_BYTES_MAX {
        let text = format!(
            "{what} `{}` has {} bytes; at most {NAME_BYTES_MAX} are allowed",
            shown_name(&name),
            name.len()
        );
        return Err(bad_request(text));
    }
    Ok(name.into_owned())
}

fn read_parameters(raw: Option<&RawValue>) -> Result<Map<String, Value>, Problem> {
    let Some(raw) = raw else { return Ok(Map::new()) };
    let bytes = raw.get().len();
    if bytes > PARAMETERS_BYTES_MAX {
        return Err(bad_request(format!(
            "`parameters` have {bytes} bytes; at most {PARAMETERS_BYTES_MAX} are allowed"
        )));
    }
    // Some clients send `null` for none.
    serde_json::from_str::<Option<Map<String, Value>>>(raw.get())
        .map(Option::unwrap_or_default)
        .map_err(|error| bad_json(&error))
}

/// Each output once: one that is named often would be sent as often.
fn requested(outputs: Vec<OutputJson>) -> Result<Vec<RequestedOutput>, Problem> {
    let mut names = HashSet::new();
    if let Some(twice) = outputs.iter().find(|output| !names.insert(output.name.as_ref())) {
        return Err(bad_request(format!("`outputs` names `{}` twice", shown_name(&twice.name))));
    }
    drop(names);
    let read = |output: OutputJson| {
        let binary = flag(&read_parameters(output.parameters)?, "binary_data");
        Ok(RequestedOutput { name: named("the output", output.name)?, binary })
    };
    outputs.into_iter().map(read).collect()
}

fn decode_tensor(tensor: TensorJson, blobs: &mut Bytes) -> Result<Tensor, Problem> {
    let TensorJson { name, datatype, shape, parameters, data } = tensor;
    let name = named("the tensor", name)?;
    let datatype = Datatype::from_name(&datatype)
        .filter(|datatype| !matches!(datatype, Datatype::Timestamp | Datatype::Json))
        .ok_or_else(|| {
            bad_request(format!(
                "`{name}` has the datatype `{}`, which the protocol does not know",
                shown_name(&datatype)
            ))
        })?;
    let shape: Vec<usize> = shape
        .0
        .into_iter()
        .map(|dimension| usize::try_from(dimension).unwrap_or(usize::MAX))
        .collect();
    let count = elements(&shape).ok_or_else(|| too_large(&name, &shape))?;
    let parameters = read_parameters(parameters)?;
    let data = match (parameters.get("binary_data_size"), data) {
        (Some(_), Some(_)) => {
            return Err(bad_request(format!("`{name}` has both data and binary_data_size")));
        }
        (None, None) => {
            return Err(bad_request(format!("`{name}` has no data"))
                .help("send `data`, or binary tensors with Inference-Header-Content-Length"));
        }
        (Some(size), None) => {
            let bytes = size
                .as_u64()
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| *size <= blobs.len());
            let bytes = bytes.ok_or_else(|| {
                let said = cut(&size.to_string(), 20);
                bad_request(format!(
                    "`{name}` says binary_data_size {said}, but {} bytes are left",
                    blobs.len()
                ))
            })?;
            blobs.split_to(bytes)
        }
        (None, Some(raw)) => {
            let is_base64 = parameters.get("content_type").is_some_and(|kind| kind == BASE64);
            decode_data(&name, datatype, count, is_base64, raw)?
        }
    };
    let tensor = Tensor { name, datatype, shape, data };
    tensor.check()?;
    Ok(tensor)
}
