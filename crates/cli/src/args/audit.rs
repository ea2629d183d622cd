//! What the ledger proves to others, and how it is taken elsewhere: the verbs of `audit`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Subcommand)]
pub enum AuditVerb {
    /// Prints the newest signed checkpoint of the ledger, and signs one if entries came since
    #[command(
        after_help = "Keep it where nobody who can write the ledger can write: decalog ledger verify --checkpoint FILE\ntells later whether all its entries are still the same.\n\nExamples:\n  decalog audit checkpoint > 2026-11-26.checkpoint\n  decalog audit checkpoint --json | jq .size"
    )]
    Checkpoint,
    /// Prints the key that checks the signatures of checkpoints and receipts
    #[command(after_help = "Example:\n  decalog audit key > ledger.pub")]
    Key,
    /// Prints a receipt: that an entry is in the ledger, to be checked by anybody, without a server
    #[command(
        after_help = "Examples:\n  decalog audit prove 4711\n  decalog audit prove 4711 --out release.tlog-proof"
    )]
    Prove {
        /// The number of the entry, as decalog events --json names it
        seq: u64,
        /// A new file to write it to
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Checks a receipt, without a server
    #[command(
        after_help = "Examples:\n  decalog audit verify release.tlog-proof --key ledger.pub\n  decalog audit verify release.tlog-proof --key decalog/4f19…+8bacd358+AepK…"
    )]
    Verify {
        /// The receipt
        file: PathBuf,
        /// The ledger's key, or a file with it: decalog audit key
        #[arg(long)]
        key: String,
    },
    /// Prints all entries, a line of JSON each, for a store of logs elsewhere
    #[command(
        after_help = "With --cursor it goes on where it stopped: a line may come twice, none is lost.\n\nExamples:\n  decalog audit export --since 2026-11-01T00:00:00Z > november.jsonl\n  decalog audit export --format ocsf --cursor /var/lib/decalog/cursor >> decalog.ocsf"
    )]
    Export {
        /// Only entries of this time or later
        #[arg(long, value_name = "2026-11-01T00:00:00Z")]
        since: Option<String>,
        /// As they are stored, or as events of OCSF 1.3.0 (API Activity)
        #[arg(long, value_enum, default_value = "jsonl")]
        format: ExportFormat,
        /// A file that remembers the last entry that was written
        #[arg(long, value_name = "FILE")]
        cursor: Option<PathBuf>,
    },
    /// Watches the ledger from elsewhere: signs its newest checkpoint if nothing before was changed
    #[command(
        after_help = "Run it by cron on another machine, as another user. It fails if the ledger was written anew or went back.\n\nExamples:\n  decalog audit witness ~/decalog.witness --url https://ml.example.org\n  decalog audit witness ~/decalog.witness --key ledger.pub          the first time, if the key is known"
    )]
    Witness {
        /// What it remembers: its own key, the ledger's key, and the last checkpoint; made the first time
        file: PathBuf,
        /// The ledger's key, or a file with it [default: what the server says the first time]
        #[arg(long)]
        key: Option<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ExportFormat {
    Jsonl,
    Ocsf,
}

impl ExportFormat {
    /// As the control API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            ExportFormat::Jsonl => "jsonl",
            ExportFormat::Ocsf => "ocsf",
        }
    }
}

#[derive(Subcommand)]
pub enum LedgerVerb {
    /// Verifies the whole chain and names the first bad entry
    #[command(
        after_help = "Whoever can write the ledger can write all of it anew, so that it looks whole: only a checkpoint that was kept\nelsewhere tells (decalog audit checkpoint).\n\nExamples:\n  decalog ledger verify\n  decalog ledger verify --data /srv/decalog --head 9f86d081…\n  decalog ledger verify --checkpoint 2026-11-26.checkpoint --key ledger.pub"
    )]
    Verify {
        /// A hash that must be in it, kept from an earlier verification
        #[arg(long)]
        head: Option<String>,
        /// A checkpoint, kept from earlier: whether all its entries are still the same
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The key that must have signed it, or a file with it [default: its signature is not checked]
        #[arg(long, requires = "checkpoint")]
        key: Option<String>,
        /// Read this data directory instead of asking the server
        #[arg(long)]
        data: Option<PathBuf>,
    },
}
