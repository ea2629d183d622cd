//! How callers get in, by the options of `decalog up`: plain HTTP on loopback, TLS anywhere, or a
//! proxy that speaks TLS itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domain::{DataDirectory, Problem};
use gateway::{Entrance, Hosts, Secure, Secured, Securing, Stream};
use identity::{Certificates, Settings, Tls};
use nix::ifaddrs::getifaddrs;
use tokio::net::TcpStream;

use crate::args::UpOptions;

/// How often it is looked whether the certificate must be another, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// How callers get in.
pub struct Entry {
    /// What is asked of them.
    pub entrance: Entrance,
    /// The names that they may use.
    pub hosts: Hosts,
    /// Where they are told to go.
    pub url: String,
    /// Whether predictions are for everybody who gets here.
    pub open_predictions: bool,
    /// Its own origins, as `https://ml.example.org:8010`.
    pub origins: Vec<String>,
    tls: Option<Arc<Tls>>,
    /// Whether people can log in with a browser alone.
    has_provider: bool,
}

impl Entry {
    /// By the options, once it is known on which address this process listens.
    pub fn open(
        options: &UpOptions,
        data: &DataDirectory,
        address: SocketAddr,
    ) -> Result<Entry, Problem> {
        let names = names(options, address.ip());
        let hosts = names.iter().fold(Hosts::loopback(), |hosts, name| hosts.with(&written(name)));
        let open_predictions = address.ip().is_loopback() && options.behind_proxies.is_empty();
        let has_provider = options.oidc.oidc_issuer.is_some();
        if !speaks_tls(options, address) {
            let entrance = match &options.behind_proxies[..] {
                [] => Entrance::Plain,
                proxies => Entrance::Behind(proxies.into()),
            };
            let url = format!("http://{address}");
            let origins = clear_origins(options, address);
            return Ok(Entry {
                entrance,
                hosts,
                url,
                open_predictions,
                origins,
                tls: None,
                has_provider,
            });
        }
        let certificates = match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => {
                Certificates::Files { certificate: certificate.clone(), key: key.clone() }
            }
            _ => Certificates::Own { directory: data.tls(), names: names.clone() },
        };
        let settings = Settings { certificates, client_ca: options.tls_client_ca.clone() };
        let tls = Arc::new(Tls::open(settings, control::now_ms())?);
        let shown = tls.names().iter().filter(|name| !name.contains('*'));
        let all = names.iter().map(|name| written(name)).chain(shown.clone().cloned());
        let origins = all.flat_map(|name| origins_of("https", &name, address.port())).collect();
        let hosts = shown.fold(hosts, |hosts, name| hosts.with(name));
        let host = match address.ip() {
            ip if ip.is_loopback() => written(&ip.to_string()),
            _ => names.first().map_or_else(|| address.ip().to_string(), |name| written(name)),
        };
        let url = format!("https://{host}:{}", address.port());
        let entrance = Entrance::Secure(Arc::new(Handshakes(tls.clone())));
        Ok(Entry { entrance, hosts, url, open_predictions, origins, tls: Some(tls), has_provider })
    }

    /// What callers elsewhere must be told, if this server's certificate is its own.
    pub fn greeting(&self) -> Option<String> {
        let digest = self.tls.as_ref()?.authority()?;
        let by = if self.has_provider { "" } else { " --token -" };
        Some(format!(
            "TLS by an authority of its own, SHA-256 {digest}\n\
             From elsewhere: decalog login {} --ca-sha256 {digest}{by}",
            self.url
        ))
    }

    /// Keeps the certificate current, for as long as this process runs.
    pub fn keep(&self) {
        let Some(tls) = self.tls.clone() else { return };
        control::unending::spawn("the keeper of certificates", move || look_forever(tls.clone()));
    }
}

async fn look_forever(tls: Arc<Tls>) {
    loop {
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        let tls = tls.clone();
        let _ = tokio::task::spawn_blocking(move || tls.look(control::now_ms())).await;
    }
}

fn speaks_tls(options: &UpOptions, address: SocketAddr) -> bool {
    let is_wanted = options.tls || options.tls_cert.is_some() || options.tls_client_ca.is_some();
    is_wanted || (!address.ip().is_loopback() && options.behind_proxies.is_empty())
}

