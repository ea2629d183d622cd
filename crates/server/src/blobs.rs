//! Blobs: resumable uploads in chunks.

use axum::Json;
use axum::body::Body as Raw;
use axum::extract::{Path, Query, State};
use domain::Digest;
use futures_util::StreamExt;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::error::{bad_name, bad_request};
use crate::{Api, ApiError, CHUNK_BYTES_MAX};

#[derive(Deserialize)]
pub struct Wanted {
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
pub struct Blob {
    digest: Digest,
}

#[derive(Serialize)]
pub struct MissingBlobs {
    missing: Vec<MissingBlob>,
}

#[derive(Serialize)]
pub struct MissingBlob {
    digest: Digest,
    offset: u64,
}

#[derive(Deserialize)]
pub struct Chunk {
    size: u64,
    offset: u64,
}

#[derive(Serialize)]
pub struct Progress {
    offset: u64,
    complete: bool,
}

fn problem(error: artifacts::ArtifactError) -> ApiError {
    control::artifact_problem(error).into()
}

pub async fn missing(State(api): State<Api>, Body(wanted): Body<Wanted>) -> Result<Json<MissingBlobs>, ApiError> {
    let digests: Vec<Digest> = wanted.blobs.iter().map(|blob| blob.digest).collect();
    let missing = api.control.store().missing(&digests).await.map_err(problem)?;
    let missing = missing.into_iter().map(|missing| MissingBlob { digest: missing.digest, offset: missing.offset }).collect();
    Ok(Json(MissingBlobs { missing }))
}

pub async fn upload(
    State(api): State<Api>,
    Path(digest): Path<String>,
    Query(chunk): Query<Chunk>,
    headers: HeaderMap,
    body: Raw,
) -> Result<Json<Progress>, ApiError> {
    let digest: Digest = digest.parse().map_err(bad_name)?;
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > CHUNK_BYTES_MAX) {
        return Err(bad_request(format!("a chunk has at most {CHUNK_BYTES_MAX} bytes")));
    }
    let mut pieces = body.into_data_stream();
    let result = api.control.store().upload(digest, chunk.size, chunk.offset, &mut pieces).await;
    // A client that still sends would see a broken connection in place of the answer.
    let mut left = CHUNK_BYTES_MAX;
    while let Some(Ok(piece)) = pieces.next().await {
        left = left.saturating_sub(piece.len());
        if left == 0 {
            break;
        }
    }
    let offset = result.map_err(problem)?;
    Ok(Json(Progress { offset, complete: offset == chunk.size }))
}
