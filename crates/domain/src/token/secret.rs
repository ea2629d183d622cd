//! The text of a token: a prefix that says whose kind of token it is, 30 random characters, and a
//! checksum, so that a scanner finds leaked tokens and a typo is noticed without a look-up. It is
//! never printed by accident, and no error repeats any of it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The random characters of a token: 62³⁰ are about 178 bits.
pub const RANDOM_CHARS: usize = 30;
/// The characters of its checksum: the CRC-32 of all before it, in base 62.
pub const CHECKSUM_CHARS: usize = 6;
/// As `dcp_`.
const PREFIX_CHARS: usize = 4;
/// The characters of a token.
pub const TOKEN_CHARS: usize = PREFIX_CHARS + RANDOM_CHARS + CHECKSUM_CHARS;
/// So many random bytes are enough for a token: one in 32 is left out so that no character is
/// likelier than another, and more than half would have to be.
pub const RANDOM_BYTES: usize = 64;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What kind of owner a token has, as its prefix says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// `dcp_`: a person.
    Personal,
    /// `dcs_`: a service.
    Service,
    /// `dcj_`: a job.
    Job,
}

impl TokenKind {
    /// All of them.
    pub const ALL: [TokenKind; 3] = [TokenKind::Personal, TokenKind::Service, TokenKind::Job];

    /// With which its tokens begin.
    pub fn prefix(self) -> &'static str {
        match self {
            TokenKind::Personal => "dcp_",
            TokenKind::Service => "dcs_",
            TokenKind::Job => "dcj_",
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenKind::Personal => "personal",
            TokenKind::Service => "service",
            TokenKind::Job => "job",
        })
    }
}

/// A well-formed token. Whether it is anybody's is another question.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    kind: TokenKind,
    text: [u8; TOKEN_CHARS],
}

/// The text is no token, for this reason. It is never repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// It begins with something else.
    #[error("this is not a token of Decalog: one begins with dcp_, dcs_ or dcj_")]
    Prefix,
    /// A character that no token has.
    #[error(
        "character {place} of the token is neither a letter from A to Z nor a digit: copy it again \
         without spaces or quotes around it"
    )]
    Character {
        /// Which, from 1.
        place: usize,
    },
    /// A part is missing, or something stands behind it.
    #[error(
        "the token has {found} characters, and one has {TOKEN_CHARS}: copy it again, all of it"
    )]
    Length {
        /// As many as there are.
        found: usize,
    },
    /// A typo.
    #[error("the token was mistyped: its last {CHECKSUM_CHARS} characters do not fit the others")]
    Checksum,
}

/// Too many of the random bytes had to be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} random bytes were not enough for a token: {RANDOM_BYTES} are, if they are random")]
pub struct TooFewRandomBytes(pub usize);

impl Secret {
    /// A new token of these random bytes, of which [`RANDOM_BYTES`] are enough.
    pub fn new(kind: TokenKind, random: &[u8]) -> Result<Secret, TooFewRandomBytes> {
        let mut text = [0; TOKEN_CHARS];
        text[..PREFIX_CHARS].copy_from_slice(kind.prefix().as_bytes());
        // The 248 smallest bytes fall on the digits evenly; the others would favour some.
        let mut digits = random
            .iter()
            .filter(|byte| usize::from(**byte) < 256 / DIGITS.len() * DIGITS.len())
            .map(|byte| DIGITS[usize::from(*byte) % DIGITS.len()]);
        for place in &mut text[PREFIX_CHARS..PREFIX_CHARS + RANDOM_CHARS] {
            *place = digits.next().ok_or(TooFewRandomBytes(random.len()))?;
        }
        let checksum = checksum(&text[..PREFIX_CHARS + RANDOM_CHARS]);
        text[PREFIX_CHARS + RANDOM_CHARS..].copy_from_slice(&checksum);
        Ok(Secret { kind, text })
    }

    /// Whose kind of token it is.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// By which the ledger knows it: SHA-256 of the text.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }

    /// The text, to be shown to its owner once.
    pub fn reveal(&self) -> &str {
        // All of it is ASCII.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Secret, SecretError> {
        let kind = TokenKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()));
        let kind = kind.ok_or(SecretError::Prefix)?;
        let strange = text
            .chars()
            .skip(PREFIX_CHARS)
            .take(TOKEN_CHARS)
            .position(|c| !c.is_ascii_alphanumeric());
        if let Some(at) = strange {
            return Err(SecretError::Character { place: PREFIX_CHARS + at + 1 });
        }
        let found = text.as_bytes();
        let text: [u8; TOKEN_CHARS] =
            found.try_into().map_err(|_| SecretError::Length { found: found.len() })?;
        match text[PREFIX_CHARS + RANDOM_CHARS..] == checksum(&text[..PREFIX_CHARS + RANDOM_CHARS])
        {
            true => Ok(Secret { kind, text }),
            false => Err(SecretError::Checksum),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.kind.prefix())
    }
}

/// The CRC-32 (IEEE 802.3) of some bytes in base 62, the highest digit first.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest =
        !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ CRC[usize::from((crc as u8) ^ byte)]);
    let mut text = [DIGITS[0]; CHECKSUM_CHARS];
    for place in text.iter_mut().rev() {
        *place = DIGITS[rest as usize % DIGITS.len()];
        rest /= DIGITS.len() as u32;
    }
    text
}

/// What each byte does to a CRC-32, by the reversed polynomial.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};
