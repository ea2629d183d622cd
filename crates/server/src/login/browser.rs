//! What a browser sees of a login: whom to log in with, what to compare, who one is.

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::login::PersonLogin;
use control::token::NewToken;
use domain::{Caller, Code, Problem, TokenOrigin};
use gateway::session::{cookie, cookie_name};
use http::HeaderMap;
use identity::oidc::{Login, Pending};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Logins;
use super::page::{Going, Page};
use super::waiting::Device;
use crate::extract::{At, By, Form, Query, Who};
use crate::{Api, ApiError};

/// How long somebody may take at their provider, in seconds.
const AT_PROVIDER_S: u32 = 600;

/// What a link to a page of the login says.
#[derive(Deserialize, JsonSchema)]
pub struct LoginQuery {
    /// The code of a terminal that waits.
    code: Option<String>,
}

/// What a link of `decalog dashboard` says.
#[derive(Deserialize, JsonSchema)]
pub struct LinkQuery {
    /// Known to whoever made the link alone.
    key: String,
}

/// What the provider sends the browser back with.
#[derive(Deserialize, JsonSchema)]
pub struct CallbackQuery {
    /// For the token of who logged in.
    code: Option<String>,
    /// As it was sent there.
    state: Option<String>,
    /// Who sends it back (RFC 9207).
    iss: Option<String>,
    /// What went wrong there.
    error: Option<String>,
    /// The same in words.
    error_description: Option<String>,
}

/// What somebody says of a terminal that waits.
#[derive(Deserialize, JsonSchema)]
pub struct DeviceAnswer {
    /// Its code.
    code: String,
    /// `allow` or `deny`.
    answer: String,
}

/// What the browser keeps while somebody is at the provider, in a cookie that no script reads.
#[derive(Serialize, Deserialize)]
struct Flow {
    pending: Pending,
    /// The code of a terminal that waits.
    code: Option<String>,
}

/// The name of the cookie of a login on its way.
fn flow_name(at: &At) -> String {
    format!("{}-login", cookie_name(&at.authority))
}

/// A cookie of this host alone, for scripts of nobody. It is sent along when a link of another site
/// is followed to here, and with nothing else from there.
fn set_cookie(name: &str, value: &str, seconds: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax")
}

fn session_cookie(at: &At, made: &NewToken) -> String {
    let left_ms = made.token.expires_ms.unwrap_or_default().saturating_sub(control::now_ms());
    set_cookie(&cookie_name(&at.authority), &made.secret, left_ms / 1_000)
}

fn after(code: Option<&str>) -> String {
    match code {
        Some(code) => format!("/login?code={}", plain(code)),
        None => "/".into(),
    }
}

/// A code as a part of an address: what is none becomes one that nobody has.
fn plain(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(16).collect()
}

fn over(text: &str) -> Problem {
    Problem::new(Code::LoginOver, text).help("begin again")
}

/// Who one is here.
pub async fn home(State(api): State<Api>, Who(caller): Who) -> Page {
    account(State(api), Who(caller), Query(LoginQuery { code: None })).await
}

/// Who one is here, or how to become somebody; with a code, the terminal that waits.
pub async fn account(
    State(api): State<Api>,
    Who(caller): Who,
    Query(query): Query<LoginQuery>,
) -> Page {
    let code = query.code.as_deref();
    let Some(caller) = caller else { return stranger(&api, code) };
    let name = api.control.who_am_i(&caller).name;
    let Some(code) = code else {
        return Page::new("Decalog", &format!("You are {name}.")).form(
            "/logout",
            &[],
            &[("log_out", "Log out")],
        );
    };
    match api.logins.waiting.device(code, control::now_ms()) {
        None => Page::problem(&over("no terminal waits with this code")),
        Some(_) if caller.principal.person().is_none() => Page::problem(&only_people()),
        Some(device) => comparison(&name, &device),
    }
}

fn stranger(api: &Api, code: Option<&str>) -> Page {
    let page = Page::new("Log in to Decalog", "This server answers whoever it knows.");
    let Some(provider) = &api.logins.provider else {
        return page
            .text("", "At its machine, and wherever you have a token, this opens a session:")
            .code("decalog dashboard");
    };
    let to =
        code.map_or("/login/start".into(), |code| format!("/login/start?code={}", plain(code)));
    page.link(&format!("Log in with {}", provider.host()), &to)
}

fn comparison(name: &str, device: &Device) -> Page {
    let place = device.ip.map_or_else(|| "this machine".into(), |ip| ip.to_string());
    let text =
        format!("A terminal at {place} asks to act for you, {name}. Does it show this code?");
    Page::new("Log a terminal in", &text)
        .code(&device.user_code)
        .text("help", "If you did not type decalog login there yourself, it is not yours.")
        .form(
            "/login/device",
            &[("code", &device.user_code)],
            &[("allow", "It is mine"), ("deny", "It is not mine")],
        )
}

/// Sends the browser to the provider.
pub async fn start(
    State(api): State<Api>,
    at: At,
    Query(query): Query<LoginQuery>,
) -> Result<Going, ApiError> {
    if api.logins.provider.is_none() {
        let problem = Problem::new(Code::NoSuchPath, "this server has no identity provider");
        return Err(problem.help("decalog up --oidc-issuer URL --oidc-client-id ID").into());
    }
    let redirect = format!("{}/login/callback", at.origin);
    let now_s = control::now_ms() / 1_000;
    let begun = api
        .logins
        .ask(&api.logins.of_people, &at, move |logins| {
            logins.provider.as_ref().map(|it| it.begin(&redirect, now_s)).transpose()
        })
        .await?
        .ok_or_else(|| over("there is no provider"))?;
    let flow = Flow { pending: begun.pending, code: query.code.as_deref().map(plain) };
    let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&flow).unwrap_or_default());
    let cookie = set_cookie(&flow_name(&at), &text, u64::from(AT_PROVIDER_S));
    Ok(Going { to: begun.url, cookie })
}

