//! Platforms that are slow, wrong or away, and how often they are asked.

use std::time::Instant;

use serde_json::json;

use super::platform::{Platform, Reply, Signer};
use super::*;
use crate::oidc::address::Issuer;
use crate::oidc::source::{ASKED_AGAIN_S_MIN, KNOWN_S_MAX, STALE_S_MAX};

const DOCUMENT: &str = "/.well-known/openid-configuration";

#[test]
fn keys_that_nobody_has_are_asked_for_once_in_a_while() {
    let [old, new, evil] = ["old", "new", "evil"].map(Signer::ed25519);
    let platform = Platform::with(&[&old]);
    let issuers = Issuers::new(None).unwrap();
    let is_good = |signer: &Signer, now_s| {
        let token = signer.token("EdDSA", &platform.claims(json!({})));
        issuers.verify(&token, &platform.issuer, AUDIENCE, now_s).is_ok()
    };
    assert!(is_good(&old, NOW_S));
    platform.publish(vec![old.jwk(), new.jwk()]);
    let later = NOW_S + ASKED_AGAIN_S_MIN;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| assert!(!is_good(&evil, later))));
        }
    });
    assert_eq!(platform.asked("/keys").len(), 2, "400 tokens with a key that nobody has");
    assert!(is_good(&new, later) && is_good(&old, later));
    assert_eq!(platform.asked("/keys").len(), 2);
}

#[test]
fn a_key_that_was_taken_back_is_soon_good_for_nothing() {
    let [old, new] = ["old", "new"].map(Signer::ed25519);
    let platform = Platform::with(&[&old]);
    let issuers = Issuers::new(None).unwrap();
    let token = old.token("EdDSA", &platform.claims(json!({"exp": NOW_S + 100_000})));
    let found = |now_s| issuers.verify(&token, &platform.issuer, AUDIENCE, now_s);
    assert!(found(NOW_S).is_ok());
    platform.publish(vec![new.jwk()]);
    assert!(found(NOW_S + KNOWN_S_MAX - 1).is_ok());
    let away = OidcError::Key { issuer: platform.issuer.clone() };
    assert_eq!(found(NOW_S + KNOWN_S_MAX).unwrap_err(), away);
}

#[test]
fn a_platform_that_is_away_for_a_while_stops_nobody() {
    let key = Signer::ed25519("one");
    let platform = Platform::with(&[&key]);
    let issuers = Issuers::new(None).unwrap();
    let token = key.token("EdDSA", &platform.claims(json!({"exp": NOW_S + 100_000})));
    let found = |now_s| issuers.verify(&token, &platform.issuer, AUDIENCE, now_s);
    assert!(found(NOW_S).is_ok());
    platform.answer(DOCUMENT, Reply::Raw(503, "away".into()));
    assert!(found(NOW_S + KNOWN_S_MAX).is_ok());
    assert!(found(NOW_S + STALE_S_MAX - ASKED_AGAIN_S_MIN).is_ok());
    assert_eq!(found(NOW_S + STALE_S_MAX).unwrap_err().fault(), Fault::Provider);
    let asked = platform.asked(DOCUMENT).len();
    assert!(found(NOW_S + STALE_S_MAX + ASKED_AGAIN_S_MIN - 1).is_err());
    assert_eq!(platform.asked(DOCUMENT).len(), asked, "it is left alone for a moment");
    platform.publish(vec![key.jwk()]);
    assert!(found(NOW_S + STALE_S_MAX + ASKED_AGAIN_S_MIN).is_ok());
}

