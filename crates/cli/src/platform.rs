//! The verbs about the platform itself: status, doctor, gc, backup, restore, ledger verify.

use std::path::{Path, PathBuf};

use control::Garbage;
use control::failing::{Failing, reason};
use domain::{Code, DataDirectory, Problem};
use ledger::proof::{Checkpoint, Note};
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Client;
use crate::data::{data_directory, lock};
use crate::evidence;
use crate::layout::wrapped;
use crate::terminal::{bytes, print_json, width};

/// `decalog status`
pub fn status(client: &Client, as_json: bool) -> Result<(), Failure> {
    let status: Value = client.get("/v1/status")?;
    if as_json {
        print_json(&status);
        return Ok(());
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    println!(
        "Decalog {} · {} · up {} s",
        text(&status["version"]),
        text(&status["url"]),
        status["uptime_s"]
    );
    println!(
        "  models   {}, {} replicas, {} rows waiting",
        status["models"], status["replicas"], status["queued_rows"]
    );
    let failing: Vec<Failing> =
        serde_json::from_value(status["failing"].clone()).unwrap_or_default();
    for Failing { model, environment, version, problem } in failing {
        let line = format!("  failing  {model} {version} in {environment}: {}", reason(&problem));
        println!("{}", wrapped(&line, 11, width()));
    }
    // Whoever sees some projects only is not told of the others.
    if let Some(entries) = status["ledger"]["entries"].as_u64() {
        let head = text(&status["ledger"]["head"]);
        println!("  ledger   {entries} entries\n           head {head}");
    }
    Ok(())
}

/// `decalog doctor`
pub fn doctor(data: Option<PathBuf>, as_json: bool) -> Result<u8, Failure> {
    let path = std::env::var("PATH").unwrap_or_default();
    let named = |name| std::env::var_os(name).map(PathBuf::from);
    let (uv, onnxruntime) = (named("DECALOG_UV"), named("ORT_DYLIB_PATH"));
    let checks =
        engine::doctor(&data_directory(data)?, &path, uv.as_deref(), onnxruntime.as_deref());
    let missing = checks.iter().any(|check| !check.ok && !check.optional);
    if as_json {
        print_json(&json!({ "checks": checks }));
        return Ok(missing as u8);
    }
    for check in &checks {
        let mark = match (check.ok, check.optional) {
            (true, _) => "ok",
            (false, true) => "–",
            (false, false) => "missing",
        };
        print_check(mark, &check.name, &check.found, &check.remedy);
    }
    Ok(missing as u8)
}

/// `decalog doctor --verify`
pub fn doctor_verify(
    data: Option<PathBuf>,
    store: Option<String>,
    as_json: bool,
) -> Result<u8, Failure> {
    let checks = crate::verify::verify(&data_directory(data)?, store)?;
    if as_json {
        print_json(&json!({ "checks": checks }));
    } else {
        for check in &checks {
            let mark = if check.ok { "ok" } else { "damaged" };
            print_check(mark, &check.name, &check.found, &check.remedy);
        }
    }
    Ok(checks.iter().any(|check| !check.ok) as u8)
}

/// A line on what was found, and one on what to do.
fn print_check(mark: &str, name: &str, found: &str, remedy: &str) {
    println!("{}", wrapped(&format!("  {mark:<8} {name:<15} {found}"), 27, width()));
    if !remedy.is_empty() {
        println!("{}", wrapped(&format!("{:27}→ {}", "", remedy), 29, width()));
    }
}

/// `decalog gc`
pub fn collect(client: &Client, as_json: bool) -> Result<(), Failure> {
    let garbage: Garbage = client.post("/v1/gc", &json!({}))?;
    if as_json {
        print_json(&garbage);
    } else {
        let Garbage { blobs, environments, trees, .. } = garbage;
        println!(
            "removed {blobs} blobs, {environments} environments, {trees} trees: {} are free now",
            bytes(garbage.bytes)
        );
    }
    Ok(())
}

/// `decalog backup`
pub fn backup(client: &Client, file: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Problem::new(Code::Backup, format!("{} cannot be written: {error}", file.display()))
            .help("name a new file")
    };
    if file.exists() {
        return Err(failed(std::io::ErrorKind::AlreadyExists.into()).into());
    }
    // Until it is whole it has another name: one that was cut short is not taken for a backup.
    let mut partial = file.as_os_str().to_os_string();
    partial.push(".partial");
    let mut out = std::fs::File::create(&partial).map_err(failed)?;
    let written = client.reader("/v1/backup").and_then(|mut reader| {
        let size = std::io::copy(&mut reader, &mut out).map_err(|error| {
            Problem::new(Code::Backup, format!("the backup broke off: {error}"))
                .help("see the server's log, and try again")
        })?;
        out.sync_all().and_then(|()| std::fs::rename(&partial, file)).map_err(failed)?;
        Ok(size)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    let size = bytes(written?);
    eprintln!(
        "{} · {size}\nThe keys of the secrets (DATA/keys, DATA/key) are not in it: keep them elsewhere.",
        file.display()
    );
    Ok(())
}

/// `decalog restore`
pub fn restore(file: &Path, data: Option<PathBuf>, keep_tokens: bool) -> Result<(), Failure> {
    let data = data_directory(data)?;
    let revoked = control::restore(file, &data, keep_tokens)?;
    if revoked > 0 {
        eprintln!(
            "{revoked} {} revoked: a backup does not know of those that were since; make new ones, or restore with --keep-tokens",
            if revoked == 1 { "token is" } else { "tokens are" }
        );
    }
    eprintln!(
        "restored to {}\nNext: put the directory `keys` (and the file `key`) back if it had secrets, then decalog up --data {}",
        data.display(),
        data.display()
    );
    Ok(())
}

/// `decalog recover`
pub fn recover(data: Option<PathBuf>) -> Result<(), Failure> {
    let data = data_directory(data)?;
    let _lock = lock(&data)?;
    let ended = control::recover(&data)?;
    for (project, environment) in &ended {
        eprintln!("changes of {environment} of project {project} need no approval any more");
    }
    if ended.is_empty() {
        eprintln!("no environment is protected");
    }
    Ok(())
}

/// What somebody kept of the ledger.
pub struct Expected {
    pub head: Option<String>,
    pub checkpoint: Option<PathBuf>,
    pub key: Option<String>,
}

impl Expected {
    /// The checkpoint, if one was kept; signed by the key, if one is named.
    fn note(&self) -> Result<Option<Note>, Problem> {
        let Some(file) = &self.checkpoint else { return Ok(None) };
        let note = evidence::note(&evidence::read(file)?)?;
        if let Some(key) = &self.key {
            let key = evidence::verifier_key(key)?;
            Checkpoint::verified(&note, key.name(), &key)
                .map_err(|error| evidence::not_proved(format!("{}: {error}", file.display())))?;
        }
        Ok(Some(note))
    }
}

/// `decalog ledger verify`
pub fn verify(
    client: &Client,
    expected: Expected,
    data: Option<PathBuf>,
    as_json: bool,
) -> Result<(), Failure> {
    let note = expected.note()?;
    let checkpoint = note.as_ref().map(evidence::checkpoint_of).transpose()?;
    let size = checkpoint.as_ref().map(|checkpoint| checkpoint.size);
    let mut verified: Value = match data {
        None => {
            let text = note.map(|note| evidence::encoded(&note.to_string()));
            let named = [("head", expected.head), ("checkpoint", text)];
            let query =
                named.into_iter().filter_map(|(name, text)| Some(format!("{name}={}", text?)));
            client.get(&format!("/v1/ledger/verify?{}", query.collect::<Vec<_>>().join("&")))?
        }
        Some(data) => {
            let head = expected.head.map(|head| head.parse()).transpose();
            let head = head.map_err(|error: domain::digest::DigestError| {
                Problem::new(Code::BadName, error.to_string())
            })?;
            let location = ledger::Location::of(&DataDirectory::new(data));
            let expected = ledger::Expected { head, checkpoint };
            let verified = ledger::verify(&location, &expected).map_err(|broken| {
                Problem::new(Code::LedgerBroken, broken.to_string())
                    .help("restore a backup, and find out who changed the file")
            })?;
            json!({ "entries": verified.entries, "head": verified.head })
        }
    };
    if as_json {
        verified["checkpoint"] = size.into();
        print_json(&verified);
        return Ok(());
    }
    println!(
        "{} entries, all as they were written\nhead {}",
        verified["entries"],
        verified["head"].as_str().unwrap_or_default()
    );
    match (size, &expected.key) {
        (None, _) => {}
        (Some(size), Some(_)) => println!("the first {size} are those of the checkpoint"),
        (Some(size), None) => println!(
            "the first {size} are those of the checkpoint, whose signature was not checked: --key"
        ),
    }
    Ok(())
}
