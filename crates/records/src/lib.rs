//! What is kept of requests: a ring that outlives the process, segments on disk, Parquet by hour in
//! the artifact store, and the catalogue of its files.

pub mod columns;
mod file;
pub mod ring;

pub use file::{FileColumn, RecordFile};
