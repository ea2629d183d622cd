//! A platform: its keys, and an HTTP server that answers what a test says and remembers what it was
//! asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::*;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{AUDIENCE, NOW_S};

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

/// A key, and the id that it is published by.
pub struct Signer {
    pub id: &'static str,
    pair: Pair,
}

impl Signer {
    pub fn rsa(id: &'static str) -> Signer {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        Signer { id, pair: Pair::Rsa(pair) }
    }

    pub fn p256(id: &'static str) -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Signer { id, pair: Pair::Ec(pair, "P-256") }
    }

    pub fn p384(id: &'static str) -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Signer { id, pair: Pair::Ec(pair, "P-384") }
    }

    pub fn ed25519(id: &'static str) -> Signer {
        Signer { id, pair: Pair::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    /// As it is published.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                // Two integers in DER: the modulus, of 2048 bits, and 65537.
                let der = pair.public_key().as_ref();
                json!({"kty": "RSA", "n": encode(&der[9..265]), "e": "AQAB"})
            }
            Pair::Ec(pair, curve) => {
                let (x, y) = {
                    let point = &pair.public_key().as_ref()[1..];
                    point.split_at(point.len() / 2)
                };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())})
            }
        };
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// What makes a token of a header and claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().unwrap();
        self.sign_text(algorithm, &header.to_string(), &claims.to_string())
    }

    /// What makes a token of texts that may be anything.
    pub fn sign_text(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair, _) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encode(signature))
    }

    /// A token, as platforms make them.
    pub fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": algorithm, "kid": self.id, "typ": "JWT"}), claims)
    }
}

/// An answer.
#[derive(Clone)]
pub enum Reply {
    Json(Value),
    Raw(u16, String),
    Elsewhere(String),
    /// A byte now and then, for ever.
    Trickle,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub authorization: String,
    pub body: String,
}

#[derive(Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<Asked>>,
    is_over: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

/// A server.
pub struct Platform {
    pub issuer: String,
    shared: Arc<Shared>,
    listens: Option<JoinHandle<()>>,
    address: std::net::SocketAddr,
}

impl Platform {
    /// One that publishes these keys.
    pub fn with(signers: &[&Signer]) -> Platform {
        let platform = Platform::start("http", None);
        platform.publish(signers.iter().map(|signer| signer.jwk()).collect());
        platform
    }

    /// One behind TLS, and the file of its authority.
    pub fn encrypted(signers: &[&Signer]) -> (Platform, tempfile::TempDir, PathBuf) {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("authority.pem");
        std::fs::write(&file, own.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(crate::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let platform = Platform::start("https", Some(Arc::new(tls)));
        platform.publish(signers.iter().map(|signer| signer.jwk()).collect());
        (platform, directory, file)
    }

    fn start(scheme: &str, tls: Option<Arc<ServerConfig>>) -> Platform {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { tls, ..Shared::default() });
        let serving = shared.clone();
        let listens = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (serving, stream) = (serving.clone(), stream.unwrap());
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        let issuer = format!("{scheme}://{address}");
        Platform { issuer, shared, listens: Some(listens), address }
    }

    /// Says what it is, as most do.
    pub fn metadata(&self) -> Value {
        let issuer = &self.issuer;
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/keys"),
            "authorization_endpoint": format!("{issuer}/authorize?tenant=one"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
        })
    }

    pub fn publish(&self, keys: Vec<Value>) {
        self.answer("/.well-known/openid-configuration", Reply::Json(self.metadata()));
        self.answer("/keys", Reply::Json(json!({"keys": keys})));
    }

    pub fn answer(&self, path: &str, reply: Reply) {
        self.shared.replies.lock().insert(path.into(), reply);
    }

    /// What it was asked at a path.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.shared.asked.lock();
        asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// What a token of it says, good for an hour, with other claims in place of these.
    pub fn claims(&self, other: Value) -> Value {
        let mut claims = json!({
            "iss": self.issuer, "sub": "somebody", "aud": AUDIENCE,
            "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3_600,
        });
        for (name, value) in other.as_object().unwrap() {
            match value.is_null() {
                true => claims.as_object_mut().unwrap().remove(name),
                false => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.listens.take().unwrap().join();
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        match &self.tls {
            None => self.reply(stream),
            Some(tls) => {
                let connection = ServerConnection::new(tls.clone()).unwrap();
                self.reply(StreamOwned::new(connection, stream));
            }
        }
    }

    fn reply(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        let Some(asked) = read(&mut stream) else { return };
        let reply = self.replies.lock().get(&asked.path).cloned();
        self.asked.lock().push(asked);
        let stream = stream.get_mut();
        let (status, location, body) = match reply {
            Some(Reply::Json(value)) => (200, String::new(), value.to_string()),
            Some(Reply::Raw(status, body)) => (status, String::new(), body),
            Some(Reply::Elsewhere(url)) => (302, format!("Location: {url}\r\n"), String::new()),
            Some(Reply::Trickle) => return self.trickle(stream),
            None => (404, String::new(), "nothing".into()),
        };
        let length = body.len();
        let _ = write!(
            stream,
            "HTTP/1.1 {status} so\r\nContent-Type: application/json\r\n{location}\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let _ = stream.flush();
    }

    fn trickle(&self, stream: &mut impl Write) {
        let _ = write!(stream, "HTTP/1.1 200 so\r\nContent-Length: 100000\r\n\r\n");
        while !self.is_over.load(Ordering::Relaxed)
            && stream.write_all(b" ").and_then(|()| stream.flush()).is_ok()
        {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_string();
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => authorization = value.into(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Asked { path, authorization, body: String::from_utf8(body).unwrap() })
}
