//! Has a version asked, off the traffic, and remembers below the user's cache directory what it
//! answered: the same version that is asked the same has answered already.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::digest::Hasher;
use domain::{Code, Digest, EnvironmentName, ModelKey, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use server::{EvaluateReport, is_own_fault};

use crate::Failure;
use crate::client::Client;

/// Where answers are remembered, below the user's cache directory.
const CACHE: &str = "decalog/evaluations";
/// Evaluations that are remembered; the oldest are forgotten.
const REMEMBERED_MAX: usize = 256;
/// Their bytes together.
const REMEMBERED_BYTES_MAX: u64 = 256 << 20;
/// Where another replay of the model is on its way, it is asked again so often, a second apart.
const BUSY_MAX: u32 = 60;
/// The most bytes of rows that are sent at once: what the server takes, less what is around them.
const ROWS_BYTES_MAX: usize = (16 << 20) - 4_096;

/// What a version is asked.
#[derive(Clone)]
pub enum Question {
    /// What these recorded requests asked.
    Ids(Vec<String>),
    /// Rows.
    Rows(Vec<Map<String, Value>>),
}

impl Question {
    fn body(&self) -> Value {
        match self {
            Question::Ids(ids) => json!({ "ids": ids }),
            Question::Rows(rows) => json!({ "rows": rows }),
        }
    }
}

/// What came of asking a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluation {
    /// It answered.
    Answered(Box<EvaluateReport>),
    /// It cannot be asked, by its own fault.
    Cannot(Problem),
}

/// Asks versions of one model the same.
pub struct Evaluations<'c> {
    client: &'c Client,
    key: ModelKey,
    environment: EnvironmentName,
    body: Value,
    /// Of the question.
    digest: Digest,
    cache: Option<PathBuf>,
    /// Whether what is remembered is of no interest.
    is_fresh: bool,
}

impl<'c> Evaluations<'c> {
    /// Of a model in an environment. Fails if the question is too long to be sent.
    pub fn new(
        client: &'c Client,
        key: &ModelKey,
        environment: &EnvironmentName,
        question: &Question,
        is_fresh: bool,
    ) -> Result<Evaluations<'c>, Problem> {
        let body = question.body();
        let text = body.to_string();
        if text.len() > ROWS_BYTES_MAX {
            let text = format!("the rows have {} MB as JSON; 16 are taken", text.len() / 1_000_000);
            return Err(Problem::new(Code::NoInput, text).help("leave out some rows"));
        }
        Ok(Evaluations {
            client,
            key: key.clone(),
            environment: environment.clone(),
            digest: Digest::of(text.as_bytes()),
            body,
            cache: cache(),
            is_fresh,
        })
    }

    /// What a version answers, and whether that was remembered.
    pub fn ask(&self, version: &str, digest: &Digest) -> Result<(Evaluation, bool), Failure> {
        let file = self.file(digest);
        if let Some(known) = file.as_deref().filter(|_| !self.is_fresh).and_then(remembered) {
            return Ok((known, true));
        }
        let evaluation = self.ask_anew(version)?;
        if let Some(file) = file.filter(|_| is_lasting(&evaluation)) {
            // What cannot be remembered is asked again.
            let _ = remember(&file, &evaluation);
        }
        Ok((evaluation, false))
    }

    /// The same, remembered or not.
    pub fn ask_anew(&self, version: &str) -> Result<Evaluation, Failure> {
        let mut body = self.body.clone();
        body["version"] = json!(version);
        body["environment"] = json!(self.environment);
        let path = format!("/v1/projects/{}/models/{}/evaluate", self.key.project, self.key.model);
        match in_turn::<EvaluateReport>(self.client, &path, &body) {
            Ok(report) => Ok(Evaluation::Answered(Box::new(report))),
            Err(Failure::Problem(problem)) if is_own_fault(&problem) => {
                Ok(Evaluation::Cannot(problem))
            }
            Err(failure) => Err(failure),
        }
    }

    fn file(&self, version: &Digest) -> Option<PathBuf> {
        let mut hasher = Hasher::new();
        for field in [
            self.client.url(),
            &self.key.to_string(),
            self.environment.as_str(),
            &version.to_string(),
            &self.digest.to_string(),
        ] {
            hasher.field(field.as_bytes());
        }
        Some(self.cache.as_ref()?.join(format!("{}.json", hasher.finish())))
    }
}

