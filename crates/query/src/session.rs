//! What a query is planned and run in: two tables, the functions of a list, memory of its own, and
//! nothing else. No file can be named, no temporary file is written.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use url::Url;

use crate::functions;
use crate::limits::Limits;

/// Rows that are computed with at once.
pub const BATCH_ROWS: usize = 4_096;
/// A sort keeps so many bytes to merge what it has sorted.
const SORT_BYTES: usize = 4 << 20;

/// A session for one query.
pub fn open(limits: &Limits, url: &Url, objects: Arc<dyn ObjectStore>) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory_bytes_max)))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()?;
    runtime.register_object_store(url, objects);
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(limits.threads)
        .with_information_schema(false)
        .with_sort_spill_reservation_bytes(SORT_BYTES);
    let options = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.collect_statistics = false;
    options.execution.planning_concurrency = 1;
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_scalar_functions(functions::scalar())
        .with_aggregate_functions(functions::aggregate())
        .with_window_functions(functions::window())
        .with_expr_planners(functions::planners())
        .build();
    Ok(SessionContext::new_with_state(state))
}
