//! Keys of signed notes: the name of whoever signs, what their signatures mean, and an Ed25519 key.
//! Their texts are those of C2SP signed-note.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Digest;
use domain::problem::excerpt;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// The longest name of a key, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The latest time that a witness can name, in seconds since 1970.
const TIME_S_MAX: u64 = i64::MAX as u64;

/// With which a key that signs begins.
const PRIVATE: &str = "PRIVATE+KEY+";

/// What a signature means.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignatureType {
    /// Of a note's text, as it is: by a log.
    Note,
    /// Of a checkpoint at a time: by a witness (C2SP tlog-cosignature).
    Cosignature,
}

impl SignatureType {
    fn byte(self) -> u8 {
        match self {
            SignatureType::Note => 0x01,
            SignatureType::Cosignature => 0x04,
        }
    }
}

/// A key that checks signatures. Its text is `NAME+ID+BASE64`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    signs: SignatureType,
    key: VerifyingKey,
}

/// A key that signs. Its text is `PRIVATE+KEY+NAME+ID+BASE64`, which is never printed by accident.
#[derive(Clone)]
pub struct SignerKey {
    public: VerifierKey,
    key: SigningKey,
}

/// The text is no key. What follows the name is never repeated: it may be one that signs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not `NAME+ID+BASE64`.
    #[error("this is not a key of signed notes: expected NAME+ID+BASE64")]
    Form,
    /// Not a name.
    #[error(
        "`{0}` cannot name a key: use 1 to {NAME_BYTES_MAX} bytes without spaces, plus signs and \
         control characters, as in ml.example.org/decalog"
    )]
    Name(String),
    /// A kind of signature that this program cannot check.
    #[error("the key of `{0}` is of a kind that Decalog cannot use: it uses Ed25519")]
    Type(String),
    /// The bytes are not a point, or a weak one.
    #[error("the key of `{0}` is no Ed25519 key")]
    Key(String),
    /// The id belongs to another name or key.
    #[error("the key of `{0}` does not have the id that it says: it was mistyped or changed")]
    Id(String),
}

/// Whether it can name a key, or a log.
pub(super) fn name_is_valid(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// The key's bytes after its type.
fn material(text: &str) -> Result<(String, [u8; 4], SignatureType, [u8; 32]), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
    let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
    if !name_is_valid(name) {
        return Err(KeyError::Name(excerpt(name).into_owned()));
    }
    let name = name.to_string();
    let is_id = id.len() == 8 && !id.bytes().any(|c| c.is_ascii_uppercase());
    let id = u32::from_str_radix(id, 16).ok().filter(|_| is_id).ok_or(KeyError::Form)?;
    let bytes = STANDARD.decode(key).map_err(|_| KeyError::Form)?;
    let signs = match bytes.first() {
        Some(0x01) => SignatureType::Note,
        Some(0x04) => SignatureType::Cosignature,
        _ => return Err(KeyError::Type(name)),
    };
    let key = bytes[1..].try_into().map_err(|_| KeyError::Key(name.clone()))?;
    Ok((name, id.to_be_bytes(), signs, key))
}

impl VerifierKey {
    fn new(name: &str, signs: SignatureType, key: VerifyingKey) -> VerifierKey {
        let bytes = [name.as_bytes(), b"\n", &[signs.byte()], key.as_bytes()].concat();
        let [a, b, c, d, ..] = Digest::of(&bytes).0;
        VerifierKey { name: name.to_string(), id: [a, b, c, d], signs, key }
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its signatures mean.
    pub fn signs(&self) -> SignatureType {
        self.signs
    }

    /// The bytes before its signatures, by which they are told from those of other keys.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether this is its signature of a note's text.
    pub(super) fn is_right(&self, text: &str, signature: &[u8]) -> bool {
        match self.signs {
            SignatureType::Note => self.verify(text.as_bytes(), signature),
            SignatureType::Cosignature => self.time_of(text, signature).is_some(),
        }
    }

    /// When a witness with this key signed a checkpoint, in seconds since 1970, if this is its
    /// signature of it: the time, and what follows of it.
    pub(super) fn time_of(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let (time, signature) = signature.split_first_chunk::<8>()?;
        let at_s = u64::from_be_bytes(*time);
        let is_right = self.signs == SignatureType::Cosignature
            && at_s <= TIME_S_MAX
            && self.verify(&seen_at(text, at_s), signature);
        is_right.then_some(at_s)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature).ok();
        // Strict: no weak keys, and one signature has one form.
        signature.is_some_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl SignerKey {
    /// Of 32 random bytes, which must be kept secret.
    pub fn new(name: &str, signs: SignatureType, seed: &[u8; 32]) -> Result<SignerKey, KeyError> {
        if !name_is_valid(name) {
            return Err(KeyError::Name(excerpt(name).into_owned()));
        }
        let key = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, signs, key.verifying_key());
        Ok(SignerKey { public, key })
    }

    /// The key that checks its signatures.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// Its text, to be kept where nobody else reads it.
    pub fn reveal(&self) -> String {
        format!("{PRIVATE}{}", text(&self.public, self.key.as_bytes()))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).to_bytes().to_vec()
    }

    /// As a witness signs at a time, in seconds since 1970.
    pub(super) fn sign_at(&self, text: &str, at_s: u64) -> Vec<u8> {
        let at_s = at_s.min(TIME_S_MAX);
        [&at_s.to_be_bytes()[..], &self.sign(&seen_at(text, at_s))].concat()
    }
}

/// What a witness signs (C2SP tlog-cosignature).
fn seen_at(text: &str, at_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {at_s}\n{text}").into_bytes()
}

fn text(key: &VerifierKey, material: &[u8; 32]) -> String {
    let bytes = [&[key.signs.byte()], &material[..]].concat();
    let id = u32::from_be_bytes(key.id);
    format!("{}+{id:08x}+{}", key.name, STANDARD.encode(bytes))
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<VerifierKey, KeyError> {
        let (name, id, signs, bytes) = material(text)?;
        let key = VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak());
        let key = key.ok_or_else(|| KeyError::Key(name.clone()))?;
        let key = VerifierKey::new(&name, signs, key);
        match key.id == id {
            true => Ok(key),
            false => Err(KeyError::Id(name)),
        }
    }
}

impl FromStr for SignerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<SignerKey, KeyError> {
        let (name, id, signs, seed) = material(text.strip_prefix(PRIVATE).ok_or(KeyError::Form)?)?;
        let key = SignerKey::new(&name, signs, &seed)?;
        match key.public.id == id {
            true => Ok(key),
            false => Err(KeyError::Id(name)),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self, self.key.as_bytes()))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey(of {})", self.public)
    }
}
