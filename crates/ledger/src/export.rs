//! An entry as it leaves the ledger: a line of JSON that holds all that its hash is over, so that
//! whoever has it can compute the hash again, and receipts that carry it.

use domain::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::proof::{Checkpoint, Receipt, ReceiptError, VerifierKey};
use crate::{Ledger, LedgerError, Row};

/// One entry, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedEntry {
    /// From 1, without gaps.
    pub seq: u64,
    /// When, for people and programs that read no milliseconds (RFC 3339).
    pub time: String,
    /// When, in milliseconds since 1970.
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
    /// What happened: the exact bytes that the hash is over.
    pub body: Box<RawValue>,
    /// Of the entry before.
    pub previous_hash: Digest,
    /// Its own.
    pub hash: Digest,
}

/// A receipt does not prove what it says.
#[derive(Debug, thiserror::Error)]
pub enum NotProved {
    /// The receipt itself is wrong.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// It does not carry an entry.
    #[error("the receipt carries no entry of a ledger: {0}")]
    Entry(String),
    /// The entry is not as it was.
    #[error("the entry in the receipt was changed: it does not have the hash that it says")]
    Changed,
    /// The entry is another one.
    #[error("the receipt is for entry {proved}, and carries entry {carried}")]
    Other {
        /// Of the receipt's proof.
        proved: u64,
        /// As the entry says.
        carried: u64,
    },
}

/// A time in RFC 3339.
pub fn rfc3339(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

impl ExportedEntry {
    /// Of a row as it is stored.
    pub fn of(row: Row, hash: Digest) -> Result<ExportedEntry, LedgerError> {
        let seq = row.seq;
        let unreadable = |error: &dyn std::fmt::Display| {
            LedgerError::Corrupt(format!("the body of entry {seq} is not JSON: {error}"))
        };
        let body = String::from_utf8(row.body).map_err(|error| unreadable(&error))?;
        Ok(ExportedEntry {
            seq,
            time: rfc3339(row.at_ms),
            at_ms: row.at_ms,
            actor: row.actor,
            subject: row.subject,
            subject_seq: row.subject_seq,
            writer_epoch: row.writer_epoch,
            kind: row.kind,
            body_version: row.body_version,
            body: RawValue::from_string(body).map_err(|error| unreadable(&error))?,
            previous_hash: row.previous_hash,
            hash,
        })
    }

    /// As one line of JSON, without its end.
    pub fn to_line(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether it has the hash that it says.
    pub fn is_whole(&self) -> bool {
        let row = Row {
            seq: self.seq,
            at_ms: self.at_ms,
            actor: self.actor.clone(),
            subject: self.subject.clone(),
            subject_seq: self.subject_seq,
            writer_epoch: self.writer_epoch,
            kind: self.kind.clone(),
            body_version: self.body_version,
            body: self.body.get().into(),
            previous_hash: self.previous_hash,
        };
        row.hash() == self.hash && self.time == rfc3339(self.at_ms)
    }

    /// The entry that a receipt carries, once it is proved to be in the ledger that this key signs
    /// for, and the checkpoint that proves it.
    pub fn proved(
        receipt: &Receipt,
        key: &VerifierKey,
    ) -> Result<(ExportedEntry, Checkpoint), NotProved> {
        let entry: ExportedEntry = serde_json::from_slice(&receipt.extra)
            .map_err(|error| NotProved::Entry(error.to_string()))?;
        // One entry has one text: what is left of a change that says the same is a change all the
        // same.
        if !entry.is_whole() || entry.to_line() != receipt.extra {
            return Err(NotProved::Changed);
        }
        let proved = receipt.index.saturating_add(1);
        if proved != entry.seq {
            return Err(NotProved::Other { proved, carried: entry.seq });
        }
        let checkpoint = receipt.verify(&entry.hash, key.name(), key)?;
        Ok((entry, checkpoint))
    }
}

impl Ledger {
    /// Entries after `after_seq` as they are stored: at most `rows_max`, and no more once their
    /// bodies have `bytes_max` bytes together; at least one if there is one.
    pub fn export(
        &self,
        after_seq: u64,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<ExportedEntry>, LedgerError> {
        use std::ops::ControlFlow::{Break, Continue};
        let (mut exported, mut bytes) = (vec![], 0);
        let range = crate::log::Range { rows_max, ..crate::log::Range::after(after_seq) };
        self.log.entries().read(range, &mut |found| {
            if let Some((row, hash)) = found.stored {
                bytes += row.body.len();
                exported.push(ExportedEntry::of(row, hash)?);
            }
            Ok(if bytes >= bytes_max { Break(()) } else { Continue(()) })
        })?;
        Ok(exported)
    }
}
