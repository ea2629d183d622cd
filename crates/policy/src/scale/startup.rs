//! How long a replica of a version takes to become ready, as learned from those before.

/// The weight of a new start in mean and deviation: the last dozen starts count.
const GAIN: f64 = 0.25;
/// Deviations above the mean that a start is planned with.
const DEVIATIONS: f64 = 2.0;

/// The learned start-up time of one version: a decaying mean and mean deviation, as for round trips
/// in TCP (Jacobson, 'Congestion Avoidance and Control', 1988). It forgets: a slow start on a cold
/// disk does not count for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StartupTime {
    learned: Option<(f64, f64)>,
}

impl StartupTime {
    /// Takes in one start, from spawn to ready, in milliseconds.
    pub fn observe(&mut self, elapsed_ms: u64) {
        let elapsed_ms = elapsed_ms as f64;
        self.learned = Some(match self.learned {
            None => (elapsed_ms, 0.0),
            Some((mean_ms, deviation_ms)) => {
                let error_ms = elapsed_ms - mean_ms;
                (mean_ms + GAIN * error_ms, deviation_ms + GAIN * (error_ms.abs() - deviation_ms))
            }
        });
    }

    /// A time that most starts keep, in milliseconds; `None` before the first.
    pub fn expected_ms(&self) -> Option<u64> {
        self.learned.map(|(mean_ms, deviation_ms)| (mean_ms + DEVIATIONS * deviation_ms) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_and_forgets() {
        let mut startup = StartupTime::default();
        assert_eq!(startup.expected_ms(), None);
        startup.observe(30_000);
        assert_eq!(startup.expected_ms(), Some(30_000));
        (0..40).for_each(|_| startup.observe(100));
        assert!(startup.expected_ms().unwrap() < 150, "{startup:?}");
        startup.observe(200);
        assert!((150..=250).contains(&startup.expected_ms().unwrap()), "{startup:?}");
    }
}
