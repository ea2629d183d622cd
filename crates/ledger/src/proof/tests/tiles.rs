//! Tiles: which there are, how they are called, and what is in them.

use std::collections::BTreeMap;

use super::*;

fn paths(old: u64, new: u64) -> Vec<String> {
    tiles_between(old, new).map(|tile| tile.to_string()).collect()
}

#[test]
fn a_tile_is_called_as_its_standard_says() {
    let path = |of, index, width| Tile { of, index, width }.to_string();
    let level = |level| TileOf::Hashes { level };
    assert_eq!(path(level(0), 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(level(7), 0, 1), "tile/7/000.p/1");
    assert_eq!(path(TileOf::Entries, 999, 255), "tile/entries/999.p/255");
    assert_eq!(path(TileOf::Entries, 1_000, 256), "tile/entries/x001/000");
}

#[test]
fn a_tree_has_the_tiles_that_its_standard_counts() {
    let tiles = |size, wanted| {
        let own = tiles_between(0, size).filter(|tile| tile.of == TileOf::Hashes { level: wanted });
        let widths: Vec<u64> = own.map(|tile| tile.width).collect();
        let full = widths.iter().filter(|width| **width == TILE_WIDTH).count();
        (full, widths.iter().copied().filter(|width| *width < TILE_WIDTH).collect::<Vec<_>>())
    };
    assert_eq!(tiles(70_000, 0), (273, vec![112]));
    assert_eq!(tiles(70_000, 1), (1, vec![17]));
    assert_eq!(tiles(70_000, 2), (0, vec![1]));
    assert_eq!(tiles(70_000, 3), (0, vec![]));
    assert_eq!(paths(0, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(0, 0), [""; 0]);
    // Of the largest tree, the last ones; there is a tile on each of its levels.
    let end = tiles_between(u64::MAX - 1, u64::MAX).collect::<Vec<_>>();
    assert_eq!(end.len(), 2);
}

#[test]
fn only_what_is_new_is_written() {
    assert_eq!(paths(41, 41), [""; 0]);
    assert_eq!(paths(41, 40), [""; 0]);
    assert_eq!(paths(40, 41), ["tile/entries/000.p/41", "tile/0/000.p/41"]);
    assert_eq!(
        paths(255, 257),
        [
            "tile/entries/000",
            "tile/entries/001.p/1",
            "tile/0/000",
            "tile/0/001.p/1",
            "tile/1/000.p/1"
        ]
    );
    // However it grew, all that the last size has is there in the end, and full ones are never
    // written twice.
    for steps in [vec![700], vec![1, 255, 256, 257, 300, 511, 700], (0..=700).collect()] {
        let mut written: BTreeMap<String, u32> = BTreeMap::new();
        let mut old = 0;
        for new in steps {
            paths(old, new).into_iter().for_each(|path| *written.entry(path).or_default() += 1);
            old = new;
        }
        assert!(paths(0, 700).iter().all(|path| written[path] == 1));
    }
}

#[test]
fn another_program_makes_the_same_tiles_of_the_same_entries() {
    let entries: Vec<Digest> = (0..70_000u64).map(|n| Digest::of(&n.to_le_bytes())).collect();
    let whole = Tree::of(entries.iter().map(|entry| leaf_hash(&entry.0)));
    let files: BTreeMap<String, Vec<u8>> = tiles_between(0, entries.len() as u64)
        .map(|tile| {
            let entry = |index: u64| Ok::<_, ProofError>(entries[index as usize]);
            (tile.to_string(), tile.bytes(|node| whole.node(node), entry).unwrap())
        })
        .collect();
    let mut all = vec![];
    for (path, bytes) in &files {
        all.extend(format!("{path} {}\n", Digest::of(bytes)).into_bytes());
    }
    // SHA-256 over `PATH SHA-256\n` of each file that the Python package aics-tlog 0.2.1 writes.
    assert_eq!(
        Digest::of(&all),
        digest("7454d91442a998f89c5b3722d5fd70ac17c0934f52d222ec827c7ce312a29d9d"),
        "{} files",
        files.len()
    );
}
