//! Tokens: their text and its checksum, their limits, and until when they are valid.

use std::collections::HashMap;

use super::*;
use crate::scope::Scope;

/// A source of bytes that look random and are the same each time: SHA-256 of a number.
fn random(seed: u64) -> [u8; RANDOM_BYTES] {
    let mut bytes = [0; RANDOM_BYTES];
    bytes[..32].copy_from_slice(&Digest::of(&seed.to_le_bytes()).0);
    bytes[32..].copy_from_slice(&Digest::of(&(!seed).to_le_bytes()).0);
    bytes
}

fn secret(kind: TokenKind, seed: u64) -> Secret {
    Secret::new(kind, &random(seed)).unwrap()
}

const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[test]
fn a_token_is_read_as_it_was_shown() {
    for kind in TokenKind::ALL {
        for seed in 0..200 {
            let made = secret(kind, seed);
            assert_eq!(made.reveal().len(), TOKEN_CHARS);
            assert!(made.reveal().starts_with(kind.prefix()) && made.kind() == kind);
            let read: Secret = made.reveal().parse().unwrap();
            assert_eq!(read, made);
            assert_eq!(read.digest(), Digest::of(made.reveal().as_bytes()));
        }
    }
}

#[test]
fn the_checksum_is_the_crc_32_that_others_know() {
    // Computed by Python: zlib.crc32(b"dcs_" + b"0" * 30), in base 62.
    let zeros = Secret::new(TokenKind::Service, &[0; RANDOM_CHARS]).unwrap();
    assert_eq!(zeros.reveal(), "dcs_0000000000000000000000000000003UCuc4");
}

#[test]
fn a_token_is_never_printed_by_accident() {
    let made = secret(TokenKind::Personal, 1);
    assert_eq!(format!("{made:?}"), "Secret(dcp_…)");
    let text = made.reveal();
    for part in [text, &text[4..], &text[..39], &text[1..20], &text[..13]] {
        for error in [
            part.parse::<TokenId>().unwrap_err().to_string(),
            part.parse::<Secret>().err().map(|error| error.to_string()).unwrap_or_default(),
        ] {
            assert!(!error.contains(&part[4..9]), "{error}");
        }
    }
}

#[test]
fn a_token_that_is_not_whole_is_refused_with_the_reason() {
    let good = secret(TokenKind::Service, 7).reveal().to_string();
    let error = |text: &str| text.parse::<Secret>().unwrap_err();
    for text in ["", "d", "dcs", "dcx_abc", "ghp_0123456789", "Bearer dcs_x", " dcs_", "DCS_"] {
        assert_eq!(error(text), SecretError::Prefix, "{text}");
    }
    for end in 4..TOKEN_CHARS {
        assert_eq!(error(&good[..end]), SecretError::Length { found: end });
    }
    assert_eq!(error(&format!("{good}0")), SecretError::Length { found: TOKEN_CHARS + 1 });
    assert_eq!(error(&"dcs_0".repeat(1 << 16)), SecretError::Character { place: 9 });
    assert_eq!(error(&format!("{good}\n")), SecretError::Character { place: TOKEN_CHARS + 1 });
    for (place, strange) in [(5, "-"), (12, "é"), (34, " "), (40, "_"), (20, "０")] {
        let mut chars: Vec<String> = good.chars().map(String::from).collect();
        chars[place - 1] = strange.into();
        assert_eq!(error(&chars.concat()), SecretError::Character { place });
    }
    assert!(error(&good[..30]).to_string().contains("30 characters, and one has 40"));
}

#[test]
fn every_typo_of_one_character_is_noticed() {
    for kind in TokenKind::ALL {
        let good = secret(kind, 3).reveal().to_string();
        for at in 4..TOKEN_CHARS {
            for c in ALPHABET.chars().filter(|c| good[at..].chars().next() != Some(*c)) {
                let typo = format!("{}{c}{}", &good[..at], &good[at + 1..]);
                assert_eq!(typo.parse::<Secret>(), Err(SecretError::Checksum), "{typo}");
            }
        }
        // The prefix of another kind is a typo, too.
        for other in TokenKind::ALL.into_iter().filter(|other| *other != kind) {
            let typo = format!("{}{}", other.prefix(), &good[4..]);
            assert_eq!(typo.parse::<Secret>(), Err(SecretError::Checksum));
        }
    }
}

#[test]
fn two_neighbours_in_the_wrong_order_are_noticed() {
    for seed in 0..50 {
        let good = secret(TokenKind::Personal, seed).reveal().to_string();
        for at in 4..TOKEN_CHARS - 1 {
            let mut bytes = good.clone().into_bytes();
            bytes.swap(at, at + 1);
            let swapped = String::from_utf8(bytes).unwrap();
            assert_eq!(swapped.parse::<Secret>().is_ok(), swapped == good, "{swapped}");
        }
    }
}

