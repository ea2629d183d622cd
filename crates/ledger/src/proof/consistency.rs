//! Proofs of consistency (RFC 6962 §2.1.2): that a tree is an earlier one with leaves added, and
//! that none of the earlier ones changed. Checked as RFC 9162 §2.1.4.2 says.

use domain::Digest;

use crate::proof::merkle::{Node, ProofError, hash_of_part, parent, root_of_nothing, split};

/// The hashes that lead from the tree of the first `old` leaves to that of the first `new`. `node`
/// gives the hashes of complete subtrees of these leaves.
pub fn consistency_proof<E: From<ProofError>>(
    old: u64,
    new: u64,
    mut node: impl FnMut(Node) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if old > new {
        return Err(ProofError::Shrunk { old, new }.into());
    }
    if old == 0 || old == new {
        return Ok(vec![]);
    }
    let (mut start, mut end, mut parts) = (0, new, vec![]);
    // Down the right edge of the old tree, to its last complete subtree.
    while old < end {
        let middle = start + split(end - start);
        match old <= middle {
            true => {
                parts.push((middle, end));
                end = middle;
            }
            false => {
                parts.push((start, middle));
                start = middle;
            }
        }
    }
    // If that is all of the old tree, its root is known.
    if start > 0 {
        parts.push((start, end));
    }
    let hashes = parts.into_iter().rev();
    hashes.map(|(start, end)| hash_of_part(start, end, &mut node)).collect()
}

/// Whether a tree with the new size and root is the one with the old size and root, with leaves
/// added. Sizes and roots come from two checkpoints.
pub fn verify_consistency(
    (old, old_root): (u64, Digest),
    (new, new_root): (u64, Digest),
    proof: &[Digest],
) -> Result<(), ProofError> {
    let length = || ProofError::Length { found: proof.len() };
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == 0 || old == new {
        let known_root = if old == 0 { root_of_nothing() } else { new_root };
        return match (proof.is_empty(), old_root == known_root) {
            (false, _) => Err(length()),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    // A complete old tree is a subtree itself, and the proof leaves out its root.
    let whole = old.is_power_of_two().then_some(old_root);
    let mut hashes = whole.iter().chain(proof);
    let (mut at, mut last) = (old - 1, new - 1);
    let levels = at.trailing_ones();
    (at, last) = (at >> levels, last >> levels);
    let mut old_hash = *hashes.next().ok_or_else(length)?;
    let mut new_hash = old_hash;
    for sibling in hashes {
        if last == 0 {
            return Err(length());
        }
        if at & 1 == 1 || at == last {
            old_hash = parent(sibling, &old_hash);
            new_hash = parent(sibling, &new_hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new_hash = parent(&new_hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match (last == 0, old_hash == old_root && new_hash == new_root) {
        (false, _) => Err(length()),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}
