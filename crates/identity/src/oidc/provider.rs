//! A provider that people log in with (OpenID Connect Core 1.0): the browser goes there with a
//! challenge and comes back with a code, which this server exchanges for a token that says who it
//! is.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use domain::problem::excerpt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded::byte_serialize;

use super::address::Issuer;
use super::asking::{Answer, Asking, wrong};
use super::claims::Wanted;
use super::metadata::Metadata;
use super::source::Source;
use super::token::{self, Claims, Expected, TOKEN_BYTES_MAX};
use super::{Fault, OidcError};

/// The longest code that comes back with a browser, in bytes.
const CODE_BYTES_MAX: usize = 4 << 10;
/// Random bytes in a state, a nonce and a verifier: 256 bits.
const RANDOM_BYTES: usize = 32;

/// A provider, as configured.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Its URL, exactly as it calls itself.
    pub issuer: String,
    /// Who this server is to it.
    pub client_id: String,
    /// What proves that; none for a client that the provider knows as public.
    pub client_secret: Option<String>,
    /// The claim that names are taken from.
    pub name_claim: String,
    /// The claim that groups are taken from.
    pub groups_claim: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// A file of authorities, in PEM, that are trusted beside those of this machine.
    pub roots: Option<PathBuf>,
}

impl ProviderConfig {
    /// A public client; names are verified e-mail addresses.
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> ProviderConfig {
        ProviderConfig {
            issuer: issuer.into(),
            client_id: client_id.into(),
            client_secret: None,
            name_claim: "email".into(),
            groups_claim: "groups".into(),
            scopes: ["openid", "email", "profile"].map(String::from).into(),
            roots: None,
        }
    }
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} of {}", self.client_id, self.issuer)
    }
}

/// A login that has begun. It is kept until the browser comes back with its `state`, and taken once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Comes back with the browser. Secret.
    pub state: String,
    /// Comes back in the token.
    pub nonce: String,
    /// Proves to the provider that who began also ends (PKCE). Secret.
    pub verifier: String,
    /// Where the browser comes back to.
    pub redirect: String,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a login that comes back to {}", self.redirect)
    }
}

/// A login that has begun, and where the browser goes.
#[derive(Clone, Debug)]
pub struct Begun {
    /// At the provider.
    pub url: String,
    /// What is kept.
    pub pending: Pending,
}

/// Who logged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// Who says so.
    pub issuer: String,
    /// Who it is there: with the issuer, forever the same one.
    pub subject: String,
    /// What they are called.
    pub name: String,
    /// What groups they are in.
    pub groups: Vec<String>,
}

/// A provider; what it says of itself and its keys are kept for a while.
pub struct Provider {
    config: ProviderConfig,
    source: Source,
}

