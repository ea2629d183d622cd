//! What a certificate says of who shows it.

/// The names in a certificate that was verified: its subject alternative names. The common name is
/// none of them, as nobody who signs has to look at it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificateNames {
    /// Of hosts.
    pub dns: Vec<String>,
    /// As `spiffe://example.org/churn`.
    pub uris: Vec<String>,
    /// E-mail addresses.
    pub emails: Vec<String>,
}
