//! Whatever is printed, however it is split: no form of a secret is left, and all else is as it was.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::*;

fn masks(secrets: &[(&str, &str)]) -> Arc<Masks> {
    let secrets = secrets.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Arc::new(Masks::of(secrets.collect()).unwrap())
}

fn masked(masks: &Arc<Masks>, text: &[u8], splits: impl Fn(usize) -> usize) -> Vec<u8> {
    let (mut masking, mut out, mut rest) = (Masking::new(masks.clone()), vec![], text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(splits(rest.len()).clamp(1, rest.len()));
        masking.take(piece, &mut out);
        rest = after;
    }
    masking.finish(&mut out);
    assert!(!masking.is_holding());
    out
}

#[track_caller]
fn check(secrets: &[(&str, &str)], printed: &str, expected: &str) {
    for piece in [1, 2, 3, 7, usize::MAX] {
        let out = masked(&masks(secrets), printed.as_bytes(), |_| piece);
        assert_eq!(String::from_utf8_lossy(&out), expected, "in pieces of {piece}");
    }
}

#[test]
fn each_form_of_a_secret_is_replaced_by_its_name() {
    let one = [("TOKEN", "correct horse/battery+staple")];
    check(&one, "it is correct horse/battery+staple.\n", "it is [secret TOKEN].\n");
    check(&one, "correct horse/battery+stapl", "correct horse/battery+stapl");
    // base64 of the secret alone, of it after one and two bytes, and of it in the middle.
    check(&one, "Y29ycmVjdCBob3JzZS9iYXR0ZXJ5K3N0YXBsZQ==\n", "[secret TOKEN]\n");
    check(&one, "<Y29ycmVjdCBob3JzZS9iYXR0ZXJ5K3N0YXBsZQ>", "<[secret TOKEN]>");
    check(&one, "eGNvcnJlY3QgaG9yc2UvYmF0dGVyeStzdGFwbGU=", "eG[secret TOKEN]");
    check(&one, "eHhjb3JyZWN0IGhvcnNlL2JhdHRlcnkrc3RhcGxl", "eHh[secret TOKEN]");
    check(&one, "eHhjb3JyZWN0IGhvcnNlL2JhdHRlcnkrc3RhcGxleHh4", "eHh[secret TOKEN]eHh4");
    check(&one, "correct%20horse%2Fbattery%2Bstaple", "[secret TOKEN]");
    check(&one, "correct%20horse%2fbattery%2bstaple", "[secret TOKEN]");
    check(&one, "correct+horse%2Fbattery%2Bstaple", "[secret TOKEN]");
    check(&one, "correct%20horse/battery%2Bstaple", "[secret TOKEN]");
    check(&[("A", "~~~??>>>")], "fn5-Pz8-Pj4= fn5+Pz8+Pj4=", "[secret A] [secret A]");
}

#[test]
fn several_secrets_lines_of_secrets_and_what_is_too_short() {
    let two = [("A", "abcdefgh"), ("B", "efghijkl"), ("SHORT", "1234567")];
    check(&two, "abcdefgh efghijkl 1234567", "[secret A] [secret B] 1234567");
    check(&two, "abcdefghabcdefghx", "[secret A]x");
    check(&two, "abcdefghefghijklx", "[secret A][secret B]x");
    check(&two, "abcdefghijklx", "[secret A][secret B]x");
    check(
        &[("A", "bcdefghi"), ("B", "abcdefghij")],
        "abcdefghij bcdefghij",
        "[secret B] [secret A]j",
    );
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nshort\n-----END KEY-----\n";
    check(
        &[("KEY", key)],
        "'-----BEGIN KEY-----\\nMIIEvQIBADANBgkqhkiG\\nshort\\n-----END KEY-----\\n'",
        "'[secret KEY]\\n[secret KEY]\\nshort\\n[secret KEY]\\n'",
    );
    check(&[("KEY", key)], "a\nMIIEvQIBADANBgkqhkiG\nb", "a\n[secret KEY]\nb");
    assert!(Masks::of([("A".to_string(), "short".to_string())].into()).is_none());
}

