//! Keys: ECDSA over the curves of NIST, as PEM. A public key is known by the SHA-256 of its PEM text,
//! in the one form that OpenSSL and the tools of the format write.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};
use domain::{Curve, Digest};
use pem::{EncodeConfig, LineEnding, Pem};

use crate::{KEY_BYTES_MAX, SigningError};

/// All that there are.
const CURVES: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];
/// What a public key's DER begins with: its kind, its curve, and that a point follows.
const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const P521: &[u8] = b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00";

/// The beginning of a key's DER, and how long its point is, in bytes.
fn form(curve: Curve) -> (&'static [u8], usize) {
    match curve {
        Curve::P256 => (P256, 65),
        Curve::P384 => (P384, 97),
        Curve::P521 => (P521, 133),
    }
}

fn verification(curve: Curve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1,
    }
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
    }
}

fn wrong(reason: impl Into<String>) -> SigningError {
    SigningError::Key(reason.into())
}

/// The blocks of a PEM text.
fn blocks(text: &str) -> Result<Vec<Pem>, SigningError> {
    if text.len() > KEY_BYTES_MAX {
        return Err(wrong(format!("it has more than {} KiB", KEY_BYTES_MAX >> 10)));
    }
    match pem::parse_many(text) {
        Ok(blocks) if !blocks.is_empty() => Ok(blocks),
        Ok(_) => Err(wrong("it is no PEM text")),
        Err(error) => Err(wrong(format!("it is no PEM text: {error}"))),
    }
}

/// A key that checks signatures.
pub struct PublicKey {
    curve: Curve,
    pem: String,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// Reads a PEM text.
    pub fn from_pem(text: &str) -> Result<PublicKey, SigningError> {
        let blocks = blocks(text)?;
        let [block] = blocks.as_slice() else { return Err(wrong("it holds more than one")) };
        match block.tag() {
            "PUBLIC KEY" => PublicKey::from_der(block.contents()),
            tag if tag.contains("PRIVATE KEY") => Err(wrong(
                "it is a private key, which belongs to nobody but its owner; its public key is needed",
            )),
            "CERTIFICATE" => Err(wrong(
                "it is a certificate; its public key is needed: openssl x509 -in CERT.pem -noout -pubkey",
            )),
            tag => Err(wrong(format!("it is a {}", domain::problem::excerpt(tag)))),
        }
    }

    fn from_der(der: &[u8]) -> Result<PublicKey, SigningError> {
        let point = |curve: &Curve| {
            let (begin, length) = form(*curve);
            der.strip_prefix(begin).filter(|point| point.len() == length && point[0] == 4)
        };
        let found = CURVES.iter().find_map(|curve| Some((*curve, point(curve)?)));
        let (curve, point) = found.ok_or_else(|| {
            wrong("it is no ECDSA key of P-256, P-384 or P-521 in its uncompressed form")
        })?;
        PublicKey::of(curve, point)
    }

    fn of(curve: Curve, point: &[u8]) -> Result<PublicKey, SigningError> {
        let key = ParsedPublicKey::new(verification(curve), point)
            .map_err(|_| wrong("its point is not on its curve"))?;
        let der = [form(curve).0, point].concat();
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let pem = pem::encode_config(&Pem::new("PUBLIC KEY", der), config);
        Ok(PublicKey { curve, pem, key })
    }

    /// The SHA-256 of its PEM text, by which signatures name it.
    pub fn id(&self) -> Digest {
        Digest::of(self.pem.as_bytes())
    }

    /// Of what kind it is.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Its PEM text, the same for every text that holds this key.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether its owner signed this message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// A key that makes signatures.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads a PEM text, in the form of PKCS #8 or SEC 1, without a password.
    pub fn from_pem(text: &str) -> Result<PrivateKey, SigningError> {
        let blocks = blocks(text)?;
        let of_tag = |wanted: &str| blocks.iter().find(|block| block.tag().contains(wanted));
        let is_encrypted = |block: &Pem| {
            block.tag().contains("ENCRYPTED") || block.headers().get("DEK-Info").is_some()
        };
        let block = of_tag("PRIVATE KEY").ok_or_else(|| match of_tag("PUBLIC KEY") {
            Some(_) => wrong("it is a public key, and signing needs the private one"),
            None => wrong("no private key is in it"),
        })?;
        if is_encrypted(block) {
            return Err(wrong(
                "it is encrypted with a password; openssl ec -in KEY.pem writes it without",
            ));
        }
        let pair = CURVES.iter().find_map(|curve| {
            let pair = EcdsaKeyPair::from_private_key_der(signing(*curve), block.contents());
            Some((*curve, pair.ok()?))
        });
        let (curve, pair) =
            pair.ok_or_else(|| wrong("it is no ECDSA key of P-256, P-384 or P-521"))?;
        let public = PublicKey::of(curve, pair.public_key().as_ref())?;
        Ok(PrivateKey { pair, public })
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of a message, as DER.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let signed = self.pair.sign(&SystemRandom::new(), message);
        let signed = signed.map_err(|_| wrong("it does not sign"))?;
        Ok(signed.as_ref().to_vec())
    }
}
