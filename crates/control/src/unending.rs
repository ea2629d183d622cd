//! Tasks that last as long as the process: one that panics is begun anew, as each looks at what
//! there is and remembers nothing.

use std::time::Duration;

/// Between a panic and the next try, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// Runs what `begin` gives, and again after a panic; the panic's own message is in the log before.
pub fn spawn<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    begin: impl Fn() -> F + Send + 'static,
) {
    tokio::spawn(async move {
        while let Err(error) = tokio::spawn(begin()).await
            && error.is_panic()
        {
            tracing::error!("{name} failed and begins anew");
            tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_task_that_panics_begins_anew() {
        let (begun, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (count, tell) = (begun.clone(), done.clone());
        super::spawn("the test", move || {
            let (count, tell) = (count.clone(), tell.clone());
            async move {
                assert_eq!(count.fetch_add(1, Ordering::SeqCst), 1, "on purpose, the first time");
                tell.notify_one();
            }
        });
        done.notified().await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
