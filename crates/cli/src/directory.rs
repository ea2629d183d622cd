//! What lies in a model directory: the manifest, and what is inferred where it is silent.

use std::path::{Path, PathBuf};

use domain::manifest::{MANIFEST_FILE, Runtime};
use domain::{Code, Manifest, ModelName, Problem};
use engine::runtime::{self, Description};

/// How good a model was: `{"auc": 0.93}`. An ordinary file of the directory.
pub const METRICS_FILE: &str = "metrics.json";

/// A model directory.
pub struct ModelDirectory {
    /// Absolute.
    pub path: PathBuf,
    /// As written.
    pub manifest: Manifest,
    /// As written or inferred.
    pub runtime: Runtime,
    /// What holds the model.
    pub file: Option<String>,
}

fn bad(message: String, help: &str) -> Problem {
    Problem::new(Code::BadModel, message).help(help)
}

impl ModelDirectory {
    /// Reads a directory.
    pub fn read(path: &Path) -> Result<ModelDirectory, Problem> {
        let path = path.canonicalize().ok().filter(|path| path.is_dir()).ok_or_else(|| {
            let shown = path.display();
            match path.is_file() {
                true => bad(
                    format!(
                        "{shown} is a file: a model is a directory, which may hold nothing else"
                    ),
                    "mkdir MODEL, copy the file into it, and decalog deploy MODEL",
                ),
                false => bad(
                    format!("there is no directory {shown}"),
                    "name a model directory; decalog new NAME makes one",
                ),
            }
        })?;
        let manifest = match std::fs::read_to_string(path.join(MANIFEST_FILE)) {
            Ok(text) => Manifest::parse(&text).map_err(|error| {
                Problem::new(Code::BadManifest, error.to_string()).help("correct decalog.toml")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Manifest::default(),
            Err(error) => {
                return Err(bad(
                    format!("decalog.toml cannot be read: {error}"),
                    "make it a readable text file",
                ));
            }
        };
        let (runtime, file) = runtime::recognise(&path, &manifest.model)?;
        Ok(ModelDirectory { path, manifest, runtime, file })
    }

    /// The model's name: the given one, else the manifest's, else the directory's.
    pub fn name(&self, given: Option<&str>) -> Result<ModelName, Problem> {
        let directory = || {
            self.path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase()
                .replace(' ', "-")
        };
        match (given, &self.manifest.model.name) {
            (None, Some(name)) => Ok(name.clone()),
            (given, _) => {
                let name = given.map(String::from).unwrap_or_else(directory);
                name.parse().map_err(|error: domain::id::NameError| {
                    bad(error.to_string(), "name it with --name NAME")
                })
            }
        }
    }

    /// What the text of the model tells; `None` if nobody here can read it, or there is nothing to
    /// tell.
    pub fn describe(&self) -> Result<Option<Description>, Problem> {
        let Some(file) = &self.file else { return Ok(None) };
        runtime::of(self.runtime).describe(&self.path, file, &self.manifest.schema)
    }
}
