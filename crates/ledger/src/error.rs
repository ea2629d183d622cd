//! What kind of failure an error is. Every store says the same of its own, and callers decide by
//! that alone.

use domain::event::UnknownEvent;

use crate::proof::ProofError;

/// What a store says of a failure in its own words.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Why the ledger did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else wrote to the subject in the meantime: read again and decide again.
    #[error("`{subject}` has {found} entries, not {expected}: it changed in the meantime")]
    Conflict {
        /// Whose.
        subject: String,
        /// What the caller knew.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Another process became the writer.
    #[error("another process (writer epoch {newer}) writes this ledger now")]
    Fenced {
        /// Its epoch.
        newer: u64,
    },
    /// No room on disk. Nothing was written.
    #[error("the disk is full: the ledger could not be written")]
    Full,
    /// The disk or the file takes no writes. Nothing was written.
    #[error("the ledger cannot be written: its disk or its file is read-only")]
    ReadOnly,
    /// Entries that were written are not there.
    #[error(
        "the ledger ends at entry {last}, and entry {seq}, which was written, is not in it: it was cut off or replaced"
    )]
    CutOff {
        /// What is missing.
        seq: u64,
        /// What is there.
        last: u64,
    },
    /// Written by a newer program.
    #[error(transparent)]
    Unknown(#[from] UnknownEvent),
    /// Not a ledger, or damaged.
    #[error("the ledger is damaged: {0}")]
    Corrupt(String),
    /// Nothing can be proved of what was asked for.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Its own last checkpoint tells that entries are not those that there were.
    #[error(
        "the ledger does not continue its own checkpoint of {size} entries: entries were changed, cut off or replaced after it was signed"
    )]
    Rewritten {
        /// Of the checkpoint.
        size: u64,
    },
    /// Another process kept the store to itself for longer than is waited for. Nothing was written.
    #[error("the ledger could not be used: {0}")]
    Busy(StoreError),
    /// Anything else that a store says.
    #[error("the ledger could not be used: {0}")]
    Store(StoreError),
}
