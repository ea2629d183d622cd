//! Keeps a server's certificate current: its own is renewed in time, files are read again when they
//! change. Handshakes take the current one; what is wrong is told and changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use domain::{Digest, Problem};
use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::Authority;
use crate::pair::{Contents, Pair};

/// After a certificate could not be renewed, in milliseconds.
const RETRY_MS: u64 = 3_600_000;

/// Where a server's certificate comes from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// From an authority of its own.
    Own {
        /// Where that lies; made if there is none.
        directory: PathBuf,
        /// Names and addresses by which the server is called.
        names: Vec<String>,
    },
    /// From files that somebody else renews.
    Files {
        /// PEM: the server's certificate, then those that lead to its authority.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
    },
}

/// The certificate that handshakes take.
#[derive(Debug)]
pub struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Keeps one certificate current.
pub struct Keeper {
    current: Arc<Current>,
    source: Source,
    /// Names of hosts in the certificate that was there first.
    names: Vec<String>,
}

enum Source {
    Own { authority: Box<Authority>, names: Vec<String>, renew_at_ms: Mutex<u64> },
    Files { certificate: PathBuf, key: PathBuf, seen: Mutex<Seen> },
}

/// What was in the files.
struct Seen {
    good: Digest,
    /// What cannot be used, and how often it was looked at: the two files of a pair do not change at
    /// the same moment.
    bad: Option<(Digest, u32)>,
}

/// When a certificate is renewed: after two thirds of its time.
fn renewal_ms(pair: &Pair, now_ms: u64) -> u64 {
    now_ms + pair.facts.not_after_ms.saturating_sub(now_ms) / 3 * 2
}

impl Keeper {
    /// Begins; without a certificate that can be used there is nothing to keep.
    pub fn open(certificates: Certificates, now_ms: u64) -> Result<Keeper, Problem> {
        let (pair, source) = match certificates {
            Certificates::Own { directory, names } => {
                let authority = Box::new(Authority::open(&directory, now_ms)?);
                let pair = authority.issue(&names, now_ms)?;
                let renew_at_ms = Mutex::new(renewal_ms(&pair, now_ms));
                (pair, Source::Own { authority, names, renew_at_ms })
            }
            Certificates::Files { certificate, key } => {
                let contents = Contents::read(&certificate, &key)?;
                let pair = contents.pair(now_ms).map_err(|problem| {
                    problem.details([
                        format!("certificate: {}", certificate.display()),
                        format!("key: {}", key.display()),
                    ])
                })?;
                let seen = Mutex::new(Seen { good: contents.digest(), bad: None });
                (pair, Source::Files { certificate, key, seen })
            }
        };
        let current = Arc::new(Current(ArcSwap::new(pair.certified)));
        Ok(Keeper { current, source, names: pair.facts.names.dns })
    }

    /// For handshakes.
    pub fn current(&self) -> Arc<Current> {
        self.current.clone()
    }

    /// Names of hosts in the certificate that was there first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// By which callers know the server's own authority, if it has one.
    pub fn authority(&self) -> Option<Digest> {
        match &self.source {
            Source::Own { authority, .. } => Some(authority.digest()),
            Source::Files { .. } => None,
        }
    }

    /// Renews the certificate if it is time, or takes what has changed. Reads files.
    pub fn look(&self, now_ms: u64) {
        match &self.source {
            Source::Own { authority, names, renew_at_ms } => {
                let mut renew_at_ms = renew_at_ms.lock();
                if now_ms < *renew_at_ms {
                    return;
                }
                *renew_at_ms = match authority.issue(names, now_ms) {
                    Ok(pair) => self.take(pair, now_ms),
                    Err(problem) => {
                        tracing::error!("the certificate cannot be renewed: {problem}");
                        now_ms + RETRY_MS
                    }
                };
            }
            Source::Files { certificate, key, seen } => {
                let mut seen = seen.lock();
                let contents = Contents::read(certificate, key);
                let digest = match &contents {
                    Ok(contents) => contents.digest(),
                    Err(problem) => Digest::of(problem.message.as_bytes()),
                };
                if digest == seen.good {
                    seen.bad = None;
                    return;
                }
                match contents.and_then(|contents| contents.pair(now_ms)) {
                    Ok(pair) => {
                        *seen = Seen { good: digest, bad: None };
                        self.take(pair, now_ms);
                    }
                    Err(problem) => seen.fail(digest, &problem),
                }
            }
        }
    }

    /// When it is to be renewed.
    fn take(&self, pair: Pair, now_ms: u64) -> u64 {
        let renew_at_ms = renewal_ms(&pair, now_ms);
        let days = pair.facts.not_after_ms.saturating_sub(now_ms) / 86_400_000;
        tracing::info!("connections get a new certificate, which is valid for {days} days");
        self.current.0.store(pair.certified);
        renew_at_ms
    }
}

impl Seen {
    /// Tells once what is wrong, if it is at the second look, too.
    fn fail(&mut self, digest: Digest, problem: &Problem) {
        let looks = match self.bad {
            Some((bad, looks)) if bad == digest => looks.saturating_add(1),
            _ => 1,
        };
        self.bad = Some((digest, looks));
        if looks == 2 {
            tracing::error!("the new certificate is not used, the last one stays: {problem}");
        }
    }
}
