//! What can be wrong with a signature or a key, as a user sees it.

use domain::{Code, Digest, Problem};

/// The most files that one error names.
const LINES_MAX: usize = 20;
/// What signs a directory anew.
const AGAIN: &str = "sign the directory again: decalog sign . --key KEY.pem, or model_signing sign \
                     key . --private_key KEY.pem --signature model.sig; or remove model.sig";

/// Why a signature or a key cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SigningError {
    /// Over [`crate::SIGNATURE_BYTES_MAX`].
    #[error("model.sig has more than {} MiB", crate::SIGNATURE_BYTES_MAX >> 20)]
    TooLong,
    /// It is another format, or damaged.
    #[error("model.sig is not a signature of a model: {0}")]
    Malformed(String),
    /// A form of the format that is not read here.
    #[error("model.sig is of a form that Decalog does not read: {0}")]
    Unsupported(String),
    /// It names a key that did not make it.
    #[error("model.sig names the key {}, but was not made with it, or was changed since", .0.short())]
    Forged(Digest),
    /// It is a signature of other files. One line for each.
    #[error("model.sig is not a signature of these files")]
    Differs(Vec<String>),
    /// A text that is no key for this.
    #[error("this is not a key that can be used: {0}")]
    Key(String),
}

impl SigningError {
    /// As a user sees it, with what to do.
    pub fn problem(self) -> Problem {
        let text = self.to_string();
        match self {
            SigningError::Key(_) => Problem::new(Code::BadKey, text).help(
                "keys are ECDSA keys of P-256, P-384 or P-521, as PEM: openssl ecparam -name \
                 prime256v1 -genkey -noout -out KEY.pem, openssl ec -in KEY.pem -pubout -out PUB.pem",
            ),
            SigningError::Differs(lines) => {
                let more = lines.len().saturating_sub(LINES_MAX);
                let rest = (more > 0).then(|| format!("and {more} more"));
                let shown = lines.into_iter().take(LINES_MAX).chain(rest);
                Problem::new(Code::BadSignature, text).details(shown).help(AGAIN)
            }
            _ => Problem::new(Code::BadSignature, text).help(AGAIN),
        }
    }
}
