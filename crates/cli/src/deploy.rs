//! `decalog deploy`: push, then follow the events of the deployment until it is live or has failed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::manifest::Configuration;
use domain::release::Plan;
use domain::{Code, DeploymentId, Digest, EnvironmentName, ModelKey, Problem, Schema};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use server::Pushed;
use textwrap::core::display_width;

use crate::Failure;
use crate::args::{DeployOptions, SourceOptions};
use crate::check::line;
use crate::client::Client;
use crate::directory::ModelDirectory;
use crate::following::{explain_interruption, follow, spinner, step};
use crate::packages;
use crate::profiling::{self, Profiled};
use crate::provenance::{self, Origin};
use crate::release::{self, environment_name};
use crate::terminal::{bytes, width};

/// Bytes of one chunk of an upload.
const CHUNK_BYTES: usize = 8 << 20;
/// A longer row is not written into a command, in bytes.
const WRITTEN_ROW_BYTES_MAX: usize = 2_000;
/// Attempts for one chunk.
const ATTEMPTS_MAX: u32 = 5;

#[derive(Deserialize)]
struct MissingBlobs {
    missing: Vec<MissingBlob>,
}

#[derive(Deserialize)]
struct MissingBlob {
    digest: Digest,
    offset: u64,
}

/// A model directory that is about to be pushed.
pub struct Prepared {
    /// What lies there.
    pub directory: ModelDirectory,
    /// Which model it becomes a version of.
    pub key: ModelKey,
    /// With whose variables it is to run.
    pub environment: EnvironmentName,
    profiled: Option<Profiled>,
    origin: Origin,
}

impl Prepared {
    /// Reads a directory, and says what it holds.
    pub fn read(source: &SourceOptions, environment: &str) -> Result<Prepared, Failure> {
        let directory = ModelDirectory::read(&source.path)?;
        let key = source.key(&directory)?;
        let environment = environment_name(environment)?;
        let description = directory.describe()?;
        step("check", &line(&directory, description.as_ref()), None);
        let needs = description.as_ref().map(|description| description.needs.as_slice());
        let judged = packages::judge(&directory, needs.unwrap_or_default())?;
        // The server compares with what the packages really bring; here, only their absence is
        // certain.
        if let Some(problem) = judged.problem().filter(|_| judged.file.is_none()) {
            return Err(problem.into());
        }
        judged.notes.iter().chain(&judged.doubts()).for_each(|note| step("note", note, None));
        let schema = description.as_ref().and_then(|description| description.schema.as_ref());
        let profiled = profiling::profile(&directory, schema)?;
        let reference = profiled.as_ref().map(|profiled| profiled.data.clone());
        let origin = provenance::origin(&directory, &environment, reference)?;
        Ok(Prepared { directory, key, environment, profiled, origin })
    }

    /// Where the API has the model.
    pub fn path(&self) -> String {
        format!("/v1/projects/{}/models/{}", self.key.project, self.key.model)
    }

    /// Real paths of what is not pushed.
    pub fn left_out(&self) -> &BTreeSet<PathBuf> {
        &self.origin.left_out
    }

    /// Makes a version of it.
    pub fn push(&self, client: &Client) -> Result<Pushed, Failure> {
        let (pushed, begin) = push(client, self)?;
        let known = if pushed.new { "" } else { " (the same content as before)" };
        step(
            "version",
            &format!("{} {}{known}", pushed.version, pushed.digest.short()),
            Some(begin.elapsed().as_millis() as u64),
        );
        Ok(pushed)
    }

    /// How the traffic moves: as options say, or else the manifest.
    fn plan(&self, said: Plan) -> Plan {
        if !said.is_instant() {
            return said;
        }
        let usual = self.directory.manifest.release.plan();
        Plan {
            breaking: said.breaking,
            untested: said.untested,
            rehearse: said.rehearse.or(usual.rehearse),
            guards: if said.guards.is_empty() { usual.guards } else { said.guards },
            ..usual
        }
    }

    /// Begins to take a version of it live.
    pub fn begin(
        &self,
        client: &Client,
        version: &str,
        plan: Plan,
        configuration: &Configuration,
    ) -> Result<DeploymentId, Failure> {
        let request = json!({
            "version": version,
            "environment": self.environment,
            "plan": plan,
            "configuration": configuration,
        });
        let started: Value = client.post(&format!("{}/deployments", self.path()), &request)?;
        Ok(DeploymentId(started["deployment"].as_u64().unwrap_or(0)))
    }

    /// Prints how to call the model.
    pub fn example(&self, client: &Client) -> Result<(), Failure> {
        example(client, &self.key, &self.environment, &self.directory.path)
    }
}

