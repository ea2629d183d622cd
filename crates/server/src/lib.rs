//! The control API: thin handlers over `control`, one line of a table each, from which the OpenAPI
//! document is made too.

mod access;
mod alarms;
mod audit;
mod blobs;
mod changes;
mod dashboard;
mod describe;
mod drift;
mod endpoints;
mod erasures;
mod error;
mod events;
mod extract;
mod feedback;
mod headers;
mod keys;
mod lineage;
mod listing;
mod live;
mod login;
mod logs;
mod members;
mod metrics;
mod models;
mod ocsf;
pub mod openapi;
mod path;
mod platform;
mod proposals;
mod receivers;
mod records;
mod reference;
mod releases;
mod replays;
mod sandbox;
mod scrape;
mod tokens;
mod trust;
mod truth;
mod variables;
mod why;

use std::sync::Arc;

use ::records::Keeper;
use axum::Router;
use axum::middleware::from_fn_with_state;
use control::Control;
use domain::{DataDirectory, Digest};
use gateway::Gateway;
use monitor::Monitor;
use monitor::alarms::Desk;
use monitor::delivery::Delivery;
use monitor::drift::Drift;
use monitor::history::Reader;
use monitor::slo::Objectives;
use query::Queries;

pub use access::Asks;
pub use alarms::{AlarmListed, AlarmsListed, Silences, SilencesEnded, Slos};
pub use changes::{ChangeKind, ChangesView, FileChanged, ManifestChanged};
pub use endpoints::{ENDPOINTS, Endpoint};
pub use erasures::{RecordsErased, tell_forever};
pub use error::ApiError;
pub use feedback::{FEEDBACK_BYTES_MAX, FeedbackRefusal, FeedbackReport, Truth};
pub use listing::{ModelListed, Models};
pub use live::Live;
pub use login::{DeviceKey, DevicePolled, DeviceStarted, Exchanged, LoginEnded, LoginLink, Logins};
pub use logs::{Level, Printed};
pub use metrics::{By, ColumnMetrics, MetricsView, RequestMetrics};
pub use models::{DeploymentRequest, Pushed};
pub use platform::Server;
pub use receivers::{ReceiverListed, ReceiverSet, Receivers};
pub use records::{Format as RowFormat, SqlRequest};
pub use reference::{ReferenceColumn, ReferenceView, profile_of};
pub use releases::{InEnvironment, PromotionRequest};
pub use replays::{
    CompareReport, CompareRequest, Compared, Disagreement, EVALUATED_MAX, EVALUATED_ROWS_MAX,
    EvaluateReport, EvaluateRequest, EvaluatedError, EvaluatedRow, REPLAYED_MAX, ReplayOutcome,
    ReplayReport, ReplayRequest, Replayed, RowKey, RowsFailed, TestReport, TestRequest, TestedCase,
    TestedRow, cells, is_own_fault, key_of, names, outcome, rehearsals,
};
pub use sandbox::{SandboxReport, SandboxRequest};
pub use scrape::metrics_text;
pub use trust::TrustedKeys;
pub use truth::{TruthKnown, TruthOfRow};
pub use why::{WhyCause, WhyNext, WhyView};

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
    /// What turned out to be true of predictions, if records are kept.
    pub truth: Option<Truth>,
    /// Who keeps records of requests, if any are kept.
    pub records: Option<Arc<Keeper>>,
    /// Reads records of requests, where they are kept.
    pub queries: Arc<Queries>,
    /// What comes into models, and what goes out.
    pub drift: Arc<Drift>,
    /// What columns and requests were like, if it is kept.
    pub history: Option<Reader>,
    /// What models are like at this moment, for who looks.
    pub live: Arc<Live>,
    /// Alarms.
    pub alarms: Arc<Desk>,
    /// Service level objectives.
    pub objectives: Arc<Objectives>,
    /// Whoever tells receivers of alarms.
    pub delivery: Arc<Delivery>,
    /// Held while the ledger is told of what was erased.
    pub telling: Arc<tokio::sync::Mutex<()>>,
    /// Logins on their way, and who lets people and jobs in.
    pub logins: Arc<Logins>,
    /// Where this server listens.
    pub url: String,
    /// Where its data are.
    pub data: DataDirectory,
    /// Of its cookie for processes of the owner, if it has one: see [`platform::Server`].
    pub instance: Option<Digest>,
    /// When its process started, in milliseconds since 1970.
    pub started_at_ms: u64,
}

/// The router of the control plane.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        let at_the_door = from_fn_with_state((api.clone(), endpoint.asks), access::at_the_door);
        router = router.route(endpoint.path, (endpoint.handler)().route_layer(at_the_door));
    }
    router
        .fallback(dashboard::other)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::map_response(headers::guard))
        .with_state(api)
}

/// Runs what reads files or takes long on a thread for that: the control plane has one thread for
/// everything else.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(error::failed)
}
