//! Walks the whole chain and names the first entry that is not as it was written.

use std::collections::HashMap;
use std::path::Path;

use domain::Digest;

use crate::{Ledger, LedgerError, chain};

/// A ledger that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries.
    pub entries: u64,
    /// The last one's hash: who keeps it elsewhere can tell later whether the end was cut off.
    pub head: Digest,
}

/// The first bad entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} of the ledger is bad: {reason}")]
pub struct Broken {
    /// Its number; one beyond the last if the end is missing.
    pub seq: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Verifies the ledger in this file, with or without a running writer. With `expected_head`, an entry must have that hash.
pub fn verify(path: &Path, expected_head: Option<Digest>) -> Result<Verified, Broken> {
    let broken = |seq: u64, reason: String| Broken { seq, reason };
    let ledger = Ledger::open_read_only(path).map_err(|error| broken(0, error.to_string()))?;
    let mut verified = Verified { entries: 0, head: Digest::ZERO };
    let mut subjects: HashMap<String, u64> = HashMap::new();
    let mut epoch = 0;
    let mut head_found = expected_head.is_none_or(|head| head == Digest::ZERO);
    let mut first: Option<Broken> = None;
    let walked = chain::rows(&ledger.connection, 0, i64::MAX as usize, |row, hash| {
        let expected_subject_seq = subjects.get(&row.subject).copied().unwrap_or(0) + 1;
        let (seq, expected_seq) = (row.seq, verified.entries + 1);
        let reason = if seq != expected_seq {
            Some(broken(expected_seq, format!("it is missing: {seq} follows {}", verified.entries)))
        } else if row.previous_hash != verified.head {
            Some(broken(seq, "its previous hash is not that of the entry before".into()))
        } else if row.hash() != hash {
            Some(broken(seq, "its content does not have its hash: it was changed after it was written".into()))
        } else if row.subject_seq != expected_subject_seq {
            Some(broken(seq, format!("it is number {} of `{}`, not {expected_subject_seq}", row.subject_seq, row.subject)))
        } else if row.writer_epoch < epoch {
            Some(broken(seq, format!("a writer of epoch {} wrote it after one of epoch {epoch}", row.writer_epoch)))
        } else {
            None
        };
        let subject = row.subject.clone();
        epoch = row.writer_epoch;
        let unread = row.into_entry(hash).err().map(|error| broken(seq, error.to_string()));
        if let Some(reason) = reason.or(unread) {
            first = Some(reason);
            return Err(LedgerError::Corrupt("stop here".into()));
        }
        subjects.insert(subject, expected_subject_seq);
        verified = Verified { entries: seq, head: hash };
        head_found |= expected_head == Some(hash);
        Ok(())
    });
    if let Some(first) = first {
        return Err(first);
    }
    walked.map_err(|error| broken(verified.entries + 1, error.to_string()))?;
    if !head_found {
        let reason = "no entry has the expected head's hash: the end was cut off, or it is another ledger".to_string();
        return Err(broken(verified.entries + 1, reason));
    }
    Ok(verified)
}
