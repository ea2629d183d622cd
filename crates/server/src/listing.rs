//! Models in a list: what is live, how its last minute was, and what is said of it.

use std::cmp::Reverse;
use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use control::view::ModelRow;
use domain::alarm::Target;
use domain::{
    Action, Alarm, Caller, ModelKey, Object, Placement, ProjectName, Severity, VersionNumber,
};
use monitor::Summary;
use monitor::drift::DriftGlance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{By, Name, Query};
use crate::{Api, ApiError, aside};

/// The most models of a page.
const LIMIT_MAX: usize = 1_000;

/// A model in a list, with its last minute.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ModelListed {
    /// What the control plane knows.
    #[serde(flatten)]
    pub row: ModelRow,
    /// What the data plane measured; absent if there was no request since the start.
    pub last_minute: Option<Summary>,
    /// Its alarms that are open in that environment.
    #[serde(default)]
    pub alarms: u64,
    /// What the most severe and oldest of them says.
    #[serde(default)]
    pub alarm: Option<AlarmShort>,
    /// How its values compare with what is usual; absent until it had requests.
    #[serde(default)]
    pub drift: Option<DriftGlance>,
    /// In a page, its requests in each of the last 60 minutes, the oldest first; `null` for those of
    /// before this server ran.
    #[serde(default)]
    pub requests: Vec<Option<u64>>,
}

/// The most of an alarm that a list of models has room for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlarmShort {
    /// How soon somebody should look.
    pub severity: Severity,
    /// One sentence, with numbers.
    pub what: String,
}

/// A list of models.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Models {
    /// In the order that was asked for.
    pub models: Vec<ModelListed>,
    /// How many there are of those that were asked for, on all pages.
    #[serde(default)]
    pub total: usize,
    /// How many the next page leaves out; absent if this is the last.
    #[serde(default)]
    pub next: Option<usize>,
}

/// What models are listed by. What is most comes first, but for names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Project and name.
    #[default]
    Name,
    /// Requests a second.
    Requests,
    /// The 99th percentile of latency.
    P99,
    /// The share of requests that failed.
    Errors,
    /// Open alarms, the most severe first.
    Alarms,
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// Only models of this project.
    #[schemars(with = "Option<ProjectName>")]
    project: Option<Name<ProjectName>>,
    /// Only models whose project, name, environment or live version has this text.
    search: Option<String>,
    /// By what.
    #[serde(default)]
    sort: Order,
    /// How many to leave out: what `next` of the page before says.
    #[serde(default)]
    after: usize,
    /// The most models of a page; all if unsaid, and at most 1,000.
    limit: Option<usize>,
}

pub async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
    By(caller): By,
) -> Result<Json<Models>, ApiError> {
    let project = query.project.clone().map(Name::get).transpose()?;
    Ok(Json(aside(move || page(&api, &caller, project, &query)).await?))
}

fn page(api: &Api, caller: &Caller, project: Option<ProjectName>, query: &ListQuery) -> Models {
    let is_seen =
        |of: &ProjectName| project.as_ref().is_none_or(|only| only == of) && sees(api, caller, of);
    let mut models = listed(api, is_seen);
    if let Some(text) = query.search.as_deref().map(str::to_lowercase) {
        models.retain(|model| words_of(&model.row).any(|word| word.to_lowercase().contains(&text)));
    }
    sort(&mut models, query.sort);
    let total = models.len();
    let Some(limit) = query.limit else { return Models { models, total, next: None } };
    let end = query.after.saturating_add(limit.clamp(1, LIMIT_MAX)).min(total);
    let mut models: Vec<ModelListed> = models.drain(query.after.min(end)..end).collect();
    let now_ms = control::now_ms();
    for model in &mut models {
        if let Some(target) = target_of(&model.row) {
            model.requests = api.monitor.recent(&target, now_ms);
        }
    }
    Models { models, total, next: (end < total).then_some(end) }
}

/// Whether a caller may see the models of a project.
pub fn sees(api: &Api, caller: &Caller, project: &ProjectName) -> bool {
    api.control.permit(caller, Action::Read, &Object::Project(project.clone())).is_ok()
}

/// What of a row is searched.
fn words_of(row: &ModelRow) -> impl Iterator<Item = &str> {
    let always = [row.project.as_str(), row.name.as_str()];
    let environment = row.environment.as_ref().map(|environment| environment.as_str());
    always.into_iter().chain(environment).chain(row.live.as_deref())
}

fn sort(models: &mut [ModelListed], by: Order) {
    let of_minute =
        |model: &ModelListed, of: fn(&Summary) -> f64| model.last_minute.as_ref().map_or(-1.0, of);
    let most_first = |models: &mut [ModelListed], of: fn(&Summary) -> f64| {
        models.sort_by(|a, b| of_minute(b, of).total_cmp(&of_minute(a, of)));
    };
    match by {
        Order::Name => {}
        Order::Requests => most_first(models, |minute| minute.requests_per_s),
        Order::P99 => most_first(models, |minute| minute.p99_ms),
        Order::Errors => most_first(models, |minute| minute.errors_share),
        Order::Alarms => models.sort_by_key(|model| {
            Reverse((model.alarm.as_ref().map(|alarm| alarm.severity), model.alarms))
        }),
    }
}

/// What is watched of a row, if something is live.
pub fn target_of(row: &ModelRow) -> Option<Target> {
    let model = ModelKey { project: row.project.clone(), model: row.name.clone() };
    row.environment.clone().map(|environment| Target { model, environment })
}

/// All models of the projects for which this holds, by project and name.
pub fn listed(api: &Api, is_seen: impl FnMut(&ProjectName) -> bool) -> Vec<ModelListed> {
    let mut alarms: HashMap<Target, (u64, Alarm)> = HashMap::new();
    for alarm in api.alarms.open_alarms() {
        let rank = |alarm: &Alarm| (Reverse(alarm.finding.severity), alarm.opened_at_ms);
        let Some(of) = alarm.key.target.clone() else { continue };
        let (count, worst) = alarms.entry(of).or_insert_with(|| (0, alarm.clone()));
        *count += 1;
        if rank(&alarm) < rank(worst) {
            *worst = alarm;
        }
    }
    let (state, now_ms) = (api.control.state(), control::now_ms());
    let placement_of = |row: &ModelRow| -> Option<Placement> {
        let (target, live) = (target_of(row)?, row.live.as_deref()?);
        let live: VersionNumber = live.parse().ok()?;
        Some(state.placement(&target.model, &target.environment, live))
    };
    let with_the_rest = |row: ModelRow| {
        let target = target_of(&row);
        let found = target.as_ref().and_then(|target| alarms.get(target));
        let short = |alarm: &Alarm| AlarmShort {
            severity: alarm.finding.severity,
            what: alarm.finding.what.clone(),
        };
        ModelListed {
            last_minute: placement_of(&row)
                .and_then(|placement| api.monitor.summary(&placement, now_ms)),
            alarms: found.map_or(0, |(count, _)| *count),
            alarm: found.map(|(_, worst)| short(worst)),
            drift: target.and_then(|target| api.drift.glance(&target)),
            requests: vec![],
            row,
        }
    };
    api.control.list(is_seen).into_iter().map(with_the_rest).collect()
}
