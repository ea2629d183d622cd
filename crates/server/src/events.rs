//! Events: a page of the ledger, or a line for each entry as it comes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Entry, ModelKey, Problem};
use serde::Deserialize;

use crate::error::{bad_name, bad_request};
use crate::extract::Query;
use crate::{Api, ApiError};

/// Entries of one page.
const LIMIT_MAX: usize = 1_000;

/// The highest number that an entry can have: the ledger keeps it as a signed integer.
const AFTER_MAX: u64 = i64::MAX as u64;

#[derive(Deserialize)]
pub struct EventsQuery {
    model: Option<String>,
    /// Comma-separated: kinds of events, or `release`, `scale`, `version`, `replica`, `variable`, `writer` for all of theirs.
    kind: Option<String>,
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// Which entries are asked for.
#[derive(Clone)]
struct Filter {
    model: Option<String>,
    kinds: Vec<String>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        let concerns = |model: &String| entry.subject == *model || model.split('/').next() == Some(entry.subject.as_str());
        let kind = entry.event.kind();
        let group = match kind {
            "deploy_started" | "environment_built" | "candidate_ready" | "tests_passed" | "gates_passed" | "deploy_failed"
            | "traffic_shifted" | "guards_judged" | "release_paused" | "release_resumed" | "released" => "release",
            _ => kind.split('_').next().unwrap_or_default(),
        };
        self.model.as_ref().is_none_or(concerns)
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind || wanted == group))
    }
}

pub async fn read(State(api): State<Api>, Query(query): Query<EventsQuery>) -> Result<Response, ApiError> {
    if query.after > AFTER_MAX {
        return Err(bad_request(format!("after={} is beyond any entry: at most {AFTER_MAX}", query.after)));
    }
    let model = query.model.map(ModelKey::try_from).transpose().map_err(bad_name)?.map(|key| key.to_string());
    let kinds = query.kind.iter().flat_map(|kinds| kinds.split(',')).map(|kind| kind.trim().to_string()).collect();
    let filter = Filter { model, kinds };
    if query.follow {
        return Ok(follow(api, filter, query.after));
    }
    let limit = query.limit.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let mut events = vec![];
    let mut after = query.after;
    loop {
        let page = api.control.entries(after, LIMIT_MAX).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        events.extend(page.into_iter().filter(|entry| filter.takes(entry)));
        if events.len() >= limit {
            events.truncate(limit);
            break;
        }
    }
    Ok(Json(serde_json::json!({ "events": events })).into_response())
}

struct Following {
    api: Api,
    filter: Filter,
    after: u64,
    appended: tokio::sync::watch::Receiver<u64>,
}

fn follow(api: Api, filter: Filter, after: u64) -> Response {
    let appended = api.control.appended();
    let following = Following { api, filter, after, appended };
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
                for entry in page.iter().filter(|entry| following.filter.takes(entry)) {
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
