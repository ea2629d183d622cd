//! Events: a page of what happened, or a line for each as it comes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Action, After, Caller, Happened, ModelKey, Object, Problem};
use ledger::Selection;
use ledger::scan::kinds_of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::describe::{Operation, Output};
use crate::error::bad_request;
use crate::extract::{By, Name, Query};
use crate::{Api, ApiError};

/// Of lines of JSON.
const LINES_TYPE: &str = "application/x-ndjson";
/// Events of one page.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize, JsonSchema)]
pub struct EventsQuery {
    /// Only of this model, and of its project.
    #[schemars(with = "Option<ModelKey>")]
    model: Option<Name<ModelKey>>,
    /// Comma-separated: kinds of events, or `release`, `scale`, `version`, `replica`, `variable`,
    /// `writer` for all of theirs.
    kind: Option<String>,
    /// Only what came after this place, which an earlier page or line named.
    #[schemars(with = "Option<After>")]
    after: Option<String>,
    /// The most events of a page; 1,000 if unsaid, which is also the most.
    limit: Option<usize>,
    /// Whether to answer with a line of JSON for each event as it comes, without end.
    #[serde(default)]
    follow: bool,
}

impl EventsQuery {
    fn selection(self) -> Result<Selection, ApiError> {
        let model = self.model.map(Name::get).transpose()?;
        // What befalls a project befalls its models.
        let subjects =
            model.into_iter().flat_map(|key| [key.to_string(), key.project.to_string()]).collect();
        let kinds = self.kind.map(|kinds| {
            let names = kinds.split(',').map(str::trim);
            names.flat_map(|name| kinds_of(name).map(String::from)).collect()
        });
        Ok(Selection { subjects, kinds })
    }
}

/// A part of what happened.
#[derive(Serialize, JsonSchema)]
pub struct EventsPage {
    /// In order.
    events: Vec<Happened>,
    /// How far it was looked: the next page comes after it.
    next: After,
    /// Whether there may be more behind that.
    more: bool,
}

/// Events as a page, or as lines without end.
pub enum Events {
    Page(EventsPage),
    Lines(Body),
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        match self {
            Events::Page(page) => Json(page).into_response(),
            Events::Lines(lines) => {
                ([(http::header::CONTENT_TYPE, LINES_TYPE)], lines).into_response()
            }
        }
    }
}

impl Output for Events {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<EventsPage>();
        operation.answers(LINES_TYPE, "With follow=true: a line of JSON for each event (Happened)");
    }
}

pub async fn read(
    State(api): State<Api>,
    Query(query): Query<EventsQuery>,
    By(caller): By,
) -> Result<Events, ApiError> {
    let of = query.model.as_ref().and_then(|model| model.clone().get().ok());
    let (follow, limit) = (query.follow, query.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX));
    let after = query.after.clone();
    let selection = query.selection()?;
    let after: After = after.as_deref().unwrap_or("0").parse().map_err(bad_request)?;
    if follow {
        return Ok(Events::Lines(lines(api, caller, of, selection, after)));
    }
    let page = api.control.events(&caller, after, &selection, limit).await?;
    Ok(Events::Page(EventsPage { events: page.events, next: page.next, more: page.more }))
}

struct Following {
    api: Api,
    caller: Caller,
    /// The model that is followed, if it was there for the caller.
    of: Option<Object>,
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
            // Another role of the caller's does not make this one go on.
            if let Some(of) = &self.of {
                self.api.control.permit_somewhere(&self.caller, Action::Read, of)?;
            }
            let page = self
                .api
                .control
                .events(&self.caller, self.after, &self.selection, LIMIT_MAX)
                .await?;
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

fn lines(
    api: Api,
    caller: Caller,
    of: Option<ModelKey>,
    selection: Selection,
    after: After,
) -> Body {
    let is_seen = |of: &Object| api.control.permit_somewhere(&caller, Action::Read, of).is_ok();
    let of = of.map(Object::Model).filter(is_seen);
    let (appended, observed) = (api.control.appended(), api.control.observed());
    let following = Following { api, caller, of, selection, after, appended, observed };
    let lines = futures_util::stream::unfold(following, |mut following| async move {
        let next = following.next().await.transpose()?;
        Some((next, following))
    });
    Body::from_stream(lines)
}
