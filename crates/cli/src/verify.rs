//! `decalog doctor --verify`: reads all that is stored and compares it with the digest that it must
//! have, beside a running platform or without one.

use std::collections::HashMap;
use std::path::Path;

use artifacts::{Store, Verified};
use domain::{Code, DataDirectory, Digest, Problem, State};
use engine::Check;

use crate::terminal::bytes;

/// How many damaged things are named.
const NAMED_MAX: usize = 100;

/// Reads everything. What is damaged is set aside, so that it is made or uploaded again.
pub fn verify(data: &DataDirectory, store_url: Option<String>) -> Result<Vec<Check>, Problem> {
    if !data.root().is_dir() {
        return Err(Problem::new(
            Code::Failed,
            format!("there is no data directory {}", data.display()),
        )
        .help("name it with --data DIR"));
    }
    let (ledger, state) = ledger(data);
    let url = store_url.unwrap_or_else(|| data.artifacts_url());
    let store = Store::open(&url, &data.uploads()).map_err(artifacts::ArtifactError::problem)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Problem::new(Code::Failed, format!("starting a thread: {error}")))?;
    let blobs = runtime.block_on(store.verify()).map_err(artifacts::ArtifactError::problem)?;
    let failed = |error: std::io::Error| {
        Problem::new(Code::Failed, format!("reading {}: {error}", data.display()))
    };
    let trees = artifacts::verify_trees(&data.trees()).map_err(failed)?;
    let environments = environments(&data.environments()).map_err(failed)?;
    let names = state.as_ref().map(uses).unwrap_or_default();
    let used: Vec<Digest> = names.keys().copied().collect();
    let sizes = runtime.block_on(store.sizes(&used)).map_err(artifacts::ArtifactError::problem)?;
    let absent = used
        .iter()
        .zip(sizes)
        .filter(|(_, size)| size.is_none())
        .map(|(digest, _)| digest.to_string());
    let lost = lost(absent.chain(blobs.damaged.iter().cloned()).collect(), &names);
    Ok(vec![
        ledger,
        check(
            "blobs",
            &blobs,
            &lost,
            "deploy the directories that they came from again: only what is lost is uploaded",
        ),
        check(
            "trees",
            &trees,
            &trees.damaged,
            "nothing: they are laid out again at the next start of a replica",
        ),
        check(
            "environments",
            &environments,
            &environments.damaged,
            "nothing: they are built again at the next start of a replica",
        ),
    ])
}

fn ledger(data: &DataDirectory) -> (Check, Option<State>) {
    let location = ledger::Location::of(data);
    let mut check = Check {
        name: "ledger".into(),
        ok: true,
        optional: false,
        found: String::new(),
        remedy: String::new(),
    };
    if !location.exists() {
        check.found = "there is none".into();
        return (check, None);
    }
    match ledger::verify(&location, &ledger::Expected::default()) {
        Ok(verified) => {
            check.found = format!("{} entries, all as they were written", verified.entries)
        }
        Err(broken) => {
            (check.ok, check.found) = (false, broken.to_string());
            check.remedy = "restore a backup, and find out who changed the file".into();
        }
    }
    let state = ledger::Ledger::open_read_only(&location)
        .and_then(|ledger| ledger::fold(&ledger, domain::State::default(), ledger::Damage::Refused))
        .ok();
    (check, state)
}

/// Who uses a blob.
fn uses(state: &State) -> HashMap<Digest, String> {
    let mut uses = HashMap::new();
    for (key, model) in &state.models {
        for (number, version) in &model.versions {
            for file in version.pushed.tree.files() {
                uses.entry(file.digest)
                    .or_insert_with(|| format!("{} of {key} {number}", file.path));
            }
            if let Some(lock) = &version.pushed.lock {
                uses.entry(lock.digest).or_insert_with(|| format!("the lock of {key} {number}"));
            }
        }
    }
    uses
}

/// Blobs that are damaged or not there, with who uses them.
fn lost(mut digests: Vec<String>, names: &HashMap<Digest, String>) -> Vec<String> {
    digests.sort();
    digests.dedup();
    let named = |digest: &String| {
        let user = digest.parse().ok().and_then(|digest: Digest| names.get(&digest));
        user.map_or_else(
            || format!("{digest}, which nothing uses"),
            |user| format!("{digest}, {user}"),
        )
    };
    digests.iter().map(named).collect()
}

fn environments(directory: &Path) -> std::io::Result<Verified> {
    let mut verified = Verified::default();
    if !directory.exists() {
        return Ok(verified);
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            match engine::verify_environment(&entry.path()) {
                Some(true) => verified.sound += 1,
                Some(false) => {
                    verified.damaged.push(entry.file_name().to_string_lossy().into_owned())
                }
                // Being built, or half built: it is not used.
                None => {}
            }
        }
    }
    Ok(verified)
}

fn check(name: &str, verified: &Verified, damaged: &[String], remedy: &str) -> Check {
    let ok = damaged.is_empty();
    let size =
        if verified.bytes > 0 { format!(", {}", bytes(verified.bytes)) } else { String::new() };
    let mut found = format!("{} sound{size}", verified.sound);
    if !ok {
        found = format!("{found}; {} damaged or lost:", damaged.len());
        damaged
            .iter()
            .take(NAMED_MAX)
            .for_each(|name| found.push_str(&format!("\n           {name}")));
    }
    let remedy = if ok { String::new() } else { remedy.into() };
    Check { name: name.into(), ok, optional: false, found, remedy }
}
