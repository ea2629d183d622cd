//! Spoilt signatures, statements and keys are refused within limits of time and memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signing::{Bundle, PrivateKey, PublicKey};
use testing::Corpus;

const SIGNATURE: &[u8] = include_bytes!("fixtures/p256.sig");

#[test]
fn spoilt_bundles_are_refused() {
    let others = [include_bytes!("fixtures/p384.sig").to_vec(), b"{}".to_vec()];
    let inputs = std::iter::once(SIGNATURE.to_vec()).chain(others).collect();
    Corpus::of("bundles", inputs).check(|bytes| drop(Bundle::read(bytes)));
}

#[test]
fn spoilt_statements_are_refused() {
    let bundle: serde_json::Value = serde_json::from_slice(SIGNATURE).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let payload = STANDARD.decode(payload).unwrap();
    let key = PublicKey::from_pem(include_str!("fixtures/p256.pub")).ok().unwrap();
    Corpus::of("statements", vec![payload.clone()]).check(|bytes| {
        let mut spoilt = bundle.clone();
        spoilt["dsseEnvelope"]["payload"] = STANDARD.encode(bytes).into();
        if let Ok(read) = Bundle::read(spoilt.to_string().as_bytes()) {
            assert_eq!(read.is_by(&key).is_ok(), bytes == payload);
        }
    });
}

#[test]
fn spoilt_keys_are_refused() {
    let inputs = [
        &include_bytes!("fixtures/p256.pub")[..],
        include_bytes!("fixtures/p256.key"),
        include_bytes!("fixtures/p521.pub"),
        include_bytes!("fixtures/p521.key"),
    ];
    Corpus::of("keys", inputs.map(<[u8]>::to_vec).to_vec()).check(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        drop((PublicKey::from_pem(&text), PrivateKey::from_pem(&text)));
    });
}
