//! The two clocks of the control plane: one that people read, which jumps when it is set, and one
//! that only goes on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Both clocks.
#[derive(Clone)]
pub struct Clock {
    began: Instant,
    wall_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Clock {
    /// The machine's.
    pub fn system() -> Clock {
        Clock::of(now_ms)
    }

    /// With another clock on the wall, which gives milliseconds since 1970.
    pub fn of(wall_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Clock {
        Clock { began: Instant::now(), wall_ms: Arc::new(wall_ms) }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.wall_ms)()
    }

    /// Milliseconds since this process began: no jump of the clock on the wall changes it.
    pub fn monotonic_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// When [`Clock::monotonic_ms`] gives this.
    pub fn at(&self, monotonic_ms: u64) -> Instant {
        self.began + Duration::from_millis(monotonic_ms)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now_ms())
    }
}

/// Milliseconds since 1970, by the machine's clock.
pub fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
