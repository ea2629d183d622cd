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
