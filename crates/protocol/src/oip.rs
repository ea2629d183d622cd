//! Open Inference Protocol v2: requests and responses, as JSON and with the binary tensor
//! extension. <https://github.com/kserve/open-inference-protocol> and Triton's
//! `extension_binary_data.md`.

use domain::schema::{Column, Schema};
use serde_json::{Value, json};

mod data;
mod request;
mod response;

pub(crate) use data::{BASE64, decode_data, split};
pub use request::{InferRequest, RequestedOutput, decode_request};
pub use response::InferResponse;
pub(crate) use response::{Written, write_tensor};

/// Tells where the JSON ends and the binary tensors begin.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

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
mod tests;
