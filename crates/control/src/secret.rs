//! Secrets at rest: each value is encrypted with a key of its own, and that key with the data
//! directory's. A file never changes: it is written under the digest of what it holds before an
//! event refers to it, and goes after none does.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use domain::{Code, DataDirectory, Digest, Problem};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// An encrypted key: nonce, key and tag.
const SEALED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + 16;

/// The secret store of a data directory.
#[derive(Clone)]
pub struct Secrets {
    directory: PathBuf,
    key_file: PathBuf,
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
        "a secret cannot be read: its file or the key of the data directory is not the one it was written with",
    )
    .help("set it again: decalog env set NAME --secret")
}

/// The file of a value whose event names none.
pub fn by_name(scope: &str, name: &str) -> Digest {
    Digest::of(format!("{scope}\n{name}").as_bytes())
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(failed)?;
    Ok(bytes)
}

fn seal(key: &[u8; KEY_BYTES], plain: &[u8], context: &[u8]) -> Result<Vec<u8>, Problem> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    let sealed = cipher
        .encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: context })
        .map_err(|_| damaged())?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn unseal(key: &[u8; KEY_BYTES], sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Problem> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: rest, aad: context }).map_err(|_| damaged())
}

impl Secrets {
    /// Below a data directory.
    pub fn new(data: &DataDirectory) -> Secrets {
        Secrets { directory: data.secrets(), key_file: data.key() }
    }

    fn master_key(&self) -> Result<[u8; KEY_BYTES], Problem> {
        match fs::read(&self.key_file) {
            Ok(bytes) => bytes.try_into().map_err(|_| damaged()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = random()?;
                write_private(&self.key_file, &key)?;
                Ok(key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Where a value lies: by the digest that its event names, or, in ledgers that name none, by
    /// scope and name.
    fn path(&self, scope: &str, name: &str, file: Option<Digest>) -> PathBuf {
        let file = file.unwrap_or_else(|| by_name(scope, name));
        self.directory.join(file.to_string())
    }

    /// All files of secrets by name, each with its encrypted content.
    pub fn files(&self) -> std::io::Result<Vec<(String, Vec<u8>)>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(error),
        };
        let mut files = vec![];
        for entry in entries {
            let path = entry?.path();
            // What a put has not finished has another name.
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .filter(|name| name.parse::<Digest>().is_ok());
            if let Some(name) = name {
                files.push((name.to_string(), fs::read(&path)?));
            }
        }
        Ok(files)
    }

    /// Keeps a value; it is on disk when this returns. Gives the name of its file, for the event
    /// that refers to it.
    pub fn put(&self, scope: &str, name: &str, value: &str) -> Result<Digest, Problem> {
        let file = self.sealed(&format!("{scope}\n{name}"), value)?;
        fs::create_dir_all(&self.directory).map_err(failed)?;
        // No two are alike: each has a key and numbers of its own.
        let digest = Digest::of(&file);
        write_private(&self.path(scope, name, Some(digest)), &file)?;
        Ok(digest)
    }

    /// Reads a value.
    pub fn get(&self, scope: &str, name: &str, file: Option<Digest>) -> Result<String, Problem> {
        let file = fs::read(self.path(scope, name, file)).map_err(|_| damaged())?;
        self.unsealed(&format!("{scope}\n{name}"), &file)
    }

    /// Keeps a value in a file of its own, which must not be moved.
    pub fn put_file(&self, path: &Path, value: &str) -> Result<(), Problem> {
        write_private(path, &self.sealed(&name_of(path), value)?)
    }

    /// Reads the value of such a file, if there is one.
    pub fn get_file(&self, path: &Path) -> Result<Option<String>, Problem> {
        match fs::read(path) {
            // Without the key that it was written with, none is made.
            Ok(_) if !self.key_file.exists() => Err(damaged()),
            Ok(file) => self.unsealed(&name_of(path), &file).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn sealed(&self, context: &str, value: &str) -> Result<Vec<u8>, Problem> {
        let key: [u8; KEY_BYTES] = random()?;
        let mut file = seal(&self.master_key()?, &key, context.as_bytes())?;
        file.extend(seal(&key, value.as_bytes(), context.as_bytes())?);
        Ok(file)
    }

    fn unsealed(&self, context: &str, file: &[u8]) -> Result<String, Problem> {
        let (sealed_key, sealed) = file.split_at_checked(SEALED_KEY_BYTES).ok_or_else(damaged)?;
        let key = unseal(&self.master_key()?, sealed_key, context.as_bytes())?;
        let key = key.try_into().map_err(|_| damaged())?;
        String::from_utf8(unseal(&key, sealed, context.as_bytes())?).map_err(|_| damaged())
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
        let _ = fs::remove_file(self.path(scope, name, file));
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn values_come_back_and_are_nowhere_in_the_open() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(&DataDirectory::new(directory.path()));
        let token = Some(secrets.put("default@production", "TOKEN", "correct horse").unwrap());
        let other = Some(secrets.put("default@production", "OTHER", "battery").unwrap());
        let secrets = Secrets::new(&DataDirectory::new(directory.path()));
        assert_eq!(secrets.get("default@production", "TOKEN", token).unwrap(), "correct horse");
        assert!(secrets.get("default@staging", "TOKEN", token).is_err());
        // A new value has a file of its own: the old one can be read until its event is replaced.
        let newer = Some(secrets.put("default@production", "TOKEN", "correct horse").unwrap());
        assert_ne!(token, newer);
        assert_eq!(secrets.get("default@production", "TOKEN", token).unwrap(), "correct horse");
        assert_eq!(secrets.files().unwrap().len(), 3);
        let needed = |file: &Digest| [newer, other].contains(&Some(*file));
        secrets.collect(needed, Duration::from_secs(60)).unwrap();
        assert_eq!(secrets.files().unwrap().len(), 3, "its event may be on its way");
        let mode = fs::metadata(directory.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for entry in fs::read_dir(directory.path().join("secrets")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(7).any(|part| part == b"correct" || part == b"battery"));
        }
        // A value moved to another name is not taken for that one's.
        let path = |name, file| secrets.path("default@production", name, file);
        fs::copy(path("TOKEN", token), path("OTHER", other)).unwrap();
        assert!(secrets.get("default@production", "OTHER", other).is_err());
        // Ledgers that name no file: it lies by scope and name.
        fs::copy(path("TOKEN", token), path("TOKEN", None)).unwrap();
        assert_eq!(secrets.get("default@production", "TOKEN", None).unwrap(), "correct horse");
        fs::File::open(path("TOKEN", token)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        secrets.collect(needed, Duration::from_secs(60)).unwrap();
        assert!(!path("TOKEN", token).exists() && path("TOKEN", newer).exists());
        fs::write(directory.path().join("key"), [0; 32]).unwrap();
        assert!(secrets.get("default@production", "TOKEN", newer).is_err());
    }
}
