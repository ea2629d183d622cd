//! Keeps secrets out of logs: in what a process prints, each of its secrets is replaced by its
//! name, as it is and in the forms that programs commonly give to it. Where the process has no
//! secrets nothing is looked at. This is no wall: a model that wants to give its secrets away can.

mod forms;
mod stream;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

pub use stream::Masking;

/// What is kept of a file in which a process says why it could not start, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The secrets of one process, and what to look for.
pub struct Masks {
    secrets: BTreeMap<String, String>,
    /// What takes the place of each.
    shown: Vec<Vec<u8>>,
    automaton: NFA,
    start: StateID,
    /// Which secret each pattern is of.
    owners: Vec<usize>,
    /// How much of a pattern each state has seen.
    depths: HashMap<StateID, usize>,
}

/// Those variables that are secrets.
pub fn secrets_of(
    variables: &BTreeMap<String, String>,
    names: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let secrets = variables.iter().filter(|(name, _)| names.contains(*name));
    secrets.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Masks {
    /// Of these secrets; `None` if there is nothing to look for. Takes long for long secrets.
    pub fn of(secrets: BTreeMap<String, String>) -> Option<Masks> {
        let (mut patterns, mut owners, mut known) = (vec![], vec![], BTreeSet::new());
        for (owner, value) in secrets.values().enumerate() {
            for pattern in forms::patterns(value) {
                if known.insert(pattern.clone()) {
                    patterns.push(pattern);
                    owners.push(owner);
                }
            }
        }
        if patterns.is_empty() {
            return None;
        }
        let automaton = NFA::builder().match_kind(MatchKind::Standard).build(&patterns).ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = HashMap::from([(start, 0)]);
        for pattern in &patterns {
            let mut state = start;
            for (at, byte) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                depths.insert(state, at + 1);
            }
        }
        let shown = secrets.keys().map(|name| format!("[secret {name}]").into_bytes()).collect();
        Some(Masks { secrets, shown, automaton, start, owners, depths })
    }

    /// The secrets.
    pub fn secrets(&self) -> &BTreeMap<String, String> {
        &self.secrets
    }

    /// Replaces secrets in a file that a process wrote, and that nobody has read yet.
    pub fn clear(self: &std::sync::Arc<Masks>, path: &Path) -> io::Result<()> {
        // Not where a link leads.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = match File::options().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(FILE_BYTES_MAX)))?;
        let (mut content, mut cleared) = (vec![], vec![]);
        file.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
        let mut masking = Masking::new(self.clone());
        masking.take(&content, &mut cleared);
        masking.finish(&mut cleared);
        if cleared == content {
            return Ok(());
        }
        let partial = path.with_extension("partial");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600).custom_flags(flags);
        options.open(&partial)?.write_all(&cleared)?;
        fs::rename(partial, path)
    }
}

#[cfg(test)]
mod tests;
