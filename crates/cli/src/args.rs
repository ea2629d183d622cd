//! What can be typed. Help teaches by example.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use domain::manifest::Runtime;

mod access;
mod alarms;
mod audit;
mod compare;
mod develop;
mod internal;
mod lineage;
mod otlp;
mod release;
mod sql;
mod trust;
mod truth;
mod up;
mod variables;
mod watch;

pub use access::{
    AuthVerb, CredentialOptions, EnvironmentOf, EraseVerb, KindOptions, LimitOptions, LoginOptions,
    MemberVerb, PlaceOptions, ProposalOptions, TokenVerb,
};
pub use alarms::{AlarmOptions, AlarmsVerb, AlertVerb, SilenceOptions};
pub use audit::{AuditVerb, ExportFormat, LedgerVerb};
pub use compare::{BisectMetric, BisectOptions, CompareVerb, DiffOptions};
pub use develop::{DevOptions, DevelopVerb, SourceOptions, TestOptions, WatchOptions};
pub use internal::{InternalVerb, SandboxVerb, WorkerVerb};
pub use lineage::{LineageOptions, LineageVerb, TraceOptions};
pub use otlp::OtlpOptions;
pub use release::{DeployOptions, PlanOptions, ReleaseOptions};
pub use sql::{AskRecords, AskSql, AskVerb, ReplayOptions, RowsForm};
pub use trust::{SignOptions, TrustVerb};
pub use truth::{FeedbackFormat, FeedbackOptions, QualityOptions};
pub use up::{OidcOptions, RecordOptions, UpOptions};
pub use variables::{EnvVerb, KeyVerb};
pub use watch::{DriftOptions, MetricsBy, MetricsOptions, WatchVerb, WhyMetric, WhyOptions};

