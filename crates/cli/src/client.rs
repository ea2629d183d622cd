//! Calls the server, and turns what it says into results or problems.
//!
//! The owner of a server on this machine is let in by the Unix socket in its data directory. Whoever
//! has a token goes by the URL, as does everybody else, without saying who he is.

use std::io::{BufRead, BufReader, Read};
use std::sync::OnceLock;
use std::time::Duration;

use domain::{Code, DataDirectory, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::RequestBuilder;
use ureq::config::ConfigBuilder;
use ureq::http::header;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::AgentScope;

use crate::local::{COOKIE, Owned};
use crate::servers::{Server, Servers, is_loopback, whole};
use crate::{Failure, socket};

/// How long connecting may take.
const CONNECT_S: u64 = 5;
/// How long a server may take to say what it is.
const SERVER_S: u64 = 10;
/// Where the socket's requests go; it has no name of its own.
const OWNERS_URL: &str = "http://localhost";

/// A text as a part of a path or a query.
pub fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match is_plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// A server.
pub struct Client {
    url: String,
    known: Server,
    /// Whether it is asked without saying who asks, also by the owner.
    is_stranger: bool,
    /// Found out with the first request.
    way: OnceLock<Way>,
}

/// How a server is reached.
enum Way {
    /// By its URL.
    Url(ureq::Agent),
    /// As its owner.
    Owner(ureq::Agent, Owned),
}

/// Who may speak for a server.
enum Trust<'a> {
    /// What this authority signed.
    Authority(&'a str),
    /// What those sign whom this machine trusts.
    System,
    /// Anybody: for what is checked in another way.
    Anybody,
}

/// Says that nobody answers, and why.
pub fn unreachable(url: &str, why: &dyn std::fmt::Display) -> Failure {
    let problem = Problem::new(Code::Unreachable, format!("no Decalog answers at {url}: {why}"));
    let place = url.strip_prefix("http://").map(|place| place.trim_end_matches('/'));
    let start = match place {
        Some("127.0.0.1:8010") => "start it with `decalog up`, or".into(),
        Some(place) if is_loopback(url) => {
            format!("start it with `decalog up --listen {place}`, or")
        }
        _ => String::new(),
    };
    let help = format!("{start} name another with --url or DECALOG_URL");
    Failure::Unreachable(problem.help(help.trim_start()))
}

fn config(answer: Option<Duration>) -> ConfigBuilder<AgentScope> {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(CONNECT_S)))
        .timeout_recv_response(answer)
}

