//! JSON bodies, whatever Content-Type a client names: `curl -d` says it sends a form.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::ApiError;
use crate::error::bad_request;

/// The body, read as JSON.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| bad_request(error.body_text()))?;
        serde_json::from_slice(&bytes).map(Body).map_err(|error| bad_request(format!("the body cannot be read: {error}")))
    }
}
