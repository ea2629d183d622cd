//! Alarms: the verbs `alarms`, `silence`, `unsilence`, `slo` and `alerts`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Subcommand)]
pub enum AlarmsVerb {
    /// Lists alarms that are open: what, since when, how sure, and the next command
    #[command(
        after_help = "Examples:\n  decalog alarms\n  decalog alarms churn --all\n  decalog alarms -f"
    )]
    Alarms(AlarmOptions),
    /// Tells nobody of an alarm, or of a model's alarms, for a time; they stay listed
    #[command(
        after_help = "Examples:\n  decalog silence 9f31c2 --for 2h --reason 'we are on it'\n  decalog silence churn --for 1d\n  decalog silence churn@staging --for 7d"
    )]
    Silence(SilenceOptions),
    /// Ends silences; what they held back is told
    #[command(after_help = "Examples:\n  decalog unsilence 9f31c2\n  decalog unsilence churn")]
    Unsilence {
        /// An alarm's id, or a model, as it was silenced
        #[arg(value_name = "ID|MODEL")]
        what: String,
    },
    /// Shows a model's service level objectives, and how much of each error budget is left
    #[command(after_help = "Examples:\n  decalog slo churn\n  decalog slo churn --json")]
    Slo {
        /// [project/]model[@environment]
        model: String,
    },
    /// Where alarms go: webhooks, Slack, Alertmanager
    #[command(
        after_help = "Examples:\n  decalog alerts add ops https://hooks.example.org/decalog\n  decalog alerts test ops\n  decalog alerts ls"
    )]
    Alerts {
        #[command(subcommand)]
        verb: AlertVerb,
    },
}

#[derive(Args)]
pub struct AlarmOptions {
    /// [project/]model
    pub model: Option<String>,
    /// Keep printing what changes
    #[arg(short, long)]
    pub follow: bool,
    /// Those, too, that are over
    #[arg(long)]
    pub all: bool,
}

#[derive(Args)]
pub struct SilenceOptions {
    /// An alarm's id, as decalog alarms shows it or how it begins; or [project/]model[@environment]
    #[arg(value_name = "ID|MODEL")]
    pub what: String,
    /// For how long: 30m, 2h, 3d; 30 days at most
    #[arg(long = "for", value_name = "TIME")]
    pub how_long: String,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Subcommand)]
pub enum AlertVerb {
    /// Sends alarms to an address from now on, or to another one than before
    #[command(
        after_help = "A webhook gets JSON, signed as Standard Webhooks has it; the key is shown once. The address is kept like a\nsecret. It must be https, unless it is on this machine or in a private network.\n\nExamples:\n  decalog alerts add ops https://hooks.example.org/decalog\n  decalog alerts add team --slack - < url.txt\n  decalog alerts add am http://localhost:9093 --alertmanager\n  decalog alerts add churn https://hooks.example.org/c --model churn --severity notice"
    )]
    Add {
        /// What it is called
        name: String,
        /// Where messages go; - reads it from standard input
        #[arg(value_name = "URL")]
        address: String,
        /// It takes texts as Slack does
        #[arg(long, conflicts_with = "alertmanager")]
        slack: bool,
        /// It is Prometheus' Alertmanager
        #[arg(long)]
        alertmanager: bool,
        /// Only alarms of this model
        #[arg(long)]
        model: Option<String>,
        /// Only alarms that are so severe, or more
        #[arg(long, value_enum, default_value = "warning")]
        severity: SeverityName,
    },
    /// Lists where alarms go, and what could not be told
    Ls,
    /// Sends no more alarms to somebody
    Rm {
        /// As decalog alerts ls shows it
        name: String,
    },
    /// Sends a made-up alarm, and says whether it was taken
    Test {
        /// As decalog alerts ls shows it
        name: String,
    },
}

/// How soon somebody should look.
#[derive(Clone, Copy, ValueEnum)]
pub enum SeverityName {
    /// Something changed; whether it harms is not known
    Notice,
    /// Harm is likely, or near
    Warning,
    /// Harm is done
    Alert,
}

impl From<SeverityName> for domain::Severity {
    fn from(name: SeverityName) -> domain::Severity {
        match name {
            SeverityName::Notice => domain::Severity::Notice,
            SeverityName::Warning => domain::Severity::Warning,
            SeverityName::Alert => domain::Severity::Alert,
        }
    }
}
