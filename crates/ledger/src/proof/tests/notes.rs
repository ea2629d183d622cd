//! Signed notes, checkpoints, countersignatures and receipts: their texts as others write and check
//! them, and that none counts once anything of it was changed.

use proptest::prelude::*;

use super::*;

/// The example of golang.org/x/mod/sumdb/note.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SIGNER: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
";

/// The example of C2SP signed-note.
const C2SP_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const C2SP_NOTE: &str = "This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
";

/// A checkpoint of a public log of 2026 with its witnesses, and the keys of the log and of one.
const PUBLIC_LOG_KEY: &str = "arche2025h1.staging.ct.transparency.dev+ba2f06c0\
                              +AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const PUBLIC_WITNESS_KEY: &str =
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
const PUBLIC_CHECKPOINT: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";

/// A receipt for entry 17 of 41, as the Python package aics-tlog 0.2.1 makes its parts of the same
/// keys and entries: tree, proof, checkpoint, and countersignature.
const RECEIPT_OF_OTHERS: &str = "c2sp.org/tlog-proof@v1
index 17
U/IgL3UCIqyqokA9B6mYVjbbKhlVWZDNXSdyZjp9vSs=
w4gle3oxIQH4GvmMvcBqjgum+3HxUsqvdry7x1F/6kU=
AtKeNv6MHuhuuL3f99GtO3o+4E7j2nQQ4xPvezZk8cI=
h9tSB6MeTYGB6NfdwONpkB+OYZntOPO4gQUIGkYitGc=
R8A540RMKM9uB2vS1fuLQBZX4JIt9bKpkmiaquX3SKY=
ctKuoMgn3ScaSiUm2VScLKicWFrwn3suea8KMckvAT0=

ml.example.org/decalog/4f19a0c2
41
j/rsWZYf+i8VThx6s0UW1k5bwxEzHv2yuon8mJExIEs=

— ml.example.org/decalog/4f19a0c2 i6zTWKsfhSsc7RQ/WW0LAxgpFcBa/2+PtRdUtOnBesSPfu0WkD9jjyEZqc4t915fWAm7AZDCRNQgLIkjWQFzGHJDyAs=
— witness.example.com/w1 S9x+qgAAAABlU/EA/kWNANSb6boIKBF9jeoncYUvwtAHKx4qlzc4m2XVpdiTIAbk7bq6EuOi2o7A8BqU3SaqFzdpRjlfR3zYr0gnBA==
";

