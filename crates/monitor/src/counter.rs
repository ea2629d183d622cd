//! Counters that others than the monitor count, among its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::exposition::{Family, Kind, Value};

/// A number that only grows while the process lives.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter with what is said of it.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Without `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What is counted.
    pub counter: Counter,
}

impl Counted {
    /// As a metric.
    pub fn family(&self) -> Family {
        let Counted { name, help, counter } = self;
        Family::new(Kind::Counter, name, "", help).of(Value::Count(counter.get(), None))
    }
}
