//! Events: a page of the ledger, or a line for each entry as it comes.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Entry, ModelKey, Problem};
use serde::Deserialize;

use crate::error::bad_name;
use crate::{Api, ApiError};

/// Entries of one page.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize)]
pub struct EventsQuery {
    model: Option<String>,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

fn concerns(entry: &Entry, model: Option<&str>) -> bool {
    model.is_none_or(|model| entry.subject == model || model.split('/').next() == Some(entry.subject.as_str()))
}

pub async fn read(State(api): State<Api>, Query(query): Query<EventsQuery>) -> Result<Response, ApiError> {
    let model = query.model.map(ModelKey::try_from).transpose().map_err(bad_name)?.map(|key| key.to_string());
    if query.follow {
        return Ok(follow(api, model, query.after));
    }
    let limit = query.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let mut events = vec![];
    let mut after = query.after;
    loop {
        let page = api.control.entries(after, LIMIT_MAX).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        events.extend(page.into_iter().filter(|entry| concerns(entry, model.as_deref())));
        if events.len() >= limit {
            events.truncate(limit);
            break;
        }
    }
    Ok(Json(serde_json::json!({ "events": events })).into_response())
}

struct Following {
    api: Api,
    model: Option<String>,
    after: u64,
    appended: tokio::sync::watch::Receiver<u64>,
}

fn follow(api: Api, model: Option<String>, after: u64) -> Response {
    let appended = api.control.appended();
    let following = Following { api, model, after, appended };
    let lines = futures_util::stream::unfold(following, |mut following| async move {
        loop {
            following.appended.borrow_and_update();
            let page = match following.api.control.entries(following.after, LIMIT_MAX).await {
                Ok(page) => page,
                Err(problem) => return Some((Err::<Bytes, Problem>(problem), following)),
            };
            if let Some(last) = page.last() {
                following.after = last.seq;
                let mut lines = vec![];
                for entry in page.iter().filter(|entry| concerns(entry, following.model.as_deref())) {
                    lines.extend(serde_json::to_vec(entry).unwrap_or_default());
                    lines.push(b'\n');
                }
                if !lines.is_empty() {
                    return Some((Ok(Bytes::from(lines)), following));
                }
                continue;
            }
            following.appended.changed().await.ok()?;
        }
    });
    ([(http::header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
