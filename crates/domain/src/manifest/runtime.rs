//! What can run a version.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What runs a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Functions or a class in `model.py`, or a joblib file of a scikit-learn model.
    Python,
    /// An ONNX graph.
    Onnx,
    /// Any program that serves the Open Inference Protocol or plain JSON.
    Command,
}

impl Runtime {
    /// All of them.
    pub const ALL: [Runtime; 3] = [Runtime::Python, Runtime::Onnx, Runtime::Command];

    /// As a manifest names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Runtime::Python => "python",
            Runtime::Onnx => "onnx",
            Runtime::Command => "command",
        }
    }

    /// Whether it cannot do without `[model] command`.
    pub(super) fn needs_command(self) -> bool {
        matches!(self, Runtime::Command)
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
