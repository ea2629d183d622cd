//! `decalog login`, `logout` and `dashboard`: how somebody becomes known to a server elsewhere, what
//! is remembered of it, and how it is made sure that it is the one that is meant.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use control::WhoAmI;
use domain::{Code, Digest, Problem};
use serde_json::json;
use server::{DeviceKey, DevicePolled, DeviceStarted, Exchanged, LoginLink};
use ureq::http::Uri;

use crate::Failure;
use crate::args::LoginOptions;
use crate::client::{self, Client};
use crate::servers::{Server, Servers, normal, whole};
use crate::terminal::{one_line, print_json};

/// How long the server may take to show its certificates, in milliseconds.
const SHOW_MS_MAX: u64 = 10_000;
/// How long a terminal waits for a browser, in seconds, …
const WAIT_S_MAX: u64 = 3_600;
/// … and how long between two questions, whatever the server says.
const PAUSE_S_MAX: u32 = 30;
/// Random bytes in the name of a server that a browser is sent to.
const NAME_BYTES: usize = 8;
/// The port of https:// URLs without one.
const PORT: u16 = 443;

fn problem(text: String) -> Problem {
    Problem::new(Code::Tls, text)
}

/// Logs in to a server, and remembers it with its token, and with its authority if that is not one
/// that this machine trusts.
pub fn login(options: &LoginOptions, token: Option<String>) -> Result<(), Failure> {
    let url = &whole(&options.address);
    let uri = url.parse::<Uri>().ok();
    let place = uri.as_ref().and_then(|uri| Some((uri.host()?, uri.port_u16().unwrap_or(PORT))));
    let (host, port) = match (uri.as_ref().and_then(Uri::scheme_str), place) {
        (Some("https"), Some(place)) => place,
        _ => {
            return Err(Problem::new(Code::BadOption, format!("{url} is no https:// address"))
                .help("a token is never sent in clear; the owner of a server on this machine needs none")
                .into());
        }
    };
    let mut servers = Servers::load()?;
    let digest = options.ca_sha256;
    let ca = if digest.is_none() && Client::as_stranger(url, Server::default()).answers().is_ok() {
        None
    } else {
        Some(identity::pem(&authority(host, port, url, digest)?))
    };
    let stranger = Client::as_stranger(url, Server { token: None, ca: ca.clone() });
    let token = match token {
        Some(token) => token,
        None if options.github => exchanged(&stranger, &github_token(url)?)?,
        None if options.id_token.is_some() => exchanged(&stranger, &typed_token()?)?,
        None => by_browser(&stranger)?,
    };
    let server = Server { token: Some(token), ca };
    let client = Client::as_remembered(url, server.clone());
    client.check()?;
    let name = client.get::<WhoAmI>("/v1/whoami").map(|who| who.name);
    servers.add(url, server);
    servers.save()?;
    let default = servers.default.as_deref() == Some(&normal(url));
    let meant = if default { ", which commands without --url go to" } else { "" };
    let name = name.map_or_else(|_| String::new(), |name| format!(" as {}", one_line(&name)));
    eprintln!("logged in to {}{name}{meant}", normal(url));
    Ok(())
}

/// Waits until somebody has logged in with a browser, wherever that is, and allows this terminal.
fn by_browser(server: &Client) -> Result<String, Failure> {
    let started: DeviceStarted = server.post("/v1/login/devices", &json!({}))?;
    let page = normal(server.url());
    let code = one_line(&started.user_code);
    eprintln!("Open  {page}/login?code={code}\nin any browser. It must show the code  {code}");
    let end = Instant::now() + Duration::from_secs(started.expires_in.min(WAIT_S_MAX));
    let pause = Duration::from_secs(u64::from(started.interval.clamp(1, PAUSE_S_MAX)));
    while Instant::now() < end {
        std::thread::sleep(pause);
        let key = DeviceKey { device_code: started.device_code.clone() };
        let polled: DevicePolled = server.post("/v1/login/devices/poll", &json!(key))?;
        if let Some(token) = polled.token {
            return Ok(token.secret);
        }
    }
    Err(Problem::new(Code::LoginOver, "nobody has logged in in time").help("begin again").into())
}

/// The token of this server for that of a job's platform.
fn exchanged(server: &Client, id_token: &str) -> Result<String, Failure> {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", id_token),
    ];
    let exchanged: Exchanged = server.post_form("/v1/login/exchange", &form)?;
    Ok(exchanged.access_token)
}

fn typed_token() -> Result<String, Problem> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    match (read, line.trim()) {
        (Ok(_), token) if !token.is_empty() => Ok(token.into()),
        _ => Err(Problem::new(Code::NoInput, "no token was read from standard input")
            .help("echo $DECALOG_ID_TOKEN | decalog login URL --id-token -")),
    }
}

