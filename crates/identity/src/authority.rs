//! This server's own authority: a certificate that signs those which the server shows, for whoever
//! has none of a public one. Its key never leaves the data directory.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use domain::{Digest, Problem};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use time::OffsetDateTime;

use crate::facts::Facts;
use crate::pair::{Pair, certificates};
use crate::problem;

const DAY_MS: u64 = 86_400_000;
/// How long the authority itself is valid, in days: ten years.
const AUTHORITY_DAYS: u64 = 3_652;
/// How long what it signs is valid, in days.
pub const LEAF_DAYS: u64 = 90;
/// A certificate is valid from a little before it is made, in milliseconds: clocks differ.
const SKEW_MS: u64 = 3_600_000;

/// An authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    not_after_ms: u64,
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

fn failed(error: rcgen::Error) -> Problem {
    problem(format!("a certificate cannot be made: {error}"))
}

fn moment(ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl Authority {
    /// The one in this directory, made if there is none.
    pub fn open(directory: &Path, now_ms: u64) -> Result<Authority, Problem> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let unusable = |path: &Path, error: io::Error| {
            let lost =
                "without it callers must trust a new one: restore it, or remove the directory";
            problem(format!("{} cannot be used: {error}", path.display())).help(lost)
        };
        if !certificate.exists() {
            let (pem, key_pem) = make(now_ms).map_err(failed)?;
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            // The certificate last: without it nobody knows the key.
            made.and_then(|()| write(&key, &key_pem, 0o600))
                .and_then(|()| write(&certificate, &pem, 0o644))
                .map_err(|error| unusable(directory, error))?;
        }
        let pem = fs::read(&certificate).map_err(|error| unusable(&certificate, error))?;
        let key_pem = fs::read_to_string(&key).map_err(|error| unusable(&key, error))?;
        let certificate = certificates(&pem)?.remove(0);
        let pair = KeyPair::from_pem(&key_pem).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, pair).map_err(failed)?;
        let not_after_ms = Facts::read(&certificate)?.not_after_ms;
        Ok(Authority { certificate, not_after_ms, issuer, directory: directory.into() })
    }

    /// By which callers know it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// A certificate for these names and addresses, with a new key.
    pub fn issue(&self, names: &[String], now_ms: u64) -> Result<Pair, Problem> {
        let end_ms = (now_ms + LEAF_DAYS * DAY_MS).min(self.not_after_ms);
        if end_ms <= now_ms {
            let text = format!("the authority in {} has expired", self.directory.display());
            return Err(problem(text).help(
                "remove that directory and start again: another is made, which callers must trust anew",
            ));
        }
        let mut params = CertificateParams::new(names).map_err(|error| {
            problem(format!("one of the names {} cannot be one: {error}", names.join(", ")))
        })?;
        params.not_before = moment(now_ms.saturating_sub(SKEW_MS));
        params.not_after = moment(end_ms);
        let name = names.first().map_or("decalog", String::as_str);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|error| problem(format!("a key cannot be made: {error}")))?;
        Pair::new(chain, key, now_ms)
    }
}

/// A new authority's certificate and key, as PEM.
fn make(now_ms: u64) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = moment(now_ms.saturating_sub(SKEW_MS));
    params.not_after = moment(now_ms + AUTHORITY_DAYS * DAY_MS);
    params.distinguished_name = rcgen::DistinguishedName::new();
    // No two have the same name: a caller may trust several.
    let name = format!("Decalog authority {}", Digest::of(key.public_key_raw()).short());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)
}
