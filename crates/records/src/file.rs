//! One Parquet file of records, as the catalogue knows it.

use domain::{Digest, EnvironmentName, ModelKey, VersionNumber};
use serde::{Deserialize, Serialize};

/// One Parquet file: the records of one placement in one hour, sorted by id, one Parquet row for
/// each row of a request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordFile {
    /// Within the area `records` of the artifact store.
    pub path: String,
    /// Of the requests.
    pub model: ModelKey,
    /// Where they were asked.
    pub environment: EnvironmentName,
    /// What answered.
    pub version: VersionNumber,
    /// The begin of the hour, in milliseconds since 1970.
    pub hour_ms: u64,
    /// The least id, as text.
    pub first_id: String,
    /// The greatest id.
    pub last_id: String,
    /// Parquet rows.
    pub rows: u64,
    /// Requests.
    pub requests: u64,
    /// Of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// All columns in their order, also those that every file has ([`crate::columns::FIXED`]).
    pub columns: Vec<FileColumn>,
}

/// A column of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileColumn {
    /// As in the file: `id`, `in.age`, `out.leave`.
    pub name: String,
    /// Its Arrow type, as Arrow displays it.
    pub datatype: String,
}
