//! Alarms, silences and objectives, as far as the caller may see the models that they are of.

use std::time::Duration;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::alarm::{Alarm, AlarmKind, Silence, Target};
use domain::{Action, Caller, Code, EnvironmentName, ModelKey, Object, Problem};
use monitor::alarms::Change;
use monitor::slo::SloView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::describe::{Operation, Output};
use crate::extract::{Body, By, Name, Path, Query};
use crate::path::ModelPath;
use crate::{Api, ApiError, aside};

/// Of lines of JSON.
const LINES_TYPE: &str = "application/x-ndjson";
/// Changes of one page.
const LIMIT_MAX: usize = 1_000;
/// Alarms that are over, of one answer.
const RESOLVED_MAX: usize = 100;
/// Ends of alarms that are looked at for them.
const LOOKED_MAX: usize = 10_000;
/// How often it is looked whether there is something new, in milliseconds.
const FOLLOW_MS: u64 = 250;
/// The longest silence, in milliseconds.
const SILENCE_MS_MAX: u64 = 30 * 86_400_000;
/// The longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

#[derive(Deserialize, JsonSchema)]
pub struct AlarmsQuery {
    /// Only of this model.
    #[schemars(with = "Option<ModelKey>")]
    model: Option<Name<ModelKey>>,
    /// Whether to list those, too, that are over: the last 100.
    #[serde(default)]
    all: bool,
}

/// An alarm in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlarmListed {
    /// The alarm.
    #[serde(flatten)]
    pub alarm: Alarm,
    /// The silence that covers it for the longest time, if nobody is told of it.
    pub silence: Option<Silence>,
}

/// Alarms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlarmsListed {
    /// Those that are open, by model, the most severe and oldest first.
    pub open: Vec<AlarmListed>,
    /// With `all=true`: those that are over, the last first.
    pub resolved: Vec<Alarm>,
    /// The number of the last change: what comes next comes after it.
    pub next: u64,
    /// Receivers that were not told what they should be; only for who looks after the platform.
    pub undelivered: Vec<String>,
    /// What is wrong with how alarms are kept, if something is.
    pub trouble: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct ChangesQuery {
    /// Only of this model.
    #[schemars(with = "Option<ModelKey>")]
    model: Option<Name<ModelKey>>,
    /// Only what came after this number; with `follow` and without it, only what is to come.
    after: Option<u64>,
    /// The most changes of a page; 1,000 if unsaid, which is also the most.
    limit: Option<usize>,
    /// Whether to answer with a line of JSON for each change as it comes, without end.
    #[serde(default)]
    follow: bool,
}

/// A part of what changed.
#[derive(Serialize, JsonSchema)]
pub struct ChangesPage {
    /// In order.
    changes: Vec<Change>,
    /// How far it was looked: the next page comes after it.
    next: u64,
    /// Whether there may be more behind that.
    more: bool,
}

/// Changes as a page, or as lines without end.
pub enum Changes {
    Page(ChangesPage),
    Lines(HttpBody),
}

impl IntoResponse for Changes {
    fn into_response(self) -> Response {
        match self {
            Changes::Page(page) => Json(page).into_response(),
            Changes::Lines(lines) => {
                ([(http::header::CONTENT_TYPE, LINES_TYPE)], lines).into_response()
            }
        }
    }
}

impl Output for Changes {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<ChangesPage>();
        operation.answers(LINES_TYPE, "With follow=true: a line of JSON for each change (Change)");
    }
}

/// What nobody is to be told of: one alarm, or all of a model.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// The id of an alarm that is open, or how it begins.
    #[serde(default)]
    alarm: Option<String>,
    /// A model.
    #[serde(default)]
    model: Option<ModelKey>,
    /// Only in this environment.
    #[serde(default)]
    environment: Option<EnvironmentName>,
    /// Only of this kind.
    #[serde(default)]
    kind: Option<AlarmKind>,
    /// For how long, in milliseconds: from a minute to 30 days.
    for_ms: u64,
    /// Why; at most 500 characters.
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
pub struct SilenceQuery {
    /// The alarm that was silenced by its id.
    alarm: Option<String>,
    /// The model that was silenced as a whole.
    #[schemars(with = "Option<ModelKey>")]
    model: Option<Name<ModelKey>>,
}

/// Silences.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Silences {
    /// Those that are in force.
    pub silences: Vec<Silence>,
}

/// Silences that were ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SilencesEnded {
    /// How many.
    pub ended: usize,
}

/// The objectives of a model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Slos {
    /// By environment; those that have had events.
    pub objectives: Vec<SloView>,
}

fn is_seen(api: &Api, caller: &Caller, alarm: &Alarm) -> bool {
    let object = match alarm.key.target.clone() {
        Some(Target { model, environment }) => Object::ModelIn(model, environment),
        None => Object::Platform,
    };
    api.control.permit(caller, Action::Read, &object).is_ok()
}

fn is_of(model: &Option<ModelKey>, alarm: &Alarm) -> bool {
    model.as_ref().is_none_or(|model| Some(model) == alarm.key.model())
}

