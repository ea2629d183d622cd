//! Traces and metrics for OpenTelemetry: spans are made of records after the fact, metrics of what
//! Prometheus would read, and both are sent to a collector over OTLP, as protobuf over HTTP. A thread
//! of its own does it; nobody waits for it, and what finds no room is counted and dropped.

mod backoff;
mod batches;
mod call;
mod config;
mod endpoint;
mod exposition;
mod metrics;
mod queue;
mod seen;
mod sending;
mod spans;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use monitor::Counter;
use protocol::record::{Definition, RecordIn};

pub use config::{Config, Measure, QUEUE_BYTES_MAX};
pub use endpoint::{Endpoint, pairs};

use call::Client;
use queue::Queue;
use seen::Seen;
use sending::Sending;

/// What is not sent when this process ends may be sent for so long, in milliseconds.
pub const END_MS_MAX: u64 = 2_000;
/// Takes in records and sends what becomes of them.
pub struct Exporter {
    queue: Arc<Queue>,
    dropped: Counter,
    measure: Arc<OnceLock<Measure>>,
    ended: parking_lot::Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Exporter {
    /// Starts the thread that sends.
    pub fn start(config: Config) -> std::io::Result<Exporter> {
        let queue = Arc::new(Queue::new(config.queue_bytes_max));
        let dropped = config.dropped.clone();
        let client = Client::new(&config.endpoint, &config.headers, &config.authorities);
        let (done, ended): (Sender<()>, _) = channel();
        let measure = Arc::new(OnceLock::new());
        let sending = Sending::new(config, client, queue.clone(), measure.clone());
        std::thread::Builder::new().name("telemetry".into()).spawn(move || {
            sending.run();
            drop(done);
        })?;
        Ok(Exporter { queue, dropped, measure, ended: parking_lot::Mutex::new(Some(ended)) })
    }

    /// Says where metrics come from, once; before that none are sent.
    pub fn measure(&self, measure: Measure) {
        let _ = self.measure.set(measure);
    }

    /// Takes in a record that is kept, if it is part of a trace that is kept. Does not wait.
    pub fn take(&self, definition: &Arc<Definition>, record: &RecordIn<'_>) {
        let Some(seen) = Seen::of(definition, record) else { return };
        let spans = seen.spans();
        if !self.queue.push(seen) {
            self.dropped.add(spans);
        }
    }

    /// Sends what waits, for [`END_MS_MAX`] at most, and ends. Blocks.
    pub fn end(&self) {
        let limit = Duration::from_millis(END_MS_MAX);
        self.queue.end(Instant::now() + limit);
        if let Some(ended) = self.ended.lock().take() {
            let _ = ended.recv_timeout(limit);
        }
    }
}