#[test]
fn only_what_may_become_a_secret_is_held_back() {
    let (mut masking, mut out) = (Masking::new(masks(&[("TOKEN", "correct horse")])), vec![]);
    masking.take(b"Password: ", &mut out);
    assert_eq!((out.as_slice(), masking.is_holding()), (b"Password: ".as_slice(), false));
    masking.take(b"co", &mut out);
    assert_eq!((out.as_slice(), masking.is_holding()), (b"Password: ".as_slice(), true));
    masking.finish(&mut out);
    assert_eq!(out, b"Password: co");
    masking.take(b"rrect horse", &mut out);
    masking.finish(&mut out);
    assert_eq!(out, b"Password: correct horse", "both sides of a long pause are no secret");
}

#[test]
fn long_secrets_are_found_piece_by_piece() {
    let long: String = (0..20_000u32).map(|n| char::from(b'!' + (n * n % 89) as u8)).collect();
    let masks = masks(&[("LONG", &long)]);
    let longest = masks.automaton.max_pattern_len();
    assert!(longest < 300, "{longest}");
    let printed = format!("<{long}> <{}>", STANDARD.encode(&long));
    let out = masked(&masks, printed.as_bytes(), |_| 100);
    assert_eq!(String::from_utf8_lossy(&out), "<[secret LONG]> <[secret LONG]>");
}

fn random_text(rng: &mut fastrand::Rng, alphabet: &str, length: usize) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    (0..length).map(|_| letters[rng.usize(..letters.len())]).collect()
}

fn percent(text: &str, upper: bool) -> String {
    let digits = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            (byte as char).into()
        }
        byte => digits(byte),
    };
    text.bytes().map(encode).collect()
}

/// What a program may print of a secret, with what must not be left of it.
fn printed(rng: &mut fastrand::Rng, secret: &str) -> (String, String) {
    let (before, after) = (rng.usize(..4), rng.usize(..4));
    let among = format!("{}{secret}{}", "~".repeat(before), "~".repeat(after));
    match rng.usize(..8) {
        0 | 1 => (secret.into(), secret.into()),
        2 => (STANDARD.encode(secret), STANDARD_NO_PAD.encode(secret)),
        3 => (URL_SAFE.encode(secret), URL_SAFE_NO_PAD.encode(secret)),
        kind @ (4 | 5) => {
            let encoded =
                if kind == 4 { STANDARD.encode(&among) } else { URL_SAFE_NO_PAD.encode(&among) };
            // All characters that depend on nothing but the secret.
            let first = (before * 8).div_ceil(6);
            let end = (before + secret.len()) * 8 / 6;
            let inner = encoded[first..end].to_string();
            (encoded, inner)
        }
        kind => (percent(secret, kind == 6), percent(secret, kind == 6)),
    }
}

/// By looking for each pattern at each place, as slowly as can be.
fn expected(masks: &Masks, patterns: &[(usize, Vec<u8>)], text: &[u8]) -> Vec<bool> {
    assert_eq!(patterns.len(), masks.owners.len());
    let mut covered = vec![false; text.len()];
    for (_, pattern) in patterns {
        for at in 0..(text.len() + 1).saturating_sub(pattern.len()) {
            if text[at..].starts_with(pattern) {
                covered[at..at + pattern.len()].fill(true);
            }
        }
    }
    covered
}

