//! Signatures of models in the format of OpenSSF Model Signing 1.0: a Sigstore bundle with a DSSE
//! envelope, in which an in-toto statement names every file with its digest. Reads them, checks them
//! by a public key and against a tree, and writes them. Bytes in, bytes out: it opens no file, and
//! knows nothing of who trusts whom.

mod bundle;
mod coverage;
mod error;
mod key;
mod statement;
#[cfg(test)]
mod tests;

pub use bundle::{Bundle, sign};
pub use coverage::{Files, check_files};
pub use error::SigningError;
pub use key::{PrivateKey, PublicKey};
pub use statement::Statement;

/// The longest `model.sig`, in bytes: one of 20,000 files with long names is within it.
pub const SIGNATURE_BYTES_MAX: usize = 16 << 20;
/// The longest text of a key, in bytes.
pub const KEY_BYTES_MAX: usize = 16 << 10;
