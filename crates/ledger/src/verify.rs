//! Walks the whole chain and names the first entry that is not as it was written; then looks at
//! what is derived from it.

use std::collections::HashMap;

use domain::{Digest, State};

use crate::log::Entries;
use crate::proof::{Checkpoint, Frontier, leaf_hash};
use crate::{Ledger, LedgerError, Location, Row, head, origin, snapshot, tree};

/// What somebody kept elsewhere of an earlier time.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The hash of an entry.
    pub head: Option<Digest>,
    /// A checkpoint: with all hashes recomputed, a ledger that was written anew looks whole without
    /// it. Whether it is signed is the business of whoever read it.
    pub checkpoint: Option<Checkpoint>,
}

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

/// The tree over the entries as they are, against what is kept of it and a checkpoint.
struct Tree<'a> {
    frontier: Frontier,
    entries: &'a dyn Entries,
    /// As many as were kept before the first entry was read.
    leaves: u64,
    expected: Option<&'a Checkpoint>,
}

impl Tree<'_> {
    /// Takes in the next entry, which has this hash.
    fn take(&mut self, hash: Digest) -> Result<(), Broken> {
        let seq = self.frontier.size() + 1;
        if let Some(expected) = self.expected.filter(|_| seq == 1)
            && expected.origin != origin(&hash)
        {
            let text = format!(
                "the checkpoint is of the ledger `{}`, and this is `{}`: it is another one, or its first entry was changed",
                expected.origin,
                origin(&hash)
            );
            return Err(broken(seq, text));
        }
        let mut completed = vec![];
        self.frontier.append(leaf_hash(&hash.0), |node, hash| completed.push((node, hash)));
        for (node, hash) in completed.into_iter().filter(|_| seq <= self.leaves) {
            if tree::kept(self.entries, node).map_err(|error| broken(seq, error))? != Some(hash) {
                return Err(broken(
                    seq,
                    "the tree over the entries that is kept is not of this entry",
                ));
            }
        }
        match self.expected {
            Some(expected) if expected.size == seq && expected.root != self.frontier.root() => {
                let text = format!(
                    "it or one before it is not what it was when the checkpoint of {seq} entries was signed: the ledger was written anew since, with all hashes recomputed"
                );
                Err(broken(seq, text))
            }
            _ => Ok(()),
        }
    }

    /// Once the last entry was taken in.
    fn end(&self) -> Result<(), Broken> {
        let (last, next) = (self.frontier.size(), self.frontier.size() + 1);
        if self.leaves > last {
            return Err(broken(next, "the tree over the entries goes on: the end was cut off"));
        }
        match self.expected {
            Some(expected) if expected.size > last => {
                let text = format!(
                    "the ledger ends at {last}, and had {} entries when the checkpoint was signed: the end was cut off, or an older copy was put in its place",
                    expected.size
                );
                Err(broken(next, text))
            }
            _ => Ok(()),
        }
    }
}

/// Verifies the ledger at this place, with or without a running writer, and the snapshot, the tree
/// and the head marker beside it. What is expected must be in it.
pub fn verify(location: &Location, expected: &Expected) -> Result<Verified, Broken> {
    let ledger = Ledger::open_read_only(location).map_err(|error| broken(0, error))?;
    let entries = ledger.log.entries();
    // Read first: a running writer may go on meanwhile.
    let marked = head::read(&location.head());
    let kept = snapshot::read(location).map_err(|error| broken(0, error))?;
    let leaves = tree::leaves(entries).map_err(|error| broken(0, error))?;
    let checkpoint = expected.checkpoint.as_ref();
    let mut tree = Tree { frontier: Frontier::default(), entries, leaves, expected: checkpoint };
    let mut walk = Walk::default();
    let mut missing: Vec<Digest> =
        expected.head.into_iter().chain(marked.map(|(_, hash)| hash)).collect();
    missing.retain(|hash| *hash != Digest::ZERO);
    let mut first: Option<Broken> = None;
    let walked = entries.read_after(0, usize::MAX, |row, hash| {
        let taken = walk.take(row, hash).and_then(|()| tree.take(hash));
        let taken = taken.and_then(|()| check_snapshot(&kept, &walk.state));
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
    tree.end()?;
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
