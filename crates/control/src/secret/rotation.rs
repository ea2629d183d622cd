//! Rotating keys: a new key becomes current, the key of every secret is wrapped again by it, and
//! keys that wrap nothing any more are deleted. A file holds either the old wrapping or the new
//! one, whole, and both keys are there until all files are on disk: whoever is killed in between
//! has lost nothing, and the next rotation takes all files along again.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use domain::{Digest, Problem};

use super::envelope::Envelope;
use super::key::KeyId;
use super::seal::SecretKey;
use super::{Secrets, failed};

/// Files that are written before the disk is asked to keep them all.
const BATCH_FILES: usize = 512;

/// What a rotation came to.
#[derive(Debug)]
pub struct Rotated {
    /// Wraps from now on.
    pub key: KeyId,
    /// Keys that are deleted.
    pub removed: Vec<KeyId>,
    /// Files that no key opens: they are as they were, and so are all keys.
    pub unreadable: Vec<String>,
}

/// A file whose key is wrapped again.
struct Again {
    path: PathBuf,
    content: Vec<u8>,
}

/// A key that was unwrapped, with what belongs to it.
struct Unwrapped {
    path: PathBuf,
    key: SecretKey,
    value: Vec<u8>,
}

impl Secrets {
    /// Makes a new key and wraps the keys of all secrets with it. `contexts` says what secrets are
    /// called whose files name no key; `progress` is told how many of how many files are done.
    pub fn rotate(
        &self,
        contexts: &HashMap<Digest, String>,
        keep_old: bool,
        progress: impl Fn(u64, u64),
    ) -> Result<Rotated, Problem> {
        let _rotation = self.ring.hold_rotation()?;
        let alone = self.ring.hold_alone()?;
        let key = self.ring.wrapping().renew()?;
        drop(alone);
        let names = self.names().map_err(failed)?;
        let total = names.len() as u64;
        let (mut unreadable, mut done) = (vec![], 0);
        progress(done, total);
        for batch in names.chunks(BATCH_FILES) {
            let (unwrapped, failures) = self.unwrap_batch(batch, contexts)?;
            unreadable.extend(failures);
            self.replace(self.wrap_batch(key, unwrapped)?)?;
            done += batch.len() as u64;
            progress(done, total);
        }
        let removed = if keep_old { vec![] } else { self.remove_unused(key)? };
        Ok(Rotated { key, removed, unreadable })
    }

    /// The keys of these secrets, and the files that cannot be read. Those that the new key wraps
    /// already are among them: where it is an old key elsewhere, it may have a new version.
    fn unwrap_batch(
        &self,
        names: &[Digest],
        contexts: &HashMap<Digest, String>,
    ) -> Result<(Vec<Unwrapped>, Vec<String>), Problem> {
        let known: HashSet<KeyId> = self.ring.keys()?.iter().map(|key| key.id).collect();
        let (mut unwrapped, mut unreadable) = (vec![], vec![]);
        let mut by_key: HashMap<KeyId, Vec<(Digest, Vec<u8>)>> = HashMap::new();
        for name in names {
            let content = match fs::read(self.directory.join(name.to_string())) {
                Ok(content) => content,
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let Some(envelope) = Envelope::read(&content, |key| known.contains(&key)) else {
                unreadable.push(name.to_string());
                continue;
            };
            match envelope.key {
                Some(key) => by_key.entry(key).or_default().push((*name, content)),
                None => {
                    let context = contexts.get(name).map_or("", String::as_str);
                    match self.ring.unwrap_first(&envelope, context)? {
                        Some(key) => unwrapped.push(self.unwrapped(name, key, envelope.value)),
                        None => unreadable.push(name.to_string()),
                    }
                }
            }
        }
        for (key, files) in by_key {
            let envelopes: Vec<(&Digest, Envelope<'_>)> = files
                .iter()
                .filter_map(|(name, content)| Some((name, Envelope::read_with_id(content)?)))
                .collect();
            let wrapped: Vec<&[u8]> = envelopes.iter().map(|(_, it)| it.wrapped).collect();
            let keys = self.ring.unwrap(key, &wrapped)?;
            for ((name, envelope), key) in envelopes.iter().zip(keys) {
                match key {
                    Some(key) => unwrapped.push(self.unwrapped(name, key, envelope.value)),
                    None => unreadable.push(name.to_string()),
                }
            }
        }
        Ok((unwrapped, unreadable))
    }

    fn unwrapped(&self, name: &Digest, key: SecretKey, value: &[u8]) -> Unwrapped {
        Unwrapped { path: self.directory.join(name.to_string()), key, value: value.to_vec() }
    }

    fn wrap_batch(&self, key: KeyId, unwrapped: Vec<Unwrapped>) -> Result<Vec<Again>, Problem> {
        let keys: Vec<SecretKey> = unwrapped.iter().map(|secret| secret.key).collect();
        let wrapped = self.ring.wrapping().wrap(key, &keys)?;
        let again = unwrapped.into_iter().zip(wrapped).map(|(secret, wrapped)| {
            let content = Envelope::write(key, &wrapped, &secret.value);
            let content = content.ok_or_else(|| failed(io::Error::other("a key is too long")))?;
            Ok(Again { path: secret.path, content })
        });
        again.collect()
    }

    /// Puts new files in the place of those of the same names: all are on disk before the first
    /// takes its place, and all have their places on disk when this returns.
    fn replace(&self, files: Vec<Again>) -> Result<(), Problem> {
        if files.is_empty() {
            return Ok(());
        }
        for Again { path, content } in &files {
            write_partial(&partial(path), content).map_err(failed)?;
        }
        let directory = File::open(&self.directory).map_err(failed)?;
        rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))?;
        // What is removed meanwhile must not come back.
        let alone = self.ring.hold_alone()?;
        for Again { path, .. } in &files {
            let placed = match path.try_exists() {
                Ok(true) => fs::rename(partial(path), path),
                Ok(false) => fs::remove_file(partial(path)),
                Err(error) => Err(error),
            };
            placed.map_err(failed)?;
        }
        drop(alone);
        directory.sync_all().map_err(failed)
    }

    /// Deletes all keys but the current one that no file names. Nothing is wrapped meanwhile.
    fn remove_unused(&self, current: KeyId) -> Result<Vec<KeyId>, Problem> {
        let _alone = self.ring.hold_alone()?;
        let known = self.ring.keys()?;
        let (used, _) = self.uses(&known.iter().map(|key| key.id).collect())?;
        let mut removed = vec![];
        for key in known.iter().filter(|key| key.id != current && !used.contains_key(&key.id)) {
            if self.ring.remove(key.id)? {
                removed.push(key.id);
            }
        }
        Ok(removed)
    }

    /// How many files each key wraps, and how many none of the known ones does.
    pub fn uses(&self, known: &HashSet<KeyId>) -> Result<(HashMap<KeyId, u64>, u64), Problem> {
        let first = self.ring.first()?;
        let (mut used, mut lost) = (HashMap::new(), 0);
        for name in self.names().map_err(failed)? {
            let content = match fs::read(self.directory.join(name.to_string())) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let envelope = Envelope::read(&content, |key| known.contains(&key));
            // Whatever else it may be, it may be a file of the first key.
            match envelope.and_then(|envelope| envelope.key).filter(|key| known.contains(key)) {
                Some(key) => *used.entry(key).or_default() += 1,
                None => match first {
                    Some(first) => *used.entry(first).or_default() += 1,
                    None => lost += 1,
                },
            }
        }
        Ok((used, lost))
    }
}

fn partial(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

fn write_partial(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(path)?.write_all(content)
}
