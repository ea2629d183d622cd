//! Where a collector is, and the lists `NAME=VALUE,…` in which OpenTelemetry's variables are written.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

/// The longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// The most entries of a list.
const PAIRS_MAX: usize = 64;

/// The address of a collector; below it are `v1/traces` and `v1/metrics`.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    // No message repeats the address: it may hold a secret.
    fn from_str(text: &str) -> Result<Endpoint, String> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(format!("the address is longer than {ADDRESS_BYTES_MAX} bytes"));
        }
        let url = Url::parse(text).map_err(|error| format!("the address is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" if url.host().is_some() => Ok(Endpoint(url)),
            _ => Err("the address begins neither with https:// nor with http://".into()),
        }
    }
}

impl Endpoint {
    /// What may be shown of it: scheme, host and port.
    pub fn host(&self) -> String {
        let port = self.0.port().map_or(String::new(), |port| format!(":{port}"));
        format!("{}://{}{port}", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }

    /// Where one kind of data goes, `traces` or `metrics`.
    pub fn target(&self, signal: &str) -> String {
        let mut url = self.0.clone();
        url.set_fragment(None);
        url.set_path(&format!("{}/v1/{signal}", url.path().trim_end_matches('/')));
        url.into()
    }
}

/// Reads `NAME=VALUE,NAME=VALUE`; values are percent-encoded. No error repeats a value.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.len() > PAIRS_MAX {
        return Err(format!("there are more than {PAIRS_MAX}"));
    }
    let read = |(at, part): (usize, &&str)| {
        let wrong = |what: &str| format!("number {} {what}", at + 1);
        let (name, value) = part.split_once('=').ok_or_else(|| wrong("has no `=`"))?;
        let decoded = percent_decode_str(value.trim()).decode_utf8();
        let value = decoded.map_err(|_| wrong("is no UTF-8"))?;
        match name.trim() {
            "" => Err(wrong("has no name")),
            name => Ok((name.to_string(), value.into_owned())),
        }
    };
    parts.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_places_below_the_address() {
        let target = |text: &str| text.parse::<Endpoint>().unwrap().target("traces");
        assert_eq!(target("http://localhost:4318"), "http://localhost:4318/v1/traces");
        assert_eq!(
            target("https://otlp.example.org/a/?k=s"),
            "https://otlp.example.org/a/v1/traces?k=s"
        );
        for wrong in ["", "localhost:4318", "grpc://secret", "file:///secret", "https://"] {
            let error = wrong.parse::<Endpoint>().expect_err(wrong);
            assert!(!error.contains("secret"), "{error}");
        }
        let shown =
            format!("{:?}", "https://me:secret@a.example:1/secret".parse::<Endpoint>().unwrap());
        assert_eq!(shown, "https://a.example:1");
    }

    #[test]
    fn lists_are_read_as_opentelemetry_writes_them() {
        let read = pairs(" api-key = abc%2C%3D , x=y=z,").unwrap();
        let expected = [("api-key", "abc,="), ("x", "y=z")];
        assert_eq!(read, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(pairs(""), Ok(vec![]));
        for wrong in ["secret", "=secret", "a=%ff", &"a=b,".repeat(65)] {
            assert!(!pairs(wrong).unwrap_err().contains("secret"));
        }
    }
}
