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
    /// Says why a number changed: which release, caller, column or replica accounts for how much
    #[command(
        after_help = "Without --metric and --at it is about what an open alarm tells of, else about whichever number changed\nlately. A cause has its share of the change, its numbers and the next command; what was ruled out is\nsaid, too. If nothing changed beyond noise, the smallest change is said that would have been seen.\n\nExamples:\n  decalog why churn\n  decalog why churn --at 14:05 --metric latency\n  decalog why churn@staging --at 3h --json\n  decalog why prediction 0199a3f2-5c1e     one answer: its way, and what of it was unusual"
    )]
    Why(WhyOptions),
}

#[derive(Args)]
pub struct WhyOptions {
    /// [project/]model[@environment], or the word prediction
    pub model: String,
    /// With prediction: the id of a request, or how it begins
    #[arg(conflicts_with_all = ["at", "metric"])]
    pub id: Option<String>,
    /// About when it changed: 14:05, so long ago (20m, 3h), a date, or 2026-11-01T14:05:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Which number [default: that of an open alarm, else whichever changed]
    #[arg(long, value_enum)]
    pub metric: Option<WhyMetric>,
}

/// A number that can be asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum WhyMetric {
    /// Requests that fail
    Errors,
    /// How long requests take; p99 is the same
    #[value(alias = "p99")]
    Latency,
    /// How wrong predictions are, by their truth
    Accuracy,
    /// How inputs and outputs are distributed
    Drift,
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
