//! Blobs: resumable uploads in chunks.

use std::time::Duration;

use artifacts::UploadName;
use axum::Json;
use axum::body::Body as Raw;
use axum::extract::State;
use domain::Digest;
use futures_util::StreamExt;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::bad_request;
use crate::extract::{Body, Name, Path, Query};
use crate::path::{BlobPath, UploadText};
use crate::{Api, ApiError, CHUNK_BYTES_MAX};

/// The longest wait for what a client still sends after it was refused, in milliseconds.
const REST_MS_MAX: u64 = 5_000;

/// Blobs that somebody is about to upload.
#[derive(Deserialize, JsonSchema)]
pub struct WantedBlobs {
    /// What is to be uploaded.
    blobs: Vec<WantedBlob>,
    /// The name of the upload, chosen by the client: what it asks for is held for it, and two
    /// uploads of the same blob do not meet.
    #[serde(default)]
    #[schemars(with = "UploadText")]
    upload: Name<UploadName>,
}

/// A blob that somebody is about to upload.
#[derive(Deserialize, JsonSchema)]
pub struct WantedBlob {
    /// Of its content.
    digest: Digest,
    /// In bytes; one of another size is requested again.
    #[serde(default)]
    size: Option<u64>,
}

/// Blobs that are not here.
#[derive(Serialize, JsonSchema)]
pub struct MissingBlobs {
    /// In the order of the request.
    missing: Vec<MissingBlob>,
}

/// A blob that is not here.
#[derive(Serialize, JsonSchema)]
pub struct MissingBlob {
    /// Of its content.
    digest: Digest,
    /// How many of its bytes are here: the upload goes on from there.
    offset: u64,
}

#[derive(Deserialize, JsonSchema)]
pub struct ChunkQuery {
    /// Of the whole blob, in bytes.
    size: u64,
    /// Where the chunk belongs, in bytes.
    offset: u64,
    /// The name of the upload, as in the request for missing blobs.
    #[serde(default)]
    #[schemars(with = "UploadText")]
    upload: Name<UploadName>,
}

/// How far an upload is.
#[derive(Serialize, JsonSchema)]
pub struct UploadProgress {
    /// How many of its bytes are here.
    offset: u64,
    /// Whether the blob is published.
    complete: bool,
}

fn problem(error: artifacts::ArtifactError) -> ApiError {
    error.problem().into()
}

pub async fn missing(
    State(api): State<Api>,
    Body(wanted): Body<WantedBlobs>,
) -> Result<Json<MissingBlobs>, ApiError> {
    let store = api.control.store();
    let name = wanted.upload.get()?;
    let blobs: Vec<_> = wanted
        .blobs
        .iter()
        .map(|blob| artifacts::Wanted { digest: blob.digest, size: blob.size })
        .collect();
    let digests: Vec<Digest> = blobs.iter().map(|blob| blob.digest).collect();
    store.leases().hold_for(name.as_str(), &digests).await;
    let missing = store.missing(&blobs, &name).await.map_err(problem)?;
    let missing = missing
        .into_iter()
        .map(|missing| MissingBlob { digest: missing.digest, offset: missing.offset })
        .collect();
    Ok(Json(MissingBlobs { missing }))
}

pub async fn upload(
    State(api): State<Api>,
    Path(path): Path<BlobPath>,
    Query(chunk): Query<ChunkQuery>,
    headers: HeaderMap,
    body: Raw,
) -> Result<Json<UploadProgress>, ApiError> {
    let digest = path.digest;
    let length = headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > CHUNK_BYTES_MAX) {
        return Err(bad_request(format!("a chunk has at most {CHUNK_BYTES_MAX} bytes")));
    }
    let upload = chunk.upload.get()?;
    let mut pieces = body.into_data_stream();
    let store = api.control.store();
    store.leases().hold_for(upload.as_str(), &[digest]).await;
    let at = artifacts::Chunk { upload, digest, size: chunk.size, offset: chunk.offset };
    let result = store.upload(&at, &mut pieces).await;
    if !matches!(result, Ok(_) | Err(artifacts::ArtifactError::BrokenOff(_))) {
        // A client that still sends would see a broken connection in place of the answer.
        let rest = drain(&mut pieces);
        let _ = tokio::time::timeout(Duration::from_millis(REST_MS_MAX), rest).await;
    }
    let offset = result.map_err(problem)?;
    Ok(Json(UploadProgress { offset, complete: offset == chunk.size }))
}

/// Takes what a client still sends, up to one chunk.
async fn drain(
    pieces: &mut (impl futures_util::Stream<Item = Result<axum::body::Bytes, axum::Error>> + Unpin),
) {
    let mut left = CHUNK_BYTES_MAX;
    while let Some(Ok(piece)) = pieces.next().await {
        left = left.saturating_sub(piece.len());
        if left == 0 {
            break;
        }
    }
}
