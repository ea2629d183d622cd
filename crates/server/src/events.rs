//! Events: a page of what happened, or a line for each as it comes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{After, ModelKey, Problem};
use ledger::Selection;
use ledger::scan::kinds_of;
use serde::Deserialize;

use crate::error::{bad_name, bad_request};
use crate::extract::Query;
use crate::{Api, ApiError};

/// Events of one page.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize)]
pub struct EventsQuery {
    model: Option<String>,
    /// Comma-separated: kinds of events, or `release`, `scale`, `version`, `replica`, `variable`,
    /// `writer` for all of theirs.
    kind: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

impl EventsQuery {
    fn selection(&self) -> Result<Selection, ApiError> {
        let model = self.model.clone().map(ModelKey::try_from).transpose().map_err(bad_name)?;
        // What befalls a project befalls its models.
        let subjects =
            model.into_iter().flat_map(|key| [key.to_string(), key.project.to_string()]).collect();
        let kinds = self.kind.as_ref().map(|kinds| {
            let names = kinds.split(',').map(str::trim);
            names.flat_map(|name| kinds_of(name).map(String::from)).collect()
        });
        Ok(Selection { subjects, kinds })
    }
}

pub async fn read(
    State(api): State<Api>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    let selection = query.selection()?;
    let after: After = query.after.as_deref().unwrap_or("0").parse().map_err(bad_request)?;
    if query.follow {
        return Ok(follow(api, selection, after));
    }
    let limit = query.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let page = api.control.events(after, &selection, limit).await?;
    Ok(Json(serde_json::json!({ "events": page.events, "next": page.next, "more": page.more }))
        .into_response())
}

struct Following {
    api: Api,
    selection: Selection,
    after: After,
    appended: tokio::sync::watch::Receiver<u64>,
    observed: tokio::sync::watch::Receiver<u64>,
}

impl Following {
    /// What comes next, each in a line; `None` if nothing comes any more.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            self.appended.borrow_and_update();
            self.observed.borrow_and_update();
            let page = self.api.control.events(self.after, &self.selection, LIMIT_MAX).await?;
            self.after = page.next;
            let mut lines = vec![];
            for event in &page.events {
                lines.extend(serde_json::to_vec(event).unwrap_or_default());
                lines.push(b'\n');
            }
            if !lines.is_empty() {
                return Ok(Some(Bytes::from(lines)));
            }
            if page.more {
                continue;
            }
            let changed = tokio::select! {
                changed = self.appended.changed() => changed,
                changed = self.observed.changed() => changed,
            };
            if changed.is_err() {
                return Ok(None);
            }
        }
    }
}

fn follow(api: Api, selection: Selection, after: After) -> Response {
    let (appended, observed) = (api.control.appended(), api.control.observed());
    let following = Following { api, selection, after, appended, observed };
    let lines = futures_util::stream::unfold(following, |mut following| async move {
        let next = following.next().await.transpose()?;
        Some((next, following))
    });
    ([(http::header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines))
        .into_response()
}
