//! Tokens that jobs bring along, and those that nobody should be let in by.

use serde_json::{Value, json};

use super::platform::{Platform, Signer, encode};
use super::*;
use crate::oidc::token::{LEEWAY_S, TOKEN_BYTES_MAX};

fn verify(platform: &Platform, token: &str) -> Result<JobClaims, OidcError> {
    Issuers::new(None).unwrap().verify(token, &platform.issuer, AUDIENCE, NOW_S)
}

#[test]
fn a_token_of_each_algorithm_says_who_the_job_is() {
    let [rsa, p256] = [Signer::rsa("rsa"), Signer::p256("p256")];
    let [p384, ed] = [Signer::p384("p384"), Signer::ed25519("ed")];
    let platform = Platform::with(&[&rsa, &p256, &p384, &ed]);
    let issuers = Issuers::new(None).unwrap();
    for (signer, algorithms) in [
        (&rsa, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] as &[&str]),
        (&p256, &["ES256"]),
        (&p384, &["ES384"]),
        (&ed, &["EdDSA"]),
    ] {
        for algorithm in algorithms {
            let token = signer.token(
                algorithm,
                &platform.claims(json!({
                    "jti": "one", "repository_id": 7, "ref_protected": true, "tags": ["a"],
                    "exp": NOW_S as f64 + 0.5,
                })),
            );
            assert_eq!(Issuers::issuer_of(&token).unwrap(), platform.issuer);
            let job = issuers.verify(&token, &platform.issuer, AUDIENCE, NOW_S).unwrap();
            assert_eq!(job.id.as_deref(), Some("one"), "{algorithm}");
            assert_eq!((job.expires_s, &job.issuer), (NOW_S, &platform.issuer));
            let said = |name: &str| job.claims.get(name).map(String::as_str);
            assert_eq!(said("sub"), Some("somebody"));
            assert_eq!((said("repository_id"), said("ref_protected")), (Some("7"), Some("true")));
            assert_eq!(said("tags"), None);
        }
    }
    assert_eq!(platform.asked("/keys").len(), 1, "keys are kept");
}

#[test]
fn a_token_that_says_something_else_lets_nobody_in() {
    let key = Signer::ed25519("one");
    let platform = Platform::with(&[&key]);
    let of = |claims: Value| verify(&platform, &key.token("EdDSA", &platform.claims(claims)));
    let audience = OidcError::Audience { audience: AUDIENCE.into() };
    let party = OidcError::Party { audience: AUDIENCE.into() };
    let issuer = OidcError::TokenIssuer { issuer: platform.issuer.clone() };
    let malformed = |why| OidcError::Malformed(why);
    for (claims, error) in [
        (json!({"aud": "another"}), audience.clone()),
        (json!({"aud": null}), audience.clone()),
        (json!({"aud": []}), audience.clone()),
        (json!({"aud": [["decalog"]]}), audience.clone()),
        (json!({"aud": "decalog "}), audience.clone()),
        (json!({"aud": ["another", "decalog"]}), party.clone()),
        (json!({"aud": ["another", "decalog"], "azp": "another"}), party),
        (json!({"exp": NOW_S - LEEWAY_S}), OidcError::Expired { ago_s: LEEWAY_S }),
        (json!({"exp": null}), malformed("it does not say when it expires")),
        (json!({"exp": "9999999999"}), malformed("it has a time that is none")),
        (json!({"exp": -1}), malformed("it has a time that is none")),
        (json!({"nbf": NOW_S + LEEWAY_S + 1}), OidcError::NotYet { in_s: LEEWAY_S + 1 }),
        (json!({"iat": NOW_S + 1_000}), OidcError::NotYet { in_s: 1_000 }),
        (json!({"iss": format!("{}/", platform.issuer)}), issuer.clone()),
        (json!({"iss": [platform.issuer]}), issuer.clone()),
        (json!({"iss": null}), issuer),
    ] {
        let found = of(claims.clone()).unwrap_err();
        assert_eq!((found.clone(), found.fault()), (error, Fault::Caller), "{claims}");
    }
    for claims in [
        json!({"aud": ["decalog"]}),
        json!({"aud": ["another", "decalog"], "azp": "decalog"}),
        json!({"exp": NOW_S - LEEWAY_S + 1}),
        json!({"nbf": NOW_S + LEEWAY_S}),
        json!({"nbf": null, "iat": null}),
    ] {
        assert!(of(claims.clone()).is_ok(), "{claims}");
    }
}

