//! What a lane's number in a record stands for.

use domain::{Digest, Placement, Schema};
use serde::{Deserialize, Serialize};

/// What answered, and the columns of its records.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Definition {
    /// What answered.
    pub placement: Placement,
    /// Names and types of the values, as they are recorded.
    pub schema: Schema,
    /// The input whose value is a row's key, `NAME=VALUE`, where the caller named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Definition {
    /// Its text, and the number that follows from it; never 0.
    pub fn named(&self) -> (u64, String) {
        let text = serde_json::to_string(self).unwrap_or_default();
        let digest = Digest::of(text.as_bytes());
        let first = digest.0.first_chunk().copied().unwrap_or([1; 8]);
        (u64::from_le_bytes(first).max(1), text)
    }
}
