//! Calls the server, and turns what it says into results or problems.
//!
//! The owner of a server on this machine is let in by the Unix socket in its data directory. Whoever
//! has a token goes by the URL, as does everybody else, without saying who he is.

use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use domain::{Code, DataDirectory, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::RequestBuilder;
use ureq::config::Config;
use ureq::http::{Uri, header};

use crate::local::{COOKIE, Owned};
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
    token: Option<String>,
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

fn config(answer: Option<Duration>) -> Config {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(CONNECT_S)))
        .timeout_recv_response(answer)
        .build()
}

/// Whether a URL is one of this machine.
fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl Client {
    /// For this address; with a token, as whom it names.
    pub fn new(url: &str, token: Option<String>) -> Client {
        Client { url: url.trim_end_matches('/').into(), token, way: OnceLock::new() }
    }

    /// How the server is reached. A server that does not answer is asked again by the next request.
    fn way(&self) -> Result<&Way, Failure> {
        if let Some(way) = self.way.get() {
            return Ok(way);
        }
        let owned = if self.token.is_some() { None } else { self.owned()? };
        let way = match owned {
            Some(owned) => Way::Owner(socket::agent(config(None), owned.clone()), owned),
            None => Way::Url(config(None).into()),
        };
        Ok(self.way.get_or_init(|| way))
    }

    /// The server's data directory, if it runs on this machine and this user is its owner.
    fn owned(&self) -> Result<Option<Owned>, Failure> {
        if !is_loopback(&self.url) {
            return Ok(None);
        }
        let agent = ureq::Agent::from(config(Some(Duration::from_secs(SERVER_S))));
        let mut answer = agent
            .get(format!("{}/v1/server", self.url))
            .call()
            .map_err(|error| self.unreachable(error))?;
        // One of an earlier version does not know how it is reached.
        let server = answer.body_mut().read_json::<server::Server>().ok();
        let found = server.and_then(|server| Some((server.data?, server.instance?)));
        Ok(found.and_then(|(data, instance)| Owned::find(DataDirectory::new(data), &instance)))
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
                Ok(match &self.token {
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

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn unreachable(&self, error: ureq::Error) -> Failure {
        let problem =
            Problem::new(Code::Unreachable, format!("no Decalog answers at {}: {error}", self.url));
        Failure::Unreachable(
            problem.help("start it with `decalog up`, or name another with --url or DECALOG_URL"),
        )
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
        serde_json::from_str(&text).map_err(|error| {
            Problem::new(Code::Failed, format!("the server's answer is not understood: {error}"))
                .help("is it another version of Decalog?")
                .into()
        })
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

    /// POST of JSON text; the answer as it comes.
    pub fn post_text(
        &self,
        path: &str,
        body: &str,
    ) -> Result<(String, impl Read + use<>), Failure> {
        let request =
            self.request(path, ureq::Agent::post)?.header(header::CONTENT_TYPE, "application/json");
        let response = self.result(request.send(body))?;
        let kind = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_string();
        Ok((kind, response.into_body().into_with_config().limit(u64::MAX).reader()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_this_machine() {
        for url in [
            "http://127.0.0.1:8010",
            "http://localhost",
            "https://LOCALHOST:1",
            "http://[::1]:8010/",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org:80",
            "nothing",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
