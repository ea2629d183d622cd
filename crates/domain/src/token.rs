//! Tokens as the ledger keeps them: a digest, whose it is, what it may be used for and how much,
//! and until when. The token itself is shown once and kept nowhere.

mod limits;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::principal::{Principal, PrincipalKind};
use crate::scope::Scopes;

pub use limits::{
    BURST_S_MAX, CONCURRENT_REQUESTS_MAX, Limits, LimitsError, Per, RATE_REQUESTS_MAX,
    ROWS_DAY_MAX, Rate,
};
pub use secret::{
    CHECKSUM_CHARS, RANDOM_BYTES, RANDOM_CHARS, Secret, SecretError, TOKEN_CHARS, TokenKind,
    TooFewRandomBytes,
};

/// The longest that a token of a job is valid, in milliseconds: an hour.
pub const JOB_MS_MAX: u64 = 3_600_000;
/// The longest that the token before stays valid after a rotation, in milliseconds: 30 days.
pub const OVERLAP_MS_MAX: u64 = 30 * 86_400_000;

/// The most people and programs other than its owner who have known the text of a token.
pub const KNOWN_TO_MAX: usize = 8;

/// The longest text that is repeated when it is no id, in bytes.
const ID_BYTES_SHOWN_MAX: usize = 12;

/// What a token is called, also after a rotation; written as eight hexadecimal digits. It says
/// nothing of the token itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{8}$", "examples" = ["3fa9c1d2"]))]
pub struct TokenId(pub u32);

/// The text is no token's id.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not the id of a token: expected eight digits as in 3fa9c1d2; decalog token ls")]
pub struct TokenIdError(String);

/// All that is kept of a token.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenRecord {
    /// What it is called.
    pub id: TokenId,
    /// Whose it is: what it can do, its owner must be able to do, too, at that moment.
    pub owner: Principal,
    /// SHA-256 of the token's text.
    pub digest: Digest,
    /// What it may be used for at most.
    pub scopes: Scopes,
    /// How much it may be used.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// When it was made, or last rotated, in milliseconds since 1970.
    pub issued_ms: u64,
    /// From when on it is not valid any more, in milliseconds since 1970; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// By what it came to be.
    #[serde(default, skip_serializing_if = "TokenOrigin::is_made")]
    pub origin: TokenOrigin,
    /// The token that somebody came with who got this one for another place where they are: it ends
    /// with that one, and what it is used for counts for that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_on_from: Option<TokenId>,
    /// Whether somebody other than its owner made or rotated it, and so has known its text: then
    /// what is done with it is done by nobody in particular.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Who they are, as far as that is known: what can be done with it, each of them must be able
    /// to do, too, at that moment. The owner of the machine is above that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_to: Vec<Principal>,
    /// What it was before the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<EarlierToken>,
    /// When it was revoked, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<u64>,
}

/// By what a token came to be. What somebody who has just logged in gets ends soon, and is not
/// rotated: they log in again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenOrigin {
    /// Somebody made it.
    #[default]
    Made,
    /// A login on a command line.
    Login,
    /// A login in a browser: it is good in a cookie alone.
    Session,
    /// A token of another platform was exchanged for it.
    Exchange,
}

/// A token that another took the place of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EarlierToken {
    /// SHA-256 of its text.
    pub digest: Digest,
    /// From when on it is not valid any more, in milliseconds since 1970.
    pub until_ms: u64,
    /// Whether somebody other than its owner has known its text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Who they are, as far as that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_to: Vec<Principal>,
}

/// Whether a token that was presented is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenStatus {
    /// It is.
    Valid,
    /// It is another token.
    Other,
    /// It was revoked.
    Revoked {
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// It was valid for a time only, which is over.
    Expired {
        /// Since when, in milliseconds since 1970.
        at_ms: u64,
    },
    /// Another took its place, and the time in which both are valid is over.
    Replaced {
        /// Since when, in milliseconds since 1970.
        at_ms: u64,
    },
}

/// A token that cannot be made, or not be rotated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenRecordError {
    /// Its limits make no sense.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// It would never be valid.
    #[error("a token that expires at once is of no use: name a later time, as in --expires 90d")]
    ExpiresAtOnce,
    /// A job's without an end, or with one far away.
    #[error("a token of a job is valid for at most an hour")]
    JobTooLong,
    /// Made with a token that was made with a token, and so on.
    #[error("more than {KNOWN_TO_MAX} others would have known the token: its owner has to make it")]
    KnownToMany,
    /// A kind of token for another kind of owner.
    #[error("a {0} token cannot belong to {1}")]
    Owner(TokenKind, Principal),
    /// It is not valid any more.
    #[error("token {0} is not valid any more, so that it cannot be rotated: make another")]
    NotValid(TokenId),
    /// It is from a login.
    #[error("what a login gave is not rotated: log in again")]
    LoginRotation,
    /// A job's is asked for anew.
    #[error("a token of a job is not rotated: the job proves itself again and gets another")]
    JobRotation,
    /// Both valid for too long.
    #[error("after a rotation the token before stays valid for at most 30 days")]
    OverlapTooLong,
}

