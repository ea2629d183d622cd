//! Forms the next batch out of a queue: the earliest deadline first, then what agrees with it, as
//! many rows as the latency model lets finish in time. What cannot finish in time even alone is
//! shed, and nothing else; and that only while others wait: else a model that was slow once would
//! be thought slow for ever.

use std::time::Instant;

use domain::{Code, Problem};

use crate::backlog::{Backlog, Limits};
use crate::reply::RequestOutcome;
use crate::waiting::Waiting;

/// How many requests of other shapes are passed over in search of ones that agree.
const PASSED_OVER_MAX: usize = 64;

/// Requests that run together.
pub struct Batch {
    /// At least one.
    pub requests: Vec<Waiting>,
    /// Of all of them.
    pub rows: usize,
}

/// Takes the next batch out of the queue, if anything waits.
pub fn form(inner: &mut Backlog, limits: &Limits, now: Instant) -> Option<Batch> {
    loop {
        let head = inner.take_first()?;
        let slack_us = head.deadline.saturating_duration_since(now).as_micros() as f64;
        let wanted = limits.rows_max.min(head.payload.rows + inner.rows).max(1);
        let within = inner.latency.rows_within(wanted, slack_us);
        let try_anyway = (inner.rows == 0 && slack_us > 0.0).then_some(1);
        let Some(within) = within.or(try_anyway) else {
            let problem = shed(&head);
            let _ = head.reply.send(RequestOutcome::Problem(problem, head.payload, None));
            continue;
        };
        let mut batch = Batch { rows: head.payload.rows, requests: vec![head] };
        if limits.mix && !batch.requests[0].alone {
            fill(&mut batch, inner, within.min(inner.latency.rows_worthwhile(wanted)));
        }
        return Some(batch);
    }
}

fn fill(batch: &mut Batch, inner: &mut Backlog, rows_max: usize) {
    let mut passed_over: Vec<Waiting> = vec![];
    while batch.rows < rows_max && passed_over.len() < PASSED_OVER_MAX {
        let Some(next) = inner.heap.pop() else { break };
        if batch.rows + next.payload.rows > rows_max || !batch.requests[0].agrees(&next) {
            passed_over.push(next);
        } else if let Some(next) = inner.take(next) {
            batch.rows += next.payload.rows;
            batch.requests.push(next);
        }
    }
    inner.heap.extend(passed_over);
}

fn shed(waiting: &Waiting) -> Problem {
    let waited_ms = waiting.queued_at.elapsed().as_millis();
    Problem::new(
        Code::NoCapacity,
        format!("the request waited {waited_ms} ms and cannot be answered before its deadline"),
    )
    .help("try again, allow more time with Decalog-Timeout-Ms, or raise [scale] max")
}
