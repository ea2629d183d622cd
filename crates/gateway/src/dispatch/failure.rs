//! Why a batch has no answer, and what becomes of its requests then.

use domain::route::Observation;
use domain::{Code, Problem};
use protocol::WorkerFault;
use worker::ConnectionError;

use super::Slot;
use crate::batch::Batch;
use crate::reply::{RequestOutcome, Timing};
use crate::waiting::Waiting;

/// Why there is no answer.
pub(super) enum BatchFailure {
    Connection(ConnectionError),
    Timeout,
    /// The request cannot be sent, or what came back is no answer.
    Answer(Problem),
    /// Nobody waits for it any more.
    Left,
}

impl BatchFailure {
    /// Says which row of a request it was.
    pub(super) fn of_row(mut self, row: usize, rows: usize) -> BatchFailure {
        if let BatchFailure::Answer(problem) = &mut self {
            problem.details.insert(0, format!("row {row} of {rows}"));
        }
        self
    }
}

pub(super) fn not_understood(text: &str) -> Problem {
    WorkerFault::malformed(format!("the worker's answer is not understood: {text}")).into()
}

pub(super) fn fail(waiting: Waiting, problem: Problem, ran: Option<Timing>) {
    let _ = waiting.reply.send(RequestOutcome::Problem(problem, waiting.payload, ran));
}

impl Slot {
    /// One request that was in a batch with others runs again by itself; one that was by itself has
    /// failed.
    fn rerun_or(&self, batch: Batch, problem: Problem) {
        let by_itself = batch.requests.len() == 1;
        for waiting in batch.requests {
            if by_itself {
                fail(waiting, problem.clone(), self.ran(batch.rows));
            } else if !waiting.reply.is_closed() {
                self.lane.queue.requeue(waiting);
            }
        }
    }

    pub(super) async fn failed(&mut self, batch: Batch, failure: BatchFailure) {
        match failure {
            BatchFailure::Left => {}
            BatchFailure::Answer(problem) => self.rerun_or(batch, problem),
            BatchFailure::Timeout => {
                let limit_ms = self.lane.predict_ms_max;
                let problem = Problem::new(
                    Code::PredictTimeout,
                    format!("the prediction took longer than {limit_ms} ms and was ended"),
                )
                .help("raise [model] predict_ms_max in decalog.toml, or make the model faster");
                let ran = self.ran(batch.rows);
                for waiting in batch.requests {
                    fail(waiting, problem.clone(), ran.clone());
                }
                self.broken(format!("a prediction took longer than {limit_ms} ms")).await;
            }
            BatchFailure::Connection(ConnectionError::Local(error)) => {
                let text = format!("the server has no connection to the worker left: {error}");
                let problem = Problem::new(Code::ServerBusy, text)
                    .help("try again; raise the limit of open files (ulimit -n) if it lasts");
                for waiting in batch.requests {
                    fail(waiting, problem.clone(), None);
                }
            }
            BatchFailure::Connection(ConnectionError::Protocol(text)) => {
                self.rerun_or(batch, not_understood(&text));
            }
            BatchFailure::Connection(ConnectionError::Closed(error)) => {
                // A server may close a connection and live.
                if !self.replica.is_alive().await {
                    self.broken(format!("the worker ended: {error}")).await;
                }
                for waiting in batch.requests {
                    if waiting.alone {
                        let problem = Problem::new(
                            Code::WorkerDied,
                            "the worker ended while it ran this request, twice",
                        )
                        .help(format!(
                            "its last words: decalog logs {}",
                            self.lane.placement.model.model
                        ));
                        fail(waiting, problem, self.ran(batch.rows));
                    } else if !waiting.reply.is_closed() {
                        self.lane.queue.requeue(waiting);
                    }
                }
            }
        }
    }

    pub(super) async fn broken(&self, reason: String) {
        if self.replica.set_broken() {
            self.lane.queue.wake_all();
            self.shared
                .observe(Observation::Broken { replica: self.replica.id.clone(), reason })
                .await;
        }
    }
}
