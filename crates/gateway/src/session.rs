//! The cookie of a browser's session: its name, and where it is in a request.

use http::{HeaderMap, header};

/// What browsers take only over TLS or from this machine, for exactly this host and all its paths.
const PREFIX: &str = "__Host-decalog";
/// The longest text of all cookies that is looked at, in bytes.
const COOKIES_BYTES_MAX: usize = 8_192;

/// The name of the cookie of a server that is called by this authority. Browsers send the cookies of
/// one port of a host to all others.
pub fn cookie_name(authority: &str) -> String {
    match authority.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => {
            format!("{PREFIX}-{port}")
        }
        _ => PREFIX.into(),
    }
}

/// What a cookie of a request says; nothing if it is there twice.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines
        .filter(|line| line.len() <= COOKIES_BYTES_MAX)
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| value);
    found.next().filter(|_| found.next().is_none())
}

/// The text of the session that a browser sends.
pub fn text<'a>(headers: &'a HeaderMap, authority: Option<&str>) -> Option<&'a str> {
    if !headers.contains_key(header::COOKIE) {
        return None;
    }
    cookie(headers, &cookie_name(authority?))
}
