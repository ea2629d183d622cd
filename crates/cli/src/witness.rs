//! `decalog audit witness`: the memory of a second site. It keeps the last head of a ledger that it
//! saw, and signs a new one only if that is the old one with entries added.

use std::path::{Path, PathBuf};

use domain::{Code, Digest, Problem};
use ledger::proof::{Seen, SignatureType, SignerKey, VerifierKey, WitnessRefusal, cosign, witness};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::client::Client;
use crate::evidence::{checkpoint_of, key_of, not_proved, note, read, replace, verifier_key};
use crate::terminal::print_json;

/// What a witness remembers.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// Its own key, which signs.
    key: String,
    /// The ledger's key.
    ledger: String,
    /// The entries that it saw last,
    size: u64,
    /// and the root of the tree over them.
    root: Digest,
    /// The last checkpoint that it signed.
    checkpoint: Option<String>,
}

#[derive(Deserialize)]
struct Consistency {
    proof: Vec<Digest>,
}

fn io(what: &str, path: &Path) -> impl Fn(std::io::Error) -> Problem {
    move |error| Problem::new(Code::Failed, format!("{} cannot be {what}: {error}", path.display()))
}

fn new_key() -> Result<SignerKey, Problem> {
    use std::io::Read;
    let (path, mut seed) = (Path::new("/dev/urandom"), [0; 32]);
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut seed));
    read.map_err(io("read", path))?;
    let name = format!("witness/{}", Digest::of(&seed).short());
    SignerKey::new(&name, SignatureType::Cosignature, &seed)
        .map_err(|error| not_proved(error.to_string()))
}

/// Kept while a witness runs, so that no two say different things with one key.
fn lock(file: &Path) -> Result<Flock<std::fs::File>, Problem> {
    let mut path = file.as_os_str().to_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    let opened = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    Flock::lock(opened.map_err(io("written", &path))?, FlockArg::LockExclusive)
        .map_err(|(_, error)| io("locked", &path)(error.into()))
}

fn now_s() -> u64 {
    control::now_ms() / 1_000
}

/// Runs the verb.
pub fn run(
    client: &Client,
    file: &Path,
    named: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
    let _lock = lock(file)?;
    let unusable = |error: &dyn std::fmt::Display| {
        Problem::new(Code::Failed, format!("{} is no memory of a witness: {error}", file.display()))
            .help("name another file, or put a copy of it back")
    };
    let named = named.map(verifier_key).transpose()?;
    let memory = match file.exists() {
        true => {
            let memory = serde_json::from_str::<Memory>(&read(file)?);
            Some(memory.map_err(|error| unusable(&error))?)
        }
        false => None,
    };
    let own = memory.as_ref().map(|memory| memory.key.parse()).transpose();
    let own = own.map_err(|error| unusable(&error))?.map_or_else(new_key, Ok)?;
    let known = memory.as_ref().map(|memory| memory.ledger.parse::<VerifierKey>()).transpose();
    let key = match (known.map_err(|error| unusable(&error))?, named) {
        (Some(known), Some(named)) if known != named => {
            let text =
                format!("{} was made for another ledger, or for another key of it", file.display());
            return Err(not_proved(text).help("leave --key out, or name another file").into());
        }
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) => key_of(client)?,
    };
    let seen = memory.as_ref().map(|memory| Seen { size: memory.size, root: memory.root });
    let mut note = note(&client.text("/v1/audit/checkpoint")?)?;
    let size = checkpoint_of(&note)?.size;
    let proof = match seen {
        Some(seen) if seen.size < size => {
            let path = format!("/v1/audit/consistency?from={}&to={size}", seen.size);
            client.get::<Consistency>(&path)?.proof
        }
        _ => vec![],
    };
    let new = witness(seen.as_ref(), &note, &proof, key.name(), &key).map_err(refused)?;
    let mut memory = Memory {
        key: own.reveal(),
        ledger: key.to_string(),
        size: new.size,
        root: new.root,
        checkpoint: memory.and_then(|memory| memory.checkpoint),
    };
    // On disk before it is signed: what was signed was seen, whatever happens now.
    keep(file, &memory)?;
    cosign(&mut note, &own, now_s()).map_err(|error| not_proved(error.to_string()))?;
    memory.checkpoint = Some(note.to_string());
    keep(file, &memory)?;
    if as_json {
        let seen = seen.map(|seen| seen.size);
        print_json(&serde_json::json!({
            "origin": key.name(), "seen": seen, "size": new.size, "root": new.root,
            "witness": own.public().to_string(), "note": note.to_string(),
        }));
        return Ok(());
    }
    let before = match seen {
        Some(seen) => format!("continue the {} seen before", seen.size),
        None => "are the first seen".into(),
    };
    println!(
        "{}: its {} entries {before} · signed by {}",
        key.name(),
        new.size,
        own.public().name()
    );
    Ok(())
}

fn keep(file: &Path, memory: &Memory) -> Result<(), Problem> {
    let text = serde_json::to_string_pretty(memory).unwrap_or_default();
    replace(file, &format!("{text}\n"))
}

fn refused(refusal: WitnessRefusal) -> Problem {
    let help = match &refusal {
        WitnessRefusal::Inconsistent { old, new, .. } if new < old => {
            "its end was cut off, or an older backup was put in its place: ask who did that; docs/audit.md says how to go on"
        }
        WitnessRefusal::Inconsistent { .. } => {
            "entries that were seen before were changed or removed: compare with a backup; docs/audit.md says how to go on"
        }
        WitnessRefusal::Checkpoint(_) => {
            "it is another ledger, or its key was replaced: ask who did that; docs/audit.md says how to go on"
        }
    };
    Problem::new(Code::LedgerBroken, refusal.to_string()).help(help)
}
