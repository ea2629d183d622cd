//! The servers that this user has logged in to: their tokens, and the authorities by which they are
//! known, in `servers.toml` below the user's configuration.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::{Code, Problem};
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use crate::local::write_private;

/// Where a server is if nobody says.
pub const URL: &str = "http://127.0.0.1:8010";

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// The one that is meant if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// By URL.
    #[serde(default)]
    pub servers: BTreeMap<String, Server>,
}

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Whom it is asked as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The only authority that is trusted to speak for it, in PEM; if there is none, those that this
    /// machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// A URL as it is meant: people also write `localhost:8010`, `8010` or `ml.example.org`. In clear only
/// a server on this machine is asked.
pub fn whole(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if url.is_empty() || url.contains("://") {
        return url.into();
    }
    if let Some(port) = Some(url.strip_prefix(':').unwrap_or(url)).filter(|port| is_port(port)) {
        return format!("http://127.0.0.1:{port}");
    }
    let near = format!("http://{url}");
    if is_loopback(&near) { near } else { format!("https://{url}") }
}

/// Whether a URL is one of this machine.
pub fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// A URL as it is compared: the same server is written in several ways.
pub fn normal(url: &str) -> String {
    let url = whole(url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{}://{}{path}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase())
        }
        None => url,
    }
}

/// Where they are remembered.
fn file() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    configuration.map(|directory| directory.join("decalog/servers.toml"))
}

fn unusable(path: &Path, what: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Failed, format!("{} {what}", path.display()))
}

impl Servers {
    /// Those of this user.
    pub fn load() -> Result<Servers, Problem> {
        file().map_or_else(|| Ok(Servers::default()), |path| Servers::read(&path))
    }

    fn read(path: &Path) -> Result<Servers, Problem> {
        let text = match fs::read_to_string(path) {
            // Or it is in the home of another user, as after `su`.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(Servers::default());
            }
            read => read.map_err(|error| unusable(path, format!("cannot be read: {error}")))?,
        };
        let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            return Err(unusable(path, "has tokens in it, and others may read it")
                .help(format!("chmod 600 {}; and have new tokens made", path.display())));
        }
        toml::from_str(&text).map_err(|error| {
            unusable(path, format!("cannot be understood: {}", error.message()))
                .help("decalog login writes it anew if it is removed")
        })
    }

    /// Remembers them.
    pub fn save(&self) -> Result<(), Problem> {
        let path = file().ok_or_else(|| {
            Problem::new(Code::Failed, "there is no home directory").help("set XDG_CONFIG_HOME")
        })?;
        self.write(&path)
    }

    fn write(&self, path: &Path) -> Result<(), Problem> {
        let text = toml::to_string(self).map_err(|error| unusable(path, error))?;
        let directory = path.parent().unwrap_or(path);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .and_then(|()| write_private(path, &text))
            .map_err(|error| unusable(path, format!("cannot be written: {error}")))
    }

    /// The URL that is meant, and what is known of the server there.
    pub fn choose(&self, named: Option<&str>) -> (String, Server) {
        // A variable that is empty names nothing.
        let named = named.filter(|url| !url.is_empty());
        let url = named.or(self.default.as_deref()).unwrap_or(URL);
        let server = self.servers.get(&normal(url)).cloned().unwrap_or_default();
        (whole(url), server)
    }

    /// Learns of a server; the first one is meant if none is named.
    pub fn add(&mut self, url: &str, server: Server) {
        self.default.get_or_insert_with(|| normal(url));
        self.servers.insert(normal(url), server);
    }

    /// Forgets a server; whether it was known.
    pub fn remove(&mut self, url: &str) -> bool {
        let url = normal(url);
        if self.default.as_ref() == Some(&url) {
            self.default = None;
        }
        self.servers.remove(&url).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(token: &str) -> Server {
        Server { token: Some(token.into()), ca: None }
    }

    #[test]
    fn the_first_server_is_meant_until_it_is_forgotten() {
        let mut servers = Servers::default();
        assert_eq!(servers.choose(Some("")).0, URL);
        servers.add("https://One.example.org:8010/", server("a"));
        servers.add("https://two.example.org", server("b"));
        assert_eq!(servers.choose(None), ("https://one.example.org:8010".into(), server("a")));
        let two = servers.choose(Some("HTTPS://two.example.org/"));
        assert_eq!(two.1, server("b"));
        assert_eq!(servers.choose(Some("https://three.example.org")).1, Server::default());
        assert!(servers.remove("https://one.example.org:8010"));
        assert!(!servers.remove("https://one.example.org:8010"));
        assert_eq!(servers.choose(None).0, URL);
    }

    #[test]
    fn an_address_is_a_url_as_it_is_meant() {
        for (written, meant) in [
            ("8010", "http://127.0.0.1:8010"),
            (":8010", "http://127.0.0.1:8010"),
            ("localhost:8110", "http://localhost:8110"),
            ("127.0.0.1", "http://127.0.0.1"),
            ("[::1]:8010", "http://[::1]:8010"),
            ("ml.example.org:8010/", "https://ml.example.org:8010"),
            ("10.0.0.5:8010", "https://10.0.0.5:8010"),
            ("http://10.0.0.5:8010/", "http://10.0.0.5:8010"),
            ("", ""),
        ] {
            assert_eq!(whole(written), meant, "{written}");
        }
        let mut servers = Servers::default();
        servers.add("https://one.example.org:8010", server("a"));
        assert_eq!(servers.choose(Some("one.example.org:8010")).1, server("a"));
    }

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

    #[test]
    fn what_is_written_is_read_again_by_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/servers.toml");
        assert_eq!(Servers::read(&path).unwrap(), Servers::default());
        let mut servers = Servers::default();
        let ca = Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into());
        servers.add("https://one.example.org", Server { ca, ..server("a") });
        servers.write(&path).unwrap();
        assert_eq!(Servers::read(&path).unwrap(), servers);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Servers::read(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "servers = 1").unwrap();
        assert!(Servers::read(&path).unwrap_err().to_string().contains("understood"));
    }
}
