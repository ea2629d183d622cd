//! Serves what comes in by all listeners until the server is to stop, and ends what is in flight then.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Gateway;
use crate::connections::Connections;
use crate::listen::{Accepting, Listener};
use crate::serving::{Serve, Serving, Stop};
use crate::shed::Shedding;

/// How often connections are looked through for those whose time is up, in milliseconds.
const SWEEP_MS: u64 = 1_000;
/// When the server stops, requests that have not arrived in full and answers of the control plane
/// without end are cut after so long, in milliseconds, …
const STOP_QUIET_MS: u64 = 1_000;
/// … answers that a model yields piece by piece after so long, and whole ones at
/// [`Serve::drain_ms_max`].
const STOP_STREAMS_MS: u64 = 5_000;
/// How often connections are looked through for those meanwhile, in milliseconds.
const STOP_LOOK_MS: u64 = 200;

impl Gateway {
    /// Serves until it is to stop, then finishes what is in flight.
    pub async fn serve(
        self: &Arc<Gateway>,
        listeners: Vec<Listener>,
        serve: Serve,
        stopping: watch::Receiver<Stop>,
    ) -> std::io::Result<()> {
        let connections = self.shared.connections.clone();
        let drain_ms_max = serve.drain_ms_max;
        let shedding = Arc::new(Shedding::new());
        let serving =
            Serving { gateway: self.clone(), serve: Arc::new(serve), stopping: stopping.clone() };
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let (connections, shedding) = (connections.clone(), shedding.clone());
            accepting
                .spawn(Accepting::new(listener, connections, shedding, serving.clone())?.run());
        }
        let (head_ms_max, idle_ms_max) = (self.config.head_ms_max, self.config.idle_ms_max);
        let mut sweep =
            tokio::time::interval(Duration::from_millis(SWEEP_MS.min(head_ms_max / 4).max(1)));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopping = stopping;
        let stop_requested = async move {
            stopping.wait_for(|stop| *stop != Stop::No).await.map_or(Stop::Shutdown, |stop| *stop)
        };
        let mut stop_requested = pin!(stop_requested);
        let stop = loop {
            tokio::select! {
                _ = sweep.tick() => connections.sweep(head_ms_max, idle_ms_max),
                stop = &mut stop_requested => break stop,
            }
        };
        accepting.shutdown().await;
        connections.drain(stop, drain_ms_max).await;
        Ok(())
    }
}

impl Connections {
    /// Waits until all have closed, and closes what would hold that up.
    async fn drain(&self, stop: Stop, drain_ms_max: u64) {
        let begin = Instant::now();
        let passed_ms = || begin.elapsed().as_millis() as u64;
        let look_ms = if stop == Stop::Shutdown { STOP_LOOK_MS } else { drain_ms_max };
        while passed_ms() < drain_ms_max {
            let left_ms = (drain_ms_max - passed_ms()).min(look_ms);
            if self.until_empty(Duration::from_millis(left_ms)).await {
                return;
            }
            // One that was owed a stream may have begun to get it meanwhile.
            if stop == Stop::Shutdown && passed_ms() >= STOP_QUIET_MS {
                self.close_quiet(passed_ms() >= STOP_STREAMS_MS);
            }
        }
    }
}
