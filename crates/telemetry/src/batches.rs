//! The spans of batches, with links to the requests that they carried. Requests of a batch come one
//! after the other, and some may not come at all: a batch waits for them for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use protocol::trace::Traced;

use crate::seen::Seen;
use crate::spans::{LOCAL, home_of_batch, link_to, number, placement, status};

/// A batch waits so long for the rest of its requests, in milliseconds.
const WAIT_MS_MAX: u64 = 2_000;
/// The most batches that wait; the oldest goes first.
const BATCHES_MAX: usize = 4_096;
/// The most links of all that wait.
const LINKS_MAX: usize = 65_536;
/// The most links of a batch; the others are counted in its span.
const LINKS_OF_BATCH_MAX: usize = 1_024;

/// Batches that wait.
#[derive(Default)]
pub struct Batches {
    waiting: HashMap<[u8; 8], Waiting>,
    /// In the order in which they came; some are done already.
    order: VecDeque<([u8; 8], Instant)>,
    links: usize,
}

struct Waiting {
    span: Span,
    rows: u64,
    batch_rows: u64,
    requests: u64,
    failed: u64,
    /// The last one that failed, for what to say.
    failure: Option<Seen>,
}

impl Waiting {
    fn new(seen: &Seen) -> Waiting {
        let (trace, parent) = home_of_batch(seen);
        let (begin, end) = seen.run_ns();
        let mut attributes = placement(seen);
        attributes.push(number("decalog.batch.rows", seen.batch_rows.into()));
        let span = Span {
            trace_id: trace.into(),
            span_id: seen.traced.batch.into(),
            parent_span_id: parent,
            flags: LOCAL,
            name: "batch".into(),
            kind: SpanKind::Client as i32,
            start_time_unix_nano: begin,
            end_time_unix_nano: end,
            attributes,
            ..Span::default()
        };
        let batch_rows = u64::from(seen.batch_rows);
        Waiting { span, rows: 0, batch_rows, requests: 0, failed: 0, failure: None }
    }

    fn take(&mut self, seen: &Seen) -> bool {
        let (begin, end) = seen.run_ns();
        self.span.start_time_unix_nano = self.span.start_time_unix_nano.min(begin);
        self.span.end_time_unix_nano = self.span.end_time_unix_nano.max(end);
        self.rows += u64::from(seen.rows);
        self.requests += 1;
        if seen.has_failed() {
            self.failed += 1;
            self.failure = Some(seen.clone());
        }
        if self.span.links.len() == LINKS_OF_BATCH_MAX {
            self.span.dropped_links_count += 1;
            return false;
        }
        self.span.links.push(link_to(seen));
        true
    }

    /// One of several is an error if all that is known of it failed.
    fn finish(mut self) -> Span {
        if self.failed == self.requests {
            self.span.status = self.failure.as_ref().and_then(status);
        }
        self.span
    }
}

impl Batches {
    /// Takes in a request, and gives the spans of batches that are done with it.
    pub fn take(&mut self, seen: &Seen, now: Instant) -> Vec<Span> {
        if !seen.has_run() {
            return vec![];
        }
        let batch = seen.traced.batch;
        let (order, waiting) = (&mut self.order, &mut self.waiting);
        let entry = waiting.entry(batch).or_insert_with(|| {
            order.push_back((batch, now));
            Waiting::new(seen)
        });
        self.links += usize::from(entry.take(seen));
        if !seen.traced.has(Traced::SHARED) || entry.rows >= entry.batch_rows {
            return self.done(batch).into_iter().collect();
        }
        let mut done = vec![];
        while self.waiting.len() > BATCHES_MAX || self.links > LINKS_MAX {
            let Some((oldest, _)) = self.order.pop_front() else { break };
            done.extend(self.done(oldest));
        }
        done
    }

    fn done(&mut self, batch: [u8; 8]) -> Option<Span> {
        let span = self.waiting.remove(&batch)?.finish();
        self.links -= span.links.len();
        Some(span)
    }

