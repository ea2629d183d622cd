//! Tiles (C2SP tlog-tiles): the tree as files of up to 256 hashes that never change once they are
//! full, so that a copy of the proofs elsewhere, or a folder behind any web server, only ever gets
//! more of them.

use std::fmt;

use domain::Digest;

use crate::proof::merkle::Node;

/// The hashes of a full tile, and the entries of a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// The levels of the tree from one level of tiles to the next.
const TILE_LEVELS: u32 = TILE_WIDTH.trailing_zeros();

/// What a tile holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TileOf {
    /// The entries themselves; of the ledger's tree, their hashes.
    Entries,
    /// Hashes over 256^`level` entries each.
    Hashes {
        /// 0 for leaves.
        level: u32,
    },
}

/// Consecutive entries or hashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Tile {
    /// What it holds.
    pub of: TileOf,
    /// Its place among those of its kind, from 0.
    pub index: u64,
    /// How many it holds, from 1 to 256.
    pub width: u64,
}

/// The tiles that a tree of `new` entries has and one of `old` did not have, or not as wide: what is
/// to be written when a checkpoint is. They are few unless the tree grew much; none shrinks.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let levels = (0..u64::BITS).step_by(TILE_LEVELS as usize).zip(0..);
    let hashes = levels.map(|(shift, level)| (TileOf::Hashes { level }, shift));
    std::iter::once((TileOf::Entries, 0)).chain(hashes).flat_map(move |(of, shift)| {
        let (before, count) = (old >> shift, new >> shift);
        let first = before / TILE_WIDTH;
        let end = if count > before { count.div_ceil(TILE_WIDTH) } else { first };
        (first..end).map(move |index| {
            let width = (count - index * TILE_WIDTH).min(TILE_WIDTH);
            Tile { of, index, width }
        })
    })
}

impl Tile {
    /// The bytes of the file; `node` gives the hashes of complete subtrees, and `entry` what the
    /// leaf at a place holds.
    pub fn bytes<E>(
        &self,
        mut node: impl FnMut(Node) -> Result<Digest, E>,
        mut entry: impl FnMut(u64) -> Result<Digest, E>,
    ) -> Result<Vec<u8>, E> {
        let first = self.index * TILE_WIDTH;
        let mut bytes = vec![];
        for index in first..first + self.width {
            match self.of {
                TileOf::Hashes { level } => {
                    bytes.extend(node(Node { level: level * TILE_LEVELS, index })?.0)
                }
                TileOf::Entries => {
                    let held = entry(index)?.0;
                    bytes.extend((held.len() as u16).to_be_bytes());
                    bytes.extend(held);
                }
            }
        }
        Ok(bytes)
    }
}

impl fmt::Display for Tile {
    /// Its path: three digits a folder, so that none holds too many, as `tile/0/x001/x234/067.p/8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            TileOf::Entries => f.write_str("tile/entries")?,
            TileOf::Hashes { level } => write!(f, "tile/{level}")?,
        }
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let padded = format!("{digits:0>width$}", width = 3 * groups);
        for at in 0..groups {
            let folder = if at + 1 < groups { "x" } else { "" };
            write!(f, "/{folder}{}", &padded[3 * at..3 * at + 3])?;
        }
        match self.width < TILE_WIDTH {
            true => write!(f, ".p/{}", self.width),
            false => Ok(()),
        }
    }
}
