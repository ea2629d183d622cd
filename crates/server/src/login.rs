//! Logins: of terminals that wait for a browser, of browsers by a link, of jobs by the token of
//! their platform. What somebody gets is a token like any other, for a while.

mod browser;
mod calls;
mod page;
mod waiting;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use control::login::check_person;
use control::token::NewToken;
use domain::{Code, Problem, TokenOrigin};
use identity::oidc::{Fault, Issuers, OidcError, Provider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{At, Body, By, Form};
use crate::{Api, ApiError};

pub use browser::{account, callback, decide, home, link, log_out, open_link, start};
use calls::Calls;
pub use page::Page;
use waiting::{DEVICE_MS_MAX, LINK_MS_MAX, Outcome, Waiting};

/// How often a terminal asks, in seconds.
const POLL_S: u32 = 2;
/// RFC 8693: what is asked for, …
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// … of what, …
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// … and what is given.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What logins need.
pub struct Logins {
    /// Whom people log in with, if there is one.
    provider: Option<Provider>,
    /// Who signs the tokens of jobs.
    issuers: Issuers,
    /// How long a login is good, in milliseconds.
    valid_ms: u64,
    waiting: Waiting,
    /// Addresses that the tokens of jobs may be for.
    audiences: Vec<String>,
    /// Calls of the provider, and …
    of_people: Calls,
    /// … of the issuers of jobs' tokens: these make nobody wait.
    of_jobs: Calls,
}

impl Logins {
    /// With none on its way.
    pub fn new(provider: Option<Provider>, issuers: Issuers, valid_ms: u64) -> Logins {
        let (of_people, of_jobs) = (Calls::default(), Calls::default());
        let (waiting, audiences) = (Waiting::default(), vec![]);
        Logins { provider, issuers, valid_ms, waiting, audiences, of_people, of_jobs }
    }

    /// Whether people can log in.
    pub fn has_provider(&self) -> bool {
        self.provider.is_some()
    }

    /// With the origins of this server, as `https://ml.example.org:8010`.
    pub fn at(self, audiences: Vec<String>) -> Logins {
        Logins { audiences, ..self }
    }

    /// Calls a provider beside the control plane's one thread.
    async fn ask<T: Send + 'static>(
        self: &Arc<Logins>,
        calls: &Calls,
        at: &At,
        call: impl FnOnce(&Logins) -> Result<T, OidcError> + Send + 'static,
    ) -> Result<T, Problem> {
        let _call = calls.turn(at.source()).await?;
        let logins = self.clone();
        let called = tokio::task::spawn_blocking(move || call(&logins)).await;
        called
            .map_err(|error| {
                Problem::new(Code::Failed, error.to_string()).help("see the server's log")
            })?
            .map_err(refused)
    }
}

/// A terminal that waits for a browser (RFC 8628).
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct DeviceStarted {
    /// What the terminal asks with; nobody else is to know it.
    pub device_code: String,
    /// What people compare: the terminal and the page show the same.
    pub user_code: String,
    /// The page.
    pub verification_uri: String,
    /// The same with the code.
    pub verification_uri_complete: String,
    /// How long it waits, in seconds.
    pub expires_in: u64,
    /// How often to ask, in seconds.
    pub interval: u32,
}

/// Which terminal asks.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceKey {
    /// As it was given.
    pub device_code: String,
}

/// How far it is.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct DevicePolled {
    /// Once somebody has allowed it; until then ask again.
    pub token: Option<NewToken>,
}

/// A link that logs a browser in once.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct LoginLink {
    /// The path with its query, at whatever address the server is called by.
    pub path: String,
    /// How long it is good, in seconds.
    pub expires_in: u64,
}

/// A login that has ended.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct LoginEnded {
    /// `false` if the token was no login's, but one that somebody made: it stays valid.
    pub ended: bool,
}

/// RFC 8693: a token of another platform, for one of this server.
#[derive(Deserialize, JsonSchema)]
pub struct ExchangeRequest {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// The token, whose audience is the address of this server, as `https://ml.example.org`.
    subject_token: String,
    /// `urn:ietf:params:oauth:token-type:jwt`, or `…:id_token`.
    subject_token_type: String,
}

/// RFC 8693: the token.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Exchanged {
    /// The token.
    pub access_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    pub issued_token_type: String,
    /// `Bearer`.
    pub token_type: String,
    /// How long it is valid, in seconds.
    pub expires_in: u64,
}

/// What a caller is told whom the provider, or the issuer of a token, does not speak for.
fn refused(error: OidcError) -> Problem {
    let code = match error.fault() {
        Fault::Caller => Code::Unauthenticated,
        Fault::Provider | Fault::Configuration => {
            tracing::warn!("a login failed: {error}; {}", error.help());
            Code::IdentityProvider
        }
    };
    Problem::new(code, error.to_string()).help(error.help())
}

