//! Restores a backup into an empty data directory: whole and verified, or not at all.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::digest::Hasher;
use domain::event::PLATFORM;
use domain::token::TokenStatus;
use domain::{Code, DataDirectory, Digest, Event, Principal, Problem, State, TokenRecord};
use ledger::{Ledger, Location, NewEntry};

use crate::Control;
use crate::backup::{CONTENTS, Contents, FORMAT, LEDGER, NAMES, TELEMETRY, blobs_of, failed};
use crate::state_store::ledger_problem;

/// The longest list of contents, in bytes.
const CONTENTS_BYTES_MAX: u64 = 1 << 16;
const WHAT: &str = "restoring the backup";

fn damaged(text: impl Into<String>) -> Problem {
    Problem::new(Code::Backup, text).help("use another backup")
}

/// Restores a backup: every blob's digest, the whole ledger, and that nothing is missing are
/// verified. What was written is removed again if that fails.
///
/// The ledger of a backup does not know which tokens were revoked since: unless they are to be kept,
/// all of them are. Gives how many.
pub fn restore(backup: &Path, data: &DataDirectory, keep_tokens: bool) -> Result<usize, Problem> {
    let root = data.root();
    let is_empty = !root.exists()
        || std::fs::read_dir(root).map_err(failed("reading the data directory"))?.next().is_none();
    if !is_empty {
        return Err(Problem::new(Code::NotEmpty, format!("{} is not empty", data.display()))
            .help("restore into an empty directory, so that nothing is overwritten: --data DIR"));
    }
    let file = File::open(backup).map_err(failed(WHAT))?;
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700)
        .create(root)
        .map_err(failed(WHAT))?;
    let restored = Restore {
        data,
        keep_tokens,
        blobs: HashSet::new(),
        secrets: HashSet::new(),
        contents: None,
    }
    .run(file);
    if restored.is_err() {
        // It was empty before.
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let path = entry.path();
            let _ = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
        }
    }
    restored
}

struct Restore<'a> {
    data: &'a DataDirectory,
    keep_tokens: bool,
    blobs: HashSet<Digest>,
    secrets: HashSet<Digest>,
    contents: Option<Contents>,
}

