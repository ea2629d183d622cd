//! Blobs: resumable uploads in chunks.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use domain::{Digest, Problem};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

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
    let text = error.to_string();
    let problem = match error {
        artifacts::ArtifactError::NoSpace => {
            Problem::new("no_space", text).help("free some space, or run decalog gc, and try again")
        }
        artifacts::ArtifactError::WrongOffset { .. } => {
            Problem::new("wrong_offset", text).help("ask /v1/blobs/missing where to go on")
        }
        artifacts::ArtifactError::WrongContent { .. } | artifacts::ArtifactError::TooLong(_) => {
            Problem::new("wrong_content", text)
        }
        _ => Problem::new("store", text).help("see the server's log"),
    };
    problem.into()
}

pub async fn missing(State(api): State<Api>, body: Result<Json<Wanted>, JsonRejection>) -> Result<Json<MissingBlobs>, ApiError> {
    let Json(wanted) = body.map_err(|error| bad_request(error.body_text()))?;
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
    body: Body,
) -> Result<Json<Progress>, ApiError> {
    let digest: Digest = digest.parse().map_err(bad_name)?;
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > CHUNK_BYTES_MAX) {
        return Err(bad_request(format!("a chunk has at most {CHUNK_BYTES_MAX} bytes")));
    }
    let pieces = body.into_data_stream();
    let offset = api.control.store().upload(digest, chunk.size, chunk.offset, pieces).await.map_err(problem)?;
    Ok(Json(Progress { offset, complete: offset == chunk.size }))
}
