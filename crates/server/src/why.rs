//! Why a number changed: brings together what records, the ledger and the machine know of a model,
//! and has it explained.

mod events;
mod scale;
mod series;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use control::now_ms;
use domain::alarm::{Alarm, AlarmKind, Target};
use domain::near::no_such_model;
use domain::{Action, Caller, EnvironmentName, Object, Problem};
use policy::why::{
    Column, Metric, NONE, Names, Observed, OpenAlarm, Outcome, Question, WINDOW_BUCKETS, explain,
};
use query::{Cells, CellsAsk, Judge, Seen};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::extract::{By, Name, Path, Query};
use crate::path::ModelPath;
use crate::records::time_ms;
use crate::{Api, ApiError, aside};

use events::Named;
use scale::Scale;
pub use view::{WhyCause, WhyNext, WhyView};

/// How long after a moment that is asked about it is looked, in buckets.
const AFTER_BUCKETS: u64 = 120;

#[derive(Deserialize, JsonSchema)]
pub struct WhyQuery {
    /// Where; `production` if unsaid.
    #[schemars(with = "Option<EnvironmentName>")]
    environment: Option<Name<EnvironmentName>>,
    /// About when it changed: 2026-11-01T14:05:00Z (RFC 3339), a date, or so long ago: 10m, 3h. If
    /// unsaid: when an open alarm says, else lately.
    at: Option<String>,
    /// Which number; if unsaid: that of an open alarm, else whichever changed.
    metric: Option<Metric>,
}

pub async fn explained(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<WhyQuery>,
    By(caller): By,
) -> Result<Json<WhyView>, ApiError> {
    let model = path.key();
    let environment = query.environment.map(Name::get).transpose()?.unwrap_or_default();
    if !api.control.state().models.contains_key(&model) {
        return Err(no_such_model(&model, None).into());
    }
    let object = Object::ModelIn(model.clone(), environment.clone());
    api.control.permit(&caller, Action::Records, &object)?;
    let at_ms = query.at.as_deref().map(|at| time_ms("at", at, now_ms())).transpose()?;
    let target = Target { model, environment };
    let asking = Asking { api: &api, caller: &caller, target: &target, at_ms };
    Ok(Json(asking.answer(query.metric).await?))
}

/// Who asks about what.
struct Asking<'a> {
    api: &'a Api,
    caller: &'a Caller,
    target: &'a Target,
    at_ms: Option<u64>,
}

