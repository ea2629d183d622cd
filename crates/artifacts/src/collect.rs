//! Garbage: removes what nothing needs, one thing at a time, and never what somebody has begun to
//! rely on meanwhile.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use domain::Digest;
use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::ArtifactError;
use crate::blob;
use crate::lease::Collection;
use crate::store::{Store, blocking};

/// An upload to which nothing was added for so long is given up, in milliseconds.
const UPLOAD_MS_MAX: u64 = 24 * 3_600_000;

/// What garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs.
    pub blobs: u64,
    /// Bytes that are free now: what a tree still uses is not.
    pub bytes: u64,
}

impl Store {
    /// Removes blobs that nobody holds or needs, what was put aside as damaged, and uploads that
    /// were given up. What is `needed` was asked for after the collection began.
    pub async fn collect(
        &self,
        collection: &Collection,
        needed: &HashSet<Digest>,
    ) -> Result<Collected, ArtifactError> {
        let mut collected = Collected::default();
        let listed = self.objects.list(Some(&self.prefix.clone().join("blobs")));
        let blobs: Vec<ObjectMeta> = listed.try_collect().await?;
        for meta in blobs {
            let Some(digest) =
                meta.location.filename().and_then(|name| name.parse::<Digest>().ok())
            else {
                continue;
            };
            if needed.contains(&digest) {
                continue;
            }
            let Some(_removal) = collection.begin_removal(&digest) else { continue };
            collected.bytes += self.remove_blob(&digest, &meta).await?;
            collected.blobs += 1;
        }
        let (staging, damaged) = (self.staging.clone(), self.local.as_deref().map(blob::damaged));
        let before = SystemTime::now()
            .checked_sub(Duration::from_millis(UPLOAD_MS_MAX))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        collected.bytes += blocking(move || {
            let mut bytes = remove_files(&staging, before)?;
            if let Some(damaged) = damaged {
                bytes += remove_files(&damaged, SystemTime::now() + Duration::from_secs(1))?;
            }
            Ok(bytes)
        })
        .await?;
        Ok(collected)
    }

    async fn remove_blob(&self, digest: &Digest, meta: &ObjectMeta) -> Result<u64, ArtifactError> {
        let Some(local) = &self.local else {
            self.objects.delete(&meta.location).await?;
            return Ok(meta.size);
        };
        let path = blob::path(local, digest);
        blocking(move || {
            let freed = match path.metadata() {
                Ok(metadata) => freed(&metadata),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error.into()),
            };
            std::fs::remove_file(path)?;
            Ok(freed)
        })
        .await
    }
}

/// Bytes that are free when this name of a file is removed.
fn freed(metadata: &std::fs::Metadata) -> u64 {
    if metadata.nlink() > 1 { 0 } else { metadata.len() }
}

/// Removes the files of a folder that were last changed before `before`. Gives the bytes that are
/// free now.
fn remove_files(folder: &Path, before: SystemTime) -> io::Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        // An upload may end, or be collected by somebody else, at this moment.
        let Ok(metadata) = entry.metadata() else { continue };
        // A sealed file has no time of its own; that of its last change of any kind is.
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().max(0) as u64);
        if changed < before && std::fs::remove_file(entry.path()).is_ok() {
            bytes += freed(&metadata);
        }
    }
    Ok(bytes)
}

/// Removes a folder with all that is in it, also where it is read-only. Gives the bytes that are
/// free now.
pub fn remove_tree(folder: &Path) -> io::Result<u64> {
    let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bytes += remove_tree(&entry.path())?;
        } else {
            bytes += freed(&entry.path().symlink_metadata()?);
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_dir(folder)?;
    Ok(bytes)
}
