//! What a witness does: it keeps the last head that it saw of a ledger, and signs a new one only if
//! that is the old one with entries added. A ledger that was written anew cannot show that.

use domain::Digest;

use crate::proof::checkpoint::{Checkpoint, CheckpointError};
use crate::proof::consistency::verify_consistency;
use crate::proof::key::VerifierKey;
use crate::proof::merkle::ProofError;
use crate::proof::note::Note;

/// The last head that was seen of a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The number of its entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

/// Why a witness does not sign.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WitnessRefusal {
    /// The ledger itself did not sign it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It is not what was seen with entries added.
    #[error(
        "the ledger with {new} entries does not continue the one with {old} that was seen before: \
         {reason}"
    )]
    Inconsistent {
        /// The entries of what was seen.
        old: u64,
        /// The entries that it says to have now.
        new: u64,
        /// What is wrong.
        reason: ProofError,
    },
}

/// Whether this head of a ledger continues what was seen of it, if anything was. What is given back
/// takes its place, and must be kept before the head is signed: to sign twice is to have seen
/// twice.
pub fn witness(
    seen: Option<&Seen>,
    note: &Note,
    proof: &[Digest],
    origin: &str,
    key: &VerifierKey,
) -> Result<Seen, WitnessRefusal> {
    let Checkpoint { size, root, .. } = Checkpoint::verified(note, origin, key)?;
    let new = Seen { size, root };
    let Some(old) = seen else { return Ok(new) };
    match verify_consistency((old.size, old.root), (size, root), proof) {
        Ok(()) => Ok(new),
        Err(reason) => Err(WitnessRefusal::Inconsistent { old: old.size, new: size, reason }),
    }
}
