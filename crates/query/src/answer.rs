//! In which form an answer is given, and how it gets to whoever asked.

use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;

/// In which form rows are given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// An object of JSON in a line for each row.
    #[default]
    Jsonl,
    /// An array of objects.
    Json,
    /// With a line of names first.
    Csv,
    /// A file of Parquet.
    Parquet,
}

impl Format {
    /// As HTTP says it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Jsonl => "application/x-ndjson",
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What a query gives. An error in the stream is one that came after its begin: the stream ends
/// with it.
pub struct Answer {
    /// As the format says.
    pub content_type: &'static str,
    /// The rows, in the format.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}
