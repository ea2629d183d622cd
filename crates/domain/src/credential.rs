//! Credentials that are no tokens of ours: by which jobs of other platforms and holders of client
//! certificates are known.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::certificate::CertificateNames;
use crate::principal::PrincipalKind;
use crate::problem::excerpt;

/// The longest text of an issuer, a claim, its value, or a name in a certificate, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 1_024;
/// The most claims that must have certain values.
const CLAIMS_MAX: usize = 16;
/// Claims whose values can become somebody else's, by the names of platforms that have them: a
/// repository that was renamed or deleted leaves its name to whoever comes.
const MUTABLE: [&str; 9] = [
    "actor",
    "repository",
    "repository_owner",
    "project_path",
    "namespace_path",
    "user_login",
    "user_email",
    "job_workflow_ref",
    "workflow_ref",
];
/// Claims that say for ever whose job it is. `sub` is for platforms that have no ids: those that do
/// write names into it.
const IMMUTABLE: [&str; 3] = ["repository_id", "project_id", "sub"];

/// How subjects begin that platforms make of such names.
const MADE_OF_NAMES: [&str; 3] = ["repo:", "repository_owner:", "project_path:"];

/// By what somebody is known who has no token of ours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// A token that another platform signed, with all of these claims.
    JobToken {
        /// Who signed it: the `iss` of the token.
        issuer: String,
        /// The values that claims must have; numbers and truth values as text.
        claims: BTreeMap<String, String>,
    },
    /// A client certificate with this name.
    Certificate(CertificateName),
}

/// One of the subject alternative names of a certificate: `dns:ci.example.org` or
/// `uri:spiffe://example.org/ci`. In JSON it is that text.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("examples" = ["dns:ci.example.org", "uri:spiffe://example.org/ci"]))]
pub struct CertificateName(String);

/// A credential that nobody is to be known by.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither a host's name nor a URI.
    #[error(
        "`{0}` is no name in a certificate: write dns:HOST or uri:URI, without wildcards, as in \
         dns:ci.example.org"
    )]
    Name(String),
    /// No https.
    #[error("`{0}` is no issuer of tokens: write its https:// address as the tokens have it")]
    Issuer(String),
    /// A claim that somebody else may have tomorrow.
    #[error(
        "the claim `{0}` has a name in it, which can become somebody else's: use repository_id \
         (GitHub) or project_id (GitLab), with ref or environment"
    )]
    Mutable(String),
    /// A text that a platform makes of names.
    #[error(
        "the value `{0}` is made of names, which can become somebody else's: use repository_id \
         (GitHub) or project_id (GitLab), with ref or environment"
    )]
    MadeOfNames(String),
    /// Nothing that is one project's for ever.
    #[error(
        "the claims let in everybody whom the issuer signs for: one of them must be repository_id, \
         project_id or, of an issuer without these, sub"
    )]
    Anybody,
    /// Too many or too long.
    #[error("a job is known by 1 to {CLAIMS_MAX} claims of at most {CREDENTIAL_BYTES_MAX} bytes")]
    Size,
}

impl Credential {
    /// Who is known by such a one.
    pub fn kind(&self) -> PrincipalKind {
        match self {
            Credential::JobToken { .. } => PrincipalKind::Job,
            Credential::Certificate(_) => PrincipalKind::Certificate,
        }
    }

    /// Who signs it, if it is a token.
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Credential::JobToken { issuer, .. } => Some(issuer),
            Credential::Certificate(_) => None,
        }
    }

    /// Fails if others could come by the same credential.
    pub fn validate(&self) -> Result<(), CredentialError> {
        let Credential::JobToken { issuer, claims } = self else { return Ok(()) };
        let fits = |text: &String| (1..=CREDENTIAL_BYTES_MAX).contains(&text.len());
        let all_fit = claims.iter().all(|(name, value)| fits(name) && fits(value));
        if !(1..=CLAIMS_MAX).contains(&claims.len()) || !all_fit || !fits(issuer) {
            return Err(CredentialError::Size);
        }
        let host = issuer.strip_prefix("https://").or_else(|| loopback(issuer));
        if host.is_none_or(|host| {
            host.is_empty() || host.contains(|c: char| c == '@' || c.is_whitespace())
        }) {
            return Err(CredentialError::Issuer(excerpt(issuer).into_owned()));
        }
        if let Some(name) = claims.keys().find(|name| MUTABLE.contains(&name.as_str())) {
            return Err(CredentialError::Mutable(name.clone()));
        }
        let is_of_names = |value: &&String| MADE_OF_NAMES.iter().any(|it| value.starts_with(it));
        if let Some(value) = claims.get("sub").filter(is_of_names) {
            return Err(CredentialError::MadeOfNames(excerpt(value).into_owned()));
        }
        match claims.keys().any(|name| IMMUTABLE.contains(&name.as_str())) {
            true => Ok(()),
            false => Err(CredentialError::Anybody),
        }
    }

    /// Whether a token of this issuer with these claims is such a one.
    pub fn is_met_by(&self, its_issuer: &str, its_claims: &BTreeMap<String, String>) -> bool {
        match self {
            Credential::JobToken { issuer, claims } => {
                issuer == its_issuer
                    && claims.iter().all(|(name, value)| its_claims.get(name) == Some(value))
            }
            Credential::Certificate(_) => false,
        }
    }
}