fn key(text: &str) -> VerifierKey {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn note(text: &str) -> Note {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn notes_of_others_are_read_and_written_as_they_are() {
    for (text, by) in [(GO_NOTE, GO_KEY), (C2SP_NOTE, C2SP_KEY)] {
        let (note, key) = (note(text), key(by));
        assert_eq!(note.to_string(), text);
        assert_eq!(key.to_string(), by);
        assert_eq!(note.verify(&[key.clone()]), Ok(vec![&key]));
    }
    // Ed25519 has no choice: the same key makes the same note.
    let signer: SignerKey = GO_SIGNER.parse().unwrap();
    assert_eq!(signer.reveal(), GO_SIGNER);
    assert_eq!(signer.public().to_string(), GO_KEY);
    let mut again = Note::new(note(GO_NOTE).text().to_string()).unwrap();
    again.sign(&signer).unwrap();
    assert_eq!(again.to_string(), GO_NOTE);
}

#[test]
fn a_checkpoint_of_a_public_log_is_checked_with_its_witness() {
    let note = note(PUBLIC_CHECKPOINT);
    assert_eq!(note.to_string(), PUBLIC_CHECKPOINT);
    let (log, remora) = (key(PUBLIC_LOG_KEY), key(PUBLIC_WITNESS_KEY));
    let head = Checkpoint::verified(&note, log.name(), &log).unwrap();
    assert_eq!((head.size, head.extension.len()), (1_432_088_532, 0));
    assert_eq!(remora.signs(), SignatureType::Cosignature);
    // 2026-05-23 21:49:20 UTC.
    assert_eq!(verify_cosignature(&note, &remora), Ok(1_779_573_024));
    assert_eq!(note.verify(&[remora.clone(), log.clone()]), Ok(vec![&remora, &log]));
}

/// Every single bit of a note turned: nothing of it may count any more for any of the keys.
fn check_every_bit(text: &str, counts: impl Fn(&Note) -> bool) {
    assert!(counts(&note(text)));
    for bit in 0..8 * text.len() {
        let turned = with_bit_turned(text.as_bytes(), bit);
        let Ok(turned) = String::from_utf8(turned) else { continue };
        let is_good = turned.parse::<Note>().is_ok_and(|note| counts(&note));
        assert!(!is_good, "bit {bit} of {text:?}: {turned:?}");
    }
}

#[test]
fn no_bit_of_a_checkpoint_can_be_changed() {
    let mut signed = checkpoint(&tree(&leaves(41)));
    check_every_bit(&signed.to_string(), |note| {
        Checkpoint::verified(note, ORIGIN, LOG.public()).is_ok()
    });
    cosign(&mut signed, &WITNESS, 1_700_000_000).unwrap();
    check_every_bit(&signed.to_string(), |note| {
        Checkpoint::verified(note, ORIGIN, LOG.public()).is_ok()
            && verify_cosignature(note, WITNESS.public()).is_ok()
    });
}

#[test]
fn no_bit_of_a_receipt_can_be_changed() {
    let entries: Vec<Digest> = (0..41u64).map(|number| Digest::of(&number.to_le_bytes())).collect();
    let whole = Tree::of(entries.iter().map(|entry| leaf_hash(&entry.0)));
    let proof = inclusion_proof(17, 41, |node| whole.node(node)).unwrap();
    let receipt = Receipt { extra: vec![], index: 17, proof, checkpoint: checkpoint(&whole) };
    let text = receipt.to_string();
    assert_eq!(text.parse::<Receipt>().unwrap(), receipt);
    let holds =
        |receipt: &Receipt, entry: &Digest| receipt.verify(entry, ORIGIN, LOG.public()).is_ok();
    assert!(holds(&receipt, &entries[17]) && !holds(&receipt, &entries[18]));
    for bit in 0..8 * text.len() {
        let Ok(turned) = String::from_utf8(with_bit_turned(text.as_bytes(), bit)) else { continue };
        let is_good = turned.parse::<Receipt>().is_ok_and(|turned| holds(&turned, &entries[17]));
        assert!(!is_good, "bit {bit}: {turned}");
    }
    // What somebody adds of their own proves nothing, and harms nothing.
    let added = text.replace("\nindex", "\nextra c29tZXRoaW5n\nindex");
    assert!(holds(&added.parse().unwrap(), &entries[17]));
}

#[test]
fn another_program_makes_the_same_receipt_of_the_same_entries() {
    let entries: Vec<Digest> = (0..41u64).map(|number| Digest::of(&number.to_le_bytes())).collect();
    let whole = Tree::of(entries.iter().map(|entry| leaf_hash(&entry.0)));
    let mut checkpoint = checkpoint(&whole);
    cosign(&mut checkpoint, &WITNESS, 1_700_000_000).unwrap();
    let proof = inclusion_proof(17, 41, |node| whole.node(node)).unwrap();
    let receipt = Receipt { extra: vec![], index: 17, proof, checkpoint };
    assert_eq!(receipt.to_string(), RECEIPT_OF_OTHERS);
    assert_eq!(
        LOG.public().to_string(),
        "ml.example.org/decalog/4f19a0c2+8bacd358+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
    );
    assert_eq!(
        WITNESS.public().to_string(),
        "witness.example.com/w1+4bdc7eaa+BP0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY"
    );
}

#[test]
fn a_receipt_reads_as_its_standard_says() {
    let entry = Digest::of(b"entry");
    let whole = Tree::of([leaf_hash(&entry.0), leaf(1)]);
    let proof = inclusion_proof(0, 2, |node| whole.node(node)).unwrap();
    let receipt = Receipt { extra: vec![], index: 0, proof, checkpoint: checkpoint(&whole) };
    let text = receipt.to_string();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[..2], ["c2sp.org/tlog-proof@v1", "index 0"]);
    assert_eq!((lines[2].len(), lines[3], lines[4], lines[5]), (44, "", ORIGIN, "2"));
    for (from, to, expected) in [
        ("@v1", "@v2", "line 1 is not c2sp.org/tlog-proof@v1"),
        ("index 0", "index 00", "line 2 is not `index` and a number"),
        ("index 0", "index", "line 2 is not `index` and a number"),
        (lines[2], "x", "line 3 is not a hash of the proof"),
        ("\n\n", "\n", "this is not a receipt: line 1 is not followed by a checkpoint"),
    ] {
        let error = text.replace(from, to).parse::<Receipt>().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let long = text.replacen(lines[2], &vec![lines[2]; 66].join("\n"), 1);
    assert!(long.parse::<Receipt>().unwrap_err().to_string().contains("line 68"));
}

#[test]
fn signatures_of_others_are_not_looked_at_and_wrong_ones_of_known_keys_spoil_a_note() {
    let signed = checkpoint(&tree(&leaves(3)));
    let key = LOG.public().clone();
    let unsigned = signed.verify(&[WITNESS.public().clone()]).unwrap_err();
    assert_eq!(unsigned.to_string(), "the note is not signed by `witness.example.com/w1`");
    assert!(signed.verify(&[]).unwrap_err().to_string().contains("no key was named"));
    let mut more = signed.clone();
    more.add_signature(NoteSignature {
        name: "somebody".into(),
        key_id: key.id(),
        bytes: vec![1; 64],
    });
    // The same name with another id is another key, too.
    let key_id = [0; 4];
    more.add_signature(NoteSignature { name: ORIGIN.into(), key_id, bytes: vec![1; 64] });
    assert_eq!(more.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
    for length in [0, 1, 63, 64, 65] {
        let wrong =
            format!("{}— {ORIGIN} {}", signed, signature_line(&key, &vec![1; length.max(1)]));
        let error = note(&wrong).verify(std::slice::from_ref(&key)).unwrap_err();
        assert_eq!(error, NoteError::Wrong(ORIGIN.into()), "{length}");
    }
}

fn signature_line(key: &VerifierKey, bytes: &[u8]) -> String {
    use base64::Engine as _;
    let bytes = [&key.id()[..], bytes].concat();
    format!("{}\n", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[test]
fn each_key_signs_what_it_is_for() {
    let mut signed = checkpoint(&tree(&leaves(3)));
    let wrong = NoteError::WrongKey(ORIGIN.into());
    assert_eq!(cosign(&mut signed, &LOG, 1), Err(wrong));
    assert!(signed.sign(&WITNESS).is_err());
    assert_eq!(signed.signatures().len(), 1);
    // A witness that signs again replaces what it signed.
    for at_s in [5, 6] {
        cosign(&mut signed, &WITNESS, at_s).unwrap();
        assert_eq!(verify_cosignature(&signed, WITNESS.public()), Ok(at_s));
    }
    assert_eq!(signed.signatures().len(), 2);
    // The time is signed.
    let mut later = signed.clone();
    let mut signature = signed.signatures()[1].clone();
    signature.bytes[7] += 1;
    later.add_signature(signature);
    assert!(verify_cosignature(&later, WITNESS.public()).is_err());
}

#[test]
fn a_text_that_is_no_note_is_refused() {
    for text in [
        "",
        "\n",
        "a\n",
        "a\n\n",
        "a\n\n\n",
        "a\n\n— b",
        "a\n\n— b c\n",
        "a\n\n— b AAAA\n",
        "a\n\n— b AAAAAA==\n",
        "a\n\n- b AAAAAAA=\n",
        "a\n\n—  AAAAAAA=\n",
        "a\n\n— b+c AAAAAAA=\n",
        "a\n\n— b AAAAAAB=\n",
        "a\n\n— b AAAAAAA\n",
        "a\n\n— b AAAAAAA= \n",
        "a\n\n— b AAAAAAA=\n\n",
        "a\r\n\n— b AAAAAAA=\n",
        "\u{0}\n\n— b AAAAAAA=\n",
    ] {
        assert!(text.parse::<Note>().is_err(), "{text:?}");
    }
    assert!("a\n\nb\n\n— b AAAAAAA=\n".parse::<Note>().is_ok());
    let line = "— b AAAAAAA=\n";
    let many = |count: usize| format!("a\n\n{}", line.repeat(count)).parse::<Note>();
    assert_eq!(many(SIGNATURES_MAX).unwrap().signatures().len(), SIGNATURES_MAX);
    assert_eq!(many(SIGNATURES_MAX + 1), Err(NoteError::TooLong));
    let long = format!("{}\n\n{line}", "a".repeat(NOTE_BYTES_MAX));
    assert_eq!(long.parse::<Note>(), Err(NoteError::TooLong));
    for text in ["", "a", "a\tb\n"] {
        assert_eq!(Note::new(text.into()), Err(NoteError::Text), "{text:?}");
    }
}

#[test]
fn a_text_that_is_no_checkpoint_is_refused() {
    let root = "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=";
    let good = format!("a b+c\n0\n{root}\nmore\n");
    let read: Checkpoint = good.parse().unwrap();
    assert_eq!((read.origin.as_str(), read.extension.len()), ("a b+c", 1));
    assert_eq!(read.to_string(), good);
    for text in [
        String::new(),
        format!("a\n0\n{root}"),
        format!("\n0\n{root}\n"),
        format!("a\n00\n{root}\n"),
        format!("a\n+1\n{root}\n"),
        format!("a\n-1\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        format!("a\n1\n{}\n", &root[..43]),
        format!("a\n1\n{}\n", root.replace("Ro=", "Rp=")),
        format!("a\n1\n{root}\n\n"),
        format!("a\n1\n{root}\n\nmore\n"),
        format!("{}\n1\n{root}\n", "a".repeat(ORIGIN_BYTES_MAX + 1)),
        "a\n1\n".to_string(),
    ] {
        assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
    }
    // What could not be read again is not signed.
    for origin in ["", "a\nb", &"a".repeat(ORIGIN_BYTES_MAX + 1)] {
        assert!(Checkpoint::new(origin, 1, leaf(0)).sign(&LOG).is_err(), "{origin:?}");
    }
    assert!(Checkpoint::new("a\u{1}b", 1, leaf(0)).sign(&LOG).is_err());
}

#[test]
fn a_text_that_is_no_key_is_refused_and_not_repeated() {
    let error = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    for at in 0..GO_KEY.len() {
        assert!(GO_KEY[..at].parse::<VerifierKey>().is_err());
        let mut typo = GO_KEY.to_string().into_bytes();
        typo[at] = if typo[at] == b'B' { b'C' } else { b'B' };
        assert!(String::from_utf8(typo).unwrap().parse::<VerifierKey>().is_err(), "{at}");
    }
    assert_eq!(error("a"), KeyError::Form);
    assert_eq!(error(&GO_KEY.replace("+ARpc", "+Apc")), KeyError::Form);
    assert!(matches!(error(&GO_KEY.replace("c74f20a3", "c74f20a4")), KeyError::Id(_)));
    assert!(matches!(error(&GO_KEY.replace("+ARpc", "+AhpC")), KeyError::Type(_)));
    assert!(matches!(error(&GO_KEY.replace("Peter", "Peter ")), KeyError::Name(_)));
    // A point of small order signs everything for everybody.
    let weak = format!("weak+00000000+AQ{}", "A".repeat(42));
    assert_eq!(error(&weak), KeyError::Key("weak".into()));
    for text in [GO_SIGNER, &GO_SIGNER.replace("c74f20a3", "c74f20a4"), &GO_SIGNER[..60]] {
        let signer = text.parse::<SignerKey>();
        let shown = signer.map(|key| format!("{key:?}")).unwrap_or_else(|error| error.to_string());
        assert!(!shown.contains("YEKFALVFGyN"), "{shown}");
        assert!(!error(text).to_string().contains("YEKFALVFGyN"), "{}", error(text));
    }
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", &"a".repeat(NAME_BYTES_MAX + 1)] {
        assert!(SignerKey::new(name, SignatureType::Note, &[1; 32]).is_err(), "{name:?}");
    }
}

/// Bytes of a text replaced, left out and put in.
fn edited(text: &str, edits: &[(prop::sample::Index, u8, u8)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, kind, byte) in edits {
        let at = at.index(bytes.len().max(1));
        match kind % 3 {
            _ if bytes.len() < 2 => bytes.push(*byte),
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            _ => drop(bytes.remove(at)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// One note has one text, so that nobody can hide anything in a second.
    #[test]
    fn whatever_can_be_read_is_written_the_same(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 0..4,
        ),
        other in "\\PC{0,80}",
    ) {
        let checkpoint = note(PUBLIC_CHECKPOINT).text().to_string();
        for text in [GO_NOTE, PUBLIC_CHECKPOINT, RECEIPT_OF_OTHERS, GO_KEY, &checkpoint, &other] {
            let text = edited(text, &edits);
            if let Ok(read) = text.parse::<Note>() {
                prop_assert_eq!(&read.to_string(), &text);
            }
            if let Ok(read) = text.parse::<Checkpoint>() {
                prop_assert_eq!(&read.to_string(), &text);
            }
            if let Ok(read) = text.parse::<Receipt>() {
                prop_assert_eq!(&read.to_string(), &text);
            }
            if let Ok(read) = text.parse::<VerifierKey>() {
                prop_assert_eq!(&read.to_string(), &text);
            }
        }
    }
}
