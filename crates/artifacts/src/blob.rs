//! Blobs on this machine's disk: sealed files by digest. One that is found damaged is put aside, so
//! that an upload brings it back.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use domain::Digest;

use crate::ArtifactError;
use crate::names::unique;
use crate::seal::{PLAIN_MODE, hash, is_sealed, seal, sync_folder};

/// Where a blob lies.
pub(crate) fn path(store: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    store.join("blobs").join(&name[..2]).join(name)
}

/// Where damaged blobs are put.
pub(crate) fn damaged(store: &Path) -> PathBuf {
    store.join("damaged")
}

/// The length of a sound blob. One without a seal is hashed first.
pub(crate) fn size(store: &Path, digest: &Digest) -> Result<Option<u64>, ArtifactError> {
    match std::fs::metadata(path(store, digest)) {
        Ok(metadata) if is_sealed(&metadata) => Ok(Some(metadata.len())),
        Ok(_) => verify(store, digest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The length of a blob, hashed whatever its seal says; a damaged one is put aside.
pub(crate) fn verify(store: &Path, digest: &Digest) -> Result<Option<u64>, ArtifactError> {
    let path = path(store, digest);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A disk that cannot read it back has lost it as well.
    let found = hash(&mut file);
    if let Ok((found, size)) = &found
        && found == digest
    {
        if let Err(error) = seal(&file, PLAIN_MODE) {
            tracing::warn!("the blob {digest} is sound but cannot be sealed: {error}");
        }
        return Ok(Some(*size));
    }
    let hashed = file.metadata()?;
    // Not one that an upload has just put in its place.
    if std::fs::metadata(&path).is_ok_and(|now| now.ino() == hashed.ino()) {
        tracing::error!(
            "the blob {digest} is damaged: it is put aside, and missing until it is uploaded again"
        );
        std::fs::create_dir_all(damaged(store))?;
        std::fs::rename(&path, damaged(store).join(digest.to_string()))?;
    }
    Ok(None)
}

/// Moves a sealed file to where the blob belongs.
pub(crate) fn publish(store: &Path, digest: &Digest, file: &Path) -> Result<(), ArtifactError> {
    let target = path(store, digest);
    let folder = target.parent().unwrap_or(store);
    if !folder.is_dir() {
        std::fs::create_dir_all(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    match std::fs::rename(file, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(file, &folder.join(unique("upload")), &target)?
        }
        other => other?,
    }
    let _ = std::fs::remove_file(damaged(store).join(digest.to_string()));
    Ok(sync_folder(folder)?)
}

/// To another disk, where the content is read back before it counts.
fn copy(file: &Path, temporary: &Path, target: &Path) -> Result<(), ArtifactError> {
    let copied = std::fs::copy(file, temporary).and_then(|_| {
        let (before, after) = (hash(&mut File::open(file)?)?, hash(&mut File::open(temporary)?)?);
        if before != after {
            return Err(io::Error::other("what was copied reads back as something else"));
        }
        seal(&File::open(temporary)?, PLAIN_MODE)?;
        std::fs::rename(temporary, target)?;
        std::fs::remove_file(file)
    });
    if copied.is_err() {
        let _ = std::fs::remove_file(temporary);
    }
    Ok(copied?)
}
