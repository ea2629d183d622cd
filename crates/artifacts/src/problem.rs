//! The store's errors as a user sees them.

use domain::{Code, Problem};

use crate::ArtifactError;

impl ArtifactError {
    /// As a user sees it, with what to do.
    pub fn problem(self) -> Problem {
        let text = self.to_string();
        let (code, help) = match self {
            ArtifactError::NoSpace => {
                (Code::NoSpace, "free some space, or run decalog gc, and try again")
            }
            ArtifactError::NotFound(_) => (Code::MissingBlobs, "upload it first"),
            ArtifactError::WrongOffset { .. } => {
                (Code::WrongOffset, "ask /v1/blobs/missing where to go on")
            }
            ArtifactError::WrongContent { .. } | ArtifactError::TooLong(_) => {
                return Problem::new(Code::WrongContent, text);
            }
            ArtifactError::Lost { .. } | ArtifactError::Corrupt(_) => (
                Code::LostContent,
                "deploy the directory that it came from again: only what is lost is uploaded; \
                 decalog doctor --verify finds more",
            ),
            ArtifactError::BrokenOff(_) => {
                (Code::BadRequest, "ask /v1/blobs/missing where to go on")
            }
            ArtifactError::Busy(_) => (Code::Conflict, "try again in a moment"),
            ArtifactError::UploadName(_) => return Problem::new(Code::BadName, text),
            ArtifactError::Tree(_)
            | ArtifactError::Path { .. }
            | ArtifactError::WrongSize { .. } => return Problem::new(Code::BadTree, text),
            _ => (Code::Store, "see the server's log"),
        };
        Problem::new(code, text).help(help)
    }

    /// Whether the same may work a little later: something was short or out of reach.
    pub fn may_pass(&self) -> bool {
        matches!(self, ArtifactError::NoSpace | ArtifactError::Io(_) | ArtifactError::Store(_))
    }
}
