//! Erasure of records by a key, and telling the ledger of it: also of what was interrupted and
//! completed later.

use std::time::Duration;

use ::records::{Erased, Erasure, KEY_BYTES_MAX, Keeper};
use axum::Json;
use axum::extract::State;
use domain::recording::key_forms;
use domain::{Code, Digest, ModelName, Principal, Problem, ProjectName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{By, Name, Query};
use crate::{Api, ApiError, aside};

/// How often it is looked whether the ledger lacks an erasure, in milliseconds.
const TELL_MS: u64 = 30_000;

/// What is erased.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseQuery {
    /// As callers name it in `Decalog-Key`: `customer=42`. Rows go that have this key, and those
    /// whose input or output `customer` is 42.
    key: String,
    /// Default: `default`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    project: Name<ProjectName>,
    /// Of this model only.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    model: Option<Name<ModelName>>,
}

/// How much was erased.
#[derive(Serialize, Deserialize, JsonSchema)]
pub struct RecordsErased {
    /// Requests of which at least one row is gone.
    pub records: u64,
    /// Rows that are gone.
    pub rows: u64,
    /// Files that had some.
    pub files: u64,
    /// Files that could not be read: they are as they were.
    pub unread: u64,
}

fn failed(error: std::io::Error) -> ApiError {
    let problem = match error.kind() {
        std::io::ErrorKind::TimedOut => {
            let text = "the erasure takes long; it goes on, and the ledger says when it is done";
            Problem::new(Code::NotReady, text).help("decalog events --kind records_erased")
        }
        _ => Problem::new(Code::Store, format!("records were not erased to the end: {error}"))
            .help("it is tried again every minute; decalog events --kind records_erased"),
    };
    ApiError(problem)
}

fn keeper(api: &Api) -> Result<std::sync::Arc<Keeper>, ApiError> {
    api.records.clone().ok_or_else(|| {
        let text = "this server keeps no records of requests";
        let help = "to erase those that it kept before, start it with --records-per-s 1 or more";
        ApiError(Problem::new(Code::NoRecords, text).help(help))
    })
}

pub async fn erase(
    State(api): State<Api>,
    Query(query): Query<EraseQuery>,
    By(caller): By,
) -> Result<Json<RecordsErased>, ApiError> {
    let (project, model) = (query.project.get()?, query.model.map(Name::get).transpose()?);
    api.control.may_erase(&caller, &project)?;
    if query.key.is_empty() || query.key.len() > KEY_BYTES_MAX {
        let text = format!("a key has from 1 to {KEY_BYTES_MAX} bytes");
        return Err(ApiError(Problem::new(Code::BadRequest, text).help("as in customer=42")));
    }
    let (control, keeper, by) = (api.control.clone(), keeper(&api)?, caller.principal.to_string());
    let truth = api.truth.clone();
    let erase = move || {
        let pseudonyms = control.pseudonyms(&project)?;
        let mark = control.mark_of_key(&project, &query.key)?.to_string();
        let pseudonyms = pseudonyms.as_deref();
        let key = query.key.as_str();
        if let Some(truth) = truth {
            let model = model.as_ref().map(|model| model.as_str());
            for form in key_forms(key, pseudonyms) {
                let erased = truth.truths.erase(project.as_str(), model, &form);
                erased.map_err(crate::error::failed)?;
            }
        }
        let erasure = Erasure { project, model, key, pseudonyms, by, mark };
        keeper.erase(&erasure).map_err(failed)
    };
    let erased = aside(erase).await??;
    tell(&api).await?;
    let Erased { records, rows, files, unread, .. } = erased;
    Ok(Json(RecordsErased { records, rows, files, unread }))
}

/// Tells the ledger of all that was erased and that it does not have yet.
async fn tell(api: &Api) -> Result<(), ApiError> {
    let Some(keeper) = api.records.clone() else { return Ok(()) };
    let _telling = api.telling.lock().await;
    let untold = {
        let keeper = keeper.clone();
        aside(move || keeper.untold_erasures()).await?.map_err(failed)?
    };
    for erased in untold {
        let by = erased.by.parse().unwrap_or(Principal::Platform);
        let mark: Digest = erased.mark.parse().unwrap_or_default();
        let event = domain::Event::RecordsErased {
            model: erased.model,
            key: mark,
            records: erased.records,
            rows: erased.rows,
            files: erased.files,
        };
        api.control.records_erased(&by, &erased.project, event).await?;
        let keeper = keeper.clone();
        aside(move || keeper.told_erasure(erased.id)).await?.map_err(failed)?;
    }
    Ok(())
}

/// Tells the ledger of erasures that were completed after an interruption.
pub async fn tell_forever(api: Api) {
    loop {
        if let Err(ApiError(problem)) = tell(&api).await {
            tracing::warn!("the ledger does not have an erasure yet: {problem}");
        }
        tokio::time::sleep(Duration::from_millis(TELL_MS)).await;
    }
}
