//! What is asked about two versions: how they differ, and which one between them went wrong.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use domain::quality::QualityMetric;

/// The verbs that compare versions.
#[derive(Subcommand)]
pub enum CompareVerb {
    /// Shows what differs between two versions: code, packages, columns, data, metrics, answers
    #[command(
        after_help = "With --replay both are asked what recorded requests asked, on replicas of their own.\n\nExamples:\n  decalog diff churn@v3 churn@v4\n  decalog diff churn@v3 v4 --replay 1000      what they answer to the last thousand requests\n  decalog diff churn@staging@v3 v4 --json"
    )]
    Diff(DiffOptions),
    /// Finds the first version that is bad, by asking as few of those between two as can be
    #[command(
        after_help = "A version that is tried is built if need be, started beside the traffic, and asked the same rows.\nOne that cannot be started is passed over. Answers are remembered below the cache directory.\n\nExamples:\n  decalog bisect churn --good v10 --bad v42 --data holdout.parquet --metric rmse\n  decalog bisect churn --good v10 --bad v42 --data holdout.csv --truth left\n  decalog bisect churn --good v10 --bad v42 --replay 5000 --metric accuracy\n  decalog bisect churn --good v10 --bad v42 --replay 1000      which answers otherwise than v10"
    )]
    Bisect(BisectOptions),
}

#[derive(Args)]
pub struct DiffOptions {
    /// [project/]model[@environment]@vN of both; of the second vN is enough
    #[arg(num_args = 2..=3, required = true, value_name = "VERSION")]
    pub versions: Vec<String>,
    /// Ask both what the last requests asked, so many (at most 5,000), and compare the answers
    #[arg(long, value_name = "COUNT")]
    pub replay: Option<usize>,
    /// Compare how they were in service for so long: 24h, 30d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: String,
    /// Lines of code that are shown
    #[arg(long, value_name = "COUNT", default_value_t = 60)]
    pub lines: usize,
}

#[derive(Args)]
pub struct BisectOptions {
    /// [project/]model[@environment]
    pub model: String,
    /// A version that is good, as v10
    #[arg(long, value_name = "VERSION")]
    pub good: String,
    /// A later version that is bad, as v42
    #[arg(long, value_name = "VERSION")]
    pub bad: String,
    /// By which number [default: by what the truth looks like; without truth by other answers].
    /// errors counts rows that fail, and needs no truth
    #[arg(long, value_enum)]
    pub metric: Option<BisectMetric>,
    /// Rows to ask: .parquet, .csv, .jsonl or .json, with their truth in a column
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "replay",
        required_unless_present = "replay"
    )]
    pub data: Option<PathBuf>,
    /// The column of the file that has the truth [default: the output's name, or `truth`]
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub truth: Option<String>,
    /// Ask what the last recorded requests asked, so many (at most 5,000)
    #[arg(long, value_name = "COUNT")]
    pub replay: Option<usize>,
    /// The output that is compared; probability[1] is an element of a list
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// Ask anew what is remembered from before
    #[arg(long)]
    pub fresh: bool,
}

/// A number by which a version is good or bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum BisectMetric {
    Rmse,
    Mae,
    Accuracy,
    #[value(name = "log_loss", alias = "log-loss")]
    LogLoss,
    Brier,
    Errors,
}

impl BisectMetric {
    /// As it is measured by the truth; `None` of what needs none.
    pub fn metric(self) -> Option<QualityMetric> {
        Some(match self {
            BisectMetric::Rmse => QualityMetric::Rmse,
            BisectMetric::Mae => QualityMetric::Mae,
            BisectMetric::Accuracy => QualityMetric::Accuracy,
            BisectMetric::LogLoss => QualityMetric::LogLoss,
            BisectMetric::Brier => QualityMetric::Brier,
            BisectMetric::Errors => return None,
        })
    }
}
