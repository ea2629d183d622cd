//! Who may do what: tokens, members, rights.

use clap::{Args, Subcommand};
use domain::{ModelName, ProjectName};

#[derive(Subcommand)]
pub enum TokenVerb {
    /// Makes a token and prints it, this once
    #[command(
        after_help = "A name that nobody has becomes a service, which may ask the models that are named.\nScopes: predict:PROJECT/MODEL[@ENV], read, operate, deploy, secrets, records, audit, admin.\nWhat a token can do is what its scopes and its owner's roles both allow, at every request.\n\nExamples:\n  decalog token create shop --predict fraud/churn --rate 100/s --expires 90d\n  decalog token create ci --scope deploy --scope read --expires 30d\n  decalog token create --scope read                    for yourself"
    )]
    Create {
        /// Whose it is: a person or a service [default: you]
        owner: Option<String>,
        /// A model that may be asked, as PROJECT/MODEL[@ENVIRONMENT], or * for any; repeatable
        #[arg(long, value_name = "MODEL")]
        predict: Vec<String>,
        /// Something else that it may be used for; repeatable
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        #[command(flatten)]
        limits: LimitOptions,
        /// For how long it is valid, as 90d or 12h [default: for ever]
        #[arg(long, value_name = "90d")]
        expires: Option<String>,
    },
    /// Lists tokens: yours, and those of whom you may make some for
    Ls,
    /// Gives a token another text and prints it; that of before stays valid for a time
    #[command(after_help = "Example:\n  decalog token rotate 3fa9c1d2 --overlap 24h")]
    Rotate {
        /// As decalog token ls shows it
        id: String,
        /// For how long the text of before stays valid
        #[arg(long, value_name = "24h", default_value = "0s")]
        overlap: String,
    },
    /// Ends a token, also for requests that are on their way
    #[command(after_help = "Example:\n  decalog token revoke 3fa9c1d2")]
    Revoke {
        /// As decalog token ls shows it
        id: String,
    },
}

#[derive(Args)]
pub struct LimitOptions {
    /// How many requests in the long run, as 100/s, 5000/d
    #[arg(long, value_name = "100/s")]
    pub rate: Option<String>,
    /// How many may come at once after a pause [default: those of a second]
    #[arg(long, value_name = "N")]
    pub burst: Option<u32>,
    /// How many may be on their way at the same time
    #[arg(long, value_name = "N")]
    pub concurrent: Option<u32>,
    /// How many rows may be asked on a day, by UTC
    #[arg(long, value_name = "N")]
    pub rows_per_day: Option<u64>,
}

#[derive(Subcommand)]
pub enum MemberVerb {
    /// Gives somebody a role, in place of the one that they had there
    #[command(
        after_help = "Roles: viewer looks and asks models, operator keeps them running, deployer pushes and releases,\nowner decides who may do what. Each may do what those before it may.\n\nExamples:\n  decalog member add ann --role deployer --project fraud\n  decalog member add ann --role operator --project fraud --env production\n  decalog member add ci --service --role deployer --project fraud\n  decalog member add ml-team --group --role viewer\n  decalog member add deploy-fraud --job --issuer https://token.actions.githubusercontent.com \\\n      --claim repository_id=4711 --claim environment=production --role deployer --project fraud\n  decalog member add edge-7 --certificate uri:spiffe://example.org/edge-7 --role viewer --project fraud"
    )]
    Add {
        /// Their name
        name: String,
        /// viewer, operator, deployer or owner
        #[arg(long)]
        role: String,
        #[command(flatten)]
        place: PlaceOptions,
        #[command(flatten)]
        kind: KindOptions,
        #[command(flatten)]
        credential: CredentialOptions,
    },
    /// Lists everybody with a role in what you decide about
    Ls,
    /// Takes a role away; without a place all of them, and all tokens
    #[command(
        after_help = "Examples:\n  decalog member rm ann\n  decalog member rm ann --project fraud"
    )]
    Rm {
        /// Their name
        name: String,
        #[command(flatten)]
        place: PlaceOptions,
        #[command(flatten)]
        kind: KindOptions,
    },
}

#[derive(Args)]
pub struct CredentialOptions {
    /// It is a job of another platform, known by the tokens that it gets there
    #[arg(long, conflicts_with_all = ["person", "service", "group"])]
    pub job: bool,
    /// Who signs these tokens
    #[arg(long, value_name = "URL", requires = "job")]
    pub issuer: Option<String>,
    /// What they must say, as repository_id=4711; repeatable
    #[arg(long = "claim", value_name = "NAME=VALUE", requires = "job")]
    pub claims: Vec<String>,
    /// It is whoever shows a client certificate with this name: dns:HOST or uri:URI
    #[arg(long, value_name = "NAME", conflicts_with_all = ["person", "service", "group", "job"])]
    pub certificate: Option<String>,
}

#[derive(Args)]
pub struct LoginOptions {
    /// https://HOST[:PORT]
    #[arg(value_name = "URL")]
    pub address: String,
    /// The SHA-256 of the server's authority, as `decalog up` prints it there
    #[arg(long, value_name = "HEX")]
    pub ca_sha256: Option<domain::Digest>,
    /// Exchange the token of a job's platform, read from standard input
    #[arg(long, value_name = "-", value_parser = ["-"], hide_possible_values = true,
          conflicts_with = "token")]
    pub id_token: Option<String>,
    /// Exchange the token of this workflow of GitHub Actions
    #[arg(long, conflicts_with_all = ["token", "id_token"])]
    pub github: bool,
}

#[derive(Args)]
#[group(multiple = false)]
pub struct KindOptions {
    /// It is a person
    #[arg(long)]
    pub person: bool,
    /// It is a program, not a person
    #[arg(long)]
    pub service: bool,
    /// It is a group of the identity provider
    #[arg(long)]
    pub group: bool,
}

#[derive(Args)]
pub struct PlaceOptions {
    /// Only in this project [default: in all]
    #[arg(long)]
    pub project: Option<String>,
    /// Only in this environment of it
    #[arg(long, requires = "project")]
    pub env: Option<String>,
}

#[derive(Args)]
pub struct ProposalOptions {
    /// Only this one, in full
    pub id: Option<u64>,
    /// Also those that are over
    #[arg(long)]
    pub all: bool,
}

#[derive(Args)]
pub struct EnvironmentOf {
    /// The environment
    pub env: String,
    /// Its project
    #[arg(long, default_value = "default")]
    pub project: String,
}

#[derive(Subcommand)]
pub enum AuthVerb {
    /// Predictions need a token, also from this machine
    Require,
    /// Predictions from this machine need no token
    Open,
}

#[derive(Subcommand)]
pub enum EraseVerb {
    /// Removes a person, and forgets their name for ever; what they did stays, under a number
    Person {
        /// Their name
        name: String,
    },
    /// Erases the records of a key: rows that callers named so, and rows with this input or output
    #[command(
        after_help = "Examples:\n  decalog erase key customer=42\n  decalog erase key customer=42 --project shop --model churn"
    )]
    Key {
        /// As callers name it in the header `Decalog-Key`
        #[arg(value_name = "NAME=VALUE")]
        key: String,
        /// Of which project
        #[arg(long, default_value_t)]
        project: ProjectName,
        /// Of this model only
        #[arg(long)]
        model: Option<ModelName>,
    },
}
