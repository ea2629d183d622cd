//! `decalog watch` and `decalog dev`: deploy a model directory again whenever a file of it is saved.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use domain::manifest::Configuration;
use domain::release::Plan;
use domain::{Code, Digest, Problem, Reference};

use crate::args::{DevOptions, SourceOptions, WatchOptions};
use crate::client::Client;
use crate::deploy::Prepared;
use crate::directory::ModelDirectory;
use crate::following::{follow, step};
use crate::logs::Tail;
use crate::{Failure, tell};

/// How often it is looked whether something was saved, in milliseconds.
const LOOK_MS: u64 = 100;
/// Looking takes at most this share of the time; a directory of very many files is looked at more
/// rarely.
const LOOK_SHARE: u32 = 10;
/// How often it is looked for what the model printed, in milliseconds.
const LOGS_MS: u64 = 500;
/// Lines of the log that are looked at.
const LOG_LINES: usize = 500;
/// A server that does not answer is tried again after so long, in milliseconds.
const RETRY_MS: u64 = 2_000;

/// Deploys a directory again and again.
struct Session<'a> {
    client: &'a Client,
    source: &'a SourceOptions,
    environment: &'a str,
    plan: Plan,
    /// Whether what the model prints is shown, with the rows at which it raises.
    with_log: bool,
    log: Option<Tail>,
    /// Real paths of training data in the directory, which no deployment needs.
    left_out: BTreeSet<PathBuf>,
    is_first: bool,
}

/// `decalog watch`
pub fn watch(client: &Client, options: &WatchOptions) -> Result<(), Failure> {
    let plan = Plan { breaking: options.breaking, untested: options.untested, ..Plan::default() };
    Session::new(client, &options.source, &options.env, plan, false).run()
}

/// `decalog dev`
pub fn dev(client: &Client, options: &DevOptions) -> Result<(), Failure> {
    let plan = Plan { breaking: true, untested: options.untested, ..Plan::default() };
    Session::new(client, &options.source, &options.env, plan, true).run()
}

impl<'a> Session<'a> {
    fn new(
        client: &'a Client,
        source: &'a SourceOptions,
        environment: &'a str,
        plan: Plan,
        with_log: bool,
    ) -> Session<'a> {
        let (log, left_out) = (None, BTreeSet::new());
        Session { client, source, environment, plan, with_log, log, left_out, is_first: true }
    }

    /// Until Ctrl-C.
    fn run(mut self) -> Result<(), Failure> {
        // What is no model directory at all is none after the next save either.
        ModelDirectory::read(&self.source.path)?;
        loop {
            let before = self.stamp()?;
            let is_away = match self.deploy() {
                Ok(()) => false,
                Err(Failure::Problem(problem)) => {
                    tell(&problem);
                    false
                }
                Err(Failure::Unreachable(problem)) => {
                    tell(&problem);
                    true
                }
            };
            let again = match is_away {
                true => Some(Instant::now() + Duration::from_millis(RETRY_MS)),
                false => {
                    step("watching", "for the next change; Ctrl-C ends it", None);
                    None
                }
            };
            self.wait(before, again)?;
            std::eprintln!();
        }
    }

    fn deploy(&mut self) -> Result<(), Failure> {
        let prepared = Prepared::read(self.source, self.environment)?;
        self.left_out = prepared.left_out().clone();
        let pushed = prepared.push(self.client)?;
        let configuration = self.configuration(&prepared);
        let plan = self.plan.clone();
        let id = prepared.begin(self.client, &pushed.version, plan, &configuration)?;
        if self.with_log && self.log.is_none() {
            let selector = None;
            let (model, environment) = (prepared.key.clone(), Some(prepared.environment.clone()));
            let mut tail = Tail::new(&Reference { model, environment, selector }, LOG_LINES);
            tail.skip(self.client)?;
            self.log = Some(tail);
        }
        follow(self.client, &prepared.key, &pushed.version, &prepared.environment, id)?;
        if std::mem::take(&mut self.is_first) {
            prepared.example(self.client)?;
        }
        Ok(())
    }

    /// That of the manifest. Whoever sees the log sees the rows, too, unless values are redacted.
    fn configuration(&self, prepared: &Prepared) -> Configuration {
        let mut configuration = prepared.directory.manifest.configuration();
        let records = &mut configuration.records;
        records.log_rows |= self.with_log && records.redact.is_empty();
        configuration
    }

    /// Waits until something is saved, and the saving is over; or until a time.
    fn wait(&mut self, before: Digest, until: Option<Instant>) -> Result<(), Failure> {
        let (mut last, mut logs_at) = (before, Instant::now());
        loop {
            let begin = Instant::now();
            let now = self.stamp()?;
            if now == last && (now != before || until.is_some_and(|until| begin >= until)) {
                return Ok(());
            }
            last = now;
            let pause = (begin.elapsed() * LOOK_SHARE).max(Duration::from_millis(LOOK_MS));
            if let Some(log) = self.log.as_mut().filter(|_| begin >= logs_at) {
                // A server that is away is told of by the next deployment.
                let _ = log.print(self.client, false);
                logs_at = begin + Duration::from_millis(LOGS_MS);
            }
            std::thread::sleep(pause);
        }
    }

    /// A file that is just being replaced may be missing for a moment.
    fn stamp(&self) -> Result<Digest, Failure> {
        let path: &PathBuf = &self.source.path;
        match artifacts::stamp(path, self.left_out.clone()) {
            Ok(stamp) => Ok(stamp),
            Err(_) if path.is_dir() => Ok(Digest::of(b"in between")),
            Err(error) => Err(Problem::new(Code::BadTree, error.to_string())
                .help("decalog watch DIRECTORY, where the model directory is now")
                .into()),
        }
    }
}
