//! Secrets at rest: each value is encrypted with a key of its own, and that key with the data directory's.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use domain::{Digest, Problem};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// An encrypted key: nonce, key and tag.
const SEALED_KEY_BYTES: usize = NONCE_BYTES + KEY_BYTES + 16;

/// The secret store of a data directory.
pub struct Secrets {
    directory: PathBuf,
    key_file: PathBuf,
}

fn failed(error: std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Problem::new("no_space", "the disk is full: the secret was not kept").help("free some space")
        }
        _ => Problem::new("secrets", format!("the secret store cannot be used: {error}")),
    }
}

fn damaged() -> Problem {
    Problem::new(
        "secrets",
        "a secret cannot be read: its file or the key of the data directory is not the one it was written with",
    )
    .help("set it again: decalog env set NAME --secret")
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

fn seal(key: &[u8; KEY_BYTES], plain: &[u8], context: &[u8]) -> Result<Vec<u8>, Problem> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg: plain, aad: context }).map_err(|_| damaged())?;
    Ok([nonce.as_slice(), &sealed].concat())
}

fn unseal(key: &[u8; KEY_BYTES], sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Problem> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    cipher.decrypt(&Nonce::from(*nonce), Payload { msg: rest, aad: context }).map_err(|_| damaged())
}

impl Secrets {
    /// Below a data directory.
    pub fn new(data: &Path) -> Secrets {
        Secrets { directory: data.join("secrets"), key_file: data.join("key") }
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

    /// Names of secrets do not become paths.
    fn path(&self, scope: &str, name: &str) -> PathBuf {
        self.directory.join(Digest::of(format!("{scope}\n{name}").as_bytes()).to_string())
    }

    /// Keeps a value; it is on disk when this returns.
    pub fn put(&self, scope: &str, name: &str, value: &str) -> Result<(), Problem> {
        let context = format!("{scope}\n{name}");
        let key: [u8; KEY_BYTES] = random()?;
        let mut file = seal(&self.master_key()?, &key, context.as_bytes())?;
        file.extend(seal(&key, value.as_bytes(), context.as_bytes())?);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        write_private(&self.path(scope, name), &file)
    }

    /// Reads a value.
    pub fn get(&self, scope: &str, name: &str) -> Result<String, Problem> {
        let context = format!("{scope}\n{name}");
        let file = fs::read(self.path(scope, name)).map_err(|_| damaged())?;
        let (sealed_key, sealed) = file.split_at_checked(SEALED_KEY_BYTES).ok_or_else(damaged)?;
        let key = unseal(&self.master_key()?, sealed_key, context.as_bytes())?;
        let key = key.try_into().map_err(|_| damaged())?;
        String::from_utf8(unseal(&key, sealed, context.as_bytes())?).map_err(|_| damaged())
    }

    /// Drops a value.
    pub fn remove(&self, scope: &str, name: &str) {
        let _ = fs::remove_file(self.path(scope, name));
    }
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let temporary = path.with_extension("partial");
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
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
        let secrets = Secrets::new(directory.path());
        secrets.put("default@production", "TOKEN", "correct horse").unwrap();
        secrets.put("default@production", "OTHER", "battery").unwrap();
        let secrets = Secrets::new(directory.path());
        assert_eq!(secrets.get("default@production", "TOKEN").unwrap(), "correct horse");
        assert!(secrets.get("default@staging", "TOKEN").is_err());
        let mode = fs::metadata(directory.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for entry in fs::read_dir(directory.path().join("secrets")).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(7).any(|part| part == b"correct" || part == b"battery"));
        }
        // A value moved to another name is not taken for that one's.
        let (from, to) = (secrets.path("default@production", "TOKEN"), secrets.path("default@production", "OTHER"));
        fs::copy(from, to).unwrap();
        assert!(secrets.get("default@production", "OTHER").is_err());
        fs::write(directory.path().join("key"), [0; 32]).unwrap();
        assert!(secrets.get("default@production", "TOKEN").is_err());
    }
}
