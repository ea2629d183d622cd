//! What changes, as it changes: one stream for a page that is looked at. All who look share what is
//! made for them, once a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::{Action, After, Caller, Object, ProjectName};
use http::{HeaderMap, header};
use ledger::Selection;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::describe::{Operation, Output};
use crate::error::bad_request;
use crate::extract::{By, Query};
use crate::listing::{listed, sees};
use crate::{Api, ApiError, aside};

/// Between two looks, in milliseconds.
const LOOK_MS: u64 = 1_000;
/// Whoever hears nothing for so long would take the server for gone, in milliseconds.
const SILENCE_MS: u64 = 15_000;
/// Entries that are looked at together, …
const ENTRIES_MAX: usize = 1_000;
/// … and how often in a row: whoever missed more is told to ask for all again.
const PAGES_MAX: usize = 4;
/// Subjects that are named.
const SUBJECTS_MAX: usize = 500;

/// What all models are like, as it was last looked.
#[derive(Default)]
pub struct Live {
    last: Mutex<Arc<Looked>>,
}

/// One look.
#[derive(Default)]
struct Looked {
    at_ms: u64,
    /// The number of this look.
    number: u64,
    rows: HashMap<String, Row>,
}

/// A model in an environment, ready to be sent.
#[derive(Clone)]
struct Row {
    project: ProjectName,
    json: Arc<str>,
    /// The look that found it like this.
    changed: u64,
}

/// A model in an environment, as it is at this moment.
#[derive(Serialize)]
struct ModelNow<'a> {
    project: &'a str,
    name: &'a str,
    environment: Option<&'a str>,
    live: Option<&'a str>,
    state: &'a str,
    requests_per_s: f64,
    errors_share: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    in_flight: u64,
    queued_rows: u64,
    replicas: usize,
    wanted: Option<u32>,
    alarms: u64,
}

/// A stream of events for a browser (`text/event-stream`).
pub struct Stream(Body);

