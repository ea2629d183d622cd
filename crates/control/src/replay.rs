//! Replicas off the traffic: one is started to ask recorded requests again, answers nobody else, and
//! is ended afterwards. What it answers is no traffic: it has no record and counts in no metric.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{Code, ModelKey, Placement, Problem, ReplicaId, Schema};
use engine::{ReplicaState, ReplicaStatus, Stop};
use parking_lot::Mutex;
use serde_json::Value;
use worker::{Answer, Caller, Payload, Tensor};

use crate::Control;
use crate::deployment::told;
use crate::start::load_failed;

/// What is sent in one call at most, in bytes.
const CALL_BYTES_MAX: usize = 64 << 20;
/// Replays of all models at once.
const REPLAYS_MAX: usize = 4;

/// A replica that was told to end has so long for it, in milliseconds, before it is left to whoever
/// looks after all of them.
const ENDING_MS_MAX: u64 = 20_000;

/// Replays on their way.
#[derive(Default)]
pub(crate) struct Replays {
    models: Mutex<HashSet<ModelKey>>,
    replicas: Mutex<HashMap<ReplicaId, Placement>>,
}

impl Replays {
    /// Whether a replica of a placement is there for a replay.
    pub fn uses(&self, placement: &Placement) -> bool {
        self.replicas.lock().values().any(|of| of == placement)
    }
}

/// The right to ask requests of a model again; one has it at a time.
pub struct Turn {
    control: Arc<Control>,
    key: ModelKey,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.control.replays.models.lock().remove(&self.key);
    }
}

/// A replica that answers replays only. It is ended when this is dropped.
pub struct Replayer {
    replica: Reserved,
    caller: Caller,
    limit: Duration,
}

/// A replica that nobody else gets.
struct Reserved {
    control: Arc<Control>,
    replica: ReplicaId,
}

fn has_ended(status: &ReplicaStatus) -> bool {
    matches!(status.state, ReplicaState::Ended { .. })
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let (control, replica) = (self.control.clone(), self.replica.clone());
        if !*control.active.borrow() {
            // Another process has taken over: it knows of it as of any other, and ends it if it is
            // not wanted.
            return;
        }
        // Without a runtime all ends anyway.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut changed = control.engine.changed();
            if let Err(error) = control.engine.stop(&replica, Stop::AtOnce).await {
                tracing::warn!("{replica} of a replay could not be stopped: {error}");
            }
            let ended = async {
                while control.engine.status(&replica).is_some_and(|it| !has_ended(&it)) {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(ENDING_MS_MAX), ended).await;
            control.engine.forget(&replica).await;
            // Only now others may see it: one that is still there is on its way out.
            if control.engine.status(&replica).is_some() {
                control.replicas.set_leaving(&replica);
            }
            control.replays.replicas.lock().remove(&replica);
            control.work.notify_one();
        });
    }
}

impl Control {
    /// The replicas that are there for traffic, or may be.
    pub(crate) fn replicas(&self) -> Vec<Arc<ReplicaStatus>> {
        let mut statuses = self.engine.replicas();
        let reserved = self.replays.replicas.lock();
        if !reserved.is_empty() {
            statuses.retain(|status| !reserved.contains_key(&status.replica));
        }
        statuses
    }

    /// The turn to replay requests of a model.
    pub fn replay_turn(self: &Arc<Control>, key: &ModelKey) -> Result<Turn, Problem> {
        let mut models = self.replays.models.lock();
        let busy = |text: String| {
            Err(Problem::new(Code::ServerBusy, text).help("try again when it has ended"))
        };
        if models.contains(key) {
            return busy(format!("requests of `{}` are being replayed already", key.model));
        }
        if models.len() >= REPLAYS_MAX {
            return busy(format!("{REPLAYS_MAX} replays are on their way already"));
        }
        models.insert(key.clone());
        Ok(Turn { control: self.clone(), key: key.clone() })
    }

    /// Starts a replica for a replay, and waits until it is ready. A version that was never live is
    /// built first, and its columns are those that it tells; the ledger does not learn them.
    pub async fn replayer(
        self: &Arc<Control>,
        _turn: &Turn,
        placement: &Placement,
    ) -> Result<Replayer, Problem> {
        let version = self.version(&placement.model, placement.version)?;
        let (pushed, manifest) = (&version.pushed, &version.pushed.manifest);
        let built = self.engine.build(pushed.runtime, pushed.lock.as_ref()).await;
        built.map_err(engine::EngineError::problem)?;
        let status = self.start_reserved(placement).await?;
        let ReplicaState::Ready { info, .. } = &status.1.state else {
            return Err(Problem::new(Code::NotReady, "the replica of the replay is gone"));
        };
        let schema = match &version.schema {
            Some(schema) => schema.clone(),
            None => {
                let mut schema = told(&version, info)?;
                let (key, status) = (&placement.model, &status.1);
                schema.alone = self.must_be_alone(key, &version, &schema, status).await;
                schema
            }
        };
        let model = placement.model.model.as_str();
        let (address, protocol) = (status.1.address.clone(), info.protocol.clone());
        Ok(Replayer {
            caller: Caller::new(address, model, protocol, schema),
            limit: Duration::from_millis(manifest.predict_ms_max()),
            replica: status.0,
        })
    }

