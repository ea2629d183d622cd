//! Writes answers.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use domain::{Code, Datatype, Problem};
use serde::Serialize;

use super::{BASE64, RequestedOutput};
use crate::element::write_json;
use crate::encoded::write_encoded;
use crate::limits::{shown_name, shown_names};
use crate::tensor::{Tensor, byte_elements};

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
    /// Keeps the requested outputs only, in the order asked; names one that the model does not
    /// have.
    pub fn select(&mut self, request: &[RequestedOutput]) -> Result<(), Problem> {
        if request.is_empty() {
            return Ok(());
        }
        let places: HashMap<&str, usize> = self
            .outputs
            .iter()
            .enumerate()
            .map(|(at, output)| (output.name.as_str(), at))
            .collect();
        let mut selected = Vec::with_capacity(request.len());
        for wanted in request {
            let Some(at) = places.get(wanted.name.as_str()) else {
                let text = format!("the model has no output `{}`", shown_name(&wanted.name));
                let names = shown_names(self.outputs.iter().map(|output| output.name.as_str()));
                return Err(Problem::new(Code::NoSuchOutput, text).help(format!("it has {names}")));
            };
            selected.push(self.outputs[*at].clone());
        }
        self.outputs = selected;
        Ok(())
    }

    /// The length of the JSON, if binary tensors follow it, and the body.
    pub fn encode(
        &self,
        request: &[RequestedOutput],
        binary_output: bool,
    ) -> (Option<usize>, Bytes) {
        // What was selected lies in the order of the request.
        let wants_binary = |at: usize, name: &str| {
            let in_order = request.get(at).filter(|wanted| wanted.name == name);
            let wanted = in_order.or_else(|| request.iter().find(|wanted| wanted.name == name));
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
            let begin = json.len();
            // BF16 has no JSON form.
            let binary = wants_binary(at, &output.name) || output.datatype == Datatype::Bf16;
            let wanted = if binary { Written::Binary } else { Written::Json };
            let is_written = write_tensor(output, wanted, &mut json);
            if !is_written {
                // Nor have bytes that are no text.
                json.truncate(begin);
                write_tensor(output, Written::Binary, &mut json);
            }
            if !is_written || wanted == Written::Binary {
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

/// How the data of a tensor is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// In the JSON.
    Json,
    /// In the JSON, as base64.
    Base64,
    /// Behind the JSON.
    Binary,
}

/// Writes a tensor as JSON, without its data if that comes in binary. `false` if that is
/// not possible, as it holds bytes that are not UTF-8: what is written is of no use then.
pub(crate) fn write_tensor(output: &Tensor, written: Written, json: &mut Vec<u8>) -> bool {
    json.extend_from_slice(b"{\"name\":");
    write_json_value(&output.name, json);
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(output.datatype.wire_name().as_bytes());
    json.extend_from_slice(b"\",\"shape\":");
    write_json_value(&output.shape, json);
    let content_type = match output.datatype {
        Datatype::Json | Datatype::Timestamp => Some(output.datatype.name()),
        Datatype::Bytes if written == Written::Base64 => Some(BASE64),
        _ => None,
    };
    let mut before: &[u8] = b",\"parameters\":{";
    if let Some(content_type) = content_type {
        json.extend_from_slice(before);
        json.extend_from_slice(b"\"content_type\":");
        write_json_value(content_type, json);
        before = b",";
    }
    if written == Written::Binary {
        json.extend_from_slice(before);
        json.extend_from_slice(b"\"binary_data_size\":");
        write_json_value(&output.data.len(), json);
        before = b",";
    }
    if before == b"," {
        json.push(b'}');
    }
    let mut is_written = true;
    if written != Written::Binary {
        json.extend_from_slice(b",\"data\":[");
        is_written = write_data(output, written, json);
        json.push(b']');
    }
    json.push(b'}');
    is_written
}

fn write_data(output: &Tensor, written: Written, json: &mut Vec<u8>) -> bool {
    let mut first = true;
    let mut element = |bytes: &[u8]| {
        if !std::mem::take(&mut first) {
            json.push(b',');
        }
        match output.datatype {
            Datatype::Bytes if written == Written::Base64 => write_encoded(bytes, json),
            // Text stays text here: to a client that speaks the protocol, JSON columns are BYTES.
            Datatype::Bytes | Datatype::Timestamp | Datatype::Json => {
                let Ok(text) = std::str::from_utf8(bytes) else { return false };
                write_json_value(text, json);
            }
            datatype => write_json(datatype, bytes, json),
        }
        true
    };
    match output.datatype.size() {
        Some(size) => output.data.chunks_exact(size).all(&mut element),
        None => byte_elements(&output.data).all(&mut element),
    }
}
