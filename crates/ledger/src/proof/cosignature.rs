//! Signatures of witnesses (C2SP tlog-cosignature, Ed25519): that at a time the ledger was seen
//! with this head, and that every head seen before is consistent with it.

use crate::proof::key::{SignatureType, SignerKey, VerifierKey};
use crate::proof::note::{Note, NoteError};

/// Signs a checkpoint as a witness, at this time in seconds since 1970; what the witness signed
/// before is replaced. That the checkpoint is consistent with what was seen is the business of
/// `witness`.
pub fn cosign(note: &mut Note, key: &SignerKey, at_s: u64) -> Result<(), NoteError> {
    let signature = key.sign_at(note.text(), at_s);
    note.add(key, SignatureType::Cosignature, signature)
}

/// When the witness with this key saw the checkpoint last, in seconds since 1970.
pub fn verify_cosignature(note: &Note, key: &VerifierKey) -> Result<u64, NoteError> {
    let name = || key.name().to_string();
    let mut latest = None;
    for signature in note.by(key) {
        let at_s = key.time_of(note.text(), &signature.bytes);
        latest = latest.max(Some(at_s.ok_or_else(|| NoteError::Wrong(name()))?));
    }
    latest.ok_or_else(|| NoteError::Unsigned(vec![name()]))
}