/// The token that GitHub gives to the workflow that this runs in, for this server alone.
fn github_token(url: &str) -> Result<String, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let asked = variable("ACTIONS_ID_TOKEN_REQUEST_URL");
    let (Some(asked), Some(by)) = (asked, variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN")) else {
        return Err(Problem::new(
            Code::BadOption,
            "this is no workflow that gets a token by GitHub",
        )
        .help("give its job the permission `id-token: write`")
        .into());
    };
    let joint = if asked.contains('?') { '&' } else { '?' };
    let asked = format!("{asked}{joint}audience={}", client::encoded(&normal(url)));
    let answer = client::ask(&asked, &by)?;
    answer["value"]
        .as_str()
        .map(String::from)
        .ok_or_else(|| Problem::new(Code::Failed, "GitHub's answer has no token in it").into())
}

/// `decalog dashboard`
pub fn dashboard(client: &Client, only_print: bool, as_json: bool) -> Result<(), Failure> {
    let link: LoginLink = client.post("/v1/login/links", &json!({}))?;
    let server: server::Server = client.get("/v1/server")?;
    // The owner may have been let in by the socket, whatever the address was.
    let url = if client.is_owner() { own_name(&server.url)? } else { client.url().to_string() };
    let address = format!("{url}{}", link.path);
    if as_json {
        print_json(&json!({ "url": address, "expires_in": link.expires_in }));
        return Ok(());
    }
    println!("{address}");
    if !only_print && !opened(&address) {
        eprintln!("Open it in a browser: it is good once, for a minute.");
    }
    Ok(())
}

/// The address of a server in clear on this machine, by a name that nobody else knows: browsers send
/// a cookie to all ports of a host, and others may listen at some.
fn own_name(url: &str) -> Result<String, Problem> {
    let near = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("http://{host}:"));
    let port = near.iter().find_map(|near| url.strip_prefix(near.as_str()));
    let Some(port) = port else { return Ok(url.into()) };
    let label: String =
        control::random::<NAME_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("http://d{label}.localhost:{port}"))
}

/// Whether a browser was started.
fn opened(address: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !has_display && !cfg!(target_os = "macos") {
        return false;
    }
    let started = std::process::Command::new(program)
        .arg(address)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    started.is_ok_and(|status| status.success())
}

/// Ends the login at a server, and forgets it.
pub fn logout(named: Option<&str>) -> Result<(), Failure> {
    let mut servers = Servers::load()?;
    let (url, known) = servers.choose(named);
    if !servers.remove(&url) {
        let known: Vec<String> = servers.servers.keys().cloned().collect();
        let problem = Problem::new(Code::BadOption, format!("you are not logged in to {url}"));
        return Err(problem.help("decalog logout URL").details(known).into());
    }
    let ended = Client::as_remembered(&url, known).delete("/v1/login");
    servers.save()?;
    let url = normal(&url);
    match ended {
        Ok(answer) if answer["ended"] == true => eprintln!("logged out of {url}"),
        Ok(_) => eprintln!(
            "{url} is forgotten; the token was made for more than this login, and stays valid"
        ),
        Err(Failure::Problem(problem)) if problem.code == Code::Unauthenticated => {
            eprintln!("logged out of {url}: the login was over already");
        }
        Err(Failure::Problem(problem) | Failure::Unreachable(problem)) => eprintln!(
            "{url} is forgotten here, but not told: {}\nhelp: decalog token revoke ends the token there",
            problem.message
        ),
    }
    Ok(())
}

/// The authority of a server, once it is sure that it is the server's.
fn authority(
    host: &str,
    port: u16,
    url: &str,
    expected: Option<Digest>,
) -> Result<Vec<u8>, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let shown = identity::presented(bare, port, Duration::from_millis(SHOW_MS_MAX));
    let shown = shown.map_err(|error| client::unreachable(url, &error))?;
    // The last of a chain is the nearest to its authority, if not that itself.
    let Some(last) = shown.last().cloned() else {
        return Err(problem(format!("the server at {url} shows no certificate")).into());
    };
    match expected {
        Some(expected) => {
            let found = shown.iter().find(|der| Digest::of(der) == expected).cloned();
            let text = format!(
                "the server at {url} is not the expected one: no certificate that it shows has the SHA-256 {expected}"
            );
            found.ok_or_else(|| {
                problem(text)
                    .details(shown.iter().map(|der| format!("shown: {}", Digest::of(der))))
                    .help("ask the server's owner for what decalog up prints there; who is between may read everything")
                    .into()
            })
        }
        None if is_confirmed(url, &Digest::of(&last)) => Ok(last),
        None => {
            let text = format!(
                "nobody whom this machine trusts speaks for the server at {url}, whose authority has the SHA-256 {}",
                Digest::of(&last)
            );
            Err(problem(text).help("if decalog up prints the same there: --ca-sha256 HEX").into())
        }
    }
}

/// Asks on the terminal; without one nobody says yes.
fn is_confirmed(url: &str, digest: &Digest) -> bool {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return false;
    };
    let question = format!(
        "The server at {url} has an authority of its own, with the SHA-256\n  {digest}\n\
         Does decalog up print the same there? Trust it? [yes/no] "
    );
    let mut answer = String::new();
    let asked = (&terminal).write_all(question.as_bytes());
    let heard = asked.and_then(|()| BufReader::new(&terminal).read_line(&mut answer));
    heard.is_ok() && answer.trim().eq_ignore_ascii_case("yes")
}
