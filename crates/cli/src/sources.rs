//! What `decalog up` finds elsewhere: keys and secrets in a credential of systemd or a vault, and
//! whom people and jobs log in by.

use std::path::{Path, PathBuf};

use control::{KeySource, References, SecretSources};
use domain::{Code, Problem};
use identity::oidc::{Issuers, OidcError, Provider, ProviderConfig};
use server::Logins;
use vault::{Address, Token, TransitKey, Vault, VaultConfig};

use crate::args::{OidcOptions, UpOptions};

/// Of the key that a credential holds.
const KEY_BYTES: usize = 32;
/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

fn bad(text: impl Into<String>, help: &str) -> Problem {
    Problem::new(Code::BadOption, text).help(help)
}

/// What the options name.
pub fn secret_sources(options: &UpOptions) -> Result<SecretSources, Problem> {
    let keys = options.secrets_keys.iter().map(|text| key_source(options, text));
    let keys = keys.collect::<Result<Vec<_>, Problem>>()?;
    let references = match (&options.vault_url, options.vault_path_prefixes.is_empty()) {
        (None, true) => None,
        (Some(url), false) => {
            let whole = |prefix: &String| prefix.trim_matches('/').split('/').count() >= 2;
            if let Some(short) = options.vault_path_prefixes.iter().find(|prefix| !whole(prefix)) {
                let text = format!("--vault-path-prefix {short} would open a whole engine");
                return Err(bad(text, "name a path below its data, as kv/data/models"));
            }
            let vault = vault(options, address(url)?)?;
            Some(References { vault, prefixes: options.vault_path_prefixes.clone() })
        }
        _ => {
            return Err(bad(
                "--vault-url and --vault-path-prefix belong together",
                "name the vault that secrets may be read from, and what in it",
            ));
        }
    };
    Ok(SecretSources { keys, references })
}

fn address(url: &str) -> Result<Address, Problem> {
    url.parse().map_err(|error: String| bad(error, "see decalog up --help"))
}

fn key_source(options: &UpOptions, text: &str) -> Result<KeySource, Problem> {
    match text.split_once(':') {
        None if text == "file" => Ok(KeySource::Files),
        Some(("credential", name)) => {
            Ok(KeySource::Given { name: name.into(), key: credential(name)? })
        }
        Some(("transit", rest)) => {
            let parts: Vec<&str> = rest.rsplitn(3, '/').collect();
            let [name, mount, url] = parts[..] else { return Err(unknown(text)) };
            let is_part = |part: &str| {
                let is_letter =
                    |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
                !matches!(part, "" | "." | "..") && part.chars().all(is_letter)
            };
            if !is_part(name) || !is_part(mount) {
                return Err(unknown(text));
            }
            let key = TransitKey { mount: mount.into(), name: name.into() };
            Ok(KeySource::Vault { vault: vault(options, address(url)?)?, key })
        }
        _ => Err(unknown(text)),
    }
}

fn unknown(text: &str) -> Problem {
    bad(
        format!("--secrets-key {text} names no place for a key"),
        "write file, credential:NAME or transit:https://HOST:PORT/MOUNT/KEY",
    )
}

/// A key that systemd has put into a directory for this service: 32 bytes, or as 64 hexadecimal
/// digits.
fn credential(name: &str) -> Result<[u8; KEY_BYTES], Problem> {
    let help = "in the unit: LoadCredentialEncrypted=NAME:FILE; 32 bytes, or 64 hexadecimal digits";
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(bad(format!("`{name}` is not the name of a credential"), help));
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(PathBuf::from)
        .ok_or_else(|| bad("there are no credentials: CREDENTIALS_DIRECTORY is not set", help))?;
    let path = directory.join(name);
    let content = std::fs::read(&path)
        .map_err(|error| bad(format!("{} cannot be read: {error}", path.display()), help))?;
    if let Ok(key) = <[u8; KEY_BYTES]>::try_from(content.as_slice()) {
        return Ok(key);
    }
    let text = String::from_utf8_lossy(&content);
    let digits = text.trim();
    let is_whole = digits.len() == 2 * KEY_BYTES && digits.bytes().all(|it| it.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok();
    let key = is_whole.then(|| (0..KEY_BYTES).map(byte).collect::<Option<Vec<u8>>>()).flatten();
    key.and_then(|key| key.try_into().ok())
        .ok_or_else(|| bad(format!("{} does not hold a key", path.display()), help))
}

fn vault(options: &UpOptions, address: Address) -> Result<Vault, Problem> {
    let token = match (&options.vault_token_file, std::env::var("DECALOG_VAULT_TOKEN")) {
        (Some(path), _) => Token::File(path.clone()),
        (None, Ok(token)) => Token::Value(token),
        (None, Err(_)) => {
            return Err(bad(
                format!("there is no token for the vault at {address}"),
                "name a file that holds it, --vault-token-file, or set DECALOG_VAULT_TOKEN",
            ));
        }
    };
    Vault::new(VaultConfig { address, token, ca_file: options.vault_ca_file.clone() })
}
/// Whom people and jobs log in by.
pub fn logins(options: &OidcOptions) -> Result<Logins, Problem> {
    let refused =
        |error: OidcError| Problem::new(Code::BadOption, error.to_string()).help(error.help());
    let roots = options.oidc_ca_file.clone();
    let provider = match (&options.oidc_issuer, &options.oidc_client_id) {
        (Some(issuer), Some(client_id)) => {
            let mut config = ProviderConfig::new(issuer, client_id);
            config.client_secret = client_secret(options.oidc_client_secret_file.as_deref())?;
            config.name_claim = options.oidc_name_claim.clone();
            config.groups_claim = options.oidc_groups_claim.clone();
            config.roots = roots.clone();
            if !options.oidc_scopes.is_empty() {
                config.scopes = options.oidc_scopes.clone();
            }
            Some(Provider::new(config).map_err(refused)?)
        }
        _ => None,
    };
    let issuers = Issuers::new(roots).map_err(refused)?;
    Ok(Logins::new(provider, issuers, options.login_hours * HOUR_MS))
}

fn client_secret(file: Option<&Path>) -> Result<Option<String>, Problem> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Problem::new(Code::BadOption, format!("{} cannot be read: {error}", file.display()))
        })?,
        None => std::env::var("DECALOG_OIDC_CLIENT_SECRET").unwrap_or_default(),
    };
    Ok(Some(text.trim().to_string()).filter(|secret| !secret.is_empty()))
}
