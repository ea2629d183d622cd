//! SQL over records.
