//! `decalog audit`: checkpoints and receipts of the ledger, checked here and not by the server that
//! gives them, and all entries for a store of logs elsewhere.

use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use domain::{Code, Problem};
use ledger::ExportedEntry;
use ledger::proof::{Checkpoint, Receipt, VerifierKey};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{AuditVerb, ExportFormat};
use crate::client::Client;
use crate::evidence::{
    checkpoint_of, encoded, failed, key_of, not_proved, note, read, replace, verifier_key,
};
use crate::terminal::{one_line, print_json};
use crate::witness;

/// After so many lines it is remembered how far an export has come.
const LINES_MAX: u64 = 1_000;

/// Runs the verb.
pub fn run(client: &Client, verb: AuditVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        AuditVerb::Checkpoint => checkpoint(client, as_json),
        AuditVerb::Key => key(client, as_json),
        AuditVerb::Prove { seq, out } => prove(client, seq, out.as_deref(), as_json),
        AuditVerb::Verify { file, key } => verify(&file, &key, as_json),
        AuditVerb::Export { since, format, cursor } => {
            export(client, since.as_deref(), format, cursor.as_deref())
        }
        AuditVerb::Witness { file, key } => witness::run(client, &file, key.as_deref(), as_json),
    }
}

fn checkpoint(client: &Client, as_json: bool) -> Result<(), Failure> {
    let text = client.text("/v1/audit/checkpoint")?;
    if !as_json {
        std::print!("{text}");
        return Ok(());
    }
    let Checkpoint { origin, size, root, .. } = checkpoint_of(&note(&text)?)?;
    print_json(&json!({ "origin": origin, "size": size, "root": root, "note": text }));
    Ok(())
}

fn key(client: &Client, as_json: bool) -> Result<(), Failure> {
    let key = key_of(client)?;
    match as_json {
        true => print_json(&json!({ "origin": key.name(), "key": key.to_string() })),
        false => println!("{key}"),
    }
    Ok(())
}

/// What a receipt shows, once it is checked.
fn shown(receipt: &Receipt, key: &VerifierKey) -> Result<(Value, String), Problem> {
    let (entry, checkpoint) = ExportedEntry::proved(receipt, key).map_err(|error| {
        not_proved(error.to_string())
            .help("get the receipt, and the key, once more from who gave them to you")
    })?;
    let line = format!(
        "entry {} ({}, {}, by {}, at {}) is one of the {} entries of the ledger {}",
        entry.seq,
        one_line(&entry.kind),
        one_line(&entry.subject),
        one_line(&entry.actor),
        entry.time,
        checkpoint.size,
        checkpoint.origin
    );
    let Checkpoint { origin, size, root, .. } = checkpoint;
    Ok((json!({ "entry": entry, "origin": origin, "size": size, "root": root }), line))
}

fn prove(client: &Client, seq: u64, out: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    if let Some(out) = out.filter(|out| out.exists()) {
        return Err(failed(out, "written", std::io::ErrorKind::AlreadyExists.into())
            .help("name a new file")
            .into());
    }
    let mut text = String::new();
    let read = client.reader(&format!("/v1/audit/proof/{seq}"))?.read_to_string(&mut text);
    read.map_err(|error| {
        Problem::new(Code::Interrupted, format!("the receipt broke off: {error}"))
    })?;
    let receipt =
        text.parse().map_err(|error| not_proved(format!("the server's receipt: {error}")))?;
    let (mut value, line) = shown(&receipt, &key_of(client)?)?;
    match out {
        Some(out) => replace(out, &text)?,
        None if !as_json => std::print!("{text}"),
        None => {}
    }
    if as_json {
        value["receipt"] = text.into();
        print_json(&value);
        return Ok(());
    }
    eprintln!("shows that {line}");
    Ok(())
}

fn verify(file: &Path, key: &str, as_json: bool) -> Result<(), Failure> {
    let key = verifier_key(key)?;
    let receipt =
        read(file)?.parse().map_err(|error| not_proved(format!("{}: {error}", file.display())))?;
    let (value, line) = shown(&receipt, &key)?;
    match as_json {
        true => print_json(&value),
        false => println!("proved: {line}"),
    }
    Ok(())
}

/// How far an export has come.
struct Cursor<'a> {
    file: Option<&'a Path>,
    seq: u64,
    lines: u64,
}

impl Cursor<'_> {
    fn open(file: Option<&Path>) -> Result<Cursor<'_>, Problem> {
        let Some(path) = file.filter(|path| path.exists()) else {
            return Ok(Cursor { file, seq: 0, lines: 0 });
        };
        let seq = read(path)?.trim().parse().map_err(|_| {
            Problem::new(Code::BadOption, format!("{} holds no number of an entry", path.display()))
                .help("name another file; one that is not there is made")
        })?;
        Ok(Cursor { file, seq, lines: 0 })
    }

    /// Remembers what was written, once it is out of this process, and on disk if it is a file.
    fn keep(&mut self, out: &mut impl Write) -> Result<(), Problem> {
        self.lines = 0;
        let broken =
            |error| Problem::new(Code::Failed, format!("the export is not written: {error}"));
        out.flush().map_err(broken)?;
        let Some(file) = self.file else { return Ok(()) };
        let descriptor = std::io::stdout().as_fd().try_clone_to_owned().map_err(broken)?;
        let output = std::fs::File::from(descriptor);
        if output.metadata().map_err(broken)?.is_file() {
            output.sync_data().map_err(broken)?;
        }
        replace(file, &format!("{}\n", self.seq))
    }
}

fn export(
    client: &Client,
    since: Option<&str>,
    format: ExportFormat,
    cursor: Option<&Path>,
) -> Result<(), Failure> {
    let mut cursor = Cursor::open(cursor)?;
    let since = since.map_or(String::new(), |since| format!("&since={}", encoded(since)));
    let path = format!("/v1/audit/export?after={}&format={}{since}", cursor.seq, format.as_str());
    let mut lines = std::io::BufReader::new(client.reader(&path)?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut line = String::new();
    loop {
        line.clear();
        let broken = |error: &dyn std::fmt::Display| {
            Problem::new(Code::Interrupted, format!("the export broke off: {error}"))
                .help("run it again: with --cursor it goes on after the last whole line")
        };
        let read = lines.read_line(&mut line).map_err(|error| broken(&error));
        if !matches!(read, Ok(read) if read > 0) {
            cursor.keep(&mut out)?;
            return Ok(read.map(|_| ())?);
        }
        // Half a line is none.
        let value: Value = serde_json::from_str(&line).map_err(|error| broken(&error))?;
        let seq = match format {
            ExportFormat::Jsonl => &value["seq"],
            ExportFormat::Ocsf => &value["metadata"]["sequence"],
        };
        cursor.seq = seq.as_u64().ok_or_else(|| broken(&"a line has no number"))?;
        out.write_all(line.as_bytes()).map_err(|error| broken(&error))?;
        cursor.lines += 1;
        if cursor.lines >= LINES_MAX {
            cursor.keep(&mut out)?;
        }
    }
}
