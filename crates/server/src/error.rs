//! Problems as HTTP answers: the one mapping of the control plane.

use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::code::Retry;
use domain::problem::excerpt;
use domain::{Code, Problem};
use http::{Method, StatusCode, Uri, header};

/// A problem on its way to the caller.
pub struct ApiError(pub Problem);

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> ApiError {
        ApiError(problem)
    }
}

/// The most lines of detail of one answer; a tree may lack thousands of files.
const DETAILS_MAX: usize = 200;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut problem = self.0;
        let left_out = problem.details.len().saturating_sub(DETAILS_MAX);
        if left_out > 0 {
            problem.details.truncate(DETAILS_MAX);
            problem.details.push(format!("… and {left_out} more"));
        }
        let status =
            StatusCode::from_u16(problem.code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after =
            (problem.code.retry() == Retry::Soon).then_some([(header::RETRY_AFTER, "1")]);
        let challenge = (problem.code == Code::Unauthenticated)
            .then_some([(header::WWW_AUTHENTICATE, gateway::CHALLENGE)]);
        (status, retry_after, challenge, Json(problem)).into_response()
    }
}

/// Nothing is there.
pub async fn no_such_path(uri: Uri) -> ApiError {
    Problem::new(Code::NoSuchPath, format!("there is nothing at {}", excerpt(uri.path())))
        .help("GET /openapi.json lists what there is")
        .into()
}

/// Something is there, but not for this method.
pub async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{} is not for {}", excerpt(method.as_str()), excerpt(uri.path())),
    )
    .into()
}

/// A release cannot be treated so.
pub fn no_such_action(action: &str) -> ApiError {
    Problem::new(Code::NoSuchAction, format!("a release cannot `{}`", excerpt(action)))
        .help("it can pause, resume and abort")
        .into()
}

/// A name in a path that cannot be one.
pub fn bad_name(error: impl std::fmt::Display) -> ApiError {
    Problem::new(Code::BadName, error.to_string()).into()
}

/// A body or a query that cannot be read.
pub fn bad_request(error: impl std::fmt::Display) -> ApiError {
    Problem::new(Code::BadRequest, excerpt(&error.to_string()))
        .help("GET /openapi.json describes the request")
        .into()
}

/// Something on this side failed.
pub fn failed(error: impl std::fmt::Display) -> ApiError {
    Problem::new(Code::Failed, error.to_string()).help("see the server's log").into()
}
