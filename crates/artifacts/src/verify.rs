//! Hashes all that is stored, whatever its seal says: for disks that decay, and for changes that
//! hide themselves.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use domain::Digest;
use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;

use crate::seal::{hash, unseal};
use crate::store::{Store, blocking};
use crate::{ArtifactError, blob, walk_all};

/// What hashing everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many are as they were.
    pub sound: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The names of those that are not.
    pub damaged: Vec<String>,
}

impl Store {
    /// Hashes all blobs. Damaged ones are put aside, so that an upload brings them back.
    pub async fn verify(&self) -> Result<Verified, ArtifactError> {
        let mut verified = Verified::default();
        for (digest, _) in self.list().await? {
            match self.verify_blob(digest).await? {
                Some(size) => {
                    verified.sound += 1;
                    verified.bytes += size;
                }
                None => verified.damaged.push(digest.to_string()),
            }
        }
        Ok(verified)
    }

    async fn verify_blob(&self, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        if let Some(local) = self.local.clone() {
            return blocking(move || blob::verify(&local, &digest)).await;
        }
        let mut pieces = std::pin::pin!(self.reader(&digest).await?);
        let mut size = 0;
        loop {
            match pieces.try_next().await {
                Ok(Some(piece)) => size += piece.len() as u64,
                Ok(None) => return Ok(Some(size)),
                Err(ArtifactError::Corrupt(_)) => {
                    let aside = self.prefix.clone().join("damaged").join(digest.to_string());
                    self.objects.rename(&self.path(&digest), &aside).await?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Hashes all trees of a folder, each of which is named by its digest. Damaged ones lose their
/// seals, so that the next start of a replica lays them out again.
pub fn verify_trees(folder: &Path) -> io::Result<Verified> {
    let mut verified = Verified::default();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(verified),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(digest) = name.parse::<Digest>() else { continue };
        match walk_all(&entry.path()) {
            Ok(walked) if walked.tree.digest() == digest => {
                verified.sound += 1;
                verified.bytes += walked.tree.size();
            }
            _ => {
                unseal_all(&entry.path());
                verified.damaged.push(name);
            }
        }
    }
    Ok(verified)
}

fn unseal_all(folder: &Path) {
    for path in files(folder) {
        if let Err(error) = unseal(&path) {
            tracing::warn!("{} is taken for sound at the next start: {error}", path.display());
        }
    }
}

/// The plain files of a folder, at any depth.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (vec![], vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// The digest and the length of a file.
pub(crate) fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    hash(&mut File::open(path)?)
}
