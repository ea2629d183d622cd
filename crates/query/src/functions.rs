//! The functions that a query may call. None reads anything else, and none makes a long text or a
//! long list of a short one.

use std::sync::Arc;

use datafusion::functions::{core, datetime, math, regex, string, unicode};
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::functions_window::all_default_window_functions;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

/// Of those for texts and times, and those that need no group of their own.
const NAMES: &[&str] = &[
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "coalesce",
    "contains",
    "current_date",
    "date_bin",
    "date_part",
    "date_trunc",
    "ends_with",
    "from_unixtime",
    "greatest",
    "initcap",
    "least",
    "left",
    "levenshtein",
    "lower",
    "ltrim",
    "make_date",
    "now",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "to_date",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_seconds",
    "to_unixtime",
    "upper",
];
/// They keep every value, as one list or one text.
const LISTS: &[&str] = &["array_agg", "string_agg"];

/// Of one row.
pub fn scalar() -> Vec<Arc<ScalarUDF>> {
    let groups = [
        core::functions(),
        datetime::functions(),
        regex::functions(),
        string::functions(),
        unicode::functions(),
    ];
    let named = groups.into_iter().flatten().filter(|known| NAMES.contains(&known.name()));
    let own = std::iter::once(Arc::new(crate::concat::function()));
    named.chain(math::functions()).chain(own).collect()
}

/// Of many rows.
pub fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let all = all_default_aggregate_functions().into_iter();
    all.filter(|known| !LISTS.contains(&known.name())).collect()
}

/// Of a row among others.
pub fn window() -> Vec<Arc<WindowUDF>> {
    all_default_window_functions()
}

/// What gives the syntax of SQL its functions: `extract`, `substring`, `count(*)`.
pub fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(datetime::planner::DatetimeFunctionPlanner),
        Arc::new(unicode::planner::UnicodeFunctionPlanner),
        Arc::new(datafusion::functions_aggregate::planner::AggregateFunctionPlanner),
        Arc::new(datafusion::functions_window::planner::WindowFunctionPlanner),
    ]
}
