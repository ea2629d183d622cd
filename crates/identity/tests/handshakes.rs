//! What callers see of a server's certificates: a client with the server's authority, or with none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{CertificateNames, Digest};
use identity::{Accepted, Certificates, Settings, Tls, provider};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const DAY_MS: u64 = 86_400_000;

fn now_ms() -> u64 {
    UnixTime::now().as_secs() * 1_000
}

fn own(directory: &Path, names: &[&str], now_ms: u64) -> Tls {
    let certificates = Certificates::Own {
        directory: directory.join("tls"),
        names: names.iter().map(ToString::to_string).collect(),
    };
    Tls::open(Settings { certificates, client_ca: None }, now_ms).unwrap()
}

fn authority(directory: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(directory.join("tls/ca.pem")).unwrap()
}

/// A client that trusts these, and looks at the clock as told.
#[derive(Clone)]
struct Client {
    roots: Vec<CertificateDer<'static>>,
    now_ms: u64,
    shows: Option<(CertificateDer<'static>, Vec<u8>)>,
    speaks: &'static [&'static [u8]],
}

#[derive(Debug)]
struct Clock(u64);

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.0)))
    }
}

/// What a handshake showed.
struct Met {
    certificate: CertificateDer<'static>,
    protocol: Option<Vec<u8>>,
    accepted: Accepted<DuplexStream>,
}

impl Client {
    fn new(root: CertificateDer<'static>) -> Client {
        Client { roots: vec![root], now_ms: now_ms(), shows: None, speaks: &[] }
    }

    async fn meet(&self, tls: &Tls, name: &str) -> std::io::Result<Met> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots.iter().cloned());
        let clock = Arc::new(Clock(self.now_ms));
        let builder = ClientConfig::builder_with_details(provider(), clock)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![certificate.clone()],
                    PrivateKeyDer::try_from(key.clone()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = self.speaks.iter().map(|protocol| protocol.to_vec()).collect();
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(name.to_string()).unwrap();
        let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, near);
        let (client, accepted) = tokio::join!(connecting, tls.accept(far));
        let (mut client, mut accepted) = (client?, accepted?);
        accepted.stream.write_all(b"hello").await?;
        accepted.stream.flush().await?;
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"hello");
        let state = client.get_ref().1;
        Ok(Met {
            certificate: state.peer_certificates().unwrap()[0].clone(),
            protocol: state.alpn_protocol().map(<[u8]>::to_vec),
            accepted,
        })
    }
}

#[tokio::test]
async fn a_client_with_the_own_authority_trusts_every_name_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["ml.example.org", "localhost", "127.0.0.1", "192.0.2.7", "2001:db8::1"];
    let tls = own(directory.path(), &names, now_ms());
    let root = authority(directory.path());
    assert_eq!(tls.authority(), Some(Digest::of(&root)));
    for name in names {
        let met = Client::new(root.clone()).meet(&tls, name).await.unwrap();
        assert!(met.accepted.names.is_none(), "it showed nothing");
    }
    assert!(Client::new(root.clone()).meet(&tls, "other.example.org").await.is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    own(elsewhere.path(), &names, now_ms());
    let stranger = Client::new(authority(elsewhere.path()));
    assert!(stranger.meet(&tls, "localhost").await.is_err(), "another authority");
    // Its key is the owner's, and it stays.
    use std::os::unix::fs::PermissionsExt;
    let key = directory.path().join("tls/ca.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = own(directory.path(), &names, now_ms());
    assert_eq!(again.authority(), tls.authority());
    Client::new(root).meet(&again, "localhost").await.unwrap();
}

#[tokio::test]
async fn http_2_is_chosen_by_those_who_can() {
    let directory = tempfile::tempdir().unwrap();
    let tls = own(directory.path(), &["localhost"], now_ms());
    const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
    const OLD: &[&[u8]] = &[b"http/1.1"];
    for (speaks, expected) in
        [(BOTH, Some(b"h2".to_vec())), (OLD, Some(b"http/1.1".to_vec())), (&[], None)]
    {
        let client = Client { speaks, ..Client::new(authority(directory.path())) };
        assert_eq!(client.meet(&tls, "localhost").await.unwrap().protocol, expected);
    }
}

#[tokio::test]
async fn the_own_certificate_is_renewed_after_two_thirds_of_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut now = now_ms();
    let tls = own(directory.path(), &["localhost"], now);
    let at = |now_ms| Client { now_ms, ..Client::new(authority(directory.path())) };
    let first = at(now).meet(&tls, "localhost").await.unwrap().certificate;
    now += 59 * DAY_MS;
    tls.look(now);
    assert_eq!(at(now).meet(&tls, "localhost").await.unwrap().certificate, first);
    now += 2 * DAY_MS;
    tls.look(now);
    let mut last = at(now).meet(&tls, "localhost").await.unwrap().certificate;
    assert_ne!(last, first);
    // It goes on like this for years, and is never shown for longer than it is valid.
    let mut renewed = 0;
    while now < now_ms() + 9 * 365 * DAY_MS {
        now += 7 * DAY_MS;
        tls.look(now);
        let shown = at(now).meet(&tls, "localhost").await.unwrap().certificate;
        renewed += u32::from(shown != last);
        last = shown;
    }
    assert!((45..60).contains(&renewed), "{renewed} times in nine years");
}

