//! Proofs about the ledger for somebody who trusts nobody here: a Merkle tree over the hashes of
//! its entries (RFC 6962), whose head is signed from time to time as a checkpoint, and
//! countersigned by witnesses elsewhere. The chain of hashes says that nothing in the middle
//! changed; whoever holds the disk can write all of it anew. A checkpoint that somebody else kept
//! tells that.
//!
//! All of it is pure: where nodes, keys and checkpoints are kept is decided elsewhere. The texts
//! are those of C2SP (signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof, tlog-tiles), so that programs
//! of others can check them.

mod checkpoint;
mod consistency;
mod cosignature;
mod frontier;
mod inclusion;
mod key;
mod merkle;
mod note;
mod receipt;
#[cfg(test)]
mod tests;
mod tile;
mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, ORIGIN_BYTES_MAX};
pub use consistency::{consistency_proof, verify_consistency};
pub use cosignature::{cosign, verify_cosignature};
pub use frontier::{Frontier, FrontierError, Tree};
pub use inclusion::{inclusion_proof, verify_inclusion};
pub use key::{KeyError, NAME_BYTES_MAX, SignatureType, SignerKey, VerifierKey};
pub use merkle::{Node, PROOF_HASHES_MAX, ProofError, leaf_hash, root_of_nothing};
pub use note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, SIGNATURES_MAX};
pub use receipt::{Receipt, ReceiptError};
pub use tile::{TILE_WIDTH, Tile, TileOf, tiles_between};
pub use witness::{Seen, WitnessRefusal, witness};
