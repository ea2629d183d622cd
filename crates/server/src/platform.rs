//! The platform itself: health, metrics, status, garbage, backup, verification.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use control::Garbage;
use domain::{Code, Digest, Problem};
use monitor::Scrape;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::bad_name;
use crate::extract::Query;
use crate::{Api, ApiError, aside};

#[derive(Deserialize)]
pub struct HeadQuery {
    head: Option<String>,
}

pub async fn healthz() -> &'static str {
    "ok\n"
}

pub async fn readyz(State(api): State<Api>) -> Result<String, ApiError> {
    if let Some(trouble) = api.control.engine().trouble() {
        let problem =
            Problem::new(Code::NotReady, "no replica can be started or stopped").details([trouble]);
        return Err(problem
            .help("what runs goes on; the server's log and logs/supervisor.log tell more")
            .into());
    }
    let (waiting, failing) = api.control.unanswered();
    if !failing.is_empty() {
        let problem =
            Problem::new(Code::NotReady, "models that are live cannot be started").details(failing);
        return Err(problem
            .details(waiting)
            .help("decalog show MODEL and decalog logs MODEL tell more")
            .into());
    }
    if waiting.is_empty() {
        // What runs can be asked, also while nothing can be changed.
        return Ok(api
            .control
            .refusal()
            .map_or("ready\n".into(), |problem| format!("ready, but read-only: {problem}\n")));
    }
    Err(Problem::new(Code::NotReady, "replicas are starting")
        .details(waiting)
        .help("ask again in a moment")
        .into())
}

pub async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let render = move || {
        let scrape = Scrape {
            demand: api.gateway.demand(),
            records_dropped: api.gateway.records_dropped(),
            epoch: api.gateway.epoch(),
        };
        api.monitor.render(&scrape, control::now_ms())
    };
    let text = aside(render).await?;
    Ok((
        [(
            http::header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response())
}

pub async fn openapi() -> Json<Value> {
    Json(crate::openapi::document())
}

pub async fn status(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let (entries, head) = api.control.head().await?;
    let state = api.control.state();
    let replicas = api.control.engine().replicas().len();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "url": api.url,
        "pid": std::process::id(),
        "uptime_s": control::now_ms().saturating_sub(api.started_at_ms) / 1_000,
        "models": state.models.values().filter(|model| !model.versions.is_empty()).count(),
        "replicas": replicas,
        "ledger": { "entries": entries, "head": head, "read_only": api.control.refusal() },
        "route_epoch": api.gateway.epoch(),
        "queued_rows": api.gateway.demand().iter().map(|demand| demand.queued_rows).sum::<u64>(),
    })))
}

pub async fn collect(State(api): State<Api>) -> Result<Json<Garbage>, ApiError> {
    Ok(Json(api.control.collect().await?))
}

pub async fn verify(
    State(api): State<Api>,
    Query(query): Query<HeadQuery>,
) -> Result<Json<Value>, ApiError> {
    let head = query.head.map(|head| head.parse::<Digest>()).transpose().map_err(bad_name)?;
    let location = api.control.ledger_location();
    let verified = aside(move || ledger::verify(&location, head)).await?;
    match verified {
        Ok(verified) => Ok(Json(json!({ "entries": verified.entries, "head": verified.head }))),
        Err(broken) => Err(Problem::new(Code::LedgerBroken, broken.to_string())
            .help("restore a backup, and find out who changed the file")
            .into()),
    }
}

pub async fn backup(State(api): State<Api>) -> Result<Response, ApiError> {
    let pieces = api.control.backup().await?;
    Ok(([(http::header::CONTENT_TYPE, "application/x-tar")], Body::from_stream(pieces))
        .into_response())
}