impl TokenKind {
    /// Of a token that belongs to this principal. Decalog itself needs none.
    pub fn of(owner: &Principal) -> Option<TokenKind> {
        match owner {
            Principal::Platform => None,
            Principal::LocalOwner | Principal::Known(PrincipalKind::Person, _) => {
                Some(TokenKind::Personal)
            }
            Principal::Known(PrincipalKind::Service | PrincipalKind::Certificate, _) => {
                Some(TokenKind::Service)
            }
            Principal::Known(PrincipalKind::Job, _) => Some(TokenKind::Job),
        }
    }
}

impl TokenRecord {
    /// The token whose limits count.
    pub fn root(&self) -> TokenId {
        self.passed_on_from.unwrap_or(self.id)
    }

    /// Checks what the types cannot: whether such a token can be made, of this kind.
    pub fn validate(&self, kind: TokenKind) -> Result<(), TokenRecordError> {
        self.limits.validate()?;
        if self.known_to.len() > KNOWN_TO_MAX {
            return Err(TokenRecordError::KnownToMany);
        }
        if TokenKind::of(&self.owner) != Some(kind) {
            return Err(TokenRecordError::Owner(kind, self.owner));
        }
        if self.expires_ms.is_some_and(|expires_ms| expires_ms <= self.issued_ms) {
            return Err(TokenRecordError::ExpiresAtOnce);
        }
        let job_until_ms = self.issued_ms.saturating_add(JOB_MS_MAX);
        if kind == TokenKind::Job && self.expires_ms.is_none_or(|ms| ms > job_until_ms) {
            return Err(TokenRecordError::JobTooLong);
        }
        Ok(())
    }

    /// Whether a token with this digest is good at this time, in milliseconds since 1970.
    pub fn status(&self, digest: &Digest, now_ms: u64) -> TokenStatus {
        let earlier = self.earlier_of(digest);
        if *digest != self.digest && earlier.is_none() {
            return TokenStatus::Other;
        }
        if let Some(at_ms) = self.revoked_ms {
            return TokenStatus::Revoked { at_ms };
        }
        let is_over = |at_ms: &u64| now_ms >= *at_ms;
        match (earlier, self.expires_ms) {
            (Some(earlier), _) if is_over(&earlier.until_ms) => {
                TokenStatus::Replaced { at_ms: earlier.until_ms }
            }
            (None, Some(at_ms)) if is_over(&at_ms) => TokenStatus::Expired { at_ms },
            _ => TokenStatus::Valid,
        }
    }

    fn earlier_of(&self, digest: &Digest) -> Option<&EarlierToken> {
        self.earlier.as_ref().filter(|earlier| earlier.digest == *digest)
    }

    /// Whether somebody other than its owner has known the text with this digest.
    pub fn is_shared(&self, digest: &Digest) -> bool {
        self.earlier_of(digest).map_or(self.shared, |earlier| earlier.shared)
    }

    /// Who else has known the text with this digest, as far as that is known.
    pub fn known_to(&self, digest: &Digest) -> &[Principal] {
        self.earlier_of(digest).map_or(&self.known_to, |earlier| &earlier.known_to)
    }

    /// The same token with another secret, valid for as long again as it was at first. The one
    /// before stays valid for `overlap_ms`, but no longer than it was valid anyway; what was still
    /// valid from a rotation before is not any more.
    pub fn rotated(
        &self,
        digest: Digest,
        overlap_ms: u64,
        now_ms: u64,
    ) -> Result<TokenRecord, TokenRecordError> {
        if TokenKind::of(&self.owner) == Some(TokenKind::Job) {
            return Err(TokenRecordError::JobRotation);
        }
        if !self.origin.is_made() {
            return Err(TokenRecordError::LoginRotation);
        }
        if overlap_ms > OVERLAP_MS_MAX {
            return Err(TokenRecordError::OverlapTooLong);
        }
        if self.status(&self.digest, now_ms) != TokenStatus::Valid {
            return Err(TokenRecordError::NotValid(self.id));
        }
        let until_ms = now_ms.saturating_add(overlap_ms).min(self.expires_ms.unwrap_or(u64::MAX));
        let lifetime_ms = self.expires_ms.map(|ms| ms.saturating_sub(self.issued_ms));
        Ok(TokenRecord {
            digest,
            earlier: Some(EarlierToken {
                digest: self.digest,
                until_ms,
                shared: self.shared,
                known_to: self.known_to.clone(),
            }),
            issued_ms: now_ms,
            expires_ms: lifetime_ms.map(|ms| now_ms.saturating_add(ms)),
            ..self.clone()
        })
    }
}

impl TokenOrigin {
    /// Whether somebody made it.
    pub fn is_made(&self) -> bool {
        *self == TokenOrigin::Made
    }

    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenOrigin::Made => "made",
            TokenOrigin::Login => "login",
            TokenOrigin::Session => "browser",
            TokenOrigin::Exchange => "exchange",
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<TokenId, TokenIdError> {
        let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let number = (text.len() == 8 && text.bytes().all(is_hex))
            .then(|| u32::from_str_radix(text, 16).ok())
            .flatten();
        // Somebody may paste the token itself, or a part of it: that must not come back.
        let shown = || match text.len() <= ID_BYTES_SHOWN_MAX {
            true => text.to_string(),
            false => format!("(a text of {} bytes)", text.len()),
        };
        number.map(TokenId).ok_or_else(|| TokenIdError(shown()))
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<TokenId, TokenIdError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> String {
        id.to_string()
    }
}
