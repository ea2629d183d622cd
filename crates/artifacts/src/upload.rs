//! Resumable uploads: bytes are appended to a file of this upload alone, and are on disk before
//! their offset is acknowledged. The finished file is hashed as it lies on disk, and becomes a blob
//! only with the digest announced.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use domain::Digest;
use futures_util::{Stream, StreamExt};

use crate::ArtifactError;
use crate::names::{UploadName, unique};
use crate::seal::{PLAIN_MODE, hash, seal};
use crate::store::{Store, blocking};

/// The longest wait for the next piece of an upload, in milliseconds.
const PIECE_MS_MAX: u64 = 10_000;
/// The longest wait for an earlier call that still writes the same upload, in milliseconds.
const WRITER_MS_MAX: u64 = 3 * PIECE_MS_MAX;

/// Some bytes of a blob.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Of which upload.
    pub upload: UploadName,
    /// What the whole must have.
    pub digest: Digest,
    /// The length of the whole, in bytes.
    pub size: u64,
    /// Where these begin.
    pub offset: u64,
}

impl Store {
    fn staged(&self, digest: &Digest, upload: &UploadName) -> PathBuf {
        let name = if upload.as_str().is_empty() {
            digest.to_string()
        } else {
            format!("{digest}.{}", upload.as_str())
        };
        self.staging.join(name)
    }

    /// How many bytes of an unfinished upload are here.
    pub async fn uploaded(
        &self,
        digest: &Digest,
        upload: &UploadName,
    ) -> Result<u64, ArtifactError> {
        match tokio::fs::metadata(self.staged(digest, upload)).await {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends bytes; with the last of them the blob is verified and published. Returns the bytes
    /// that are here now, all of them on disk.
    pub async fn upload<E: std::error::Error + Send + Sync + 'static>(
        &self,
        chunk: &Chunk,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, ArtifactError> {
        let path = self.staged(&chunk.digest, &chunk.upload);
        let limit = Duration::from_millis(WRITER_MS_MAX);
        let writing = tokio::time::timeout(limit, self.uploads.lock(path.clone())).await;
        let _writing = writing.map_err(|_| ArtifactError::Busy(chunk.digest))?;
        if self.size(&chunk.digest).await?.is_some() {
            let _ = tokio::fs::remove_file(&path).await;
            return Ok(chunk.size);
        }
        let file = self.open_staged(&path, chunk).await?;
        let offset = append(file, chunk, pieces).await?;
        if offset < chunk.size {
            return Ok(offset);
        }
        // From here on nobody finds the file by its name: what is hashed is what is published.
        let whole = self.staging.join(unique(&chunk.digest.to_string()));
        tokio::fs::rename(&path, &whole).await?;
        self.finish(whole, chunk.digest).await?;
        Ok(chunk.size)
    }

    /// Opens what was left of an upload. More than the whole is left of something else, and is of
    /// no use.
    async fn open_staged(&self, path: &Path, chunk: &Chunk) -> Result<File, ArtifactError> {
        let (path, chunk) = (path.to_path_buf(), chunk.clone());
        let staging = self.staging.clone();
        blocking(move || {
            std::fs::create_dir_all(staging)?;
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            let mut expected = file.metadata()?.len();
            if expected > chunk.size {
                file.set_len(0)?;
                expected = 0;
            }
            if expected != chunk.offset {
                return Err(ArtifactError::WrongOffset {
                    digest: chunk.digest,
                    expected,
                    got: chunk.offset,
                });
            }
            Ok(file)
        })
        .await
    }

    /// Stores bytes that are at hand.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, ArtifactError> {
        let digest = Digest::of(&bytes);
        if self.size(&digest).await?.is_some() {
            return Ok(digest);
        }
        let whole = self.staging.join(unique(&digest.to_string()));
        let path = whole.clone();
        let written = blocking(move || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            Ok(File::create_new(path)?.write_all(&bytes)?)
        });
        if let Err(error) = written.await {
            let _ = tokio::fs::remove_file(&whole).await;
            return Err(error);
        }
        self.finish(whole, digest).await?;
        Ok(digest)
    }

    /// Makes a file a blob if it is what was announced; it is gone in any case.
    async fn finish(&self, whole: PathBuf, announced: Digest) -> Result<(), ArtifactError> {
        let path = whole.clone();
        let sealed = blocking(move || {
            let mut file = File::open(path)?;
            let (found, _) = hash(&mut file)?;
            if found != announced {
                return Err(ArtifactError::WrongContent { announced, found });
            }
            Ok(seal(&file, PLAIN_MODE)?)
        })
        .await;
        let published = match sealed {
            Ok(()) => self.publish(&whole, &announced).await,
            Err(error) => Err(error),
        };
        if published.is_err() {
            let _ = tokio::fs::remove_file(&whole).await;
        }
        published
    }
}

/// Writes pieces to the end of a file until there are no more, and puts them on disk. Returns where
/// it ends.
async fn append<E: std::error::Error + Send + Sync + 'static>(
    mut file: File,
    chunk: &Chunk,
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> Result<u64, ArtifactError> {
    let mut pieces = std::pin::pin!(pieces);
    let mut offset = chunk.offset;
    let broke_off = loop {
        let piece =
            match tokio::time::timeout(Duration::from_millis(PIECE_MS_MAX), pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => break Some(ArtifactError::BrokenOff(error.to_string())),
                Ok(None) => break None,
                Err(_) => {
                    break Some(ArtifactError::BrokenOff(format!(
                        "nothing came for {PIECE_MS_MAX} ms"
                    )));
                }
            };
        let end = offset.saturating_add(piece.len() as u64);
        if end > chunk.size {
            // None of this can be trusted: it begins again.
            blocking(move || Ok(file.set_len(0)?)).await?;
            return Err(ArtifactError::TooLong(chunk.digest));
        }
        file = blocking(move || {
            if let Err(error) = file.write_all(&piece) {
                // What did not fit whole is taken back, so that the offset stays true.
                file.set_len(offset)?;
                return Err(error.into());
            }
            Ok(file)
        })
        .await?;
        offset = end;
    };
    blocking(move || Ok(file.sync_all()?)).await?;
    broke_off.map_or(Ok(offset), Err)
}
