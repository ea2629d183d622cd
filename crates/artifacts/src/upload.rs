//! Resumable uploads: bytes are appended to a file named by the digest that they must have, and are on disk before
//! their offset is acknowledged. Only a file with that digest becomes a blob.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use domain::Digest;
use domain::digest::Hasher;
use futures_util::{Stream, StreamExt};

use crate::ArtifactError;
use crate::store::{CHUNK_BYTES, Store, blocking};

/// An upload whose bytes so far are hashed.
#[derive(Clone, Default)]
pub(crate) struct Active {
    hasher: Hasher,
    offset: u64,
}

impl Store {
    fn staged(&self, digest: &Digest) -> std::path::PathBuf {
        self.staging.join(digest.to_string())
    }

    /// How many bytes of an unfinished upload are here.
    pub async fn uploaded(&self, digest: &Digest) -> Result<u64, ArtifactError> {
        match tokio::fs::metadata(self.staged(digest)).await {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends bytes at `offset`; with the last of `size` the blob is verified and published. Returns the bytes that are
    /// here now, all of them on disk.
    pub async fn upload<E: std::error::Error + Send + Sync + 'static>(
        &self,
        digest: Digest,
        size: u64,
        offset: u64,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, ArtifactError> {
        if self.has(&digest).await? {
            return Ok(size);
        }
        let active = self.active.lock().await.entry(digest).or_default().clone();
        let mut active = active.lock().await;
        let expected = self.uploaded(&digest).await?;
        if expected != offset {
            return Err(ArtifactError::WrongOffset { digest, expected, got: offset });
        }
        let result = self.append(digest, size, &mut active, offset, pieces).await;
        if !matches!(result, Ok(offset) if offset < size) {
            self.active.lock().await.remove(&digest);
        }
        result
    }

    async fn append<E: std::error::Error + Send + Sync + 'static>(
        &self,
        digest: Digest,
        size: u64,
        active: &mut Active,
        offset: u64,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, ArtifactError> {
        let path = self.staged(&digest);
        if active.offset != offset {
            // After a restart the bytes before are hashed again.
            let path = path.clone();
            *active = blocking(move || rehash(&path, offset)).await?;
        }
        let mut pieces = std::pin::pin!(pieces);
        let mut file = {
            let path = path.clone();
            blocking(move || Ok(std::fs::OpenOptions::new().create(true).append(true).open(path)?)).await?
        };
        let mut broke_off = None;
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    broke_off = Some(std::io::Error::other(error));
                    break;
                }
            };
            if active.offset + piece.len() as u64 > size {
                self.drop_staged(&path).await;
                return Err(ArtifactError::TooLong(digest));
            }
            let mut state = std::mem::take(active);
            (*active, file) = blocking(move || {
                let mut file = file;
                let start = state.offset;
                if let Err(error) = file.write_all(&piece) {
                    // What did not fit whole is taken back, so that the offset stays true.
                    file.set_len(start)?;
                    return Err(error.into());
                }
                state.hasher.update(&piece);
                state.offset += piece.len() as u64;
                Ok((state, file))
            })
            .await?;
        }
        blocking(move || Ok(file.sync_all()?)).await?;
        if let Some(error) = broke_off {
            return Err(ArtifactError::Io(error));
        }
        if active.offset < size {
            return Ok(active.offset);
        }
        let found = active.hasher.clone().finish();
        if found != digest {
            self.drop_staged(&path).await;
            return Err(ArtifactError::WrongContent { announced: digest, found });
        }
        self.publish(&path, &digest).await?;
        Ok(size)
    }

    async fn drop_staged(&self, path: &Path) {
        if let Err(error) = tokio::fs::remove_file(path).await {
            tracing::warn!("an unusable upload could not be removed: {error}");
        }
    }
}

fn rehash(path: &Path, length: u64) -> Result<Active, ArtifactError> {
    let mut active = Active::default();
    if length == 0 {
        return Ok(active);
    }
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; CHUNK_BYTES];
    while active.offset < length {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        active.hasher.update(&buffer[..read]);
        active.offset += read as u64;
    }
    Ok(active)
}
