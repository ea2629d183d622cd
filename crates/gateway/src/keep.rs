//! What is kept of a request beside its metrics: who asked what, and what came of it, as a record
//! for whoever keeps them. It is written before the answer is sent, and waits for nobody.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Problem;
use domain::record::Record;
use http::{HeaderMap, HeaderName};
use protocol::record::{Kept, RecordHead, RecordOut, Recorder};
use protocol::trace::{TraceContext, Traced};
use protocol::{Payload, Tensor};

use crate::ask::Rows;
use crate::lane::Lane;
use crate::reply::BatchSpan;
use crate::trace::Tracing;

/// By which a caller names what the truth of a prediction will be joined by: `customer=42`.
const KEY: HeaderName = HeaderName::from_static("decalog-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The most bytes of values that are kept of one request.
const VALUES_BYTES_MAX: usize = 64 << 10;
/// Bytes of an id's time.
const TIME_BYTES: usize = 6;

/// Names for requests: UUIDv7, which sort as the times at which they were given. No two are the
/// same, also of several processes.
pub struct Ids {
    random: u64,
    count: std::sync::atomic::AtomicU64,
}

impl Ids {
    /// Those of this process.
    pub fn new() -> Ids {
        use std::hash::{BuildHasher, Hasher};
        // The standard library seeds each RandomState from the system.
        let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
        Ids { random: random(), count: random().into() }
    }

    /// One that was never given.
    pub fn next(&self) -> [u8; 16] {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = since.as_millis() as u64;
        // 4,096 parts of the millisecond follow the time, so that ids of one thread sort as they
        // were given.
        let part = u64::from(since.subsec_nanos() % 1_000_000) * 4_096 / 1_000_000;
        let count = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // An odd multiplier permutes all 64-bit numbers, and what is cut off is 2 bits of them.
        let low = self.random.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 2;
        let mut id = [0; 16];
        id[..TIME_BYTES].copy_from_slice(&ms.to_be_bytes()[2..]);
        id[6..8].copy_from_slice(&(0x7000 | part as u16).to_be_bytes());
        id[8..].copy_from_slice(&(1 << 63 | low).to_be_bytes());
        id
    }
}

/// An id as callers see it, `0199a3f2-…`.
pub fn id_text(id: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in id.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    text
}

/// What a caller said beside the rows.
#[derive(Clone, Default)]
pub struct Asked {
    /// Of what.
    pub reference: String,
    /// Who it is, if that was proved.
    pub principal: String,
    key: String,
    /// The span of the caller that asked, if it traces.
    caller: Option<TraceContext>,
    /// The request's own span, if it is traced here.
    own: Option<TraceContext>,
    /// By which protocol, for its record.
    wire: u8,
}

impl Asked {
    /// As the headers have it.
    pub fn new(reference: &str, principal: String, headers: &HeaderMap) -> Asked {
        let key = headers.get(KEY).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let caller =
            headers.get(TRACEPARENT).and_then(|value| TraceContext::read(value.as_bytes()));
        Asked {
            reference: reference.into(),
            principal,
            key: key.trim().into(),
            caller,
            own: None,
            wire: 0,
        }
    }

    /// The same as a span of its own. `wire` is the flag of the protocol in [`Traced`].
    pub fn traced_by(mut self, tracing: &Tracing, wire: u8) -> Asked {
        (self.own, self.wire) = (Some(tracing.begin(self.caller)), wire);
        self
    }

    /// Whose part is what the worker does.
    pub fn trace(&self) -> Option<TraceContext> {
        self.own.or(self.caller)
    }

    /// The trace that it is part of; 0 if it is part of none.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace().map_or([0; 16], |context| context.trace)
    }

    fn traced(&self, ran: Ran) -> Traced {
        let Some(own) = self.own else { return Traced::default() };
        let mut flags = own.flags & protocol::trace::SAMPLED | self.wire;
        for (flag, is_set) in
            [(Traced::FROM_CALLER, self.caller.is_some()), (Traced::SHARED, ran.batch.is_shared)]
        {
            flags |= if is_set { flag } else { 0 };
        }
        let parent = self.caller.map_or([0; 8], |caller| caller.span);
        Traced { parent, span: own.span, batch: ran.batch.span, flags, sent_us: ran.sent_us }
    }
}

/// When a request was sent to a worker, from its first byte in microseconds, and with which batch.
#[derive(Clone, Copy, Default)]
pub struct Ran {
    /// 0 if it was not.
    pub sent_us: u32,
    /// Zeros if nobody traces.
    pub batch: BatchSpan,
}

