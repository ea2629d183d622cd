//! A tree that grows: to append a leaf, only the hashes of the complete subtrees on its right edge
//! are needed, at most 64 of them, however many entries there are.

use domain::Digest;

use crate::proof::merkle::{Node, ProofError, parent, root_of_nothing};

/// The right edge of a tree: its complete subtrees from the left, each smaller than the one before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

/// What was kept of a frontier is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the edge of a tree of {size} leaves has {expected} hashes, not {found}")]
pub struct FrontierError {
    size: u64,
    expected: u32,
    found: usize,
}

impl Frontier {
    /// As it was kept.
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Result<Frontier, FrontierError> {
        let expected = size.count_ones();
        match peaks.len() == expected as usize {
            true => Ok(Frontier { size, peaks }),
            false => Err(FrontierError { size, expected, found: peaks.len() }),
        }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// To be kept: the complete subtrees from the left.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends a leaf. `completed` gets every subtree that is complete with it, itself first and
    /// then upwards: to keep them all is to be able to prove anything later. Over all leaves there
    /// are fewer than two for each.
    pub fn append(&mut self, leaf: Digest, mut completed: impl FnMut(Node, Digest)) {
        let mut hash = leaf;
        completed(Node { level: 0, index: self.size }, hash);
        for level in 1..=self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = parent(&left, &hash);
            completed(Node { level, index: self.size >> level }, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        let mut from_right = self.peaks.iter().rev().copied();
        match from_right.next() {
            None => root_of_nothing(),
            Some(last) => from_right.fold(last, |right, left| parent(&left, &right)),
        }
    }
}

/// A whole tree in memory: 64 bytes for each leaf. It can be made of any ledger; whoever proves
/// often keeps the nodes instead.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    frontier: Frontier,
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// Of leaves, in order.
    pub fn of(leaves: impl IntoIterator<Item = Digest>) -> Tree {
        let mut tree = Tree::default();
        leaves.into_iter().for_each(|leaf| tree.append(leaf));
        tree
    }

    /// Appends a leaf.
    pub fn append(&mut self, leaf: Digest) {
        let levels = &mut self.levels;
        self.frontier.append(leaf, |node, hash| {
            if levels.len() <= node.level as usize {
                levels.push(vec![]);
            }
            levels[node.level as usize].push(hash);
        });
    }

    /// Its right edge.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The hash of a complete subtree.
    pub fn node(&self, node: Node) -> Result<Digest, ProofError> {
        let index = usize::try_from(node.index).unwrap_or(usize::MAX);
        let level = self.levels.get(node.level as usize);
        level.and_then(|level| level.get(index)).copied().ok_or_else(|| node.missing())
    }
}