    /// The spans of those that have waited for long enough; of all, if it is the end.
    pub fn due(&mut self, now: Instant, is_end: bool) -> Vec<Span> {
        let mut due = vec![];
        while let Some((batch, since)) = self.order.front().copied() {
            let is_done = !self.waiting.contains_key(&batch);
            let is_old = now.saturating_duration_since(since) >= Duration::from_millis(WAIT_MS_MAX);
            if !is_done && !is_old && !is_end {
                break;
            }
            self.order.pop_front();
            due.extend(self.done(batch));
        }
        due
    }

    /// Whether any waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use domain::Code;
    use protocol::trace::{SAMPLED, part_of, trace_of_batch};

    use super::*;
    use crate::seen::sample;
    use crate::spans::{Place, spans_of};

    fn shared(n: u8, batch: u8, status: u16) -> Seen {
        let traced = Traced {
            span: [n; 8],
            batch: [batch; 8],
            flags: SAMPLED | Traced::SHARED,
            ..sample().traced
        };
        let code = (status != 200).then_some(Code::ModelRaised);
        Seen { traced, batch_rows: 3, trace: [n; 16], status, code, ..sample() }
    }

    #[test]
    fn a_batch_of_one_is_a_child_of_its_request() {
        let (seen, mut batches) = (sample(), Batches::default());
        let spans = batches.take(&seen, Instant::now());
        let [batch] = &spans[..] else { panic!("{spans:?}") };
        let compute = &spans_of(&seen, &Place::default())[2];
        assert_eq!((&batch.trace_id, &batch.parent_span_id), (&compute.trace_id, &compute.span_id));
        assert_eq!(batch.links[0].span_id, [3; 8]);
        assert!(batches.is_empty() && batches.links == 0);
        assert_eq!(compute.span_id, part_of([3; 8], 2));
    }

    #[test]
    fn a_shared_batch_waits_for_its_requests_and_links_to_them() {
        let (mut batches, now) = (Batches::default(), Instant::now());
        assert!(batches.take(&shared(1, 9, 500), now).is_empty());
        assert!(batches.take(&shared(2, 9, 200), now).is_empty());
        assert!(batches.due(now, false).is_empty());
        let spans = batches.take(&shared(3, 9, 200), now);
        let [batch] = &spans[..] else { panic!("{spans:?}") };
        let links: Vec<_> = batch.links.iter().map(|link| link.span_id[0]).collect();
        assert_eq!(links, [1, 2, 3]);
        assert_eq!((&batch.trace_id[..], &batch.status), (&trace_of_batch([9; 8])[..], &None));
        assert!(batch.parent_span_id.is_empty());
        assert!(batches.due(now, true).is_empty() && batches.order.is_empty());
    }

    #[test]
    fn what_does_not_come_is_not_waited_for_for_ever() {
        let (mut batches, now) = (Batches::default(), Instant::now());
        batches.take(&shared(1, 9, 500), now);
        let later = now + Duration::from_millis(WAIT_MS_MAX);
        let spans = batches.due(later, false);
        assert_eq!(spans.len(), 1);
        assert!(spans[0].status.is_some(), "all that is known of it failed");
        batches.take(&shared(1, 8, 200), later);
        assert_eq!(batches.due(later, true).len(), 1);
        assert!(batches.is_empty() && batches.links == 0);
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let (mut batches, now, mut given) = (Batches::default(), Instant::now(), 0);
        for n in 0..10_000u64 {
            let mut seen = shared(1, 1, 200);
            seen.traced.batch = (n + 1).to_be_bytes();
            given += batches.take(&seen, now).len();
            assert!(batches.waiting.len() <= BATCHES_MAX + 1);
        }
        assert_eq!(given + batches.due(now, true).len(), 10_000);
        let mut large = vec![];
        for n in 0..2_000u32 {
            let mut seen = shared(1, 1, 200);
            (seen.traced.span, seen.batch_rows) = (u64::from(n + 1).to_be_bytes(), 2_000);
            large.extend(batches.take(&seen, now));
        }
        assert_eq!((large[0].links.len(), large[0].dropped_links_count), (1_024, 976));
    }
}
