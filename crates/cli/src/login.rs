//! `decalog login` and `decalog logout`: what is remembered of a server elsewhere, and how it is made
//! sure that it is the one that is meant.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use domain::{Code, Digest, Problem};
use ureq::http::Uri;

use crate::Failure;
use crate::client::{self, Client};
use crate::servers::{Server, Servers, normal};

/// How long the server may take to show its certificates, in milliseconds.
const SHOW_MS_MAX: u64 = 10_000;
/// The port of https:// URLs without one.
const PORT: u16 = 443;

fn problem(text: String) -> Problem {
    Problem::new(Code::Tls, text)
}

/// Remembers a server with its token, and with its authority if that is not one that this machine
/// trusts.
pub fn login(url: &str, digest: Option<Digest>, token: Option<String>) -> Result<(), Failure> {
    let token = token.ok_or_else(|| {
        Problem::new(Code::NoInput, "a login needs a token")
            .help(format!("decalog login {url} --token - < FILE; the server's owner makes tokens"))
    })?;
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
    let ca = if digest.is_none() && Client::as_remembered(url, Server::default()).answers().is_ok()
    {
        None
    } else {
        Some(identity::pem(&authority(host, port, url, digest)?))
    };
    let server = Server { token: Some(token), ca };
    Client::as_remembered(url, server.clone()).check()?;
    servers.add(url, server);
    servers.save()?;
    let default = servers.default.as_deref() == Some(&normal(url));
    let meant = if default { ", which commands without --url go to" } else { "" };
    eprintln!("logged in to {}{meant}", normal(url));
    Ok(())
}

/// Forgets a server.
pub fn logout(named: Option<&str>) -> Result<(), Failure> {
    let mut servers = Servers::load()?;
    let (url, _) = servers.choose(named);
    if !servers.remove(&url) {
        let known: Vec<String> = servers.servers.keys().cloned().collect();
        let problem = Problem::new(Code::BadOption, format!("you are not logged in to {url}"));
        return Err(problem.help("decalog logout URL").details(known).into());
    }
    servers.save()?;
    eprintln!("{} is forgotten", normal(&url));
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
