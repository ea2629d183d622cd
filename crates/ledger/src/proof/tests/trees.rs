//! Trees and their proofs.

use proptest::prelude::*;

use super::*;
use crate::proof::merkle::parent;

/// The leaves of the test vectors of certificate-transparency-go and its successors.
const INPUTS: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// Their roots, by the number of leaves.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// Index, size and proof.
const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// Old and new size, and proof.
const CONSISTENCY: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

fn digests(texts: &[&str]) -> Vec<Digest> {
    texts.iter().map(|text| digest(text)).collect()
}

fn known_leaves() -> Vec<Digest> {
    INPUTS.iter().map(|input| leaf_hash(input)).collect()
}

#[test]
fn roots_are_those_that_others_published() {
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(tree(&known_leaves()[..size]).frontier().root(), digest(root), "{size}");
    }
}

#[test]
fn proofs_of_inclusion_are_those_that_others_published() {
    let whole = tree(&known_leaves());
    for (index, size, expected) in INCLUSION {
        let proof = inclusion_proof(index, size, |node| whole.node(node)).unwrap();
        assert_eq!(proof, digests(expected), "{index} of {size}");
        let root = digest(ROOTS[size as usize]);
        assert_eq!(
            verify_inclusion(known_leaves()[index as usize], index, size, &proof, root),
            Ok(())
        );
    }
}

#[test]
fn proofs_of_consistency_are_those_that_others_published() {
    let whole = tree(&known_leaves());
    for (old, new, expected) in CONSISTENCY {
        let proof = consistency_proof(old, new, |node| whole.node(node)).unwrap();
        assert_eq!(proof, digests(expected), "{old} to {new}");
        let [old, new] = [old, new].map(|size| (size, digest(ROOTS[size as usize])));
        assert_eq!(verify_consistency(old, new, &proof), Ok(()));
    }
}

/// The largest power of two below a number, as RFC 6962 has it.
fn k(n: usize) -> usize {
    (0..).map(|bits| 1 << bits).take_while(|power| *power < n).last().unwrap()
}

/// MTH of RFC 6962 §2.1.
fn mth(d: &[Digest]) -> Digest {
    match d {
        [] => Digest::of(b""),
        [one] => *one,
        _ => parent(&mth(&d[..k(d.len())]), &mth(&d[k(d.len())..])),
    }
}

/// PATH of RFC 6962 §2.1.1.
fn path(m: usize, d: &[Digest]) -> Vec<Digest> {
    if d.len() <= 1 {
        return vec![];
    }
    let k = k(d.len());
    match m < k {
        true => [path(m, &d[..k]), vec![mth(&d[k..])]].concat(),
        false => [path(m - k, &d[k..]), vec![mth(&d[..k])]].concat(),
    }
}

/// SUBPROOF of RFC 6962 §2.1.2.
fn subproof(m: usize, d: &[Digest], b: bool) -> Vec<Digest> {
    if m == d.len() {
        return if b { vec![] } else { vec![mth(d)] };
    }
    let k = k(d.len());
    match m <= k {
        true => [subproof(m, &d[..k], b), vec![mth(&d[k..])]].concat(),
        false => [subproof(m - k, &d[k..], false), vec![mth(&d[..k])]].concat(),
    }
}

/// As many as go twice over a power of two, with all sizes between.
const SIZES: u64 = 70;

