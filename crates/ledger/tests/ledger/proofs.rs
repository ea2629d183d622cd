//! What a ledger proves to others: its tree follows its entries, its writer signs checkpoints, and
//! whoever writes it anew, all hashes and the tree recomputed, is found out by a checkpoint that was
//! kept elsewhere.

use domain::Digest;
use ledger::proof::{
    Checkpoint, Frontier, SignatureType, SignerKey, Tree, leaf_hash, verify_consistency,
};
use ledger::{
    Damage, Expected, ExportedEntry, KeptCheckpoint, Ledger, LedgerError, Location, NotProved, Row,
    verify,
};
use rusqlite::{Connection, params};

use crate::home::{Home, append};

fn home() -> Home {
    Home::new(Location::of)
}

/// A ledger with so many entries.
fn filled(home: &Home, entries: u64) -> Ledger {
    let mut ledger = home.open();
    for seen in 0..entries - 1 {
        append(&mut ledger, "default/a", seen).unwrap();
    }
    ledger
}

fn key(ledger: &Ledger) -> SignerKey {
    SignerKey::new(&ledger.origin().unwrap().unwrap(), SignatureType::Note, &[5; 32]).unwrap()
}

fn sign(ledger: &mut Ledger) -> Result<KeptCheckpoint, LedgerError> {
    let key = key(ledger);
    ledger.checkpoint(&key, 9, Damage::Refused)
}

fn tree_of(ledger: &Ledger) -> Tree {
    Tree::of(ledger.read(0, 10_000).unwrap().iter().map(|entry| leaf_hash(&entry.hash.0)))
}

fn root_of(ledger: &Ledger) -> Digest {
    tree_of(ledger).frontier().root()
}

fn with(home: &Home, sql: &str) -> usize {
    Connection::open(home.data.ledger()).unwrap().execute(sql, []).unwrap()
}

/// As somebody does who has the whole machine, and cares: entries are changed, then all hashes, the
/// tree, the head marker and the snapshot recomputed.
fn write_anew(home: &Home, mut change: impl FnMut(&mut Row)) {
    let ledger = Ledger::open_read_only(&home.location).unwrap();
    let entries = ledger.export(0, 10_000, usize::MAX).unwrap();
    drop(ledger);
    let connection = Connection::open(home.data.ledger()).unwrap();
    connection.execute("DELETE FROM proof", []).unwrap();
    let (mut previous_hash, mut frontier, mut position) = (Digest::ZERO, Frontier::default(), 0u64);
    for entry in entries {
        let mut row = Row {
            seq: entry.seq,
            at_ms: entry.at_ms,
            actor: entry.actor,
            subject: entry.subject,
            subject_seq: entry.subject_seq,
            writer_epoch: entry.writer_epoch,
            kind: entry.kind,
            body_version: entry.body_version,
            body: entry.body.get().into(),
            previous_hash,
        };
        change(&mut row);
        let hash = row.hash();
        connection
            .execute(
                "UPDATE entries SET actor = ?1, at = ?2, previous_hash = ?3, hash = ?4 WHERE seq = ?5",
                params![row.actor, row.at_ms, row.previous_hash.0, hash.0, row.seq],
            )
            .unwrap();
        frontier.append(leaf_hash(&hash.0), |_, hash| {
            let node = params![position, hash.0];
            connection.execute("INSERT INTO proof VALUES (?1, ?2)", node).unwrap();
            position += 1;
        });
        previous_hash = hash;
        std::fs::write(home.location.head(), format!("{:020} {hash}\n", row.seq)).unwrap();
    }
    let _ = std::fs::remove_file(home.location.snapshot());
}

/// What `verify` says of the ledger with a checkpoint of earlier.
fn against(home: &Home, checkpoint: &KeptCheckpoint) -> Result<u64, String> {
    let checkpoint = Some(checkpoint.checkpoint().unwrap());
    verify(&home.location, &Expected { head: None, checkpoint })
        .map(|verified| verified.entries)
        .map_err(|broken| broken.to_string())
}

