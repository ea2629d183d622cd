//! Whoever holds the disk writes the ledger anew, with all hashes recomputed: a checkpoint that
//! somebody else kept, or a witness, tells.

use proptest::prelude::*;

use super::*;

/// What somebody may do to entries that were written.
#[derive(Clone, Debug)]
enum Forgery {
    Change(prop::sample::Index, usize),
    Swap(prop::sample::Index, prop::sample::Index),
    Drop(prop::sample::Index),
    Insert(prop::sample::Index),
    Repeat(prop::sample::Index),
    CutOff(prop::sample::Index),
}

fn any_forgery() -> impl Strategy<Value = Forgery> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0usize..256).prop_map(|(at, bit)| Forgery::Change(at, bit)),
        (index(), index()).prop_map(|(one, other)| Forgery::Swap(one, other)),
        index().prop_map(Forgery::Drop),
        index().prop_map(Forgery::Insert),
        index().prop_map(Forgery::Repeat),
        index().prop_map(Forgery::CutOff),
    ]
}

/// The hashes of entries afterwards. Each entry's hash covers those before, but even whoever finds
/// a way around that is found out.
fn forged(entries: &[Digest], forgery: &Forgery) -> Vec<Digest> {
    let mut entries = entries.to_vec();
    let count = entries.len();
    match forgery {
        Forgery::Change(at, bit) => {
            let at = at.index(count);
            entries[at] = with_digest_turned(entries[at], *bit);
        }
        Forgery::Swap(one, other) => entries.swap(one.index(count), other.index(count)),
        Forgery::Drop(at) => drop(entries.remove(at.index(count))),
        Forgery::Insert(at) => entries.insert(at.index(count), Digest::of(b"never happened")),
        Forgery::Repeat(at) => entries.insert(at.index(count), entries[at.index(count)]),
        Forgery::CutOff(at) => entries.truncate(at.index(count)),
    }
    entries
}

fn tree_of(entries: &[Digest]) -> Tree {
    Tree::of(entries.iter().map(|entry| leaf_hash(&entry.0)))
}

fn proof(of: &Tree, old: u64) -> Vec<Digest> {
    consistency_proof(old, of.frontier().size(), |node| of.node(node)).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_ledger_that_was_written_anew_is_found_out(
        seen in 1u64..120, more in 0u64..40, forgery in any_forgery(),
    ) {
        let entry = |number: u64| Digest::of(&number.to_le_bytes());
        let entries: Vec<Digest> = (0..seen).map(entry).collect();
        let before = tree_of(&entries);
        let kept = checkpoint(&before);
        let head = witness(None, &kept, &[], ORIGIN, LOG.public()).unwrap();
        prop_assert_eq!(head, Seen { size: seen, root: before.frontier().root() });

        let mut honest = entries.clone();
        let mut rewritten = forged(&entries, &forgery);
        // To add at the end is no forgery.
        prop_assume!(!rewritten.starts_with(&entries));
        honest.extend((seen..seen + more).map(entry));
        rewritten.extend((seen..seen + more).map(entry));
        let (honest, rewritten) = (tree_of(&honest), tree_of(&rewritten));

        let grown = proof(&honest, seen);
        let found = witness(Some(&head), &checkpoint(&honest), &grown, ORIGIN, LOG.public());
        prop_assert_eq!(found.unwrap().size, seen + more);

        // Signed by the ledger's own key, with whatever proof it can make, its own or the honest.
        for proof in [proof(&rewritten, seen), grown, vec![]] {
            let found = witness(Some(&head), &checkpoint(&rewritten), &proof, ORIGIN, LOG.public());
            let is_refused = matches!(found, Err(WitnessRefusal::Inconsistent { .. }));
            prop_assert!(is_refused, "{:?}", found);
        }
        // Whoever has the ledger itself needs no proof: its tree had another root at that size.
        let size = rewritten.frontier().size().min(seen) as usize;
        let is_as_seen = size as u64 == seen && {
            let leaves: Vec<Digest> = (0..size as u64)
                .map(|index| rewritten.node(Node { level: 0, index }).unwrap())
                .collect();
            tree(&leaves).frontier().root() == head.root
        };
        prop_assert!(!is_as_seen);
    }
}

#[test]
fn a_witness_takes_no_head_of_another_ledger_or_key() {
    let (old, new) = (tree(&leaves(5)), tree(&leaves(9)));
    let head = Seen { size: 5, root: old.frontier().root() };
    let good = witness(Some(&head), &checkpoint(&new), &proof(&new, 5), ORIGIN, LOG.public());
    assert_eq!(good.unwrap().size, 9);
    let other = SignerKey::new(ORIGIN, SignatureType::Note, &[8; 32]).unwrap();
    let refused = witness(Some(&head), &checkpoint(&new), &proof(&new, 5), ORIGIN, other.public());
    assert!(refused.unwrap_err().to_string().contains("is not signed by"));
    let refused = witness(Some(&head), &checkpoint(&new), &proof(&new, 5), "another", LOG.public());
    assert!(refused.unwrap_err().to_string().contains("and not of `another`"));
    // A ledger that was cut off, or put back from a copy.
    let head = Seen { size: 9, root: new.frontier().root() };
    let refused = witness(Some(&head), &checkpoint(&old), &[], ORIGIN, LOG.public()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the ledger with 5 entries does not continue the one with 9 that was seen before: \
         a ledger of 9 entries cannot have become one of 5"
    );
}
