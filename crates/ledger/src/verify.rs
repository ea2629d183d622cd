//! Walks the whole chain and names the first entry that is not as it was written; then looks at
//! what is derived from it.

use std::collections::HashMap;

use domain::{Digest, State};

use crate::{Ledger, LedgerError, Location, Row, head, snapshot};

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

fn broken(seq: u64, reason: impl ToString) -> Broken {
    Broken { seq, reason: reason.to_string() }
}

/// What the entries before must agree with.
#[derive(Default)]
struct Walk {
    subjects: HashMap<String, u64>,
    epoch: u64,
    state: State,
}

impl Walk {
    /// Takes the next entry in, or says what is wrong with it.
    fn take(&mut self, row: Row, hash: Digest) -> Result<(), Broken> {
        let seq = row.seq;
        let expected = self.state.seq + 1;
        let subject_seq = self.subjects.get(&row.subject).copied().unwrap_or(0) + 1;
        if seq != expected {
            return Err(broken(
                expected,
                format!("it is missing: {seq} follows {}", self.state.seq),
            ));
        }
        if row.previous_hash != self.state.hash {
            return Err(broken(seq, "its previous hash is not that of the entry before"));
        }
        if row.hash() != hash {
            return Err(broken(
                seq,
                "its content does not have its hash: it was changed after it was written",
            ));
        }
        if row.subject_seq != subject_seq {
            return Err(broken(
                seq,
                format!("it is number {} of `{}`, not {subject_seq}", row.subject_seq, row.subject),
            ));
        }
        if row.writer_epoch < self.epoch {
            let text = format!(
                "a writer of epoch {} wrote it after one of epoch {}",
                row.writer_epoch, self.epoch
            );
            return Err(broken(seq, text));
        }
        self.epoch = row.writer_epoch;
        self.subjects.insert(row.subject.clone(), subject_seq);
        let entry = row.into_entry(hash).map_err(|error| broken(seq, error))?;
        self.state.apply(&entry);
        Ok(())
    }
}

/// Verifies the ledger at this place, with or without a running writer, and the snapshot and the
/// head marker beside it. With `expected_head`, an entry must have that hash.
pub fn verify(location: &Location, expected_head: Option<Digest>) -> Result<Verified, Broken> {
    let ledger = Ledger::open_read_only(location).map_err(|error| broken(0, error))?;
    // Read first: a running writer may go on meanwhile.
    let marked = head::read(&location.head());
    let kept = snapshot::read(location).map_err(|error| broken(0, error))?;
    let mut walk = Walk::default();
    let mut missing: Vec<Digest> =
        expected_head.into_iter().chain(marked.map(|(_, hash)| hash)).collect();
    missing.retain(|hash| *hash != Digest::ZERO);
    let mut first: Option<Broken> = None;
    let walked = ledger.log.entries().read_after(0, usize::MAX, |row, hash| {
        let taken = walk.take(row, hash).and_then(|()| check_snapshot(&kept, &walk.state));
        missing.retain(|missing| *missing != hash);
        taken.map_err(|broken| {
            first = Some(broken);
            LedgerError::Corrupt("stop here".into())
        })
    });
    if let Some(first) = first {
        return Err(first);
    }
    walked.map_err(|error| broken(walk.state.seq + 1, error))?;
    if !missing.is_empty() {
        let reason =
            "no entry has the expected head's hash: the end was cut off, or it is another ledger";
        return Err(broken(walk.state.seq + 1, reason));
    }
    Ok(Verified { entries: walk.state.seq, head: walk.state.hash })
}

/// A snapshot of this history must be what its entries give; one of another is of no use, and does
/// no harm.
fn check_snapshot(kept: &State, state: &State) -> Result<(), Broken> {
    let is_of_here = kept.seq == state.seq && kept.hash == state.hash && kept.seq > 0;
    match is_of_here && kept != state {
        true => Err(broken(
            state.seq,
            "the snapshot of the state after it is not what the entries give",
        )),
        false => Ok(()),
    }
}