/// What became of a request.
#[derive(Default)]
pub struct Became<'a> {
    /// What it was routed to.
    pub lane: Option<&'a Lane>,
    /// What ran it.
    pub replica: &'a str,
    /// Its rows, as far as they are still there.
    pub inputs: Payload,
    /// Its answer.
    pub rows: Option<&'a Rows>,
    /// Why it has none.
    pub problem: Option<&'a Problem>,
    /// Of the route table.
    pub epoch: u64,
    /// When it ran.
    pub ran: Ran,
}

/// Writes the record of a request.
pub fn keep(
    recorder: &dyn Recorder,
    id: [u8; 16],
    asked: &Asked,
    record: &Record,
    became: &Became<'_>,
) {
    let outputs = became.rows.and_then(|rows| rows.answer.to_tensors(rows.range()).ok());
    let outputs = outputs.unwrap_or_default();
    let bytes = became.inputs.size() + outputs.iter().map(|it| it.data.len()).sum::<usize>();
    let kept = match (became.inputs.columns.is_empty(), bytes > VALUES_BYTES_MAX) {
        (true, _) => Kept::None,
        (false, true) => Kept::Large,
        (false, false) => Kept::Whole,
    };
    // One configuration for all of the record.
    let of = became.lane.map(|lane| (lane.recorded.load(), &lane.schema));
    let (mut inputs, mut outputs) = (Cow::Borrowed(&became.inputs), outputs);
    let mut error = became.problem.map_or("", |problem| &problem.message);
    let mut key = Cow::Borrowed(asked.key.as_str());
    if let Some((recorded, schema)) = of.as_ref().filter(|(recorded, _)| recorded.redacts) {
        error = became.problem.map_or("", |problem| recorded.error(&problem.code, error));
        key = recorded.key(schema, &asked.key);
        if kept == Kept::Whole {
            inputs = Cow::Owned(recorded.inputs(schema, became.inputs.clone()));
            outputs = recorded.outputs(outputs, record.rows as usize);
        }
    }
    let head = RecordHead {
        id,
        lane: of.as_ref().map_or(0, |(recorded, _)| recorded.number),
        epoch: became.epoch,
        trace: asked.trace().unwrap_or_default().trace,
        status: record.status,
        is_copy: record.is_copy,
        kept,
        rows: record.rows,
        batch_rows: record.batch_rows,
        batch_offset: became.rows.map_or(0, |rows| rows.first as u32),
        queue_us: record.queue_us,
        worker_us: record.worker_us,
        total_us: record.total_us,
        reference: &asked.reference,
        code: record.code,
        error,
        principal: &asked.principal,
        key: &key,
        replica: became.replica,
    };
    let traced = asked.traced(became.ran);
    if kept == Kept::Whole {
        let (head, inputs) = (head.clone(), &inputs.columns);
        let whole = RecordOut { head, inputs, outputs: &outputs, traced };
        if recorder.put(whole.size(), true, &mut |out| whole.write(out)) {
            return;
        }
    }
    let kept = if kept == Kept::Whole { Kept::Dropped } else { kept };
    // The key is made of a row when its file is written; without its values it cannot be.
    let own_key = of.as_ref().filter(|_| head.key.is_empty());
    let own_key =
        own_key.and_then(|(recorded, schema)| recorded.key_of_row(schema, &became.inputs));
    let head = RecordHead { kept, key: own_key.as_deref().unwrap_or(head.key), ..head };
    let bare: RecordOut<'_> = RecordOut { head, inputs: &[], outputs: &[] as &[Tensor], traced };
    recorder.put(bare.size(), false, &mut |out| bare.write(out));
}

/// Whoever keeps records, once there is one.
pub type Keeper = std::sync::OnceLock<Arc<dyn Recorder>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_that_sort_as_they_were_given() {
        let ids = Ids::new();
        let mut before = [0; 36];
        for _ in 0..10_000 {
            let id = ids.next();
            assert_eq!((id[6] >> 4, id[8] >> 6), (7, 2), "version and variant");
            let text = id_text(&id);
            assert!(text[..18] >= before[..18], "{:?}", std::str::from_utf8(&text));
            assert_ne!(text, before);
            before = text;
        }
        assert_eq!(&id_text(&[0xab; 16]), b"abababab-abab-abab-abab-abababababab");
    }
}