impl Restore<'_> {
    fn run(mut self, file: File) -> Result<usize, Problem> {
        for entry in tar::Archive::new(file).entries().map_err(failed(WHAT))? {
            let mut entry = entry.map_err(failed(WHAT))?;
            if self.contents.is_some() {
                return Err(damaged("there is more in the backup than it says"));
            }
            let name = entry.path().map_err(failed(WHAT))?.to_string_lossy().into_owned();
            if entry.header().entry_type().is_file() {
                self.entry(&name, &mut entry)?;
            }
        }
        let contents = self
            .contents
            .as_ref()
            .ok_or_else(|| damaged("the backup was cut short: its end is missing"))?;
        if !(1..=FORMAT).contains(&contents.format) {
            return Err(Problem::new(
                Code::Backup,
                format!(
                    "the backup has the format {}, this program reads {FORMAT}",
                    contents.format
                ),
            )
            .help("use the version of decalog that wrote it"));
        }
        if (contents.blobs, contents.secrets)
            != (self.blobs.len() as u64, self.secrets.len() as u64)
        {
            return Err(damaged("the backup does not hold what it says"));
        }
        let state = self.check_ledger(contents.entries)?;
        let revoked = if self.keep_tokens { 0 } else { self.revoke_tokens(&state)? };
        self.sync().map_err(failed(WHAT))?;
        Ok(revoked)
    }

    fn entry(&mut self, name: &str, entry: &mut impl Read) -> Result<(), Problem> {
        let foreign = || {
            Problem::new(Code::Backup, format!("`{name}` does not belong into a backup"))
                .help("is it one of decalog's?")
        };
        match name.split_once('/') {
            None if name == LEDGER => {
                copy(entry, &self.data.ledger()).map_err(failed(WHAT))?;
            }
            None if name == TELEMETRY => {
                copy(entry, &self.data.telemetry()).map_err(failed(WHAT))?;
            }
            None if name == NAMES => {
                copy(entry, &self.data.names()).map_err(failed(WHAT))?;
            }
            None if name == CONTENTS => {
                let mut text = vec![];
                entry.take(CONTENTS_BYTES_MAX).read_to_end(&mut text).map_err(failed(WHAT))?;
                self.contents = Some(
                    serde_json::from_slice(&text)
                        .map_err(|error| damaged(format!("{name}: {error}")))?,
                );
            }
            Some(("blobs", digest)) => {
                let digest: Digest = digest.parse().map_err(|_| foreign())?;
                let name = digest.to_string();
                let target = self.data.blobs().join(&name[..2]).join(&name);
                if copy(entry, &target).map_err(failed(WHAT))? != digest {
                    return Err(damaged(format!(
                        "the blob {name} is damaged: its content has another digest"
                    )));
                }
                File::open(target)
                    .and_then(|file| artifacts::seal_blob(&file))
                    .map_err(failed(WHAT))?;
                self.blobs.insert(digest);
            }
            Some(("secrets", file)) => {
                let file: Digest = file.parse().map_err(|_| foreign())?;
                copy(entry, &self.data.secrets().join(file.to_string())).map_err(failed(WHAT))?;
                self.secrets.insert(file);
            }
            _ => return Err(foreign()),
        }
        Ok(())
    }

    /// The ledger is whole, and all that it refers to is there.
    fn check_ledger(&self, entries: u64) -> Result<State, Problem> {
        let location = Location::of(self.data);
        let broken = |error: &dyn std::fmt::Display| {
            damaged(format!("the backup's ledger is damaged: {error}"))
        };
        let verified = ledger::verify(&location, &ledger::Expected::default())
            .map_err(|error| broken(&error))?;
        if verified.entries != entries {
            return Err(damaged(format!(
                "the backup's ledger has {} entries, not {entries}",
                verified.entries
            )));
        }
        let ledger = Ledger::open_read_only(&location).map_err(|error| broken(&error))?;
        let state = ledger::fold(&ledger, domain::State::default(), ledger::Damage::Refused)
            .map_err(|error| broken(&error))?;
        if !Control::secret_files(&state).keys().all(|file| self.secrets.contains(file)) {
            return Err(damaged("a secret that the ledger refers to is not in the backup"));
        }
        match blobs_of(&state).into_iter().find(|digest| !self.blobs.contains(digest)) {
            Some(missing) => {
                Err(damaged(format!("the blob {missing} of a version is not in the backup")))
            }
            None => Ok(state),
        }
    }

    /// Revokes all tokens that are valid in a restored ledger.
    fn revoke_tokens(&self, state: &State) -> Result<usize, Problem> {
        let now_ms = crate::now_ms();
        let is_valid =
            |token: &&Arc<TokenRecord>| token.status(&token.digest, now_ms) == TokenStatus::Valid;
        let valid = state.access.tokens.values().filter(is_valid).count();
        if valid == 0 {
            return Ok(0);
        }
        let location = Location::of(self.data);
        let mut ledger =
            Ledger::open(&location, now_ms, env!("CARGO_PKG_VERSION")).map_err(ledger_problem)?;
        let entry = NewEntry {
            at_ms: now_ms,
            actor: &Principal::LocalOwner.to_string(),
            subject: PLATFORM,
            // With the entry that opening it has written.
            expected_subject_seq: state.entries_of(PLATFORM) + 1,
            event: &Event::TokensRevoked {},
        };
        ledger.append(entry).map_err(ledger_problem)?;
        Ok(valid)
    }

    /// Puts all names on disk; what the files hold is there already.
    fn sync(&self) -> io::Result<()> {
        let blobs = self.data.blobs();
        let mut folders: Vec<PathBuf> = vec![
            self.data.root().into(),
            self.data.artifacts(),
            blobs.clone(),
            self.data.secrets(),
        ];
        folders.extend(self.blobs.iter().map(|digest| blobs.join(&digest.to_string()[..2])));
        folders.sort();
        folders.dedup();
        folders
            .iter()
            .filter(|folder| folder.is_dir())
            .try_for_each(|folder| File::open(folder)?.sync_all())
    }
}

fn copy(from: &mut impl Read, to: &Path) -> io::Result<Digest> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut out = File::create_new(to)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            out.sync_all()?;
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests;
