//! What is asked about how models do.

use clap::{Args, Subcommand};

/// The verbs that tell how models do.
#[derive(Subcommand)]
pub enum WatchVerb {
    /// Shows how inputs and outputs compare with what is usual
    #[command(
        after_help = "Values of the last day are compared with the file that [data] reference names, or without one, with\nthe version's own first day. A change is a notice: it says nothing of harm. Whether there is any is\nin decalog quality.\n\nExamples:\n  decalog drift churn\n  decalog drift churn --column age        with the distribution, and what other tools call it"
    )]
    Drift(DriftOptions),
}

#[derive(Args)]
pub struct DriftOptions {
    /// [project/]model[@environment]
    pub model: String,
    /// One column, with its distribution
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
}
