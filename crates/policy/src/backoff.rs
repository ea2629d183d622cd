//! When a replica that ended is started again.

/// The wait before the second restart in a row, in milliseconds; the first is immediate.
pub const RESTART_MS_MIN: u64 = 100;
/// The longest wait between two restarts, in milliseconds.
pub const RESTART_MS_MAX: u64 = 30_000;
/// A replica that stayed ready for this long starts the count anew, in milliseconds.
pub const HEALTHY_MS: u64 = 60_000;

/// How long to wait before the next start, after this many failures in a row.
pub fn restart_in_ms(failures: u32) -> u64 {
    match failures {
        0 | 1 => 0,
        n => RESTART_MS_MIN.saturating_mul(1 << (n - 2).min(20)).min(RESTART_MS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit() {
        let waits: Vec<u64> = (1..=12).map(restart_in_ms).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(restart_in_ms(u32::MAX), RESTART_MS_MAX);
    }
}