#[test]
fn no_character_is_likelier_than_another() {
    // Every byte is used as often as every other: then every character must come equally often.
    let mut counts: HashMap<char, u32> = HashMap::new();
    for byte in 0..=255u8 {
        if let Ok(made) = Secret::new(TokenKind::Job, &[byte; RANDOM_CHARS]) {
            *counts.entry(made.reveal().chars().nth(4).unwrap()).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), ALPHABET.len());
    assert!(ALPHABET.chars().all(|c| counts[&c] == 4), "{counts:?}");
}

#[test]
fn bytes_that_are_not_random_make_no_token() {
    assert_eq!(Secret::new(TokenKind::Job, &[255; RANDOM_BYTES]), Err(TooFewRandomBytes(64)));
    assert!(Secret::new(TokenKind::Job, &[0; RANDOM_CHARS - 1]).is_err());
    // As many as may be left out of 64.
    let mut bytes = [255; RANDOM_BYTES];
    bytes[RANDOM_BYTES - RANDOM_CHARS..].fill(0);
    assert!(Secret::new(TokenKind::Job, &bytes).is_ok());
}

#[test]
fn rates_are_texts() {
    for (text, interval_ns, in_a_second) in [
        ("1/s", 1_000_000_000, 1),
        ("100/s", 10_000_000, 100),
        ("3/s", 333_333_334, 3),
        ("90/min", 666_666_667, 2),
        ("10/h", 360_000_000_000, 1),
        ("1/d", 86_400_000_000_000, 1),
        ("1000000/s", 1_000, 1_000_000),
    ] {
        let rate: Rate = text.parse().unwrap();
        assert_eq!(rate.to_string(), text);
        assert_eq!((rate.interval_ns(), rate.requests_in_a_second()), (interval_ns, in_a_second));
        assert_eq!(serde_json::to_value(rate).unwrap(), text);
    }
    for bad in ["", "100", "0/s", "-1/s", "+1/s", "1.5/s", "1/ms", "1000001/s", "1/s/s", "/s"] {
        let error = bad.parse::<Rate>().unwrap_err().to_string();
        assert!(error.contains("as in 100/s"), "{error}");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let rate = |text: &str| Some(text.parse().unwrap());
    let none = Limits::default();
    let check = |limits: Limits| limits.validate().map_err(|error| error.to_string());
    assert!(none.is_none() && check(none.clone()).is_ok());
    assert_eq!(Limits { rate: rate("100/s"), ..none.clone() }.burst(), Some(100));
    assert_eq!(Limits { rate: rate("10/h"), ..none.clone() }.burst(), Some(1));
    for (limits, word) in [
        (Limits { burst: Some(1), ..none.clone() }, "needs a rate"),
        (Limits { rate: rate("1/h"), burst: Some(0), ..none.clone() }, "here 24"),
        (Limits { rate: rate("1/h"), burst: Some(25), ..none.clone() }, "here 24"),
        (Limits { concurrent_requests_max: Some(0), ..none.clone() }, "concurrent_requests_max"),
        (Limits { rows_day_max: Some(ROWS_DAY_MAX + 1), ..none.clone() }, "rows_day_max"),
    ] {
        let error = check(limits.clone()).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    // Whatever passes has a burst and an interval that can be multiplied.
    for text in ["1/s", "1000000/s", "1/d", "1000000/d"] {
        let rate: Rate = text.parse().unwrap();
        let most = (u64::from(u32::MAX)).min(rate.requests_in_a_second() as u64 * BURST_S_MAX);
        let limits = Limits { rate: Some(rate), burst: Some(most as u32), ..none.clone() };
        let is_good = limits.validate().is_ok();
        assert!(!is_good || rate.interval_ns().checked_mul(most).is_some(), "{text} {most}");
    }
}

const DAY_MS: u64 = 86_400_000;

fn person() -> Principal {
    "person:1f0c000000000001".parse().unwrap()
}

fn record() -> TokenRecord {
    TokenRecord {
        id: TokenId(0x3fa9_c1d2),
        owner: person(),
        digest: Digest::of(b"one"),
        scopes: Scopes::new([Scope::Read]).unwrap(),
        limits: Limits::default(),
        issued_ms: 100 * DAY_MS,
        expires_ms: Some(190 * DAY_MS),
        origin: TokenOrigin::Made,
        passed_on_from: None,
        shared: false,
        known_to: vec![],
        earlier: None,
        revoked_ms: None,
    }
}

#[test]
fn a_token_is_valid_until_it_expires_or_is_revoked() {
    let record = record();
    let one = Digest::of(b"one");
    assert_eq!(record.status(&one, 190 * DAY_MS - 1), TokenStatus::Valid);
    let at_ms = 190 * DAY_MS;
    assert_eq!(record.status(&one, at_ms), TokenStatus::Expired { at_ms });
    assert_eq!(record.status(&Digest::of(b"two"), 0), TokenStatus::Other);
    let revoked = TokenRecord { revoked_ms: Some(5), ..record.clone() };
    // Whatever the clock says: revoked is revoked.
    assert_eq!(revoked.status(&one, 0), TokenStatus::Revoked { at_ms: 5 });
    let for_ever = TokenRecord { expires_ms: None, ..record };
    assert_eq!(for_ever.status(&one, u64::MAX), TokenStatus::Valid);
}

#[test]
fn after_a_rotation_both_tokens_are_valid_for_a_time() {
    let (one, two, three) = (Digest::of(b"one"), Digest::of(b"two"), Digest::of(b"three"));
    let now_ms = 110 * DAY_MS;
    let rotated = record().rotated(two, DAY_MS, now_ms).unwrap();
    assert_eq!(rotated.id, record().id);
    assert_eq!(rotated.expires_ms, Some(200 * DAY_MS));
    assert_eq!(rotated.status(&two, now_ms), TokenStatus::Valid);
    assert_eq!(rotated.status(&one, now_ms + DAY_MS - 1), TokenStatus::Valid);
    let at_ms = now_ms + DAY_MS;
    assert_eq!(rotated.status(&one, at_ms), TokenStatus::Replaced { at_ms });
    assert_eq!(rotated.status(&two, at_ms), TokenStatus::Valid);
    // At once, and the one before the one before is over with a second rotation.
    let again = rotated.rotated(three, 0, now_ms + 1).unwrap();
    assert_eq!(again.status(&one, now_ms + 1), TokenStatus::Other);
    assert_eq!(again.status(&two, now_ms + 1), TokenStatus::Replaced { at_ms: now_ms + 1 });
    // The one before is valid no longer than it was anyway.
    let late = record().rotated(two, 30 * DAY_MS, 189 * DAY_MS).unwrap();
    let at_ms = 190 * DAY_MS;
    assert_eq!(late.status(&one, at_ms), TokenStatus::Replaced { at_ms });
    // Revoking is for both.
    let revoked = TokenRecord { revoked_ms: Some(now_ms), ..rotated };
    for digest in [one, two] {
        assert_eq!(revoked.status(&digest, now_ms), TokenStatus::Revoked { at_ms: now_ms });
    }
}

#[test]
fn a_token_that_is_over_is_not_rotated() {
    let two = Digest::of(b"two");
    let over = TokenRecordError::NotValid(record().id);
    assert_eq!(record().rotated(two, 0, 190 * DAY_MS), Err(over.clone()));
    let revoked = TokenRecord { revoked_ms: Some(1), ..record() };
    assert_eq!(revoked.rotated(two, 0, 110 * DAY_MS), Err(over));
    assert_eq!(
        record().rotated(two, OVERLAP_MS_MAX + 1, 110 * DAY_MS),
        Err(TokenRecordError::OverlapTooLong)
    );
    let job = TokenRecord { owner: "job:0000000000000001".parse().unwrap(), ..record() };
    assert_eq!(job.rotated(two, 0, 110 * DAY_MS), Err(TokenRecordError::JobRotation));
}

#[test]
fn a_token_fits_its_owner() {
    assert_eq!(record().validate(TokenKind::Personal), Ok(()));
    let error = record().validate(TokenKind::Service).unwrap_err();
    assert_eq!(error.to_string(), "a service token cannot belong to person:1f0c000000000001");
    let at_once = TokenRecord { expires_ms: Some(100 * DAY_MS), ..record() };
    assert_eq!(at_once.validate(TokenKind::Personal), Err(TokenRecordError::ExpiresAtOnce));
    let platform = TokenRecord { owner: Principal::Platform, ..record() };
    assert!(TokenKind::ALL.iter().all(|kind| platform.validate(*kind).is_err()));
    let job = |expires_ms| {
        let owner = "job:0000000000000001".parse().unwrap();
        TokenRecord { owner, expires_ms, ..record() }.validate(TokenKind::Job)
    };
    assert_eq!(job(Some(100 * DAY_MS + JOB_MS_MAX)), Ok(()));
    assert_eq!(job(Some(100 * DAY_MS + JOB_MS_MAX + 1)), Err(TokenRecordError::JobTooLong));
    assert_eq!(job(None), Err(TokenRecordError::JobTooLong));
}

#[test]
fn a_record_is_small_json_without_the_token() {
    let json = serde_json::to_value(record()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "id": "3fa9c1d2",
            "owner": "person:1f0c000000000001",
            "digest": Digest::of(b"one"),
            "scopes": ["read"],
            "issued_ms": 100 * DAY_MS,
            "expires_ms": 190 * DAY_MS,
        })
    );
    assert_eq!(serde_json::from_value::<TokenRecord>(json).unwrap(), record());
    assert_eq!("3fa9c1d2".parse::<TokenId>().unwrap(), record().id);
    for bad in ["", "3fa9c1d", "3FA9C1D2", "3fa9c1d2a", "+fa9c1d2", &"x".repeat(5_000)] {
        assert!(bad.parse::<TokenId>().unwrap_err().to_string().len() < 400, "{bad}");
    }
}
