//! Rows as they are stored, and the hash that chains them.

use domain::Digest;
use domain::digest::Hasher;
use domain::event::{Entry, Event, UnknownEvent};
use rusqlite::{Connection, params};

use crate::LedgerError;

/// One stored entry without its own hash.
pub struct Row {
    /// From 1, without gaps.
    pub seq: u64,
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// What it concerns.
    pub subject: String,
    /// Among its subject's entries, from 1.
    pub subject_seq: u64,
    /// Which writer wrote it.
    pub writer_epoch: u64,
    /// What kind of event.
    pub kind: String,
    /// Of the body's shape.
    pub body_version: u32,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// Of the entry before.
    pub previous_hash: Digest,
}

impl Row {
    /// SHA-256 over all fields, each with its length before it.
    pub fn hash(&self) -> Digest {
        let mut hasher = Hasher::new();
        for number in
            [self.seq, self.at_ms, self.subject_seq, self.writer_epoch, self.body_version.into()]
        {
            hasher.field(&number.to_le_bytes());
        }
        for text in [&self.actor, &self.subject, &self.kind] {
            hasher.field(text.as_bytes());
        }
        hasher.field(&self.body);
        hasher.field(&self.previous_hash.0);
        hasher.finish()
    }

    /// The entry with its event read.
    pub fn into_entry(self, hash: Digest) -> Result<Entry, UnknownEvent> {
        let event = Event::from_parts(&self.kind, self.body_version, &self.body)?;
        Ok(Entry {
            seq: self.seq,
            at_ms: self.at_ms,
            actor: self.actor,
            subject: self.subject,
            subject_seq: self.subject_seq,
            writer_epoch: self.writer_epoch,
            hash,
            event,
        })
    }
}

/// The columns that [`read`] reads, in its order.
pub const COLUMNS: &str = "seq, at, actor, subject, subject_seq, writer_epoch, kind, body_version, body, previous_hash, hash";

/// A stored entry, and its own hash.
pub fn read(row: &rusqlite::Row) -> Result<(Row, Digest), LedgerError> {
    let seq: u64 = row.get(0)?;
    let digest = |bytes: Vec<u8>| {
        bytes
            .try_into()
            .map(Digest)
            .map_err(|_| LedgerError::Corrupt(format!("entry {seq} has a hash of a wrong length")))
    };
    let read = Row {
        seq,
        at_ms: row.get(1)?,
        actor: row.get(2)?,
        subject: row.get(3)?,
        subject_seq: row.get(4)?,
        writer_epoch: row.get(5)?,
        kind: row.get(6)?,
        body_version: row.get(7)?,
        body: row.get(8)?,
        previous_hash: digest(row.get(9)?)?,
    };
    Ok((read, digest(row.get(10)?)?))
}

/// Calls `each` for the rows after `after_seq`, in order.
pub fn rows(
    connection: &Connection,
    after_seq: u64,
    limit: usize,
    mut each: impl FnMut(Row, Digest) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    // SQLite has signed numbers only; no entry has a larger one.
    let after_seq = i64::try_from(after_seq).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after_seq, limit as i64])?;
    while let Some(row) = rows.next()? {
        let (row, hash) = read(row)?;
        each(row, hash)?;
    }
    Ok(())
}
