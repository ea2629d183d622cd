//! The thread that sends: spans once a second, metrics at their own pace. What a collector does not
//! take now is kept and tried again for a while, and what comes meanwhile waits in the queue.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::backoff::Backoff;
use crate::batches::Batches;
use crate::call::{Client, Outcome, Signal};
use crate::config::{Config, Measure};
use crate::metrics::Series;
use crate::queue::Queue;
use crate::spans::{Place, spans_of, text};

/// Spans are sent so often, in milliseconds.
const SEND_MS: u64 = 1_000;
/// So many requests become spans of one message.
const MESSAGE_REQUESTS_MAX: usize = 256;
/// What a collector does not take for so long is dropped, in milliseconds.
const GIVE_UP_MS: u64 = 300_000;
/// It is told so often what was dropped, in milliseconds.
const TELL_MS: u64 = 60_000;

/// A message that is not sent yet.
struct Outgoing {
    body: Vec<u8>,
    spans: u64,
    since: Instant,
}

/// The state of the thread.
pub struct Sending {
    config: Config,
    client: Client,
    queue: Arc<Queue>,
    measure: Arc<OnceLock<Measure>>,
    place: Place,
    resource: Resource,
    batches: Batches,
    waiting: Option<Outgoing>,
    backoff: Backoff,
    series: Series,
    metrics_at: Instant,
    metrics_failing: bool,
    told: Told,
}

/// What was told of what was dropped.
struct Told {
    at: Instant,
    dropped: u64,
    /// Why it was, as far as the collector is to blame.
    why: String,
}

impl Sending {
    /// Before the thread begins.
    pub fn new(
        config: Config,
        client: Client,
        queue: Arc<Queue>,
        measure: Arc<OnceLock<Measure>>,
    ) -> Sending {
        let attributes = config.resource.iter().map(|(name, value)| text(name, value.as_str()));
        let resource = Resource { attributes: attributes.collect(), ..Resource::default() };
        let now = Instant::now();
        Sending {
            place: Place::of(&config.url),
            resource,
            batches: Batches::default(),
            waiting: None,
            backoff: Backoff::default(),
            series: Series::new(now_ns()),
            metrics_at: now + Duration::from_millis(config.metrics_every_ms),
            metrics_failing: false,
            told: Told { at: now, dropped: 0, why: String::new() },
            config,
            client,
            queue,
            measure,
        }
    }

    /// Sends until the end, and then what is left.
    pub fn run(mut self) {
        loop {
            let begun = Instant::now();
            let ends = self.queue.ends();
            let may_be_more = self.send_spans(ends);
            let are_due = match ends {
                Some(_) => !may_be_more,
                None => begun >= self.metrics_at,
            };
            if self.config.metrics_every_ms > 0 && are_due {
                self.send_metrics(ends);
                self.metrics_at = begun + Duration::from_millis(self.config.metrics_every_ms);
            }
            self.tell(false);
            match ends {
                Some(until) if !may_be_more || Instant::now() >= until => return self.leave(),
                Some(_) => {}
                None if may_be_more => {}
                None => self.queue.wait_until(begun + Duration::from_millis(SEND_MS)),
            }
        }
    }