/// Names and addresses under which the server may be called, and for which its own certificate is:
/// the one that callers are told first.
fn names(options: &UpOptions, ip: IpAddr) -> Vec<String> {
    let mut names = options.allow_hosts.clone();
    if !ip.is_loopback() && !ip.is_unspecified() {
        names.push(ip.to_string());
    }
    if !ip.is_loopback() {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        names.extend(Some(host.trim().to_string()).filter(|host| !host.is_empty()));
    }
    if ip.is_unspecified() {
        names.extend(own_addresses().into_iter().map(|ip| ip.to_string()));
    }
    names.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
    if ip.is_loopback() {
        names.push(ip.to_string());
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.to_ascii_lowercase()));
    names
}

/// Addresses of this machine's interfaces by which others may reach it.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    let is_reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    addresses.filter(is_reachable).collect()
}

/// The origins of a name: with a port, unless it is that of the scheme.
fn origins_of(scheme: &str, name: &str, port: u16) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let is_default = (scheme, port) == ("https", 443) || (scheme, port) == ("http", 80);
    let bare = is_default.then(|| format!("{scheme}://{name}"));
    bare.into_iter().chain([format!("{scheme}://{name}:{port}")]).collect()
}

/// The origins of a server that speaks in clear: its own on this machine, and those of a proxy that
/// speaks TLS on the usual port.
fn clear_origins(options: &UpOptions, address: SocketAddr) -> Vec<String> {
    let near = ["localhost", "127.0.0.1", "[::1]"].into_iter();
    let near = near.flat_map(|name| origins_of("http", name, address.port()));
    let far = options.allow_hosts.iter().flat_map(|name| origins_of("https", &written(name), 443));
    near.chain(far).collect()
}

/// As a URL and a `Host` have it.
fn written(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => name.to_string(),
    }
}

/// Handshakes for the gateway, which does not know TLS.
struct Handshakes(Arc<Tls>);

impl Secure for Handshakes {
    fn secure(&self, stream: TcpStream) -> Securing {
        let accepting = self.0.accept(stream);
        Box::pin(async move {
            let accepted = accepting.await?;
            let stream: Box<dyn Stream> = Box::new(accepted.stream);
            Ok(Secured { stream, certificate: accepted.names })
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Verb};

    fn options(words: &[&str]) -> UpOptions {
        let words = ["decalog", "up"].iter().chain(words);
        match Arguments::try_parse_from(words).unwrap().verb {
            Verb::Up(options) => *options,
            _ => unreachable!(),
        }
    }

    fn entry(words: &[&str], address: &str) -> Entry {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(directory.path());
        Entry::open(&options(words), &data, address.parse().unwrap()).unwrap()
    }

    #[test]
    fn beyond_loopback_there_is_no_plain_http_without_a_proxy() {
        for (words, address, scheme, open) in [
            (&[][..], "127.0.0.1:1", "http", true),
            (&[], "[::1]:1", "http", true),
            (&["--tls"], "127.0.0.1:1", "https", true),
            (&[], "0.0.0.0:1", "https", false),
            (&[], "192.0.2.1:1", "https", false),
            (&["--behind-proxy", "192.0.2.0/24"], "0.0.0.0:1", "http", false),
            (&["--behind-proxy", "127.0.0.1"], "127.0.0.1:1", "http", false),
        ] {
            let entry = entry(words, address);
            assert_eq!(entry.url.split("://").next(), Some(scheme), "{words:?} {address}");
            assert_eq!(entry.open_predictions, open, "{words:?} {address}");
            assert_eq!(entry.greeting().is_some(), scheme == "https");
            assert_eq!(matches!(entry.entrance, Entrance::Secure(_)), scheme == "https");
        }
    }

    #[test]
    fn callers_are_told_a_name_that_the_certificate_has() {
        assert_eq!(
            entry(&["--allow-host", "ml.example.org"], "0.0.0.0:8010").url,
            "https://ml.example.org:8010"
        );
        assert_eq!(entry(&[], "192.0.2.1:8010").url, "https://192.0.2.1:8010");
        assert_eq!(entry(&["--tls"], "[::1]:8010").url, "https://[::1]:8010");
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        for words in [
            &["--tls-cert", "a"][..],
            &["--tls-key", "a"],
            &["--behind-proxy", "10.0.0.0/40"],
            &["--behind-proxy", "10.0.0.0/8", "--tls"],
        ] {
            let words = ["decalog", "up"].iter().chain(words);
            assert!(Arguments::try_parse_from(words).is_err());
        }
    }
}
