//! The platform itself: health, metrics, status, garbage, backup, verification.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use control::Garbage;
use control::failing::Failing;
use domain::{Action, Code, Digest, Object, Problem};
use ledger::proof::Note;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::describe::{Operation, Output};
use crate::error::bad_request;
use crate::extract::{By, IsNear, Name, Query};
use crate::scrape::{Accepted, Metrics, scrape};
use crate::{Api, ApiError, aside};

/// Of a backup.
const TAR_TYPE: &str = "application/x-tar";

#[derive(Deserialize, JsonSchema)]
pub struct HeadQuery {
    /// The hash of the last entry, as it was kept elsewhere: whether the end was cut off.
    #[schemars(with = "Option<Digest>")]
    head: Option<Name<Digest>>,
    /// A checkpoint, as it was kept elsewhere: whether its entries are still the same. Its
    /// signature is not looked at.
    checkpoint: Option<String>,
}

/// What answers, and how its owner gets to it.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// Of the program.
    pub version: String,
    /// Where it listens.
    pub url: String,
    /// Its data directory, on its machine.
    pub data: Option<String>,
    /// A digest made of the cookie in that directory. Whoever can read the cookie sees by it whether
    /// this is the server of that directory, and not one elsewhere whose directory has the same
    /// name.
    pub instance: Option<Digest>,
    /// Whether people log in with an identity provider, at `/login`.
    #[serde(default)]
    pub login: bool,
}

/// This server.
#[derive(Serialize, JsonSchema)]
pub struct Status {
    /// Of the program.
    version: String,
    /// Where it listens.
    url: String,
    /// Its data directory, on its machine; only for who may see all projects.
    data: Option<String>,
    /// Of its process.
    pid: u32,
    /// How long it has been running.
    uptime_s: u64,
    /// Models that have a version; of those that the caller may see.
    models: usize,
    /// Replicas of them, ready or not.
    replicas: usize,
    /// What is live and does not start any more; earlier replicas may answer all the same.
    failing: Vec<Failing>,
    /// What is recorded.
    ledger: LedgerStatus,
    /// The number of the route table; only for who may see all projects.
    route_epoch: Option<u64>,
    /// Rows that wait, of those models.
    queued_rows: u64,
}

/// The ledger of this server.
#[derive(Serialize, JsonSchema)]
pub struct LedgerStatus {
    /// How many; only for who may see all projects.
    entries: Option<u64>,
    /// The hash of the last one; only for who may see all projects.
    head: Option<Digest>,
    /// Why nothing can be changed now; `null` if it can.
    read_only: Option<Problem>,
}

/// A ledger whose chain is whole.
#[derive(Serialize, JsonSchema)]
pub struct LedgerVerified {
    /// How many entries it has.
    entries: u64,
    /// The hash of the last one.
    head: Digest,
}

/// A tar file.
pub struct Tar(Body);

impl IntoResponse for Tar {
    fn into_response(self) -> Response {
        ([(http::header::CONTENT_TYPE, TAR_TYPE)], self.0).into_response()
    }
}

impl Output for Tar {
    fn describe(operation: &mut Operation) {
        operation.answers(TAR_TYPE, "A tar file, as `decalog restore` reads it");
    }
}

pub async fn healthz() -> &'static str {
    "ok\n"
}

pub async fn readyz(State(api): State<Api>, IsNear(is_near): IsNear) -> Result<String, ApiError> {
    ready(&api).map_err(|mut problem| {
        if !is_near {
            problem.details.clear();
        }
        problem.into()
    })
}