impl IntoResponse for Stream {
    fn into_response(self) -> Response {
        let headers =
            [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
        (headers, self.0).into_response()
    }
}

impl Output for Stream {
    fn describe(operation: &mut Operation) {
        operation.answers(
            "text/event-stream",
            "Without end: `hello` with the version of the program, `models` with those that \
             changed, `ledger` with whom new entries are about, `alarms` when some changed",
        );
    }
}

impl Live {
    /// The models of this second.
    fn look(&self, api: &Api) -> Arc<Looked> {
        let now_ms = control::now_ms();
        let mut last = self.last.lock();
        if now_ms.abs_diff(last.at_ms) < LOOK_MS / 2 {
            return last.clone();
        }
        let mut load: HashMap<_, (u64, u64)> = HashMap::new();
        for demand in api.gateway.demand() {
            let (key, environment) = (demand.placement.model, demand.placement.environment);
            let sum = load.entry((key.project, key.model, environment)).or_default();
            *sum = (sum.0 + demand.load.in_flight, sum.1 + demand.queued_rows);
        }
        let number = last.number + 1;
        let row = |model: crate::ModelListed| {
            let minute = model.last_minute;
            let row = &model.row;
            let place = (row.project.clone(), row.name.clone());
            let place = row.environment.clone().map(|environment| (place.0, place.1, environment));
            let (in_flight, queued_rows) =
                place.and_then(|place| load.get(&place).copied()).unwrap_or_default();
            let now = ModelNow {
                project: row.project.as_str(),
                name: row.name.as_str(),
                environment: row.environment.as_ref().map(|it| it.as_str()),
                live: row.live.as_deref(),
                state: &row.state,
                requests_per_s: minute.map_or(0.0, |minute| minute.requests_per_s),
                errors_share: minute.map_or(0.0, |minute| minute.errors_share),
                p50_ms: minute.map(|minute| minute.p50_ms),
                p99_ms: minute.map(|minute| minute.p99_ms),
                in_flight,
                queued_rows,
                replicas: row.replicas,
                wanted: row.wanted,
                alarms: model.alarms,
            };
            let json: Arc<str> = serde_json::to_string(&now).unwrap_or_default().into();
            let name = row.environment.as_ref().map_or("", |it| it.as_str());
            let key = format!("{}/{}@{name}", row.project, row.name);
            let before = last.rows.get(&key).filter(|before| before.json == json);
            let changed = before.map_or(number, |before| before.changed);
            (key, Row { project: row.project.clone(), json, changed })
        };
        let rows = listed(api, |_| true).into_iter().map(row).collect();
        *last = Arc::new(Looked { at_ms: now_ms, number, rows });
        last.clone()
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct LiveQuery {
    /// Whether to tell what there is now, and end.
    #[serde(default)]
    once: bool,
}

struct Following {
    api: Api,
    caller: Caller,
    /// How far entries were told, …
    after: After,
    /// … and what says that there are more.
    appended: watch::Receiver<u64>,
    observed: watch::Receiver<u64>,
    /// The last look that was told.
    seen: u64,
    alarms: u64,
    said_ms: u64,
    hello: bool,
    /// Whether the first that is told is the last.
    once: bool,
    ended: bool,
}

pub async fn follow(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(query): Query<LiveQuery>,
    By(caller): By,
) -> Result<Stream, ApiError> {
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let now = After { seq: api.control.state().seq, ..After::default() };
    let after = after.map(str::parse).transpose().map_err(bad_request)?.unwrap_or(now);
    let alarms = api.alarms.last();
    let (mut appended, observed) = (api.control.appended(), api.control.observed());
    // Whoever comes back may have missed some.
    appended.mark_changed();
    let following = Following {
        api,
        caller,
        after,
        appended,
        observed,
        seen: 0,
        alarms,
        said_ms: 0,
        hello: true,
        once: query.once,
        ended: false,
    };
    let events = futures_util::stream::unfold(following, |mut following| async move {
        let next = following.next().await.transpose()?;
        Some((next, following))
    });
    Ok(Stream(Body::from_stream(events)))
}

impl Following {
    /// What comes next; `None` once the caller may see nothing any more.
    async fn next(&mut self) -> Result<Option<Bytes>, domain::Problem> {
        let mut out = String::new();
        if std::mem::take(&mut self.hello) {
            let hello = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") });
            event(&mut out, "hello", None, &hello.to_string());
        }
        if std::mem::replace(&mut self.ended, self.once) {
            return Ok(None);
        }
        loop {
            let may =
                self.api.control.permit_somewhere(&self.caller, Action::Read, &Object::Platform);
            if may.is_err() {
                return Ok(None);
            }
            let has_more = |changed: &watch::Receiver<u64>| changed.has_changed().unwrap_or(true);
            if has_more(&self.appended) || has_more(&self.observed) {
                self.entries(&mut out).await?;
            }
            self.models(&mut out).await?;
            let last = self.api.alarms.last();
            if std::mem::replace(&mut self.alarms, last) != last {
                event(&mut out, "alarms", None, &serde_json::json!({ "next": last }).to_string());
            }
            let now_ms = control::now_ms();
            if out.is_empty() && now_ms.abs_diff(self.said_ms) >= SILENCE_MS {
                out.push_str(": nothing\n\n");
            }
            if !out.is_empty() {
                self.said_ms = now_ms;
                return Ok(Some(Bytes::from(out)));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// Whom new entries are about.
    async fn entries(&mut self, out: &mut String) -> Result<(), domain::Problem> {
        self.appended.borrow_and_update();
        self.observed.borrow_and_update();
        let before = self.after;
        let mut subjects: Vec<String> = vec![];
        let control = self.api.control.clone();
        let mut is_all = false;
        for _ in 0..PAGES_MAX {
            let page = control
                .events(&self.caller, self.after, &Selection::default(), ENTRIES_MAX)
                .await?;
            self.after = page.next;
            subjects.extend(page.events.into_iter().map(|event| event.subject));
            subjects.sort_unstable();
            subjects.dedup();
            is_all = !page.more;
            if is_all {
                break;
            }
        }
        if !is_all {
            self.after = After { seq: control.state().seq, telemetry: None };
        }
        if before == self.after {
            return Ok(());
        }
        let named = (is_all && subjects.len() <= SUBJECTS_MAX).then_some(subjects);
        let data = serde_json::json!({ "seq": self.after.seq, "subjects": named });
        event(out, "ledger", Some(&self.after.to_string()), &data.to_string());
        Ok(())
    }

    /// Models that changed since they were last told.
    async fn models(&mut self, out: &mut String) -> Result<(), domain::Problem> {
        let (api, caller, seen) = (self.api.clone(), self.caller.clone(), self.seen);
        let (number, data) = aside(move || {
            let looked = api.live.look(&api);
            let mut visible: HashMap<&ProjectName, bool> = HashMap::new();
            let mut rows = vec![];
            for row in looked.rows.values().filter(|row| row.changed > seen) {
                let is_seen = visible
                    .entry(&row.project)
                    .or_insert_with(|| sees(&api, &caller, &row.project));
                if *is_seen {
                    rows.push(row.json.clone());
                }
            }
            let data = format!("{{\"at_ms\":{},\"models\":[{}]}}", looked.at_ms, rows.join(","));
            (looked.number, (!rows.is_empty()).then_some(data))
        })
        .await
        .map_err(|error| error.0)?;
        self.seen = number;
        if let Some(data) = data {
            event(out, "models", None, &data);
        }
        Ok(())
    }
}

fn event(out: &mut String, name: &str, id: Option<&str>, data: &str) {
    out.push_str("event: ");
    out.push_str(name);
    if let Some(id) = id {
        out.push_str("\nid: ");
        out.push_str(id);
    }
    out.push_str("\ndata: ");
    out.push_str(data);
    out.push_str("\n\n");
}
