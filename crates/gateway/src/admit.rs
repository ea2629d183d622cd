//! Refuses at once what may not come in: a foreign `Host` or `Origin`, a body that is too long.
//!
//! A page of another site, or of another port of this machine, must not manage: a request for the
//! control plane that names an `Origin` names this server's own, with scheme, host and port, and
//! one that a browser sends for a page of another site is refused. Predictions may be requested by
//! a page of any of the names that this server allows, at any port, as a page under development
//! has. Programs that are no browsers send no `Origin`, and pass.

use std::collections::BTreeSet;

use domain::{Code, Problem};
use http::{HeaderMap, HeaderName, Method, Request, Uri, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The names under which this server may be called.
#[derive(Clone, Debug)]
pub struct Hosts {
    names: BTreeSet<String>,
    any: bool,
}

impl Hosts {
    /// `localhost` and all names below it, which are of nobody else (RFC 6761), `127.0.0.1` and
    /// `[::1]`.
    pub fn loopback() -> Hosts {
        Hosts { names: ["localhost", "127.0.0.1", "[::1]"].map(String::from).into(), any: false }
    }

    /// With one more name, without a port.
    pub fn with(mut self, name: &str) -> Hosts {
        self.names.insert(name.to_ascii_lowercase());
        self
    }

    /// Every name: only for test networks.
    pub fn any() -> Hosts {
        Hosts { names: BTreeSet::new(), any: true }
    }

    fn allow(&self, authority: &str) -> bool {
        let name = name_of(authority);
        let is_below_localhost = || {
            let name = name.to_ascii_lowercase();
            name.strip_suffix(".localhost").is_some_and(|label| !label.is_empty())
        };
        self.any
            || self.names.contains(name)
            || self.names.contains(&name.to_ascii_lowercase())
            || is_below_localhost()
    }
}

impl Hosts {
    /// Whether a page of `origin` came from where a request names as its `Host`. Names that were
    /// allowed may be those of a proxy that speaks TLS.
    fn is_own_origin(&self, host: &str, origin: &str, encrypted: bool) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let port = match scheme {
            "http" if !encrypted => 80,
            "https" if encrypted || !Hosts::loopback().allow(host) => 443,
            _ => return false,
        };
        let whole = |authority: &str| {
            let name = name_of(authority);
            let own = authority[name.len()..].trim_start_matches(':').parse().unwrap_or(port);
            (name.to_ascii_lowercase(), own)
        };
        whole(host) == whole(authority)
    }
}

/// An authority without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// The authority by which a request calls this server.
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let named = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(|authority| authority.as_str()).or_else(named)
}

/// The origin of the pages of this server that is called by an authority: a name that was allowed,
/// and is called in clear, is that of a proxy that speaks TLS.
pub fn own_origin(authority: &str, encrypted: bool) -> String {
    match encrypted || !Hosts::loopback().allow(authority) {
        true => format!("https://{authority}"),
        false => format!("http://{authority}"),
    }
}

/// Refuses what a page of a foreign site, or a name that was bent to this address, sends; unless
/// that site is one whose pages may ask this.
pub fn check_host(
    hosts: &Hosts,
    uri: &Uri,
    headers: &HeaderMap,
    may_ask: bool,
) -> Result<(), Problem> {
    let refuse = |what: &str, value: &str| {
        Err(Problem::new(
            Code::ForeignHost,
            format!("the request's {what} `{value}` is not a name of this server"),
        )
        .help("call it by the address that decalog up printed, or start it with --allow-host NAME"))
    };
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        // Whoever passed it on may have gone by the other one.
        return Err(Problem::new(Code::BadRequest, "the request has two headers `Host`"));
    }
    match authority(uri, headers) {
        Some(host) if hosts.allow(host) => {}
        Some(host) => return refuse("Host", host),
        None => return refuse("Host", ""),
    }
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| !may_ask) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("");
    match origin.split_once("://") {
        Some((_, authority)) if hosts.allow(authority) => Ok(()),
        _ => refuse("Origin", origin),
    }
}

/// Refuses what a page of another origin sends to the control plane; `encrypted` if the request came
/// over TLS.
pub fn check_manages<B>(
    hosts: &Hosts,
    request: &Request<B>,
    encrypted: bool,
) -> Result<(), Problem> {
    let headers = request.headers();
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let refuse = |what: &str| {
        Err(Problem::new(Code::ForeignOrigin, format!("{what} may not manage this server"))
            .help("use the decalog command, or a page that this server itself has given"))
    };
    let host = authority(request.uri(), headers);
    if let Some(origin) = text(&header::ORIGIN)
        && !host.is_some_and(|host| hosts.is_own_origin(host, origin, encrypted))
    {
        return refuse(&format!("a page of {origin}"));
    }
    // To follow a link to a page of this server is no request of the page that has the link.
    let is_visit = request.method() == Method::GET
        && text(&FETCH_MODE) == Some("navigate")
        && text(&FETCH_DESTINATION) == Some("document");
    match text(&FETCH_SITE) {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if is_visit => Ok(()),
        Some(site) => refuse(&format!("a {site} page")),
    }
}

