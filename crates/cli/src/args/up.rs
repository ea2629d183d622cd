//! How the platform is started: the options of `decalog up`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::Args;
use domain::launch::Sandbox;

use super::otlp::OtlpOptions;

#[derive(Args)]
pub struct UpOptions {
    /// Where everything is stored [default: $XDG_DATA_HOME/decalog or ~/.local/share/decalog]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one. Beyond loopback TLS is spoken
    #[arg(long, value_name = "[ADDRESS:]PORT", default_value = "127.0.0.1:8010", value_parser = listening)]
    pub listen: SocketAddr,
    /// Speak TLS on loopback, too
    #[arg(long)]
    pub tls: bool,
    /// The server's certificate and those that lead to its authority, in PEM; read again when it
    /// changes [default: one of an authority of its own, in DATA/tls]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of certificates that callers may show, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Take plain HTTP beyond loopback, but only from proxies of these addresses, which say whose
    /// requests they pass on
    #[arg(long = "behind-proxy", value_name = "CIDR",
          conflicts_with_all = ["tls", "tls_cert", "tls_client_ca"])]
    pub behind_proxies: Vec<gateway::Network>,
    #[command(flatten)]
    pub records: RecordOptions,
    #[command(flatten)]
    pub otlp: OtlpOptions,
    #[command(flatten)]
    pub oidc: OidcOptions,
    /// Another name by which this server may be called, also in its own certificate
    #[arg(long = "allow-host", value_name = "NAME")]
    pub allow_hosts: Vec<String>,
    /// Let pages of this origin request predictions in a browser, as https://app.example.org; * for
    /// pages from anywhere
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<gateway::Origin>,
    /// Where Python packages come from
    #[arg(long, env = "DECALOG_INDEX_URL")]
    pub index_url: Option<String>,
    /// Where artifacts are stored, as a URL [default: file:DATA/artifacts]
    #[arg(long)]
    pub store: Option<String>,
    /// The largest body of a request, in bytes
    #[arg(long, default_value_t = 256 << 20)]
    pub body_bytes_max: usize,
    /// Threads that answer requests [default: half of the cores]
    #[arg(long)]
    pub gateway_threads: Option<usize>,
    /// Take over from the process that runs on this data directory, without losing a request;
    /// starts as usual if none does
    #[arg(long)]
    pub takeover: bool,
    /// Start even if the ledger is damaged, cut off or missing, with what can be read; the rest is
    /// lost
    #[arg(long)]
    pub accept_damaged_ledger: bool,
    /// How long the version that a release replaced keeps its replicas, in seconds
    #[arg(long, default_value_t = 600)]
    pub keep_s: u64,
    /// Memory that all replicas together may use, in MiB [default: 80% of the machine's]
    #[arg(long)]
    pub memory_mb: Option<u64>,
    /// What stays in memory of models scaled to zero, so that they start faster
    #[arg(long, value_enum, default_value_t = ParkLevel::Spare)]
    pub park: ParkLevel,
    /// Memory that what is kept of models scaled to zero may use, in MiB [default: a third of
    /// --memory-mb]
    #[arg(long)]
    pub parked_mb: Option<u64>,
    /// Where the key is that wraps secrets: file, credential:NAME (of systemd) or
    /// transit:URL/MOUNT/KEY (of OpenBao or Vault). Further ones only unwrap, until
    /// `decalog key rotate`; the files of the data directory always do
    #[arg(long = "secrets-key", value_name = "WHERE")]
    pub secrets_keys: Vec<String>,
    /// The OpenBao or Vault that secrets may be read from: https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub vault_url: Option<String>,
    /// Secrets may refer to what is below this path in the vault, as kv/data/models
    #[arg(long = "vault-path-prefix", value_name = "PATH")]
    pub vault_path_prefixes: Vec<String>,
    /// A file with the token for the vault, read for each call [default: $DECALOG_VAULT_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub vault_token_file: Option<PathBuf>,
    /// Certificates, in PEM, that the vault's own must lead to
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    pub vault_ca_file: PathBuf,
    /// How far models are confined, at most: full, reduced or off. What does not work here degrades,
    /// visibly; require=full (or require=reduced) refuses less
    #[arg(long, value_name = "LEVEL", default_value = "off", value_parser = SandboxOption::parse)]
    pub sandbox: SandboxOption,
    /// What all models may read, beside programs, libraries and what is theirs
    #[arg(long = "sandbox-read", value_name = "PATH")]
    pub sandbox_read: Vec<PathBuf>,
    /// How often the guards of a release look, in milliseconds
    #[arg(long, default_value_t = domain::guard::INTERVAL_MS, hide = true)]
    pub judge_ms: u64,
    /// How much to log: error, warn, info, debug
    #[arg(long, env = "DECALOG_LOG", default_value = "warn")]
    pub log: String,
}

