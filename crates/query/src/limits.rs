//! What a query may cost.

/// Memory of a query, in bytes, if nothing else is said.
const MEMORY_BYTES_MAX: usize = 256 << 20;
/// Rows of an answer.
const ROWS_MAX: usize = 1_000_000;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// Rows that are summed up one by one.
const COUNTED_ROWS_MAX: u64 = 1_200_000;
/// How long a query may compute, in milliseconds.
const TIME_MS_MAX: u64 = 60_000;
/// Bytes of its text.
const SQL_BYTES_MAX: usize = 64 << 10;
/// Queries at once.
const QUERIES_MAX: usize = 2;
/// How long others wait for their turn, in milliseconds.
const WAIT_MS_MAX: u64 = 5_000;

/// What a query may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory for sorting, grouping and joining, in bytes.
    pub memory_bytes_max: usize,
    /// Rows of an answer.
    pub rows_max: usize,
    /// Rows of a model that are summed up one by one; of more, one in so many stands for the others.
    pub counted_rows_max: u64,
    /// Bytes of an answer.
    pub answer_bytes_max: u64,
    /// How long it may compute, in milliseconds.
    pub time_ms_max: u64,
    /// Its text, in bytes.
    pub sql_bytes_max: usize,
    /// Queries that run at once.
    pub queries_max: usize,
    /// How long others wait for their turn, in milliseconds.
    pub wait_ms_max: u64,
    /// Threads for all of them.
    pub threads: usize,
    /// Between two times that the newest records become Parquet for a query, in milliseconds.
    pub flush_ms_min: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes_max: MEMORY_BYTES_MAX,
            rows_max: ROWS_MAX,
            counted_rows_max: COUNTED_ROWS_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
            time_ms_max: TIME_MS_MAX,
            sql_bytes_max: SQL_BYTES_MAX,
            queries_max: QUERIES_MAX,
            wait_ms_max: WAIT_MS_MAX,
            threads: 2,
            flush_ms_min: 1_000,
        }
    }
}