#[test]
fn however_it_is_split_no_form_is_left_and_all_else_is_as_it_was() {
    for seed in 0..400 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let alphabet = ["ab", "abcXYZ019", "aä /+%=&?~-_.é€", "\"'\\ab\t<>"][rng.usize(..4)];
        let count = rng.usize(1..4);
        let secrets: Vec<(String, String)> = (0..count)
            .map(|n| {
                let length = rng.usize(8..60);
                (format!("S{n}"), random_text(rng, alphabet, length))
            })
            .collect();
        let masks = Arc::new(Masks::of(secrets.iter().cloned().collect()).unwrap());
        let mut known = BTreeSet::new();
        let patterns: Vec<(usize, Vec<u8>)> = secrets
            .iter()
            .enumerate()
            .flat_map(|(owner, (_, value))| {
                forms::patterns(value).into_iter().map(move |it| (owner, it))
            })
            .filter(|(_, pattern)| known.insert(pattern.clone()))
            .collect();
        let (mut text, mut hidden) = (String::new(), vec![]);
        for _ in 0..rng.usize(1..12) {
            let length = rng.usize(..20);
            text += &random_text(rng, &format!("{alphabet}\n"), length);
            let secret = &secrets[rng.usize(..count)].1;
            if rng.bool() {
                // A part of it, which is no secret by itself.
                let part: String = secret.chars().take(rng.usize(..secret.len())).collect();
                text += &part;
            } else {
                let (form, gone) = printed(rng, secret);
                text += &form;
                hidden.push(gone);
            }
        }
        let lengths = rng.usize(1..40);
        let splits = std::cell::RefCell::new(rng.clone());
        let out = masked(&masks, text.as_bytes(), |_| splits.borrow_mut().usize(1..=lengths));
        let whole = masked(&masks, text.as_bytes(), |all| all);
        assert_eq!(out, whole, "seed {seed}: {text:?}");
        let shown = String::from_utf8_lossy(&out).into_owned();
        for gone in &hidden {
            assert!(!shown.contains(gone), "seed {seed}: {gone:?} in {shown:?} of {text:?}");
        }
        // All else, in its order: what is left without the names of secrets.
        let covered = expected(&masks, &patterns, text.as_bytes());
        let left: Vec<u8> = text
            .bytes()
            .zip(&covered)
            .filter(|(_, covered)| !**covered)
            .map(|(byte, _)| byte)
            .collect();
        let mut rest = shown.clone();
        for (name, _) in &secrets {
            rest = rest.replace(&format!("[secret {name}]"), "");
        }
        assert_eq!(rest.as_bytes(), left, "seed {seed}: {text:?}");
    }
}

#[test]
fn a_file_is_cleared_and_a_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("failure");
    let masks = masks(&[("TOKEN", "correct horse")]);
    masks.clear(&path).unwrap();
    std::fs::write(&path, "no connection with correct horse\n").unwrap();
    masks.clear(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "no connection with [secret TOKEN]\n");
    let target = directory.path().join("target");
    std::fs::write(&target, "correct horse").unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(masks.clear(&path).is_err());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "correct horse");
}

#[test]
#[ignore = "a measurement: what masking costs, with --release --nocapture"]
fn what_masking_costs() {
    let rng = &mut fastrand::Rng::with_seed(7);
    let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+=";
    let key: String = (0..28).map(|_| random_text(rng, letters, 64) + "\n").collect();
    let cases = [
        ("one token of 40 bytes", vec![random_text(rng, letters, 40)]),
        ("ten tokens", (0..10).map(|_| random_text(rng, letters, 40)).collect()),
        ("a key of 28 lines", vec![key]),
        ("one of 32 KiB", vec![random_text(rng, letters, 32 << 10)]),
    ];
    let log: String =
        (0..200_000).map(|n| format!("2026-11-26 INFO request {n} took {} ms\n", n % 97)).collect();
    for (what, values) in cases {
        let secrets = values.into_iter().enumerate().map(|(n, value)| (format!("S{n}"), value));
        let begin = std::time::Instant::now();
        let masks = Arc::new(Masks::of(secrets.collect()).unwrap());
        let built = begin.elapsed();
        let begin = std::time::Instant::now();
        let out = masked(&masks, log.as_bytes(), |_| 16 << 10);
        assert_eq!(out.len(), log.len());
        let mb_per_s = log.len() as f64 / 1e6 / begin.elapsed().as_secs_f64();
        let bytes = masks.automaton.memory_usage() + masks.depths.capacity() * 12;
        println!("{what}: made in {built:?}, {} KB, {mb_per_s:.0} MB/s", bytes / 1_000);
    }
}
