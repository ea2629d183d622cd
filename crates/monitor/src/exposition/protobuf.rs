//! Messages `io.prometheus.client.MetricFamily`, each with its length before it, as Prometheus 2.40
//! and later scrape native histograms. A histogram has its classic buckets, too.
//!
//! Field numbers are those of `io/prometheus/client/metrics.proto` of `prometheus/client_model`.

use super::{ClassicBucket, Exemplar, Family, Histogram, Kind, Series, Value};

/// Exemplars of native histograms are at most so old, in milliseconds. All of them go into one
/// series of Prometheus, which wants them in the order of their times and tells of those that it
/// leaves out.
const EXEMPLAR_MS_MAX: u64 = 60_000;
/// Values up to this one count as 0.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// Families, one after the other.
pub(super) fn encode<'a>(families: impl Iterator<Item = &'a Family>, now_ms: u64) -> Vec<u8> {
    let mut out = vec![];
    for family in families {
        let mut message = Message::default();
        message.text(1, &family.sample_name());
        message.text(2, family.help);
        let kind = match family.kind {
            Kind::Counter => 0,
            Kind::Gauge | Kind::Info => 1,
            Kind::Histogram => 4,
        };
        message.number(3, kind);
        for series in &family.series {
            message.message(4, &metric(series, family.kind, now_ms));
        }
        if !family.unit.is_empty() {
            message.text(5, family.unit);
        }
        varint(&mut out, message.0.len() as u64);
        out.extend_from_slice(&message.0);
    }
    out
}

fn metric(series: &Series, kind: Kind, now_ms: u64) -> Message {
    let mut metric = Message::default();
    series.labels().for_each(|(name, value)| metric.message(1, &label(name, value)));
    let mut number = Message::default();
    match &series.value {
        Value::Count(count, one) => {
            number.double(1, *count as f64);
            if let Some(one) = one {
                number.message(2, &exemplar(one));
            }
        }
        Value::Number(value) => number.double(1, *value),
        Value::Histogram(value) => {
            metric.message(7, &histogram(value, now_ms));
            return metric;
        }
    }
    metric.message(if kind == Kind::Counter { 3 } else { 2 }, &number);
    metric
}

fn label(name: &str, value: &str) -> Message {
    let mut label = Message::default();
    label.text(1, name);
    label.text(2, value);
    label
}

fn exemplar(of: &Exemplar) -> Message {
    let mut message = Message::default();
    of.labels().iter().for_each(|(name, value)| message.message(1, &label(name, value)));
    message.double(2, of.value);
    let mut time = Message::default();
    time.number(1, of.at_ms / 1_000);
    time.number(2, of.at_ms % 1_000 * 1_000_000);
    message.message(3, &time);
    message
}

fn histogram(of: &Histogram, now_ms: u64) -> Message {
    let mut message = Message::default();
    message.number(1, of.count());
    message.double(2, of.sum);
    let mut up_to = 0;
    for (bucket, one) in of.classic.iter().zip(in_order(&of.classic, now_ms)) {
        up_to += bucket.count;
        let mut classic = Message::default();
        classic.number(1, up_to);
        classic.double(2, bucket.upper);
        if let Some(one) = one {
            classic.message(3, &exemplar(one));
        }
        message.message(3, &classic);
    }
    message.number(5, zigzag(of.schema.into()));
    message.double(6, ZERO_THRESHOLD);
    message.number(7, of.zeros);
    let (spans, deltas) = spans(&of.native);
    for (offset, length) in spans {
        let mut span = Message::default();
        span.number(1, zigzag(offset.into()));
        span.number(2, length);
        message.message(12, &span);
    }
    let mut packed = vec![];
    deltas.into_iter().for_each(|delta| varint(&mut packed, zigzag(delta)));
    if !packed.is_empty() {
        message.bytes(13, &packed);
    }
    message
}

/// The exemplar of each bucket that Prometheus takes: the slowest recent one, and of the faster
/// ones those that came before.
fn in_order(buckets: &[ClassicBucket], now_ms: u64) -> Vec<Option<&Exemplar>> {
    let mut before_ms = u64::MAX;
    let mut is_taken = |one: &&Exemplar| {
        let is_recent = now_ms.saturating_sub(one.at_ms) <= EXEMPLAR_MS_MAX;
        let is_taken = is_recent && one.at_ms < before_ms;
        if is_taken {
            before_ms = one.at_ms;
        }
        is_taken
    };
    let mut taken: Vec<_> = buckets
        .iter()
        .rev()
        .map(|bucket| bucket.exemplar.as_ref().filter(|one| is_taken(one)))
        .collect();
    taken.reverse();
    taken
}

/// Runs of buckets that follow each other, as the distance from the run before and the length; and
/// by how much each count differs from the one before. Between runs are empty buckets.
fn spans(buckets: &[(i32, u64)]) -> (Vec<(i32, u64)>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<(i32, u64)>, Vec<i64>) = Default::default();
    let (mut next, mut before) = (0, 0);
    for (index, count) in buckets {
        match spans.last_mut().filter(|_| *index == next) {
            Some((_, length)) => *length += 1,
            None => spans.push((index - next, 1)),
        }
        deltas.push(*count as i64 - before);
        (next, before) = (index + 1, *count as i64);
    }
    (spans, deltas)
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The bytes of a message.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, number: u64) {
        varint(&mut self.0, field << 3);
        varint(&mut self.0, number);
    }

    fn double(&mut self, field: u64, number: f64) {
        varint(&mut self.0, field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        varint(&mut self.0, field << 3 | 2);
        varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }
}
