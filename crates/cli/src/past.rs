//! Keeps what columns and requests were like while `decalog up` runs. What is not over yet is kept
//! every ten seconds, so that a process that is killed loses no more.

use domain::DataDirectory;
use monitor::columns::Sealed;
use monitor::history::{History, HistoryLimits, Reader};

use crate::senses::Senses;

/// Between two snapshots of the minute that runs, in milliseconds: with 100 columns each costs 25 ms
/// of a core in an unoptimised build, a quarter of a percent.
const SNAPSHOT_MS: u64 = 10_000;

/// The file, if it can be used.
pub struct Past {
    history: Option<History>,
    snapshot_ms: u64,
    /// What was told not to be kept.
    told: u64,
}

impl Past {
    /// Opens the file.
    pub fn open(data: &DataDirectory) -> Past {
        let opened = History::open(&data.metrics(), HistoryLimits::default());
        let history = match opened {
            Ok((history, anew)) => {
                if let Some(why) = anew {
                    tracing::warn!("{why}");
                }
                Some(history)
            }
            Err(error) => {
                tracing::warn!(
                    "no history of metrics is kept: {} {error}",
                    data.metrics().display()
                );
                None
            }
        };
        Past { history, snapshot_ms: 0, told: 0 }
    }

    /// Reads it.
    pub fn reader(&self) -> Option<Reader> {
        self.history.as_ref().map(History::reader)
    }

    /// Keeps what is over, and now and then what is not; called once a second.
    pub fn look(&mut self, senses: &Senses, sealed: &[Sealed], now_ms: u64) {
        let Some(history) = &mut self.history else { return };
        history.write(sealed, now_ms);
        history.write_requests(&senses.monitor.seal_requests(now_ms), now_ms);
        if now_ms.abs_diff(self.snapshot_ms) >= SNAPSHOT_MS {
            self.snapshot_ms = now_ms;
            history.write(&senses.drift.snapshot(), now_ms);
            history.write_requests(&senses.monitor.snapshot_requests(now_ms), now_ms);
        }
        history.tick(now_ms);
        let not_kept = history.not_kept();
        let lost = not_kept.unwritten + not_kept.out_of_time + not_kept.days;
        if lost >= 2 * self.told.max(1) {
            self.told = lost;
            let why = not_kept.error.as_deref().unwrap_or("there was no room, or no such time");
            tracing::warn!("{lost} minutes of columns or requests are not kept: {why}");
        }
    }

    /// Keeps all that there is.
    pub fn close(&mut self, senses: &Senses, now_ms: u64) {
        let Some(history) = &mut self.history else { return };
        history.write(&senses.drift.close(), now_ms);
        history.write_requests(&senses.monitor.close_requests(now_ms), now_ms);
    }
}
