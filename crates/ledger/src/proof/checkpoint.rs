//! Checkpoints (C2SP tlog-checkpoint): which ledger, how many entries, and the root of the tree
//! over them, as the text of a signed note.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Digest;

use crate::proof::key::{SignerKey, VerifierKey};
use crate::proof::note::{Note, NoteError};

/// The longest name of a ledger, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 255;

/// The head of a ledger's tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which ledger: the same for all its life, and of no other.
    pub origin: String,
    /// The number of its entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
    /// Further lines, of whose meaning nothing is known here. Decalog writes none.
    pub extension: Vec<String>,
}

/// Why a checkpoint counts for nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not the lines that there must be.
    #[error(
        "this is not a checkpoint: expected a name, a number of entries and a root, each on a line"
    )]
    Form,
    /// Of another ledger.
    #[error("the checkpoint is of `{found}`, and not of `{expected}`")]
    Origin {
        /// Asked for.
        expected: String,
        /// As it says.
        found: String,
    },
    /// Not signed, or wrongly.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// Of a ledger with this name.
    pub fn new(origin: &str, size: u64, root: Digest) -> Checkpoint {
        Checkpoint { origin: origin.to_string(), size, root, extension: vec![] }
    }

    /// As a note, signed by the ledger's key. It must be consistent with all that were signed
    /// before: whoever signs two that are not has proved against himself.
    pub fn sign(&self, key: &SignerKey) -> Result<Note, CheckpointError> {
        let text = self.to_string();
        // What cannot be read again is not signed.
        if text.parse::<Checkpoint>().as_ref() != Ok(self) {
            return Err(CheckpointError::Form);
        }
        let mut note = Note::new(text)?;
        note.sign(key)?;
        Ok(note)
    }

    /// Of a note that is signed by the ledger's key, and of this ledger.
    pub fn verified(
        note: &Note,
        origin: &str,
        key: &VerifierKey,
    ) -> Result<Checkpoint, CheckpointError> {
        note.verify(std::slice::from_ref(key))?;
        let checkpoint: Checkpoint = note.text().parse()?;
        match checkpoint.origin == origin {
            true => Ok(checkpoint),
            false => {
                let expected = origin.to_string();
                Err(CheckpointError::Origin { expected, found: checkpoint.origin })
            }
        }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = STANDARD.encode(self.root.0);
        writeln!(f, "{}\n{}\n{root}", self.origin, self.size)?;
        self.extension.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A number as there is one text of it.
pub(super) fn read_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The base 64 of a hash.
pub(super) fn read_hash(text: &str) -> Option<Digest> {
    Some(Digest(STANDARD.decode(text).ok()?.try_into().ok()?))
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Checkpoint, CheckpointError> {
        let lines: Option<Vec<&str>> =
            text.strip_suffix('\n').map(|text| text.split('\n').collect());
        let lines = lines.filter(|lines| lines.iter().all(|line| !line.is_empty()));
        let Some([origin, size, root, extension @ ..]) = lines.as_deref() else {
            return Err(CheckpointError::Form);
        };
        let head = (origin.len() <= ORIGIN_BYTES_MAX)
            .then(|| read_number(size).zip(read_hash(root)))
            .flatten();
        let (size, root) = head.ok_or(CheckpointError::Form)?;
        let extension = extension.iter().map(|line| line.to_string()).collect();
        Ok(Checkpoint { origin: origin.to_string(), size, root, extension })
    }
}