/// With a name where there was a principal.
fn named(api: &Api, silence: Silence) -> Silence {
    Silence { by: api.control.display_name(&silence.by), ..silence }
}

pub async fn list(
    State(api): State<Api>,
    Query(query): Query<AlarmsQuery>,
    By(caller): By,
) -> Result<Json<AlarmsListed>, ApiError> {
    let model = query.model.map(Name::get).transpose()?;
    let listed = aside(move || {
        let now_ms = control::now_ms();
        let next = api.alarms.last();
        let mut open = api.alarms.open_alarms();
        open.retain(|alarm| is_of(&model, alarm) && is_seen(&api, &caller, alarm));
        open.sort_by(|a, b| {
            let rank =
                |alarm: &Alarm| (std::cmp::Reverse(alarm.finding.severity), alarm.opened_at_ms);
            (a.key.model(), rank(a)).cmp(&(b.key.model(), rank(b)))
        });
        let open = open.into_iter().map(|alarm| {
            let silence = api.alarms.silence_of(&alarm, now_ms);
            AlarmListed { alarm, silence: silence.map(|silence| named(&api, silence)) }
        });
        let open = open.collect();
        let mut resolved = vec![];
        if query.all {
            let over = api.alarms.resolved(u64::MAX, LOOKED_MAX).into_iter();
            let over = over.map(|change| change.change.alarm);
            let over = over.filter(|alarm| is_of(&model, alarm) && is_seen(&api, &caller, alarm));
            resolved.extend(over.take(RESOLVED_MAX));
        }
        let administers =
            api.control.permit(&caller, Action::Administer, &Object::Platform).is_ok();
        let undelivered = if administers { undelivered(&api) } else { vec![] };
        let trouble = api.alarms.trouble().filter(|_| administers);
        AlarmsListed { open, resolved, next, undelivered, trouble }
    });
    Ok(Json(listed.await?))
}

/// A sentence for each receiver that does not get what it should.
fn undelivered(api: &Api) -> Vec<String> {
    let sentence = |receiver: domain::AlertReceiver| {
        let status = api.alarms.receiver(&receiver);
        let name = &receiver.name;
        match (&status.error, status.waiting, status.lost) {
            (Some(error), waiting, _) => {
                Some(format!("receiver {name} is not told of {waiting} changes: {error}"))
            }
            (None, _, lost) if lost > 0 => {
                Some(format!("receiver {name} was never told of {lost} changes"))
            }
            _ => None,
        }
    };
    api.control.receivers().into_iter().filter_map(sentence).collect()
}

pub async fn changes(
    State(api): State<Api>,
    Query(query): Query<ChangesQuery>,
    By(caller): By,
) -> Result<Changes, ApiError> {
    let model = query.model.map(Name::get).transpose()?;
    let limit = query.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let begin = if query.follow { api.alarms.last() } else { 0 };
    let following = Following { after: query.after.unwrap_or(begin), api, caller, model, limit };
    if query.follow {
        return Ok(Changes::Lines(following.lines()));
    }
    let (changes, next, more) = following.page().await?;
    Ok(Changes::Page(ChangesPage { changes, next, more }))
}

#[derive(Clone)]
struct Following {
    api: Api,
    caller: Caller,
    model: Option<ModelKey>,
    after: u64,
    limit: usize,
}

impl Following {
    async fn page(&self) -> Result<(Vec<Change>, u64, bool), ApiError> {
        let Following { api, caller, model, after, limit } = self.clone();
        aside(move || {
            let looked = api.alarms.changes(after, limit);
            let next = looked.last().map_or(after, |change| change.seq);
            let more = looked.len() == limit;
            let is_told = |change: &Change| {
                is_of(&model, &change.change.alarm) && is_seen(&api, &caller, &change.change.alarm)
            };
            (looked.into_iter().filter(is_told).collect(), next, more)
        })
        .await
    }

    /// What comes next, each in a line.
    async fn next(&mut self) -> Result<Bytes, Problem> {
        loop {
            if self.api.alarms.last() > self.after {
                let (changes, next, _) = self.page().await.map_err(|error| error.0)?;
                self.after = next;
                let mut lines = vec![];
                for change in &changes {
                    lines.extend(serde_json::to_vec(change).unwrap_or_default());
                    lines.push(b'\n');
                }
                if !lines.is_empty() {
                    return Ok(Bytes::from(lines));
                }
            }
            tokio::time::sleep(Duration::from_millis(FOLLOW_MS)).await;
        }
    }

    fn lines(self) -> HttpBody {
        let lines = futures_util::stream::unfold(self, |mut following| async move {
            let next = following.next().await;
            Some((next, following))
        });
        HttpBody::from_stream(lines)
    }
}

/// The alarm that an id means, if the caller may see it.
fn find(api: &Api, caller: &Caller, id: &str) -> Result<Alarm, Problem> {
    let none = || {
        let id = domain::problem::excerpt(id);
        Problem::new(Code::NoSuchAlarm, format!("there is no open alarm `{id}`"))
            .help("decalog alarms lists those that are open")
    };
    if id.is_empty() {
        return Err(none());
    }
    let open = api.alarms.open_alarms().into_iter();
    let mut found = open.filter(|alarm| alarm.id.starts_with(id) && is_seen(api, caller, alarm));
    match (found.next(), found.next()) {
        (Some(alarm), None) => Ok(alarm),
        (Some(_), Some(_)) => {
            let id = domain::problem::excerpt(id);
            Err(Problem::new(Code::NoSuchAlarm, format!("several alarms begin with `{id}`"))
                .help("give more of the id"))
        }
        (None, _) => Err(none()),
    }
}

