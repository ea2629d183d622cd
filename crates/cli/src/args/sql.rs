//! What is asked about records of requests: the options of `records` and `sql`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Whoever asks about records.
#[derive(Subcommand)]
pub enum AskVerb {
    /// Shows what was asked of a model and what it answered, newest first
    Records(AskRecords),
    /// Asks about records of requests in SQL
    Sql(AskSql),
    /// Asks recorded requests again, off the traffic, and compares the answers bit by bit
    Replay(ReplayOptions),
}

#[derive(Args)]
#[command(
    after_help = "Columns are those of docs/querying.md, and the model's own: in.city and out.leave, or city and leave where that is\nclear. What was answered less than a second ago may be waited for.\n\nExamples:\n  decalog records churn                                            the last 20\n  decalog records churn --since 1h --where 'status != 200'\n  decalog records churn --key customer=42 --json\n  decalog records churn --id 019ab1c2-3d4e\n  decalog records churn --since 2026-11-01 --parquet november.parquet"
)]
pub struct AskRecords {
    /// [project/]model
    pub model: String,
    /// Answered since then: so long ago (90s, 1h, 30d), a date, or 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Answered before then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only rows for which this SQL expression is true
    #[arg(long = "where", value_name = "EXPR")]
    pub condition: Option<String>,
    /// Only what a caller sent with this Decalog-Key
    #[arg(long)]
    pub key: Option<String>,
    /// Only requests of this W3C trace
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// Only the request with this id, or those whose ids begin so
    #[arg(long, value_name = "PREFIX")]
    pub id: Option<String>,
    /// The most rows, newest first [default: 20, and all that one answer may have in other forms]
    #[arg(short = 'n', long, value_name = "ROWS")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub form: RowsForm,
}

#[derive(Args)]
#[command(
    after_help = "Tables: records (a row for each row of a request) and gaps (what was lost). Quote names with capitals: \"in.Age\".\nNaming the model makes it quick, and its columns are then only its own.\n\nExamples:\n  decalog sql \"select city, avg(leave) from records where model = 'churn' group by city\"\n  decalog sql \"select version, count(*), approx_percentile_cont(0.99) within group (order by total_us)\n               from records where model = 'churn' and time > now() - interval '1 hour' group by version\"\n  decalog sql \"describe records\"\n  decalog sql \"select * from records where model = 'churn'\" --parquet churn.parquet"
)]
pub struct AskSql {
    /// One select; - reads it from standard input
    pub sql: String,
    #[command(flatten)]
    pub form: RowsForm,
}

#[derive(Args)]
#[command(
    after_help = "Each request is asked of the version that answered it, at its place in a batch of the size that it was in.\nNothing of it is recorded or counted.\n\nExamples:\n  decalog replay 0199a3f2-5c1e-7d08-9f7e-3b1c8e2a4d11\n  decalog replay 0199a3f2-5c1e --on churn@v5              how another version answers\n  decalog replay churn --last 100\n  decalog replay churn@v4 --last 1000 --json | jq '.results[] | select(.outcome == \"different\")'"
)]
pub struct ReplayOptions {
    /// Ids of requests, or how they begin; with --last [project/]model[@vN][@environment]
    #[arg(required = true, value_name = "ID")]
    pub what: Vec<String>,
    /// The last requests of a model that were answered, so many (at most 1,000)
    #[arg(long, value_name = "COUNT")]
    pub last: Option<usize>,
    /// Ask this version instead: [project/]model@vN, or vN
    #[arg(long, value_name = "VERSION")]
    pub on: Option<String>,
}

/// How rows are given, where not as a table.
#[derive(Args, Clone)]
pub struct RowsForm {
    /// As CSV
    #[arg(long, conflicts_with_all = ["parquet", "json"])]
    pub csv: bool,
    /// As a Parquet file
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub parquet: Option<PathBuf>,
}
