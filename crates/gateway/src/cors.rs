//! Pages from elsewhere that may request predictions in a browser, as whoever runs the server has
//! said (CORS); by itself there are none. They see health and metadata, too, and nothing of what
//! manages. Cookies are of no use to them: they say who they are with a token.

use std::str::FromStr;

use domain::problem::excerpt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

const PRIVATE_NETWORK_ASKED: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK_ALLOWED: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
/// How long a browser may keep what it was allowed, in seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
/// What a page may read of an answer beside its body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "decalog-request-id, decalog-version, inference-header-content-length, retry-after, server-timing",
);

/// Where pages come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Anywhere: `*`.
    Any,
    /// Here, as browsers write it: `https://app.example.org`.
    One(HeaderValue),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        if text == "*" {
            return Ok(Origin::Any);
        }
        let bare = text.trim_end_matches('/').to_ascii_lowercase();
        let is_origin = bare.split_once("://").is_some_and(|(scheme, rest)| {
            matches!(scheme, "http" | "https")
                && !rest.is_empty()
                && !rest.contains(['/', '*', '@'])
        });
        let value = HeaderValue::from_str(&bare).ok().filter(|_| is_origin);
        value.map(Origin::One).ok_or_else(|| {
            format!("`{}` is no origin: write https://app.example.org, or *", excerpt(text))
        })
    }
}

/// The origins whose pages may request predictions.
#[derive(Clone, Debug, Default)]
pub struct Cors(Vec<Origin>);

/// A page that may ask, on one request.
pub struct Page {
    /// What it is told of who may.
    allowed: HeaderValue,
}

impl Cors {
    /// Those of these origins.
    pub fn of(origins: Vec<Origin>) -> Cors {
        Cors(origins)
    }

    /// Whether there are any.
    pub(crate) fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// The page that sent a request for a prediction with these headers, if it may.
    pub(crate) fn page(&self, headers: &HeaderMap) -> Option<Page> {
        let origin = headers.get(header::ORIGIN)?;
        if self.0.contains(&Origin::Any) {
            return Some(Page { allowed: HeaderValue::from_static("*") });
        }
        let is_it = |known: &Origin| matches!(known, Origin::One(one) if one == origin);
        self.0.iter().any(is_it).then(|| Page { allowed: origin.clone() })
    }
}

impl Page {
    /// What a browser is told that asks whether it may send a request.
    pub fn preflight(&self, method: &Method, asked: &HeaderMap) -> Option<HeaderMap> {
        if method != Method::OPTIONS || !asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        // Whichever it wants to send: none of them lets it do more.
        if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        if asked.contains_key(PRIVATE_NETWORK_ASKED) {
            headers.insert(PRIVATE_NETWORK_ALLOWED, HeaderValue::from_static("true"));
        }
        Some(headers)
    }

    /// Lets the page read an answer, also one that refuses.
    pub fn may_read(self, headers: &mut HeaderMap) {
        if self.allowed != "*" {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        let one = |text: &'static str| Ok(Origin::One(HeaderValue::from_static(text)));
        assert_eq!("*".parse(), Ok(Origin::Any));
        assert_eq!("HTTPS://App.Example.org/".parse(), one("https://app.example.org"));
        assert_eq!("http://localhost:3000".parse(), one("http://localhost:3000"));
        for bad in ["", "app.example.org", "https://", "https://a/b", "https://*.a.b", "null"] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_are_those_of_the_origins_that_were_named() {
        let asks = |cors: &Cors, origin: &'static str| {
            let headers = [(header::ORIGIN, HeaderValue::from_static(origin))];
            cors.page(&HeaderMap::from_iter(headers)).is_some()
        };
        let page = "https://app.example.org";
        let one = Cors::of(vec![page.parse().unwrap()]);
        assert!(one.is_on() && !Cors::default().is_on());
        assert!(asks(&one, page) && !asks(&Cors::default(), page));
        for other in ["http://app.example.org", "https://evil.example", "null"] {
            assert!(!asks(&one, other) && asks(&Cors::of(vec![Origin::Any]), other), "{other}");
        }
        assert!(one.page(&HeaderMap::new()).is_none());
    }
}
