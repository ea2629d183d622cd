//! Brings the newest records into the catalogue before a query, but not for every one: each time
//! makes small files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

/// A query waits so long for it, in milliseconds; then it does without the newest.
const WAIT_MS_MAX: u64 = 5_000;

/// When it was last done.
#[derive(Default)]
pub struct Fresh {
    begun_at: Mutex<Option<Instant>>,
    /// Whether the store takes so long that one is still on its way.
    is_running: Arc<AtomicBool>,
}

impl Fresh {
    /// Waits until what was answered before this call is in the catalogue. It is not done twice
    /// within a pause: who asks earlier waits.
    pub async fn now(&self, flush: &Arc<dyn Fn() + Send + Sync>, pause: Duration) {
        let wait = Duration::from_millis(WAIT_MS_MAX);
        if timeout(wait, self.try_now(flush, pause)).await.is_err() {
            tracing::warn!("a query does without the newest records: the store is slow");
        }
    }

    async fn try_now(&self, flush: &Arc<dyn Fn() + Send + Sync>, pause: Duration) {
        let asked_at = Instant::now();
        let mut begun_at = self.begun_at.lock().await;
        if begun_at.is_some_and(|begun_at| begun_at >= asked_at) {
            return;
        }
        if let Some(begun_at) = *begun_at {
            sleep_until(begun_at + pause).await;
        }
        if self.is_running.swap(true, Ordering::AcqRel) {
            tracing::warn!("a query does without the newest records: the store is slow");
            return;
        }
        *begun_at = Some(Instant::now());
        let (flush, is_running) = (flush.clone(), self.is_running.clone());
        let flushed = tokio::task::spawn_blocking(move || {
            flush();
            is_running.store(false, Ordering::Release);
        });
        let _ = flushed.await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_have_it_done_once() {
        let (fresh, count) = (Fresh::default(), Arc::new(AtomicUsize::new(0)));
        let counting = count.clone();
        let flush: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
            counting.fetch_add(1, Ordering::SeqCst);
        });
        let pause = Duration::from_millis(300);
        fresh.now(&flush, pause).await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let all = (0..20).map(|_| fresh.now(&flush, pause));
        futures_util::future::join_all(all).await;
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
