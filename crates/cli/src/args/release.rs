//! What goes live, and how its traffic moves: the options of `deploy`, `release` and `promote`.

use clap::Args;

use super::SourceOptions;

#[derive(Args)]
pub struct DeployOptions {
    #[command(flatten)]
    pub source: SourceOptions,
    /// The environment: production, staging, or any other name
    #[arg(long, default_value = "production")]
    pub env: String,
    #[command(flatten)]
    pub plan: PlanOptions,
    /// Return once the version is pushed
    #[arg(long)]
    pub detach: bool,
}

/// How traffic moves.
#[derive(Args, Default)]
pub struct PlanOptions {
    /// Shares of the traffic one after the other, in percent
    #[arg(long, value_name = "5,25,50")]
    pub canary: Option<String>,
    /// The shortest time of each step: 90s, 2m, 1h
    #[arg(long, value_name = "TIME")]
    pub every: Option<String>,
    /// A condition to meet: errors<1%, p99<50ms, p99<1.2x, errors<baseline+0.5%, disagreement<2%
    #[arg(long = "guard", value_name = "GUARD")]
    pub guards: Vec<String>,
    /// Send copies of this share of the requests first, and compare the answers
    #[arg(long, value_name = "20%")]
    pub shadow: Option<String>,
    /// Ask the new version the last so many recorded requests first, beside the live one: 1 to 5000
    #[arg(long, value_name = "5000")]
    pub rehearse: Option<u32>,
    /// Callers with the same value of this header get the same version throughout
    #[arg(long, value_name = "HEADER")]
    pub sticky: Option<String>,
    /// Release even if it breaks callers of the live version
    #[arg(long)]
    pub breaking: bool,
    /// Go live even if the model does not answer a made-up row; test cases still count
    #[arg(long)]
    pub untested: bool,
}

#[derive(Args)]
pub struct ReleaseOptions {
    /// [project/]model[@environment]@vN, or status, pause, resume, abort
    pub what: String,
    /// The model, after status, pause, resume or abort
    pub model: Option<String>,
    /// The environment [default: production]
    #[arg(long)]
    pub env: Option<String>,
    #[command(flatten)]
    pub plan: PlanOptions,
    /// Return without waiting for the release
    #[arg(long)]
    pub detach: bool,
}