#[test]
fn every_small_tree_is_as_the_definition_says() {
    let leaves = leaves(SIZES);
    let whole = tree(&leaves);
    for size in 0..=SIZES {
        let d = &leaves[..size as usize];
        assert_eq!(tree(d).frontier().root(), mth(d), "{size}");
        for index in 0..size {
            let proof = inclusion_proof(index, size, |node| whole.node(node)).unwrap();
            assert_eq!(proof, path(index as usize, d), "{index} of {size}");
            let checked = verify_inclusion(d[index as usize], index, size, &proof, mth(d));
            assert_eq!(checked, Ok(()), "{index} of {size}");
        }
        for old in 0..=size {
            let proof = consistency_proof(old, size, |node| whole.node(node)).unwrap();
            let expected = if old == 0 { vec![] } else { subproof(old as usize, d, true) };
            assert_eq!(proof, expected, "{old} to {size}");
            let (old_root, root) = (mth(&leaves[..old as usize]), mth(d));
            let checked = verify_consistency((old, old_root), (size, root), &proof);
            assert_eq!(checked, Ok(()), "{old} to {size}");
        }
    }
}

#[test]
fn what_is_proved_needs_only_nodes_that_are_complete() {
    let whole = tree(&leaves(SIZES));
    for size in 1..=SIZES {
        let within = |node: Node| {
            assert!((node.index + 1) << node.level <= size, "{node:?} of {size}");
            whole.node(node)
        };
        for other in 0..size {
            inclusion_proof(other, size, within).unwrap();
            consistency_proof(other, size, within).unwrap();
        }
    }
}

#[test]
fn a_tree_grows_from_what_was_kept_of_it() {
    let leaves = leaves(300);
    let (mut kept, mut nodes) = (Frontier::default(), 0);
    for (at, leaf) in leaves.iter().enumerate() {
        // As after a restart at any moment.
        kept = Frontier::from_parts(kept.size(), kept.peaks().to_vec()).unwrap();
        kept.append(*leaf, |_, _| nodes += 1);
        assert_eq!(kept.root(), mth(&leaves[..=at]));
        assert!(kept.peaks().len() <= 9);
    }
    assert!(nodes < 2 * leaves.len());
    for (size, peaks) in [(0, 1), (1, 0), (4, 2), (7, 2)] {
        let error = Frontier::from_parts(size, vec![leaf(0); peaks]).unwrap_err();
        assert!(error.to_string().contains("has"), "{error}");
    }
}

#[test]
fn a_tree_of_as_many_entries_as_there_are_numbers_is_proved() {
    // Made up: one hash for all subtrees of a level.
    let level = |node: Node| Ok::<_, ProofError>(leaf(node.level.into()));
    for (index, size) in
        [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (1 << 62, 1 << 63), (u64::MAX / 3, u64::MAX - 1)]
    {
        let proof = inclusion_proof(index, size, level).unwrap();
        assert!(proof.len() <= PROOF_HASHES_MAX, "{}", proof.len());
        let checked = verify_inclusion(leaf(0), index, size, &proof, leaf(1));
        assert_eq!(checked, Err(ProofError::Root));
        let proof = consistency_proof(index + 1, size, level).unwrap();
        assert!(proof.len() <= PROOF_HASHES_MAX, "{}", proof.len());
        let checked = verify_consistency((index + 1, leaf(0)), (size, leaf(1)), &proof);
        assert_eq!(checked, Err(ProofError::Root));
    }
}

