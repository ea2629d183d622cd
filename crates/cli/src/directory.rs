//! What lies in a model directory: the manifest, and what is inferred where it is silent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use domain::event::Provenance;
use domain::manifest::{MANIFEST_FILE, Runtime};
use domain::{Code, Manifest, ModelName, Problem, Schema};
use serde::{Deserialize, Serialize};

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

/// What the code tells without being run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// The columns, if the code tells them.
    pub schema: Option<Schema>,
    /// `row`, `batch`, `stream`, …
    pub form: String,
    /// Of the interpreter that looked.
    pub python: String,
    /// What could not be told, and why.
    pub notes: Vec<String>,
}

fn bad(message: String, help: &str) -> Problem {
    Problem::new(Code::BadModel, message).help(help)
}

impl ModelDirectory {
    /// Reads a directory.
    pub fn read(path: &Path) -> Result<ModelDirectory, Problem> {
        let path = path.canonicalize().ok().filter(|path| path.is_dir()).ok_or_else(|| {
            bad(format!("{} is not a directory", path.display()), "name a model directory; decalog new NAME makes one")
        })?;
        let manifest = match std::fs::read_to_string(path.join(MANIFEST_FILE)) {
            Ok(text) => Manifest::parse(&text)
                .map_err(|error| Problem::new(Code::BadManifest, error.to_string()).help("correct decalog.toml"))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Manifest::default(),
            Err(error) => return Err(bad(format!("decalog.toml cannot be read: {error}"), "make it a readable text file")),
        };
        let (runtime, file) = infer(&path, &manifest)?;
        Ok(ModelDirectory { path, manifest, runtime, file })
    }

    /// The model's name: as said, else the manifest's, else the directory's.
    pub fn name(&self, said: Option<&str>) -> Result<ModelName, Problem> {
        let directory = || self.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase().replace(' ', "-");
        match (said, &self.manifest.model.name) {
            (None, Some(name)) => Ok(name.clone()),
            (said, _) => {
                let name = said.map(String::from).unwrap_or_else(directory);
                name.parse().map_err(|error: domain::id::NameError| bad(error.to_string(), "name it with --name NAME"))
            }
        }
    }

    /// Describes a Python model by its text; `None` if there is no python3 here, or nothing to describe.
    pub fn describe(&self) -> Result<Option<Description>, Problem> {
        let Some(file) = self.file.as_ref().filter(|_| self.runtime == Runtime::Python) else { return Ok(None) };
        // The worker that would serve the model also tells what its text says. Without a place for it, the server does.
        let Ok(place) = tempfile::tempdir() else { return Ok(None) };
        let Ok(program) = engine::shim::put(place.path()) else { return Ok(None) };
        let mut command = Command::new("python3");
        command.args(["-I", "-B"]).arg(program).arg("--describe").arg(&self.path).args(["--file", file]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let section = &self.manifest.schema;
        if *section != Default::default() {
            command.env("DECALOG_SCHEMA", serde_json::to_string(section).unwrap_or_default());
        }
        let Ok(output) = command.output() else { return Ok(None) };
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).ok());
        }
        // Without a clear word from the describer, the server finds out.
        serde_json::from_slice::<Problem>(&output.stdout).map_or(Ok(None), Err)
    }

    /// Author and commit.
    pub fn provenance(&self) -> Provenance {
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(&self.path).args(arguments).stderr(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
            output.status.success().then_some(text)
        };
        let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".into());
        Provenance {
            author: git(&["config", "user.name"]).filter(|name| !name.is_empty()).unwrap_or_else(user),
            git_commit: git(&["rev-parse", "HEAD"]),
            git_dirty: git(&["status", "--porcelain", "--", "."]).is_some_and(|changes| !changes.is_empty()),
        }
    }
}

fn infer(path: &Path, manifest: &Manifest) -> Result<(Runtime, Option<String>), Problem> {
    let model = &manifest.model;
    if model.runtime == Some(Runtime::Command) || (model.runtime.is_none() && !model.command.is_empty()) {
        return Ok((Runtime::Command, None));
    }
    if let Some(file) = &model.file {
        if !path.join(file).is_file() {
            return Err(bad(format!("[model] file names {file}, which is not there"), "correct decalog.toml"));
        }
        let by_name = if file.ends_with(".onnx") { Runtime::Onnx } else { Runtime::Python };
        return Ok((model.runtime.unwrap_or(by_name), Some(file.clone())));
    }
    let named = |suffixes: &[&str]| -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<String> = names.filter(|name| suffixes.iter().any(|suffix| name.ends_with(suffix))).collect();
        found.sort();
        found
    };
    let has_code = path.join("model.py").is_file();
    let (graphs, pickles) = (named(&[".onnx"]), named(&[".joblib", ".pkl", ".pickle"]));
    let one = |runtime: Runtime, found: Vec<String>| match found.as_slice() {
        [file] => Ok((runtime, Some(file.clone()))),
        many => {
            Err(bad(format!("there are several models: {}", many.join(", ")), "say which one with [model] file in decalog.toml"))
        }
    };
    match model.runtime {
        Some(Runtime::Onnx) if graphs.is_empty() => Err(bad("runtime is onnx, but there is no *.onnx file".into(), "add it")),
        Some(Runtime::Onnx) => one(Runtime::Onnx, graphs),
        _ if has_code => Ok((Runtime::Python, Some("model.py".into()))),
        None if !graphs.is_empty() && pickles.is_empty() => one(Runtime::Onnx, graphs),
        _ if !pickles.is_empty() && graphs.is_empty() => one(Runtime::Python, pickles),
        _ if !pickles.is_empty() => one(Runtime::Python, [graphs, pickles].concat()),
        _ => Err(bad(
            format!("there is no model in {}", path.display()),
            "it needs model.py with a function predict, an .onnx or .joblib file, or [model] command in decalog.toml; decalog new NAME shows how",
        )),
    }
}
