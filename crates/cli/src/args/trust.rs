//! Signatures of models, and the keys that are trusted.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args)]
pub struct SignOptions {
    /// The model directory
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The private key: a PEM file with an ECDSA key of P-256, P-384 or P-521, without a password
    #[arg(long, value_name = "KEY.pem")]
    pub key: PathBuf,
}

#[derive(Subcommand)]
pub enum TrustVerb {
    /// Trusts a key, or gives one that is trusted another name
    #[command(
        after_help = "The key is a public one: openssl ec -in KEY.pem -pubout -out PUB.pem\n\nExample:\n  decalog trust add PUB.pem --project fraud --name fraud-team"
    )]
    Add {
        /// The public key: a PEM file with an ECDSA key of P-256, P-384 or P-521
        #[arg(value_name = "PUB.pem")]
        file: PathBuf,
        /// What to call it [default: the name of the file]
        #[arg(long)]
        name: Option<String>,
        /// The project
        #[arg(long, default_value = "default")]
        project: String,
    },
    /// Lists the keys that a project trusts, and where it needs their signatures
    Ls {
        /// The project
        #[arg(long, default_value = "default")]
        project: String,
    },
    /// Takes the trust in a key away: for the next release, and for the next start of a replica
    #[command(after_help = "Example:\n  decalog trust rm 5759d463673d --project fraud")]
    Rm {
        /// Its id, as decalog trust ls shows it, or its name
        key: String,
        /// The project
        #[arg(long, default_value = "default")]
        project: String,
    },
}
