//! When a replica that ended is started again. Only a start that failed backs off; a replica that
//! ended while it answered is replaced as fast as its starts allow, since those who ask for
//! something else must not wait for it.

/// The wait before the second start after failed ones, in milliseconds; the first is immediate.
pub const RESTART_MS_MIN: u64 = 100;
/// The longest wait between two starts that fail, in milliseconds.
pub const RESTART_MS_MAX: u64 = 30_000;
/// A replica that stayed ready for this long starts the count anew, in milliseconds.
pub const HEALTHY_MS: u64 = 60_000;
/// The wait after a start that this machine could not carry out, in milliseconds: it was out of
/// descriptors, memory or disk.
pub const LOCAL_MS: u64 = 1_000;

/// How long to wait before the next start, after this many failed ones in a row.
pub fn restart_in_ms(failures: u32) -> u64 {
    match failures {
        0 | 1 => 0,
        n => RESTART_MS_MIN.saturating_mul(1 << (n - 2).min(20)).min(RESTART_MS_MAX),
    }
}

/// How long to wait before one that ended while it answered is replaced: until it has been there
/// for as long as its start took, so that a replica that every request ends is there for half of
/// the time and starting for the other half at most.
pub fn replace_in_ms(lived_ms: u64, startup_ms: u64) -> u64 {
    startup_ms.min(RESTART_MS_MAX).saturating_sub(lived_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit() {
        let waits: Vec<u64> = (1..=12).map(restart_in_ms).collect();
        assert_eq!(
            waits,
            [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
        );
        assert_eq!(restart_in_ms(u32::MAX), RESTART_MS_MAX);
    }

    #[test]
    fn a_death_waits_no_longer_than_a_start_takes() {
        assert_eq!(
            [(0, 10), (4, 10), (10, 10), (9_000, 10)]
                .map(|(lived, start)| replace_in_ms(lived, start)),
            [10, 6, 0, 0]
        );
        assert_eq!(replace_in_ms(0, u64::MAX), RESTART_MS_MAX);
    }
}
