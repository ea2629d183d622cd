//! Signed notes (C2SP signed-note): a text, and under it a line for each signature.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::proof::key::{SignatureType, SignerKey, VerifierKey, name_is_valid};

/// The longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 256 << 10;
/// The most signatures of a note that is read.
pub const SIGNATURES_MAX: usize = 64;

/// With which the line of a signature begins: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A text with signatures. What it says counts only once they are checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature, checked or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature {
    /// Whose it is said to be.
    pub name: String,
    /// Of the key that it is said to be by.
    pub key_id: [u8; 4],
    /// As the type of the key says.
    pub bytes: Vec<u8>,
}

/// Why a note counts for nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// Too long.
    #[error(
        "the note is longer than {NOTE_BYTES_MAX} bytes, or has more than {SIGNATURES_MAX} \
         signatures"
    )]
    TooLong,
    /// Not a text with a blank line and signatures.
    #[error(
        "this is not a signed note: expected a text, a blank line, and lines that begin with \
         {DASH:?}"
    )]
    Form,
    /// The line of a signature cannot be read.
    #[error("signature {0} of the note is not `\u{2014} NAME BASE64`")]
    Signature(usize),
    /// The text has characters that a note must not have, or no newline at its end.
    #[error("the text of a note ends with a newline, and has no other control characters")]
    Text,
    /// By none of the keys.
    #[error("the note is not signed by {}", names(.0))]
    Unsigned(Vec<String>),
    /// To be made with a key for something else.
    #[error(
        "the key of `{0}` is not for signatures of this kind: a ledger and its witnesses have keys \
         of different kinds"
    )]
    WrongKey(String),
    /// By one of the keys, and wrong.
    #[error("the signature by `{0}` is wrong: the note was changed after it was signed")]
    Wrong(String),
}

fn names(keys: &[String]) -> String {
    match keys {
        [] => "anybody, since no key was named".to_string(),
        [one] => format!("`{one}`"),
        more => format!("any of {}", more.join(", ")),
    }
}

impl Note {
    /// A text without signatures; it ends with a newline.
    pub fn new(text: String) -> Result<Note, NoteError> {
        let is_good = text.ends_with('\n') && !text.chars().any(is_forbidden);
        match is_good {
            _ if text.len() > NOTE_BYTES_MAX => Err(NoteError::TooLong),
            true => Ok(Note { text, signatures: vec![] }),
            false => Err(NoteError::Text),
        }
    }

    /// What is signed, with the newline at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, checked or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signs it as a log does.
    pub fn sign(&mut self, key: &SignerKey) -> Result<(), NoteError> {
        let signature = key.sign(self.text.as_bytes());
        self.add(key, SignatureType::Note, signature)
    }

    /// Adds a signature that was made elsewhere; one of the same key is replaced.
    pub fn add_signature(&mut self, signature: NoteSignature) {
        self.signatures
            .retain(|own| (&own.name, own.key_id) != (&signature.name, signature.key_id));
        self.signatures.push(signature);
    }

    pub(super) fn add(
        &mut self,
        key: &SignerKey,
        signs: SignatureType,
        bytes: Vec<u8>,
    ) -> Result<(), NoteError> {
        let (name, key_id) = (key.public().name().to_string(), key.public().id());
        if key.public().signs() != signs {
            return Err(NoteError::WrongKey(name));
        }
        self.add_signature(NoteSignature { name, key_id, bytes });
        Ok(())
    }

    /// The keys of these by which it is signed, at least one. Signatures of others are not looked
    /// at; a wrong one by a known key spoils the note.
    pub fn verify<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, NoteError> {
        let mut by = vec![];
        for key in keys {
            let mut its = self.by(key).peekable();
            if its.peek().is_none() {
                continue;
            }
            if !its.all(|signature| key.is_right(&self.text, &signature.bytes)) {
                return Err(NoteError::Wrong(key.name().to_string()));
            }
            by.push(key);
        }
        match by.is_empty() {
            false => Ok(by),
            true => {
                let keys = keys.iter().map(|key| key.name().to_string()).collect();
                Err(NoteError::Unsigned(keys))
            }
        }
    }

    /// The signatures that are said to be by this key.
    pub(super) fn by<'a>(
        &'a self,
        key: &'a VerifierKey,
    ) -> impl Iterator<Item = &'a NoteSignature> {
        let is_its = |own: &&NoteSignature| own.name == key.name() && own.key_id == key.id();
        self.signatures.iter().filter(is_its)
    }
}

fn is_forbidden(c: char) -> bool {
    c < ' ' && c != '\n'
}

fn read_signature(line: &str) -> Option<NoteSignature> {
    let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk::<4>()?;
    let is_good = name_is_valid(name) && !bytes.is_empty();
    is_good.then(|| NoteSignature { name: name.into(), key_id: *key_id, bytes: bytes.into() })
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Note, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        // The text may have blank lines itself: the last one divides.
        let at = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&note[..=at], &note[at + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let mut read = Note::new(text.to_string())?;
        for (at, line) in lines.split('\n').enumerate() {
            if at >= SIGNATURES_MAX {
                return Err(NoteError::TooLong);
            }
            let signature = read_signature(line).ok_or(NoteError::Signature(at + 1))?;
            read.signatures.push(signature);
        }
        Ok(read)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, key_id, bytes } in &self.signatures {
            writeln!(f, "{DASH}{name} {}", STANDARD.encode([&key_id[..], bytes].concat()))?;
        }
        Ok(())
    }
}
