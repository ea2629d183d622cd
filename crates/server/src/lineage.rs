//! The lineage of a model: what the ledger says, and how much each version was asked.

use axum::Json;
use axum::extract::State;
use domain::lineage::{Facts, LineageRequests};
use domain::{After, Code, Lineage, Problem};
use ledger::Selection;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::extract::{By, Path, Query};
use crate::metrics::requests_since;
use crate::path::ModelPath;
use crate::{Api, ApiError, aside};

/// Events that are in memory at a time: that of a version names all its files.
const EVENTS_MAX: usize = 100;
/// Requests of so long are counted if nothing is said, in milliseconds.
const SINCE_MS: u64 = 30 * 86_400_000;

#[derive(Deserialize, JsonSchema)]
pub struct LineageQuery {
    /// Requests are counted from this time on, in milliseconds since 1970; 30 days ago if unsaid.
    from_ms: Option<u64>,
}

pub async fn show(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<LineageQuery>,
    By(caller): By,
) -> Result<Json<Lineage>, ApiError> {
    let model = path.key();
    api.control.state().model(&model)?;
    let kinds = Some(Facts::KINDS.map(String::from).to_vec());
    let selection = Selection { subjects: vec![model.to_string()], kinds };
    let (mut facts, mut after) = (Facts::default(), After::default());
    loop {
        let page = api.control.events(&caller, after, &selection, EVENTS_MAX).await?;
        page.events.into_iter().for_each(|happened| facts.take(happened));
        if !page.more {
            break;
        }
        after = page.next;
    }
    let now_ms = control::now_ms();
    let from_ms = query.from_ms.unwrap_or_else(|| now_ms.saturating_sub(SINCE_MS));
    let requests = match api.history.clone() {
        None => None,
        Some(reader) => {
            let of = model.clone();
            let read = aside(move || requests_since(&reader, &of, from_ms, now_ms)).await?;
            let unread = |error: monitor::history::HistoryError| {
                let text = format!("the history of metrics cannot be read: {error}");
                Problem::new(Code::Store, text)
            };
            let counted = read.map_err(unread)?.into_iter().filter_map(|asked| {
                let version = asked.version.parse().ok()?;
                Some(LineageRequests {
                    id: format!("requests:{}@{}", asked.version, asked.environment),
                    version,
                    environment: asked.environment,
                    count: asked.count,
                    failed: asked.failed,
                })
            });
            Some((from_ms, counted.collect()))
        }
    };
    Ok(Json(facts.lineage(&model, requests)))
}
