//! Asks an OpenBao or HashiCorp Vault server: its transit engine wraps keys, its KV engine
//! (version 2) holds values. Only the address that the operator named is asked, and no redirect is
//! followed: the token goes nowhere else. Calls block, and every one has a limit.

mod address;
mod kv;
mod transit;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{Code, Problem};
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

pub use address::Address;
pub use kv::Reference;
pub use transit::TransitKey;

/// How long connecting may take, in milliseconds.
const CONNECT_MS_MAX: u64 = 2_000;
/// How long a whole call may take, in milliseconds.
const CALL_MS_MAX: u64 = 5_000;
/// How often a call is tried while the server does not answer or is not ready.
const CALLS_MAX: u32 = 3;
/// Between the first two tries, in milliseconds; twice as long each time.
const PAUSE_MS: u64 = 200;
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// What proves to the server who asks.
#[derive(Clone)]
pub enum Token {
    /// As it is.
    Value(String),
    /// In a file, which is read for every call: an agent may renew it.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Value(_) => f.write_str("a token"),
            Token::File(path) => write!(f, "a token in {}", path.display()),
        }
    }
}

/// A server, and how it is asked.
#[derive(Clone, Debug)]
pub struct VaultConfig {
    /// Where it is.
    pub address: Address,
    /// Who asks.
    pub token: Token,
    /// Certificates, in PEM, that its own must lead to.
    pub ca_file: PathBuf,
}

/// A server.
#[derive(Clone)]
pub struct Vault {
    config: Arc<VaultConfig>,
    agent: ureq::Agent,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

/// An answer that was understood: its status and its JSON.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// What the server says is wrong.
    fn errors(&self) -> String {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        let texts: Vec<&str> = errors.filter_map(Value::as_str).map(str::trim).collect();
        if texts.is_empty() { format!("it answered {}", self.status) } else { texts.join("; ") }
    }
}

/// What is said of a server that does not do what it is asked.
pub(crate) fn problem(text: String) -> Problem {
    Problem::new(Code::Vault, text)
}

impl Vault {
    /// Reads the certificates; asks nothing yet.
    pub fn new(config: VaultConfig) -> Result<Vault, Problem> {
        let settings = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_millis(CONNECT_MS_MAX)))
            .timeout_global(Some(Duration::from_millis(CALL_MS_MAX)));
        let settings = match config.address.is_encrypted() {
            true => settings.https_only(true).tls_config(tls(&config)?),
            false => settings,
        };
        Ok(Vault { config: Arc::new(config), agent: settings.build().into() })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.config.address
    }

    fn token(&self) -> Result<String, Problem> {
        let token = match &self.config.token {
            Token::Value(token) => token.clone(),
            Token::File(path) => std::fs::read_to_string(path).map_err(|error| {
                problem(format!("the token of the vault cannot be read: {error}"))
                    .help(format!("put it into {}", path.display()))
            })?,
        };
        let token = token.trim();
        let is_whole = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
        if !is_whole || token.bytes().any(|byte| !(33..127).contains(&byte)) {
            return Err(problem("the token of the vault is not one".into())
                .help("name a file that holds nothing else: --vault-token-file"));
        }
        Ok(token.into())
    }

    /// Asks; again while the server does not answer or is not ready.
    fn call(&self, path: &[&str], body: Option<&Value>) -> Result<Answer, Problem> {
        let url = self.config.address.of(path);
        let mut pause = Duration::from_millis(PAUSE_MS);
        for attempt in 1.. {
            let failure = match self.call_once(&url, body)? {
                Ok(answer) if answer.status < 500 && answer.status != 429 => return Ok(answer),
                Ok(answer) => answer.errors(),
                Err(error) => error,
            };
            if attempt >= CALLS_MAX {
                return Err(problem(format!(
                    "the vault at {} does not do its part: {failure}",
                    self.config.address
                ))
                .help("see whether it runs and is unsealed; what runs goes on, and starts are tried again"));
            }
            tracing::warn!("the vault is asked again: {failure}");
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(problem("the vault was not asked".into()))
    }

    fn call_once(
        &self,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Result<Answer, String>, Problem> {
        let token = self.token()?;
        let sent = match body {
            Some(body) => self.agent.post(url).header("X-Vault-Token", &token).send_json(body),
            None => self.agent.get(url).header("X-Vault-Token", &token).call(),
        };
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let status = response.status().as_u16();
        let text = match response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
        {
            Ok(text) => text,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if (300..400).contains(&status) {
            return Err(problem(format!("the vault at {} sends elsewhere", self.config.address))
                .help("name the address of the server that answers itself"));
        }
        Ok(Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or_default() }))
    }

    /// What was asked is refused.
    fn refused(&self, what: &str, answer: &Answer) -> Problem {
        let help = match answer.status {
            403 => "see whether its token is valid and may do that",
            404 => "see whether the path is right",
            _ => "see the log of the vault",
        };
        problem(format!("the vault at {} refuses {what}: {}", self.config.address, answer.errors()))
            .help(help)
    }
}

fn tls(config: &VaultConfig) -> Result<TlsConfig, Problem> {
    let unusable = |why: String| {
        let file = config.ca_file.display();
        problem(format!("the certificates in {file} cannot be used: {why}"))
            .help("name a file of certificates in PEM: --vault-ca-file")
    };
    let text = std::fs::read(&config.ca_file).map_err(|error| unusable(error.to_string()))?;
    let mut roots: Vec<Certificate<'static>> = vec![];
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(root) = item.map_err(|error| unusable(error.to_string()))? {
            roots.push(root);
        }
    }
    if roots.is_empty() {
        return Err(unusable("there is none in it".into()));
    }
    // Named here: where a program has two, none is the default.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}