pub async fn silences(State(api): State<Api>, By(caller): By) -> Json<Silences> {
    let is_seen = |silence: &Silence| match &silence.model {
        Some(model) => {
            let object = Object::Model(model.clone());
            api.control.permit_somewhere(&caller, Action::Read, &object).is_ok()
        }
        None => api.control.permit(&caller, Action::Read, &Object::Platform).is_ok(),
    };
    let silences = api.alarms.silences(control::now_ms());
    let silences = silences.into_iter().filter(is_seen).map(|silence| named(&api, silence));
    Json(Silences { silences: silences.collect() })
}

pub async fn silence(
    State(api): State<Api>,
    By(caller): By,
    Body(request): Body<SilenceRequest>,
) -> Result<Json<Silence>, ApiError> {
    let SilenceRequest { alarm, model, environment, kind, for_ms, reason } = request;
    let bad =
        |text: &str| Problem::new(Code::BadSilence, text).help("decalog silence ID|MODEL --for 2h");
    if !(60_000..=SILENCE_MS_MAX).contains(&for_ms) {
        return Err(bad("a silence lasts from a minute to 30 days").into());
    }
    if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        return Err(bad("a reason is one line of at most 500 characters").into());
    }
    let (alarm, model, environment) = match (alarm, model) {
        (Some(id), None) => {
            let alarm = find(&api, &caller, &id)?;
            let target = alarm.key.target.map(|it| (it.model, it.environment));
            let (model, environment) = target.unzip();
            (Some(alarm.id), model, environment)
        }
        (None, Some(model)) => (None, Some(model), environment),
        _ => return Err(bad("name either an alarm or a model").into()),
    };
    steers(&api, &caller, model.as_ref(), environment.as_ref())?;
    let now_ms = control::now_ms();
    let silence = Silence {
        alarm,
        model,
        environment,
        kind,
        subject: None,
        until_ms: now_ms.saturating_add(for_ms),
        reason,
        by: caller.principal.to_string(),
    };
    let (keeping, kept) = (api.clone(), silence.clone());
    let silenced = aside(move || keeping.alarms.silence(kept, now_ms)).await?;
    silenced.map_err(|error| Problem::new(Code::BadSilence, error.to_string()))?;
    Ok(Json(named(&api, silence)))
}

/// Whoever steers a model decides who is woken by it, and whoever administers the platform, by that.
fn steers(
    api: &Api,
    caller: &Caller,
    model: Option<&ModelKey>,
    environment: Option<&EnvironmentName>,
) -> Result<(), Problem> {
    let object = match (model.cloned(), environment) {
        (Some(model), Some(environment)) => Object::ModelIn(model, environment.clone()),
        (Some(model), None) => Object::Model(model),
        (None, _) => return api.control.permit(caller, Action::Administer, &Object::Platform),
    };
    api.control.permit(caller, Action::Steer, &object)
}

pub async fn unsilence(
    State(api): State<Api>,
    Query(query): Query<SilenceQuery>,
    By(caller): By,
) -> Result<Json<SilencesEnded>, ApiError> {
    let model = query.model.map(Name::get).transpose()?;
    let is_meant = |silence: &Silence| match (&query.alarm, &model) {
        (Some(id), None) => {
            !id.is_empty() && silence.alarm.as_ref().is_some_and(|of| of.starts_with(id.as_str()))
        }
        (None, Some(model)) => silence.alarm.is_none() && silence.model.as_ref() == Some(model),
        _ => false,
    };
    let may = |silence: &Silence| {
        let (model, environment) = (silence.model.as_ref(), silence.environment.as_ref());
        steers(&api, &caller, model, environment).is_ok()
    };
    let silences = api.alarms.silences(control::now_ms());
    let meant: Vec<Silence> = silences.into_iter().filter(|it| is_meant(it) && may(it)).collect();
    if meant.is_empty() {
        return Err(Problem::new(Code::NoSuchAlarm, "there is no such silence")
            .help("decalog alarms shows what is silenced")
            .into());
    }
    let ending = api.clone();
    let ended = aside(move || {
        ending.alarms.unsilence(|silence| meant.contains(silence), control::now_ms())
    });
    Ok(Json(SilencesEnded { ended: ended.await? }))
}

pub async fn slo(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    By(caller): By,
) -> Result<Json<Slos>, ApiError> {
    let key = path.key();
    api.control.state().model(&key)?;
    let mut objectives = api.objectives.of(&key, control::now_ms());
    objectives.retain(|view| {
        let object = Object::ModelIn(key.clone(), view.environment.clone());
        api.control.permit(&caller, Action::Read, &object).is_ok()
    });
    Ok(Json(Slos { objectives }))
}
