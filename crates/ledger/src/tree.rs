//! The Merkle tree over the entries as the store keeps it: every complete subtree's hash, written
//! with the entry that completes it. It is derived from the entries; one that does not fit them is
//! made again.

use domain::Digest;

use crate::LedgerError;
use crate::log::{Append, Entries};
use crate::proof::{Frontier, Node, leaf_hash};

/// Entries that a tree takes in at a time, if it is behind.
const BATCH_ENTRIES: usize = 10_000;
/// The most entries that may be missing in a row from a damaged ledger.
const MISSING_MAX: u64 = 1_000_000;

/// The hashes of a tree with so many leaves.
fn nodes_of(leaves: u64) -> u64 {
    2 * leaves - u64::from(leaves.count_ones())
}

/// Where a hash is kept: in the order in which subtrees are completed, so that those of one entry
/// lie side by side at the end.
fn position(node: Node) -> u64 {
    let last_leaf = ((node.index + 1) << node.level) - 1;
    nodes_of(last_leaf) + u64::from(node.level)
}

/// The leaves of the tree that is kept; fewer than entries if an earlier program wrote the last ones.
pub fn leaves(entries: &dyn Entries) -> Result<u64, LedgerError> {
    let nodes = entries.nodes()?;
    // Each leaf completes nearly two subtrees.
    let mut leaves = nodes / 2;
    while nodes_of(leaves + 1) <= nodes {
        leaves += 1;
    }
    Ok(leaves)
}

/// The hash of a complete subtree, if it is kept.
pub fn kept(entries: &dyn Entries, node: Node) -> Result<Option<Digest>, LedgerError> {
    entries.node(position(node))
}

/// The hash of a complete subtree.
pub fn node(entries: &dyn Entries, node: Node) -> Result<Digest, LedgerError> {
    kept(entries, node)?.ok_or_else(|| node.missing().into())
}

/// The right edge of the tree of the first `leaves` entries.
pub fn frontier(entries: &dyn Entries, leaves: u64) -> Result<Frontier, LedgerError> {
    let (mut start, mut peaks) = (0, vec![]);
    for level in (0..u64::BITS).rev().filter(|level| leaves >> level & 1 == 1) {
        peaks.push(node(entries, Node { level, index: start >> level })?);
        start += 1 << level;
    }
    Frontier::from_parts(leaves, peaks).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

/// Adds an entry that is being appended.
pub fn append(
    appending: &dyn Append,
    frontier: &mut Frontier,
    entry: Digest,
) -> Result<(), LedgerError> {
    let mut completed = vec![];
    frontier.append(leaf_hash(&entry.0), |node, hash| completed.push((position(node), hash)));
    completed.into_iter().try_for_each(|(position, hash)| appending.put_node(position, hash))
}

/// Whether entries lack in the tree, or it is not of these entries.
pub fn is_behind(entries: &dyn Entries) -> Result<bool, LedgerError> {
    let newest = if entries.has_any()? { entries.newest()? } else { None };
    let Some(newest) = newest else { return Ok(false) };
    Ok(newest.seq != leaves(entries)? || !fits(entries)?)
}

/// Whether the last leaf is that of its entry. As an entry's hash covers all before it, so are the
/// others.
fn fits(entries: &dyn Entries) -> Result<bool, LedgerError> {
    let (leaves, nodes) = (leaves(entries)?, entries.nodes()?);
    if leaves == 0 {
        return Ok(nodes == 0);
    }
    let last = kept(entries, Node { level: 0, index: leaves - 1 })?;
    let entry = entries.hash_of(leaves)?.map(|hash| leaf_hash(&hash.0));
    Ok(nodes == nodes_of(leaves) && last.is_some() && last == entry)
}

/// What catching up came to.
pub struct CaughtUp {
    /// The right edge of the tree.
    pub frontier: Frontier,
    /// Whether what was kept was not of these entries, and is made again.
    pub made_anew: bool,
}

/// Takes in entries that the tree lacks: a part of them, for whoever calls this until none is left;
/// all at once if `all`.
pub fn catch_up(appending: &dyn Append, all: bool) -> Result<CaughtUp, LedgerError> {
    let entries = appending.entries();
    let made_anew = !fits(entries)?;
    if made_anew {
        appending.drop_nodes()?;
    }
    let mut frontier = frontier(entries, leaves(entries)?)?;
    let rows_max = if all { usize::MAX } else { BATCH_ENTRIES };
    entries.read_after(frontier.size(), rows_max, |row, hash| {
        let missing = row.seq.saturating_sub(frontier.size() + 1);
        if missing > MISSING_MAX {
            return Err(LedgerError::Corrupt(format!(
                "{missing} entries before {} are missing",
                row.seq
            )));
        }
        // Somebody accepted that: an entry's place in the tree stays its number.
        for _ in 0..missing {
            append(appending, &mut frontier, Digest::ZERO)?;
        }
        append(appending, &mut frontier, hash)
    })?;
    Ok(CaughtUp { frontier, made_anew })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Tree;

    #[test]
    fn hashes_are_kept_side_by_side_in_the_order_in_which_they_are_completed() {
        let (mut frontier, mut next) = (Frontier::default(), 0);
        for number in 0..300u64 {
            assert_eq!(nodes_of(number), next);
            frontier.append(Digest::of(&number.to_le_bytes()), |node, _| {
                assert_eq!(position(node), next, "{node:?}");
                next += 1;
            });
        }
        let leaves = (0..300u64).map(|number| Digest::of(&number.to_le_bytes()));
        assert_eq!(Tree::of(leaves).frontier(), &frontier);
    }
}