/// Takes a browser back from the provider.
pub async fn callback(
    State(api): State<Api>,
    at: At,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Page {
    let done = set_cookie(&flow_name(&at), "", 0);
    let page = match come_back(&api, &at, &headers, query).await {
        Ok((made, code)) => Page::new("You are logged in", "One moment …")
            .cookie(&session_cookie(&at, &made))
            .next(&after(code.as_deref())),
        Err(problem) => Page::problem(&problem).link("Begin again", "/login"),
    };
    page.cookie(&done)
}

async fn come_back(
    api: &Api,
    at: &At,
    headers: &HeaderMap,
    query: CallbackQuery,
) -> Result<(NewToken, Option<String>), Problem> {
    let kept = cookie(headers, &flow_name(at)).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let flow = kept.and_then(|json| serde_json::from_slice::<Flow>(&json).ok());
    let flow = flow.ok_or_else(|| over("this browser has begun no login, or long ago"))?;
    // What somebody else began is not to end here.
    if query.state.as_deref() != Some(flow.pending.state.as_str()) {
        return Err(over("this is the end of another login than the one that was begun here"));
    }
    let code = match (query.code, query.error) {
        (Some(code), None) => code,
        (_, error) => {
            let why = query.error_description.or(error).unwrap_or_else(|| "no code".into());
            let why = domain::problem::excerpt(&why);
            return Err(over(&format!("the identity provider let nobody in: {why}")));
        }
    };
    let (pending, iss, now_s) = (flow.pending, query.iss, control::now_ms() / 1_000);
    let finish = move |logins: &Logins| {
        let provider = logins.provider.as_ref();
        provider.map(|it| it.finish(&pending, &code, iss.as_deref(), now_s)).transpose()
    };
    let login = api
        .logins
        .ask(&api.logins.of_people, at, finish)
        .await?
        .ok_or_else(|| over("there is no provider"))?;
    let Login { issuer, subject, name, groups } = login;
    let person = api.control.person_of(&PersonLogin { issuer, subject, name, groups }).await?;
    let valid_ms = api.logins.valid_ms;
    let made = api.control.begin_login(person, TokenOrigin::Session, valid_ms).await?;
    Ok((made, flow.code))
}

/// Asks whether to open a session by a link: a page, or a program that looks at links, may have come
/// here by itself.
pub async fn link(State(api): State<Api>, Query(query): Query<LinkQuery>) -> Page {
    match api.logins.waiting.link(&query.key, control::now_ms()) {
        None => Page::problem(&used_up()),
        Some(by) => {
            let name = api.control.who_am_i(&by).name;
            Page::new("Log in to Decalog", &format!("This browser will act as {name}."))
                .text("help", "If you did not type decalog dashboard yourself, leave this page.")
                .form("/login/link", &[("key", &query.key)], &[("open", "Go on")])
        }
    }
}

fn used_up() -> Problem {
    Problem::new(Code::LoginOver, "this link is good once, for a minute")
        .help("decalog dashboard makes another")
}

/// Opens a session by a link, once.
pub async fn open_link(
    State(api): State<Api>,
    at: At,
    headers: HeaderMap,
    Form(query): Form<LinkQuery>,
) -> Page {
    match opened(&api, &headers, &query.key).await {
        Ok(made) => Page::new("You are logged in", "One moment …")
            .cookie(&session_cookie(&at, &made))
            .next("/"),
        Err(problem) => Page::problem(&problem),
    }
}

async fn opened(api: &Api, headers: &HeaderMap, key: &str) -> Result<NewToken, Problem> {
    // One of another page is refused before; a browser names the origin of every form.
    if !headers.contains_key(http::header::ORIGIN) {
        let text = "a session is opened by the page that the link leads to";
        return Err(Problem::new(Code::ForeignOrigin, text).help("open the link in a browser"));
    }
    let by: Caller = api.logins.waiting.take_link(key, control::now_ms()).ok_or_else(used_up)?;
    api.control.pass_login_on(&by, TokenOrigin::Session, api.logins.valid_ms).await
}

fn only_people() -> Problem {
    Problem::new(Code::Forbidden, "only people log a terminal in, as themselves")
        .help("the owner of the machine needs no login there; programs use tokens")
}

/// Lets a terminal act for whoever looks at its code, or not.
pub async fn decide(
    State(api): State<Api>,
    By(caller): By,
    Form(answer): Form<DeviceAnswer>,
) -> Page {
    if caller.principal.person().is_none() {
        return Page::problem(&only_people());
    }
    let by = (answer.answer == "allow").then_some(caller);
    let allowed = by.is_some();
    match api.logins.waiting.decide(&answer.code, by, control::now_ms()) {
        Err(problem) => Page::problem(&problem),
        Ok(_) if allowed => {
            Page::new("Done", "The terminal is logged in. You may close this page.")
        }
        Ok(_) => Page::new("Done", "The terminal is told so. You may close this page."),
    }
}

/// Ends the session of a browser.
pub async fn log_out(State(api): State<Api>, at: At, By(caller): By) -> Page {
    match api.control.end_login(&caller).await {
        Err(problem) => Page::problem(&problem),
        Ok(_) => Page::new("You are logged out", "The session of this browser has ended.")
            .cookie(&set_cookie(&cookie_name(&at.authority), "", 0))
            .link("Log in again", "/login"),
    }
}
