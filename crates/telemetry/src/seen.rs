//! What of a record its spans are made of. Nothing that was asked or answered is among it.

use std::sync::Arc;

use domain::Code;
use domain::record::ABANDONED;
use protocol::record::{Definition, RecordIn};
use protocol::trace::{SAMPLED, Traced};

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What answered.
    pub definition: Arc<Definition>,
    /// Its id, a UUIDv7.
    pub id: [u8; 16],
    /// Of its trace.
    pub trace: [u8; 16],
    /// Its span and others.
    pub traced: Traced,
    /// Of the answer.
    pub status: u16,
    /// Why it failed, if it did.
    pub code: Option<Code>,
    /// What the caller asked for.
    pub reference: Box<str>,
    /// The copy of the model that ran it; empty if none did.
    pub replica: Box<str>,
    /// Of the request.
    pub rows: u32,
    /// Of its batch.
    pub batch_rows: u32,
    /// From being queued to being sent, in microseconds.
    pub queue_us: u32,
    /// From being sent to the worker's answer, in microseconds.
    pub worker_us: u32,
    /// From the first byte to the answer, in microseconds.
    pub total_us: u32,
}

impl Seen {
    /// Of a record whose trace is kept: the caller says so, or the trace began here and was drawn, or
    /// it began here and the request failed.
    pub fn of(definition: &Arc<Definition>, record: &RecordIn<'_>) -> Option<Seen> {
        let (head, traced) = (&record.head, record.traced);
        let is_own_error = head.status != 200 && !traced.has(Traced::FROM_CALLER);
        if traced.span == [0; 8] || !traced.has(SAMPLED) && !is_own_error {
            return None;
        }
        // A code is parsed without fail: there is one for those unknown.
        let code =
            Some(head.code).filter(|code| !code.is_empty()).and_then(|code| code.parse().ok());
        Some(Seen {
            definition: definition.clone(),
            id: head.id,
            trace: head.trace,
            traced,
            status: head.status,
            code,
            reference: head.reference.into(),
            replica: head.replica.into(),
            rows: head.rows,
            batch_rows: head.batch_rows,
            queue_us: head.queue_us,
            worker_us: head.worker_us,
            total_us: head.total_us,
        })
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        size_of::<Seen>() + self.reference.len() + self.replica.len()
    }

    /// Whether a worker had it.
    pub fn has_run(&self) -> bool {
        self.traced.batch != [0; 8]
    }

    /// Whether this side failed, as HTTP sees it.
    pub fn has_failed(&self) -> bool {
        self.status >= 500
    }

    /// Whether the caller got an answer.
    pub fn is_answered(&self) -> bool {
        self.status != ABANDONED
    }

    /// As many spans become of it, without that of its batch.
    pub fn spans(&self) -> u64 {
        if self.has_run() { 3 } else { 1 }
    }

    /// When it was answered, in nanoseconds since 1970: an id has 4,096ths of milliseconds.
    pub fn end_ns(&self) -> u64 {
        let ms = self.id[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
        let part = u64::from(self.id[6] & 15) << 8 | u64::from(self.id[7]);
        ms * 1_000_000 + part * 1_000_000 / 4_096
    }

    /// When its first byte came, in nanoseconds since 1970.
    pub fn begin_ns(&self) -> u64 {
        self.end_ns().saturating_sub(u64::from(self.total_us) * 1_000)
    }

    /// When it was at the worker, in nanoseconds since 1970: within its own time.
    pub fn run_ns(&self) -> (u64, u64) {
        let (begin, end) = (self.begin_ns(), self.end_ns());
        let sent = (begin + u64::from(self.traced.sent_us) * 1_000).min(end);
        (sent, (sent + u64::from(self.worker_us) * 1_000).min(end))
    }
}

/// A request for tests.
#[cfg(test)]
pub fn sample() -> Seen {
    let text = r#"{"placement": {"model": {"project": "default", "model": "churn"},
        "environment": "production", "version": 3, "digest": "DIGEST", "revision": 0},
        "schema": {"inputs": [], "outputs": []}}"#;
    let text = text.replace("DIGEST", &domain::Digest::of(b"x").to_string());
    let definition: Definition = serde_json::from_str(&text).unwrap();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&1_700_000_000_000u64.to_be_bytes()[2..]);
    (id[6], id[7]) = (0x78, 0x00);
    let traced = Traced {
        parent: [2; 8],
        span: [3; 8],
        batch: [4; 8],
        flags: SAMPLED | Traced::FROM_CALLER,
        sent_us: 3_000,
    };
    Seen {
        definition: Arc::new(definition),
        id,
        trace: [1; 16],
        traced,
        status: 200,
        code: None,
        reference: "churn".into(),
        replica: "r7".into(),
        rows: 1,
        batch_rows: 1,
        queue_us: 2_000,
        worker_us: 5_000,
        total_us: 10_000,
    }
}

#[cfg(test)]
mod tests {
    use protocol::record::RecordHead;

    use super::*;

    #[test]
    fn what_the_caller_says_holds_and_own_errors_are_always_seen() {
        let definition = sample().definition;
        let is_seen = |status, flags| {
            let head = RecordHead { status, code: "queue_full", ..RecordHead::default() };
            let traced = Traced { span: [1; 8], flags, ..Traced::default() };
            let record = RecordIn { head, inputs: vec![], outputs: vec![], traced };
            Seen::of(&definition, &record).is_some()
        };
        for status in [200, 429, 500] {
            assert!(is_seen(status, SAMPLED) && is_seen(status, SAMPLED | Traced::FROM_CALLER));
            assert!(!is_seen(status, Traced::FROM_CALLER), "{status}");
            assert_eq!(is_seen(status, 0), status != 200, "{status}");
        }
        let untraced = RecordIn {
            head: RecordHead { status: 500, ..RecordHead::default() },
            inputs: vec![],
            outputs: vec![],
            traced: Traced::default(),
        };
        assert!(Seen::of(&definition, &untraced).is_none(), "of before, or while nobody traced");
    }

    #[test]
    fn times_are_as_exact_as_ids() {
        let seen = sample();
        assert_eq!(seen.end_ns(), 1_700_000_000_000_500_000);
        assert_eq!(seen.begin_ns(), 1_699_999_999_990_500_000);
        let begin = seen.begin_ns();
        assert_eq!(seen.run_ns(), (begin + 3_000_000, begin + 8_000_000));
        let odd = Seen { worker_us: u32::MAX, ..seen };
        assert_eq!(odd.run_ns().1, odd.end_ns(), "never beyond the request");
    }
}