/// Whoever exchanges a token is not told what is at the address of an issuer.
fn hide_address(problem: Problem) -> Problem {
    match problem.code {
        Code::IdentityProvider => {
            let text = "the issuer of the token does not do its part";
            Problem::new(Code::IdentityProvider, text).help("the server's log says more")
        }
        _ => problem,
    }
}

/// A terminal begins to wait.
pub async fn begin_device(State(api): State<Api>, at: At) -> Result<Json<DeviceStarted>, ApiError> {
    let (device_code, device) = api.logins.waiting.begin_device(at.ip, control::now_ms())?;
    let page = format!("{}/login", at.origin);
    Ok(Json(DeviceStarted {
        device_code,
        verification_uri_complete: format!("{page}?code={}", device.user_code),
        user_code: device.user_code,
        verification_uri: page,
        expires_in: DEVICE_MS_MAX / 1_000,
        interval: POLL_S,
    }))
}

/// A terminal asks how far it is.
pub async fn poll_device(
    State(api): State<Api>,
    Body(key): Body<DeviceKey>,
) -> Result<Json<DevicePolled>, ApiError> {
    let logins = &api.logins;
    let token = match logins.waiting.outcome(&key.device_code, control::now_ms())? {
        Outcome::Waiting => None,
        Outcome::Denied => {
            let text = "whoever looked at the code said that it is not theirs";
            return Err(Problem::new(Code::Forbidden, text).help("begin again").into());
        }
        Outcome::Allowed(by) => {
            Some(api.control.pass_login_on(&by, TokenOrigin::Login, logins.valid_ms).await?)
        }
    };
    Ok(Json(DevicePolled { token }))
}

/// A link that opens a session in a browser, as whoever asks for it.
pub async fn make_link(
    State(api): State<Api>,
    By(caller): By,
) -> Result<Json<LoginLink>, ApiError> {
    check_person(&caller)?;
    let key = api.logins.waiting.begin_link(caller, control::now_ms())?;
    let path = format!("/login/link?key={key}");
    Ok(Json(LoginLink { path, expires_in: LINK_MS_MAX / 1_000 }))
}

/// Ends the login that the caller came with.
pub async fn end(State(api): State<Api>, By(caller): By) -> Result<Json<LoginEnded>, ApiError> {
    Ok(Json(LoginEnded { ended: api.control.end_login(&caller).await? }))
}

/// Gives a job a token for that of its platform.
pub async fn exchange(
    State(api): State<Api>,
    at: At,
    Form(request): Form<ExchangeRequest>,
) -> Result<Json<Exchanged>, ApiError> {
    let wrong = |text: &str| Problem::new(Code::BadRequest, text).help("see RFC 8693");
    if request.grant_type != EXCHANGE {
        return Err(wrong(&format!("the grant_type is not {EXCHANGE}")).into());
    }
    if ![JWT, ID_TOKEN].contains(&request.subject_token_type.as_str()) {
        return Err(wrong(&format!("the subject_token_type is not {JWT}")).into());
    }
    let token = request.subject_token;
    let issuer = Issuers::issuer_of(&token).map_err(refused)?;
    if !api.control.has_jobs_of(&issuer) {
        let text = "no job of this server has tokens of this issuer";
        return Err(Problem::new(Code::Unauthenticated, text)
            .help("an owner says which: decalog member add NAME --job --issuer URL --claim …")
            .into());
    }
    // The port is part of it: another server of this machine may be given tokens, too.
    let audience = at.origin.to_ascii_lowercase();
    if !api.logins.audiences.contains(&audience) {
        let text = format!("{audience} is not an address of this server");
        return Err(Problem::new(Code::ForeignHost, text)
            .help("call it by the address that decalog up printed")
            .into());
    }
    let (now_ms, its_issuer) = (control::now_ms(), issuer.clone());
    let verify = move |logins: &Logins| {
        logins.issuers.verify(&token, &its_issuer, &audience, now_ms / 1_000)
    };
    let verified = api.logins.ask(&api.logins.of_jobs, &at, verify).await;
    let claims = verified.map_err(hide_address)?.claims;
    let made = api.control.exchange(&issuer, &claims).await?;
    let left_ms = made.token.expires_ms.unwrap_or(now_ms).saturating_sub(now_ms);
    Ok(Json(Exchanged {
        access_token: made.secret,
        issued_token_type: ACCESS_TOKEN.into(),
        token_type: "Bearer".into(),
        expires_in: left_ms / 1_000,
    }))
}
