//! Metrics as they are given to whoever scrapes them: families of series as of one moment, and the
//! three formats of Prometheus that they are written in.

mod accept;
mod protobuf;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::sync::Arc;

pub use accept::{Format, TEXT_TYPES};

/// A label's name and its value.
pub type Label = (&'static str, Cow<'static, str>);

/// What kind of numbers a family has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// They only grow while the process lives.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are 1; what they tell is in their labels.
    Info,
    /// How often values were how large.
    Histogram,
}

/// Series of one name.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    /// Without `_total` or `_info`, and with its unit at the end.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Of all its series.
    pub kind: Kind,
    /// A base unit, such as `seconds`; empty if it counts things.
    pub unit: &'static str,
    /// No two have the same labels.
    pub series: Vec<Series>,
}

/// Numbers with their labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// Those that many series have, …
    pub shared: Arc<[Label]>,
    /// … and those that only this one has.
    pub own: Vec<Label>,
    /// As of now.
    pub value: Value,
}

/// As of one moment.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// How many, and one of them.
    Count(u64, Option<Exemplar>),
    /// A number.
    Number(f64),
    /// How often values were how large.
    Histogram(Histogram),
}

/// How often values were how large, in classic buckets and in the native ones of Prometheus.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    /// Of all values.
    pub sum: f64,
    /// By upper bound, without those below; the last bound is infinite.
    pub classic: Vec<ClassicBucket>,
    /// Native bucket `i` has values above `base^(i-1)` up to `base^i`, and the base is
    /// `2^(2^-schema)`.
    pub schema: i32,
    /// Values that are 0.
    pub zeros: u64,
    /// Native buckets that are not empty with their counts, in order.
    pub native: Vec<(i32, u64)>,
}

/// Values above the bound before, up to this one.
#[derive(Clone, PartialEq, Debug)]
pub struct ClassicBucket {
    /// The largest value that is in it.
    pub upper: f64,
    /// How many.
    pub count: u64,
    /// One of them.
    pub exemplar: Option<Exemplar>,
}

/// A request that a number was counted for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Exemplar {
    /// Its id.
    pub request: [u8; 16],
    /// The id of the trace that it is part of; 0 if its caller named none.
    pub trace: [u8; 16],
    /// What was counted.
    pub value: f64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Histogram {
    /// How many values it has.
    pub fn count(&self) -> u64 {
        self.classic.iter().map(|bucket| bucket.count).sum()
    }
}

impl Exemplar {
    /// Its labels; together they are shorter than the 128 characters that OpenMetrics allows.
    fn labels(&self) -> Vec<(&'static str, String)> {
        let request = id_text(&self.request);
        match self.trace {
            trace if trace == [0; 16] => vec![("request_id", request)],
            trace => vec![("trace_id", hex::encode(trace)), ("request_id", request)],
        }
    }
}

/// The id of a request as its caller sees it.
fn id_text(id: &[u8; 16]) -> String {
    let digits = hex::encode(id);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

impl Family {
    /// One without series.
    pub fn new(kind: Kind, name: &'static str, unit: &'static str, help: &'static str) -> Family {
        Family { name, help, kind, unit, series: vec![] }
    }

    /// With a number that has no labels.
    pub fn of(mut self, value: Value) -> Family {
        self.series.push(Series { shared: Arc::default(), own: vec![], value });
        self
    }

    /// With one more series.
    pub fn push(&mut self, shared: &Arc<[Label]>, own: Vec<Label>, value: Value) {
        self.series.push(Series { shared: shared.clone(), own, value });
    }

    /// The name of its samples, outside of histograms.
    fn sample_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Info => format!("{}_info", self.name),
            Kind::Gauge | Kind::Histogram => self.name.into(),
        }
    }
}

impl Series {
    fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.shared.iter().chain(&self.own).map(|(name, value)| (*name, value.as_ref()))
    }
}

/// Families in a format; those without series are left out.
pub fn encode(families: &[Family], format: Format, now_ms: u64) -> Vec<u8> {
    let some = families.iter().filter(|family| !family.series.is_empty());
    match format {
        Format::Text => text::encode(some, false).into_bytes(),
        Format::OpenMetrics => text::encode(some, true).into_bytes(),
        Format::Protobuf => protobuf::encode(some, now_ms),
    }
}
