//! What is kept of requests: a ring that outlives the process, segments on disk, Parquet by hour in
//! the artifact store, and the catalogue of its files.

mod catalogue;
pub mod columns;
mod file;
mod join;
mod keeper;
mod outcomes;
pub mod ring;
mod sample;
mod seal;
mod sealing;
pub mod segment;
pub mod truth;
mod values;

pub use catalogue::{Catalogue, Gap, Hour};
pub use file::{FileColumn, RecordFile};
pub use join::{Joined, Joining};
pub use keeper::{Keeper, KeeperConfig, Watch};
pub use outcomes::element_of;
