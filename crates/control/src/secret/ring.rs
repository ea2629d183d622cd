//! All keys of a data directory: which provider wraps, which ones only unwrap, and the lock that
//! keeps a key from going while something is wrapped with it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use domain::{Code, DataDirectory, Problem};

use super::envelope::Envelope;
use super::failed;
use super::key::{FileKeys, KeyId, KeyProvider, missing};
use super::seal::{SecretKey, unseal};
use super::sources::KeySource;

/// A key of the ring.
pub struct KnownKey {
    /// The key.
    pub id: KeyId,
    /// Whose it is, as `--secrets-key` names it.
    pub provider: String,
    /// Whether it wraps what is new.
    pub current: bool,
}

/// The keys that wrap those of single secrets.
pub struct Ring {
    data: DataDirectory,
    files: FileKeys,
    /// Beside the files, in the order in which they were named.
    others: Vec<Box<dyn KeyProvider>>,
    /// Which of the others wraps; the files do if none does.
    wraps: Option<usize>,
}

impl Ring {
    /// Keys in files of the data directory, and others. The first that is named wraps; without any,
    /// the files do.
    pub fn new(data: &DataDirectory, sources: &[KeySource]) -> Ring {
        let others: Vec<_> = sources.iter().filter_map(KeySource::provider).collect();
        let wraps = sources.first().and_then(KeySource::provider).map(|_| 0);
        Ring { data: data.clone(), files: FileKeys::new(data), others, wraps }
    }

    fn providers(&self) -> impl Iterator<Item = &dyn KeyProvider> {
        let files: &dyn KeyProvider = &self.files;
        std::iter::once(files).chain(self.others.iter().map(AsRef::as_ref))
    }

    /// The provider that wraps.
    pub fn wrapping(&self) -> &dyn KeyProvider {
        self.wraps.and_then(|at| self.others.get(at)).map_or(&self.files, AsRef::as_ref)
    }

    /// Whether some keys are not files of this machine.
    pub fn asks_elsewhere(&self) -> bool {
        !self.others.is_empty()
    }

    /// The keys of all providers.
    pub fn keys(&self) -> Result<Vec<KnownKey>, Problem> {
        let current = self.wrapping().current()?;
        let mut known = vec![];
        for provider in self.providers() {
            known.extend(provider.keys()?.into_iter().map(|id| KnownKey {
                id,
                provider: provider.name(),
                current: current == Some(id),
            }));
        }
        Ok(known)
    }

    /// The key of programs that had only one.
    pub fn first(&self) -> Result<Option<KeyId>, Problem> {
        Ok(self.files.first()?.map(|key| KeyId::of(&key)))
    }

    fn provider_of(&self, key: KeyId) -> Result<&dyn KeyProvider, Problem> {
        for provider in self.providers() {
            if provider.keys()?.contains(&key) {
                return Ok(provider);
            }
        }
        Err(missing(key))
    }

    /// Whether a key is there.
    pub fn is_known(&self, key: KeyId) -> bool {
        self.provider_of(key).is_ok()
    }

    /// Unwraps keys of secrets that one key has wrapped; `None` for what it has not.
    pub fn unwrap(&self, key: KeyId, wrapped: &[&[u8]]) -> Result<Vec<Option<SecretKey>>, Problem> {
        self.provider_of(key)?.unwrap(key, wrapped)
    }

    /// Unwraps the key of a secret whose file names none, by what the secret is called.
    pub fn unwrap_first(
        &self,
        envelope: &Envelope<'_>,
        context: &str,
    ) -> Result<Option<SecretKey>, Problem> {
        let Some(first) = self.files.first()? else { return Ok(None) };
        let plain = unseal(&first, envelope.wrapped, context.as_bytes());
        Ok(plain.and_then(|plain| plain.try_into().ok()))
    }

    /// Deletes a key. Gives whether it did.
    pub fn remove(&self, key: KeyId) -> Result<bool, Problem> {
        self.provider_of(key)?.remove(key)
    }

    fn open(&self, name: &str) -> Result<File, Problem> {
        let directory = self.data.keys();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(directory.join(name)).map_err(failed)
    }

    /// While this is held no key goes, and none becomes current: something is wrapped.
    pub fn hold(&self) -> Result<File, Problem> {
        let file = self.open("lock")?;
        file.lock_shared().map_err(failed)?;
        Ok(file)
    }

    /// While this is held nothing is wrapped or removed, in any process.
    pub fn hold_alone(&self) -> Result<File, Problem> {
        let file = self.open("lock")?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// While this is held no other process rotates keys.
    pub fn hold_rotation(&self) -> Result<File, Problem> {
        let file = self.open("rotation")?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(Problem::new(Code::Conflict, "keys are being rotated already")
                    .help("decalog key ls says how far it is"))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Holds the key that wraps, and makes the first one if there is none.
    pub fn hold_current(&self) -> Result<(File, KeyId), Problem> {
        let held = self.hold()?;
        if let Some(key) = self.wrapping().current()? {
            return Ok((held, key));
        }
        drop(held);
        let alone = self.hold_alone()?;
        if self.wrapping().current()?.is_none() {
            self.wrapping().renew()?;
        }
        drop(alone);
        let held = self.hold()?;
        let key = self.wrapping().current()?;
        let gone = || Problem::new(Code::Secrets, "the first key went as soon as it was made");
        Ok((held, key.ok_or_else(gone)?))
    }
}
