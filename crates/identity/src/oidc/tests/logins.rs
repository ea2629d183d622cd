//! Logins: what goes to a provider, what comes back, and who that is.

use std::collections::HashMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::platform::{Platform, Reply, Signer, encode};
use super::*;
use crate::oidc::{Begun, Login, Provider, ProviderConfig};

const REDIRECT: &str = "https://decalog.example/login/back";
const CODE: &str = "the-code-that-came-back";
const SECRET: &str = "s3cret&more";

/// Somebody at a provider whose tokens say this.
struct World {
    platform: Platform,
    key: Signer,
    provider: Provider,
}

impl World {
    fn new(configure: impl FnOnce(&mut ProviderConfig)) -> World {
        let key = Signer::rsa("one");
        let platform = Platform::with(&[&key]);
        let mut config = ProviderConfig::new(&platform.issuer, AUDIENCE);
        config.client_secret = Some(SECRET.into());
        configure(&mut config);
        World { provider: Provider::new(config).unwrap(), platform, key }
    }

    fn begin(&self) -> Begun {
        self.provider.begin(REDIRECT, NOW_S).unwrap()
    }

    /// The token that the provider gives for the code says this beside the usual.
    fn gives(&self, begun: &Begun, claims: Value) {
        let mut all = json!({"nonce": begun.pending.nonce});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let token = self.key.token("RS256", &self.platform.claims(all));
        let tokens = json!({"id_token": token, "access_token": "may-ask", "token_type": "Bearer"});
        self.platform.answer("/token", Reply::Json(tokens));
    }

    fn login(&self, claims: Value) -> Result<Login, OidcError> {
        let begun = self.begin();
        self.gives(&begun, claims);
        self.finish(&begun)
    }

    fn finish(&self, begun: &Begun) -> Result<Login, OidcError> {
        let found = self.provider.finish(&begun.pending, CODE, None, NOW_S);
        let shown = format!(
            "{found:?} {begun:?} {}",
            found.as_ref().err().map_or(String::new(), |error| error.to_string())
        );
        for secret in [CODE, SECRET, "may-ask", &begun.pending.verifier] {
            assert!(!shown.contains(secret), "{shown}");
        }
        found
    }
}

fn ada() -> Value {
    json!({"email": "ada@example.org", "email_verified": true, "groups": ["ml"]})
}