/// Refuses what a browser sends with its session's cookie unless it says that a page of this server
/// asked for it: a browser names the origin of whatever may change something.
pub fn check_session<B>(
    hosts: &Hosts,
    request: &Request<B>,
    encrypted: bool,
) -> Result<(), Problem> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_safe && !request.headers().contains_key(header::ORIGIN) {
        let text =
            "a request with the cookie of a session that changes something must name its Origin";
        return Err(Problem::new(Code::ForeignOrigin, text)
            .help("programs send a token: decalog token create"));
    }
    check_manages(hosts, request, encrypted)
}

/// Refuses a body that announces more than the limit, before any of it is read.
pub fn check_length(headers: &HeaderMap, body_bytes_max: usize) -> Result<(), Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > body_bytes_max as u64 => Err(too_large(body_bytes_max)),
        _ => Ok(()),
    }
}

/// The 413.
pub fn too_large(body_bytes_max: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body is over the limit of {body_bytes_max} bytes"),
    )
    .help("send fewer rows in one request, or start the server with a larger --body-bytes-max")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let hosts = Hosts::loopback().with("ml.example.org");
        check_host(&hosts, &Uri::from_static("/"), &headers, false).is_ok()
    }

    #[test]
    fn hosts_and_origins() {
        for host in [
            "127.0.0.1:8010",
            "localhost",
            "a1.localhost:8010",
            "LOCALHOST:1",
            "[::1]:8010",
            "ml.example.org:443",
        ] {
            assert!(check(host, None), "{host}");
            assert!(check(host, Some("http://localhost:8010")), "{host}");
            assert!(!check(host, Some("http://evil.example")), "{host}");
        }
        for host in [
            ".localhost",
            "evillocalhost",
            "localhost.evil.example",
            "evil.example",
            "evil.example:8010",
            "127.0.0.1.evil.example",
            "",
            "[::2]:1",
        ] {
            assert!(!check(host, None), "{host}");
        }
        assert!(!check("localhost", Some("null")));
        let mut two = HeaderMap::new();
        two.append(header::HOST, "localhost".parse().unwrap());
        two.append(header::HOST, "localhost".parse().unwrap());
        assert!(check_host(&Hosts::loopback(), &Uri::from_static("/"), &two, false).is_err());
        let nobody = HeaderMap::new();
        assert!(check_host(&Hosts::loopback(), &Uri::from_static("/"), &nobody, true).is_err());
    }

    fn manages(method: &str, headers: &[(&str, &str)]) -> bool {
        manages_over(method, headers, false)
    }

    fn manages_over(method: &str, headers: &[(&str, &str)], encrypted: bool) -> bool {
        let mut request = Request::builder().method(method).uri("/v1/models/m");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let hosts = Hosts::loopback().with("ml.example.org");
        check_manages(&hosts, &request.body(()).unwrap(), encrypted).is_ok()
    }

    #[test]
    fn only_pages_of_this_server_manage_it() {
        let own =
            |host: &str, origin: &str| manages("DELETE", &[("host", host), ("origin", origin)]);
        for host in ["localhost:8010", "127.0.0.1:8010", "[::1]:8010"] {
            assert!(manages("DELETE", &[("host", host)]), "a program sends no Origin");
            assert!(own(host, &format!("http://{host}")));
            for foreign in [
                "http://localhost:3000",
                "http://localhost",
                "https://localhost:8010",
                "http://evil.example:8010",
                "null",
            ] {
                assert!(
                    foreign == format!("http://{host}") || !own(host, foreign),
                    "{host} {foreign}"
                );
            }
        }
        let over_tls = |origin: &str| {
            manages_over("DELETE", &[("host", "localhost:8010"), ("origin", origin)], true)
        };
        assert!(over_tls("https://localhost:8010") && !over_tls("http://localhost:8010"));
        assert!(own("localhost", "http://localhost:80"), "the port of the scheme");
        assert!(own("ml.example.org", "https://ml.example.org"), "behind a proxy that speaks TLS");
        assert!(!own("ml.example.org", "https://ml.example.org:8443"));
        for (site, passes) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(
                manages("GET", &[("host", "localhost:8010"), ("sec-fetch-site", site)]),
                passes,
                "{site}"
            );
        }
        let visit = [
            ("host", "localhost:8010"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(
            manages("GET", &visit) && !manages("POST", &visit),
            "a link may be followed, a form not sent"
        );
    }
}
