//! `decalog deploy`: push, then follow the events of the deployment until it is live or has failed.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use domain::event::MadeUpRow;
use domain::release::Plan;
use domain::{After, Code, DeploymentId, Digest, EnvironmentName, Event, Happened, ModelKey, Problem, Schema};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use server::Pushed;

use crate::Failure;
use crate::args::DeployOptions;
use crate::check::{bytes, line};
use crate::client::Client;
use crate::directory::ModelDirectory;
use crate::release::{self, environment_name};

/// Bytes of one chunk of an upload.
const CHUNK_BYTES: usize = 8 << 20;
/// A server that does not answer is given up after so long, in milliseconds.
const RECONNECT_MS_MAX: u64 = 60_000;
/// How often it is tried, in milliseconds.
const RECONNECT_EVERY_MS: u64 = 250;
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

/// The exit code after Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

/// One line of a deploy; with its time it fits a terminal of 80 columns, unless the text is longer.
fn step(name: &str, text: &str, elapsed_ms: Option<u64>) {
    let elapsed = elapsed_ms.map_or(String::new(), |ms| format!("{:>8.1} s", ms as f64 / 1_000.0));
    eprintln!("  {}", format!("{name:<9} {text:<57}{elapsed}").trim_end());
}

fn spinner(text: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("  {msg} {spinner}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(text.to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Runs the verb.
pub fn run(client: &Client, options: DeployOptions) -> Result<(), Failure> {
    let directory = ModelDirectory::read(&options.path)?;
    let name = directory.name(options.name.as_deref())?;
    let project =
        options.project.parse().map_err(|error: domain::id::NameError| Problem::new(Code::BadName, error.to_string()))?;
    let key = ModelKey { project, model: name };
    let (environment, plan) = (environment_name(&options.env)?, release::plan(&options.plan)?);
    let description = directory.describe()?;
    step("check", &line(&directory, description.as_ref()), None);
    let path = format!("/v1/projects/{}/models/{}", key.project, key.model);
    let (pushed, begin) = push(client, &directory, &path)?;
    let known = if pushed.new { "" } else { " (the same content as before)" };
    step("version", &format!("{} {}{known}", pushed.version, pushed.digest.short()), Some(begin.elapsed().as_millis() as u64));
    let plan = match plan.is_instant() {
        // Nothing was said of how the traffic moves: the manifest says it.
        true => Plan { breaking: plan.breaking, untested: plan.untested, ..directory.manifest.release.plan() },
        false => plan,
    };
    let ask = json!({ "version": pushed.version, "environment": environment, "plan": plan, "configuration": directory.manifest.configuration() });
    let asked: Value = client.post(&format!("{path}/deployments"), &ask)?;
    let id = DeploymentId(asked["deployment"].as_u64().unwrap_or(0));
    if options.detach {
        step("detach", &format!("it goes on at the server: decalog release status {}", key.model), None);
        return Ok(());
    }
    explain_interruption(format!("{} {} goes on at the server: decalog events {} -f", key.model, pushed.version, key.model));
    follow(client, &key, &pushed.version, id)?;
    example(client, &key, &environment, &directory.path)
}

/// Uploads what the server has not, and makes a version of it. Gives when the version was asked for.
fn push(client: &Client, directory: &ModelDirectory, path: &str) -> Result<(Pushed, Instant), Failure> {
    let begin = Instant::now();
    let walked = artifacts::walk(&directory.path).map_err(|error| Problem::new(Code::BadTree, error.to_string()))?;
    let provenance = directory.provenance();
    let name = upload_name(directory, &provenance.author);
    upload(client, &walked, &name, begin)?;
    let body = json!({
        "tree": walked.tree,
        "manifest": directory.manifest,
        "runtime": directory.runtime,
        "file": directory.file,
        "provenance": provenance,
        "upload": name,
    });
    let waiting = spinner("resolve  ");
    let asked = Instant::now();
    let mut pushed = client.post(&format!("{path}/versions"), &body);
    if matches!(&pushed, Err(Failure::Problem(problem)) if problem.code == Code::MissingBlobs) {
        // A server that was started anew in between no longer knew that they were wanted.
        upload(client, &walked, &name, begin)?;
        pushed = client.post(&format!("{path}/versions"), &body);
    }
    waiting.finish_and_clear();
    Ok((pushed?, asked))
}

/// The same for each push of this directory, so that an upload goes on where an earlier one broke off, and unlike that of
/// anybody else who sends the same content.
fn upload_name(directory: &ModelDirectory, author: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let path = directory.path.canonicalize().unwrap_or_else(|_| directory.path.clone());
    Digest::of(format!("{author}\n{host}\n{}", path.display()).as_bytes()).short()
}

fn upload(client: &Client, walked: &artifacts::Walked, name: &str, begin: Instant) -> Result<(), Failure> {
    let files = walked.tree.files();
    let wanted: Vec<Value> = files.iter().map(|file| json!({ "digest": file.digest, "size": file.size })).collect();
    let MissingBlobs { missing } = client.post("/v1/blobs/missing", &json!({ "blobs": wanted, "upload": name }))?;
    let size = |digest: &Digest| files.iter().find(|file| file.digest == *digest).map_or(0, |file| file.size);
    let total: u64 = missing.iter().map(|blob| size(&blob.digest) - blob.offset.min(size(&blob.digest))).sum();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("  push      {bar:40} {bytes} of {total_bytes}, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut sent = std::collections::HashSet::new();
    for blob in &missing {
        if sent.insert(blob.digest) {
            let path =
                walked.paths.get(&blob.digest).ok_or_else(|| Problem::new(Code::BadTree, "a file vanished while it was read"))?;
            upload_file(client, path, blob, size(&blob.digest), name, &bar)?;
        }
    }
    bar.finish_and_clear();
    let there = files.len() - files.iter().filter(|file| sent.contains(&file.digest)).count();
    let there = if there > 0 { format!(" ({there} already there)") } else { String::new() };
    let text =
        format!("{} {}, {}{there}", files.len(), if files.len() == 1 { "file" } else { "files" }, bytes(walked.tree.size()));
    step("push", &text, Some(begin.elapsed().as_millis() as u64));
    Ok(())
}

/// Sends a file from where the server has it; a connection that breaks is taken up again where the server is.
fn upload_file(
    client: &Client,
    path: &Path,
    blob: &MissingBlob,
    size: u64,
    name: &str,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Problem::new(Code::BadTree, format!("{} cannot be read: {error}", path.display()));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut offset = blob.offset;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut attempts = 0;
    loop {
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let wanted = CHUNK_BYTES.min(size.saturating_sub(offset) as usize);
        file.read_exact(&mut chunk[..wanted]).map_err(unreadable)?;
        let sent =
            client.patch(&format!("/v1/blobs/{}?size={size}&offset={offset}&upload={name}", blob.digest), &chunk[..wanted]);
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
                let again: Result<MissingBlobs, Failure> = client
                    .post("/v1/blobs/missing", &json!({ "blobs": [{ "digest": blob.digest, "size": size }], "upload": name }));
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

/// Whether an upload may go on after it: the connection broke, or an earlier run of this upload was still writing.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::Problem(problem) => problem.code == Code::WrongOffset || problem.code == Code::Conflict,
    }
}

/// On Ctrl-C, says what that does not stop.
pub fn explain_interruption(text: String) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            eprintln!("\n{text}");
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Follows a deployment until it is live, or fails with its problem. A server that restarts meanwhile is waited for.
pub fn follow(client: &Client, key: &ModelKey, version: &str, id: DeploymentId) -> Result<(), Failure> {
    let after = After { seq: id.0.saturating_sub(1), telemetry: None };
    let mut following = Following { client, key, version, id, after };
    let mut lost_since: Option<Instant> = None;
    loop {
        let seen = following.after;
        let broke = match following.read() {
            Ok(()) => return Ok(()),
            Err(Ended::Failed(failure)) => return Err(failure),
            Err(Ended::Broke(why)) => why,
        };
        if following.after != seen {
            lost_since = None;
        }
        if lost_since.is_none() {
            step(
                "waiting",
                &format!("for the server, which does not answer now, for up to {} s", RECONNECT_MS_MAX / 1_000),
                None,
            );
        }
        if lost_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(RECONNECT_MS_MAX) {
            let problem = Problem::new(Code::Unreachable, format!("the connection to the server broke: {broke}"));
            return Err(Failure::Unreachable(
                problem.help(format!("the deployment goes on once decalog up runs: decalog events {} -f", key.model)),
            ));
        }
        std::thread::sleep(Duration::from_millis(RECONNECT_EVERY_MS));
    }
}

/// Why reading stopped before the end of a deployment.
enum Ended {
    /// The deployment has ended, or the server refuses to tell.
    Failed(Failure),
    /// The connection broke.
    Broke(String),
}

impl<T: Into<Failure>> From<T> for Ended {
    fn from(failure: T) -> Ended {
        match failure.into() {
            Failure::Unreachable(problem) => Ended::Broke(problem.message),
            // As many follow as may: another will be done soon.
            Failure::Problem(problem) if problem.code == Code::ServerBusy => Ended::Broke(problem.message),
            failure => Ended::Failed(failure),
        }
    }
}

/// A deployment whose events are read.
struct Following<'a> {
    client: &'a Client,
    key: &'a ModelKey,
    version: &'a str,
    id: DeploymentId,
    /// How far it was read.
    after: After,
}

impl Following<'_> {
    /// Prints a line for each step until the deployment is live.
    fn read(&mut self) -> Result<(), Ended> {
        let path = format!("/v1/events?model={}&after={}&follow=true", self.key, self.after);
        let mut waiting = spinner("build    ");
        for line in self.client.lines(&path)? {
            let line = line.map_err(|error| Ended::Broke(error.to_string()))?;
            let Ok(happened) = serde_json::from_str::<Happened>(&line) else { continue };
            waiting.finish_and_clear();
            self.after = happened.place;
            if self.take(happened)? {
                return Ok(());
            }
            waiting = spinner("…");
        }
        Err(Ended::Broke("it was closed".into()))
    }

    /// Whether the deployment is live with this.
    fn take(&self, happened: Happened) -> Result<bool, Failure> {
        let (id, model) = (self.id, &self.key.model);
        match happened.event {
            Event::EnvironmentBuilt { deployment, lock, cached, elapsed_ms } if deployment == id => {
                let text = format!("environment {}{}", lock.short(), if cached { " (cached)" } else { "" });
                step("build", &text, Some(elapsed_ms));
            }
            Event::CandidateReady { deployment, elapsed_ms } if deployment == id => {
                step("start", "1 replica, model loaded", Some(elapsed_ms));
            }
            Event::TestsPassed { deployment, cases, elapsed_ms, made_up } if deployment == id => {
                step("test", &tested(cases, made_up.as_ref()), Some(elapsed_ms));
            }
            Event::GatesPassed { deployment, candidate, live, elapsed_ms } if deployment == id => {
                let figures = |m: domain::event::Measurement| format!("p99 {:.1} ms, {:.0} MB", m.p99_ms, m.memory_mb);
                let live = live.map_or(String::new(), |live| format!(" (live: {})", figures(live)));
                step("gate", &format!("{}{live}", figures(candidate)), Some(elapsed_ms));
            }
            Event::TrafficShifted { deployment, phase, baseline, .. } if deployment == id => {
                let name = if phase.shadow { "shadow" } else { "canary" };
                step(name, &format!("{}% of the requests; the rest goes to {baseline}", phase.percent), None);
            }
            Event::GuardsJudged { deployment, judgements, .. } if deployment == id => {
                judgements.to_string().lines().for_each(|line| step("guard", line.trim(), None));
            }
            Event::ReleasePaused { deployment } if deployment == id => {
                step("paused", &format!("by {}: decalog release resume {model}", happened.actor), None);
            }
            Event::ReleaseResumed { deployment } if deployment == id => step("resumed", &format!("by {}", happened.actor), None),
            Event::Released { deployment, environment, elapsed_ms, .. } if deployment == id => {
                step("live", &format!("{model} {} in {environment}", self.version), Some(elapsed_ms));
                return Ok(true);
            }
            Event::DeployFailed { deployment, step: at, problem } if deployment == id => {
                step(&at, if at == "guard" { "rolled back" } else { "failed" }, None);
                return Err(self.failed(problem).into());
            }
            Event::ModelRemoved {} => {
                let text =
                    format!("{model} was removed by {} in the meantime; {} was not released", happened.actor, self.version);
                return Err(Problem::new(Code::Removed, text).help("deploy again if it is still wanted").into());
            }
            _ => {}
        }
        Ok(false)
    }

    fn failed(&self, mut problem: Problem) -> Problem {
        let path = format!("/v1/projects/{}/models/{}", self.key.project, self.key.model);
        let live: Result<control::view::ModelView, Failure> = self.client.get(&path);
        let live = live.ok().and_then(|view| view.live.first().map(|(_, version)| version.clone()));
        problem.details.push(match live {
            Some(live) => format!("{live} keeps serving; {} was not released.", self.version),
            None => format!("{} was not released.", self.version),
        });
        problem
    }
}

/// What a candidate was tested by, in one line.
pub fn tested(cases: u32, made_up: Option<&MadeUpRow>) -> String {
    match made_up {
        None => format!("{cases} of {cases} cases"),
        Some(MadeUpRow::Answered) => "no cases; a made-up row was answered".into(),
        Some(MadeUpRow::Refused(why)) => format!("the made-up row was refused: {why}; add tests/NAME.json"),
        Some(MadeUpRow::Skipped(why)) => format!("no cases, and no made-up row was asked: {why}"),
    }
}

/// Prints how to call the model.
fn example(client: &Client, key: &ModelKey, environment: &EnvironmentName, directory: &Path) -> Result<(), Failure> {
    let reference = if key.project.as_str() == "default" { key.model.to_string() } else { key.to_string() };
    let reference = if environment.as_str() == "production" { reference } else { format!("{reference}@{environment}") };
    let view: control::view::ModelView = client.get(&format!("/v1/projects/{}/models/{}", key.project, key.model))?;
    let live = view.live.iter().find(|(other, _)| other == environment).map(|(_, version)| version.clone());
    let version = view.versions.iter().find(|version| Some(&version.version) == live.as_ref());
    let row = first_case(directory)
        .or_else(|| version.and_then(|v| v.schema.as_ref()).map(|schema: &Schema| worker::synthetic_row(schema)));
    let row = row.map(|row| row.to_string()).filter(|row| row.len() < 2_000).unwrap_or_else(|| "@row.json".into());
    println!("\n  curl {}/v1/models/{reference}/predict -d '{}'", client.url(), row.replace('\'', "'\\''"));
    Ok(())
}

fn first_case(directory: &Path) -> Option<Value> {
    let mut paths: Vec<_> = std::fs::read_dir(directory.join("tests")).ok()?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let path = paths.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "json"))?;
    let case: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    case.get("input").or_else(|| case.get("rows").and_then(|rows| rows.get(0))).cloned()
}
