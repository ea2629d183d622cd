//! Verbs that Decalog starts itself with, and those that packagers use; and what tries the walls of models.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

/// Nobody types these.
#[derive(Subcommand)]
pub enum InternalVerb {
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        data: PathBuf,
    },
    #[command(hide = true)]
    Worker {
        #[command(subcommand)]
        verb: WorkerVerb,
    },
    /// Runs a program within the walls that a variable describes
    #[command(hide = true)]
    Enclose {
        /// Look around inside instead: a process and a file outside
        #[arg(long, num_args = 2, value_names = ["PID", "FILE"])]
        probe: Vec<OsString>,
        /// Try an attack instead
        #[arg(long, value_name = "NAME")]
        attack: Option<String>,
        #[arg(last = true)]
        program: Vec<OsString>,
    },
    #[command(hide = true)]
    Openapi,
    /// Writes completions and manual pages below PREFIX/share
    #[command(hide = true)]
    Manual { prefix: PathBuf },
}

impl InternalVerb {
    /// Whether its output is all that it is for.
    pub fn prints(&self) -> bool {
        matches!(self, InternalVerb::Openapi | InternalVerb::Manual { .. })
    }
}

#[derive(Subcommand)]
pub enum WorkerVerb {
    /// Serves an ONNX graph
    Onnx,
    /// Starts a program, and serves its TCP port on a Unix socket
    Bridge {
        #[arg(last = true)]
        argv: Vec<String>,
    },
}

/// The verbs of `decalog sandbox`.
#[derive(Subcommand)]
pub enum SandboxVerb {
    /// Tries known attacks within the walls of a model, on the server
    Test {
        /// MODEL, MODEL@vN or MODEL@ENVIRONMENT
        model: String,
    },
}
