//! What is kept of requests: a ring that outlives the process, segments on disk, Parquet by hour in
//! the artifact store, and the catalogue of its files. Tables that people bring are read here too.

mod catalogue;
pub mod columns;
mod erase;
mod file;
mod join;
mod keeper;
mod keys;
mod outcomes;
pub mod past;
pub mod ring;
mod sample;
mod seal;
mod sealing;
pub mod segment;
pub mod sheet;
pub mod table;
pub mod truth;
mod values;

pub use catalogue::{Catalogue, Erased, Gap, Hour, Sealed};
pub use erase::{Erasure, KEY_BYTES_MAX};
pub use file::{FileColumn, RecordFile};
pub use join::{Joined, Joining, Truth};
pub use keeper::{Keeper, KeeperConfig, KeeperCounts, Watch};
pub use outcomes::element_of;
pub use seal::time_ms;