/// A certificate and its key in files, signed by nobody else.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("cert.pem"), self.directory.path().join("key.pem"))
    }

    fn tls(&self) -> Result<Tls, domain::Problem> {
        let (certificate, key) = self.paths();
        let certificates = Certificates::Files { certificate, key };
        Tls::open(Settings { certificates, client_ca: None }, now_ms())
    }

    fn write(&self, certificate: &str, key: &str) {
        let paths = self.paths();
        std::fs::write(paths.0, certificate).unwrap();
        std::fs::write(paths.1, key).unwrap();
    }
}

/// A certificate for `localhost` that ends in so many days, its key, and it as a client trusts it.
fn pair(days: i64) -> (String, String, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(30);
    params.not_after = now + time::Duration::days(days);
    let made = params.self_signed(&key).unwrap();
    (made.pem(), key.serialize_pem(), made.der().clone())
}

#[tokio::test]
async fn files_are_read_again_and_what_is_bad_changes_nothing() {
    let files = Files { directory: tempfile::tempdir().unwrap() };
    let (first, first_key, first_root) = pair(10);
    let (second, second_key, second_root) = pair(20);
    files.write(&first, &first_key);
    let tls = files.tls().unwrap();
    let shows = async |root: &CertificateDer<'static>| {
        Client::new(root.clone()).meet(&tls, "localhost").await.is_ok()
    };
    assert!(shows(&first_root).await && !shows(&second_root).await);
    let (expired, expired_key, _) = pair(-1);
    let cut = &second[..second.len() / 2];
    for (certificate, key) in [
        (second.as_str(), first_key.as_str()),
        ("", ""),
        (cut, &second_key),
        (&second, "no key"),
        (&expired, &expired_key),
    ] {
        files.write(certificate, key);
        for _ in 0..3 {
            tls.look(now_ms());
        }
        assert!(shows(&first_root).await, "{certificate} {key}");
    }
    std::fs::remove_file(files.paths().1).unwrap();
    tls.look(now_ms());
    assert!(shows(&first_root).await);
    files.write(&second, &second_key);
    tls.look(now_ms());
    assert!(shows(&second_root).await && !shows(&first_root).await);
}

#[test]
fn without_a_certificate_that_fits_nothing_begins_and_it_is_said_why() {
    let files = Files { directory: tempfile::tempdir().unwrap() };
    let ((first, key, _), (second, _, _), (expired, expired_key, _)) = (pair(1), pair(2), pair(-3));
    for (certificate, key, why) in [
        (second.as_str(), key.as_str(), "not that of the certificate"),
        (&first, "", "no key"),
        ("", &key, "no certificate"),
        (&expired, &expired_key, "expired 3 days ago"),
    ] {
        files.write(certificate, key);
        let problem = files.tls().err().unwrap().to_string();
        assert!(problem.contains(why), "{problem}");
    }
    std::fs::remove_file(files.paths().0).unwrap();
    let problem = files.tls().err().unwrap().to_string();
    assert!(problem.contains("cert.pem") && problem.contains("No such file"), "{problem}");
}

#[tokio::test]
async fn a_certificate_that_a_caller_shows_is_verified_and_tells_his_names() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let made = params.self_signed(&key).unwrap();
        (made.pem(), Issuer::new(params, key))
    };
    let show = |issuer: &Issuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["churn.example.org".to_string()]).unwrap();
        params.subject_alt_names.extend([
            SanType::URI("spiffe://example.org/churn".try_into().unwrap()),
            SanType::Rfc822Name("ann@example.org".try_into().unwrap()),
        ]);
        params.distinguished_name.push(rcgen::DnType::CommonName, "owner");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(&key, issuer).unwrap();
        Some((made.der().clone(), key.serialize_der()))
    };
    let ((pem, trusted), (_, foreign)) = (make("trusted"), make("foreign"));
    let client_ca = directory.path().join("clients.pem");
    std::fs::write(&client_ca, pem).unwrap();
    let certificates = Certificates::Own {
        directory: directory.path().join("tls"),
        names: vec!["localhost".into()],
    };
    let settings = Settings { certificates, client_ca: Some(client_ca) };
    let tls = Tls::open(settings, now_ms()).unwrap();
    let client = Client::new(authority(directory.path()));
    let nobody = client.meet(&tls, "localhost").await.unwrap();
    assert!(nobody.accepted.names.is_none(), "nobody has to show one");
    let known = Client { shows: show(&trusted), ..client.clone() };
    let expected = CertificateNames {
        dns: vec!["churn.example.org".into()],
        uris: vec!["spiffe://example.org/churn".into()],
        emails: vec!["ann@example.org".into()],
    };
    let names = known.meet(&tls, "localhost").await.unwrap().accepted.names.unwrap();
    assert_eq!(*names, expected);
    let unknown = Client { shows: show(&foreign), ..client };
    assert!(unknown.meet(&tls, "localhost").await.is_err(), "of an authority that is not trusted");
}
