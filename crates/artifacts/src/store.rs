//! The store itself: where blobs lie, by URL, and how they are read back verified.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use domain::Digest;
use domain::digest::Hasher;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;

use crate::ArtifactError;
use crate::upload::Active;

/// Bytes that are read or written at a time.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// Parts of a multipart upload in flight.
const PARTS_MAX: usize = 4;

/// A blob that is wanted, and how much of it is already here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub digest: Digest,
    /// Bytes uploaded so far.
    pub offset: u64,
}

/// What garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A store of blobs.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The directory, if the store is on this machine's disk: there a finished upload is only renamed.
    local: Option<PathBuf>,
    pub(crate) staging: PathBuf,
    pub(crate) active: Arc<Mutex<HashMap<Digest, Arc<Mutex<Active>>>>>,
}

impl Store {
    /// Opens the store at a URL (`file:`, and with features `s3:`, `gs:`, `az:`). Uploads are put together in `staging`.
    pub fn open(url: &str, staging: &FsPath) -> Result<Store, ArtifactError> {
        let refuse = |reason: String| ArtifactError::Url { url: url.into(), reason };
        let parsed = url::Url::parse(url).map_err(|error| refuse(format!("{error}; write file:/path or s3://bucket/path")))?;
        std::fs::create_dir_all(staging)?;
        let local = match parsed.scheme() {
            // `file:data` would parse as `/data`.
            "file" if !url["file:".len()..].starts_with('/') => {
                return Err(refuse("it is not an absolute path: write file:/path".into()));
            }
            "file" => Some(parsed.to_file_path().map_err(|()| refuse("it is not an absolute path: write file:/path".into()))?),
            _ => None,
        };
        if let Some(local) = &local {
            std::fs::create_dir_all(local)?;
        }
        let (objects, prefix) = object_store::parse_url(&parsed).map_err(|error| match error {
            object_store::Error::Generic { .. } | object_store::Error::NotSupported { .. } => {
                refuse(format!("{error}; this build may lack the feature for `{}:`", parsed.scheme()))
            }
            other => ArtifactError::Store(other),
        })?;
        Ok(Store { objects: objects.into(), prefix, local, staging: staging.into(), active: Arc::default() })
    }

    fn path(&self, digest: &Digest) -> Path {
        let name = digest.to_string();
        self.prefix.clone().join("blobs").join(&name[..2]).join(name.as_str())
    }

