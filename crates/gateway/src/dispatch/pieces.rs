//! Answers that come in pieces.

use std::time::Duration;

use domain::{Code, Problem};
use worker::ConnectionError;

use super::Slot;
use super::failure::{fail, not_understood};
use crate::batch::Batch;
use crate::reply::RequestOutcome;
use crate::stream::{self, PieceSender};

impl Slot {
    /// Runs one request whose answer comes in pieces; a reader that goes away ends it.
    pub(super) async fn stream(&mut self, mut batch: Batch) -> Option<Duration> {
        let waiting = batch.requests.pop()?;
        self.begin(std::slice::from_ref(&waiting));
        let mut request = match self.encode(&[&waiting.payload], &waiting).await {
            Ok(request) => request,
            Err(problem) => {
                fail(waiting, problem, None);
                return None;
            }
        };
        let sent_at = self.sent(&mut request);
        let answer = match self.post(&request).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.failed(Batch { rows: 1, requests: vec![waiting] }, failure).await;
                return None;
            }
        };
        if answer.status != 200 {
            fail(waiting, worker::refusal::problem_of(&answer), self.ran(1));
            return None;
        }
        let (pieces, receiver) = stream::pieces();
        let timing = self.timing(sent_at, 1);
        let _ = waiting.reply.send(RequestOutcome::Stream(receiver, timing, waiting.payload));
        if answer.streams {
            self.pump(&pieces).await;
        } else {
            pieces.send(answer.body).await;
        }
        Some(sent_at.elapsed())
    }

    async fn pump(&mut self, pieces: &PieceSender) {
        let Some(mut connection) = self.connection.take() else { return };
        let limit = Duration::from_millis(self.lane.predict_ms_max);
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(limit, connection.next_piece()) => next,
                // Closing the connection is what stops the model.
                () = pieces.closed() => return,
            };
            let problem = match next {
                Ok(Ok(Some(piece))) => {
                    if !pieces.send(piece).await {
                        return;
                    }
                    continue;
                }
                Ok(Ok(None)) => {
                    self.connection = Some(connection);
                    return;
                }
                Ok(Err(ConnectionError::Protocol(text))) => not_understood(&text),
                Ok(Err(error)) => Problem::new(
                    Code::WorkerDied,
                    format!("the worker ended in the middle of its answer: {error}"),
                ),
                Err(_) => {
                    self.broken(format!("nothing came for {} ms", limit.as_millis())).await;
                    Problem::new(
                        Code::PredictTimeout,
                        format!("nothing came for {} ms", limit.as_millis()),
                    )
                }
            };
            pieces.fail(&problem).await;
            return;
        }
    }
}