#[test]
fn a_token_that_somebody_else_signed_lets_nobody_in() {
    let [rsa, ed, p256] = [Signer::rsa("rsa"), Signer::ed25519("ed"), Signer::p256("p256")];
    let [evil, evil_rsa] = [Signer::ed25519("ed"), Signer::rsa("evil")];
    let platform = Platform::with(&[&rsa, &ed, &p256]);
    let claims = platform.claims(json!({}));
    let unsigned =
        |header: Value| format!("{}.{}.", encode(header.to_string()), encode(claims.to_string()));
    // What a library would take as the secret that mistakes a public key for one.
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_string();
    let hs256 = |secret: &[u8]| {
        let message =
            format!("{}.{}", encode(r#"{"alg":"HS256","kid":"rsa"}"#), encode(claims.to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    let key = OidcError::Key { issuer: platform.issuer.clone() };
    let algorithm = |name: &str| OidcError::Algorithm(name.into());
    let header = |alg: &str, other: Value| {
        let mut header = json!({"alg": alg});
        header.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        header
    };
    let good = ed.token("EdDSA", &claims);
    let elsewhere = json!({"kid": "evil", "jwk": evil_rsa.jwk(),
        "jku": format!("{}/evil", platform.issuer), "x5u": format!("{}/evil", platform.issuer)});
    let own_key = json!({"kid": "rsa", "jwk": evil_rsa.jwk()});
    for (what, token, error) in [
        ("none", unsigned(json!({"alg": "none"})), algorithm("none")),
        ("NoNe", unsigned(json!({"alg": "NoNe", "kid": "ed"})), algorithm("NoNe")),
        ("empty signature", unsigned(json!({"alg": "EdDSA", "kid": "ed"})), OidcError::Signature),
        ("public key as secret", hs256(modulus.as_bytes()), algorithm("HS256")),
        ("empty secret", hs256(b""), algorithm("HS256")),
        ("another key of that id", evil.token("EdDSA", &claims), OidcError::Signature),
        ("a key of no kind", evil.sign(&header("EdDSA", json!({})), &claims), key.clone()),
        ("a key that is not published", evil_rsa.token("RS256", &claims), key.clone()),
        ("keys from elsewhere", evil_rsa.sign(&header("RS256", elsewhere), &claims), key.clone()),
        ("its own key", evil_rsa.sign(&header("RS256", own_key), &claims), OidcError::Signature),
        (
            "another algorithm",
            ed.sign(&header("ES256", json!({"kid": "ed"})), &claims),
            key.clone(),
        ),
        (
            "an unknown one",
            ed.sign(&header("ES512", json!({"kid": "ed"})), &claims),
            algorithm("ES512"),
        ),
        (
            "RSA as PSS",
            rsa.sign(&header("RS256", json!({"kid": "rsa"})), &claims).replacen(
                &encode(r#"{"alg":"RS256","kid":"rsa"}"#),
                &encode(r#"{"alg":"PS256","kid":"rsa"}"#),
                1,
            ),
            OidcError::Signature,
        ),
        (
            "extensions",
            ed.sign(&header("EdDSA", json!({"kid": "ed", "crit": ["exp"]})), &claims),
            OidcError::Malformed("it demands extensions that are not known here"),
        ),
        (
            "an access token",
            ed.sign(&header("EdDSA", json!({"kid": "ed", "typ": "at+jwt"})), &claims),
            OidcError::Malformed("it is of a kind that does not say who somebody is"),
        ),
        (
            "claims of another",
            {
                let mut parts: Vec<&str> = good.split('.').collect();
                let other = encode(platform.claims(json!({"sub": "admin"})).to_string());
                parts[1] = &other;
                parts.join(".")
            },
            OidcError::Signature,
        ),
    ] {
        assert_eq!(verify(&platform, &token).unwrap_err(), error, "{what}");
    }
    assert!(verify(&platform, &good).is_ok());
    assert!(platform.asked("/evil").is_empty(), "nobody is asked whom a token names");
}

#[test]
fn a_key_is_good_for_nothing_but_what_it_is_published_for() {
    let signer = Signer::rsa("one");
    let platform = Platform::with(&[]);
    let token = |algorithm| signer.token(algorithm, &platform.claims(json!({})));
    let published = |name: &str, value: Value| {
        let (mut jwk, other) = (signer.jwk(), Signer::ed25519("other").jwk());
        jwk[name] = value;
        platform.publish(vec![json!("not a key"), json!({"kty": "oct", "k": "AAAA"}), other, jwk]);
    };
    for (name, value, algorithm, is_good) in [
        ("use", json!("enc"), "RS256", false),
        ("key_ops", json!(["encrypt"]), "RS256", false),
        ("key_ops", json!(["verify"]), "RS256", true),
        ("alg", json!("RS512"), "RS256", false),
        ("alg", json!("RS512"), "RS512", true),
        ("alg", json!("HS256"), "RS256", false),
        ("kty", json!("EC"), "RS256", false),
        ("n", json!("AQAB"), "RS256", false),
        ("x5c", json!(["MIIB"]), "RS256", true),
    ] {
        published(name, value.clone());
        assert_eq!(verify(&platform, &token(algorithm)).is_ok(), is_good, "{name} {value}");
    }
}

#[test]
fn a_token_without_the_id_of_a_key_is_taken_where_only_one_key_can_be_meant() {
    let [old, new] = [Signer::ed25519("old"), Signer::ed25519("new")];
    let platform = Platform::with(&[&Signer::p256("p256"), &old]);
    let issuers = Issuers::new(None).unwrap();
    let token =
        |signer: &Signer| signer.sign(&json!({"alg": "EdDSA"}), &platform.claims(json!({})));
    let at = |token: &str, now_s| issuers.verify(token, &platform.issuer, AUDIENCE, now_s).is_ok();
    assert!(at(&token(&old), NOW_S));
    // Its one key is another from now on.
    platform.publish(vec![new.jwk()]);
    assert!(at(&token(&new), NOW_S + 10) && !at(&token(&old), NOW_S + 20));
    platform.publish(vec![old.jwk(), new.jwk()]);
    assert!(!at(&token(&old), NOW_S + 30));
}

#[test]
fn what_is_no_token_is_told_so_and_asks_nobody() {
    let key = Signer::ed25519("one");
    let platform = Platform::with(&[&key]);
    let good = key.token("EdDSA", &platform.claims(json!({})));
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for token in [
        String::new(),
        "..".into(),
        "a.b".into(),
        good[..good.rfind('.').unwrap()].into(),
        format!("{good}.{good}"),
        format!(" {good}"),
        good.replacen('.', "=.", 1),
        good.replacen('.', "+/.", 1),
        "é".repeat(100),
        "\0.\0.\0".into(),
        format!("{}.{}.AAAA", encode(&deep), encode(&deep)),
        format!("{}.e30.AAAA", encode(r#"{"alg":["EdDSA"]}"#)),
        format!("{}.e30.AAAA", encode(r#"{"alg":"EdDSA","alg":"none"}"#)),
        format!("{}.e30.AAAA", encode([0xff; 8])),
        format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)),
    ] {
        let shown: String = token.chars().take(60).collect();
        let found = verify(&platform, &token).unwrap_err();
        assert!(matches!(found, OidcError::Malformed(_)), "{shown}: {found:?}");
    }
    assert!(platform.asked("/keys").is_empty());
    // Whose it could be is read without a look at the rest; what its issuer signed is read whole.
    let deep = format!(r#"{{"iss":"{}","a":{deep}}}"#, platform.issuer);
    let deep = key.sign_text("EdDSA", r#"{"alg":"EdDSA","kid":"one"}"#, &deep);
    assert_eq!(Issuers::issuer_of(&deep).unwrap(), platform.issuer);
    let unread = OidcError::Malformed("its claims cannot be read");
    assert_eq!(verify(&platform, &deep).unwrap_err(), unread);
}

#[test]
fn no_token_with_a_single_character_changed_lets_anybody_in() {
    let key = Signer::ed25519("one");
    let platform = Platform::with(&[&key]);
    let issuers = Issuers::new(None).unwrap();
    let good = key.token("EdDSA", &platform.claims(json!({})));
    for at in 0..good.len() {
        for other in ["A", "_", "."] {
            let mut changed = good.clone();
            changed.replace_range(at..=at, other);
            let found = issuers.verify(&changed, &platform.issuer, AUDIENCE, NOW_S);
            assert_eq!(found.is_ok(), changed == good, "at {at}: {other}");
        }
    }
    assert_eq!(platform.asked("/keys").len(), 1);
}
