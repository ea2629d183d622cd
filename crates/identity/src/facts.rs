//! What a certificate says: how long it is valid, and whose names are in it.

use domain::{CertificateNames, Problem};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::problem;

/// What is read of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// From when on it is valid, in milliseconds since 1970.
    pub not_before_ms: u64,
    /// Until when.
    pub not_after_ms: u64,
    /// Its subject alternative names.
    pub names: CertificateNames,
}

impl Facts {
    /// Reads a certificate.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Facts, Problem> {
        let wrong = |error: String| problem(format!("a certificate cannot be read: {error}"));
        let (_, parsed) =
            parse_x509_certificate(certificate).map_err(|error| wrong(error.to_string()))?;
        let ms = |time: x509_parser::time::ASN1Time| time.timestamp().max(0) as u64 * 1_000;
        let mut names = CertificateNames::default();
        let alternative = parsed.subject_alternative_name();
        if let Some(extension) = alternative.map_err(|error| wrong(error.to_string()))? {
            for name in &extension.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.dns.push(name.to_string()),
                    GeneralName::URI(uri) => names.uris.push(uri.to_string()),
                    GeneralName::RFC822Name(email) => names.emails.push(email.to_string()),
                    _ => {}
                }
            }
        }
        let validity = parsed.validity();
        Ok(Facts {
            not_before_ms: ms(validity.not_before),
            not_after_ms: ms(validity.not_after),
            names,
        })
    }
}
