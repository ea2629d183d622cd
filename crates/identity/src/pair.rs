//! A certificate with its chain, and the key that fits it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use domain::{Digest, Problem};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::facts::Facts;
use crate::{problem, provider};

/// What a server shows.
pub struct Pair {
    /// For handshakes.
    pub certified: Arc<CertifiedKey>,
    /// What the certificate says.
    pub facts: Facts,
}

impl Pair {
    /// Checks that they fit each other, and that the certificate is valid now.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now_ms: u64,
    ) -> Result<Pair, Problem> {
        let first = chain.first().ok_or_else(|| problem("there is no certificate".into()))?;
        let facts = Facts::read(first)?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let text = match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the key is not that of the certificate".into()
                }
                error => format!("certificate and key cannot be used: {error}"),
            };
            problem(text)
        })?;
        if facts.not_after_ms <= now_ms {
            let days = (now_ms - facts.not_after_ms) / 86_400_000;
            return Err(problem(format!("the certificate expired {days} days ago")));
        }
        if facts.not_before_ms > now_ms {
            return Err(problem("the certificate is not valid yet".into())
                .help("wait, or look at the clock of this machine"));
        }
        Ok(Pair { certified: Arc::new(certified), facts })
    }
}

/// The two files of a pair, as they are at one moment.
pub struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Contents {
    /// Reads both, whatever is in them.
    pub fn read(certificate: &Path, key: &Path) -> Result<Contents, Problem> {
        let read = |path: &Path| {
            fs::read(path)
                .map_err(|error| problem(format!("{} cannot be read: {error}", path.display())))
        };
        Ok(Contents { chain: read(certificate)?, key: read(key)? })
    }

    /// By which they are known again.
    pub fn digest(&self) -> Digest {
        let both = [Digest::of(&self.chain).0, Digest::of(&self.key).0].concat();
        Digest::of(&both)
    }

    /// The pair that is in them.
    pub fn pair(&self, now_ms: u64) -> Result<Pair, Problem> {
        let chain = certificates(&self.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| problem(format!("there is no key in the file of the key: {error}")))?;
        Pair::new(chain, key, now_ms)
    }
}

/// All certificates of a PEM file.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(problem("there is no certificate in the file".into())
            .help("it must be PEM, with the server's certificate first")),
        Err(error) => Err(problem(format!("the certificates cannot be read: {error}"))),
    }
}
