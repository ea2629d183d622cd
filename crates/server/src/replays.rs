//! Replays: recorded requests are asked again, off the traffic, and what is answered now is compared
//! with what was answered then.

mod answers;
mod compare;
mod compared;
mod evaluate;
mod evaluated;
mod rehearse;
mod report;
mod run;
mod test;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::records::Keeper;
use ::records::past::{Finding, PastRequest, Sought};
use axum::Json;
use axum::extract::State;
use domain::{Action, Caller, Code, EnvironmentName, ModelKey, Object, Problem, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

pub use answers::{cells, names, outcome};
pub use compare::{CompareReport, CompareRequest, compare};
pub use compared::{Compared, Disagreement, RowsFailed};
pub use evaluate::{EVALUATED_MAX, EVALUATED_ROWS_MAX, evaluate};
pub use evaluated::{
    EvaluateReport, EvaluateRequest, EvaluatedError, EvaluatedRow, RowKey, is_own_fault, key_of,
};
pub use rehearse::rehearsals;
pub use report::{ReplayOutcome, ReplayReport, Replayed};
pub use test::{TestReport, TestRequest, TestedCase, TestedRow, test};

use crate::error::{bad_name, bad_request, failed};
use crate::extract::{Body, By, Path, Patience};
use crate::path::{ModelPath, VersionText};
use crate::{Api, ApiError, aside};

/// The most requests of one replay.
pub const REPLAYED_MAX: usize = 1_000;
/// How long it asks, in milliseconds; starting replicas is not part of it.
const REPLAY_MS_MAX: u64 = 60_000;
/// The length of an id as text.
const ID_BYTES: usize = 36;

/// Which requests are asked again: `ids`, or the `last`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayRequest {
    /// Their ids, as the header `Decalog-Request-Id` of the answers had them.
    pub ids: Vec<String>,
    /// The last that were answered, so many; 1,000 at most.
    pub last: Option<usize>,
    /// Where they were asked; `production` if unsaid.
    pub environment: EnvironmentName,
    /// Only those that this version answered, as `v3`.
    #[schemars(with = "Option<VersionText>")]
    pub version: Option<String>,
    /// The version that is asked now; that which answered then if unsaid.
    #[schemars(with = "Option<VersionText>")]
    pub on: Option<String>,
}

/// A request for a replay that was read.
struct Asked {
    key: ModelKey,
    environment: EnvironmentName,
    sought: Sought,
    version: Option<VersionNumber>,
    on: Option<VersionNumber>,
}

pub async fn run(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
    patience: Patience,
    Body(request): Body<ReplayRequest>,
) -> Result<Json<ReplayReport>, ApiError> {
    let asked = read(path.key(), request, REPLAYED_MAX)?;
    permit(&api, &caller, &asked)?;
    patience.while_waiting(replay(&api, asked)).await.map(Json)
}

fn read(key: ModelKey, request: ReplayRequest, requests_max: usize) -> Result<Asked, ApiError> {
    let ReplayRequest { ids, last, environment, version, on } = request;
    let number = |text: Option<String>| text.map(|text| text.parse()).transpose().map_err(bad_name);
    let sought = match (ids.is_empty(), last) {
        (false, None) => Sought::Ids(ids.into_iter().map(|id| id.to_lowercase()).collect()),
        (true, Some(count)) => Sought::Last(count),
        _ => return Err(bad_request("say which requests: `ids`, or how many of the `last`")),
    };
    let count = match &sought {
        Sought::Ids(ids) => {
            let is_id = |id: &&String| {
                id.len() == ID_BYTES
                    && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
            };
            if let Some(id) = ids.iter().find(|id| !is_id(id)) {
                let id = domain::problem::excerpt(id);
                return Err(bad_request(format!("`{id}` is no id of a request")));
            }
            ids.len()
        }
        Sought::Last(count) => *count,
    };
    if count == 0 || count > requests_max {
        return Err(bad_request(format!(
            "from 1 to {requests_max} requests are asked again at a time"
        )));
    }
    Ok(Asked { key, environment, sought, version: number(version)?, on: number(on)? })
}

/// Whoever may see a model, ask it, and read what others asked.
fn permit(api: &Api, caller: &Caller, asked: &Asked) -> Result<(), ApiError> {
    let object = Object::ModelIn(asked.key.clone(), asked.environment.clone());
    for action in [Action::Records, Action::Read, Action::Predict] {
        api.control.permit(caller, action, &object)?;
    }
    Ok(())
}

async fn replay(api: &Api, asked: Asked) -> Result<ReplayReport, ApiError> {
    let began_at = Instant::now();
    let state = api.control.state();
    let model = state.model(&asked.key)?;
    if let Some(on) = asked.on.filter(|on| !model.versions.contains_key(on)) {
        let text = format!("`{}` has no version {on}", asked.key.model);
        return Err(Problem::new(Code::NoSuchVersion, text).into());
    }
    let turn = api.control.replay_turn(&asked.key)?;
    let (found, asked) = find(keeper_of(api)?, asked).await?;
    let limit = Duration::from_millis(REPLAY_MS_MAX);
    let results = run::all(&api.control, &turn, &asked, found, limit).await;
    Ok(ReplayReport::of(asked.key, asked.environment, results, began_at.elapsed()))
}

fn keeper_of(api: &Api) -> Result<Arc<Keeper>, Problem> {
    api.records.clone().ok_or_else(|| {
        Problem::new(Code::NoRecords, "this server keeps no records of requests").help(
            "start it with `decalog up --records-per-s 1000`; docs/records.md says what is kept",
        )
    })
}

async fn find(keeper: Arc<Keeper>, asked: Asked) -> Result<(Vec<PastRequest>, Asked), ApiError> {
    let runtime = Handle::current();
    let found = aside(move || {
        keeper.flush();
        let is_asked = |environment: &EnvironmentName, version: VersionNumber| {
            *environment == asked.environment && asked.version.is_none_or(|of| of == version)
        };
        let finding =
            Finding { keeper: &keeper, model: &asked.key, runtime: &runtime, is_asked: &is_asked };
        finding.find(&asked.sought).map(|found| (found, asked))
    });
    found.await?.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => bad_request(format!("{error}: ask for fewer")),
        _ => failed(error),
    })
}

/// Ids of which there is no record.
fn missing(sought: &Sought, found: &[PastRequest]) -> Vec<String> {
    let Sought::Ids(ids) = sought else { return vec![] };
    let found: HashSet<&str> = found.iter().map(|request| request.id.as_str()).collect();
    let mut missing: Vec<String> =
        ids.iter().filter(|id| !found.contains(id.as_str())).cloned().collect();
    missing.sort();
    missing
}