    /// Whether the blob is here.
    pub async fn has(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        match self.objects.head(&self.path(digest)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Which of these are not here, and how far their uploads are.
    pub async fn missing(&self, digests: &[Digest]) -> Result<Vec<Missing>, ArtifactError> {
        let mut missing = vec![];
        for digest in digests {
            if !self.has(digest).await? {
                missing.push(Missing { digest: *digest, offset: self.uploaded(digest).await? });
            }
        }
        Ok(missing)
    }

    /// Stores bytes that are at hand.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, ArtifactError> {
        let digest = Digest::of(&bytes);
        if !self.has(&digest).await? {
            let size = bytes.len() as u64;
            let offset = self.uploaded(&digest).await?;
            let rest = bytes.slice(offset as usize..);
            let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(rest)]);
            self.upload(digest, size, offset, stream).await?;
        }
        Ok(digest)
    }

    /// Makes a finished file a blob: at once or not at all.
    pub(crate) async fn publish(&self, file: &FsPath, digest: &Digest) -> Result<(), ArtifactError> {
        if let Some(local) = &self.local {
            let name = digest.to_string();
            let folder = local.join("blobs").join(&name[..2]);
            let (file, target) = (file.to_path_buf(), folder.join(&name));
            return blocking(move || {
                std::fs::create_dir_all(&folder)?;
                std::fs::rename(&file, &target)?;
                std::fs::File::open(&folder)?.sync_all()?;
                Ok(())
            })
            .await;
        }
        let mut reader = tokio::fs::File::open(file).await?;
        let mut writer = WriteMultipart::new(self.objects.put_multipart(&self.path(digest)).await?);
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = reader.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            writer.wait_for_capacity(PARTS_MAX).await?;
            writer.write(&buffer[..read]);
        }
        writer.finish().await?;
        tokio::fs::remove_file(file).await?;
        Ok(())
    }

    /// The blob's content in pieces; the last one is followed by an error if the whole has another digest.
    pub async fn reader(
        &self,
        digest: &Digest,
    ) -> Result<impl Stream<Item = Result<Bytes, ArtifactError>> + use<>, ArtifactError> {
        let digest = *digest;
        let pieces = match self.objects.get(&self.path(&digest)).await {
            Ok(found) => match found.payload {
                // The store's own stream hops to another thread for each 8 KiB.
                GetResultPayload::File(file, _) => pieces_of(file).boxed(),
                GetResultPayload::Stream(pieces) => pieces.map_err(ArtifactError::from).boxed(),
            },
            Err(object_store::Error::NotFound { .. }) => return Err(ArtifactError::NotFound(digest)),
            Err(error) => return Err(error.into()),
        };
        let state = (pieces, Some(Hasher::new()));
        Ok(futures_util::stream::unfold(state, move |(mut pieces, hasher)| async move {
            let mut hasher = hasher?;
            match pieces.next().await {
                Some(Ok(piece)) => {
                    hasher.update(&piece);
                    Some((Ok(piece), (pieces, Some(hasher))))
                }
                Some(Err(error)) => Some((Err(error), (pieces, None))),
                None if hasher.finish() == digest => None,
                None => Some((Err(ArtifactError::Corrupt(digest)), (pieces, None))),
            }
        }))
    }

    /// The whole blob, verified; refuses one over `bytes_max`.
    pub async fn get(&self, digest: &Digest, bytes_max: usize) -> Result<Bytes, ArtifactError> {
        let mut pieces = std::pin::pin!(self.reader(digest).await?);
        let mut all = vec![];
        while let Some(piece) = pieces.try_next().await? {
            if all.len() + piece.len() > bytes_max {
                return Err(ArtifactError::TooLong(*digest));
            }
            all.extend_from_slice(&piece);
        }
        Ok(Bytes::from(all))
    }

    /// All blobs, with their sizes.
    pub async fn list(&self) -> Result<Vec<(Digest, u64)>, ArtifactError> {
        let listed = self.objects.list(Some(&self.prefix.clone().join("blobs")));
        let blobs: Vec<_> = listed.try_collect().await?;
        Ok(blobs.iter().filter_map(|meta| Some((meta.location.filename()?.parse().ok()?, meta.size))).collect())
    }

    /// Removes blobs and unfinished uploads that nothing refers to and that are older than `age`.
    pub async fn collect(&self, keep: &HashSet<Digest>, age: Duration) -> Result<Collected, ArtifactError> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let blobs: Vec<_> = self.objects.list(Some(&self.prefix.clone().join("blobs"))).try_collect().await?;
        let mut collected = Collected::default();
        for meta in blobs {
            let digest = meta.location.filename().and_then(|name| name.parse::<Digest>().ok());
            if digest.is_some_and(|digest| !keep.contains(&digest)) && SystemTime::from(meta.last_modified) < before {
                self.objects.delete(&meta.location).await?;
                collected.blobs += 1;
                collected.bytes += meta.size;
            }
        }
        let staging = self.staging.clone();
        blocking(move || {
            for entry in std::fs::read_dir(&staging)? {
                let entry = entry?;
                if entry.metadata()?.modified()? < before {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
        .await?;
        Ok(collected)
    }
}

/// A file's content from where it stands, in pieces of [`CHUNK_BYTES`].
fn pieces_of(file: std::fs::File) -> impl Stream<Item = Result<Bytes, ArtifactError>> + Send {
    futures_util::stream::try_unfold(file, |file| {
        blocking(move || {
            let mut piece = Vec::with_capacity(CHUNK_BYTES);
            let read = (&file).take(CHUNK_BYTES as u64).read_to_end(&mut piece)?;
            Ok((read > 0).then(|| (Bytes::from(piece), file)))
        })
    })
}

/// Runs file work off the async runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ArtifactError::Io(std::io::Error::other(error)))?
}
