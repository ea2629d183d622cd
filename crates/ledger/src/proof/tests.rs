//! Proofs: what others published, the definitions of RFC 6962 word by word, and that whatever is
//! changed by anybody is found.

mod notes;
mod rewriting;
mod tiles;
mod trees;

use std::sync::LazyLock;

use domain::Digest;

use super::*;

pub(super) fn digest(hex: &str) -> Digest {
    hex.parse().unwrap()
}

/// Leaves that are told from each other by a number.
pub(super) fn leaf(number: u64) -> Digest {
    leaf_hash(&Digest::of(&number.to_le_bytes()).0)
}

pub(super) fn tree(leaves: &[Digest]) -> Tree {
    Tree::of(leaves.iter().copied())
}

pub(super) fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(leaf).collect()
}

pub(super) const ORIGIN: &str = "ml.example.org/decalog/4f19a0c2";

pub(super) static LOG: LazyLock<SignerKey> =
    LazyLock::new(|| SignerKey::new(ORIGIN, SignatureType::Note, &[7; 32]).unwrap());

pub(super) static WITNESS: LazyLock<SignerKey> = LazyLock::new(|| {
    SignerKey::new("witness.example.com/w1", SignatureType::Cosignature, &[9; 32]).unwrap()
});

pub(super) fn checkpoint(of: &Tree) -> Note {
    let frontier = of.frontier();
    Checkpoint::new(ORIGIN, frontier.size(), frontier.root()).sign(&LOG).unwrap()
}

/// The same bytes with one bit turned.
pub(super) fn with_bit_turned(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut turned = bytes.to_vec();
    turned[bit / 8] ^= 1 << (bit % 8);
    turned
}

pub(super) fn with_digest_turned(digest: Digest, bit: usize) -> Digest {
    Digest(with_bit_turned(&digest.0, bit).try_into().unwrap())
}