#[test]
fn the_tree_follows_the_entries_whoever_wrote_them() {
    let home = home();
    let mut ledger = filled(&home, 21);
    let tree = |ledger: &mut Ledger| sign(ledger).unwrap().checkpoint().unwrap().root;
    assert_eq!(tree(&mut ledger), root_of(&ledger));
    drop(ledger);
    // An earlier program, which knows of no tree, wrote the last ones, or all of them.
    let earlier =
        ["DELETE FROM proof WHERE position >= 11", "DROP TABLE proof", "DROP TABLE checkpoints"];
    for (seen, sql) in (0..).zip(earlier) {
        with(&home, sql);
        verify(&home.location, &Expected::default()).unwrap();
        let mut ledger = home.open();
        assert!(!ledger.tree_made_anew(), "{sql}");
        append(&mut ledger, "default/b", seen).unwrap();
        assert_eq!(tree(&mut ledger), root_of(&ledger), "{sql}");
        verify(&home.location, &Expected::default()).unwrap();
    }
}

#[test]
fn a_tree_that_is_not_of_its_entries_is_named_and_made_anew() {
    for sql in [
        "UPDATE proof SET hash = zeroblob(32) WHERE position = 4",
        "DELETE FROM proof WHERE position = 3",
        "UPDATE proof SET hash = zeroblob(32) WHERE position = 9",
        "INSERT INTO proof VALUES (11, zeroblob(32))",
    ] {
        let home = home();
        drop(filled(&home, 6));
        assert_eq!(with(&home, sql), 1);
        let broken = verify(&home.location, &Expected::default()).unwrap_err();
        assert!(broken.reason.contains("tree"), "{sql}: {broken}");
    }
    let home = home();
    drop(filled(&home, 6));
    with(&home, "UPDATE proof SET hash = zeroblob(32) WHERE position = 8");
    let ledger = home.open();
    assert!(ledger.tree_made_anew());
    verify(&home.location, &Expected::default()).unwrap();
}

#[test]
fn a_checkpoint_is_signed_once_and_only_by_the_writer() {
    let home = home();
    let mut ledger = filled(&home, 3);
    let first = sign(&mut ledger).unwrap();
    assert_eq!((first.number, first.size, first.at_ms), (1, 3, 9));
    assert_eq!(sign(&mut ledger).unwrap(), first, "nothing came since");
    append(&mut ledger, "default/a", 2).unwrap();
    let second = sign(&mut ledger).unwrap();
    assert_eq!((second.number, second.size), (2, 4));
    assert_eq!(ledger.checkpoints(0, 10).unwrap(), [first.clone(), second.clone()]);
    assert_eq!(ledger.checkpoints(1, 10).unwrap(), [second]);
    let own = key(&ledger);
    let note = first.note().unwrap();
    Checkpoint::verified(&note, own.public().name(), own.public()).unwrap();
    // Another key signs the same again.
    let other = SignerKey::new(own.public().name(), SignatureType::Note, &[6; 32]).unwrap();
    assert_eq!(ledger.checkpoint(&other, 10, Damage::Refused).unwrap().number, 3);
    let mut newer = home.open();
    assert!(matches!(sign(&mut ledger), Err(LedgerError::Fenced { newer: 2 })));
    assert_eq!(sign(&mut newer).unwrap().size, 5);
    let mut reader = Ledger::open_read_only(&home.location).unwrap();
    assert!(matches!(sign(&mut reader), Err(LedgerError::ReadOnly)));
    assert_eq!(reader.checkpoints(3, 10).unwrap().len(), 1);
}

