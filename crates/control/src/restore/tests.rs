//! Whatever is in a file that is restored: it is a whole backup, or nothing is left of it.

use domain::DataDirectory;
use ledger::NewEntry;
use testing::Corpus;

use super::*;

fn entry(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, content).unwrap();
}

/// A whole backup with a few entries, a blob and a secret.
fn backup(home: &Path) -> Vec<u8> {
    let location = Location::of(&DataDirectory::new(home));
    let mut ledger = Ledger::open(&location, 1, "test").unwrap();
    let event = domain::Event::VariableSet {
        environment: domain::EnvironmentName::default(),
        model: None,
        name: "A".into(),
        value: Some("1".into()),
        secret: None,
        proposal: None,
    };
    let new = NewEntry {
        at_ms: 7,
        actor: "ann",
        subject: "default",
        expected_subject_seq: 0,
        event: &event,
    };
    ledger.append(new).unwrap();
    let (entries, _) = ledger.head().unwrap();
    let copy = home.join("copy.sqlite");
    ledger.backup_to(&copy).unwrap();
    let mut archive = tar::Builder::new(vec![]);
    entry(&mut archive, "ledger.sqlite", &std::fs::read(copy).unwrap());
    entry(&mut archive, &format!("blobs/{}", Digest::of(b"blob")), b"blob");
    entry(&mut archive, &format!("secrets/{}", Digest::of(b"name")), b"secret");
    let contents = Contents { format: FORMAT, entries, blobs: 1, secrets: 1 };
    entry(&mut archive, CONTENTS, &serde_json::to_vec(&contents).unwrap());
    archive.into_inner().unwrap()
}

/// What else a file may hold.
fn hostile() -> Vec<Vec<u8>> {
    let archive = |name: &str, kind: tar::EntryType, change: fn(&mut tar::Header)| {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(4);
        change(&mut header);
        header.set_cksum();
        [header.as_bytes().as_slice(), b"blob", &[0; 508]].concat()
    };
    let link = |header: &mut tar::Header| header.set_link_name_literal("/etc").unwrap();
    let vast = |header: &mut tar::Header| header.set_size(u64::MAX >> 1);
    let nothing = |_: &mut tar::Header| {};
    vec![
        archive("../../escaped", tar::EntryType::Regular, nothing),
        archive("/escaped", tar::EntryType::Regular, nothing),
        archive("blobs/../../escaped", tar::EntryType::Regular, nothing),
        archive("secrets", tar::EntryType::Symlink, link),
        archive("ledger.sqlite", tar::EntryType::Link, link),
        archive("ledger.sqlite", tar::EntryType::Regular, vast),
        archive("long", tar::EntryType::GNULongName, vast),
        archive("sparse", tar::EntryType::GNUSparse, vast),
        archive("pax", tar::EntryType::XHeader, nothing),
        archive(CONTENTS, tar::EntryType::Regular, nothing),
    ]
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn whatever_is_restored_is_whole_or_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (file, data) = (home.path().join("within/backup.tar"), home.path().join("within/data"));
    std::fs::create_dir(home.path().join("within")).unwrap();
    let whole = backup(home.path());
    let before = std::fs::read_dir(home.path()).unwrap().count();
    std::fs::write(&file, &whole).unwrap();
    restore(&file, &DataDirectory::new(&data), false).unwrap();
    assert_eq!(restore(&file, &DataDirectory::new(&data), false).unwrap_err().code, Code::NotEmpty);
    std::fs::remove_dir_all(&data).unwrap();
    let mut inputs = vec![whole.clone(), whole];
    inputs.extend(hostile());
    // Files are copied by the MiB.
    Corpus::of("backups", inputs).allowing(2 << 20).check(|bytes| {
        std::fs::write(&file, bytes).unwrap();
        match restore(&file, &DataDirectory::new(&data), false) {
            Ok(_) => std::fs::remove_dir_all(&data).unwrap(),
            Err(problem) => {
                assert!(is_empty(&data), "{problem}");
                assert!(problem.to_string().len() < 10_000, "{problem}");
            }
        }
        assert!(
            std::fs::read_dir(home.path().join("within")).unwrap().count() <= 2,
            "nothing else is written"
        );
    });
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), before);
}
