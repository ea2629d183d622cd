//! Variables, secrets, and the keys that wrap them.

use clap::Subcommand;

use super::{EnvironmentOf, Scope};

#[derive(Subcommand)]
pub enum EnvVerb {
    /// Sets a variable; a secret's value is read from standard input
    #[command(
        after_help = "Examples:\n  decalog env set LEVEL=3 --model churn\n  decalog env set TOKEN --secret < token.txt\n  decalog env set PASSWORD=vault:kv/data/churn#password --reference"
    )]
    Set {
        /// NAME=VALUE, or NAME and the value on standard input
        setting: String,
        /// Keep the value encrypted, and never show it
        #[arg(long)]
        secret: bool,
        /// The value only says where the secret is in the server's vault
        #[arg(long, conflicts_with = "secret")]
        reference: bool,
        /// The model is not there yet: it is deployed later
        #[arg(long, requires = "model")]
        ahead: bool,
        #[command(flatten)]
        of: Scope,
    },
    /// Lists variables and names of secrets
    Ls {
        #[command(flatten)]
        of: Scope,
    },
    /// Changes of the environment need others to agree, or versions a signature
    #[command(
        after_help = "Releases, variables, secrets, limits and rights of it become proposals; a rollback needs none.\nWith --signed, only versions go live there that are signed by a key which the project trusts (decalog trust);\nthat is asked of every release, rollbacks too, and of every start of a replica.\n\nExamples:\n  decalog env protect production --approvals 1\n  decalog env protect production --signed"
    )]
    Protect {
        #[command(flatten)]
        of: EnvironmentOf,
        /// How many people beside the one who proposes a change [default: 1]
        #[arg(long)]
        approvals: Option<u32>,
        /// Versions must be signed
        #[arg(long, conflicts_with = "approvals")]
        signed: bool,
    },
    /// Changes of the environment need nobody else any more
    Unprotect {
        #[command(flatten)]
        of: EnvironmentOf,
        /// Versions need no signature any more; approvals stay as they are
        #[arg(long)]
        signed: bool,
    },
    /// Removes a variable or a secret
    Unset {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Scope,
    },
}

#[derive(Subcommand)]
pub enum KeyVerb {
    /// Wraps all secrets with a new key, and deletes those that nothing needs any more
    #[command(
        after_help = "Nothing restarts, and secrets keep their values. A backup made before needs the keys of its time.\n\nExamples:\n  decalog key rotate\n  decalog key rotate --keep-old"
    )]
    Rotate {
        /// Keep old keys, for older backups
        #[arg(long)]
        keep_old: bool,
    },
    /// Lists keys, and how many secrets each wraps
    Ls,
}