#[test]
fn a_ledger_written_anew_with_all_hashes_is_whole_except_for_who_kept_a_checkpoint() {
    let home = home();
    let mut ledger = filled(&home, 12);
    let kept = sign(&mut ledger).unwrap();
    for seen in 11..20 {
        append(&mut ledger, "default/a", seen).unwrap();
    }
    let later = sign(&mut ledger).unwrap();
    drop(ledger);
    assert_eq!((against(&home, &kept), against(&home, &later)), (Ok(21), Ok(21)));
    write_anew(&home, |row| {
        if row.seq == 7 {
            row.actor = "mallory".into();
        }
    });
    verify(&home.location, &Expected::default()).unwrap();
    let told = against(&home, &kept).unwrap_err();
    assert!(told.contains("checkpoint of 12 entries") && told.contains("written anew"), "{told}");
    let ledger = Ledger::open_read_only(&home.location).unwrap();
    let proof = ledger.consistency(12, 21).unwrap();
    let (old, new) = (kept.checkpoint().unwrap(), root_of(&ledger));
    verify_consistency((12, old.root), (21, new), &proof).unwrap_err();
    // The platform itself does not sign it, as long as it has what it signed last.
    let mut ledger = home.open();
    let refused = sign(&mut ledger).unwrap_err();
    assert!(matches!(refused, LedgerError::Rewritten { size: 21 }), "{refused}");
    let own = key(&ledger);
    assert_eq!(ledger.checkpoint(&own, 9, Damage::Accepted).unwrap().size, 22);
    assert_eq!(sign(&mut ledger).unwrap().size, 22, "that is the last one from now on");
}

#[test]
fn a_ledger_that_was_cut_off_or_is_another_one_is_told_from_an_old_checkpoint() {
    let home = home();
    let mut ledger = filled(&home, 12);
    let kept = sign(&mut ledger).unwrap();
    drop(ledger);
    with(&home, "DELETE FROM entries WHERE seq > 9");
    write_anew(&home, |_| {});
    assert_eq!(verify(&home.location, &Expected::default()).unwrap().entries, 9);
    let told = against(&home, &kept).unwrap_err();
    assert!(told.contains("ends at 9, and had 12"), "{told}");
    let mut ledger = home.open();
    assert!(matches!(sign(&mut ledger), Err(LedgerError::Rewritten { size: 12 })));
    let other = home.another();
    drop(filled(&other, 12));
    write_anew(&other, |row| row.at_ms += 1);
    let told = against(&other, &kept).unwrap_err();
    assert!(told.contains("is of the ledger `decalog/"), "{told}");
}

#[test]
fn a_receipt_carries_its_entry_and_proves_no_other() {
    let home = home();
    let mut ledger = filled(&home, 12);
    let kept = sign(&mut ledger).unwrap();
    let key = key(&ledger);
    for seq in 1..=12 {
        let receipt = ledger.receipt(seq, &kept).unwrap();
        let read = receipt.to_string().parse().unwrap();
        assert_eq!(receipt, read);
        let (entry, checkpoint) = ExportedEntry::proved(&read, key.public()).unwrap();
        assert_eq!((entry.seq, checkpoint.size), (seq, 12));
    }
    for seq in [0, 13, u64::MAX] {
        assert!(matches!(ledger.receipt(seq, &kept), Err(LedgerError::Proof(_))), "{seq}");
    }
    let receipt = ledger.receipt(5, &kept).unwrap();
    let text = String::from_utf8(receipt.extra.clone()).unwrap();
    for (from, to) in [("ann", "eve"), ("\"seq\":5", "\"seq\": 5"), ("1970", "1971")] {
        let mut changed = receipt.clone();
        changed.extra = text.replace(from, to).into();
        assert_ne!(changed, receipt);
        let told = ExportedEntry::proved(&changed, key.public()).unwrap_err();
        assert!(matches!(told, NotProved::Changed), "{told}");
    }
    let mut other = receipt.clone();
    other.extra = ledger.receipt(6, &kept).unwrap().extra;
    let told = ExportedEntry::proved(&other, key.public()).unwrap_err();
    assert_eq!(told.to_string(), "the receipt is for entry 5, and carries entry 6");
}

#[test]
fn an_export_is_read_in_parts_of_bounded_size() {
    let home = home();
    let ledger = filled(&home, 12);
    let whole = ledger.export(0, 100, usize::MAX).unwrap();
    assert!(whole.len() == 12 && whole.iter().all(ExportedEntry::is_whole));
    let seqs = |after, rows_max, bytes_max| -> Vec<u64> {
        let part = ledger.export(after, rows_max, bytes_max).unwrap();
        part.iter().map(|entry| entry.seq).collect()
    };
    assert_eq!(seqs(3, 2, usize::MAX), [4, 5]);
    assert_eq!(seqs(3, 100, 1), [4], "at least one");
    assert!(seqs(12, 100, 1).is_empty() && seqs(u64::MAX, 100, 1).is_empty());
}