    /// Sends a message of spans, if there are any and the collector may be asked; whether there may
    /// be more to be sent at once.
    fn send_spans(&mut self, ends: Option<Instant>) -> bool {
        let now = Instant::now();
        if self.waiting.is_none() {
            self.waiting = self.next_message(now, ends.is_some());
        }
        // At the end it is tried once, whatever the pause.
        if ends.is_none() && self.backoff.until(now).is_some() {
            return false;
        }
        let Some(message) = self.waiting.take() else { return false };
        let limit = ends.map(|until| until.saturating_duration_since(now));
        let outcome = self.client.send(Signal::Traces, &message.body, limit);
        let (spans, host) = (message.spans, self.config.endpoint.host());
        match outcome {
            Outcome::Taken => self.taken(spans, 0),
            Outcome::Partly(rejected, said) => {
                if rejected == 0 {
                    tracing::warn!("{host} takes all spans, and {said}");
                } else {
                    self.told.why = format!("{host} does not take all: {said}");
                }
                self.taken(spans, rejected.min(spans));
            }
            Outcome::Refused(why) => {
                // It answers: what comes next may be taken.
                self.backoff.succeeded();
                self.dropped(spans, format!("{host}: {why}"));
            }
            Outcome::Failed { why, retry_after_ms } => {
                if !self.backoff.is_failing() {
                    tracing::warn!("{host} takes no traces, it is tried again: {why}");
                }
                self.backoff.failed(Instant::now(), retry_after_ms, fastrand::f64());
                let is_old = message.since.elapsed() > Duration::from_millis(GIVE_UP_MS);
                self.told.why = format!("{host}: {why}");
                match is_old || ends.is_some() {
                    true => self.dropped(spans, format!("{host}: {why}")),
                    false => self.waiting = Some(message),
                }
                return false;
            }
        }
        self.queue.len() > 0 || ends.is_some() && !self.batches.is_empty()
    }

    fn taken(&mut self, spans: u64, rejected: u64) {
        if self.backoff.is_failing() {
            tracing::warn!("{} takes traces again", self.config.endpoint.host());
        }
        self.backoff.succeeded();
        self.config.sent.add(spans - rejected);
        self.config.dropped.add(rejected);
    }

    fn dropped(&mut self, spans: u64, why: String) {
        self.config.dropped.add(spans);
        self.told.why = why;
    }

    /// Makes a message of what waits.
    fn next_message(&mut self, now: Instant, is_end: bool) -> Option<Outgoing> {
        let mut spans: Vec<Span> = vec![];
        for seen in self.queue.take(MESSAGE_REQUESTS_MAX) {
            spans.extend(spans_of(&seen, &self.place));
            spans.extend(self.batches.take(&seen, now));
        }
        spans.extend(self.batches.due(now, is_end && self.queue.len() == 0));
        if spans.is_empty() {
            return None;
        }
        let count = spans.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        };
        Some(Outgoing { body: request.encode_to_vec(), spans: count, since: now })
    }

    /// Sends all metrics as they are now. What is not taken is in the next ones, too.
    fn send_metrics(&mut self, ends: Option<Instant>) {
        let Some(measure) = self.measure.get() else { return };
        let exposition = measure();
        for metrics in self.series.read(&exposition, now_ns()) {
            let now = Instant::now();
            let limit = ends.map(|until| until.saturating_duration_since(now));
            let body = self.metrics_message(metrics);
            let why = match self.client.send(Signal::Metrics, &body, limit) {
                Outcome::Taken => {
                    self.metrics_failing = false;
                    continue;
                }
                Outcome::Partly(rejected, said) => format!("{rejected} points are refused: {said}"),
                Outcome::Refused(why) | Outcome::Failed { why, .. } => why,
            };
            if !std::mem::replace(&mut self.metrics_failing, true) {
                tracing::warn!("{} takes no metrics: {why}", self.config.endpoint.host());
            }
            return;
        }
    }

    fn metrics_message(&self, metrics: Vec<Metric>) -> Vec<u8> {
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: scope(),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        request.encode_to_vec()
    }

    /// Says what was dropped, once in a while.
    fn tell(&mut self, is_end: bool) {
        if !is_end && self.told.at.elapsed() < Duration::from_millis(TELL_MS) {
            return;
        }
        let dropped = self.config.dropped.get();
        let (more, why) = (dropped - self.told.dropped, std::mem::take(&mut self.told.why));
        if more > 0 {
            let why =
                if why.is_empty() { "they came faster than they were taken".into() } else { why };
            tracing::warn!("{more} spans were dropped: {why}");
        }
        (self.told.at, self.told.dropped) = (Instant::now(), dropped);
    }

    /// What could not be sent in time is dropped.
    fn leave(mut self) {
        let message = self.waiting.take().map_or(0, |message| message.spans);
        let left: u64 = self.queue.take(usize::MAX).iter().map(|seen| seen.spans()).sum();
        if message + left > 0 {
            self.dropped(message + left, "the server ended before they were taken".into());
        }
        self.tell(true);
    }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "decalog".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    })
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
