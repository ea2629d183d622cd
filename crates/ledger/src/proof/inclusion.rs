//! Proofs of inclusion (RFC 6962 §2.1.1): that an entry is in a tree with a root. Checked as
//! RFC 9162 §2.1.3.2 says.

use domain::Digest;

use crate::proof::merkle::{Node, ProofError, hash_of_part, parent, split};

/// The hashes that lead from a leaf to the root of the tree of the first `size` leaves: that of its
/// sibling first. `node` gives the hashes of complete subtrees of these leaves.
pub fn inclusion_proof<E: From<ProofError>>(
    index: u64,
    size: u64,
    mut node: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if index >= size {
        return Err(ProofError::OutOfRange { index, size }.into());
    }
    let (mut start, mut end, mut siblings) = (0, size, vec![]);
    while end - start > 1 {
        let middle = start + split(end - start);
        match index < middle {
            true => {
                siblings.push((middle, end));
                end = middle;
            }
            false => {
                siblings.push((start, middle));
                start = middle;
            }
        }
    }
    let hashes = siblings.into_iter().rev();
    hashes.map(|(start, end)| hash_of_part(start, end, &mut node)).collect()
}

/// Whether a leaf with this hash is at this place of a tree with this size and root. Size and root
/// come from a checkpoint: the proof alone says nothing about them.
pub fn verify_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { index, size });
    }
    let length = || ProofError::Length { found: proof.len() };
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(length());
        }
        if at & 1 == 1 || at == last {
            hash = parent(sibling, &hash);
            // On the right edge a subtree may stand alone on some levels.
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = parent(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last == 0, hash == root) {
        (false, _) => Err(length()),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}
