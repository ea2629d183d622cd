//! What the ledger asks of a store. A store keeps rows in order and finds them again; it decides
//! nothing: the chain, the fence and the checks for conflicts are the same for all of them.

use std::ops::ControlFlow;
use std::path::Path;

use domain::Digest;

use crate::{LedgerError, Row};

/// An open store.
pub trait Log: Send {
    /// Its entries, as they are at this moment.
    fn entries(&self) -> &dyn Entries;

    /// Begins to add entries. Until the end of it, nobody else adds any: a second process waits, and
    /// gets [`LedgerError::Busy`] if that takes too long. What is dropped uncommitted never was.
    fn begin(&mut self) -> Result<Box<dyn Append + '_>, LedgerError>;

    /// Writes a consistent copy to a new SQLite file, beside whoever appends; half a copy is
    /// removed. A backup holds such a file whatever the store, so that it can be restored to any.
    fn copy_to(&self, path: &Path) -> Result<(), LedgerError>;
}

/// The questions that a store answers about its entries.
pub trait Entries {
    /// Whether there are any. A store whose tables nobody has made yet has none.
    fn has_any(&self) -> Result<bool, LedgerError>;

    /// The last one.
    fn newest(&self) -> Result<Option<Newest>, LedgerError>;

    /// The hash of an entry, if the entry is there and its hash is whole.
    fn hash_of(&self, seq: u64) -> Result<Option<Digest>, LedgerError>;

    /// How many a subject has: the largest number among them.
    fn count_of(&self, subject: &str) -> Result<u64, LedgerError>;

    /// The number in the log of a subject's entry.
    fn seq_of(&self, subject: &str, subject_seq: u64) -> Result<Option<u64>, LedgerError>;

    /// The kind and shape (version of the body) that comes next after this one in the order of both,
    /// among those of all entries. By an index: many entries take no longer than few.
    fn next_kind(&self, kind: &str, shape: u32) -> Result<Option<(String, u32)>, LedgerError>;

    /// How many hashes of the tree there are: one more than the largest position.
    fn nodes(&self) -> Result<u64, LedgerError>;

    /// The hash of the tree at a position, from 0.
    fn node(&self, position: u64) -> Result<Option<Digest>, LedgerError>;

    /// Checkpoints after a number, in order, at most `rows_max`.
    fn checkpoints(&self, after: u64, rows_max: usize) -> Result<Vec<KeptCheckpoint>, LedgerError>;

    /// The last one.
    fn newest_checkpoint(&self) -> Result<Option<KeptCheckpoint>, LedgerError>;

    /// Reads rows in order, one by one, until `each` breaks off or fails.
    fn read(&self, range: Range, each: Each) -> Result<(), LedgerError>;
}

/// Entries that are being added.
pub trait Append {
    /// All entries with those that were added.
    fn entries(&self) -> &dyn Entries;

    /// Makes what the store lacks of its tables.
    fn lay_out(&self) -> Result<(), LedgerError>;

    /// Adds a row at the end.
    fn insert(&self, row: &Row, hash: Digest) -> Result<(), LedgerError>;

    /// Adds a hash to the tree.
    fn put_node(&self, position: u64, hash: Digest) -> Result<(), LedgerError>;

    /// Drops all hashes of the tree.
    fn drop_nodes(&self) -> Result<(), LedgerError>;

    /// Keeps a checkpoint. Gives its number.
    fn put_checkpoint(&self, at_ms: u64, size: u64, text: &str) -> Result<u64, LedgerError>;

    /// When it returns, all that was added is on disk.
    fn commit(self: Box<Self>) -> Result<(), LedgerError>;
}

/// The last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub seq: u64,
    /// Of the writer that wrote it.
    pub writer_epoch: u64,
    /// Its own.
    pub hash: Digest,
}

/// A checkpoint as it was signed and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCheckpoint {
    /// Its place among all of this ledger, from 1.
    pub number: u64,
    /// When it was signed, in milliseconds since 1970.
    pub at_ms: u64,
    /// Over how many entries.
    pub size: u64,
    /// The signed note.
    pub text: String,
}

/// Which rows are read.
#[derive(Clone, Copy, Debug)]
pub struct Range<'a> {
    /// Only of this subject; of all if there is none.
    pub subject: Option<&'a str>,
    /// Those with a larger number: among the subject's, or in the log if there is none.
    pub after: u64,
    /// At most so many.
    pub rows_max: usize,
    /// Rows of other kinds are given by their number alone; `None` for all kinds.
    pub kinds: Option<&'a [String]>,
}

impl Range<'_> {
    /// All rows after a number in the log.
    pub fn after(seq: u64) -> Range<'static> {
        Range { subject: None, after: seq, rows_max: usize::MAX, kinds: None }
    }

    /// Whether rows of a kind are given with what they hold.
    pub fn takes(&self, kind: &str) -> bool {
        self.kinds.is_none_or(|kinds| kinds.iter().any(|wanted| wanted == kind))
    }
}

/// A row that was read.
pub struct Found {
    /// Its number in the log.
    pub seq: u64,
    /// The row and its own hash; `None` if its kind was not requested.
    pub stored: Option<(Row, Digest)>,
}

/// What is called for each row.
pub type Each<'a> = &'a mut dyn FnMut(Found) -> Result<ControlFlow<()>, LedgerError>;

impl dyn Entries + '_ {
    /// Reads the rows after a number, at most `rows_max`, until `each` fails.
    pub fn read_after(
        &self,
        seq: u64,
        rows_max: usize,
        mut each: impl FnMut(Row, Digest) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        self.read(Range { rows_max, ..Range::after(seq) }, &mut |found| {
            if let Some((row, hash)) = found.stored {
                each(row, hash)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}
