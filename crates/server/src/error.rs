//! Problems as HTTP answers: the one mapping of the control plane.

use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::Problem;
use domain::problem::excerpt;
use http::{Method, StatusCode, Uri};

/// A problem on its way to the caller.
pub struct ApiError(pub Problem);

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> ApiError {
        ApiError(problem)
    }
}

fn status_of(code: &str) -> StatusCode {
    match code {
        "no_such_model" | "no_such_version" | "not_live" | "no_such_variable" | "no_such_path" | "no_such_action" => {
            StatusCode::NOT_FOUND
        }
        "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "missing_blobs" | "wrong_offset" | "conflict" | "superseded" | "release_running" | "no_release" | "nothing_before"
        | "nothing_to_compare" | "in_use" => StatusCode::CONFLICT,
        "bad_request" | "bad_name" | "wrong_content" => StatusCode::BAD_REQUEST,
        "bad_manifest" | "bad_plan" | "bad_tree" | "bad_variable" | "lock_failed" | "no_python" | "ledger_broken" => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        // Passing: what is asked for may be there in a moment.
        "fenced" | "not_ready" | "stopping" | "store" => StatusCode::SERVICE_UNAVAILABLE,
        "no_space" | "read_only" => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
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
        (status_of(&problem.code), Json(problem)).into_response()
    }
}

/// Nothing is there.
pub async fn no_such_path(uri: Uri) -> ApiError {
    Problem::new("no_such_path", format!("there is nothing at {}", excerpt(uri.path())))
        .help("GET /openapi.json lists what there is")
        .into()
}

/// Something is there, but not for this method.
pub async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    Problem::new("method_not_allowed", format!("{} is not for {}", excerpt(method.as_str()), excerpt(uri.path()))).into()
}

/// A release cannot be treated so.
pub fn no_such_action(action: &str) -> ApiError {
    Problem::new("no_such_action", format!("a release cannot `{}`", excerpt(action)))
        .help("it can pause, resume and abort")
        .into()
}

/// A name in a path that cannot be one.
pub fn bad_name(error: impl std::fmt::Display) -> ApiError {
    Problem::new("bad_name", error.to_string()).into()
}

/// A body or a query that cannot be read.
pub fn bad_request(error: impl std::fmt::Display) -> ApiError {
    Problem::new("bad_request", excerpt(&error.to_string())).help("GET /openapi.json describes the request").into()
}

/// Something on this side failed.
pub fn failed(error: impl std::fmt::Display) -> ApiError {
    Problem::new("failed", error.to_string()).help("see the server's log").into()
}
