//! What is brought to prove something about the ledger: keys, checkpoints, and the files that hold
//! them.

use std::io::Write;
use std::path::Path;

use domain::{Code, Problem};
use ledger::proof::{Checkpoint, Note, VerifierKey};

use crate::Failure;
use crate::client::Client;

/// Something that should prove something does not.
pub fn not_proved(text: impl Into<String>) -> Problem {
    Problem::new(Code::NotProved, text)
}

/// A file cannot be used.
pub fn failed(path: &Path, what: &str, error: std::io::Error) -> Problem {
    Problem::new(Code::Failed, format!("{} cannot be {what}: {error}", path.display()))
}

/// A file's text.
pub fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|error| failed(path, "read", error))
}

/// Replaces a file, whole or not at all; it is on disk when this returns, and only its owner reads
/// it.
pub fn replace(path: &Path, text: &str) -> Result<(), Problem> {
    let folder = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let written = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(|error| failed(path, "written", error))
}

/// The ledger's key: its text, or a file with it.
pub fn verifier_key(named: &str) -> Result<VerifierKey, Problem> {
    let text = match named.contains('+') && !Path::new(named).exists() {
        true => named.to_string(),
        false => read(Path::new(named))?,
    };
    text.trim()
        .parse()
        .map_err(|error| not_proved(format!("--key: {error}")).help("decalog audit key prints it"))
}

/// A signed note.
pub fn note(text: &str) -> Result<Note, Problem> {
    text.parse().map_err(|error| not_proved(format!("the checkpoint cannot be read: {error}")))
}

/// What a signed note says, whoever signed it.
pub fn checkpoint_of(note: &Note) -> Result<Checkpoint, Problem> {
    note.text()
        .parse()
        .map_err(|error| not_proved(format!("the checkpoint cannot be read: {error}")))
}

/// A text as a part of a query.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The ledger's key, as the server says.
pub fn key_of(client: &Client) -> Result<VerifierKey, Failure> {
    let text = client.text("/v1/audit/key")?;
    Ok(text.trim().parse().map_err(|error| not_proved(format!("the server's key: {error}")))?)
}