#[test]
fn somebody_logs_in() {
    let world = World::new(|_| {});
    let begun = world.begin();
    let url = Url::parse(&begun.url).unwrap();
    assert!(begun.url.starts_with(&format!("{}/authorize?", world.platform.issuer)));
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let pending = &begun.pending;
    let challenge = encode(Sha256::digest(&pending.verifier));
    for (name, value) in [
        ("tenant", "one"),
        ("response_type", "code"),
        ("client_id", AUDIENCE),
        ("redirect_uri", REDIRECT),
        ("scope", "openid email profile"),
        ("state", &pending.state),
        ("nonce", &pending.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    assert!(!begun.url.contains(&pending.verifier));
    for secret in [&pending.state, &pending.nonce, &pending.verifier] {
        assert_eq!(secret.len(), 43, "256 bits");
    }
    assert_ne!(world.begin().pending, *pending);

    world.gives(&begun, ada());
    let login = world.finish(&begun).unwrap();
    assert_eq!(
        login,
        Login {
            issuer: world.platform.issuer.clone(),
            subject: "somebody".into(),
            name: "ada@example.org".into(),
            groups: vec!["ml".into()],
        }
    );
    assert!(world.platform.asked("/userinfo").is_empty(), "the token said all");
    let asked = &world.platform.asked("/token")[0];
    let form: HashMap<_, _> =
        url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!((&*form["code"], &*form["redirect_uri"]), (CODE, REDIRECT));
    assert_eq!(form["code_verifier"], pending.verifier);
    assert!(!asked.body.contains("secret"));
    // `decalog:s3cret%26more`
    assert_eq!(asked.authorization, "Basic ZGVjYWxvZzpzM2NyZXQlMjZtb3Jl");
}

#[test]
fn a_client_proves_who_it_is_in_the_way_that_the_provider_takes() {
    let form = |methods: Value, secret: Option<&str>| {
        let world = World::new(|config| config.client_secret = secret.map(String::from));
        let mut metadata = world.platform.metadata();
        metadata["token_endpoint_auth_methods_supported"] = methods;
        world.platform.answer("/.well-known/openid-configuration", Reply::Json(metadata));
        world.login(ada()).map(|_| world.platform.asked("/token").remove(0))
    };
    let post = form(json!(["private_key_jwt", "client_secret_post"]), Some(SECRET)).unwrap();
    assert!(post.body.contains("client_id=decalog&client_secret=s3cret%26more"), "{}", post.body);
    assert_eq!(post.authorization, "");
    let both = form(json!(["client_secret_post", "client_secret_basic"]), Some(SECRET)).unwrap();
    assert!(both.authorization.starts_with("Basic "));
    let public = form(json!(["client_secret_post"]), None).unwrap();
    assert!(public.body.contains("client_id=decalog") && !public.body.contains("secret"));
    assert_eq!(public.authorization, "");
    let neither = form(json!(["private_key_jwt"]), Some(SECRET)).unwrap_err();
    assert_eq!(neither.fault(), Fault::Configuration);
}

#[test]
fn a_token_for_another_login_or_client_logs_nobody_in() {
    let world = World::new(|_| {});
    let with = |other: Value| {
        let mut claims = ada();
        claims.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        world.login(claims).unwrap_err()
    };
    assert_eq!(with(json!({"nonce": "another"})), OidcError::Nonce);
    assert_eq!(with(json!({"nonce": null})), OidcError::Nonce);
    for (other, help) in [
        (json!({"aud": "another"}), "the client's id"),
        (json!({"aud": ["another", AUDIENCE]}), "the client's id"),
        (json!({"iss": "https://a.example"}), "the issuer"),
        (json!({"exp": NOW_S - 100}), "the clocks"),
        (json!({"iat": NOW_S + 100}), "the clocks"),
    ] {
        let error = with(other);
        assert!(matches!(error, OidcError::Token { .. }) && error.help().contains(help), "{error}");
        assert_eq!(error.fault(), Fault::Provider, "{error}");
    }
    assert!(matches!(with(json!({"sub": null})), OidcError::Answer { .. }));
    assert!(matches!(with(json!({"sub": ""})), OidcError::Answer { .. }));
}

#[test]
fn what_comes_back_from_another_provider_is_not_taken_to_this_one() {
    let world = World::new(|_| {});
    let begun = world.begin();
    world.gives(&begun, ada());
    let finish = |world: &World, iss| world.provider.finish(&begun.pending, CODE, iss, NOW_S);
    let issuer = world.platform.issuer.as_str();
    assert!(matches!(finish(&world, Some("https://a.example")), Err(OidcError::Mixed { .. })));
    assert!(world.platform.asked("/token").is_empty(), "the code went nowhere");
    assert!(finish(&world, Some(issuer)).is_ok() && finish(&world, None).is_ok());
    // One that always says who it is.
    let world = World::new(|_| {});
    let mut metadata = world.platform.metadata();
    metadata["authorization_response_iss_parameter_supported"] = true.into();
    world.platform.answer("/.well-known/openid-configuration", Reply::Json(metadata));
    assert!(matches!(finish(&world, None), Err(OidcError::Mixed { .. })));
}

#[test]
fn why_a_provider_gives_no_token_is_told() {
    let world = World::new(|_| {});
    let begun = world.begin();
    let tells = |error: &str| json!({"error": error, "error_description": CODE}).to_string();
    for (reply, fault, text) in [
        (Reply::Raw(400, tells("invalid_grant")), Fault::Caller, "does not take the code"),
        (Reply::Raw(401, tells("invalid_client")), Fault::Configuration, "accept this client"),
        (Reply::Raw(400, tells("unauthorized_client")), Fault::Configuration, "this client"),
        (Reply::Raw(400, tells("slow_down")), Fault::Provider, "slow_down (400)"),
        (Reply::Raw(400, tells(CODE)), Fault::Provider, "no tokens (400)"),
        (Reply::Raw(502, "<html>".into()), Fault::Provider, "no tokens (502)"),
        (Reply::Raw(200, CODE.into()), Fault::Provider, "not the JSON"),
        (Reply::Json(json!({"access_token": "may-ask"})), Fault::Provider, "no `id_token`"),
        (Reply::Elsewhere("/other".into()), Fault::Provider, "sends elsewhere"),
    ] {
        world.platform.answer("/token", reply);
        let error = world.finish(&begun).unwrap_err();
        assert_eq!(error.fault(), fault, "{error}");
        assert!(error.to_string().contains(text) && !error.help().is_empty(), "{error}");
    }
    let long = world.provider.finish(&begun.pending, &"x".repeat(5_000), None, NOW_S);
    assert_eq!(long.unwrap_err().fault(), Fault::Caller);
}

#[test]
fn an_address_is_a_name_only_where_the_provider_vouches_for_it() {
    let world = World::new(|_| {});
    let login = |claims: Value, user: Value| {
        world.platform.answer("/userinfo", Reply::Json(user));
        world.login(claims).map(|login| login.name)
    };
    let me = json!({"sub": "somebody"});
    let verified = json!({"sub": "somebody", "email": "b@b", "email_verified": "true"});
    for claims in [
        json!({"email": "a@a"}),
        json!({"email": "a@a", "email_verified": false}),
        json!({"email": "a@a", "email_verified": "yes"}),
        json!({"email": "a@a", "email_verified": 1}),
    ] {
        assert_eq!(login(claims.clone(), me.clone()), Err(OidcError::Unverified), "{claims}");
    }
    assert_eq!(
        login(json!({"email": "a@a", "email_verified": "true"}), me.clone()).unwrap(),
        "a@a"
    );
    // That one is verified says nothing of another.
    let other = json!({"sub": "somebody", "email_verified": true});
    assert_eq!(login(json!({"email": "a@a"}), other), Err(OidcError::Unverified));
    assert_eq!(login(json!({"email": "a@a"}), verified.clone()).unwrap(), "b@b");
    assert_eq!(login(json!({}), verified).unwrap(), "b@b");
    assert_eq!(login(json!({}), me), Err(OidcError::NoName { claim: "email".into() }));
}

#[test]
fn another_claim_can_be_the_name() {
    let world = World::new(|config| config.name_claim = "preferred_username".into());
    let login = |name: Value| {
        world.login(json!({"preferred_username": name, "groups": []})).map(|login| login.name)
    };
    assert_eq!(login(json!("ada")).unwrap(), "ada");
    for wrong in
        [json!(""), json!(" ada"), json!("a\nb"), json!(7), json!(["ada"]), json!("x".repeat(300))]
    {
        assert!(matches!(login(wrong.clone()), Err(OidcError::Name { .. })), "{wrong}");
    }
}

#[test]
fn what_the_token_leaves_out_is_asked_of_the_provider() {
    let world = World::new(|_| {});
    let about = |sub: &str| {
        let groups = ["ops", "ml"];
        json!({"sub": sub, "email": "a@a", "email_verified": true, "groups": groups})
    };
    world.platform.answer("/userinfo", Reply::Json(about("somebody")));
    let login = world.login(json!({})).unwrap();
    assert_eq!((login.name.as_str(), login.groups), ("a@a", vec!["ops".into(), "ml".into()]));
    assert_eq!(world.platform.asked("/userinfo")[0].authorization, "Bearer may-ask");
    // What the token says counts more.
    assert_eq!(world.login(json!({"groups": "one"})).unwrap().groups, ["one"]);
    for (reply, text) in [
        (Reply::Json(about("somebody-else")), "about somebody else"),
        (Reply::Json(json!({"email": "a@a", "email_verified": true})), "about somebody else"),
        (Reply::Raw(200, "e30.e30.e30".into()), "not the JSON"),
        (Reply::Raw(403, "{}".into()), "answers 403"),
        (Reply::Elsewhere("/other".into()), "sends elsewhere"),
    ] {
        world.platform.answer("/userinfo", reply);
        let error = world.login(json!({})).unwrap_err();
        assert_eq!(error.fault(), Fault::Provider);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn groups_are_names_and_all_of_them() {
    let world = World::new(|config| config.groups_claim = "roles".into());
    world.platform.answer("/userinfo", Reply::Json(json!({"sub": "somebody"})));
    let login = |groups: Value| {
        let mut claims = json!({"email": "a@a", "email_verified": true});
        claims.as_object_mut().unwrap().extend(groups.as_object().unwrap().clone());
        world.login(claims).map(|login| login.groups)
    };
    assert_eq!(login(json!({"roles": ["b", "a"]})).unwrap(), ["b", "a"]);
    assert_eq!(login(json!({"roles": "a"})).unwrap(), ["a"]);
    assert_eq!(login(json!({"groups": "a"})).unwrap(), [""; 0]);
    for wrong in [
        json!(7),
        json!({"a": true}),
        json!(["a", 7]),
        json!(["a", ""]),
        json!(["x".repeat(300)]),
        json!(vec!["a"; 1_001]),
    ] {
        assert!(matches!(login(json!({"roles": wrong})), Err(OidcError::Groups { .. })));
    }
    // Microsoft Entra leaves them out where they are many, and says where they would be.
    for many in [
        json!({"_claim_names": {"roles": "src1"}, "_claim_sources": {"src1": {}}}),
        json!({"hasgroups": true}),
        json!({"hasgroups": "true"}),
    ] {
        assert_eq!(login(many).unwrap_err(), OidcError::Overage);
    }
}

#[test]
fn a_client_that_cannot_work_is_refused_at_once() {
    let with = |configure: fn(&mut ProviderConfig)| {
        let mut config = ProviderConfig::new("https://a.example", AUDIENCE);
        configure(&mut config);
        Provider::new(config).map(|_| ()).map_err(|error| error.fault())
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|config| config.client_id = String::new()), Err(Fault::Configuration));
    assert_eq!(with(|config| config.name_claim = "a\n".into()), Err(Fault::Configuration));
    assert_eq!(with(|config| config.issuer = "http://a".into()), Err(Fault::Configuration));
    let mut config = ProviderConfig::new("https://a.example", AUDIENCE);
    config.client_secret = Some(SECRET.into());
    assert!(!format!("{config:?}").contains(SECRET));
}