    async fn start_reserved(
        self: &Arc<Control>,
        placement: &Placement,
    ) -> Result<(Reserved, Arc<ReplicaStatus>), Problem> {
        let replica = self.replicas.next_id();
        // Before it is there: nobody may see it for a moment.
        self.replays.replicas.lock().insert(replica.clone(), placement.clone());
        let reserved = Reserved { control: self.clone(), replica: replica.clone() };
        if self.stopping.load(std::sync::atomic::Ordering::Acquire) {
            return Err(Problem::new(Code::Stopping, "Decalog is stopping"));
        }
        let mut changed = self.engine.changed();
        let spec = self.spec(&self.state(), placement, replica.clone()).await;
        let spec = spec.map_err(|error| error.problem)?;
        self.engine.start(spec).await.map_err(engine::EngineError::problem)?;
        loop {
            let gone = || Problem::new(Code::LoadFailed, "the replica of the replay is gone");
            let status = self.engine.status(&replica).ok_or_else(gone)?;
            match &status.state {
                ReplicaState::Starting => {}
                ReplicaState::Ready { .. } => return Ok((reserved, status)),
                ReplicaState::Ended { reason, details, local } => {
                    let problem = load_failed(placement, reason, details);
                    // The version is not to blame.
                    let code = if *local { Code::NotReady } else { problem.code.clone() };
                    return Err(Problem { code, ..problem });
                }
            }
            changed.changed().await.map_err(|_| gone())?;
        }
    }
}

impl Replayer {
    /// Its id.
    pub fn replica(&self) -> &ReplicaId {
        &self.replica.replica
    }

    /// The columns of the version that it runs.
    pub fn schema(&self) -> &Schema {
        self.caller.schema()
    }

    /// Who asks it, and how long one answer may take.
    pub(crate) fn parts(&mut self) -> (&mut Caller, Duration) {
        (&mut self.caller, self.limit)
    }

    /// What the model answers to rows at once, as simple JSON: an answer for each. One that fails
    /// fails all.
    pub async fn predict(&mut self, rows: &[Value]) -> Result<Vec<Value>, Problem> {
        self.caller.predict(rows, self.limit).await
    }

    /// The same for a request that was recorded, by itself.
    pub async fn predict_payload(&mut self, payload: &Payload) -> Result<Vec<Value>, Problem> {
        self.caller.predict_payload(payload, self.limit).await
    }

    /// What the model answers to all rows of a request, as tensors, at a place of a batch of a size
    /// that copies of its own rows fill. A model that is given one row at a time gets them so.
    pub async fn ask(
        &mut self,
        payload: &Payload,
        batch_rows: usize,
        batch_offset: usize,
    ) -> Result<Vec<Tensor>, Problem> {
        let schema = self.caller.schema().clone();
        let rows: Vec<Payload> = payload.each_row(&schema).collect();
        if rows.is_empty() {
            return Err(Problem::new(Code::NoRows, "the request has no rows"));
        }
        if schema.is_row_by_row() {
            let mut answers = vec![];
            for row in &rows {
                answers.push(self.caller.answer(&[row], self.limit).await?);
            }
            return Answer::joined(answers).to_tensors(0..rows.len());
        }
        let bytes = payload.size().saturating_mul(batch_rows.div_ceil(rows.len()));
        if bytes > CALL_BYTES_MAX {
            let text = format!("its batch would have more than {} MiB", CALL_BYTES_MAX >> 20);
            return Err(Problem::new(Code::BodyTooLarge, text));
        }
        let batch = filled(rows.len(), batch_rows, batch_offset);
        let batch: Vec<&Payload> = batch.into_iter().map(|row| &rows[row]).collect();
        let answer = self.caller.answer(&batch, self.limit).await?;
        answer.to_tensors(batch_offset..batch_offset + rows.len())
    }
}

/// Which row is at each place of a batch: a request's own rows from `offset` on, and copies of them
/// before and behind.
fn filled(rows: usize, size: usize, offset: usize) -> Vec<usize> {
    (0..size.max(offset + rows)).map(|place| (place + rows - offset % rows) % rows).collect()
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn a_batch_is_filled_with_copies() {
        assert_eq!(filled(1, 4, 2), [0, 0, 0, 0]);
        assert_eq!(filled(3, 8, 2), [1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(filled(3, 3, 0), [0, 1, 2]);
        assert_eq!(filled(2, 7, 5), [1, 0, 1, 0, 1, 0, 1]);
        for (rows, size, offset) in [(1, 1, 0), (5, 64, 59), (7, 64, 57), (2, 9, 4)] {
            let own: Vec<usize> = (0..rows).collect();
            assert_eq!(filled(rows, size, offset)[offset..offset + rows], own);
        }
    }
}