/// Runs the verb.
pub fn run(client: &Client, options: DeployOptions) -> Result<(), Failure> {
    let plan = release::plan(&options.plan)?;
    let prepared = Prepared::read(&options.source, &options.env)?;
    let pushed = prepared.push(client)?;
    let configuration = prepared.directory.manifest.configuration();
    let id = prepared.begin(client, &pushed.version, prepared.plan(plan), &configuration)?;
    let (key, version) = (&prepared.key, &pushed.version);
    if options.detach {
        let text = format!("it goes on at the server: decalog release status {}", key.model);
        step("detach", &text, None);
        return Ok(());
    }
    explain_interruption(format!(
        "{} {version} goes on at the server: decalog events {} -f",
        key.model, key.model
    ));
    follow(client, key, version, &prepared.environment, id)?;
    prepared.example(client)
}

/// Uploads what the server has not, and makes a version of it. Gives when the version was
/// requested.
fn push(client: &Client, prepared: &Prepared) -> Result<(Pushed, Instant), Failure> {
    let begin = Instant::now();
    let Prepared { directory, profiled, origin, .. } = prepared;
    let mut walked = artifacts::walk_without(&directory.path, origin.left_out.clone())
        .map_err(|error| Problem::new(Code::BadTree, error.to_string()))?;
    packages::left_out(&walked).iter().for_each(|line| step("left out", line, None));
    if let Some(profiled) = profiled {
        walked = profiled.put_into(walked)?;
    }
    let name = upload_name(directory, &origin.provenance.author);
    upload(client, &walked, &name, begin)?;
    let body = json!({
        "tree": walked.tree,
        "manifest": directory.manifest,
        "runtime": directory.runtime,
        "file": directory.file,
        "provenance": origin.provenance,
        "upload": name,
    });
    let versions = format!("{}/versions", prepared.path());
    let waiting = spinner("resolve  ");
    let requested = Instant::now();
    let mut pushed = client.post(&versions, &body);
    if matches!(&pushed, Err(Failure::Problem(problem)) if problem.code == Code::MissingBlobs) {
        // A server that was started anew in between no longer knew that they were wanted.
        upload(client, &walked, &name, begin)?;
        pushed = client.post(&versions, &body);
    }
    waiting.finish_and_clear();
    Ok((pushed?, requested))
}

/// The same for each push of this directory, so that an upload goes on where an earlier one broke
/// off, and unlike that of anybody else who sends the same content.
fn upload_name(directory: &ModelDirectory, author: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let path = directory.path.canonicalize().unwrap_or_else(|_| directory.path.clone());
    Digest::of(format!("{author}\n{host}\n{}", path.display()).as_bytes()).short()
}

fn upload(
    client: &Client,
    walked: &artifacts::Walked,
    name: &str,
    begin: Instant,
) -> Result<(), Failure> {
    let files = walked.tree.files();
    let wanted: Vec<Value> =
        files.iter().map(|file| json!({ "digest": file.digest, "size": file.size })).collect();
    let MissingBlobs { missing } =
        client.post("/v1/blobs/missing", &json!({ "blobs": wanted, "upload": name }))?;
    let size = |digest: &Digest| {
        files.iter().find(|file| file.digest == *digest).map_or(0, |file| file.size)
    };
    let total: u64 =
        missing.iter().map(|blob| size(&blob.digest) - blob.offset.min(size(&blob.digest))).sum();
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(total)
    } else {
        ProgressBar::hidden()
    };
    let style =
        ProgressStyle::with_template("  push      {bar:40} {bytes} of {total_bytes}, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut sent = std::collections::HashSet::new();
    for blob in &missing {
        if sent.insert(blob.digest) {
            let path = walked
                .paths
                .get(&blob.digest)
                .ok_or_else(|| Problem::new(Code::BadTree, "a file vanished while it was read"))?;
            upload_file(client, path, blob, size(&blob.digest), name, &bar)?;
        }
    }
    bar.finish_and_clear();
    let there = files.len() - files.iter().filter(|file| sent.contains(&file.digest)).count();
    let there = if there > 0 { format!(" ({there} already there)") } else { String::new() };
    let text = format!(
        "{} {}, {}{there}",
        files.len(),
        if files.len() == 1 { "file" } else { "files" },
        bytes(walked.tree.size())
    );
    step("push", &text, Some(begin.elapsed().as_millis() as u64));
    Ok(())
}

