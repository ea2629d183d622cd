//! Secrets at rest: each value is encrypted with a key of its own, and that key is wrapped by one of
//! the ring's. A file is written before an event refers to it, and goes after none does. Its name is
//! given once and stays; its encrypted value stays, too, and only what wraps its key is replaced.

mod elsewhere;
mod envelope;
mod key;
mod ring;
mod rotation;
mod seal;
mod sources;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use domain::{Code, DataDirectory, Digest, Problem};

use crate::random::random;
use envelope::Envelope;
use ring::Ring;
use seal::{SecretKey, seal, unseal};

pub use key::KeyId;
pub use rotation::Rotated;
pub use sources::{KeySource, References, SecretSources};

/// How often a file is read anew whose key went meanwhile: it has another by then.
const READS_MAX: usize = 3;

/// The secret store of a data directory.
#[derive(Clone)]
pub struct Secrets {
    directory: PathBuf,
    ring: Arc<Ring>,
}

fn failed(error: std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Problem::new(Code::NoSpace, "the disk is full: the secret was not kept")
                .help("free some space")
        }
        _ => Problem::new(Code::Secrets, format!("the secret store cannot be used: {error}")),
    }
}

fn damaged() -> Problem {
    Problem::new(
        Code::Secrets,
        "a secret cannot be read: its file or its key is not the one it was written with",
    )
    .help("set it again: decalog env set NAME --secret")
}

/// What a secret is called: its value can be decrypted by this name alone.
pub fn context(scope: &str, name: &str) -> String {
    format!("{scope}\n{name}")
}

/// The file of a value whose event names none.
pub fn by_name(scope: &str, name: &str) -> Digest {
    Digest::of(context(scope, name).as_bytes())
}

impl Secrets {
    /// Below a data directory, with these keys beside its own.
    pub fn new(data: &DataDirectory, keys: &[KeySource]) -> Secrets {
        Secrets { directory: data.secrets(), ring: Arc::new(Ring::new(data, keys)) }
    }

    /// The keys.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Where a value lies: by the digest that its event names, or, in ledgers that name none, by
    /// scope and name.
    fn path(&self, scope: &str, name: &str, file: Option<Digest>) -> PathBuf {
        let file = file.unwrap_or_else(|| by_name(scope, name));
        self.directory.join(file.to_string())
    }

    /// The names of all files.
    fn names(&self) -> std::io::Result<Vec<Digest>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let mut names = vec![];
        for entry in entries {
            // What has not been finished has another name.
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        Ok(names)
    }

    /// All files of secrets by name, each with its encrypted content.
    pub fn files(&self) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let mut files = vec![];
        for name in self.names()? {
            let name = name.to_string();
            let content = fs::read(self.directory.join(&name))?;
            files.push((name, content));
        }
        Ok(files)
    }

    /// Keeps a value; it is on disk when this returns. Gives the name of its file, for the event
    /// that refers to it.
    pub fn put(&self, scope: &str, name: &str, value: &str) -> Result<Digest, Problem> {
        self.put_in(scope, name, value, None)
    }

    /// Keeps a value that no event refers to, in a file that follows from its name.
    pub fn put_by_name(&self, scope: &str, name: &str, value: &str) -> Result<(), Problem> {
        self.put_in(scope, name, value, Some(by_name(scope, name))).map(drop)
    }

    /// Whether there is a value that no event refers to.
    pub fn has_by_name(&self, scope: &str, name: &str) -> bool {
        self.path(scope, name, None).exists()
    }

    fn put_in(
        &self,
        scope: &str,
        name: &str,
        value: &str,
        file: Option<Digest>,
    ) -> Result<Digest, Problem> {
        let context = context(scope, name);
        let secret_key: SecretKey = random()?;
        let value = seal(&secret_key, value.as_bytes(), context.as_bytes())?;
        fs::create_dir_all(&self.directory).map_err(failed)?;
        // No two are alike: each has a key and numbers of its own.
        let digest = file.unwrap_or_else(|| Digest::of(&value));
        let (_held, key) = self.ring.hold_current()?;
        let wrapped = self.ring.wrapping().wrap(key, &[secret_key])?;
        let file = wrapped.first().and_then(|wrapped| Envelope::write(key, wrapped, &value));
        let file = file.ok_or_else(|| failed(std::io::Error::other("a key is too long")))?;
        write_private(&self.path(scope, name, Some(digest)), &file)?;
        Ok(digest)
    }

    /// Reads a value.
    pub fn get(&self, scope: &str, name: &str, file: Option<Digest>) -> Result<String, Problem> {
        let path = self.path(scope, name, file);
        let mut content = fs::read(&path).map_err(|_| damaged())?;
        for _ in 1..READS_MAX {
            match self.open(&content, scope, name) {
                Ok(value) => return Ok(value),
                Err(problem) => {
                    let now = fs::read(&path).map_err(|_| damaged())?;
                    if now == content {
                        return Err(problem);
                    }
                    content = now;
                }
            }
        }
        self.open(&content, scope, name)
    }

    fn open(&self, content: &[u8], scope: &str, name: &str) -> Result<String, Problem> {
        let context = context(scope, name);
        let envelope =
            Envelope::read(content, |key| self.ring.is_known(key)).ok_or_else(damaged)?;
        let secret_key = match envelope.key {
            Some(key) => self.ring.unwrap(key, &[envelope.wrapped])?.pop().flatten(),
            None => match self.ring.unwrap_first(&envelope, &context)? {
                Some(secret_key) => Some(secret_key),
                None => match Envelope::read_with_id(content).and_then(|newer| newer.key) {
                    Some(key) => return Err(key::missing(key)),
                    None => None,
                },
            },
        };
        let value = secret_key.and_then(|key| unseal(&key, envelope.value, context.as_bytes()));
        value.and_then(|value| String::from_utf8(value).ok()).ok_or_else(damaged)
    }

    /// What wraps the key of a value, and who keeps that.
    pub fn wrapped_by(
        &self,
        scope: &str,
        name: &str,
        file: Option<Digest>,
    ) -> Option<(KeyId, String)> {
        let content = fs::read(self.path(scope, name, file)).ok()?;
        let keys = self.ring.keys().ok()?;
        let envelope = Envelope::read(&content, |key| keys.iter().any(|known| known.id == key))?;
        let key = envelope.key.or(self.ring.first().ok()?)?;
        let known = keys.into_iter().find(|known| known.id == key)?;
        Some((key, known.provider))
    }

    /// Drops the files that are older than `age` and not needed: an event is appended soon after
    /// its file was written.
    pub fn collect(
        &self,
        is_needed: impl Fn(&Digest) -> bool,
        age: Duration,
    ) -> std::io::Result<()> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            let is_needed = digest.is_some_and(|digest| is_needed(&digest));
            if !is_needed && entry.metadata()?.modified()? < before {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Drops a value that no event refers to any more.
    pub fn remove(&self, scope: &str, name: &str, file: Option<Digest>) {
        // Whoever replaces files at this moment must not bring it back.
        let _held = self.ring.hold();
        let _ = fs::remove_file(self.path(scope, name, file));
    }
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let temporary = path.with_extension("partial");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Writes a file that nobody else may read, unless there is one of its name.
pub(crate) fn write_new_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    // Random, as others may write the same one now.
    let name = Digest::of(&random::<16>()?).short();
    let temporary = path.with_extension(format!("{name}.partial"));
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.create_new(true).write(true).mode(0o600).open(&temporary).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&temporary).map_err(failed)?;
    linked.map_err(failed)?;
    fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests;
