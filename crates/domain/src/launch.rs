//! `Launch`: the one value from which every process is started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Placement, ReplicaId};

/// All that a new process gets; nothing else is inherited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Its replica.
    pub replica: ReplicaId,
    /// What it runs: kept beside the process so that a restarted platform finds it again.
    pub placement: Placement,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub variables: BTreeMap<String, String>,
    /// Its working directory.
    pub directory: String,
    /// The Unix socket that it must serve.
    pub socket: String,
    /// Where its standard output and error go.
    pub log: String,
    /// Resident memory above which it is ended, in MiB.
    pub memory_mb_max: Option<u64>,
}