/// Takes trained models, in any language, into production and keeps them there.
#[derive(Parser)]
#[command(
    name = "decalog",
    version,
    after_help = "First steps:\n  decalog up                      the platform, in one terminal\n  decalog new hello               a small working model, in another\n  decalog deploy hello            build, test, go live\n  decalog predict hello '{\"name\": \"world\"}'"
)]
pub struct Arguments {
    /// Where the server is [default: the one of decalog login, else http://127.0.0.1:8010]
    #[arg(long, global = true, env = "DECALOG_URL")]
    pub url: Option<String>,
    /// Read the token to ask with from standard input [default: DECALOG_TOKEN, if it is set]
    #[arg(long, global = true, value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    pub token: Option<String>,
    /// Write JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Starts the platform; everything has a default
    #[command(
        aliases = ["start", "serve"],
        after_help = "Examples:\n  decalog up\n  decalog up --data /srv/decalog --listen 127.0.0.1:9000\n  decalog up --data /srv/decalog --takeover      replaces the one that runs"
    )]
    Up(Box<UpOptions>),
    /// Logs in to a server elsewhere by a browser, also one on another machine, or with a token
    #[command(
        after_help = "A server with an authority of its own prints that one's SHA-256 when it starts.\n\nExamples:\n  decalog login https://ml.example.org\n      prints an address and a code to compare, for any browser\n  decalog login https://ml.example.org --token - < token.txt\n  decalog login https://10.0.0.5:8010 --ca-sha256 9f86d081…\n  decalog login https://ml.example.org --github\n      in a workflow of GitHub with `id-token: write`\n  echo $ID_TOKEN | decalog login https://ml.example.org --id-token -\n      in a job of GitLab"
    )]
    Login(LoginOptions),
    /// Opens the pages of the server in a browser, by a link that logs it in once
    #[command(after_help = "Examples:\n  decalog dashboard\n  decalog dashboard --print")]
    Dashboard {
        /// Only print the link; it is good for a minute
        #[arg(long)]
        print: bool,
    },
    /// Ends the login, and forgets a server and its token
    #[command(after_help = "Example:\n  decalog logout https://ml.example.org")]
    Logout {
        /// Its address [default: the server that commands go to]
        #[arg(value_name = "URL")]
        address: Option<String>,
    },
    /// Writes a small working model directory
    #[command(
        alias = "init",
        after_help = "Examples:\n  decalog new hello\n  decalog new digits --runtime onnx\n  decalog new anything --runtime command"
    )]
    New {
        /// Its name, also of the directory
        name: String,
        /// python, onnx or command
        #[arg(long, default_value = "python", value_parser = runtimes())]
        runtime: Runtime,
    },
    /// Prints what Decalog infers from a model directory
    #[command(
        after_help = "Modules that the model imports and none of its packages brings are named, with the package to add.\n\nExamples:\n  decalog check\n  decalog check churn --fix\n  decalog check churn --json"
    )]
    Check {
        /// The model directory
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Write packages that are missing into requirements.txt, in the versions that are installed here
        #[arg(long)]
        fix: bool,
    },
    /// Pushes a model directory, builds, tests, and takes it live
    #[command(
        after_help = "Examples:\n  decalog deploy\n  decalog deploy churn\n  decalog deploy . --name churn --project team\n  decalog deploy . --env staging\n  decalog deploy . --canary 5,25,50 --guard 'errors<1%'"
    )]
    Deploy(DeployOptions),
    /// Signs a model directory: writes model.sig, which every push checks
    #[command(
        after_help = "The format is that of OpenSSF Model Signing: `model_signing verify key . --signature model.sig --public_key PUB.pem` checks it, too.\n\nExamples:\n  openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem\n  openssl ec -in KEY.pem -pubout -out PUB.pem\n  decalog sign . --key KEY.pem"
    )]
    Sign(SignOptions),
    #[command(flatten)]
    Develop(DevelopVerb),
    /// Moves a model's traffic to a version, at once or step by step
    #[command(
        after_help = "A canary gets a growing share of the traffic, and is rolled back if it breaks a guard. Without --guard it must\nnot have more errors or a longer tail than the live version. A shadow gets copies of requests, and its answers are compared.\nA rehearsal asks recorded requests before any caller gets an answer, and judges the same guards on them.\n\nExamples:\n  decalog release churn@v3                                  all at once; the version may be an earlier one\n  decalog release churn@v4 --canary 5,25,50 --every 2m --guard 'errors<1%' --guard 'p99<50ms'\n  decalog release churn@v4 --shadow 20%\n  decalog release churn@v5 --rehearse 5000\n  decalog release churn@v5 --rehearse 1000 --guard 'disagreement<1%' --canary 5,25,50\n  decalog release status churn\n  decalog release pause churn\n  decalog release resume churn\n  decalog release abort churn"
    )]
    Release(ReleaseOptions),
    /// Releases the version that is live in one environment in another, without building it again
    #[command(
        after_help = "Examples:\n  decalog promote churn staging production\n  decalog promote churn staging production --canary 10,50"
    )]
    Promote {
        /// [project/]model
        model: String,
        /// The environment in which it is live
        from: String,
        /// The environment to release it in
        to: String,
        #[command(flatten)]
        plan: PlanOptions,
        /// Return without waiting for the release
        #[arg(long)]
        detach: bool,
    },
    #[command(flatten)]
    Watch(WatchVerb),
    /// Goes back to the version that was live before, or ends a release that is under way
    #[command(
        after_help = "Examples:\n  decalog rollback churn\n  decalog rollback churn --env staging"
    )]
    Rollback {
        /// [project/]model
        model: String,
        /// The environment [default: production]
        #[arg(long)]
        env: Option<String>,
    },
    /// Asks a model for a prediction
    #[command(
        after_help = "Examples:\n  decalog predict churn '{\"age\": 42, \"city\": \"Utrecht\"}'\n  decalog predict churn age=42 city=Utrecht\n  decalog predict ocr image=@scan.png\n  decalog predict churn @row.json\n  cat row.json | decalog predict churn -\n  decalog predict churn@v2 --rows people.csv\n  decalog predict churn people.csv --csv > scored.csv"
    )]
    Predict {
        /// [project/]model[@environment][@vN]
        reference: String,
        /// A row in JSON, @FILE, - for standard input, or a file that ends in .csv or .tsv; or the
        /// columns of a row, COLUMN=VALUE or COLUMN=@FILE
        input: Vec<String>,
        /// A CSV file with a line of column names; without a name, the input is one
        #[arg(long, value_name = "FILE")]
        rows: Option<Option<PathBuf>>,
        /// Write CSV: the columns of the file, and beside them what the model answered
        #[arg(long)]
        csv: bool,
    },
    /// Says what turned out to be true of predictions, by the ids of requests or by a key
    #[command(
        after_help = "Each line has `id` (and `row`, from 0) or `key`, the truth, and `at` if it is known since when.\nA later line corrects an earlier one; sending a file again changes nothing.\n\nExamples:\n  decalog feedback churn truth.parquet\n  decalog feedback churn left.csv --key customer --truth left\n  echo '{\"id\": \"0199a3f2-…\", \"truth\": \"stayed\"}' | decalog feedback churn -"
    )]
    Feedback(FeedbackOptions),
    /// Shows how good a model's predictions were, as far as their truth is known
    #[command(
        after_help = "Examples:\n  decalog quality churn\n  decalog quality churn --since 7d --by day\n  decalog quality churn --json | jq '.windows[].numbers'"
    )]
    Quality(QualityOptions),
    /// Lists all models
    #[command(aliases = ["list", "models"], after_help = "Examples:\n  decalog ls\n  decalog ls --json | jq '.models[].name'")]
    Ls {
        /// Only those of a project
        #[arg(long)]
        project: Option<String>,
    },
    /// Shows one model: versions, replicas, schema
    #[command(
        after_help = "Examples:\n  decalog show churn\n  decalog show churn --schema\n  decalog show churn --row > row.json"
    )]
    Show {
        /// [project/]model
        model: String,
        /// Only the columns of the live version
        #[arg(long)]
        schema: bool,
        /// Only a row that it takes, made up from its columns
        #[arg(long, conflicts_with = "schema")]
        row: bool,
    },
    /// Prints what a model's processes printed, and how they ended
    #[command(
        after_help = "On a terminal each line has its time, version and process; a pipe gets what was printed.\n\nExamples:\n  decalog logs churn\n  decalog logs churn@v3 -f\n  decalog logs churn --json | jq -r 'select(.level == \"error\") | .text'"
    )]
    Logs {
        /// [project/]model[@vN]
        model: String,
        /// Keep printing as more arrives
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines
        #[arg(long, default_value_t = 200)]
        lines: usize,
    },
    /// Prints what happened: entries of the ledger, and 90 days of what load and processes did
    #[command(
        after_help = "Examples:\n  decalog events\n  decalog events churn -f\n  decalog events churn --kind scale,release"
    )]
    Events {
        /// [project/]model
        model: Option<String>,
        /// Only these kinds: release, scale, version, replica, variable, writer, or a kind of event
        #[arg(long)]
        kind: Option<String>,
        /// Keep printing as more arrives
        #[arg(short, long)]
        follow: bool,
        /// Only what came after this entry, or this place (12.7)
        #[arg(long, default_value_t)]
        after: domain::After,
    },
    #[command(flatten)]
    Ask(AskVerb),
    #[command(flatten)]
    Compare(CompareVerb),
    #[command(flatten)]
    Lineage(LineageVerb),
    #[command(flatten)]
    Alarms(AlarmsVerb),
    /// Removes a model with all its versions, or one version that is not in use
    #[command(
        aliases = ["remove", "delete"],
        after_help = "What is live is removed only if somebody says so.\n\nExamples:\n  decalog rm churn\n  decalog rm churn --yes\n  decalog rm churn@v2"
    )]
    Rm {
        /// [project/]model[@vN]
        model: String,
        /// Also if it is live, without asking
        #[arg(short, long)]
        yes: bool,
    },
    /// Variables and secrets of models
    #[command(
        after_help = "Examples:\n  decalog env set LEVEL=3 --model churn\n  decalog env ls --model churn\n  decalog env unset LEVEL --model churn"
    )]
    Env {
        #[command(subcommand)]
        verb: EnvVerb,
    },
    /// Keys that wrap secrets
    #[command(after_help = "Examples:\n  decalog key ls\n  decalog key rotate")]
    Key {
        #[command(subcommand)]
        verb: KeyVerb,
    },
    /// Shows the server's version, address, load and ledger
    #[command(
        after_help = "Examples:\n  decalog status\n  decalog status --json | jq .ledger.head"
    )]
    Status,
    /// Says what is missing on this machine, and how to install it
    #[command(after_help = "Example:\n  decalog doctor")]
    Doctor {
        /// The data directory
        #[arg(long)]
        data: Option<PathBuf>,
        /// Reads everything that is stored, and finds what is damaged: takes about a second for a
        /// gigabyte
        #[arg(long)]
        verify: bool,
        /// Where artifacts lie, if `decalog up` has --store
        #[arg(long, value_name = "URL", requires = "verify")]
        store: Option<String>,
    },
    /// What models are kept from, tried
    #[command(
        after_help = "Every attack is first shown to work where nothing is confined.\n\nExamples:\n  decalog sandbox test churn\n  decalog sandbox test churn@v3"
    )]
    Sandbox {
        #[command(subcommand)]
        verb: SandboxVerb,
    },
    /// Replaces the running platform with another binary, without losing a request
    #[command(
        after_help = "The new process gets the options of the old one. If it fails, the old one carries on.\n\nExamples:\n  decalog upgrade                          to this binary\n  decalog upgrade --binary ./decalog-0.2"
    )]
    Upgrade {
        /// The new binary [default: this one]
        #[arg(long)]
        binary: Option<PathBuf>,
        /// The data directory of the running platform [default: that of the server at --url]
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Ends the platform of this machine; requests in flight finish first
    #[command(
        after_help = "Models end with it; what is stored stays.\n\nExamples:\n  decalog stop\n  decalog stop --data /srv/decalog"
    )]
    Stop {
        /// The data directory of the running platform [default: that of the server at --url]
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Deletes stored files that no version refers to any more
    #[command(after_help = "Example:\n  decalog gc")]
    Gc,
    /// Writes a backup of everything to a file
    #[command(
        after_help = "The keys of the secrets (DATA/keys, DATA/key) are not in it: keep them elsewhere.\n\nExample:\n  decalog backup monday.tar"
    )]
    Backup {
        /// A new file
        file: PathBuf,
    },
    /// Restores a backup into an empty data directory
    #[command(after_help = "Example:\n  decalog restore monday.tar --data /srv/decalog")]
    Restore {
        /// The backup
        file: PathBuf,
        /// The data directory
        #[arg(long)]
        data: Option<PathBuf>,
        /// Leave tokens valid that were when the backup was made, also those revoked since
        #[arg(long)]
        keep_tokens: bool,
    },
    /// Ends all protections of environments, when too few people are left to approve
    #[command(
        after_help = "For whoever owns the data directory, while no server runs; the ledger says so.\n\nExample:\n  decalog recover --data /srv/decalog"
    )]
    Recover {
        /// The data directory
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Tokens for programs and people
    #[command(
        after_help = "Examples:\n  decalog token create shop --predict fraud/churn --rate 100/s --expires 90d\n  decalog token ls\n  decalog token revoke 3fa9c1d2"
    )]
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Who has which role where
    #[command(
        after_help = "Examples:\n  decalog member add ann --role deployer --project fraud\n  decalog member ls\n  decalog member rm ann"
    )]
    Member {
        #[command(subcommand)]
        verb: MemberVerb,
    },
    /// Keys whose signatures of models count in a project
    #[command(
        after_help = "Examples:\n  decalog trust add PUB.pem --project fraud\n  decalog trust ls --project fraud\n  decalog trust rm 5759d463673d --project fraud\n  decalog env protect production --project fraud --signed"
    )]
    Trust {
        #[command(subcommand)]
        verb: TrustVerb,
    },
    /// Shows who you are to the server, and what you may do
    #[command(after_help = "Example:\n  decalog whoami")]
    Whoami,
    /// Says whether you, or somebody else, may do something, and by which right
    #[command(
        after_help = "Exits with 1 if the answer is no.\n\nExamples:\n  decalog can release churn@production\n  decalog can ann release fraud/churn@staging\n  decalog can ann push 'fraud/*'"
    )]
    Can {
        /// [NAME] ACTION OBJECT
        #[arg(required = true, num_args = 2..=3)]
        words: Vec<String>,
    },
    /// Lists changes that wait for approval
    #[command(after_help = "Examples:\n  decalog proposals\n  decalog proposals 41")]
    Proposals(ProposalOptions),
    /// Agrees to a proposed change; with the last approval it is carried out
    #[command(after_help = "Example:\n  decalog approve 41")]
    Approve {
        /// As decalog proposals shows it
        id: u64,
    },
    /// Ends a proposed change; your own you take back
    #[command(after_help = "Example:\n  decalog reject 41 --why 'not on a Friday'")]
    Reject {
        /// As decalog proposals shows it
        id: u64,
        /// Why; it stays in the ledger
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Whether predictions from this machine need a token
    #[command(after_help = "Examples:\n  decalog auth require\n  decalog auth open")]
    Auth {
        #[command(subcommand)]
        verb: AuthVerb,
    },
    /// Erases a person's name or the records of a key for ever, without a change to the ledger
    #[command(
        after_help = "Examples:\n  decalog erase person ann\n  decalog erase key customer=42"
    )]
    Erase {
        #[command(subcommand)]
        verb: EraseVerb,
    },
    /// The append-only log
    #[command(after_help = "Example:\n  decalog ledger verify")]
    Ledger {
        #[command(subcommand)]
        verb: LedgerVerb,
    },
    /// What the ledger proves to others: checkpoints, receipts, witnesses; and all of it for elsewhere
    #[command(
        after_help = "Examples:\n  decalog audit checkpoint > today.checkpoint\n  decalog audit prove 4711 --out release.tlog-proof\n  decalog audit verify release.tlog-proof --key ledger.pub\n  decalog audit export --format ocsf --cursor cursor >> decalog.ocsf\n  decalog audit witness ~/decalog.witness"
    )]
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
    #[command(flatten)]
    Internal(InternalVerb),
}

impl Verb {
    /// Whether its output is all that it is for: without a reader it may end. The others serve
    /// somebody.
    pub fn prints(&self) -> bool {
        match self {
            Verb::Up(_) => false,
            Verb::Internal(verb) => verb.prints(),
            _ => true,
        }
    }
}

#[derive(Args)]
pub struct Scope {
    /// Only for this model
    #[arg(long)]
    pub model: Option<String>,
    /// The project
    #[arg(long, default_value = "default")]
    pub project: String,
    /// The environment
    #[arg(long, default_value = "production")]
    pub env: String,
}

/// A runtime by its name in a manifest.
fn runtimes() -> impl TypedValueParser<Value = Runtime> {
    let names = PossibleValuesParser::new(Runtime::ALL.map(Runtime::as_str));
    names.try_map(|name| {
        Runtime::ALL.into_iter().find(|runtime| runtime.as_str() == name).ok_or("no runtime")
    })
}
