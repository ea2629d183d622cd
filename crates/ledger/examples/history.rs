//! Makes a long history out of the events of one model, for `bench/many.py`: the same deployment
//! for many models and versions, then a year of changed numbers of replicas. `history LEDGER MODELS
//! VERSIONS IN_USE CHANGES`, with the JSON of `decalog events --json` on standard input; the ledger
//! must not be in use.

use std::collections::HashMap;

use domain::event::{BODY_VERSION, Event};
use domain::{DataDirectory, Digest, State};
use ledger::{Damage, Ledger, Location, Row};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

type Failure = Box<dyn std::error::Error>;

/// The end of the ledger, to which entries are added without waiting for the disk.
struct End<'a> {
    connection: &'a Connection,
    seq: u64,
    hash: Digest,
    epoch: u64,
    at_ms: u64,
    subjects: HashMap<String, u64>,
}

impl End<'_> {
    fn append(&mut self, subject: &str, kind: &str, body: &Value) -> Result<u64, Failure> {
        let event: Event = serde_json::from_value(json!({ "kind": kind, "body": body }))?;
        let subject_seq = self.subjects.entry(subject.into()).or_default();
        *subject_seq += 1;
        let row = Row {
            seq: self.seq + 1,
            at_ms: self.at_ms,
            actor: "decalog".into(),
            subject: subject.into(),
            subject_seq: *subject_seq,
            writer_epoch: self.epoch,
            kind: kind.into(),
            body_version: BODY_VERSION,
            body: event.body(),
            previous_hash: self.hash,
        };
        self.hash = row.hash();
        self.seq += 1;
        let sql = "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        self.connection.prepare_cached(sql)?.execute(params![
            row.seq,
            row.at_ms,
            row.actor,
            row.subject,
            row.subject_seq,
            row.writer_epoch,
            row.kind,
            row.body_version,
            row.body,
            row.previous_hash.0.as_slice(),
            self.hash.0.as_slice()
        ])?;
        Ok(self.seq)
    }

    /// The events of one deployment, as those of another version of another model.
    fn deploy(
        &mut self,
        name: &str,
        version: u64,
        template: &[(String, Value)],
    ) -> Result<(), Failure> {
        let subject = format!("default/{name}");
        let mut deployment = 0;
        for (kind, body) in template {
            let mut body = body.clone();
            let set = |body: &mut Value, field: &str, value: Value| {
                if let Some(place) = body.get_mut(field) {
                    *place = value;
                }
            };
            set(&mut body, "version", version.into());
            set(&mut body, "deployment", deployment.into());
            set(
                &mut body,
                "previous",
                if version > 1 { (version - 1).into() } else { Value::Null },
            );
            set(
                &mut body,
                "digest",
                Digest::of(format!("{name} {version}").as_bytes()).to_string().into(),
            );
            let seq = self.append(&subject, kind, &body)?;
            if kind == "deploy_started" {
                deployment = seq;
            }
        }
        Ok(())
    }

    /// Another number of replicas of a model's newest version.
    fn scale(
        &mut self,
        name: &str,
        version: u64,
        target: u64,
        template: &Value,
    ) -> Result<(), Failure> {
        let mut body = template.clone();
        body["placement"] = json!({
            "model": format!("default/{name}"), "environment": "production", "version": version, "revision": 0,
            "digest": Digest::of(format!("{name} {version}").as_bytes()).to_string(),
        });
        body["record"]["decision"]["target"] = target.into();
        self.append(&format!("default/{name}"), "scale_changed", &body).map(|_| ())
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, models, versions, in_use, changes] = arguments.as_slice() else {
        return Err("history LEDGER MODELS VERSIONS IN_USE CHANGES".into());
    };
    let (models, versions, in_use): (u64, u64, u64) =
        (models.parse()?, versions.parse()?, in_use.parse()?);
    let changes: u64 = changes.parse()?;
    let page: Value = serde_json::from_reader(std::io::stdin())?;
    let events = page["events"].as_array().ok_or("no events")?;
    let of = |event: &Value| {
        (event["kind"].as_str().unwrap_or_default().to_string(), event["body"].clone())
    };
    let scaled = events
        .iter()
        .find(|event| event["kind"] == "scale_changed")
        .ok_or("no scale_changed among the events")?;
    let scaled = scaled["body"].clone();
    const DEPLOYMENT: [&str; 4] =
        ["version_pushed", "deploy_started", "schema_recorded", "released"];
    let template: Vec<_> =
        events.iter().map(of).filter(|(kind, _)| DEPLOYMENT.contains(&kind.as_str())).collect();
    let path = std::path::Path::new(path);
    let data = DataDirectory::new(path.parent().unwrap_or(path));
    let location = Location::parse(&path.display().to_string(), &data)?;
    let state =
        ledger::fold(&Ledger::open_read_only(&location)?, State::default(), Damage::Refused)?;
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let epoch =
        connection.query_row("SELECT max(writer_epoch) FROM entries", [], |row| row.get(0))?;
    let newest_ms: u64 =
        connection.query_row("SELECT max(at) FROM entries", [], |row| row.get(0))?;
    connection.execute_batch("BEGIN")?;
    let subjects =
        state.subjects.iter().map(|(subject, known)| (subject.clone(), known.entries)).collect();
    let mut end = End {
        connection: &connection,
        seq: state.seq,
        hash: state.hash,
        epoch,
        at_ms: newest_ms - YEAR_MS,
        subjects,
    };
    let name = |model: u64| format!("m{model:05}");
    for version in 1..=versions {
        for model in 0..models {
            end.deploy(&name(model), version, &template)?;
        }
    }
    for model in 0..models {
        end.scale(&name(model), versions, 0, &scaled)?;
    }
    for change in 0..changes {
        end.at_ms = newest_ms - YEAR_MS + YEAR_MS / changes.max(1) * change;
        end.scale(&name(change / 2 % in_use.max(1)), versions, 1 - change % 2, &scaled)?;
    }
    connection.execute_batch("COMMIT")?;
    println!("{{\"entries\": {}}}", end.seq);
    Ok(())
}
