//! The store itself: where blobs lie, by URL, and how they are read back verified.

use std::io::Read;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use domain::Digest;
use domain::digest::Hasher;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncReadExt;

use crate::keyed::Keyed;
use crate::lease::Leases;
use crate::names::UploadName;
use crate::seal::CHUNK_BYTES;
use crate::{ArtifactError, blob};

/// Parts of a multipart upload in flight.
const PARTS_MAX: usize = 4;
/// Questions to an object store in flight.
const HEADS_MAX: usize = 32;

/// A blob that is wanted, and how much of it is already here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The blob.
    pub digest: Digest,
    /// Bytes uploaded so far.
    pub offset: u64,
}

/// A blob that somebody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes, if that is known.
    pub size: Option<u64>,
}

/// A store of blobs.
#[derive(Clone)]
pub struct Store {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    /// The directory, if the store is on this machine's disk: there a finished upload is only
    /// renamed.
    pub(crate) local: Option<PathBuf>,
    pub(crate) staging: PathBuf,
    pub(crate) uploads: Arc<Keyed<PathBuf>>,
    pub(crate) layouts: Arc<Keyed<PathBuf>>,
    /// Whether files of this disk can share their content until one is written to; true until it
    /// has been tried.
    pub(crate) can_clone: Arc<AtomicBool>,
    leases: Leases,
}

impl Store {
    /// Opens the store at a URL (`file:`, and with features `s3:`, `gs:`, `az:`). Uploads are put
    /// together in `staging`.
    pub fn open(url: &str, staging: &FsPath) -> Result<Store, ArtifactError> {
        let refuse = |reason: String| ArtifactError::Url { url: url.into(), reason };
        let parsed = url::Url::parse(url)
            .map_err(|error| refuse(format!("{error}; write file:/path or s3://bucket/path")))?;
        let local = match parsed.scheme() {
            // `file:data` would parse as `/data`.
            "file" if !url["file:".len()..].starts_with('/') => {
                return Err(refuse("it is not an absolute path: write file:/path".into()));
            }
            "file" => Some(
                parsed
                    .to_file_path()
                    .map_err(|()| refuse("it is not an absolute path: write file:/path".into()))?,
            ),
            _ => None,
        };
        for directory in local.iter().map(PathBuf::as_path).chain([staging]) {
            // What is there can be served from a disk that takes nothing more; who writes finds out
            // himself.
            if let Err(error) = std::fs::create_dir_all(directory) {
                tracing::warn!("{} cannot be made: {error}", directory.display());
            }
        }
        let (objects, prefix) = object_store::parse_url(&parsed).map_err(|error| match error {
            object_store::Error::Generic { .. } | object_store::Error::NotSupported { .. } => {
                refuse(format!(
                    "{error}; this build may lack the feature for `{}:`",
                    parsed.scheme()
                ))
            }
            other => ArtifactError::Store(other),
        })?;
        Ok(Store {
            objects: objects.into(),
            prefix,
            local,
            staging: staging.into(),
            uploads: Arc::default(),
            layouts: Arc::default(),
            can_clone: Arc::new(AtomicBool::new(true)),
            leases: Leases::default(),
        })
    }

    /// What may not be removed although nothing refers to it yet.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(crate) fn path(&self, digest: &Digest) -> Path {
        let name = digest.to_string();
        self.prefix.clone().join("blobs").join(&name[..2]).join(name.as_str())
    }

    /// The length of a blob, in bytes; `None` if it is not here, or is found damaged and was put
    /// aside.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, ArtifactError> {
        Ok(self.sizes(std::slice::from_ref(digest)).await?.first().copied().flatten())
    }

    /// The lengths of blobs, as by [`Store::size`].
    pub async fn sizes(&self, digests: &[Digest]) -> Result<Vec<Option<u64>>, ArtifactError> {
        if let Some(local) = self.local.clone() {
            let digests = digests.to_vec();
            return blocking(move || {
                digests.iter().map(|digest| blob::size(&local, digest)).collect()
            })
            .await;
        }
        let heads: Vec<_> = digests.iter().map(|digest| self.head(*digest)).collect();
        futures_util::stream::iter(heads).buffered(HEADS_MAX).try_collect().await
    }

    async fn head(&self, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        match self.objects.head(&self.path(&digest)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Which of these are not here, and how far this upload of them is.
    pub async fn missing(
        &self,
        wanted: &[Wanted],
        upload: &UploadName,
    ) -> Result<Vec<Missing>, ArtifactError> {
        let digests: Vec<Digest> = wanted.iter().map(|wanted| wanted.digest).collect();
        let sizes = self.sizes(&digests).await?;
        let mut missing = vec![];
        for (Wanted { digest, size }, found) in wanted.iter().zip(sizes) {
            // A local blob is as it was written, so that another length is the caller's mistake; an
            // object may be cut short.
            let is_cut = self.local.is_none() && size.is_some() && *size != found;
            if found.is_none() || is_cut {
                let offset = self.uploaded(digest, upload).await?;
                // More than the whole is left of something else: it begins again.
                let offset = if size.is_some_and(|size| offset > size) { 0 } else { offset };
                missing.push(Missing { digest: *digest, offset });
            }
        }
        Ok(missing)
    }

    /// Makes a finished, hashed file a blob: at once or not at all. One that is there already is
    /// replaced.
    pub(crate) async fn publish(
        &self,
        file: &FsPath,
        digest: &Digest,
    ) -> Result<(), ArtifactError> {
        if let Some(local) = self.local.clone() {
            let (file, digest) = (file.to_path_buf(), *digest);
            return blocking(move || blob::publish(&local, &digest, &file)).await;
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

    /// The blob's content in pieces; the last one is followed by an error if the whole has another
    /// digest.
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
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ArtifactError::NotFound(digest));
            }
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
        Ok(blobs
            .iter()
            .filter_map(|meta| Some((meta.location.filename()?.parse().ok()?, meta.size)))
            .collect())
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
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ArtifactError::Io(std::io::Error::other(error)))?
}
