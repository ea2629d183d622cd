//! What can be asked: SQL, or the records of one model, newest first.

use domain::ModelKey;

use crate::cells::CellsAsk;

/// What somebody asks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// One statement over the tables `records` and `gaps`.
    Sql(String),
    /// The records of one model.
    Records(RecordsAsk),
    /// Requests of one model, to be summed up.
    Cells(CellsAsk),
}

/// Which records of a model.
#[derive(Clone, Debug)]
pub struct RecordsAsk {
    /// Its model.
    pub model: ModelKey,
    /// Answered at this time or later, in milliseconds since 1970, …
    pub since_ms: Option<u64>,
    /// … and before this one.
    pub until_ms: Option<u64>,
    /// For which this SQL expression is true.
    pub condition: Option<String>,
    /// What the caller called it by `Decalog-Key`.
    pub key: Option<String>,
    /// The W3C trace id that it belongs to, 32 digits in lower case.
    pub trace: Option<String>,
    /// How its id begins.
    pub id: Option<String>,
    /// So many rows at most, the newest.
    pub rows_max: usize,
}
