//! The Merkle tree of RFC 6962: how leaves and nodes are hashed, and of which nodes any part of a
//! tree is made. Leaves and nodes begin with different bytes, so that none is taken for the other.

use domain::Digest;
use domain::digest::Hasher;

/// The most hashes of a proof: no tree is higher than a number of entries has bits, and a proof of
/// consistency has one more.
pub const PROOF_HASHES_MAX: usize = 65;

/// A complete subtree: the `index`-th from the left of those with 2^`level` leaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Node {
    /// 0 for a leaf.
    pub level: u32,
    /// From 0.
    pub index: u64,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// The entry would lie behind the end.
    #[error("entry {index} (from 0) is not among {size} entries")]
    OutOfRange {
        /// From 0.
        index: u64,
        /// Of the tree.
        size: u64,
    },
    /// A tree does not shrink.
    #[error("a ledger of {old} entries cannot have become one of {new}")]
    Shrunk {
        /// The entries before.
        old: u64,
        /// The entries after.
        new: u64,
    },
    /// Hashes are missing, or there are more than there should be.
    #[error("the proof has {found} hashes, which is not what a tree of this size needs")]
    Length {
        /// As many as there are.
        found: usize,
    },
    /// A hash that a proof is made of is not there.
    #[error("the hash over entries {from} to {to} (from 0) is missing")]
    Missing {
        /// The first that it is over.
        from: u64,
        /// The last that it is over.
        to: u64,
    },
    /// It leads to another root.
    #[error("the proof leads to another root: the entry, or the ledger, is not the one it is for")]
    Root,
}

impl Node {
    /// The error of whoever does not have its hash.
    pub fn missing(&self) -> ProofError {
        let leaves = 1u64.checked_shl(self.level).unwrap_or(0);
        let from = self.index.saturating_mul(leaves);
        ProofError::Missing { from, to: from.saturating_add(leaves.saturating_sub(1)) }
    }
}

/// The hash of a leaf that holds these bytes. In the ledger's tree they are the 32 bytes of an
/// entry's own hash; entry `seq` is leaf `seq - 1`.
pub fn leaf_hash(data: &[u8]) -> Digest {
    hash(&[&[0], data])
}

/// The hash of a node above these two.
pub(super) fn parent(left: &Digest, right: &Digest) -> Digest {
    hash(&[&[1], &left.0, &right.0])
}

/// The root of a tree without leaves.
pub fn root_of_nothing() -> Digest {
    hash(&[])
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// Where the leaves of a part are divided: after the largest power of two that leaves some over.
/// There are at least two.
pub(super) fn split(leaves: u64) -> u64 {
    1 << (u64::BITS - 1 - (leaves - 1).leading_zeros())
}

/// The hash over the leaves from `start` to before `end`. `start` is a multiple of the smallest
/// power of two that is no less than their number, as it is for every part of a tree; there is at
/// least one.
pub(super) fn hash_of_part<E>(
    start: u64,
    end: u64,
    node: &mut impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let leaves = end - start;
    if leaves.is_power_of_two() {
        let level = leaves.trailing_zeros();
        return node(Node { level, index: start >> level });
    }
    let middle = start + split(leaves);
    let left = hash_of_part(start, middle, node)?;
    Ok(parent(&left, &hash_of_part(middle, end, node)?))
}