/// What a code is exchanged for.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// Why a code is not.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Provider {
    /// Asks nothing yet.
    pub fn new(mut config: ProviderConfig) -> Result<Provider, OidcError> {
        let issuer = Issuer::parse(&config.issuer)?;
        for (what, value) in [
            ("client id", &config.client_id),
            ("claim for names", &config.name_claim),
            ("claim for groups", &config.groups_claim),
        ] {
            if value.is_empty() || value.chars().any(char::is_control) {
                let why = format!("`{}` cannot be its {what}", excerpt(value));
                return Err(OidcError::Configuration { issuer: config.issuer, why });
            }
        }
        if !config.scopes.iter().any(|scope| scope == "openid") {
            config.scopes.insert(0, "openid".into());
        }
        let source = Source::new(issuer, Asking::new(config.roots.as_deref())?);
        Ok(Provider { config, source })
    }

    /// What people know it by.
    pub fn host(&self) -> &str {
        let issuer = self.source.issuer().as_str();
        let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// Where the browser goes, to come back to `redirect`. Time in seconds since 1970.
    pub fn begin(&self, redirect: &str, now_s: u64) -> Result<Begun, OidcError> {
        let known = self.source.known(now_s)?;
        let mut url =
            self.endpoint("authorization_endpoint", &known.metadata.authorization)?.clone();
        let pending = Pending {
            state: self.random()?,
            nonce: self.random()?,
            verifier: self.random()?,
            redirect: redirect.into(),
        };
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge(&pending.verifier))
            .append_pair("code_challenge_method", "S256");
        Ok(Begun { url: url.into(), pending })
    }

    /// Who came back: `code` and, if there, `iss` are from the query of the URL that the browser
    /// came back to, whose `state` found the login that has begun. Time in seconds since 1970.
    pub fn finish(
        &self,
        pending: &Pending,
        code: &str,
        iss: Option<&str>,
        now_s: u64,
    ) -> Result<Login, OidcError> {
        let issuer = self.source.issuer().as_str();
        let known = self.source.known(now_s)?;
        if iss.map_or(known.metadata.says_issuer, |iss| iss != issuer) {
            return Err(OidcError::Mixed { issuer: issuer.into() });
        }
        let tokens = self.exchange(&known.metadata, pending, code)?;
        let token = tokens.id_token.ok_or_else(|| wrong(issuer, "it gives no `id_token`"))?;
        let expected = Expected { audience: &self.config.client_id, now_s };
        let token = token::verify(&token, &self.source, &expected).map_err(|error| {
            match error.fault() {
                // Nobody but the provider had it in hand.
                Fault::Caller => OidcError::Token { issuer: issuer.into(), why: Box::new(error) },
                _ => error,
            }
        })?;
        if token.get("nonce").and_then(Value::as_str) != Some(&pending.nonce) {
            return Err(OidcError::Nonce);
        }
        let subject = subject(&token).ok_or_else(|| wrong(issuer, "its token has no `sub`"))?;
        let wanted = Wanted { name: &self.config.name_claim, groups: &self.config.groups_claim };
        let user = match (&known.metadata.userinfo, &tokens.access_token) {
            (Some(url), Some(access)) if wanted.is_missing_in(&token)? => {
                Some(self.user(url, access, subject)?)
            }
            _ => None,
        };
        let said: Vec<&Claims> = std::iter::once(&token).chain(&user).collect();
        Ok(Login {
            issuer: issuer.into(),
            subject: subject.into(),
            name: wanted.name(&said)?,
            groups: wanted.groups(&said)?,
        })
    }

    fn exchange(
        &self,
        metadata: &Metadata,
        pending: &Pending,
        code: &str,
    ) -> Result<Tokens, OidcError> {
        let issuer = self.source.issuer().as_str();
        if code.is_empty() || code.len() > CODE_BYTES_MAX {
            return Err(self.refused_code("it is empty or too long"));
        }
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &pending.redirect),
            ("code_verifier", &pending.verifier),
        ];
        let authorization = self.authorize(metadata, &mut form)?;
        let url = self.endpoint("token_endpoint", &metadata.token)?;
        let answer = self.source.asking().post(issuer, url, authorization.as_deref(), &form)?;
        match answer.status {
            200 => answer.json(issuer, "what it gives for a code"),
            _ => Err(self.refused(&answer)),
        }
    }

    /// Adds what proves who this client is; gives what goes into the header.
    fn authorize<'a>(
        &'a self,
        metadata: &Metadata,
        form: &mut Vec<(&str, &'a str)>,
    ) -> Result<Option<String>, OidcError> {
        let id = &self.config.client_id;
        let Some(secret) = &self.config.client_secret else {
            form.push(("client_id", id));
            return Ok(None);
        };
        let methods = metadata.client_authentication.as_deref();
        let takes = |method: &str| methods.is_none_or(|all| all.iter().any(|one| one == method));
        if takes("client_secret_basic") {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(id), encoded(secret));
            return Ok(Some(format!("Basic {}", BASE64_STANDARD.encode(pair))));
        }
        if !takes("client_secret_post") {
            return Err(OidcError::Configuration {
                issuer: self.config.issuer.clone(),
                why: "it does not take a secret as proof of who a client is".into(),
            });
        }
        form.extend([("client_id", id.as_str()), ("client_secret", secret)]);
        Ok(None)
    }

    /// What it says of somebody beside the token.
    fn user(&self, url: &url::Url, access: &str, subject: &str) -> Result<Claims, OidcError> {
        let issuer = self.source.issuer().as_str();
        let is_plain = access.bytes().all(|byte| (33..127).contains(&byte));
        if !is_plain || access.len() > TOKEN_BYTES_MAX {
            return Err(wrong(issuer, "its `access_token` is not one"));
        }
        let answer = self.source.asking().get(issuer, url, Some(access))?;
        if answer.status != 200 {
            return Err(wrong(issuer, format!("it answers {} about the user", answer.status)));
        }
        let user: Claims = answer.json(issuer, "what it says about the user")?;
        match self::subject(&user) == Some(subject) {
            true => Ok(user),
            false => Err(wrong(issuer, "what it says about the user is about somebody else")),
        }
    }

    /// Why it does not give tokens for a code. What it writes beside may repeat the code.
    fn refused(&self, answer: &Answer) -> OidcError {
        let issuer = self.source.issuer().as_str();
        let refusal = answer.json::<Refusal>(issuer, "why it gives no tokens").ok();
        let code = refusal.map(|refusal| refusal.error).unwrap_or_default();
        let is_code = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        match code.as_str() {
            "invalid_grant" => self.refused_code("it is used, too old, or of another login"),
            "invalid_client" | "unauthorized_client" => {
                OidcError::Client { issuer: issuer.into(), error: code }
            }
            _ if !code.is_empty() && code.len() <= 64 && code.bytes().all(is_code) => {
                wrong(issuer, format!("it gives no tokens: {code} ({})", answer.status))
            }
            _ => wrong(issuer, format!("it gives no tokens ({})", answer.status)),
        }
    }

    fn refused_code(&self, why: &str) -> OidcError {
        OidcError::Code { issuer: self.config.issuer.clone(), why: why.into() }
    }

    fn endpoint<'a>(
        &self,
        name: &str,
        url: &'a Option<url::Url>,
    ) -> Result<&'a url::Url, OidcError> {
        let why = || format!("its openid-configuration has no `{name}`");
        url.as_ref().ok_or_else(|| wrong(&self.config.issuer, why()))
    }

    /// Random, as text.
    fn random(&self) -> Result<String, OidcError> {
        let mut bytes = [0; RANDOM_BYTES];
        crate::provider().secure_random.fill(&mut bytes).map_err(|_| OidcError::Configuration {
            issuer: self.config.issuer.clone(),
            why: "this machine has no random bytes".into(),
        })?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Who it is, never empty.
fn subject(claims: &Claims) -> Option<&str> {
    claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty())
}

/// What of a verifier goes with the browser (RFC 7636, `S256`).
fn challenge(verifier: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}
