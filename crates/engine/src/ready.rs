//! Waits until a started replica answers: at first without pauses that the eye could see, since a
//! forked one serves at once; then more and more patiently.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use domain::ReplicaId;
use domain::route::Address;
use supervisor::protocol::Request;
use tokio::time::Instant;
use worker::probe::ProbeError;
use worker::{ProbeAs, WorkerInfo};

use crate::handle::LocalEngine;
use crate::interface::Engine;
use crate::replica::{Begin, ReplicaState};

/// Between two looks at the socket in the first moments, in microseconds: finer than the runtime's
/// timer.
const CONNECT_US: u64 = 250;
/// How long it is looked at so closely, in milliseconds.
const CONNECT_MS_MAX: u64 = 60;
/// Between two probes after that, at first and at most, in milliseconds.
const PROBE_MS: (u64, u64) = (2, 20);
/// How long one probe may take, in milliseconds.
const PROBE_MS_MAX: u64 = 5_000;

/// What is said of a replica that takes too long.
pub(crate) fn not_ready(limit_ms: u64) -> String {
    format!("not ready after {limit_ms} ms ([model] start_ms_max)")
}

impl LocalEngine {
    /// Tries a starting replica until it is ready, has ended, or its time is up.
    pub(crate) async fn watch_start(
        &self,
        replica: ReplicaId,
        probe_as: ProbeAs,
        begin: Begin,
        limit: Duration,
    ) {
        let Some(status) = self.status(&replica) else { return };
        let since = begin.at.unwrap_or_else(Instant::now);
        let model = status.placement.model.model.as_str();
        if begin.at_once {
            let Address::Unix(socket) = status.address.clone();
            let _ = tokio::task::spawn_blocking(move || connect_soon(Path::new(&socket))).await;
        }
        let mut pause = PROBE_MS.0;
        while since.elapsed() < limit {
            if !self.is_starting(&replica) {
                return;
            }
            let probe = worker::probe(&status.address, model, &probe_as);
            match tokio::time::timeout(Duration::from_millis(PROBE_MS_MAX), probe).await {
                Ok(Ok(info)) => {
                    let elapsed_ms =
                        begin.at.map_or(0, |begin| (begin.elapsed().as_millis() as u64).max(1));
                    return self.set_ready(&replica, info, elapsed_ms);
                }
                Ok(Err(ProbeError::Unusable(problem))) => {
                    self.set_ended(&replica, problem.to_string());
                    let _ = self.signal(&replica, true).await;
                    return;
                }
                Ok(Err(ProbeError::NotYet(_))) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(PROBE_MS.1);
        }
        self.set_ended(&replica, not_ready(limit.as_millis() as u64));
        let _ = self.signal(&replica, true).await;
    }

    fn set_ready(&self, replica: &ReplicaId, info: WorkerInfo, elapsed_ms: u64) {
        if self.is_starting(replica) {
            let known = serde_json::to_string(&info);
            self.set_state(replica, ReplicaState::Ready { info, elapsed_ms });
            let (engine, id) = (self.clone(), replica.into());
            // A platform that finds it later believes this, instead of asking a worker that may be
            // busy for long.
            tokio::spawn(async move {
                let Ok(known) = known else { return };
                if let Err(error) =
                    engine.inner.supervisor.call(Request::Remember { id, known }).await
                {
                    tracing::debug!("what is known of a replica is not kept: {error}");
                }
            });
        }
    }
}

/// Returns when somebody listens, or after [`CONNECT_MS_MAX`].
fn connect_soon(socket: &Path) {
    let begin = Instant::now();
    while UnixStream::connect(socket).is_err()
        && begin.elapsed() < Duration::from_millis(CONNECT_MS_MAX)
    {
        std::thread::sleep(Duration::from_micros(CONNECT_US));
    }
}