#[test]
fn what_a_platform_answers_wrongly_is_its_own_fault() {
    let key = Signer::ed25519("one");
    let many = |count: usize| json!({"keys": vec![json!({"kty": "oct"}); count]});
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    type Wrong = Box<dyn Fn(&Platform) -> (&'static str, Reply)>;
    let metadata = |name: &'static str, value: &'static str| -> Wrong {
        Box::new(move |platform| {
            let mut metadata = platform.metadata();
            metadata[name] = value.into();
            (DOCUMENT, Reply::Json(metadata))
        })
    };
    let keys = |reply: Reply| -> Wrong { Box::new(move |_| ("/keys", reply.clone())) };
    let document = |reply: Reply| -> Wrong { Box::new(move |_| (DOCUMENT, reply.clone())) };
    let wrong: Vec<(Wrong, &str)> = vec![
        (keys(Reply::Json(many(10_000))), "publishes 10000 keys"),
        (keys(Reply::Json(many(0))), "no key"),
        (keys(Reply::Json(json!({"keys": "many"}))), "not the JSON"),
        (keys(Reply::Raw(200, deep.clone())), "not the JSON"),
        (keys(Reply::Raw(200, " ".repeat(300 << 10))), "longer than"),
        (keys(Reply::Raw(500, "{}".into())), "answers 500"),
        (keys(Reply::Elsewhere("/other".into())), "sends elsewhere"),
        (document(Reply::Raw(200, "<html>".into())), "not the JSON"),
        (document(Reply::Raw(200, deep)), "not the JSON"),
        (document(Reply::Raw(404, String::new())), "answers 404"),
        (document(Reply::Elsewhere("/other".into())), "sends elsewhere"),
        (metadata("issuer", "https://other.example"), "calls itself"),
        (metadata("jwks_uri", "http://other.example/keys"), "not https"),
        (metadata("jwks_uri", "file:///etc/passwd"), "it is file"),
        (metadata("jwks_uri", "https://me:secret@other.example"), "names a user"),
        (metadata("token_endpoint", "nonsense"), "relative URL"),
    ];
    for (reply, text) in wrong {
        let platform = Platform::with(&[&key]);
        platform.answer("/other", Reply::Json(platform.metadata()));
        let (path, reply) = reply(&platform);
        platform.answer(path, reply);
        let token = key.token("EdDSA", &platform.claims(json!({})));
        let issuers = Issuers::new(None).unwrap();
        let found = || issuers.verify(&token, &platform.issuer, AUDIENCE, NOW_S).unwrap_err();
        let error = found();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.fault(), Fault::Provider, "{error}");
        assert!(!error.help().is_empty() && found() == error);
        assert_eq!(platform.asked(DOCUMENT).len(), 1, "it is left alone for a moment: {error}");
        assert!(platform.asked("/other").is_empty(), "{error}");
    }
}

#[test]
fn a_platform_that_takes_for_ever_is_waited_for_a_few_seconds() {
    let key = Signer::ed25519("one");
    let platform = Platform::with(&[&key]);
    platform.answer("/keys", Reply::Trickle);
    let token = key.token("EdDSA", &platform.claims(json!({})));
    let started = Instant::now();
    let found = Issuers::new(None).unwrap().verify(&token, &platform.issuer, AUDIENCE, NOW_S);
    assert!(matches!(found, Err(OidcError::Unreachable { .. })), "{found:?}");
    assert!(started.elapsed().as_secs() < 8);
    // Nobody listens there any more.
    let issuer = platform.issuer.clone();
    drop(platform);
    let found = Issuers::new(None).unwrap().verify(&token, &issuer, AUDIENCE, NOW_S);
    assert!(matches!(found, Err(OidcError::Unreachable { .. })), "{found:?}");
}

#[test]
fn a_platform_is_believed_whose_authority_is_in_the_file() {
    let key = Signer::ed25519("one");
    let (platform, directory, file) = Platform::encrypted(&[&key]);
    let token = key.token("EdDSA", &platform.claims(json!({})));
    let verify = |issuers: Issuers| issuers.verify(&token, &platform.issuer, AUDIENCE, NOW_S);
    assert!(verify(Issuers::new(Some(file)).unwrap()).is_ok());
    let unknown = verify(Issuers::new(None).unwrap()).unwrap_err();
    assert!(matches!(unknown, OidcError::Untrusted { .. }), "{unknown}");
    assert!(unknown.fault() == Fault::Provider && unknown.help().contains("authority"));
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for file in [empty, directory.path().join("none.pem")] {
        let error = Issuers::new(Some(file)).err().unwrap();
        assert!(matches!(error, OidcError::Roots { .. }), "{error}");
    }
}

#[test]
fn only_issuers_that_may_be_asked() {
    for right in
        ["https://a.example", "https://a.example/realms/x/", "http://localhost:1", "http://[::1]"]
    {
        assert!(Issuer::parse(right).is_ok(), "{right}");
    }
    for wrong in [
        "",
        "a.example",
        "http://a.example",
        "http://localhost.a.example",
        "http://10.0.0.1",
        "https://user@a.example",
        "https://a.example?x=1",
        "https://a.example#x",
        "file:///etc/passwd",
        &format!("https://a.example/{}", "x".repeat(3_000)),
    ] {
        let error = Issuer::parse(wrong).unwrap_err();
        assert_eq!(error.fault(), Fault::Configuration, "{error}");
    }
    // One that is somewhere else has no business on this machine.
    let issuer = Issuer::parse("https://a.example").unwrap();
    assert!(issuer.named("jwks_uri", "https://keys.example/x").is_ok());
    assert!(issuer.named("jwks_uri", "http://127.0.0.1/x").is_err());
}
