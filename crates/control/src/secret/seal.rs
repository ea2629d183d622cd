//! Encryption with one key (AES-256-GCM), and where keys and names come from.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use domain::Problem;

use super::failed;
use crate::random::random;

pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// An encrypted key: nonce, key and tag.
pub const SEALED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// What one secret, or the keys of secrets, are encrypted with.
pub type SecretKey = [u8; KEY_BYTES];

/// Encrypts. What is in `context` is not kept, and must be named again to read it.
pub fn seal(key: &SecretKey, plain: &[u8], context: &[u8]) -> Result<Vec<u8>, Problem> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    let sealed = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: context })
        .map_err(|_| failed(std::io::Error::other("a value could not be encrypted")))?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Decrypts; `None` if this is not what was encrypted with this key in this context.
pub fn unseal(key: &SecretKey, sealed: &[u8], context: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: rest, aad: context }).ok()
}