/// A client for a URL.
fn agent(url: &str, trust: Trust<'_>, answer: Option<Duration>) -> Result<ureq::Agent, Problem> {
    let config = config(answer);
    if !url.starts_with("https:") {
        return Ok(config.build().into());
    }
    let unusable = |error: ureq::Error| {
        Problem::new(Code::Tls, format!("what is remembered of {url} cannot be used: {error}"))
            .help("decalog login again")
    };
    let roots = match trust {
        Trust::Authority(pem) => vec![Certificate::from_pem(pem.as_bytes()).map_err(unusable)?],
        Trust::System => {
            let trusted = identity::system_authorities();
            trusted.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        }
        Trust::Anybody => vec![],
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(identity::provider())
        .root_certs(RootCerts::new_with_certs(&roots))
        .disable_verification(matches!(trust, Trust::Anybody));
    Ok(config.https_only(true).tls_config(tls.build()).build().into())
}

/// JSON from elsewhere, for whoever bears a token for it.
pub fn ask(url: &str, token: &str) -> Result<Value, Failure> {
    let agent = agent(url, Trust::System, Some(Duration::from_secs(SERVER_S)))?;
    let request = agent.get(url).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = request.call().and_then(|mut answer| answer.body_mut().read_json());
    answer.map_err(|error| {
        Problem::new(Code::Failed, format!("no token is to be had: {error}")).into()
    })
}

impl Client {
    /// For the server that is named, else the one that is remembered as meant; with a token, as whom
    /// that is for.
    pub fn new(url: Option<&str>, token: Option<String>) -> Result<Client, Problem> {
        let (url, mut known) = Servers::load()?.choose(url);
        known.token = token.or(known.token);
        Ok(Client::as_remembered(&url, known))
    }

    /// For a server of which this is known.
    pub fn as_remembered(url: &str, known: Server) -> Client {
        let url = whole(url);
        Client { url, known, is_stranger: false, way: OnceLock::new() }
    }

    /// The same for somebody who does not say who they are yet.
    pub fn as_stranger(url: &str, known: Server) -> Client {
        let known = Server { token: None, ..known };
        Client { is_stranger: true, ..Client::as_remembered(url, known) }
    }

    /// How the server is reached. A server that does not answer is asked again by the next request.
    fn way(&self) -> Result<&Way, Failure> {
        if let Some(way) = self.way.get() {
            return Ok(way);
        }
        let is_known = self.known.token.is_some() || self.is_stranger;
        let owned = if is_known { None } else { self.owned()? };
        let way = match owned {
            Some(owned) => Way::Owner(socket::agent(config(None).build(), owned.clone()), owned),
            None => Way::Url(self.agent(None)?),
        };
        Ok(self.way.get_or_init(|| way))
    }

    /// A client for the URL that trusts whom it should.
    fn agent(&self, answer: Option<Duration>) -> Result<ureq::Agent, Failure> {
        let is_clear = !self.url.starts_with("https:") && !is_loopback(&self.url);
        if is_clear && self.known.token.is_some() {
            let text = format!("a token is not sent in clear to {}", self.url);
            return Err(Problem::new(Code::Tls, text).help("use its https:// address").into());
        }
        let trust = self.known.ca.as_deref().map_or(Trust::System, Trust::Authority);
        Ok(agent(&self.url, trust, answer)?)
    }

    /// The server's data directory, if it runs on this machine and this user is its owner. Whoever
    /// answers is believed only what the directory itself confirms.
    fn owned(&self) -> Result<Option<Owned>, Failure> {
        if !is_loopback(&self.url) {
            return Ok(None);
        }
        let ask = |url: &str| -> Result<String, Failure> {
            let agent = agent(url, Trust::Anybody, Some(Duration::from_secs(SERVER_S)))?;
            let answer = agent.get(format!("{url}/v1/server")).call();
            let mut answer = answer.map_err(|error| self.unreachable(error))?;
            Ok(answer.body_mut().read_to_string().unwrap_or_default())
        };
        let mut text = ask(&self.url)?;
        let refusal = serde_json::from_str::<Problem>(&text).ok();
        if refusal.is_some_and(|problem| problem.code == Code::PlainText)
            && let Some(("http", rest)) = self.url.split_once("://")
        {
            text = ask(&format!("https://{rest}"))?;
        }
        // One of an earlier version does not know how it is reached.
        let server = serde_json::from_str::<server::Server>(&text).ok();
        let found = server.and_then(|server| Some((server.data?, server.instance?)));
        Ok(found.and_then(|(data, instance)| Owned::find(DataDirectory::new(data), &instance)))
    }

    /// Whether the server answers, and is who it should be; nothing is said of who asks.
    pub fn answers(&self) -> Result<(), Failure> {
        let agent = self.agent(Some(Duration::from_secs(SERVER_S)))?;
        let answer = agent.get(format!("{}/v1/server", self.url)).call();
        answer.map(|_| ()).map_err(|error| self.unreachable(error))
    }

    /// Whether the server takes the token.
    pub fn check(&self) -> Result<(), Failure> {
        self.answers()?;
        let answer = self.request("/v1/models", ureq::Agent::get)?.call();
        match self.result(answer) {
            // What it may do is for the server to say, request by request.
            Err(Failure::Problem(problem)) if problem.code.http() != 401 => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    /// The server's data directory, if it runs on this machine and this user is its owner.
    pub fn data(&self) -> Result<Option<DataDirectory>, Failure> {
        Ok(self.owned()?.map(|owned| owned.data().clone()))
    }

    /// A request as whoever this is.
    fn request<B>(
        &self,
        path: &str,
        new: impl FnOnce(&ureq::Agent, String) -> RequestBuilder<B>,
    ) -> Result<RequestBuilder<B>, Failure> {
        match self.way()? {
            Way::Url(agent) => {
                let request = new(agent, format!("{}{path}", self.url));
                Ok(match &self.known.token {
                    Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
                    None => request,
                })
            }
            Way::Owner(agent, owned) => {
                let cookie = owned.cookie().map_err(|error| self.unreachable(error.into()))?;
                let request = new(agent, format!("{OWNERS_URL}{path}"));
                Ok(request.header(COOKIE, cookie.text()))
            }
        }
    }

    /// Whether the server takes whoever asks for its owner.
    pub fn is_owner(&self) -> bool {
        matches!(self.way.get(), Some(Way::Owner(..)))
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn unreachable(&self, error: ureq::Error) -> Failure {
        if matches!(&error, ureq::Error::Io(cause) if identity::is_unknown_server(cause)) {
            let text =
                format!("the server at {} is not known to be what it says: {error}", self.url);
            let help =
                "decalog login URL --ca-sha256 HEX --token -, with what decalog up prints there";
            return Problem::new(Code::Tls, text).help(help).into();
        }
        unreachable(&self.url, &error)
    }

    fn result(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let mut response = sent.map_err(|error| self.unreachable(error))?;
        let is_proposed = response.status() == ureq::http::StatusCode::ACCEPTED;
        if response.status().is_success() && !is_proposed {
            return Ok(response);
        }
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let problem = serde_json::from_str(&text).unwrap_or_else(|_| {
            Problem::new(Code::Failed, format!("the server answered {status}: {}", text.trim()))
        });
        Err(Failure::Problem(problem))
    }

    fn read<T: DeserializeOwned>(
        &self,
        mut response: ureq::http::Response<ureq::Body>,
    ) -> Result<T, Failure> {
        let text = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_string()
            .map_err(|error| self.unreachable(error))?;
        serde_json::from_str(&text).map_err(|error| not_understood(&error).into())
    }

    /// GET, read as JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.result(self.request(path, ureq::Agent::get)?.call())?;
        self.read(response)
    }

    /// GET, read as text.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let mut response = self.result(self.request(path, ureq::Agent::get)?.call())?;
        response.body_mut().read_to_string().map_err(|error| self.unreachable(error))
    }

    /// GET, as it comes.
    pub fn reader(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        let response = self.result(self.request(path, ureq::Agent::get)?.call())?;
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// GET, line by line, as long as lines come.
    pub fn lines(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = std::io::Result<String>> + use<>, Failure> {
        Ok(BufReader::new(self.reader(path)?).lines())
    }

    /// POST of JSON.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        let response = self.result(self.request(path, ureq::Agent::post)?.send_json(body))?;
        self.read(response)
    }

    /// The rows of a query of records.
    pub fn sql<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Failure> {
        let body = serde_json::json!({ "sql": sql, "format": "json" });
        let (_, answer) = self.post_text("/v1/sql", &body.to_string())?;
        serde_json::from_reader(answer).map_err(|error| not_understood(&error).into())
    }

    /// POST of JSON text; the answer as it comes.
    pub fn post_text(
        &self,
        path: &str,
        body: &str,
    ) -> Result<(String, impl Read + use<>), Failure> {
        self.post_as(path, "application/json", body.as_bytes())
    }

    /// POST of a body of some content type; the answer as it comes, behind its own.
    pub fn post_as(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<(String, impl Read + use<>), Failure> {
        let request =
            self.request(path, ureq::Agent::post)?.header(header::CONTENT_TYPE, content_type);
        let response = self.result(request.send(body))?;
        let kind = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_string();
        Ok((kind, response.into_body().into_with_config().limit(u64::MAX).reader()))
    }

    /// POST of what is read to its end.
    pub fn post_from<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        mut body: impl Read,
    ) -> Result<T, Failure> {
        let request =
            self.request(path, ureq::Agent::post)?.header(header::CONTENT_TYPE, content_type);
        let response = self.result(request.send(ureq::SendBody::from_reader(&mut body)))?;
        self.read(response)
    }

    /// POST of a form.
    pub fn post_form<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let sent = self.request(path, ureq::Agent::post)?.send_form(form.iter().copied());
        let response = self.result(sent)?;
        self.read(response)
    }

    /// PUT of JSON.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let response = self.result(self.request(path, ureq::Agent::put)?.send_json(body))?;
        self.read(response)
    }

    /// PATCH of bytes.
    pub fn patch(&self, path: &str, body: &[u8]) -> Result<Value, Failure> {
        let response = self.result(self.request(path, ureq::Agent::patch)?.send(body))?;
        self.read(response)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        let response = self.result(self.request(path, ureq::Agent::delete)?.call())?;
        self.read(response)
    }
}

/// An answer that is not what was asked for.
pub fn not_understood(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(Code::Failed, format!("the server's answer is not understood: {error}"))
        .help("is it another version of Decalog?")
}