/// Asks; where another replay of the model is on its way, after that.
pub fn in_turn<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    body: &Value,
) -> Result<T, Failure> {
    for _ in 0..BUSY_MAX {
        match client.post(path, body) {
            Err(Failure::Problem(problem)) if problem.code == Code::ServerBusy => {
                std::thread::sleep(Duration::from_secs(1));
            }
            answered => return answered,
        }
    }
    client.post(path, body)
}

/// Why a version cannot be asked: with the end of its traceback, if there is one.
pub fn why(problem: &Problem) -> String {
    match problem.details.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("{}: {}", problem.message, last.trim()),
        None => problem.message.clone(),
    }
}

/// Whether the same would come of it again: what there was no time for may be answered then.
fn is_lasting(evaluation: &Evaluation) -> bool {
    match evaluation {
        Evaluation::Answered(report) => report.rows.iter().all(|row| {
            row.error.as_ref().is_none_or(|error| {
                !matches!(error.code, Code::Deadline | Code::NotReady | Code::ServerBusy)
            })
        }),
        Evaluation::Cannot(problem) => problem.code != Code::NoSuchVersion,
    }
}

fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Some(named.filter(|path| path.is_absolute()).or_else(home)?.join(CACHE))
}

fn remembered(file: &Path) -> Option<Evaluation> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Whole or not at all, and for nobody else: it has what a model answered.
fn remember(file: &Path, evaluation: &Evaluation) -> std::io::Result<()> {
    let Some(directory) = file.parent() else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let beside = file.with_extension(format!("{}.tmp", std::process::id()));
    let open =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    open?.write_all(&serde_json::to_vec(evaluation)?)?;
    fs::rename(&beside, file)?;
    forget_oldest(directory)
}

fn forget_oldest(directory: &Path) -> std::io::Result<()> {
    let mut known: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    known.sort();
    let mut bytes = 0;
    for (count, (_, length, file)) in known.iter().rev().enumerate() {
        bytes += length;
        // The newest stays, however long it is.
        if count > 0 && (count >= REMEMBERED_MAX || bytes > REMEMBERED_BYTES_MAX) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let cannot = Evaluation::Cannot(Problem::new(Code::LoadFailed, "no"));
        for number in 0..REMEMBERED_MAX + 3 {
            let file = directory.path().join("cache").join(format!("{number}.json"));
            remember(&file, &cannot).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
            fs::File::options().write(true).open(&file).unwrap().set_modified(at).unwrap();
        }
        forget_oldest(&directory.path().join("cache")).unwrap();
        let left = |number: usize| directory.path().join(format!("cache/{number}.json")).exists();
        assert!(!left(0) && !left(2) && left(3) && left(REMEMBERED_MAX + 2));
        assert!(remembered(&directory.path().join("cache/3.json")).is_some());
    }

    #[test]
    fn what_may_come_out_otherwise_is_not_remembered() {
        assert!(is_lasting(&Evaluation::Cannot(Problem::new(Code::BuildFailed, "no"))));
        assert!(!is_lasting(&Evaluation::Cannot(Problem::new(Code::NoSuchVersion, "no"))));
        assert!(is_own_fault(&Problem::new(Code::LoadFailed, "no")));
        assert!(!is_own_fault(&Problem::new(Code::NotReady, "no")));
        let problem = Problem::new(Code::LoadFailed, "it did not load");
        let problem = problem.details(["Traceback".into(), "OSError: no file".into(), " ".into()]);
        assert_eq!(why(&problem), "it did not load: OSError: no file");
    }
}
