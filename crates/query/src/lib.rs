//! SQL over records: reads the Parquet files that the catalogue names and the caller may see. It
//! only reads, it reads nothing else, and what a query may cost has limits.

mod answer;
mod ask;
mod binary;
mod buffer;
mod cells;
mod check;
mod concat;
mod fresh;
mod functions;
mod joins;
mod known;
mod limits;
mod lines;
mod names;
mod narrow;
mod parquet;
mod plan;
mod problem;
mod prune;
mod queries;
mod run;
mod session;
mod source;
mod table;
mod union;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Format};
pub use ask::{Ask, RecordsAsk};
pub use cells::{Cells, CellsAsk, Judge};
pub use limits::Limits;
pub use queries::Queries;
pub use source::{Seen, Source};
