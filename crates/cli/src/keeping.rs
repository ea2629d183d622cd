//! Keeps records of requests: where the memory is that they cross, and for how long they are kept.

use std::fs::File;
use std::sync::Arc;

use artifacts::Store;
use domain::DataDirectory;
use engine::LocalEngine;
use nix::fcntl::{Flock, FlockArg};
use records::ring::Ring;
use records::{Keeper, KeeperConfig};
use tokio::runtime::Handle;

use crate::args::RecordOptions;

/// Memory for records on their way to the disk, in bytes.
const RING_BYTES: u64 = 16 << 20;
/// While one process replaces another, each has its own; what a third was killed with is found, too.
const RINGS_MAX: usize = 3;
pub const DAY_MS: u64 = 86_400_000;

/// Whoever keeps records, and the memory that is locked for it.
pub struct Keeping {
    pub keeper: Arc<Keeper>,
    _memory: Vec<Flock<File>>,
}

/// Starts it; `None` if none are to be kept, or none can be.
pub async fn start(
    options: &RecordOptions,
    data: &DataDirectory,
    engine: &LocalEngine,
    store: &Store,
    watch: records::Watch,
) -> Option<Keeping> {
    if options.records_per_s == 0 {
        return None;
    }
    match try_start(options, data, engine, store, watch).await {
        Ok(keeping) => Some(keeping),
        Err(error) => {
            tracing::error!("no records of requests are kept: {error}");
            None
        }
    }
}

async fn try_start(
    options: &RecordOptions,
    data: &DataDirectory,
    engine: &LocalEngine,
    store: &Store,
    watch: records::Watch,
) -> std::io::Result<Keeping> {
    let mut memory = vec![];
    for count in 0..RINGS_MAX {
        let held = engine.held(&format!("records-{count}"), Ring::file_bytes(RING_BYTES)).await?;
        // Whoever writes to it holds its lock, until it ends.
        memory.extend(Flock::lock(held, FlockArg::LockExclusiveNonblock).ok());
    }
    let files = memory.iter().map(|file| file.try_clone()).collect::<Result<Vec<_>, _>>()?;
    let config = KeeperConfig {
        directory: data.records(),
        sample_per_s: f64::from(options.records_per_s),
        keep_ms: u64::from(options.records_days) * DAY_MS,
        keep_bytes_max: options.records_mb << 20,
    };
    let (store, runtime) = (store.clone(), Handle::current());
    // What an earlier process left is brought to the disk first.
    let start = move || match files.split_first() {
        Some((own, left)) => Keeper::start(config, own, left, &store, runtime, watch),
        None => Err(std::io::Error::other("other processes have all the memory for them")),
    };
    let keeper = tokio::task::spawn_blocking(start).await??;
    // What was left by others is taken over; their memory is free for the next.
    memory.truncate(1);
    Ok(Keeping { keeper, _memory: memory })
}
