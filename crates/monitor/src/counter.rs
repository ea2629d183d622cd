//! Counters that others than the monitor count, among its metrics.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Without `decalog_` and `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What is counted.
    pub counter: Counter,
}

/// Adds counters to metrics in the text format of OpenMetrics.
pub fn append(text: &mut String, counted: &[Counted]) {
    const END: &str = "# EOF\n";
    if counted.is_empty() || !text.ends_with(END) {
        return;
    }
    text.truncate(text.len() - END.len());
    for Counted { name, help, counter } in counted {
        let count = counter.get();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "# HELP decalog_{name} {help}.\n# TYPE decalog_{name} counter\ndecalog_{name}_total {count}\n"
        );
    }
    text.push_str(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_come_before_the_end() {
        let counter = Counter::default();
        counter.add(3);
        counter.clone().add(4);
        let mut text = "# TYPE a gauge\na 1\n# EOF\n".to_string();
        append(&mut text, &[Counted { name: "b", help: "Bees", counter }]);
        let more = "# HELP decalog_b Bees.\n# TYPE decalog_b counter\ndecalog_b_total 7\n# EOF\n";
        assert_eq!(text, format!("# TYPE a gauge\na 1\n{more}"));
    }
}