/// What is ready; which models are not is in the details.
fn ready(api: &Api) -> Result<String, Problem> {
    if let Some(trouble) = api.control.engine().trouble() {
        let problem =
            Problem::new(Code::NotReady, "no replica can be started or stopped").details([trouble]);
        return Err(
            problem.help("what runs goes on; the server's log and logs/supervisor.log tell more")
        );
    }
    let (waiting, failing) = api.control.unanswered();
    if !failing.is_empty() {
        let problem =
            Problem::new(Code::NotReady, "models that are live cannot be started").details(failing);
        return Err(problem
            .details(waiting)
            .help("decalog show MODEL and decalog logs MODEL tell more"));
    }
    if waiting.is_empty() {
        // What runs answers requests also while nothing can be changed.
        return Ok(api
            .control
            .refusal()
            .map_or("ready\n".into(), |problem| format!("ready, but read-only: {problem}\n")));
    }
    Err(Problem::new(Code::NotReady, "replicas are starting")
        .details(waiting)
        .help("ask again in a moment"))
}

pub async fn metrics(
    State(api): State<Api>,
    Accepted(format): Accepted,
) -> Result<Metrics, ApiError> {
    aside(move || scrape(&api, format, control::now_ms())).await
}

pub async fn openapi() -> Json<Value> {
    Json(crate::openapi::document())
}

pub async fn server(State(api): State<Api>, IsNear(is_near): IsNear) -> Json<Server> {
    Json(Server {
        version: env!("CARGO_PKG_VERSION").into(),
        url: api.url,
        data: is_near.then(|| api.data.root().to_string_lossy().into_owned()),
        instance: api.instance.filter(|_| is_near),
        login: api.logins.has_provider(),
    })
}

pub async fn status(State(api): State<Api>, By(caller): By) -> Result<Json<Status>, ApiError> {
    let sees_all = api.control.permit(&caller, Action::Read, &Object::Platform).is_ok();
    let (entries, head) = api.control.head().await?;
    // What spans projects would tell of those that the caller may not see.
    let of_all = |number: u64| sees_all.then_some(number);
    let seen = api.control.models_seen(&caller);
    let is_seen = |placement: &domain::Placement| seen.contains(&placement.model);
    let replicas = api.control.engine().replicas();
    let demand = api.gateway.demand();
    let queued = demand.iter().filter(|demand| is_seen(&demand.placement));
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        uptime_s: control::now_ms().saturating_sub(api.started_at_ms) / 1_000,
        models: seen.len(),
        replicas: replicas.iter().filter(|replica| is_seen(&replica.placement)).count(),
        failing: api.control.all_failing(|key| seen.contains(key)),
        ledger: LedgerStatus {
            entries: of_all(entries),
            head: sees_all.then_some(head),
            read_only: api.control.refusal(),
        },
        route_epoch: of_all(api.gateway.epoch()),
        queued_rows: queued.map(|demand| demand.queued_rows).sum(),
        url: api.url,
        data: sees_all.then(|| api.data.root().to_string_lossy().into_owned()),
    }))
}

pub async fn collect(State(api): State<Api>) -> Result<Json<Garbage>, ApiError> {
    Ok(Json(api.control.collect().await?))
}

pub async fn verify(
    State(api): State<Api>,
    Query(query): Query<HeadQuery>,
) -> Result<Json<LedgerVerified>, ApiError> {
    let head = query.head.map(Name::get).transpose()?;
    let read = |text: String| {
        text.parse::<Note>().map_err(bad_request)?.text().parse().map_err(bad_request)
    };
    let checkpoint = query.checkpoint.map(read).transpose()?;
    let location = api.control.ledger_location();
    let expected = ledger::Expected { head, checkpoint };
    let verified = aside(move || ledger::verify(&location, &expected)).await?;
    match verified {
        Ok(verified) => Ok(Json(LedgerVerified { entries: verified.entries, head: verified.head })),
        Err(broken) => Err(Problem::new(Code::LedgerBroken, broken.to_string())
            .help("restore a backup, and find out who changed the file")
            .into()),
    }
}

pub async fn backup(State(api): State<Api>) -> Result<Tar, ApiError> {
    let pieces = api.control.backup().await?;
    Ok(Tar(Body::from_stream(pieces)))
}
