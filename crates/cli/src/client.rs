//! Calls the server, and turns what it says into results or problems.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use domain::{Code, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Failure;

/// How long connecting may take.
const CONNECT_S: u64 = 5;

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
    agent: ureq::Agent,
    url: String,
}

impl Client {
    /// For this address.
    pub fn new(url: &str) -> Client {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(CONNECT_S)))
            .build();
        Client { agent: config.into(), url: url.trim_end_matches('/').into() }
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
        if response.status().is_success() {
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
        let response = self.result(self.agent.get(format!("{}{path}", self.url)).call())?;
        self.read(response)
    }

    /// GET, read as text.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let mut response = self.result(self.agent.get(format!("{}{path}", self.url)).call())?;
        response.body_mut().read_to_string().map_err(|error| self.unreachable(error))
    }

    /// GET, as it comes.
    pub fn reader(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        let response = self.result(self.agent.get(format!("{}{path}", self.url)).call())?;
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
        let request = self.agent.post(format!("{}{path}", self.url));
        let response = self.result(request.send_json(body))?;
        self.read(response)
    }

    /// POST of JSON text; the answer as it comes.
    pub fn post_text(
        &self,
        path: &str,
        body: &str,
    ) -> Result<(String, impl Read + use<>), Failure> {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("Content-Type", "application/json");
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
        let request = self.agent.put(format!("{}{path}", self.url));
        let response = self.result(request.send_json(body))?;
        self.read(response)
    }

    /// PATCH of bytes.
    pub fn patch(&self, path: &str, body: &[u8]) -> Result<Value, Failure> {
        let response = self.result(self.agent.patch(format!("{}{path}", self.url)).send(body))?;
        self.read(response)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        let request = self.agent.delete(format!("{}{path}", self.url));
        let response = self.result(request.call())?;
        self.read(response)
    }
}
