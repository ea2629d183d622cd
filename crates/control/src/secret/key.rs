//! The keys that wrap the keys of single secrets: what a provider of such keys can do, and the
//! provider that keeps them as files of the data directory.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use domain::{Code, DataDirectory, Digest, Problem};

use crate::random::random;

use super::seal::{KEY_BYTES, SecretKey, seal, unseal};
use super::{failed, write_private};

/// Says what a wrapped key is, so that it is nothing else.
const CONTEXT: &[u8] = b"decalog data key";

/// Names a key, and is known from it: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// Of a key or of what names it elsewhere.
    pub fn of(bytes: &[u8]) -> KeyId {
        let digest = Digest::of(&[b"decalog key id\n", bytes].concat());
        let mut id = [0; 8];
        id.copy_from_slice(&digest.0[..8]);
        KeyId(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ();
    fn from_str(text: &str) -> Result<KeyId, ()> {
        let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(());
        }
        u64::from_str_radix(text, 16).map(|number| KeyId(number.to_be_bytes())).map_err(|_| ())
    }
}

/// Keeps keys, and wraps the keys of single secrets with them. Calls may take long.
pub trait KeyProvider: Send + Sync {
    /// As `--secrets-key` names it.
    fn name(&self) -> String;
    /// All keys that it has.
    fn keys(&self) -> Result<Vec<KeyId>, Problem>;
    /// The key that wraps; `None` before there is one.
    fn current(&self) -> Result<Option<KeyId>, Problem>;
    /// Makes a new key and lets that wrap. A provider whose keys are made elsewhere gives the one
    /// that wraps.
    fn renew(&self) -> Result<KeyId, Problem>;
    /// Wraps keys of secrets.
    fn wrap(&self, key: KeyId, secret_keys: &[SecretKey]) -> Result<Vec<Vec<u8>>, Problem>;
    /// The other way round; `None` for what this key has not wrapped.
    fn unwrap(&self, key: KeyId, wrapped: &[&[u8]]) -> Result<Vec<Option<SecretKey>>, Problem>;
    /// Deletes a key that nothing is wrapped with any more. Gives whether it did: keys that are
    /// made elsewhere are deleted there.
    fn remove(&self, key: KeyId) -> Result<bool, Problem>;
}

/// Wraps with a key that is at hand.
pub fn wrap_with(key: &SecretKey, secret_keys: &[SecretKey]) -> Result<Vec<Vec<u8>>, Problem> {
    secret_keys.iter().map(|plain| seal(key, plain, CONTEXT)).collect()
}

/// The other way round.
pub fn unwrap_with(key: &SecretKey, wrapped: &[&[u8]]) -> Vec<Option<SecretKey>> {
    let plain = |sealed: &&[u8]| unseal(key, sealed, CONTEXT)?.try_into().ok();
    wrapped.iter().map(plain).collect()
}

/// Keys in files of the data directory.
pub struct FileKeys {
    data: DataDirectory,
}

impl FileKeys {
    /// Below a data directory.
    pub fn new(data: &DataDirectory) -> FileKeys {
        FileKeys { data: data.clone() }
    }

    /// The key of programs that had only one, if it is there.
    pub fn first(&self) -> Result<Option<SecretKey>, Problem> {
        read(&self.data.key())
    }

    fn get(&self, id: KeyId) -> Result<SecretKey, Problem> {
        let path = self.data.key_of(&id.to_string());
        if let Some(key) = read(&path)? {
            return if KeyId::of(&key) == id { Ok(key) } else { Err(foreign(&path)) };
        }
        let first = self.first()?.filter(|key| KeyId::of(key) == id);
        first.ok_or_else(|| missing(id))
    }
}

/// What is said of a key that is not there.
pub fn missing(id: KeyId) -> Problem {
    Problem::new(Code::Secrets, format!("the key {id} is not here, and secrets are wrapped by it"))
        .help("put its file back into DATA/keys, or name its provider too: --secrets-key")
}

fn foreign(path: &Path) -> Problem {
    Problem::new(Code::Secrets, format!("{} does not hold the key of its name", path.display()))
        .help("put the right file back")
}

fn read(path: &Path) -> Result<Option<SecretKey>, Problem> {
    match fs::read(path) {
        Ok(bytes) => <[u8; KEY_BYTES]>::try_from(bytes).map(Some).map_err(|_| foreign(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Deletes a file; gives whether it was there.
fn remove_file(path: PathBuf) -> Result<bool, Problem> {
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

impl KeyProvider for FileKeys {
    fn name(&self) -> String {
        "file".into()
    }

    fn keys(&self) -> Result<Vec<KeyId>, Problem> {
        let mut keys: Vec<KeyId> = self.first()?.iter().map(|key| KeyId::of(key)).collect();
        let entries = match fs::read_dir(self.data.keys()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(keys),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            keys.extend(name.to_str().and_then(|name| name.parse::<KeyId>().ok()));
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    fn current(&self) -> Result<Option<KeyId>, Problem> {
        let path = self.data.current_key();
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|()| foreign(&path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(self.first()?.map(|key| KeyId::of(&key)))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn renew(&self) -> Result<KeyId, Problem> {
        let key: SecretKey = random()?;
        let id = KeyId::of(&key);
        write_private(&self.data.key_of(&id.to_string()), &key)?;
        write_private(&self.data.current_key(), format!("{id}\n").as_bytes())?;
        Ok(id)
    }

    fn wrap(&self, key: KeyId, secret_keys: &[SecretKey]) -> Result<Vec<Vec<u8>>, Problem> {
        wrap_with(&self.get(key)?, secret_keys)
    }

    fn unwrap(&self, key: KeyId, wrapped: &[&[u8]]) -> Result<Vec<Option<SecretKey>>, Problem> {
        Ok(unwrap_with(&self.get(key)?, wrapped))
    }

    fn remove(&self, key: KeyId) -> Result<bool, Problem> {
        let is_first = self.first()?.is_some_and(|first| KeyId::of(&first) == key);
        let removed_first = is_first && remove_file(self.data.key())?;
        Ok(remove_file(self.data.key_of(&key.to_string()))? || removed_first)
    }
}