#[test]
fn what_there_cannot_be_is_refused() {
    let whole = tree(&leaves(8));
    let node = |node| whole.node(node);
    let outside = ProofError::OutOfRange { index: 8, size: 8 };
    assert_eq!(inclusion_proof(8, 8, node), Err(outside));
    assert_eq!(verify_inclusion(leaf(0), 8, 8, &[], leaf(0)), Err(outside));
    assert_eq!(inclusion_proof(0, 0, node), Err(ProofError::OutOfRange { index: 0, size: 0 }));
    assert_eq!(consistency_proof(9, 8, node), Err(ProofError::Shrunk { old: 9, new: 8 }));
    let missing = inclusion_proof(0, 16, node).unwrap_err();
    assert_eq!(missing, ProofError::Missing { from: 8, to: 15 });
    assert_eq!(missing.to_string(), "the hash over entries 8 to 15 (from 0) is missing");
    let root = whole.frontier().root();
    // Of an empty ledger every ledger is a continuation, and of itself.
    assert_eq!(verify_consistency((0, root_of_nothing()), (8, root), &[]), Ok(()));
    assert_eq!(verify_consistency((0, leaf(1)), (8, root), &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency((8, root), (8, root), &[]), Ok(()));
    assert_eq!(verify_consistency((8, leaf(1)), (8, root), &[]), Err(ProofError::Root));
    let length = ProofError::Length { found: 1 };
    assert_eq!(verify_consistency((8, root), (8, root), &[leaf(0)]), Err(length));
    assert_eq!(verify_consistency((3, root), (8, root), &[]), Err(ProofError::Length { found: 0 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    /// Every bit of everything that a proof of inclusion depends on, beside the size, which only a
    /// checkpoint says.
    #[test]
    fn a_proof_of_inclusion_holds_for_nothing_else(
        size in 1u64..200, at in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(size);
        let whole = tree(&leaves);
        let index = at.index(size as usize) as u64;
        let (leaf, root) = (leaves[index as usize], whole.frontier().root());
        let proof = inclusion_proof(index, size, |node| whole.node(node)).unwrap();
        prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, root), Ok(()));
        for bit in 0..256 {
            let other = with_digest_turned(leaf, bit);
            prop_assert!(verify_inclusion(other, index, size, &proof, root).is_err());
            let other = with_digest_turned(root, bit);
            prop_assert!(verify_inclusion(leaf, index, size, &proof, other).is_err());
            for turned in 0..proof.len() {
                let mut other = proof.clone();
                other[turned] = with_digest_turned(other[turned], bit);
                prop_assert!(verify_inclusion(leaf, index, size, &other, root).is_err());
            }
        }
        for other in (0..size).filter(|other| *other != index) {
            prop_assert!(verify_inclusion(leaf, other, size, &proof, root).is_err());
        }
        for missing in 0..proof.len() {
            let mut other = proof.clone();
            other.remove(missing);
            prop_assert!(verify_inclusion(leaf, index, size, &other, root).is_err());
            other.insert(missing, leaf);
            prop_assert!(verify_inclusion(leaf, index, size, &other, root).is_err());
            let mut other = proof.clone();
            other.push(proof[missing]);
            prop_assert!(verify_inclusion(leaf, index, size, &other, root).is_err());
            let mut other = proof.clone();
            other.swap(0, missing);
            let holds = verify_inclusion(leaf, index, size, &other, root).is_ok();
            prop_assert!(other == proof || !holds);
        }
    }

    #[test]
    fn a_proof_of_consistency_holds_for_nothing_else(
        new in 2u64..200, at in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(new);
        let whole = tree(&leaves);
        let old = 1 + at.index(new as usize - 1) as u64;
        let old_root = tree(&leaves[..old as usize]).frontier().root();
        let root = whole.frontier().root();
        let proof = consistency_proof(old, new, |node| whole.node(node)).unwrap();
        prop_assert_eq!(verify_consistency((old, old_root), (new, root), &proof), Ok(()));
        for bit in 0..256 {
            let other = with_digest_turned(old_root, bit);
            prop_assert!(verify_consistency((old, other), (new, root), &proof).is_err());
            let other = with_digest_turned(root, bit);
            prop_assert!(verify_consistency((old, old_root), (new, other), &proof).is_err());
            for turned in 0..proof.len() {
                let mut other = proof.clone();
                other[turned] = with_digest_turned(other[turned], bit);
                prop_assert!(verify_consistency((old, old_root), (new, root), &other).is_err());
            }
        }
        for missing in 0..proof.len() {
            let mut other = proof.clone();
            other.remove(missing);
            prop_assert!(verify_consistency((old, old_root), (new, root), &other).is_err());
            let mut other = proof.clone();
            other.insert(missing, root);
            prop_assert!(verify_consistency((old, old_root), (new, root), &other).is_err());
        }
    }
}
