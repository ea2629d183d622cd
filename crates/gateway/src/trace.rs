//! Which spans requests and batches are, where somebody traces. Nothing here waits or sends: spans
//! are made of records, later and elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::trace::{SAMPLED, TraceContext, mix, trace_of_batch};

use crate::reply::BatchSpan;
use crate::waiting::Waiting;

/// As many bits of a trace id are random by the W3C.
const RANDOM_BITS: u32 = 56;

/// Gives ids to spans, and says which traces that begin here are kept.
pub struct Tracing {
    random: u64,
    count: AtomicU64,
    /// Traces are kept whose random bits are at least this.
    kept_from: u64,
}

impl Tracing {
    /// Keeps such a share of the traces that begin here, from 0 to 1.
    pub fn new(share: f64) -> Tracing {
        use std::hash::{BuildHasher, Hasher};
        // The standard library seeds each RandomState from the system.
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        let all = (1u64 << RANDOM_BITS) as f64;
        let kept_from = ((1.0 - share.clamp(0.0, 1.0)) * all) as u64;
        Tracing { random: random(), count: random().into(), kept_from }
    }

    fn number(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        mix(self.random ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1)
    }

    /// The span of a request: in the caller's trace, or in one that begins here.
    pub fn begin(&self, caller: Option<TraceContext>) -> TraceContext {
        let span = self.number().to_be_bytes();
        if let Some(caller) = caller {
            return TraceContext { span, ..caller };
        }
        let (high, low) = (self.number(), self.number());
        let is_kept = low & ((1 << RANDOM_BITS) - 1) >= self.kept_from;
        let trace = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        TraceContext { trace, span, flags: if is_kept { SAMPLED } else { 0 } }
    }

    /// The span of a batch, and its context for the worker. A batch of one request is in that
    /// request's trace; one of several is in its own, and kept if one of them is.
    pub fn batch(&self, requests: &[Waiting]) -> (BatchSpan, Option<TraceContext>) {
        let mut contexts = requests.iter().filter_map(|waiting| waiting.trace);
        let Some(first) = contexts.next() else { return Default::default() };
        let span = self.number().to_be_bytes();
        if requests.len() == 1 {
            let batch = BatchSpan { span, is_shared: false };
            return (batch, Some(TraceContext { span, ..first }));
        }
        let is_kept = first.is_sampled() || contexts.any(|context| context.is_sampled());
        let flags = if is_kept { SAMPLED } else { 0 };
        let context = TraceContext { trace: trace_of_batch(span), span, flags };
        (BatchSpan { span, is_shared: true }, Some(context))
    }
}

/// What a batch's worker is told where nobody traces here: what the caller of its only request said.
pub fn passed_on(requests: &[Waiting]) -> Option<TraceContext> {
    match requests {
        [one] => one.trace,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Instant;

    use super::*;

    fn waiting(trace: Option<TraceContext>) -> Waiting {
        let (sender, _) = tokio::sync::oneshot::channel();
        Waiting { trace, ..Waiting::new(Default::default(), Instant::now(), sender) }
    }

    #[test]
    fn the_share_is_kept_and_no_id_is_given_twice() {
        for share in [0.0, 0.1, 0.5, 1.0] {
            let tracing = Tracing::new(share);
            let begun: Vec<_> = (0..10_000).map(|_| tracing.begin(None)).collect();
            let kept = begun.iter().filter(|context| context.is_sampled()).count() as f64;
            assert!((kept - share * 10_000.0).abs() < 250.0, "{share}: {kept}");
            let traces: HashSet<_> = begun.iter().map(|context| context.trace).collect();
            let spans: HashSet<_> = begun.iter().map(|context| context.span).collect();
            assert_eq!((traces.len(), spans.len()), (10_000, 10_000));
        }
    }

    #[test]
    fn what_the_caller_says_holds() {
        let tracing = Tracing::new(0.5);
        for flags in [0, SAMPLED] {
            let caller = TraceContext { trace: [1; 16], span: [2; 8], flags };
            let own = tracing.begin(Some(caller));
            assert_eq!((own.trace, own.flags), (caller.trace, flags));
            assert_ne!(own.span, caller.span);
        }
    }

    #[test]
    fn a_batch_is_in_the_trace_of_its_only_request_or_in_its_own() {
        let tracing = Tracing::new(1.0);
        let context =
            |n, flags| Some(TraceContext { trace: [n; 16], span: [n; 8], flags }).map(waiting_of);
        fn waiting_of(context: TraceContext) -> Waiting {
            waiting(Some(context))
        }
        let (one, kept) = (context(1, 0).unwrap(), context(2, SAMPLED).unwrap());
        let (batch, told) = tracing.batch(std::slice::from_ref(&one));
        let told = told.unwrap();
        assert_eq!((told.trace, told.span, told.flags), ([1; 16], batch.span, 0));
        assert!(!batch.is_shared);
        let (batch, told) = tracing.batch(&[one, kept]);
        let told = told.unwrap();
        assert_eq!((told.trace, told.flags), (trace_of_batch(batch.span), SAMPLED));
        assert!(batch.is_shared);
        assert_eq!(tracing.batch(&[waiting(None)]), Default::default());
    }

    #[test]
    fn where_nobody_traces_only_what_is_unambiguous_is_passed_on() {
        let own = TraceContext { trace: [1; 16], span: [2; 8], flags: 0 };
        assert_eq!(passed_on(&[waiting(Some(own))]), Some(own));
        assert_eq!(passed_on(&[waiting(Some(own)), waiting(None)]), None);
    }
}
