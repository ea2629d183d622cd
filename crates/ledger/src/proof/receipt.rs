//! Receipts (C2SP tlog-proof): that one entry is in the ledger, in one text that can be checked
//! without the ledger and without Decalog, by whoever knows the ledger's key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Digest;

use crate::proof::checkpoint::{Checkpoint, CheckpointError, read_hash, read_number};
use crate::proof::inclusion::verify_inclusion;
use crate::proof::key::VerifierKey;
use crate::proof::merkle::{PROOF_HASHES_MAX, ProofError, leaf_hash};
use crate::proof::note::{Note, NoteError};

/// With which the line of what is added begins.
const EXTRA: &str = "extra ";
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// That one entry is in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// What the entry's hash is made of, for those who do not have it; it proves nothing by itself.
    /// Empty if there is none.
    pub extra: Vec<u8>,
    /// Which entry, from 0: its number less one.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub proof: Vec<Digest>,
    /// The head of a tree that holds it, signed.
    pub checkpoint: Note,
}

/// Why a receipt proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Not the lines that there must be.
    #[error("this is not a receipt: line {line} is not {expected}")]
    Form {
        /// Which, from 1.
        line: usize,
        /// What there must be.
        expected: &'static str,
    },
    /// Its checkpoint cannot be read, or is not what it should be.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof leads elsewhere.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl From<NoteError> for ReceiptError {
    fn from(error: NoteError) -> ReceiptError {
        ReceiptError::Checkpoint(error.into())
    }
}

impl Receipt {
    /// Checks that the entry with this hash is in the ledger that this key signs for. Gives the
    /// head that proves it.
    pub fn verify(
        &self,
        entry: &Digest,
        origin: &str,
        key: &VerifierKey,
    ) -> Result<Checkpoint, ReceiptError> {
        let head = Checkpoint::verified(&self.checkpoint, origin, key)?;
        let leaf = leaf_hash(&entry.0);
        verify_inclusion(leaf, self.index, head.size, &self.proof, head.root)?;
        Ok(head)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if !self.extra.is_empty() {
            writeln!(f, "{EXTRA}{}", STANDARD.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash.0)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Receipt {
    type Err = ReceiptError;

    fn from_str(text: &str) -> Result<Receipt, ReceiptError> {
        let wrong = |line, expected| ReceiptError::Form { line, expected };
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or_else(|| wrong(1, "followed by a checkpoint"))?;
        let mut lines = head.split('\n').zip(1..).peekable();
        if lines.next().is_none_or(|(line, _)| line != FIRST_LINE) {
            return Err(wrong(1, FIRST_LINE));
        }
        let extra = lines.next_if(|(line, _)| line.starts_with(EXTRA));
        let extra = extra.and_then(|(line, _)| line.strip_prefix(EXTRA)).unwrap_or_default();
        let extra = STANDARD.decode(extra).map_err(|_| wrong(2, "`extra` and base 64"))?;
        let index = lines.next().and_then(|(line, _)| read_number(line.strip_prefix("index ")?));
        let index = index.ok_or_else(|| wrong(2, "`index` and a number"))?;
        let mut proof = vec![];
        for (line, number) in lines {
            let hash = read_hash(line).filter(|_| proof.len() < PROOF_HASHES_MAX);
            proof.push(hash.ok_or_else(|| wrong(number, "a hash of the proof in base 64"))?);
        }
        Ok(Receipt { extra, index, proof, checkpoint: checkpoint.parse()? })
    }
}