/// What follows the scheme of an address of this machine, where nobody reads what is in clear.
fn loopback(issuer: &str) -> Option<&str> {
    let rest = issuer.strip_prefix("http://")?;
    let host = rest.split(['/', ':']).next()?;
    matches!(host, "127.0.0.1" | "localhost").then_some(rest)
}

impl CertificateName {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// All names of a certificate that somebody can be known by.
    pub fn all(names: &CertificateNames) -> impl Iterator<Item = CertificateName> {
        let dns = names.dns.iter().map(|name| format!("dns:{name}"));
        dns.chain(names.uris.iter().map(|uri| format!("uri:{uri}")))
            .filter_map(|text| CertificateName::try_from(text).ok())
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CertificateName {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<CertificateName, CredentialError> {
        let wrong = || CredentialError::Name(excerpt(text).into_owned());
        let is_visible = text.bytes().all(|c| c.is_ascii_graphic());
        if !is_visible || text.len() > CREDENTIAL_BYTES_MAX || text.contains('*') {
            return Err(wrong());
        }
        match text.split_once(':') {
            // Hosts have names in any case.
            Some(("dns", host)) if !host.is_empty() && !host.contains([':', '/', '@']) => {
                Ok(CertificateName(text.to_ascii_lowercase()))
            }
            Some(("uri", uri)) if uri.contains(':') => Ok(CertificateName(text.to_string())),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for CertificateName {
    type Error = CredentialError;

    fn try_from(text: String) -> Result<CertificateName, CredentialError> {
        text.parse()
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(issuer: &str, claims: &[(&str, &str)]) -> Credential {
        let claims = claims.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Credential::JobToken { issuer: issuer.into(), claims: claims.collect() }
    }

    const GITHUB: &str = "https://token.actions.githubusercontent.com";

    #[test]
    fn a_job_is_known_by_what_never_becomes_anothers() {
        let good = [("repository_id", "42"), ("ref", "refs/heads/main")];
        assert_eq!(job(GITHUB, &good).validate(), Ok(()));
        assert_eq!(job("http://127.0.0.1:9/", &[("sub", "x")]).validate(), Ok(()));
        for (issuer, claims) in [
            (GITHUB, &[][..]),
            (GITHUB, &[("ref", "refs/heads/main")]),
            (GITHUB, &[("repository", "acme/x")]),
            (GITHUB, &[("repository_id", "42"), ("actor", "ann")]),
            (GITHUB, &[("sub", "repo:acme/fraud:ref:refs/heads/main")]),
            (GITHUB, &[("repository_id", "")]),
            ("http://ci.example.org", &good),
            ("http://127.0.0.1.example.org", &good),
            ("http://127.0.0.1:x@example.org", &good),
            ("https://", &good),
            ("", &good),
        ] {
            assert!(job(issuer, claims).validate().is_err(), "{issuer} {claims:?}");
        }
    }

    #[test]
    fn all_claims_must_be_met() {
        let wanted = job(GITHUB, &[("repository_id", "42"), ("environment", "production")]);
        let claims = |claims: &[(&str, &str)]| {
            claims.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let all = [("repository_id", "42"), ("environment", "production"), ("actor", "ann")];
        assert!(wanted.is_met_by(GITHUB, &claims(&all)));
        assert!(!wanted.is_met_by("https://other.example.org", &claims(&all)));
        assert!(!wanted.is_met_by(GITHUB, &claims(&all[..1])));
        let other = [("repository_id", "43"), ("environment", "production")];
        assert!(!wanted.is_met_by(GITHUB, &claims(&other)));
    }

    #[test]
    fn a_name_in_a_certificate_is_a_text() {
        let name = |text: &str| text.parse::<CertificateName>();
        assert_eq!(name("dns:CI.example.org").unwrap().as_str(), "dns:ci.example.org");
        assert!(name("uri:spiffe://example.org/CI").is_ok());
        for bad in [
            "",
            "ci.example.org",
            "dns:",
            "dns:*.example.org",
            "uri:x",
            "email:a@b",
            "cn:x",
            "dns:a b",
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
        let names = CertificateNames {
            dns: vec!["A.example".into(), "*.example".into()],
            uris: vec!["spiffe://x/y".into()],
            emails: vec!["a@example".into()],
        };
        let all: Vec<String> = CertificateName::all(&names).map(String::from).collect();
        assert_eq!(all, ["dns:a.example", "uri:spiffe://x/y"]);
    }
}
