//! What of requests may be in records: the section of a placement's configuration, checked against
//! its columns, with the project's key by which values are disguised. The key is made once and never
//! leaves the data directory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use domain::recording::PSEUDONYM_KEY_BYTES;
use domain::state::Deployment;
use domain::{
    Code, DataDirectory, Placement, Problem, ProjectName, Pseudonyms, Recording, Schema, State,
};
use parking_lot::Mutex;

use crate::failure::StepFailure;
use crate::random::random;
use crate::secret::write_new_private;
use crate::{Control, aside};

/// The keys of projects, as far as they were needed.
pub(crate) struct PseudonymKeys {
    data: DataDirectory,
    known: Mutex<HashMap<ProjectName, Arc<Pseudonyms>>>,
}

fn failed(path: &Path, error: io::Error) -> Problem {
    let code = match error.kind() {
        io::ErrorKind::StorageFull => Code::NoSpace,
        _ => Code::Secrets,
    };
    let text = format!("the key that disguises values in records cannot be used: {error}");
    Problem::new(code, text).help(format!("look at {}", path.display()))
}

fn read(path: &Path) -> Result<Option<Arc<Pseudonyms>>, Problem> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    let key = <[u8; PSEUDONYM_KEY_BYTES]>::try_from(bytes);
    let key = key.map_err(|_| failed(path, io::Error::other("its file is damaged")))?;
    Ok(Some(Arc::new(Pseudonyms::new(key))))
}

impl PseudonymKeys {
    /// Below a data directory.
    pub fn new(data: &DataDirectory) -> PseudonymKeys {
        PseudonymKeys { data: data.clone(), known: Mutex::default() }
    }

    /// A project's key; `None` if none was ever needed.
    pub fn get(&self, project: &ProjectName) -> Result<Option<Arc<Pseudonyms>>, Problem> {
        if let Some(known) = self.known.lock().get(project) {
            return Ok(Some(known.clone()));
        }
        let found = read(&self.data.records_key(project))?;
        if let Some(found) = &found {
            self.known.lock().insert(project.clone(), found.clone());
        }
        Ok(found)
    }

    /// A project's key, made if there is none.
    pub fn get_or_make(&self, project: &ProjectName) -> Result<Arc<Pseudonyms>, Problem> {
        if let Some(found) = self.get(project)? {
            return Ok(found);
        }
        let key: [u8; PSEUDONYM_KEY_BYTES] = random()?;
        // Another process may make one now: the first that is there is that of all.
        write_new_private(&self.data.records_key(project), &key)?;
        self.get(project)?.ok_or_else(|| {
            let error = io::Error::from(io::ErrorKind::NotFound);
            failed(&self.data.records_key(project), error)
        })
    }
}

impl Control {
    /// What of requests to a placement may be in records.
    pub(crate) fn recording(&self, state: &State, placement: &Placement) -> Recording {
        let section = state.configuration(placement).records;
        if !section.needs_key() {
            return Recording { section, pseudonyms: None };
        }
        // Without a key, what was to be disguised is left out.
        let key = self.pseudonym_keys.get_or_make(&placement.model.project);
        let pseudonyms = key.inspect_err(|problem| tracing::error!("{placement}: {problem}")).ok();
        Recording { section, pseudonyms }
    }

    /// Refuses a configuration of records that the version's columns do not fit: what is to be
    /// redacted must not be kept because of a typing error.
    pub(crate) async fn check_records(
        &self,
        project: &ProjectName,
        deployment: &Deployment,
        schema: &Schema,
    ) -> Result<(), StepFailure> {
        // What is in force already was checked against the version that it came with.
        let Some(configuration) = &deployment.configuration else { return Ok(()) };
        let misfits = configuration.records.misfits(schema);
        if !misfits.is_empty() {
            let text = format!("[records] does not fit the columns of {}", deployment.version);
            let help = match schema.outputs.is_empty() {
                true => "correct decalog.toml; what an answer has must be in [schema] outputs",
                false => "correct decalog.toml",
            };
            let problem = Problem::new(Code::BadManifest, text).details(misfits).help(help);
            return Err(StepFailure { step: "records", problem });
        }
        if !configuration.records.needs_key() {
            return Ok(());
        }
        let (keys, project) = (self.pseudonym_keys.clone(), project.clone());
        let made = aside(move || keys.get_or_make(&project)).await.unwrap_or_else(Err);
        made.map(drop).map_err(StepFailure::at("records"))
    }

    /// By what values of a project are disguised in records; `None` if none ever were.
    pub fn pseudonyms(&self, project: &ProjectName) -> Result<Option<Arc<Pseudonyms>>, Problem> {
        self.pseudonym_keys.get(project)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_project_has_one_key_whoever_asks_first() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(directory.path());
        let (project, other): (ProjectName, ProjectName) =
            ("shop".parse().unwrap(), "bank".parse().unwrap());
        assert_eq!(PseudonymKeys::new(&data).get(&project).unwrap(), None);
        let made: Vec<_> = std::thread::scope(|scope| {
            let make = || PseudonymKeys::new(&data).get_or_make(&project).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| *key == made[0]));
        let again = PseudonymKeys::new(&data);
        assert_eq!(again.get(&project).unwrap().as_ref(), Some(&made[0]), "it is on disk");
        assert_ne!(again.get_or_make(&other).unwrap(), made[0]);
        let path = data.records_key(&project);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.keys()).unwrap().count(), 2, "nothing is left over");
        fs::write(&path, b"short").unwrap();
        let problem = PseudonymKeys::new(&data).get_or_make(&project).unwrap_err();
        assert_eq!(problem.code, Code::Secrets);
    }
}
