//! What a connection has carried, and since when it carries nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// From whom bytes come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the model.
    Up,
    /// To the model.
    Down,
}

/// Of one connection.
#[derive(Debug)]
pub struct Activity {
    start: Instant,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    last_ms: AtomicU64,
}

impl Activity {
    /// Of a connection that has just come.
    pub fn new() -> Activity {
        Activity {
            start: Instant::now(),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
        }
    }

    /// Bytes were passed on.
    pub fn carried(&self, direction: Direction, bytes: usize) {
        let sum = match direction {
            Direction::Up => &self.up_bytes,
            Direction::Down => &self.down_bytes,
        };
        sum.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// The bytes passed on so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Up => self.up_bytes.load(Ordering::Relaxed),
            Direction::Down => self.down_bytes.load(Ordering::Relaxed),
        }
    }

    /// Milliseconds since it came.
    pub fn elapsed_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Returns once nothing was passed on for so long.
    pub async fn idle(&self, limit: Duration) {
        loop {
            let last = self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            if last.elapsed() >= limit {
                return;
            }
            tokio::time::sleep_until(last + limit).await;
        }
    }
}
