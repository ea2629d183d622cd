//! How short of processors this machine is: what Linux counts, from one look to the next.

use std::path::{Path, PathBuf};

use monitor::pressure::{Pressure, PressureLog};
use tokio::time::Instant;

/// Time in which some process waited for a processor, since the start of the machine.
const PRESSURE: &str = "/proc/pressure/cpu";
/// Which control group this process is in.
const GROUP: &str = "/proc/self/cgroup";
const GROUPS: &str = "/sys/fs/cgroup";

/// What was counted at the last look.
pub struct Processors {
    log: Option<PressureLog>,
    group: Option<PathBuf>,
    last: Option<(Instant, Counted)>,
}

/// In microseconds.
#[derive(Clone, Copy, Default)]
struct Counted {
    waited: Option<u64>,
    throttled: Option<u64>,
}

impl Processors {
    /// Keeps what it sees in a file, if that can be.
    pub fn new(path: &Path) -> Processors {
        let log = PressureLog::open(path)
            .inspect_err(|error| tracing::warn!("{} cannot be written: {error}", path.display()));
        Processors { log: log.ok(), group: group(), last: None }
    }

    /// Looks at the end of the bucket that began then, in milliseconds since 1970.
    pub fn look(&mut self, at_ms: u64) {
        let Some(log) = &self.log else { return };
        let now = (Instant::now(), self.count());
        let Some((before_at, before)) = self.last.replace(now) else { return };
        let elapsed_us = (now.0 - before_at).as_micros() as f64;
        let share = |before: Option<u64>, after: Option<u64>| {
            let us = after?.checked_sub(before?)?;
            Some((us as f64 / elapsed_us.max(1.0)).min(1.0) as f32)
        };
        let pressure = Pressure {
            waited: share(before.waited, now.1.waited),
            throttled: share(before.throttled, now.1.throttled),
        };
        if let Err(error) = log.put(at_ms, pressure) {
            tracing::debug!("how short of processors the machine was is not kept: {error}");
        }
    }

    fn count(&self) -> Counted {
        let waited = std::fs::read_to_string(PRESSURE).ok();
        let throttled = self.group.as_ref().and_then(|group| std::fs::read_to_string(group).ok());
        Counted {
            waited: waited.as_deref().and_then(waited_us),
            throttled: throttled.as_deref().and_then(throttled_us),
        }
    }
}

/// The file that says how long the limit on processors held this process's group up.
fn group() -> Option<PathBuf> {
    let groups = std::fs::read_to_string(GROUP).ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(GROUPS).join(own.trim_start_matches('/')).join("cpu.stat"))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`
fn waited_us(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// `throttled_usec 12345`
fn throttled_us(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("throttled_usec "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let text =
            "some avg10=1.18 avg60=1.91 avg300=2.75 total=27687077900\nfull avg10=0.00 total=0\n";
        assert_eq!(waited_us(text), Some(27_687_077_900));
        assert_eq!(throttled_us("nr_throttled 3\nthrottled_usec 42\n"), Some(42));
        assert_eq!((waited_us(""), throttled_us("usage_usec 1")), (None, None));
    }
}
