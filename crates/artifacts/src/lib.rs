//! Content-addressed blobs and trees over an object store: put, get, verify, collect garbage. A
//! blob's name is its digest, so that nothing stored ever changes and no name that a stranger gives
//! becomes a path.

mod area;
mod blob;
mod collect;
mod ignored;
mod inspect;
mod keyed;
mod layout;
mod lease;
mod names;
mod problem;
mod seal;
mod store;
mod upload;
mod verify;
mod walk;

use std::io;

use domain::Digest;
use domain::tree::TreeError;

pub use area::Area;
pub use collect::{Collected, remove_tree};
pub use ignored::{LeftOut, NeverPushed, Why};
pub use lease::{Collection, Lease, Leases, Removal};
pub use names::UploadName;
pub use seal::seal_blob;
pub use store::{Missing, Store, Wanted};
pub use upload::Chunk;
pub use verify::{Verified, verify_trees};
pub(crate) use walk::walk_all;
pub use walk::{Walked, stamp, walk, walk_to_sign, walk_without};

/// Why a blob could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The disk is full; nothing that was acknowledged is lost.
    #[error("the disk is full: the artifact could not be written")]
    NoSpace,
    /// There is no such blob.
    #[error("the blob {0} is not in the store")]
    NotFound(Digest),
    /// A file of a tree cannot be laid out.
    #[error(
        "the content of {path} ({digest}) is lost: it is missing in the store, or was found damaged there"
    )]
    Lost {
        /// Within the tree.
        path: String,
        /// Of its content.
        digest: Digest,
    },
    /// A tree and its blob do not agree.
    #[error("{path} has {found} bytes, not {announced} as announced")]
    WrongSize {
        /// Within the tree.
        path: String,
        /// By the tree, in bytes.
        announced: u64,
        /// Of the blob, in bytes.
        found: u64,
    },
    /// The sender went away or stalled. What came before is kept.
    #[error("the upload broke off: {0}")]
    BrokenOff(String),
    /// Another call writes the same upload.
    #[error("another call still writes the upload of {0}")]
    Busy(Digest),
    /// Not a name for an upload.
    #[error("`{0}` is not a name for an upload: at most 64 letters, digits and hyphens")]
    UploadName(String),
    /// What is stored is not what was put there.
    #[error("the blob {0} is damaged: its content has another digest")]
    Corrupt(Digest),
    /// What was uploaded is not what was announced. It was dropped.
    #[error(
        "what was uploaded for {announced} has the digest {found}: it was dropped, upload it again"
    )]
    WrongContent {
        /// By the caller.
        announced: Digest,
        /// Of the bytes.
        found: Digest,
    },
    /// The upload goes on elsewhere.
    #[error("the upload of {digest} continues at byte {expected}, not at {got}")]
    WrongOffset {
        /// Of which blob.
        digest: Digest,
        /// Bytes that are there.
        expected: u64,
        /// Where the caller wanted to go on.
        got: u64,
    },
    /// More bytes than announced.
    #[error("the upload of {0} has more bytes than announced")]
    TooLong(Digest),
    /// A URL that no store here serves.
    #[error("`{url}` cannot be used as a store: {reason}")]
    Url {
        /// As given.
        url: String,
        /// What to do.
        reason: String,
    },
    /// A model directory that cannot be pushed.
    #[error("{path}: {problem}")]
    Path {
        /// Within the directory.
        path: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Its files are no tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Anything else of the disk.
    #[error("the artifact store cannot be used: {0}")]
    Io(io::Error),
    /// Anything else of the object store.
    #[error("the object store cannot be used: {0}")]
    Store(object_store::Error),
}

impl From<io::Error> for ArtifactError {
    fn from(error: io::Error) -> ArtifactError {
        if is_no_space(&error) { ArtifactError::NoSpace } else { ArtifactError::Io(error) }
    }
}

impl From<object_store::Error> for ArtifactError {
    fn from(error: object_store::Error) -> ArtifactError {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if cause.downcast_ref::<io::Error>().is_some_and(is_no_space) {
                return ArtifactError::NoSpace;
            }
            source = cause.source();
        }
        ArtifactError::Store(error)
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
