//! What is asked about how models do.

use clap::{Args, Subcommand, ValueEnum};

/// The verbs that tell how models do.
#[derive(Subcommand)]
pub enum WatchVerb {
    /// Shows how inputs and outputs compare with what is usual
    #[command(
        after_help = "Values of the last day are compared with the file that [data] reference names, or without one, with\nthe version's own first day. A change is a notice: it says nothing of harm. Whether there is any is\nin decalog quality.\n\nExamples:\n  decalog drift churn\n  decalog drift churn --column age        with the distribution, and what other tools call it"
    )]
    Drift(DriftOptions),
    /// Shows what columns and requests were like, by version and time
    #[command(
        after_help = "Every row is counted, whether its record is kept or not. Quantiles are within 1.4% of the ranks,\ndistinct values within 3%. Minutes are kept for two days, hours for 60, days for 400.\n\nExamples:\n  decalog metrics churn                            all columns in the last day\n  decalog metrics churn@v3 --since 30d\n  decalog metrics churn --column age --since 6h    by the hour"
    )]
    Metrics(MetricsOptions),
}

#[derive(Args)]
pub struct MetricsOptions {
    /// [project/]model[@environment][@vN]
    pub model: String,
    /// One column, by time
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// How far back: 90m, 6h, 30d
    #[arg(long, value_name = "TIME", default_value = "1d")]
    pub since: String,
    /// A line for each minute, hour or day
    #[arg(long, value_enum)]
    pub by: Option<MetricsBy>,
}

/// What a line is of.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricsBy {
    /// A minute
    Minute,
    /// An hour
    Hour,
    /// A day
    Day,
}

#[derive(Args)]
pub struct DriftOptions {
    /// [project/]model[@environment]
    pub model: String,
    /// One column, with its distribution
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Outputs of slices too: of the rows that have one value in one column
    #[arg(long, conflicts_with = "column")]
    pub slices: bool,
}