/// Sends a file from where the server has it; a connection that breaks is taken up again where the
/// server is.
fn upload_file(
    client: &Client,
    path: &Path,
    blob: &MissingBlob,
    size: u64,
    name: &str,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        Problem::new(Code::BadTree, format!("{} cannot be read: {error}", path.display()))
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut offset = blob.offset;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut attempts = 0;
    loop {
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let wanted = CHUNK_BYTES.min(size.saturating_sub(offset) as usize);
        file.read_exact(&mut chunk[..wanted]).map_err(unreadable)?;
        let sent = client.patch(
            &format!("/v1/blobs/{}?size={size}&offset={offset}&upload={name}", blob.digest),
            &chunk[..wanted],
        );
        match sent {
            Ok(progress) if progress["complete"] == true => return Ok(()),
            Ok(progress) => {
                let next = progress["offset"].as_u64().unwrap_or(offset + wanted as u64);
                bar.inc(next.saturating_sub(offset));
                offset = next;
                attempts = 0;
            }
            Err(failure) if attempts < ATTEMPTS_MAX && is_passing(&failure) => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(200 << attempts));
                let again: Result<MissingBlobs, Failure> = client.post(
                    "/v1/blobs/missing",
                    &json!({ "blobs": [{ "digest": blob.digest, "size": size }], "upload": name }),
                );
                match again {
                    Ok(MissingBlobs { missing }) if missing.is_empty() => return Ok(()),
                    Ok(MissingBlobs { missing }) => offset = missing[0].offset,
                    Err(_) => {}
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Whether an upload may go on after it: the connection broke, or an earlier run of this upload was
/// still writing.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::Problem(problem) => {
            problem.code == Code::WrongOffset || problem.code == Code::Conflict
        }
    }
}

/// Prints how to call the model.
fn example(
    client: &Client,
    key: &ModelKey,
    environment: &EnvironmentName,
    directory: &Path,
) -> Result<(), Failure> {
    let reference =
        if key.project.as_str() == "default" { key.model.to_string() } else { key.to_string() };
    let reference = if environment.as_str() == "production" {
        reference
    } else {
        format!("{reference}@{environment}")
    };
    let view: control::view::ModelView =
        client.get(&format!("/v1/projects/{}/models/{}", key.project, key.model))?;
    let live = view
        .live
        .iter()
        .find(|(other, _)| other == environment)
        .map(|(_, version)| version.clone());
    let version = view.versions.iter().find(|version| Some(&version.version) == live.as_ref());
    let row = first_case(directory).or_else(|| {
        version.and_then(|v| v.schema.as_ref()).map(|schema: &Schema| worker::synthetic_row(schema))
    });
    let url = format!("{}/v1/models/{reference}/predict", client.url());
    println!("\n{}", curl(&url, &reference, row.as_ref(), width()));
    Ok(())
}

/// How to call a model from a shell, in lines that fit the terminal: a row that is too wide for one
/// goes into a file.
fn curl(url: &str, reference: &str, row: Option<&Value>, width: Option<usize>) -> String {
    let quoted = row.map(|row| format!("'{}'", row.to_string().replace('\'', "'\\''")));
    let short = quoted.filter(|row| row.len() < WRITTEN_ROW_BYTES_MAX);
    let fits = |line: &str| width.is_none_or(|width| display_width(line) <= width);
    if let Some(row) = short {
        let line = format!("  curl {url} -d {row}");
        let below = format!("    -d {row}");
        if fits(&line) {
            return line;
        }
        if fits(&below) {
            return format!("  curl {url} \\\n{below}");
        }
    }
    format!("  decalog show {reference} --row > row.json\n  curl {url} -d @row.json")
}

fn first_case(directory: &Path) -> Option<Value> {
    let mut paths: Vec<_> = std::fs::read_dir(directory.join("tests"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let path = paths
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "json"))?;
    let case: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    case.get("input").or_else(|| case.get("rows").and_then(|rows| rows.get(0))).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_fits_the_terminal() {
        let (url, narrow) = ("http://127.0.0.1:8010/v1/models/m/predict", Some(80));
        let row = json!({ "name": "it's" });
        let whole = r#"  curl http://127.0.0.1:8010/v1/models/m/predict -d '{"name":"it'\''s"}'"#;
        assert_eq!(curl(url, "m", Some(&row), narrow), whole);
        let row = json!({ "name": "x".repeat(40) });
        let lines = curl(url, "m", Some(&row), narrow);
        assert!(lines.contains(" \\\n    -d '{"), "{lines}");
        for width in [narrow, Some(60)] {
            let row = json!({ "name": "x".repeat(90) });
            let lines = curl(url, "m", Some(&row), width);
            assert!(lines.contains("decalog show m --row > row.json"), "{lines}");
            assert!(lines.lines().all(|line| line.len() <= 61), "{lines}");
        }
        assert!(!curl(url, "m", Some(&row), None).contains('\n'), "for programs");
        assert!(curl(url, "m", None, None).ends_with("-d @row.json"));
    }
}