/// How far models are to be confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxOption {
    /// At most.
    pub most: Sandbox,
    /// At least.
    pub least: Sandbox,
}

impl SandboxOption {
    fn parse(text: &str) -> Result<SandboxOption, String> {
        let (word, is_required) =
            text.strip_prefix("require=").map_or((text, false), |word| (word, true));
        let most = match word {
            "full" => Sandbox::Full,
            "reduced" => Sandbox::Reduced,
            "off" if !is_required => Sandbox::Off,
            _ => return Err("full, reduced, off, require=full or require=reduced".into()),
        };
        // What is required is a bound from below only.
        let (most, least) = if is_required { (Sandbox::Full, most) } else { (most, Sandbox::Off) };
        Ok(SandboxOption { most, least })
    }
}

/// Where people say that a server is to listen: `127.0.0.1:8111`, `localhost:8111`, `8111` or an
/// address alone. What names no address is of this machine alone.
fn listening(text: &str) -> Result<SocketAddr, String> {
    const PORT: u16 = 8_010;
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            (host, port.parse::<u16>().map_err(|_| format!("`{port}` is no port"))?)
        }
        None => (text, PORT),
    };
    let found = (host, port).to_socket_addrs().map_err(|error| {
        format!("`{host}` is no address of this machine ({error}): write 127.0.0.1:{port}")
    })?;
    // Programs that know no IPv6 find it by the other one.
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("`{host}` has no address"))
}

/// What is kept of requests.
#[derive(Args, Debug, Clone)]
pub struct RecordOptions {
    /// Keep records of requests, with what was asked and answered: so many a second of each version,
    /// besides all errors and the slowest 1%; 0 keeps none
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub records_per_s: u32,
    /// How long records are kept, in days, …
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    pub records_days: u32,
    /// … and how many, in MiB of Parquet: beyond it the oldest go first
    #[arg(long, value_name = "MIB", default_value_t = 10_240)]
    pub records_mb: u64,
}

/// Whom people log in with.
#[derive(Args, Debug, Clone)]
pub struct OidcOptions {
    /// The identity provider (OpenID Connect) that people log in with, as
    /// https://id.example.org/realms/ml; register ADDRESS/login/callback there
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    pub oidc_issuer: Option<String>,
    /// As what this server is registered there
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    pub oidc_client_id: Option<String>,
    /// A file with the client's secret [default: $DECALOG_OIDC_CLIENT_SECRET; none for a public one]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// What the provider calls people by; of `email` only one that it has verified
    #[arg(long, value_name = "CLAIM", default_value = "email")]
    pub oidc_name_claim: String,
    /// Where the provider says which groups they are in
    #[arg(long, value_name = "CLAIM", default_value = "groups")]
    pub oidc_groups_claim: String,
    /// What to ask the provider for; repeatable [default: openid, email, profile]
    #[arg(long = "oidc-scope", value_name = "SCOPE")]
    pub oidc_scopes: Vec<String>,
    /// Authorities of the identity provider, and of those who sign the tokens of jobs, in PEM
    /// [default: those that this machine trusts]
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
    /// How long a login is good, in hours
    #[arg(long, value_name = "HOURS", default_value_t = 12,
          value_parser = clap::value_parser!(u64).range(1..=720))]
    pub login_hours: u64,
}

/// What is kept of models scaled to zero.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum ParkLevel {
    /// Nothing: each start is a cold one
    Nothing,
    /// A process with their libraries imported
    Zygote,
    /// A process with the model loaded, too
    Parent,
    /// A forked replica that takes no requests, too
    Spare,
}

impl From<ParkLevel> for control::Park {
    fn from(level: ParkLevel) -> control::Park {
        match level {
            ParkLevel::Nothing => control::Park::Nothing,
            ParkLevel::Zygote => control::Park::Zygote,
            ParkLevel::Parent => control::Park::Parent,
            ParkLevel::Spare => control::Park::Spare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen_is_written_in_several_ways() {
        for (written, meant) in [
            ("127.0.0.1:8111", "127.0.0.1:8111"),
            ("8111", "127.0.0.1:8111"),
            (":8111", "127.0.0.1:8111"),
            ("0", "127.0.0.1:0"),
            ("localhost:8111", "127.0.0.1:8111"),
            ("localhost", "127.0.0.1:8010"),
            ("0.0.0.0", "0.0.0.0:8010"),
            ("[::1]:8111", "[::1]:8111"),
            ("[::]", "[::]:8010"),
        ] {
            assert_eq!(listening(written).unwrap().to_string(), meant, "{written}");
        }
        for bad in ["", "localhost:http", "127.0.0.1:99999", "no host"] {
            assert!(listening(bad).is_err(), "{bad}");
        }
    }
}
