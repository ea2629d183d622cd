//! What a ledger can prove: checkpoints, which its writer signs and keeps, and the proofs that lead
//! to them.

use domain::Digest;

use crate::log::KeptCheckpoint;
use crate::proof::{
    Checkpoint, Note, ProofError, Receipt, SignerKey, consistency_proof, inclusion_proof,
};
use crate::{Damage, ExportedEntry, Ledger, LedgerError, tree};

/// The digits of the first entry's hash that are a ledger's name.
const ORIGIN_DIGITS: usize = 32;

/// The name of the ledger whose first entry has this hash: the same for all its life, and of no
/// other.
pub fn origin(first: &Digest) -> String {
    format!("decalog/{}", &first.to_string()[..ORIGIN_DIGITS])
}

fn unreadable(number: u64, error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt(format!("checkpoint {number} cannot be read: {error}"))
}

impl KeptCheckpoint {
    /// As it was signed.
    pub fn note(&self) -> Result<Note, LedgerError> {
        self.text.parse().map_err(|error| unreadable(self.number, error))
    }

    /// What it says; the signature is not looked at.
    pub fn checkpoint(&self) -> Result<Checkpoint, LedgerError> {
        self.note()?.text().parse().map_err(|error| unreadable(self.number, error))
    }
}

impl Ledger {
    /// Its name in checkpoints; `None` if it has no entries yet.
    pub fn origin(&self) -> Result<Option<String>, LedgerError> {
        match self.log.entries().has_any()? {
            true => Ok(self.log.entries().hash_of(1)?.as_ref().map(origin)),
            false => Ok(None),
        }
    }

    /// The newest checkpoint; signs and keeps one if entries came since the last, or another key
    /// signed that. A ledger that does not continue the last one is not signed for, unless somebody
    /// accepted its damage.
    pub fn checkpoint(
        &mut self,
        key: &SignerKey,
        at_ms: u64,
        damage: Damage,
    ) -> Result<KeptCheckpoint, LedgerError> {
        let writer = self.writer.as_ref().ok_or(LedgerError::ReadOnly)?;
        let appending = self.log.begin()?;
        let entries = appending.entries();
        let (size, epoch) = entries.newest()?.map_or((0, 0), |last| (last.seq, last.writer_epoch));
        if epoch > writer.epoch {
            return Err(LedgerError::Fenced { newer: epoch });
        }
        let root = tree::frontier(entries, size)?.root();
        let last = entries.newest_checkpoint()?;
        let continued = last.as_ref().map(|last| continues(entries, last, size)).transpose()?;
        match (last, continued) {
            (Some(last), Some(true)) if last.size == size && is_by(&last, key)? => return Ok(last),
            (Some(last), Some(false)) if damage == Damage::Refused => {
                return Err(LedgerError::Rewritten { size: last.size });
            }
            _ => {}
        }
        let note = Checkpoint::new(key.public().name(), size, root).sign(key);
        let text = note.map_err(|error| LedgerError::Corrupt(error.to_string()))?.to_string();
        let number = appending.put_checkpoint(at_ms, size, &text)?;
        appending.commit()?;
        Ok(KeptCheckpoint { number, at_ms, size, text })
    }

    /// Checkpoints after a number, in order, at most `limit`.
    pub fn checkpoints(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptCheckpoint>, LedgerError> {
        self.log.entries().checkpoints(after, limit)
    }

    /// That entry `seq` is among the first `checkpoint.size`, with the entry itself.
    pub fn receipt(&self, seq: u64, checkpoint: &KeptCheckpoint) -> Result<Receipt, LedgerError> {
        let (entries, size) = (self.log.entries(), checkpoint.size);
        let index = seq.checked_sub(1).unwrap_or(u64::MAX);
        let proof = inclusion_proof(index, size, |node| tree::node(entries, node))?;
        let mut entry = None;
        entries.read_after(index, 1, |row, hash| {
            entry = Some(ExportedEntry::of(row, hash)?);
            Ok(())
        })?;
        let entry = entry.filter(|entry| entry.seq == seq);
        let extra = entry.ok_or(ProofError::OutOfRange { index, size })?.to_line();
        Ok(Receipt { extra, index, proof, checkpoint: checkpoint.note()? })
    }

    /// That the ledger of `new` entries is the one of `old` entries with others added.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, LedgerError> {
        let (entries, leaves) = (self.log.entries(), tree::leaves(self.log.entries())?);
        if new > leaves {
            return Err(ProofError::OutOfRange { index: new - 1, size: leaves }.into());
        }
        consistency_proof(old, new, |node| tree::node(entries, node))
    }
}

/// Whether the first entries are still those of a checkpoint.
fn continues(
    entries: &dyn crate::log::Entries,
    last: &KeptCheckpoint,
    size: u64,
) -> Result<bool, LedgerError> {
    Ok(last.size <= size && tree::frontier(entries, last.size)?.root() == last.checkpoint()?.root)
}

fn is_by(last: &KeptCheckpoint, key: &SignerKey) -> Result<bool, LedgerError> {
    Ok(last.note()?.verify(std::slice::from_ref(key.public())).is_ok())
}