impl Asking<'_> {
    async fn answer(&self, metric: Option<Metric>) -> Result<WhyView, Problem> {
        let alarms = self.alarms();
        let alarmed = alarms.iter().filter_map(|alarm| {
            Metric::of_alarm(alarm.key.kind).map(|metric| (since_ms(alarm), metric))
        });
        // At a moment that somebody names, alarms of now are no proof.
        let alarmed =
            alarmed.max_by_key(|(since_ms, _)| *since_ms).filter(|_| self.at_ms.is_none());
        let asked = metric.or(alarmed.map(|(_, metric)| metric));
        let alarms = if self.at_ms.is_none() { alarms } else { vec![] };
        let is_slow = matches!(asked, Some(Metric::Accuracy | Metric::Drift));
        let first = if is_slow { self.coarse().await? } else { Scale::FINE };
        let view = self.at_scale(asked, &alarms, first).await?;
        if asked.is_some() || view.answer.outcome == Outcome::Explained {
            return Ok(view);
        }
        // What comes slowly is not seen in two hours.
        let coarse = self.coarse().await?;
        for metric in [Metric::Accuracy, Metric::Drift] {
            if coarse != Scale::FINE {
                let slow = self.at_scale(Some(metric), &[], coarse).await?;
                if slow.answer.outcome == Outcome::Explained {
                    return Ok(slow);
                }
            }
        }
        Ok(view)
    }

    /// Alarms of the model that are open.
    fn alarms(&self) -> Vec<Alarm> {
        let mut open = self.api.alarms.open_alarms();
        open.retain(|alarm| alarm.key.target.as_ref() == Some(self.target));
        open
    }

    /// By which all records that there are can be looked at.
    async fn coarse(&self) -> Result<Scale, Problem> {
        let Some(keeper) = self.api.records.clone() else { return Ok(Scale::FINE) };
        let model = self.target.model.clone();
        let hours = aside(move || keeper.catalogue().hours_of(&model)).await;
        let hours = hours.map_err(|error| error.0)?.unwrap_or_default();
        let end_ms = self.at_ms.unwrap_or_else(now_ms);
        let first_ms = hours.first().map_or(end_ms, |hour| hour.hour_ms);
        Ok(Scale::of(end_ms.saturating_sub(first_ms)))
    }

    async fn at_scale(
        &self,
        metric: Option<Metric>,
        alarms: &[Alarm],
        scale: Scale,
    ) -> Result<WhyView, Problem> {
        let bucket_ms = scale.bucket_ms();
        let now_ms = now_ms();
        let end_ms = self
            .at_ms
            .map_or(now_ms, |at_ms| now_ms.min(at_ms.saturating_add(AFTER_BUCKETS * bucket_ms)));
        let length_ms = WINDOW_BUCKETS as u64 * bucket_ms;
        let start_ms = end_ms.saturating_sub(length_ms) / bucket_ms * bucket_ms;
        let ask = CellsAsk {
            model: self.target.model.clone(),
            environment: self.target.environment.clone(),
            start_ms,
            bucket_ms,
            buckets: WINDOW_BUCKETS,
            truth: self.judge().await?,
        };
        let cells = self.api.queries.cells(ask, self.seen()).await?;
        let (records, sampled) = (cells.records, cells.sampled);
        let named = Named::new(&cells, start_ms, bucket_ms, &self.api.control);
        let happened = self.happened(start_ms, end_ms).await?;
        let events = named.events(self.target, &happened);
        let mut series = series::of_events(self.target, &happened, start_ms, bucket_ms);
        series.extend(series::of_waiting(&cells));
        if scale == Scale::FINE {
            let path = self.api.data.pressure();
            let read = aside(move || monitor::pressure::read(&path, start_ms, WINDOW_BUCKETS));
            series.extend(series::of_pressure(&read.await.map_err(|error| error.0)?));
        }
        let known =
            view::Known { principals: named.principals.clone(), versions: named.last_versions() };
        let question = Question {
            metric,
            at_ms: self.at_ms.map(|at_ms| scale.within(start_ms, at_ms)),
            alarms: alarms
                .iter()
                .map(|alarm| OpenAlarm {
                    kind: alarm.key.kind,
                    since_ms: scale.within(start_ms, since_ms(alarm)),
                })
                .collect(),
            seed: 0,
        };
        let names = named.names;
        let explained = aside(move || {
            let events = events.into_iter().map(|mut event| {
                event.at_ms = scale.within(start_ms, event.at_ms);
                event
            });
            let mut observed = observed(cells, names, start_ms);
            (observed.series, observed.events) = (series, events.collect());
            let mut answer = explain(&question, &observed);
            scale.back(start_ms, &mut answer);
            answer
        });
        let answer = explained.await.map_err(|error| error.0)?;
        let rollback_to = self.rollback_to();
        let looked = view::Looked { from_ms: start_ms, to_ms: end_ms, records, sampled };
        Ok(WhyView::new(self.target, answer, looked, rollback_to, &known))
    }

    fn seen(&self) -> Seen {
        let (control, caller) = (self.api.control.clone(), self.caller.clone());
        Arc::new(move |model, environment| {
            let object = Object::ModelIn(model.clone(), environment.clone());
            control.permit(&caller, Action::Records, &object).is_ok()
        })
    }

    /// How predictions are judged, if that is known.
    async fn judge(&self) -> Result<Option<Judge>, Problem> {
        let Some(truth) = self.api.truth.clone() else { return Ok(None) };
        let Target { model, environment } = self.target.clone();
        let read = aside(move || {
            let learnt = truth.quality.learnt(&model).ok()?;
            let comparison = learnt.get(&environment)?.comparison.clone()?;
            Some(Judge { truths: truth.truths.clone(), comparison })
        });
        read.await.map_err(|error| error.0)
    }

    fn rollback_to(&self) -> Option<String> {
        let state = self.api.control.state();
        let live = state.models.get(&self.target.model)?.live.get(&self.target.environment)?;
        live.before.last().map(|version| version.to_string())
    }
}

/// When what an alarm tells of began. An objective's is told of a long time together, of which the
/// end is bad.
fn since_ms(alarm: &Alarm) -> u64 {
    match alarm.key.kind {
        AlarmKind::SloAvailability | AlarmKind::SloLatency => alarm.opened_at_ms,
        _ => alarm.finding.since_ms,
    }
}

fn observed(cells: Cells, names: Names, start_ms: u64) -> Observed {
    Observed {
        start_ms,
        buckets: WINDOW_BUCKETS,
        names,
        cells: cells.cells,
        columns: cells
            .columns
            .into_iter()
            .filter(|column: &Column| column.cells.iter().any(|cell| cell.key.value != NONE))
            .collect(),
        series: vec![],
        events: vec![],
    }
}
