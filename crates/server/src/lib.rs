//! The control API: thin handlers over `control`, one line of a table each, from which the OpenAPI
//! document is made too.

mod blobs;
mod error;
mod events;
mod extract;
mod models;
pub mod openapi;
mod platform;
mod releases;
mod variables;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use control::Control;
use gateway::Gateway;
use http::HeaderMap;
use monitor::Monitor;

pub use error::ApiError;
pub use models::{DeploymentAsked, ModelListed, Models, Pushed};
pub use releases::{InEnvironment, PromotionAsked};

/// The header that names who asks, for the ledger. Without tokens it is only what the caller says.
pub const ACTOR: &str = "decalog-actor";
/// The longest chunk of an upload, in bytes.
pub const CHUNK_BYTES_MAX: usize = 16 << 20;
/// The longest body of any other request, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What handlers have at hand.
#[derive(Clone)]
pub struct Api {
    /// The control plane.
    pub control: Arc<Control>,
    /// The data plane, to read its load.
    pub gateway: Arc<Gateway>,
    /// Metrics.
    pub monitor: Arc<Monitor>,
    /// Where this server listens, and since when.
    pub url: String,
    /// Of the process, in milliseconds since 1970.
    pub started_at_ms: u64,
}

/// One endpoint.
pub struct Endpoint {
    /// `get`, `post`, …
    pub method: &'static str,
    /// With its parameters in braces.
    pub path: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Query parameters.
    pub query: &'static [&'static str],
    handler: fn() -> MethodRouter<Api>,
}

macro_rules! endpoint {
    ($method:ident $path:literal [$($query:literal),*] $handler:path, $summary:literal) => {
        Endpoint { method: stringify!($method), path: $path, summary: $summary, query: &[$($query),*], handler: || $method($handler) }
    };
}

/// All endpoints of the control plane.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint!(get "/healthz" [] platform::healthz, "Whether the process runs"),
    endpoint!(get "/readyz" [] platform::readyz, "Whether every live model can answer"),
    endpoint!(get "/metrics" [] platform::metrics, "Metrics in the text format of Prometheus"),
    endpoint!(get "/openapi.json" [] platform::openapi, "This document"),
    endpoint!(get "/v1/status" [] platform::status, "Version, address, ledger and load of this server"),
    endpoint!(get "/v1/models" ["project"] models::list, "All models with what is live and their last minute"),
    endpoint!(get "/v1/projects/{project}/models/{model}" [] models::show, "One model: versions, replicas, deployments"),
    endpoint!(delete "/v1/projects/{project}/models/{model}" [] models::remove, "Removes a model with all its versions"),
    endpoint!(post "/v1/projects/{project}/models/{model}/versions" [] models::push, "Makes a version of uploaded files"),
    endpoint!(post "/v1/projects/{project}/models/{model}/deployments" [] models::deploy, "Asks for a version to go live"),
    endpoint!(delete "/v1/projects/{project}/models/{model}/versions/{version}" [] models::remove_version, "Removes a version that is not in use"),
    endpoint!(get "/v1/projects/{project}/models/{model}/release" ["environment"] releases::status, "The release on its way, or the last one"),
    endpoint!(post "/v1/projects/{project}/models/{model}/release/{action}" [] releases::act, "Holds a release (pause), lets it go on (resume) or ends it (abort)"),
    endpoint!(post "/v1/projects/{project}/models/{model}/promotions" [] releases::promote, "Takes what is live in one environment live in another"),
    endpoint!(post "/v1/projects/{project}/models/{model}/rollbacks" [] releases::rollback, "Goes back to what was live before"),
    endpoint!(get "/v1/projects/{project}/models/{model}/logs" ["version", "lines"] models::logs, "The last lines of the newest replica's output"),
    endpoint!(post "/v1/blobs/missing" [] blobs::missing, "Which blobs are not here, and how far their uploads are"),
    endpoint!(patch "/v1/blobs/{digest}" ["size", "offset"] blobs::upload, "Appends a chunk to a blob's upload; the last one publishes it"),
    endpoint!(get "/v1/events" ["model", "kind", "after", "limit", "follow"] events::read, "What happened after a place: entries of the ledger, and telemetry; a page says how far it was looked (next) and whether there is more; with follow=true a line each, without end"),
    endpoint!(get "/v1/projects/{project}/environments/{environment}/variables" ["model"] variables::list, "Variables and names of secrets"),
    endpoint!(put "/v1/projects/{project}/environments/{environment}/variables/{name}" [] variables::set, "Sets a variable or a secret"),
    endpoint!(delete "/v1/projects/{project}/environments/{environment}/variables/{name}" ["model"] variables::remove, "Removes a variable or a secret"),
    endpoint!(post "/v1/gc" [] platform::collect, "Removes what no version refers to"),
    endpoint!(get "/v1/backup" [] platform::backup, "A tar file with ledger, blobs and encrypted secrets"),
    endpoint!(get "/v1/ledger/verify" ["head"] platform::verify, "Verifies the whole hash chain"),
];

/// The router of the control plane.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        router = router.route(endpoint.path, (endpoint.handler)());
    }
    router
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// Runs what reads files or takes long on a thread for that: the control plane has one thread for
/// everything else.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(error::failed)
}

/// Who asks.
fn actor(headers: &HeaderMap) -> String {
    let name = headers.get(ACTOR).and_then(|value| value.to_str().ok()).unwrap_or("anonymous");
    name.chars().filter(|c| !c.is_control()).take(100).collect()
}
