//! Copies of live requests to a version that does not answer yet: its answers are compared with the
//! live ones and dropped. Live requests never wait for a copy, and under load copies are what is
//! shed first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::record::Record;
use domain::{Code, Problem};
use protocol::Payload;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::Shared;
use crate::ask::{Ask, Reply, Rows};
use crate::heavy::{Cost, Heavy};
use crate::lane::Lane;
use crate::reply::RequestOutcome;
use crate::split::{Split, Target};
use crate::waiting::Waiting;

/// Copies that wait or run at the same time, of one placement.
const COPIES_MAX: usize = 64;

/// What of a request is kept for its copy.
pub struct ShadowCopy {
    lane: Arc<Lane>,
    tolerance: f64,
    payload: Payload,
    parameters: Map<String, Value>,
    outputs: Vec<String>,
}

impl ShadowCopy {
    /// A copy of a request, unless the model has enough to do.
    pub fn of(ask: &Ask, split: &Split, target: &Target) -> Option<ShadowCopy> {
        let is_free = split.lane.copies.load(Ordering::Relaxed) < COPIES_MAX
            && split.lane.is_ready()
            && target.lane.queue.queued_rows() <= target.lane.rows_max;
        // Streams are not compared, and what does not fit the candidate's schema was named when it
        // was released.
        let fits = is_free
            && !split.lane.schema.streams
            && split.lane.schema.inputs == target.lane.schema.inputs;
        fits.then(|| ShadowCopy {
            lane: split.lane.clone(),
            tolerance: split.tolerance,
            payload: ask.payload.clone(),
            parameters: ask.parameters.clone(),
            outputs: ask.outputs.clone(),
        })
    }

    /// Asks the candidate, now that the live answer is there, and compares the two.
    pub fn send(self, live: &Reply, shared: &Arc<Shared>, heavy: &Heavy) {
        let Reply::Rows(rows) = live else { return };
        let (rows, shared, heavy) = (rows.clone(), shared.clone(), heavy.clone());
        let runtime = heavy.runtime().clone();
        runtime.spawn(async move {
            let lane = self.lane.clone();
            lane.copies.fetch_add(1, Ordering::Relaxed);
            let record = self.compare(rows, &heavy).await;
            lane.copies.fetch_sub(1, Ordering::Relaxed);
            if let Some(record) = record {
                shared.record(record);
            }
        });
    }

    async fn compare(self, live: Rows, heavy: &Heavy) -> Option<Record> {
        let (lane, rows) = (self.lane, self.payload.rows);
        let sent_at = Instant::now();
        let deadline = sent_at + Duration::from_millis(lane.deadline_ms());
        let (sender, receiver) = oneshot::channel();
        let mut waiting = Waiting::new(self.payload, deadline, sender);
        waiting.present = Some(lane.load.enter(sent_at, rows));
        (waiting.parameters, waiting.outputs) = (self.parameters, self.outputs);
        let place = lane.queue.submit(waiting).ok()?;
        let outcome = tokio::time::timeout_at(deadline.into(), receiver).await;
        drop(place);
        let total_us = u32::try_from(sent_at.elapsed().as_micros()).unwrap_or(u32::MAX);
        let mut record = Record::new(Some(lane.placement.clone()), rows, total_us);
        record.is_copy = true;
        let problem = match outcome {
            Ok(Ok(RequestOutcome::Answer { answer, first_row, bytes, .. })) => {
                let (cost, tolerance) = (Cost::Text(bytes), self.tolerance);
                let compare = move || {
                    answer.agrees(
                        first_row..first_row + rows,
                        &live.answer,
                        live.range(),
                        tolerance,
                    )
                };
                record.agrees = heavy.run(cost, compare).await.ok();
                return record.agrees.is_some().then_some(record);
            }
            Ok(Ok(RequestOutcome::Problem(problem, ..))) => problem,
            // Its placement ended, or it streams: nothing to compare.
            Ok(_) => return None,
            Err(_) => Problem::new(Code::Deadline, "the deadline of a copy passed"),
        };
        record.status = problem.code.http();
        record.code = problem.code.label();
        Some(record)
    }
}
