//! What turned out to be true of predictions, and how good they were: the verbs `feedback` and
//! `quality`.

use clap::{Args, ValueEnum};

#[derive(Args)]
pub struct FeedbackOptions {
    /// [project/]model
    pub model: String,
    /// A file of .json, .jsonl, .csv or .parquet, or - for standard input
    pub file: String,
    /// The column that has the values of a key and is its name: customer for keys customer=42
    #[arg(long, value_name = "COLUMN")]
    pub key: Option<String>,
    /// The column that has the truth [default: the one of [truth], `truth`, or an output's name]
    #[arg(long, value_name = "COLUMN")]
    pub truth: Option<String>,
    /// What the file is [default: by its name; JSON on standard input]
    #[arg(long, value_enum)]
    pub format: Option<FeedbackFormat>,
}

/// As what feedback is read.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FeedbackFormat {
    Json,
    Jsonl,
    Csv,
    Parquet,
}

#[derive(Args)]
pub struct QualityOptions {
    /// [project/]model
    pub model: String,
    /// Predictions of the last so long
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: String,
    /// How long a window is
    #[arg(long, value_enum, default_value = "all")]
    pub by: QualityStep,
    /// Only one environment
    #[arg(long)]
    pub env: Option<String>,
}

/// How long a window of quality is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QualityStep {
    All,
    Day,
    Hour,
}

impl QualityStep {
    /// As the server names it.
    pub fn as_str(self) -> &'static str {
        match self {
            QualityStep::All => "all",
            QualityStep::Day => "day",
            QualityStep::Hour => "hour",
        }
    }
}
